"""Requests that block the reactor are counted, on every path and at every moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.reactor_time import LONGEST
from authotron.model.authentication import Authentication
from authotron.model.identity import Credential, Identity
from tests.web.conversations import ALICE, InMemoryGateway, Replaced, Wire, answered

ASK = f" HTTP/1.1\r\nHost: gate\r\nAuthorization: {ALICE}\r\n\r\n".encode()
SLOW = LONGEST * 2


class Provider:
    """A provider that takes processor time before and after it waits."""

    name, type, realm, scheme, local = "slow", "slow", "internal", "basic", False

    def __init__(self, work: Callable[[float], object]) -> None:
        self._work = work
        self.before = self.after = 0.0
        self.waiting: list[Deferred[None]] = []

    def affinity(self, _credential: Credential) -> Any:
        from authotron.plugin.interfaces import Affinity  # noqa: PLC0415 - of one test

        return Affinity.POSSIBLE

    async def authenticate(self, _credential: Credential) -> Authentication:
        self._work(self.before)
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        await waiting
        self._work(self.after)
        return Authentication(Identity("internal", "alice"))


class Case(SynchronousTestCase):
    """A gateway whose clock advances only while work is done."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway({"logging": {"access": "none"}})
        self.provider = Provider(self.gateway.clock.advance)
        self.gateway.serving.gateway.authenticator.providers = [self.provider]  # type: ignore[list-item] # as much of one as is asked

        self.addCleanup(self.answer)

    def counted(self) -> dict[str, float]:
        lines = self.gateway.metrics.text()[0].decode().splitlines()
        name = 'authotron_blocking_callbacks_total{route="'
        found = [line.removeprefix(name).split('"} ') for line in lines if line.startswith(name)]
        return {route: float(number) for route, number in found if float(number)}

    def answer(self) -> None:
        while self.provider.waiting:
            self.provider.waiting.pop().callback(None)
        self.gateway.clock.advance(0)

    def asked(self, path: bytes, *, fronted: bool) -> Wire:
        channel, wire = self.gateway.connect(self.gateway.entrance if fronted else None)
        channel.dataReceived(b"GET " + path + ASK)
        return wire


class RequestTests(Case):
    """Work for a request."""

    def test_waiting_is_not_counted_T84a(self) -> None:
        """A request that waits long, but works little, is not counted."""
        self.provider.before = self.provider.after = LONGEST / 2
        for fronted in (True, False):
            wire = self.asked(b"/authenticate", fronted=fronted)
            self.gateway.clock.advance(3)
            self.answer()
            self.assertEqual(answered(wire.value())[0].status, 200)
            self.gateway.serving.gateway.decisions.invalidate()
        self.assertEqual(self.counted(), {})

    def test_work_before_the_first_wait_T84a(self) -> None:
        """Work before the first wait is logged and counted with the route, on both paths."""
        self.provider.before = SLOW
        for number, (path, fronted) in enumerate(
            ((b"/auth", True), (b"/authenticate", False), (b"/whoami", False)), 1
        ):
            with capturedLogs() as events:
                self.asked(path, fronted=fronted)
            [event] = [each for each in events if each.get("event") == "routes.callback.slow"]
            self.assertEqual((event["route"], event["milliseconds"]), (path.decode(), 200))
            self.assertEqual(event["log_level"].name, "warn")
            self.assertEqual(len(self.counted()), number)
            self.gateway.serving.gateway.decisions.invalidate()

    def test_work_after_a_wait_T84a(self) -> None:
        """Work after a wait is logged and counted."""
        self.provider.after = SLOW
        for path, fronted in ((b"/authenticate", True), (b"/whoami", False)):
            self.asked(path, fronted=fronted)
            self.assertEqual(self.counted().get(path.decode()), None)
            self.answer()
            self.assertEqual(self.counted()[path.decode()], 1)
            self.gateway.serving.gateway.decisions.invalidate()

    def test_work_without_waiting_T84a(self) -> None:
        """Work of the fast path without a wait is logged and counted."""
        decision = self.gateway.good(Authentication(Identity("internal", "alice")))

        def decide(*_: Any) -> Any:
            self.gateway.clock.advance(SLOW)
            return decision

        composed: Any = Replaced(self.gateway.serving.gateway, decide)
        self.gateway.serving.gateway = composed
        wire = self.asked(b"/_auth", fronted=True)
        self.assertEqual(answered(wire.value())[0].status, 200)
        self.assertEqual(self.counted(), {"/_auth": 1})

    def test_callback_counts_once_T84a(self) -> None:
        """One callback counts once, however many requests it answers."""
        self.provider.after = SLOW
        wires = [self.asked(b"/authenticate", fronted=True) for _ in range(3)]
        self.answer()
        self.assertEqual([answered(wire.value())[0].status for wire in wires], [200] * 3)
        self.assertEqual(self.counted(), {"/authenticate": 1})

    def test_metrics_port_T84a(self) -> None:
        """Requests of the metrics port are measured as well."""
        self.gateway.operations.limit_connections(8, self.gateway.metrics)
        text = self.gateway.metrics.text

        def slow(accept: str = "") -> tuple[bytes, str]:
            self.gateway.clock.advance(SLOW)
            return text(accept)

        self.patch(self.gateway.metrics, "text", slow)
        self.gateway.ask("GET /metrics", self.gateway.operations)
        self.patch(self.gateway.metrics, "text", text)
        self.assertEqual(self.counted(), {"/metrics": 1})

    def test_background_work_is_not_counted_T84a(self) -> None:
        """Work that no request has caused is not counted for a route."""
        self.asked(b"/authenticate", fronted=True)
        self.answer()
        self.gateway.clock.callLater(0, self.gateway.clock.advance, SLOW)
        self.gateway.clock.advance(0)
        self.assertEqual(self.counted(), {})
