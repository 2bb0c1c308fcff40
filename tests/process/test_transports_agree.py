"""The same bytes over real connections: on Twisted's transports and on uvloop, on both paths."""

from __future__ import annotations

import contextlib
import socket
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from authotron.web.fastpath import repeats
from tests import EXAMPLES
from tests.process.transports import OnUvloop, TransportCase
from tests.web.fastpath.test_protocol import HEAD, Way, sorted_head
from tests.web.streams import streams


class _Twisted(TransportCase):
    """Connections that Twisted reads and writes, for L{AgreementTests}."""

    def runTest(self) -> None:
        """Do nothing: L{AgreementTests} uses the methods of this class."""


class _Uvloop(OnUvloop, _Twisted):
    """Connections that uvloop reads and writes, for L{AgreementTests}."""


class Run:
    """Sends streams of bytes to a gateway over real connections, and keeps what came back."""

    def __init__(self, case: TransportCase, way: Way) -> None:
        self._case = case
        self._way = way
        self._port = case.listen(way.site)
        self._before = len(way.gateway.public.open)  # in memory, to prepare the gateway

    def send(self, chunks: list[bytes]) -> tuple[bytes, bool]:
        """Return the replies, but for date and order of headers, and whether the gateway closed."""
        client = self._case.connect(self._port)
        received, is_open = bytearray(), True
        self._case.turns()
        for chunk in chunks:
            if is_open:
                with contextlib.suppress(ConnectionError):
                    client.sendall(chunk)
                self._case.turns()
                is_open = self._read(client, received)
        client.close()
        self._case.turns()
        return HEAD.sub(sorted_head, bytes(received)), is_open

    def _read(self, client: socket.socket, received: bytearray) -> bool:
        """Read all bytes that have arrived; return whether the connection is still open."""
        try:
            while piece := client.recv(1 << 20):
                received += piece
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def end(self) -> Any:
        """Return what the gateway has counted and logged, when all connections have ended."""
        gateway = self._way.gateway
        for _ in range(3):  # A connection from which the gateway does not read ends by its timers.
            gateway.clock.advance(100)
            self._case.turns()
        self._case.until(lambda: len(gateway.public.open) <= self._before, "closed by the site")
        self._case.until(lambda: not gateway.entrance._open, "closed by the fast path")
        self._case.stop(self._port)
        return self._way.counted(), self._way.events, self._way.asked


class AgreementTests(SynchronousTestCase):
    """Random streams of bytes, whose heads are all sent three times."""

    family = socket.AF_INET

    def setUp(self) -> None:
        self.cases: list[TransportCase] = []
        for make in (_Twisted, _Uvloop):
            case = make()
            case.family = self.family
            self.addCleanup(case.doCleanups)
            case.setUp()
            self.cases.append(case)

    def outcome(self, case: TransportCase, chunks: list[list[bytes]], **kinds: Any) -> Any:
        """Return all that comes back, and all that the gateway counts and logs."""
        way = Way(is_noted=False, **kinds)
        run = Run(case, way)
        globalLogPublisher.addObserver(way)
        try:
            replies = [run.send(each) for each in chunks * 3]
            return replies, run.end()
        finally:
            globalLogPublisher.removeObserver(way)

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.explicit, Phase.generate],  # to make a failure smaller would take minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(
        sent=some.lists(streams(), min_size=1, max_size=2),
        ttl=some.sampled_from([0, 60]),
        trusted=some.booleans(),
    )
    def test_any_stream(self, sent: list[list[bytes]], ttl: int, *, trusted: bool) -> None:
        """Both transports and both paths give the same replies, metrics and log events."""
        with patch.object(repeats, "ONE_IN", 1):
            outcomes = [
                self.outcome(case, sent, fronted=fronted, ttl=ttl, trusted=trusted)
                for case in self.cases
                for fronted in (True, False)
            ]
        for other in outcomes[1:]:
            self.assertEqual(outcomes[0], other, sent)


class UNIXAgreementTests(AgreementTests):
    """The same over UNIX sockets."""

    family = socket.AF_UNIX
