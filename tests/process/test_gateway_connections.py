"""The gateway over real connections, on Twisted's transports and on uvloop."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from pathlib import Path

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.web.channel import LAST_CALL
from tests.process.transports import OnUvloop, TransportCase
from tests.web.conversations import ALICE, InMemoryGateway, answered, basic

REQUEST = f"GET /authenticate HTTP/1.1\r\nHost: gate\r\nAuthorization: {ALICE}\r\n\r\n".encode()
OTHER = b"GET /health HTTP/1.1\r\nHost: gate\r\n\r\n"


def open_files() -> int:
    """Return how many files this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


def take_all_files(taken: list[int]) -> None:
    """Open files until this process can open no more; the limit is lowered to make that quick."""
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))


class GatewayContract(TransportCase):
    """What a gateway does with the connections of clients, over any transport."""

    def setUp(self) -> None:
        super().setUp()
        self.gateway = InMemoryGateway()

    def open(self) -> socket.socket:
        """Return a client of the gateway."""
        return self.connect(self.listen(self.gateway.entrance))

    def ask(self, client: socket.socket, request: bytes) -> int:
        """Send a request, and return the status of the reply."""
        self.send(client, request)
        reply = self.receive(client, 1)
        while b"\r\n\r\n" not in reply:
            reply += self.receive(client, 1)
        [answer] = answered(reply)
        self.receive(client, int(answer.headers.get("content-length", 0)))
        return answer.status

    def test_requests(self) -> None:
        """A connection is served by the fast path, and by the site after another request."""
        client = self.open()
        self.assertEqual([self.ask(client, REQUEST) for _ in range(3)], [200] * 3)
        self.assertEqual(self.gateway.handed_over(), 0)
        self.assertEqual([self.ask(client, each) for each in (OTHER, REQUEST)], [200, 200])
        self.assertEqual(self.gateway.handed_over(), 1)

    def test_refusals(self) -> None:
        """A wrong password is refused on a connection that stays open."""
        client = self.open()
        wrong = REQUEST.replace(ALICE.encode(), basic("alice", "wrong").encode())
        self.assertEqual([self.ask(client, each) for each in (wrong, REQUEST)], [401, 200])

    def waiting(self) -> tuple[socket.socket, list[object]]:
        """Return a client whose request waits, and a list of the failures of its decision."""
        failures: list[object] = []

        def note(failure: Failure) -> Failure:
            failures.append(failure.type)
            return failure

        self.gateway.hold().addErrback(note)
        client = self.open()
        client.send(REQUEST)
        self.until(lambda: self.in_flight() == 1, "waiting")
        return client, failures

    def in_flight(self) -> float:
        text = self.gateway.metrics.text()[0].decode()
        return sum(
            float(line.split()[-1])
            for line in text.splitlines()
            if line.startswith("authotron_http_requests_in_flight{")
        )

    def connections(self) -> int:
        """Return how many connections the gateway counts."""
        return len(self.gateway.entrance._open) + len(self.gateway.public.open)

    def all_closed(self) -> None:
        self.until(lambda: self.connections() == 0, "closed")

    def test_client_leaves_while_it_waits(self) -> None:
        """A client that closes, half-closes or resets while it waits cancels its decision."""
        for leave in (self.close, self.half_close, self.reset):
            client, failures = self.waiting()
            leave(client)
            self.until(failures.copy, "cancelled")
            self.assertEqual(failures, [CancelledError])
            self.assertEqual(self.in_flight(), 0)
            self.all_closed()

    def close(self, client: socket.socket) -> None:
        client.close()

    def half_close(self, client: socket.socket) -> None:
        client.shutdown(socket.SHUT_WR)

    def test_half_closed_request(self) -> None:
        """A client that sends a request and closes its sending direction gets the reply."""
        client = self.open()
        self.turns()
        client.send(REQUEST)
        client.shutdown(socket.SHUT_WR)
        self.assertTrue(self.receive_all(client).startswith(b"HTTP/1.1 200 "))
        self.all_closed()

    def test_idle_connection(self) -> None:
        """An idle connection is closed after the timeout, on the fast path and behind it."""
        for request in (REQUEST, OTHER):
            client = self.open()
            self.ask(client, request)
            self.gateway.clock.advance(61)
            self.assertEqual(self.receive_all(client), b"")
            self.all_closed()

    def test_body_that_is_not_read(self) -> None:
        """A client that still sends a body after its reply can read the reply, and the end."""
        client = self.open()
        head = REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 60000\r\n\r\n")
        self.send(client, head)
        self.send(client, b"x" * 60_000)
        self.assertTrue(self.receive_all(client).startswith(b"HTTP/1.1 200 "))
        client.close()
        self.all_closed()

    def test_limit(self) -> None:
        """A connection above the limit gets a 503 and is closed; the others are served."""
        self.gateway.entrance.limit_connections(1)
        port = self.listen(self.gateway.entrance)
        first = self.connect(port)
        self.until(lambda: self.connections() == 1, "accepted")
        reply = self.receive_all(self.connect(port))
        self.assertTrue(reply.startswith(b"HTTP/1.1 503 "))
        self.assertEqual(self.ask(first, REQUEST), 200)

    def test_drain(self) -> None:
        """When the gateway drains, a waiting client gets its reply, and an idle one the end."""
        asked = self.gateway.hold()
        port = self.listen(self.gateway.entrance)
        idle, busy = self.connect(port), self.connect(port)
        self.until(lambda: self.connections() == 2, "accepted")
        busy.send(REQUEST)
        self.until(lambda: self.in_flight() == 1, "waiting")
        self.stop(port)
        drained = self.gateway.entrance.drain()
        self.gateway.clock.advance(LAST_CALL)
        self.assertEqual(self.receive_all(idle), b"")
        asked.callback(self.gateway.good(Authentication(Identity("internal", "alice"))))
        [answer] = answered(self.receive_all(busy))
        self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
        self.result(drained)

    def test_no_descriptor_is_left(self) -> None:
        """Connections that end in any way leave no open file."""
        port = self.listen(self.gateway.entrance)
        self.ask(self.connect(port), REQUEST)
        before = self.until(open_files, "counted")
        for number in range(30):
            client = self.connect(port)
            self.ask(client, REQUEST)
            (self.close, self.half_close, self.reset)[number % 3](client)
            client.close()
        self.until(lambda: open_files() <= before, "closed")

    def test_full_file_table(self) -> None:
        """While the process can open no file, new clients are refused; later clients are served."""
        port = self.listen(self.gateway.entrance)
        served = self.connect(port)
        self.ask(served, REQUEST)
        refused = socket.socket(self.family)
        self.addCleanup(refused.close)
        taken: list[int] = []

        def is_refused() -> bool:
            if not taken:
                take_all_files(taken)
                address = port.getHost()
                is_unix = self.family == socket.AF_UNIX
                refused.connect(address.name if is_unix else (address.host, address.port))
                refused.setblocking(False)
            try:
                return refused.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            self.until(is_refused, "refused")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for each in taken:
                os.close(each)
        self.assertEqual(self.ask(served, REQUEST), 200)
        self.assertEqual(self.ask(self.connect(port), REQUEST), 200)


class TwistedTCPTests(GatewayContract):
    """The gateway on Twisted's transport of TCP."""


class TwistedUNIXTests(GatewayContract):
    """The gateway on Twisted's transport of UNIX sockets."""

    family = socket.AF_UNIX


class UvloopTCPTests(OnUvloop, GatewayContract):
    """The gateway on connections of TCP on uvloop."""


class UvloopUNIXTests(OnUvloop, GatewayContract):
    """The gateway on connections of UNIX sockets on uvloop."""

    family = socket.AF_UNIX


del GatewayContract
