"""
The backend that C{authotron probe} expects behind a proxy: it answers with the bytes that arrived.

Each request of a probe contains a mark with a nonce. The answer contains a proof that only the echo
backend derives from the nonce, so that a probe never takes another service for the echo backend.
The echo backend answers a request without a mark with 404.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress

from attrs import frozen
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import TimeoutMixin

MARK = "authotron-probe-"
PROOF = "X-Probe-Echo"
"""The header of an answer that repeats the proof, for answers without a body."""

_MARKED = re.compile(rb"authotron-probe-([0-9a-f]{24})")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,7})", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding[ \t]*:.*chunked", re.IGNORECASE | re.MULTILINE)
_CLOSE = re.compile(
    rb"^connection[ \t]*:.*close|^[^\n]+ HTTP/1\.0\r?$", re.IGNORECASE | re.MULTILINE
)
_LAST_CHUNK = re.compile(rb"(?:^|\n)0++(?![0-9A-Fa-f])[^\n]*+\n(?:[^\r\n][^\n]*+\n){0,16}+\r?\n")
"""Matches the end of a chunked body, with at most 16 trailers, in linear time."""


_LARGEST = 262_144
"""Maximum number of bytes of a request; a larger request ends its connection."""

_SHOWN = 2048
"""Maximum number of bytes that an answer shows of a body, and of the bytes after a request."""

_IDLE = 60.0
"""Number of seconds without a byte after which a connection is closed."""


def proof(nonce: str) -> str:
    """Return the proof that the echo backend derives from a nonce."""
    return hashlib.sha256(f"echo backend of authotron probe: {nonce}".encode()).hexdigest()[:32]


@frozen
class Arrived:
    """
    A request with exactly the bytes that arrived.

    @ivar after: the bytes that arrived after the request on the same connection.
    """

    head: bytes
    body: bytes
    after: bytes


def take(received: bytes) -> Arrived | None:
    """
    Return the first request in what a connection has received, or C{None} if it is incomplete.

    The request is parsed leniently, because the probe judges its bytes.
    """
    if (end := _BLANK_LINE.search(received)) is None:
        return None
    head, rest = received[: end.end()], received[end.end() :]
    if _CHUNKED.search(head):
        last = _LAST_CHUNK.search(rest)
        length = last.end() if last else len(rest) + 1
    else:
        announced = _LENGTH.search(head)
        length = int(announced[1]) if announced else 0
    return Arrived(head, rest[:length], rest[length:]) if length <= len(rest) else None


def closes(arrived: Arrived) -> bool:
    """
    Return whether the connection ends with the answer, because the proxy demands it or the request
    has no mark.
    """
    return bool(_CLOSE.search(arrived.head)) or not _MARKED.search(arrived.head)


def answer(arrived: Arrived) -> bytes:
    """Return the answer to a request: its bytes as JSON, or 404 if it has no mark."""
    found = _MARKED.search(arrived.head)
    nonce = found[1].decode() if found else ""
    content = {
        "nonce": nonce,
        "proof": proof(nonce),
        "head": arrived.head.decode("latin-1"),
        "body": arrived.body[:_SHOWN].decode("latin-1"),
        "after": arrived.after[:_SHOWN].decode("latin-1"),
    }
    if not found:
        content = {"error": "This is the echo backend of authotron probe"}
    body = json.dumps(content).encode() + b"\n"
    lines = [
        "HTTP/1.1 200 OK" if found else "HTTP/1.1 404 Not Found",
        "Content-Type: application/json",
        "Cache-Control: no-store",
        f"Content-Length: {len(body)}",
        *([f"{PROOF}: {proof(nonce)}"] if found else []),
        *(["Connection: close"] if closes(arrived) else []),
    ]
    shown = b"" if arrived.head.startswith(b"HEAD ") else body
    return "\r\n".join([*lines, "", ""]).encode() + shown


class EchoConnection(Protocol, TimeoutMixin):
    """One connection of a proxy to the echo backend."""

    transport: ITransport

    def __init__(self) -> None:
        self._received = b""

    def connectionMade(self) -> None:
        self.setTimeout(_IDLE)

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        self._received += data
        while (arrived := take(self._received)) is not None:
            self._received = arrived.after
            self.transport.write(answer(arrived))
            if closes(arrived):
                self._received = b""
                self.transport.loseConnection()
        if len(self._received) > _LARGEST:
            self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        with suppress(ValueError):
            self.setTimeout(None)


class EchoFactory(Factory):
    """Makes the connections of the echo backend."""

    protocol = EchoConnection
    noisy = False
