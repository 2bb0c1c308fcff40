"""Identities that are too large for a proxy, at every entrance."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from tests.web.conversations import Replaced
from tests.web.entrances import Answer, Entrances
from tests.web.proxies.test_belief import Meets
from tests.web.proxies.test_profiles import people

LINES = {"nginx": "GET /authenticate", "envoy": "GET /auth/envoy/x", "traefik": "GET /auth/traefik"}
STATED = {"X_Forwarded_Method": "GET", "X_Forwarded_Uri": "/x"}
LIMIT = 4_096


class SizeTests(SynchronousTestCase):
    """The size budget of answers."""

    def setUp(self) -> None:
        self.events = EventLoggingObserver()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def entrances(self, size: int, **over: Any) -> Entrances:
        """Return a gateway whose user has a role of a number of letters."""
        names = ("nginx", "envoy", "traefik", "grpc", "fastcgi")
        contracts = {name: {"max_head_bytes": LIMIT} for name in names}
        answers = {"contracts": contracts, **over}
        return Entrances({"server": {"answers": answers}, **people(roles=["r" * size])})

    def asked(self, entrances: Entrances) -> dict[str, Answer]:
        """Ask by every contract that has a limit."""
        found = {
            f"{contract} {where}": answer
            for contract, line in LINES.items()
            for where, answer in entrances.ask_http(line, **STATED).items()
        }
        protocols = entrances.ask()
        return {**found, "grpc": protocols["grpc"], "fastcgi": protocols["fastcgi"]}

    def assert_refused(self, answer: Answer) -> None:
        self.assertEqual(answer.status, 403)
        self.assertEqual(answer.body, b'{"error": "The identity is too large for the proxy"}')
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertFalse(
            any(each.startswith(("authorization", "x-auth")) for each in answer.headers)
        )

    def test_too_large_T62(self) -> None:
        """An identity that does not fit gets a 403, never a cut header or a part of the set."""
        for profile in ("jwt", "legacy", "auth-request"):
            entrances = self.entrances(LIMIT, profile=profile)
            for _ in range(2):
                for where, answer in self.asked(entrances).items():
                    with self.subTest(where, profile=profile):
                        self.assert_refused(answer)

    def test_fits_T62(self) -> None:
        """An identity that fits gets a 200 with the complete set."""
        for profile in ("jwt", "legacy"):
            for where, answer in self.asked(self.entrances(500, profile=profile)).items():
                with self.subTest(where, profile=profile):
                    self.assertEqual(answer.status, 200)
                    self.assertTrue(answer.headers["authorization"].startswith("Bearer ey"))

    def test_limit_T62(self) -> None:
        """No 200 has a head above the limit, and the limit wastes no more than a few bytes."""
        largest = 0
        for size in range(2_700, 2_820, 4):
            entrances = self.entrances(size)
            for site in (entrances.gateway.public, entrances.gateway.entrance):
                channel, wire = entrances.gateway.connect(site)
                channel.dataReceived(entrances.request(b"GET /authenticate"))
                if wire.value().startswith(b"HTTP/1.1 200 "):
                    largest = max(largest, len(wire.value()))
        self.assertLessEqual(largest, LIMIT)
        self.assertGreater(largest, LIMIT - 40)

    def test_defaults_T62(self) -> None:
        """Without settings the limit is what the proxy accepts by its defaults or our example."""
        for size, refused in (
            (7_000, {"fastcgi"}),
            (30_000, {"fastcgi"}),
            (50_000, {"fastcgi", "nginx", "envoy", "grpc"}),
        ):
            entrances = Entrances(people(roles=[f"{n:020}" for n in range(size // 20)]))
            answers = {name.partition(" ")[0]: each for name, each in self.asked(entrances).items()}
            found = {name for name, answer in answers.items() if answer.status == 403}
            self.assertEqual(found, refused, size)

    def test_observed_T62(self) -> None:
        """A refusal is counted by contract, and logged with user and sizes, not often."""
        entrances = self.entrances(LIMIT)
        for _ in range(3):
            self.asked(entrances)
        text = _metrics(entrances)
        for name, count in (("nginx", 12), ("envoy", 6), ("grpc", 3), ("fastcgi", 3)):
            line = f'authotron_answers_too_long_total{{contract="{name}"}} {count}.0'
            self.assertIn(line, text.splitlines())
        logged = [
            dict(each) for each in self.events if each.get("event") == "routes.answer.too_large"
        ]
        by_contract = {each["contract"]: each for each in logged}
        self.assertEqual(len(logged), 8)
        for each in by_contract.values():
            self.assertEqual((each["realm"], each["username"]), ("internal", "alice"))
            self.assertEqual((each["limit"], each["roles"]), (LIMIT, 1))
            self.assertGreater(each["bytes"], LIMIT)

    def test_access_log_T62(self) -> None:
        """The access log says why an authenticated client was refused."""
        entrances = self.entrances(LIMIT)
        self.asked(entrances)
        reasons = {
            (each["status"], each.get("reason"))
            for each in self.events
            if each.get("event") == "routes.request.answered"
        }
        self.assertEqual(reasons, {(403, "the identity is too large for the proxy")})

    def test_denied_first_T62(self) -> None:
        """A request that does not meet a condition is refused for that, whatever its size."""
        entrances = self.entrances(LIMIT, profile="jwt")
        identity = Identity("internal", "alice", ("r" * LIMIT,))
        found = Authentication(identity, conditions=(Meets(lambda facts: facts.path == "/other"),))
        decision = entrances.gateway.good(found)
        serving: Any = entrances.gateway.serving
        serving.gateway = Replaced(serving.gateway, lambda *_: decision)
        for name, answer in entrances.ask("GET /auth/envoy/x").items():
            self.assertEqual((answer.status, answer.body), (403, b'{"error": "Forbidden"}'), name)
        self.assertNotIn("authotron_answers_too_long_total{", _metrics(entrances))

    def test_other_routes_T62(self) -> None:
        """A request to the gateway itself has no limit, because no proxy must read headers."""
        entrances = self.entrances(LIMIT)
        [answer, _] = entrances.ask_http("GET /whoami").values()
        self.assertEqual(answer.status, 200)


def _metrics(entrances: Entrances) -> str:
    return entrances.gateway.metrics.text()[0].decode()
