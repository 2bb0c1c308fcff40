"""An HTTP client for the tests: with whole requests, or with single bytes as an attacker would."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from collections.abc import Iterable, Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any

from attrs import frozen

from tests.waiting import DEADLINE


@frozen
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, tuple[str, ...]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of the only header of a name."""
        values = self.headers.get(name.lower(), ())
        assert len(values) <= 1, f"{name} stands there {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)


def basic(username: str, password: str) -> str:
    """Return the value of C{Authorization} for a user."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


def connect(address: int | str) -> socket.socket:
    """Connect to a port of this machine, or to a UNIX socket."""
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), DEADLINE)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(address)
    return connection


def head(
    path: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    method: str = "GET",
    *,
    host: str = "localhost",
) -> bytes:
    """Return the bytes of a request."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in pairs]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def receive(connection: socket.socket, method: str = "GET") -> Answer | None:
    """Return the next answer on a connection; C{None} if the connection ended without one."""
    response = HTTPResponse(connection, method=method)
    try:
        response.begin()
        body = response.read()
    except (ConnectionError, HTTPException):
        return None
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in response.getheaders():
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    return Answer(response.status, headers, body)


def say(address: int | str, *pieces: bytes) -> Answer | None:
    """Send bytes on a new connection, and wait for one answer."""
    with connect(address) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except ConnectionError:
            pass  # refused before all was said; the answer may be there already
        return receive(connection)


def ask(
    address: int | str,
    path: str = "/authenticate",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    method: str = "GET",
) -> Answer:
    """Send a request, and return the answer."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    with connect(address) as connection:
        connection.sendall(head(path, [*pairs, ("Connection", "close")], method))
        answer = receive(connection, method)
    assert answer is not None, f"no answer to {method} {path}"
    return answer


def login(address: int | str, username: str, password: str, path: str = "/authenticate") -> Answer:
    """Send a request with a password, and return the answer."""
    return ask(address, path, {"Authorization": basic(username, password)})


def ended(connection: socket.socket) -> bool:
    """Return whether the daemon closes the connection within the time limit."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True
