"""The gateway over real connections, on Twisted's transports and on uvloop."""

from __future__ import annotations

import socket

from tests.process.transports import OnUvloop, TransportCase
from tests.web.conversations import ALICE, InMemoryGateway, answered, basic

REQUEST = f"GET /authenticate HTTP/1.1\r\nHost: gate\r\nAuthorization: {ALICE}\r\n\r\n".encode()
OTHER = b"GET /health HTTP/1.1\r\nHost: gate\r\n\r\n"


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
