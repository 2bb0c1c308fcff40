"""FastCGI connections in memory, on which tests play the proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

from authotron.daemon.protocols import factory_of
from authotron.net.world import Agents, forbid_http
from authotron.web.fastcgi import records
from authotron.web.fastcgi.records import Record
from authotron.web.trusted_peers import TrustedPeersFactory
from tests.web.conversations import ALICE, PEER, InMemoryGateway, Wire

PROXIED = {"server": {"trusted_proxies": ["192.0.2.0/24"]}, "logging": {"access": "all"}}
"""A configuration that trusts the peer of all connections in memory."""

PLAIN = {
    "HTTP_HOST": "app.example.org",
    "HTTP_AUTHORIZATION": ALICE,
    "REMOTE_ADDR": "203.0.113.9",
    "SCRIPT_FILENAME": "proxy:http://127.0.0.1:8000/data/x",
    "REQUEST_METHOD": "GET",
    "QUERY_STRING": "",
    "REQUEST_URI": "/data/x",
    "FCGI_ROLE": "AUTHORIZER",
    "FCGI_APACHE_ROLE": "AUTHENTICATOR",
}
"""The variables of an ordinary question."""


def variables(over: Mapping[str, Any]) -> bytes:
    """Return the stream of variables of an ordinary question; C{...} leaves one out."""
    found = {name: value for name, value in {**PLAIN, **over}.items() if value is not ...}
    pairs = ((name.encode(), value.encode("latin-1")) for name, value in found.items())
    return b"".join([records.encode_pair(*each) for each in pairs])


def begin(request: int = 1, role: int = records.AUTHORIZER, flags: int = 0) -> bytes:
    """Return the record that begins a request."""
    return records.encode(records.BEGIN_REQUEST, request, bytes([0, role, flags, 0, 0, 0, 0, 0]))


def asking(request: int = 1, flags: int = 0, **over: Any) -> bytes:
    """Return the bytes of a question."""
    stream = records.encode_stream(records.PARAMS, request, variables(over))
    return begin(request, flags=flags) + stream


def read(data: bytes) -> Iterator[Record]:
    """Yield all records in the bytes that the gateway wrote."""
    while data:
        found = records.first(data)
        assert found is not None
        record, size = found
        yield record
        data = data[size:]


@define
class Answer:
    """The answer to one question."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer(data: bytes) -> Answer:
    """Return the one answer in the bytes that the gateway wrote."""
    *stream, end = read(data)
    assert [each.type for each in stream] == [records.STDOUT] * len(stream)
    assert (end.type, end.content) == (records.END_REQUEST, bytes(8))
    assert stream[-1].content == b""
    head, _, body = b"".join([each.content for each in stream]).partition(b"\r\n\r\n")
    lines = head.decode("utf-8").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    return Answer(int(headers.pop("Status").split()[0]), headers, body)


@define(eq=False)
class FastCgiGateway:
    """A gateway in memory that serves FastCGI."""

    over: Mapping[str, Any] = field(factory=lambda: PROXIED)
    agents: Agents = forbid_http
    gateway: InMemoryGateway = field(init=False)
    factory: TrustedPeersFactory = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.gateway = InMemoryGateway(dict(self.over), agents=self.agents)
        gateway = self.gateway
        self.factory = factory_of("fastcgi", gateway.entrance, gateway.serving, gateway.clock)

    def connect(self, peer: Any = PEER) -> tuple[Any, Wire]:
        """Open a connection."""
        wire = Wire(peerAddress=peer)
        connection = self.factory.buildProtocol(peer)
        connection.makeConnection(wire)
        return connection, wire

    def send(self, data: bytes, pieces: int = 0) -> Wire:
        """Send bytes on a new connection, in pieces if wanted, and return its transport."""
        connection, wire = self.connect()
        size = pieces or len(data) or 1
        for start in range(0, len(data), size):
            if not wire.disconnecting:
                connection.dataReceived(data[start : start + size])
        return wire

    def ask(self, **over: Any) -> Answer:
        """Ask an ordinary question with some variables changed, and return the answer."""
        return answer(self.send(asking(**over)).value())

    def counted(self, name: str) -> dict[str, float]:
        """Return the metrics whose names begin with a string."""
        lines = self.gateway.metrics.text()[0].decode().splitlines()
        found = (line.rsplit(" ", 1) for line in lines if line.startswith(name))
        return {labels: float(value) for labels, value in found}
