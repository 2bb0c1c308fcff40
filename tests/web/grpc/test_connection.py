"""The HTTP/2 connection of a proxy: calls, their status, and how a connection ends."""

from __future__ import annotations

from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.web.channel import LAST_CALL
from authotron.web.grpc import calls, connection, health
from authotron.web.grpc.calls import LARGEST_MESSAGE, Status, with_prefix
from authotron.web.grpc.messages import HealthCheckRequest, HealthCheckResponse
from tests.web.conversations import InMemoryGateway
from tests.web.grpc.dialogue import GOOD, Proxy, Response, grpc_factory


class CallTests(SynchronousTestCase):
    """One call after the other."""

    def test_pieces(self) -> None:
        """A call that arrives byte by byte is answered like one that arrives at once."""
        proxy = Proxy(begins=False)
        proxy.http2.initiate_connection()
        stream = proxy.begin()
        proxy.http2.send_data(stream, with_prefix(GOOD), end_stream=True)
        proxy.send(*[bytes([byte]) for byte in proxy.http2.data_to_send()])
        self.assertEqual(proxy.responses[stream].says, 200)

    def test_several(self) -> None:
        """Many calls at once on one connection are all answered."""
        proxy = Proxy()
        streams = [proxy.begin() for _ in range(connection.MOST_CALLS)]
        for stream in streams:
            proxy.http2.send_data(stream, with_prefix(GOOD), end_stream=True)
        proxy.flush()
        proxy.advance(0, 0, 0, 0)
        self.assertEqual({proxy.responses[stream].says for stream in streams}, {200})
        self.assertEqual(proxy.connection.calls, {})
        self.assertEqual(proxy.gateway.public.unfinished.size, 0)

    def test_more_than_allowed(self) -> None:
        """A call above the limit is refused so that the proxy may repeat it; the others go on."""
        proxy = Proxy(settings={SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
        proxy.http2.remote_settings.max_concurrent_streams = 1_000
        proxy.http2.remote_settings.acknowledge()
        streams = [proxy.begin() for _ in range(connection.MOST_CALLS + 1)]
        proxy.flush()
        proxy.advance(0, 0, 0)
        refused = proxy.responses[streams[-1]].reset
        self.assertEqual(refused, ErrorCodes.REFUSED_STREAM)
        proxy.http2.send_data(streams[0], with_prefix(GOOD), end_stream=True)
        proxy.flush()
        self.assertEqual(proxy.responses[streams[0]].says, 200)

    def test_small_window(self) -> None:
        """A proxy that accepts few bytes at a time gets the answer in pieces."""
        proxy = Proxy(settings={SettingCodes.INITIAL_WINDOW_SIZE: 100})
        response = proxy.call(GOOD)
        proxy.advance(0)
        self.assertEqual(response.says, 200)

    def test_no_window(self) -> None:
        """If a proxy does not accept the answer in time, the call is given up."""
        proxy = Proxy(settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
        proxy.call(GOOD)
        proxy.advance(*[1] * 13)
        self.assertEqual(proxy.responses[1].reset, ErrorCodes.CANCEL)
        self.assertEqual(proxy.connection.calls, {})
        self.assertFalse(proxy.is_closed)

    def test_window_of_the_connection(self) -> None:
        """Many large messages one after the other do not exhaust the window of the connection."""
        proxy = Proxy()
        large = GOOD + b"\x7a\x04" + b"xxxx"  # an unknown field
        for _ in range(20):
            message = large + b"\x7a" + b"\xa0\x8d\x06" + b"x" * 100_000
            stream = proxy.begin()
            for at in range(0, len(message) + 5, 16_000):
                piece = with_prefix(message)[at : at + 16_000]
                proxy.http2.send_data(stream, piece, end_stream=at + 16_000 >= len(message) + 5)
            proxy.flush()
            self.assertEqual(proxy.responses[stream].says, 200)


class StatusTests(SynchronousTestCase):
    """Calls that get no answer from a method."""

    def sent(
        self, *pieces: bytes, ends: bool = True, changed: dict[str, str] | None = None
    ) -> Response:
        proxy = Proxy()
        stream = proxy.begin(changed)
        for index, piece in enumerate(pieces, 1):
            proxy.http2.send_data(stream, piece, end_stream=ends and index == len(pieces))
        proxy.flush()
        self.assertFalse(proxy.is_closed)
        self.assertEqual(proxy.connection.calls, {})
        return proxy.responses[stream]

    def test_unknown_method(self) -> None:
        """A method that is not served is UNIMPLEMENTED."""
        for path in ("/envoy.service.auth.v2.Authorization/Check", "/", "/authenticate"):
            response = self.sent(with_prefix(GOOD), changed={":path": path})
            self.assertEqual(response.grpc_status, Status.UNIMPLEMENTED)
            self.assertEqual(response.message, b"")

    def test_compressed(self) -> None:
        """A compressed message is UNIMPLEMENTED, as no compression is offered."""
        response = self.sent(b"\x01" + with_prefix(GOOD)[1:])
        self.assertEqual(response.grpc_status, Status.UNIMPLEMENTED)

    def test_malformed(self) -> None:
        """A message that is no protocol buffer is INTERNAL."""
        self.assertEqual(self.sent(with_prefix(b"\xff\xff\xff")).grpc_status, Status.INTERNAL)

    def test_cut(self) -> None:
        """A call that ends before its message does is INTERNAL."""
        for piece in (b"", b"\x00", with_prefix(GOOD)[:-1]):
            self.assertEqual(self.sent(piece).grpc_status, Status.INTERNAL)

    def test_two_messages(self) -> None:
        """A second message in a call is INTERNAL, and does not change the first one's answer."""
        self.assertEqual(self.sent(with_prefix(GOOD) * 2).grpc_status, Status.INTERNAL)

    def test_too_large(self) -> None:
        """A message that announces more bytes than allowed is refused before it arrives."""
        announced = b"\x00" + (LARGEST_MESSAGE + 1).to_bytes(4, "big")
        response = self.sent(announced, ends=False)
        self.assertEqual(response.grpc_status, Status.RESOURCE_EXHAUSTED)
        self.assertEqual(response.reset, ErrorCodes.NO_ERROR)

    def test_not_grpc(self) -> None:
        """A request that is no call gets a status of HTTP."""
        self.assertEqual(self.sent(b"x", changed={"content-type": "application/json"}).status, 415)
        self.assertEqual(self.sent(b"x", changed={":method": "GET"}).status, 405)

    def test_counted(self) -> None:
        """Calls that fail are counted and logged like requests that cannot be parsed."""
        proxy = Proxy()
        proxy.call(b"", {":path": "/x/y"})
        text = proxy.gateway.metrics.text()[0].decode().splitlines()
        labels = '{method="POST",route="unmatched",status_code="404"}'
        found = [line for line in text if line.startswith("authotron_http_requests_total")]
        self.assertEqual(len(found), 1)
        self.assertIn('status_code="404"', found[0], labels)


class HealthTests(SynchronousTestCase):
    """The health check of gRPC."""

    def ask(self, proxy: Proxy, service: str = "") -> Response:
        message = HealthCheckRequest(service=service.encode()).SerializeToString()
        return proxy.call(message, {":path": health.PATH.decode()})

    def status(self, response: Response) -> int:
        self.assertEqual(response.grpc_status, Status.OK)
        return int(HealthCheckResponse.FromString(response.message[calls.PREFIX :]).status)

    def test_serving(self) -> None:
        """The gateway says SERVING of itself and of its service."""
        for service in ("", "envoy.service.auth.v3.Authorization"):
            self.assertEqual(self.status(self.ask(Proxy(), service)), 1)

    def test_stopping(self) -> None:
        """A gateway that is about to stop says NOT_SERVING."""
        gateway = InMemoryGateway()
        gateway.serving.stopping = True
        self.assertEqual(self.status(self.ask(Proxy(gateway))), 2)

    def test_unknown(self) -> None:
        """Another service is NOT_FOUND, and a malformed question INTERNAL."""
        self.assertEqual(self.ask(Proxy(), "other").grpc_status, Status.NOT_FOUND)
        response = Proxy().call(b"\xff", {":path": health.PATH.decode()})
        self.assertEqual(response.grpc_status, Status.INTERNAL)


class EndTests(SynchronousTestCase):
    """How a connection ends."""

    def test_drain(self) -> None:
        """
        A gateway that stops asks the proxy for another connection, answers what is on its way, and
        closes the connection after the last answer.
        """
        gateway = InMemoryGateway()
        good = gateway.serving.gateway
        asked = gateway.hold()
        factory = grpc_factory(gateway)
        proxy = Proxy(gateway, factory)
        proxy.call(GOOD)
        drained = factory.drain()
        proxy.read()
        self.assertEqual((proxy.ended, proxy.last_stream), (0, 2**31 - 1))
        gateway.serving.gateway = good
        self.assertEqual(proxy.call(GOOD).says, 200)
        proxy.advance(LAST_CALL)
        self.assertEqual((proxy.ended, proxy.last_stream), (0, 3))
        self.assertEqual(proxy.call(GOOD).reset, ErrorCodes.REFUSED_STREAM)
        self.assertFalse(proxy.is_closed)
        asked.callback(gateway.good(Authentication(Identity("internal", "alice"))))
        proxy.read()
        self.assertEqual(proxy.responses[1].says, 200)
        self.assertTrue(proxy.is_closed)
        proxy.lose()
        self.successResultOf(drained)

    def test_drain_before_the_first_byte(self) -> None:
        """A connection on which nothing was received is aborted when the gateway stops."""
        gateway = InMemoryGateway()
        factory = grpc_factory(gateway)
        proxy = Proxy(gateway, factory, begins=False)
        drained = factory.drain()
        self.assertTrue(proxy.wire.disconnected)
        proxy.lose()
        self.successResultOf(drained)

    def test_nothing_before_the_first_byte(self) -> None:
        """Nothing is written before the peer's first byte, when TLS could not send it."""
        proxy = Proxy(begins=False)
        self.assertEqual(proxy.wire.value(), b"")
        proxy.send(b"P")
        self.assertNotEqual(proxy.wire.value(), b"")

    def test_idle(self) -> None:
        """A connection without a call is closed after the idle timeout, and the proxy is warned."""
        gateway = InMemoryGateway({"server": {"idle_timeout": 20}})
        proxy = Proxy(gateway)
        proxy.call(GOOD)
        proxy.advance(*[1] * 18)
        self.assertIsNone(proxy.ended)
        proxy.advance(*[1] * 6)
        self.assertEqual(proxy.ended, 0)
        self.assertTrue(proxy.is_closed)

    def test_not_idle(self) -> None:
        """A connection whose calls wait for a decision is not idle."""
        gateway = InMemoryGateway({"server": {"idle_timeout": 20}})
        gateway.hold()
        proxy = Proxy(gateway)
        proxy.call(GOOD)
        proxy.advance(*[1] * 60)
        self.assertIsNone(proxy.ended)

    def test_peer_leaves(self) -> None:
        """A proxy that sends GOAWAY still gets the answers of its calls."""
        gateway = InMemoryGateway()
        asked = gateway.hold()
        proxy = Proxy(gateway)
        proxy.call(GOOD)
        proxy.send(GoAwayFrame(0).serialize())
        self.assertFalse(proxy.is_closed)
        asked.cancel()
        proxy.lose()

    def test_http_1(self) -> None:
        """A client that speaks HTTP/1.1 is disconnected at its first bytes."""
        proxy = Proxy(begins=False)
        proxy.send(b"GET / HTTP/1.1\r\n")
        self.assertTrue(proxy.is_closed)

    def test_closed_in_time(self) -> None:
        """A proxy that does not read the last bytes is disconnected in the end."""
        proxy = Proxy(begins=False)
        proxy.send(b"x")
        self.assertFalse(proxy.wire.disconnected)
        proxy.clock.advance(connection.PATIENCE)
        self.assertTrue(proxy.wire.disconnected)

    def test_limit(self) -> None:
        """Connections above the limit are closed."""
        gateway = InMemoryGateway()
        factory = grpc_factory(gateway, most=1)
        Proxy(gateway, factory)
        self.assertFalse(hasattr(factory.buildProtocol(None), "calls"))
