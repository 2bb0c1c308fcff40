"""A proxy in memory that speaks gRPC over HTTP/2, with a gateway in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame
from twisted.internet.address import IPv4Address
from twisted.python.failure import Failure

from authotron.config.endpoint import GRPC
from authotron.daemon.protocols import factory_of
from authotron.web.grpc import calls, envoy
from authotron.web.grpc.messages import CheckRequest, CheckResponse
from authotron.web.trusted_peers import TrustedPeersFactory
from tests.web.conversations import ALICE, InMemoryGateway, Wire

PROXY = IPv4Address("TCP", "127.0.0.1", 4711)
STRANGER = IPv4Address("TCP", "192.0.2.7", 4711)
HEADERS = {
    ":method": "POST",
    ":path": envoy.PATH.decode(),
    ":authority": "grpc",
    ":scheme": "http",
    "te": "trailers",
    "content-type": "application/grpc",
}


def check_request(
    method: str = "GET",
    path: str = "/data/x?a=1",
    host: str = "app.example.org",
    address: str = "203.0.113.9",
    **headers: str,
) -> bytes:
    """Return the message by which Envoy asks; underscores in names of headers stand for dashes."""
    request = CheckRequest()
    attributes = request.attributes
    attributes.source.address.socket_address.address = address.encode()
    http = attributes.request.http
    http.method, http.path, http.host = method.encode(), path.encode(), host.encode()
    for name, value in headers.items():
        http.headers.add(key=name.replace("_", "-").encode(), value=value.encode())
    return bytes(request.SerializeToString())


GOOD = check_request(authorization=ALICE)


@define
class Response:
    """What came back on one stream."""

    status: int = 0
    headers: dict[str, str] = field(factory=dict)
    message: bytes = b""
    trailers: dict[str, str] = field(factory=dict)
    reset: int | None = None

    @property
    def grpc_status(self) -> int:
        return int({**self.headers, **self.trailers}["grpc-status"])

    @property
    def check(self) -> Any:
        """The answer to Envoy."""
        assert self.grpc_status == 0, self
        return CheckResponse.FromString(self.message[calls.PREFIX :])

    @property
    def says(self) -> int:
        """The status that Envoy gives to the client, or 200 if the request goes on."""
        response = self.check
        if response.status.code == 0:
            assert not response.HasField("denied_response")
            return 200
        assert not response.HasField("ok_response")
        return int(response.denied_response.status.code)

    @property
    def added(self) -> dict[str, str]:
        """The headers that Envoy adds to the request of the client."""
        return _headers(self.check.ok_response.headers)

    @property
    def removed(self) -> list[str]:
        """The headers that Envoy removes from the request of the client."""
        return [each.decode() for each in self.check.ok_response.headers_to_remove]

    @property
    def refusal(self) -> dict[str, str]:
        """The headers that the client gets with a refusal."""
        return _headers(self.check.denied_response.headers)


def _headers(options: Any) -> dict[str, str]:
    pairs = [(each.header.key.decode(), each.header.value.decode()) for each in options]
    assert len(dict(pairs)) == len(pairs), pairs
    assert all(each.append_action == 2 for each in options)
    return dict(pairs)


class Proxy:
    """
    One connection of a proxy to a gateway.

    @ivar http2: the proxy's side of the connection.
    @ivar responses: what came back, by stream.
    @ivar ended: the error code of the GOAWAY frame that the gateway has sent last.
    """

    def __init__(
        self,
        gateway: InMemoryGateway | None = None,
        factory: TrustedPeersFactory | None = None,
        address: Any = PROXY,
        settings: Mapping[SettingCodes, int] | None = None,
        *,
        begins: bool = True,
    ) -> None:
        self.gateway = gateway or InMemoryGateway()
        self.clock = self.gateway.clock
        self.factory = factory or grpc_factory(self.gateway)
        self.wire = Wire(peerAddress=address)
        self.connection: Any = self.factory.buildProtocol(address)
        self.http2 = H2Connection(
            H2Configuration(header_encoding="latin-1", validate_outbound_headers=False)
        )
        if settings:
            self.http2.local_settings = Settings(initial_values={**settings})
        self.responses: dict[int, Response] = {}
        self.ended: int | None = None
        self.last_stream: int | None = None
        self._read = 0
        self.is_lost = False
        self.connection.makeConnection(self.wire)
        if begins:
            self.http2.initiate_connection()
            self.flush()

    @property
    def is_closed(self) -> bool:
        return self.wire.disconnecting or self.wire.disconnected

    def flush(self) -> None:
        """Send what is ready, and read what comes back."""
        self.send(self.http2.data_to_send())

    def send(self, *chunks: bytes) -> None:
        """Send bytes, and read what comes back."""
        for chunk in chunks:
            if chunk and not self.is_closed:
                self.connection.dataReceived(chunk)
        self.read()

    def read(self) -> None:
        """Read what came back, and acknowledge it."""
        data = self.wire.value()[self._read :]
        self._read += len(data)
        for event in self.http2.receive_data(self._without_goaway(data)):
            self._note(event)
        if answer := self.http2.data_to_send():
            self.send(answer)

    def _without_goaway(self, data: bytes) -> bytes:
        """Note GOAWAY frames, after which h2 would neither receive nor send anything."""
        kept = b""
        while data:
            frame, length = Frame.parse_frame_header(memoryview(data[:9]))
            if isinstance(frame, GoAwayFrame):
                frame.parse_body(memoryview(data[9 : 9 + length]))
                self.ended, self.last_stream = frame.error_code, frame.last_stream_id
            else:
                kept += data[: 9 + length]
            data = data[9 + length :]
        return kept

    def _note(self, event: Event) -> None:
        stream = getattr(event, "stream_id", None)
        response = self.responses.setdefault(stream, Response()) if stream else Response()
        if isinstance(event, ResponseReceived):
            response.headers = _fields(event.headers)
            response.status = int(response.headers[":status"])
        elif isinstance(event, DataReceived):
            response.message += event.data or b""
            self.http2.acknowledge_received_data(event.flow_controlled_length or 0, stream or 0)
        elif isinstance(event, TrailersReceived):
            response.trailers = _fields(event.headers)
        elif isinstance(event, StreamReset):
            response.reset = event.error_code

    def begin(self, changed: Mapping[str, str] | None = None) -> int:
        """Begin a call, some of whose headers are changed, and return its stream."""
        stream = self.http2.get_next_available_stream_id()
        self.http2.send_headers(stream, [*{**HEADERS, **(changed or {})}.items()])
        return stream

    def call(self, message: bytes, changed: Mapping[str, str] | None = None) -> Response:
        """Make a call, and return what came back."""
        stream = self.begin(changed)
        self.http2.send_data(stream, calls.with_prefix(message), end_stream=True)
        self.flush()
        return self.responses.get(stream, Response())

    def check(self, **asked: str) -> Response:
        """Ask as Envoy does."""
        return self.call(check_request(**asked))

    def lose(self) -> None:
        """Close the connection."""
        self.connection.connectionLost(Failure(ConnectionError()))

    def advance(self, *seconds: float) -> None:
        """Let time pass, and read what comes back."""
        for each in seconds:
            self.clock.advance(each)
            self.read()


def _fields(headers: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers or ()}


def grpc_factory(gateway: InMemoryGateway, most: int = 1_000) -> TrustedPeersFactory:
    """Return the factory of a gateway's gRPC connections."""
    gateway.entrance.connection_limit.most = most
    return factory_of(GRPC, gateway.entrance, gateway.serving, gateway.clock)
