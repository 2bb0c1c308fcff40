"""When the key set of the gateway is fetched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from authotron.client import InvalidToken, Unavailable
from authotron.client.key_set import KeySet
from authotron.client.keys import Key, Keys, published
from authotron.client.testing import SigningKey
from authotron.client.waiting import blocking, in_asyncio, run

OLD, NEW = SigningKey.generate("ES256", "old"), SigningKey.generate("ES256", "new")
CALLERS = 1000


class Gateway:
    """A gateway whose key set is counted; its threads run when a test says so."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys, self.fetches, self.now = list(keys), 0, 1000.0
        self.is_away = False
        self.threads: list[Callable[[], None]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def __call__(self) -> Keys:
        self.fetches += 1
        if self.is_away:
            raise Unavailable("the gateway is unreachable")
        found = published({"keys": [key.jwk() for key in self.keys]}, "the test")
        self.meanwhile()
        return found

    def key_set(self) -> KeySet:
        return KeySet(self, clock=lambda: self.now, spawn=self.threads.append)

    def run_threads(self) -> None:
        while self.threads:
            self.threads.pop(0)()


def find(keys: KeySet, kid: str, tried: Sequence[Key] = ()) -> Sequence[Key]:
    return keys.cached(kid, "ES256") or run(keys.find(kid, "ES256", blocking, tried))


class KeySetTests(SynchronousTestCase):
    """Fetching, refreshing and searching."""

    def setUp(self) -> None:
        self.gateway = Gateway(OLD)
        self.keys = self.gateway.key_set()

    def expect(self, kid: str) -> None:
        self.assertEqual([key.kid for key in find(self.keys, kid)], [kid])

    def test_cached(self) -> None:
        """The first request fetches the keys, later ones do not."""
        self.expect("old")
        self.expect("old")
        self.assertEqual((self.gateway.fetches, self.gateway.threads), (1, []))

    def test_new_key_found_at_once(self) -> None:
        """A key that is published after the keys were fetched is found by one refresh."""
        self.expect("old")
        self.gateway.keys.append(NEW)
        self.expect("new")
        self.expect("old")
        self.assertEqual(self.gateway.fetches, 2)

    def test_unknown_key_refreshes_once(self) -> None:
        """Unknown keys cause one refresh, then none for 10 seconds."""
        self.expect("old")
        for number in range(20):
            error = self.assertRaises(InvalidToken, find, self.keys, f"hostile-{number}")
            self.assertEqual(error.code, "unknown-key")
        self.assertEqual(self.gateway.fetches, 2)
        self.gateway.now += 10
        self.assertRaises(InvalidToken, find, self.keys, "hostile")
        self.assertEqual(self.gateway.fetches, 3)

    def test_refreshes_in_background(self) -> None:
        """Keys older than 5 minutes are used while a thread refreshes them."""
        self.expect("old")
        self.gateway.now += 300
        self.gateway.keys = [NEW]
        self.expect("old")
        self.expect("old")
        self.assertEqual((self.gateway.fetches, len(self.gateway.threads)), (1, 1))
        self.gateway.run_threads()
        self.assertEqual(self.keys.cached("old", "ES256"), ())
        self.expect("new")
        self.assertEqual(self.gateway.fetches, 2)

    def test_refresh_is_not_a_search(self) -> None:
        """A new key is found at once even if the keys were refreshed just before."""
        self.expect("old")
        self.gateway.now += 300
        self.expect("old")
        self.gateway.run_threads()
        self.gateway.keys.append(NEW)
        self.expect("new")

    def test_outage(self) -> None:
        """Cached keys are used for a day while the gateway is away, and asked for every 10 s."""
        self.expect("old")
        self.gateway.is_away = True
        with self.assertLogs("authotron.client", "WARNING"):
            for _ in range(300, 86_400, 300):
                self.gateway.now += 300
                self.expect("old")
                self.expect("old")
                self.gateway.run_threads()
        self.assertEqual(self.gateway.fetches, 1 + 287)
        self.gateway.now += 600
        self.assertRaises(Unavailable, find, self.keys, "old")
        self.gateway.is_away = False
        self.gateway.now += 1
        self.expect("old")

    def test_outage_is_not_a_refusal(self) -> None:
        """While the gateway is away nothing is known about an unknown key."""
        self.expect("old")
        self.gateway.is_away = True
        for _ in range(20):
            self.assertRaises(Unavailable, find, self.keys, "new")
        self.assertEqual(self.gateway.fetches, 2)

    def test_outage_from_the_start(self) -> None:
        """Without keys one request a second asks the gateway, the others fail at once."""
        self.gateway.is_away = True
        for _ in range(20):
            self.assertRaises(Unavailable, find, self.keys, "old")
        self.assertEqual(self.gateway.fetches, 1)
        self.gateway.now += 1
        self.gateway.is_away = False
        self.expect("old")

    def test_outage_is_logged_once(self) -> None:
        """While refreshing fails the log says so once, and for how long the keys are used."""
        self.expect("old")
        self.gateway.is_away = True
        with self.assertLogs("authotron.client", "WARNING") as logged:
            for _ in range(3):
                self.gateway.now += 300
                self.expect("old")
                self.gateway.run_threads()
        [line] = logged.output
        self.assertIn("refreshing the keys failed, used for 86400 s more", line)

    def test_no_threads(self) -> None:
        """If no thread can be started the keys are used, and the next request tries again."""
        self.expect("old")
        attempts: list[int] = []

        def spawn(_work: object) -> None:
            attempts.append(1)
            raise RuntimeError("can't start new thread")

        self.keys._flights._spawn = spawn
        for _ in range(2):
            self.gateway.now += 300
            self.expect("old")
        self.assertEqual(len(attempts), 2)

    def test_same_name_new_key(self) -> None:
        """A key that was replaced under its name is fetched when a signature does not fit."""
        tried = find(self.keys, "old")
        self.gateway.keys = [SigningKey.generate("ES256", "old")]
        [found] = run(self.keys.find("old", "ES256", blocking, tried))
        self.assertNotEqual([found], tried)

    def test_wrong_signature(self) -> None:
        """A wrong signature is a wrong signature, even if the gateway is away."""
        tried = find(self.keys, "old")
        self.gateway.is_away = True
        for _ in range(3):
            error = self.assertRaises(
                InvalidToken, run, self.keys.find("old", "ES256", blocking, tried)
            )
            self.assertEqual(error.code, "signature")
        self.assertEqual(self.gateway.fetches, 2)

    def test_fetch_under_way_is_too_old(self) -> None:
        """A key published while a fetch was under way is found by a second fetch."""
        self.expect("old")
        self.gateway.now += 300
        self.expect("old")  # begins to refresh
        found: list[Sequence[Key]] = []
        searches = threading.Thread(target=lambda: found.append(find(self.keys, "new")))

        def publish() -> None:
            self.gateway.meanwhile = lambda: None
            self.gateway.keys.append(NEW)
            searches.start()
            while searches.is_alive() and self.keys._needed != 3:
                pass  # until the search needs a fetch that begins after this one

        self.gateway.meanwhile = publish
        self.gateway.run_threads()
        searches.join()
        self.assertEqual([key.kid for keys in found for key in keys], ["new"])


class CrowdTests(SynchronousTestCase):
    """Many requests at the same time."""

    def test_first_requests_in_threads(self) -> None:
        """1,000 parallel first requests in threads fetch the key set once."""
        gateway = Gateway(OLD)
        keys, start = gateway.key_set(), threading.Barrier(100)
        found: list[Sequence[Key]] = []

        def ask() -> None:
            start.wait()
            found.extend(find(keys, "old") for _ in range(CALLERS // 100))

        threads = [threading.Thread(target=ask) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(found), gateway.fetches), (CALLERS, 1))

    def test_first_requests_in_asyncio(self) -> None:
        """1,000 parallel first requests in coroutines fetch the key set once."""
        gateway = Gateway(OLD)
        keys = KeySet(gateway, clock=lambda: gateway.now)

        async def ask() -> Sequence[Key]:
            return keys.cached("old", "ES256") or await keys.find("old", "ES256", in_asyncio)

        async def crowd() -> list[Sequence[Key]]:
            return await asyncio.gather(*(ask() for _ in range(CALLERS)))

        found = asyncio.run(crowd())
        self.assertEqual((len(found), gateway.fetches), (CALLERS, 1))

    def test_caller_leaves(self) -> None:
        """A coroutine that is cancelled does not take the keys from the others."""
        gateway = Gateway(OLD)
        keys = gateway.key_set()

        async def crowd() -> list[Sequence[Key] | BaseException]:
            tasks = [asyncio.ensure_future(keys.find("old", "ES256", in_asyncio)) for _ in range(3)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.sleep(0)
            gateway.run_threads()
            return await asyncio.gather(*tasks, return_exceptions=True)

        first, *others = asyncio.run(crowd())
        self.assertIsInstance(first, asyncio.CancelledError)
        self.assertEqual([len(each) for each in others], [1, 1])  # type: ignore[arg-type] # no errors
        self.assertEqual(gateway.fetches, 1)
