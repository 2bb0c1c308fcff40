"""The routes of the metrics port."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.model.errors import Unavailable
from authotron.plugin.interfaces import IReachable
from tests.web.conversations import ALICE, InMemoryGateway, Wire, answered


@implementer(IReachable)
@define
class Remote:
    """A plugin whose remote is unreachable."""

    name: str = "directory"
    type: str = "remote"
    realm: str = "internal"

    async def check_reachable(self) -> None:
        raise Unavailable("connection refused")


class OperationsTests(SynchronousTestCase):
    """Metrics, liveness and readiness."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway({"jwt": {"secret": "sixteen bytes..."}})

    def test_ready(self) -> None:
        """C{/ready} lists the plugins, the warnings, and the result of the last reload."""
        content = self.gateway.ask("GET /ready", self.gateway.operations).json()
        self.assertTrue(content["ready"])
        self.assertEqual(content["parts"][0]["reachable"], True)
        self.assertIn("32 bytes", content["warnings"][0])
        self.assertEqual(content["last_reload"], "good")

    def test_unreachable(self) -> None:
        """An unreachable remote is listed, but the gateway stays ready."""
        self.gateway.serving.gateway.authenticator.augmenters = [Remote()]  # type: ignore[list-item] # as much of one as is asked
        answer = self.gateway.ask("GET /ready", self.gateway.operations)
        [_, part] = answer.json()["parts"]
        self.assertEqual((answer.status, part["reachable"]), (200, False))
        self.assertEqual(part["reason"], "connection refused")

    def test_last_call_W_DOCTOR(self) -> None:
        """A remote that cannot be checked without a credential is as its last call was."""
        authenticator = self.gateway.serving.gateway.authenticator
        [plugin] = authenticator.providers
        authenticator.outages[id(plugin)] = "certificate expired"
        [part] = self.gateway.ask("GET /ready", self.gateway.operations).json()["parts"]
        self.assertEqual((part["reachable"], part["reason"]), (False, "certificate expired"))

    def test_addresses(self) -> None:
        """C{/} lists the addresses of the port, as a page for browsers."""
        answer = self.gateway.ask("GET /", self.gateway.operations)
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        paths = [line.split()[0] for line in answer.body.decode().splitlines()]
        self.assertEqual(paths, ["/metrics", "/ready", "/health"])
        page = self.gateway.ask("GET /", self.gateway.operations, Accept="text/html")
        for path in paths:
            self.assertIn(f'<a href="{path}">', page.body.decode())
        self.assertIn("default-src 'none'", page.headers["content-security-policy"])

    def test_ready_for_people(self) -> None:
        """Curl gets C{/ready} with indentation."""
        answer = self.gateway.ask("GET /ready", self.gateway.operations, User_Agent="curl/8.5.0")
        self.assertTrue(answer.body.startswith(b'{\n  "ready": true'))

    def test_stopping(self) -> None:
        """A gateway that is stopping is not ready."""
        self.gateway.serving.stopping = True
        self.assertEqual(self.gateway.ask("GET /ready", self.gateway.operations).status, 503)

    def test_metrics(self) -> None:
        """Every metric is there from the start."""
        lists = {"type": "plain", "name": "lists", "realm": "internal", "roles": {}}
        gateway = InMemoryGateway({"augmenters": [lists]})
        answer = gateway.ask("GET /metrics", gateway.operations)
        text = answer.body.decode()
        for sample in (
            'auth_requests_total{realm="internal",result="success"} 0.0',
            'auth_requests_total{realm="unknown",result="unavailable"} 0.0',
            'provider_name="staff",provider_type="plain",realm="internal",result="timeout"} 0.0',
            'auth_duration_seconds_count{realm="unknown",result="unavailable"} 0.0',
            'auth_provider_duration_seconds_count{provider_name="staff",provider_type="plain"',
            'augmenter_duration_seconds_count{augmenter_type="plain",realm="internal"} 0.0',
            'authotron_build_info{version="',
            "process_cpu_seconds_total",
        ):
            with self.subTest(sample):
                self.assertIn(sample, text)

    def test_odd_accept_T75(self) -> None:
        """Every C{Accept} of a scraper gets an answer."""
        for accept in ("\xff", "application/openmetrics-text; version=abc", "*/*", ";;;"):
            data = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
            [answer] = self.gateway.say(data.encode("latin-1"), self.gateway.operations)
            self.assertEqual(answer.status, 200)

    def test_separate_T58(self) -> None:
        """Neither port serves the routes of the other."""
        self.assertEqual(self.gateway.ask("GET /metrics").status, 404)
        answer = self.gateway.ask("GET /whoami", self.gateway.operations, Authorization=ALICE)
        self.assertEqual(answer.status, 404)


