"""A service that asks the gateway by itself."""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.client import (
    Authenticated,
    AuthotronError,
    Client,
    Forbidden,
    InvalidToken,
    NoToken,
    Unavailable,
    User,
)
from authotron.client.http import Answer
from authotron.client.testing import FakeGateway, SigningKey

ALICE = User("internal", "alice", ("reader",))
NOW = 1_800_000_000.0


def basic(name: str, password: str) -> str:
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


class ClientCase(SynchronousTestCase):
    """A fake gateway that knows alice, and a client whose clock a test moves."""

    def setUp(self) -> None:
        self.now, self.pauses = NOW, list[float]()
        self.gateway = FakeGateway(clock=lambda: self.now, lifetime=300)
        self.gateway.add_user(ALICE, "wonder")
        self.gateway.add_token(ALICE, "opaque")
        self.client = self.client_with()

    def client_with(self, **options: Any) -> Client:
        usual: dict[str, Any] = {
            "monotonic": lambda: self.now, "sleep": self.sleep, "jitter": lambda: 1.0
        }  # fmt: skip
        return self.gateway.client(**{**usual, **options})

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    @property
    def asked(self) -> int:
        return self.gateway.count("/authenticate")

    def fails(self, kind: type[AuthotronError], authorization: str | None = "Bearer opaque") -> Any:
        return self.assertRaises(kind, self.client.authenticate, authorization)


class ClientTests(ClientCase):
    """What the gateway says."""

    def test_user(self) -> None:
        """Whatever the scheme, the user comes with the JWT that the gateway minted."""
        for authorization in ("Bearer opaque", basic("alice", "wonder")):
            found = self.client.authenticate(authorization)
            self.assertEqual(found.user, ALICE)
            self.assertEqual(found.headers, {"Authorization": f"Bearer {found.token}"})
            self.assertEqual(self.gateway.verifier().verify(found.token), ALICE)

    def test_nothing_presented(self) -> None:
        """Without credentials the gateway is not asked."""
        self.fails(NoToken, None)
        self.fails(NoToken, "")
        self.assertEqual(self.asked, 0)

    def test_refused(self) -> None:
        """A refusal has the challenge of the gateway, and is not remembered."""
        for _ in range(2):
            error = self.fails(InvalidToken, "Bearer wrong")
            self.assertEqual(error.code, "refused")
            self.assertEqual(error.challenge, 'Basic realm="internal", Bearer realm="internal"')
        self.assertEqual(self.asked, 2)

    def test_realm(self) -> None:
        """Answers for one realm are not answers for another one."""
        found = self.client.authenticate("Bearer opaque", realm="internal")
        self.assertEqual(found.user, ALICE)
        self.assertRaises(InvalidToken, self.client.authenticate, "Bearer opaque", realm="external")

    def test_malformed(self) -> None:
        """What cannot be a header is refused, and does not reach the gateway."""
        for value in ("Bearer \r\nX-Auth-Realm: x", "Bearer é", "Bearer \x00", "Bearer \ud800"):
            self.assertEqual(self.fails(InvalidToken, value).code, "malformed")
        authenticate = self.client.authenticate
        for realm in ("x\r\nAuthorization: y", "\x7f"):
            error = self.assertRaises(InvalidToken, authenticate, "Bearer opaque", realm=realm)
            self.assertEqual(error.code, "malformed")
        self.assertEqual(self.asked, 0)

    def test_realm_beyond_ascii(self) -> None:
        """A realm is sent in UTF-8, as the gateway reads it."""
        sent: list[Mapping[str, str]] = []

        def ask(path: str, headers: Mapping[str, str], seconds: float) -> Answer:
            sent.append(headers)
            return self.gateway._ask(path, headers, seconds)

        client = self.client_with(ask=ask)
        self.assertRaises(InvalidToken, client.authenticate, "Bearer opaque", realm="Zürich")
        self.assertEqual(sent[0]["X-Auth-Realm"].encode("latin-1"), "Zürich".encode())

    def test_other_statuses(self) -> None:
        """A 403 forbids, and what is neither a refusal nor an outage is not sent again."""
        self.gateway.fail_on("authenticate", 403)
        self.fails(Forbidden)
        for status in (400, 404, 429, 500, 302):
            self.gateway.fail_on("authenticate", status)
            self.assertIn(str(status), str(self.fails(Unavailable)))
        self.assertEqual((self.asked, self.pauses), (6, []))

    def test_jwt_of_another(self) -> None:
        """A JWT that the verifier does not believe is not the fault of the client."""
        other = FakeGateway(key=SigningKey.generate())
        self.client = self.client_with(verifier=other.verifier())
        self.assertIn("JWT of the gateway", str(self.fails(Unavailable)))

    def test_no_jwt(self) -> None:
        """An answer without a JWT is not one of a gateway."""
        self.client = self.client_with(ask=lambda *_: Answer(200, _message({}), b""))
        self.fails(Unavailable)

    def test_credentials_do_not_print(self) -> None:
        """Neither credentials nor JWTs stand in a representation or in memory that is named."""
        found = self.client.authenticate("Bearer opaque")
        printed = repr([found, vars(self.client), vars(self.client._users)])
        self.assertNotIn("opaque", printed)
        self.assertNotIn(found.token, printed)


