"""Listen to the events of the gateway: revocations, and changes of its policies and keys."""

from __future__ import annotations

import http.client
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from authotron.client.errors import Unavailable
from authotron.client.event_parser import EventParser, ServerEvent, TooLong
from authotron.client.flights import Spawn, in_a_thread

_SILENCE = 60.0
"""
Seconds without a heartbeat after which a connection counts as lost; the gateway sends one every
15 s by default.
"""

_PIECE = 64 * 1024
_LONGEST_PAUSE = 60.0
_OK = 200
_FAILURES = (OSError, http.client.HTTPException, UnicodeError, TooLong, Unavailable)

_log = logging.getLogger("authotron.client")

Connect = Callable[[str], Iterator[bytes]]
"""
Opens a stream of events after the event with an id, which is empty for a client without one, and
yields its bytes until the connection ends.

@raise Unavailable: the gateway does not answer with a stream of events.
"""


class EventListener:
    """
    Listens to C{GET /events} of the gateway in a thread of its own, and connects again whenever the
    connection is lost.

    After a short interruption the gateway sends the events that the listener has missed. If the
    gateway does not have these events any more, it sends everything that is in force, between the
    events C{reset} and C{ready}.

    @param url: the URL of the gateway.
    @param authorization: a function that returns the value of the header C{Authorization} for each
        connection.
    @param on_event: a function that is called for each event, in the thread of the listener.
    @param tls: verifies the certificate of the gateway; by default as the system does.
    @param connect: opens a stream, instead of a request to the gateway; for tests.
    """

    def __init__(
        self,
        url: str,
        authorization: Callable[[], str],
        on_event: Callable[[ServerEvent], object],
        *,
        tls: ssl.SSLContext | None = None,
        connect: Connect | None = None,
        spawn: Spawn = in_a_thread,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._authorization, self._on_event = authorization, on_event
        self._url, self._tls = urlsplit(url.rstrip("/")), tls
        if connect is None and self._url.scheme not in ("http", "https"):
            raise ValueError(f"not an http or https URL: {url}")
        self._connect = connect or self._open
        self._spawn, self._jitter = spawn, jitter
        self._parser = EventParser()
        self._stopped = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self.is_connected = False

    def start(self) -> EventListener:
        """Begin to listen."""
        self._stopped.clear()
        self._spawn(self._run)
        return self

    def stop(self) -> None:
        """Stop listening; the thread ends soon."""
        self._stopped.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            # closing the socket alone would not wake the thread that waits for it
            _shut_down(connection)

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self.listen()
            except _FAILURES as error:
                if not self._stopped.is_set() and not failures:
                    _log.warning("listening to events of the gateway failed: %s", error)
            except Exception:  # noqa: BLE001 - the callback of the service may raise anything
                _log.exception("handling an event of the gateway failed")
            lasted = time.monotonic() - began
            failures = 0 if lasted > _SILENCE else failures + 1
            self._stopped.wait(min(_LONGEST_PAUSE, 2.0 ** min(failures, 6)) * self._jitter())

    def listen(self) -> None:
        """
        Listen to events of the gateway until the connection ends.

        @raise Unavailable: the gateway does not answer with a stream of events.
        """
        last = self._parser.last_id
        self._parser = EventParser(last)
        try:
            for piece in self._connect(last):
                self.is_connected = True
                for event in self._parser.feed(piece):
                    self._on_event(event)
        finally:
            self.is_connected = False

    def _open(self, last_id: str) -> Iterator[bytes]:
        host, port = self._url.hostname or "", self._url.port
        connection = http.client.HTTPConnection(host, port, timeout=_SILENCE)
        if self._url.scheme == "https":
            context = self._tls or ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=_SILENCE, context=context)
        headers = {"Authorization": self._authorization(), "Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        self._connection = connection
        try:
            connection.request("GET", f"{self._url.path}/events", headers=headers)
            response = connection.getresponse()
            kind = (response.getheader("Content-Type") or "").partition(";")[0].strip()
            if response.status != _OK or kind != "text/event-stream":
                raise Unavailable(f"GET /events answers with status {response.status} and {kind}")
            while piece := response.read1(_PIECE):
                yield piece
        finally:
            self._connection = None
            connection.close()


def _shut_down(connection: http.client.HTTPConnection) -> None:
    """Make a read that waits on a connection return."""
    try:
        connection.sock.shutdown(2)
    except OSError:
        _log.debug("the connection to the gateway was closed already")
