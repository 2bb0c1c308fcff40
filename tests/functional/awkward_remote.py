"""A remote over TLS that behaves as badly as real remotes do."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, field

from tests.functional.listening import Listener


def _head(status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json"]
    lines += [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def _whole(content: bytes, status: str = "200 OK") -> bytes:
    return _head(status, len(content)) + content


Manner = Callable[["socket.socket", threading.Event], None]


def _says(*pieces: bytes) -> Manner:
    def manner(connection: socket.socket, _ended: threading.Event) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return manner


def _hangs(*pieces: bytes) -> Manner:
    """Send part of an answer, and then nothing until the client closes the connection."""

    def manner(connection: socket.socket, ended: threading.Event) -> None:
        for piece in pieces:
            connection.sendall(piece)
        with suppress(OSError):
            while connection.recv(4096):
                pass
        ended.set()

    return manner


def _drips(connection: socket.socket, ended: threading.Event) -> None:
    """Send single bytes slowly, until the client closes the connection."""
    connection.sendall(_head(length=100_000))
    connection.settimeout(0.1)
    while not ended.is_set():
        try:
            connection.sendall(b" ")
            if not connection.recv(4096):
                ended.set()
        except TimeoutError:
            continue
        except OSError:
            ended.set()


def _floods(connection: socket.socket, ended: threading.Event) -> None:
    """Send 100 MB, or as much as the client reads."""
    with suppress(OSError):
        connection.sendall(_head(length=100_000_000))
        for _ in range(1000):
            connection.sendall(b" " * 100_000)
    ended.set()


def _waits(connection: socket.socket, ended: threading.Event) -> None:
    """Answer only after the test has set C{ended}."""
    ended.wait(60)
    connection.sendall(_whole(GOOD))


_CHUNKED = b"Transfer-Encoding: chunked"
GOOD = json.dumps({"uid": "tess"}).encode()

MANNERS: dict[str, Manner] = {
    "good": _says(_whole(GOOD)),
    "refuses": _says(_whole(b"{}", "403 Forbidden")),
    "waits": _waits,
    "hangs": _hangs(),
    "hangs-after-the-head": _hangs(_head(length=100)),
    "drips": _drips,
    "floods": _floods,
    "breaks-off": _says(_head(length=100), b"{"),
    "says-nothing": _says(),
    "no-http": _says(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "version-0.9": _says(_whole(GOOD).replace(b"HTTP/1.1", b"HTTP/0.9")),
    "version-2.0": _says(_whole(GOOD).replace(b"HTTP/1.1", b"HTTP/2.0")),
    "status-0200": _says(_whole(GOOD, "0200 OK")),
    "two-lengths": _says(_whole(GOOD).replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n")),
    "both-lengths": _says(_whole(GOOD).replace(b"\r\n\r\n", b"\r\n" + _CHUNKED + b"\r\n\r\n")),
    "line-feeds": _says(_whole(GOOD).replace(b"\r\n", b"\n")),
    "html": _says(_whole(b"<html>busy</html>")),
    "no-json": _says(_whole(b'{"uid": ')),
    "no-content": _says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "error": _says(_whole(GOOD, "500 Internal Server Error")),
    "endless-head": _hangs(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 1_000_000),
}
"""What a token of this name meets."""

ENDLESS = ("hangs", "hangs-after-the-head", "drips", "floods")
"""Those that end only when we end them."""


@define(eq=False)
class Remote(Listener):
    """
    A remote that speaks TLS, and behaves as the token in a request says.

    @ivar clients: the authority of the client certificates that it demands, if it does.
    @ivar asked: by manner, how often.
    @ivar ended: by manner, whether the other side closed the connection.
    """

    certificate: Path
    clients: Path | None = None
    asked: Counter[str] = field(factory=Counter, init=False)
    ended: dict[str, threading.Event] = field(init=False)
    _context: ssl.SSLContext = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ended = {name: threading.Event() for name in MANNERS}
        self.show(self.certificate)

    def show(self, certificate: Path) -> None:
        """Present another certificate on new connections."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        if self.clients is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(self.clients)

    def serve(self, client: socket.socket) -> None:
        with self._context.wrap_socket(client, server_side=True) as connection:
            token = _token(connection)
            self.asked[token] += 1
            MANNERS[token](connection, self.ended[token])


def _token(connection: Any) -> str:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(4096)
    target = received.split(b" ")[1].decode()
    return parse_qs(urlsplit(target).query)["token"][0]