class CacheTests(ClientCase):
    """What is remembered, and for how long."""

    def test_remembered(self) -> None:
        """A user is remembered for a minute."""
        for _ in range(3):
            self.client.authenticate("Bearer opaque")
        self.assertEqual(self.asked, 1)
        self.now += 60
        self.client.authenticate("Bearer opaque")
        self.assertEqual(self.asked, 2)

    def test_bounded_by_expiry(self) -> None:
        """A user is remembered no longer than their JWT is valid."""
        self.client = self.client_with(ttl=3600)
        self.client.authenticate("Bearer opaque")
        self.now += 299
        self.client.authenticate("Bearer opaque")
        self.assertEqual(self.asked, 1)
        self.now += 1
        self.client.authenticate("Bearer opaque")
        self.assertEqual(self.asked, 2)

    def test_bounded_in_number(self) -> None:
        """The user who was not asked about for the longest time is forgotten first."""
        self.client = self.client_with(max_users=2)
        for name in ("a", "b", "a", "c", "a", "b"):
            self.gateway.add_token(ALICE, name)
            self.client.authenticate(f"Bearer {name}")
        self.assertEqual(self.asked, 4)

    def test_switched_off(self) -> None:
        """With a time of 0 the gateway is asked every time."""
        self.client = self.client_with(ttl=0)
        for _ in range(3):
            self.client.authenticate("Bearer opaque")
        self.assertEqual(self.asked, 3)


class OutageTests(ClientCase):
    """A gateway that cannot decide."""

    def test_repeated(self) -> None:
        """A connection that fails is tried again, after pauses that grow."""
        self.gateway.fail_on("authenticate", 0, times=2)
        self.assertEqual(self.client.authenticate("Bearer opaque").user, ALICE)
        self.assertEqual((self.asked, self.pauses), (3, [0.2, 0.4]))

    def test_jitter(self) -> None:
        """Pauses are between half and the whole of their length, at random."""
        self.client = self.client_with(jitter=lambda: 0.0)
        self.gateway.fail_on("authenticate", 0, times=2)
        self.client.authenticate("Bearer opaque")
        self.assertEqual(self.pauses, [0.1, 0.2])

    def test_not_for_ever(self) -> None:
        """After three attempts the outage is an outage, and is not remembered."""
        self.gateway.fail_on("authenticate", 0)
        self.fails(Unavailable)
        self.assertEqual(self.asked, 3)
        self.gateway.recover()
        self.assertEqual(self.client.authenticate("Bearer opaque").user, ALICE)

    def test_retry_after(self) -> None:
        """A gateway that asks for 5 seconds is not asked before; the caller learns the time."""
        self.gateway.fail_on("authenticate", 503)
        self.assertEqual(self.fails(Unavailable).retry_after, 5)
        self.assertEqual((self.asked, self.pauses), (1, []))
        self.client = self.client_with(timeout=20)
        self.gateway.fail_on("authenticate", 503, times=1)
        self.assertEqual(self.client.authenticate("Bearer opaque").user, ALICE)
        self.assertEqual(self.pauses, [5])

    def test_within_the_time(self) -> None:
        """No attempt begins for which no time is left."""
        self.client = self.client_with(timeout=0.3, attempts=10)
        self.gateway.fail_on("authenticate", 0)
        self.fails(Unavailable)
        self.assertEqual((self.asked, self.pauses), (2, [0.2]))

    def test_no_thread_in_time(self) -> None:
        """Work that waited for a thread until its time was over does not ask the gateway."""
        works: list[Callable[[], None]] = []
        client = self.client_with(spawn=works.append)

        async def ask() -> None:
            task = asyncio.ensure_future(client.authenticate_async("Bearer opaque"))
            await asyncio.sleep(0)
            self.now += 5
            works.pop()()
            await task

        self.assertRaises(Unavailable, asyncio.run, ask())
        self.assertEqual(self.asked, 0)


class CrowdTests(ClientCase):
    """Many callers at the same time."""

    def test_threads(self) -> None:
        """Equal questions of threads are asked once."""
        started, go = threading.Barrier(20), threading.Event()
        found: list[Authenticated] = []

        def ask(path: str, headers: Mapping[str, str], seconds: float) -> Answer:
            go.wait(10)
            return self.gateway._ask(path, headers, seconds)

        client = self.client_with(ask=ask)

        def authenticate() -> None:
            started.wait()
            found.append(client.authenticate("Bearer opaque"))

        threads = [threading.Thread(target=authenticate) for _ in range(20)]
        for thread in threads:
            thread.start()
        go.set()
        for thread in threads:
            thread.join()
        self.assertEqual((len(found), self.asked), (20, 1))

    def test_coroutines(self) -> None:
        """Equal questions of coroutines are asked once; one that leaves harms no other."""
        works: list[Callable[[], None]] = []
        client = self.client_with(spawn=works.append)

        async def crowd() -> list[Authenticated | BaseException]:
            tasks = [
                asyncio.ensure_future(client.authenticate_async("Bearer opaque")) for _ in range(5)
            ]
            await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.sleep(0)
            works.pop()()
            return await asyncio.gather(*tasks, return_exceptions=True)

        left, *others = asyncio.run(crowd())
        self.assertIsInstance(left, asyncio.CancelledError)
        users = [each.user for each in others if isinstance(each, Authenticated)]
        self.assertEqual((users, works, self.asked), ([ALICE] * 4, [], 1))


def _message(headers: Mapping[str, str]) -> Any:
    answer = FakeGateway().answer("GET", "/health")
    assert answer is not None
    return answer.headers
