"""
Ask the gateway by HTTP, with a deadline for the whole exchange and a limit on the size of the
gateway's answer.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import urlsplit

from authotron.client.errors import Unavailable

_MAX_BODY = 1024 * 1024
_FAILURES = (OSError, http.client.HTTPException, UnicodeError)
"""
The exceptions that a failed HTTP exchange raises; UnicodeError is raised for host names that cannot
be encoded by IDNA.
"""

_MAX_IDLE = 8
"""Maximum connections that are kept open for further requests."""


@dataclass(frozen=True)
class Answer:
    """The answer to an HTTP request."""

    status: int
    headers: Message
    body: bytes = field(repr=False)


class Http:
    """
    Sends GET requests to one origin, and keeps its connections open.

    Redirects are not followed: the configured address must be the address of the gateway itself.
    """

    def __init__(self, origin: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http or https URL: {origin}")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(f"the URL has a user name, a query or a fragment: {origin}")
        self._host, self._port = parts.hostname, parts.port
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self.name = f"{parts.scheme}://{parts.netloc}"
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def get(self, path: str, headers: Mapping[str, str], timeout: float) -> Answer:
        """
        Send a GET request; send it once more if the connection turns out to be closed.

        @raise Unavailable: there was no complete answer in time.
        """
        ends = time.monotonic() + timeout
        kept = self._kept()
        if kept is not None:
            try:
                return self._ask(kept, path, headers, ends)
            except (ConnectionError, http.client.BadStatusLine):
                pass  # the gateway closed the idle connection
            except _FAILURES as error:
                raise self._unavailable(error) from None
        try:
            return self._ask(self._connection(), path, headers, ends)
        except _FAILURES as error:
            raise self._unavailable(error) from None

    def close(self) -> None:
        """Close the connections that are kept open."""
        while (kept := self._kept()) is not None:
            kept.close()

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(f"{self.name} is unreachable: {error or type(error).__name__}")

    def _kept(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        headers: Mapping[str, str],
        ends: float,
    ) -> Answer:
        is_reusable = False
        try:
            _limit(connection, ends)
            connection.request("GET", path, headers=headers)
            _limit(connection, ends)
            response = connection.getresponse()
            body = _body(connection, response, ends)
            is_reusable = not response.will_close
            return Answer(response.status, response.headers, body)
        finally:
            self._release(connection, is_reusable=is_reusable)

    def _release(self, connection: http.client.HTTPConnection, *, is_reusable: bool) -> None:
        with self._lock:
            if is_reusable and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()


def _limit(connection: http.client.HTTPConnection, ends: float) -> None:
    """
    Set the timeout of the next operation on a connection to the time that is left before the
    deadline.

    @raise TimeoutError: no time is left.
    """
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("the answer did not come in time")
    connection.timeout = left
    if connection.sock is not None:
        connection.sock.settimeout(left)


def _body(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse, ends: float
) -> bytes:
    read = b""
    while chunk := response.read1(64 * 1024):
        read += chunk
        if len(read) > _MAX_BODY:
            raise http.client.HTTPException(f"the answer has more than {_MAX_BODY} bytes")
        if connection.sock is not None:
            _limit(connection, ends)
    if response.length:
        raise http.client.IncompleteRead(read, response.length)
    # After read1() has read the last byte the response still counts as open, and the connection
    # cannot be reused until the response is closed.
    response.close()
    return read