class LimitTests(SynchronousTestCase):
    """The limit of connections to the metrics port."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()
        self.gateway.operations.limit_connections(3, self.gateway.metrics)

    def opened(self, count: int) -> list[tuple[Any, Wire]]:
        return [self.gateway.connect(self.gateway.operations) for _ in range(count)]

    def statuses(self, wire: Wire) -> list[int]:
        return [answer.status for answer in answered(wire.value())]

    def test_full_T85b(self) -> None:
        """A connection above the limit gets a 503 and is closed, logged and counted."""
        with capturedLogs() as events:
            self.opened(3)
            for _, wire in self.opened(5):
                self.assertEqual(self.statuses(wire), [503])
                self.assertTrue(wire.disconnecting)
        [event] = [each for each in events if each.get("event") == "routes.connections.full"]
        self.assertEqual((event["port"], event["most"]), ("metrics", 3))
        text = self.gateway.metrics.text()[0].decode()
        self.assertIn("authotron_connections_refused_total 5.0", text)

    def test_unused_T85b(self) -> None:
        """Above the limit the connection without a request for longest is closed."""
        (first, first_wire), (_, second), (_, third) = self.opened(3)
        self.gateway.clock.advance(2)
        first.dataReceived(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.gateway.clock.advance(2)
        [(probe, wire)] = self.opened(1)
        probe.dataReceived(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.statuses(wire), [200])
        self.assertEqual(self.statuses(first_wire), [200])
        self.assertEqual([each.disconnected for each in (first_wire, second, third)].count(True), 1)
        self.assertFalse(first_wire.disconnected)

    def test_never_whole_T85b(self) -> None:
        """A partial request does not keep its connection open above the limit."""
        head = b"POST /metrics HTTP/1.1\r\nHost: x\r\n"
        for begun in (
            b"GET /met",
            head,
            head + b"Content-Length: 5\r\n\r\nab",
            head + b"Transfer-Encoding: chunked\r\n\r\n3\r\n",
        ):
            for channel, _ in self.opened(3):
                channel.dataReceived(begun)
            self.gateway.clock.advance(2)
            [(probe, wire)] = self.opened(1)
            probe.dataReceived(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(self.statuses(wire), [200], begun)
            self.gateway.clock.advance(2)

    def test_in_use_T85b(self) -> None:
        """A connection whose request is being answered is never closed for another."""
        waiting: Deferred[None] = Deferred()

        @implementer(IReachable)
        class Slow(Remote):
            async def check_reachable(self) -> None:
                await waiting

        self.gateway.serving.gateway.authenticator.augmenters = [Slow()]  # type: ignore[list-item] # as much of one as is asked
        busy = self.opened(3)
        for channel, _ in busy:
            channel.dataReceived(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        self.gateway.clock.advance(1.5)
        [(_, wire)] = self.opened(1)
        self.assertEqual(self.statuses(wire), [503])
        waiting.callback(None)
        self.assertEqual([self.statuses(wire) for _, wire in busy], [[200]] * 3)

    def test_idle_T85b(self) -> None:
        """A silent client is disconnected after the timeout."""
        opened = self.opened(3)
        self.gateway.clock.advance(60)
        self.assertTrue(all(wire.disconnecting for _, wire in opened))
