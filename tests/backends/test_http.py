"""Asking the gateway by HTTP, at a port of the loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.client import Client, InvalidToken, Unavailable, User, Verifier
from authotron.client.http import Http
from authotron.client.testing import FakeGateway, serve
from authotron.client.testing.fake_gateway import _json
from tests.backends.services import service

ALICE = User("internal", "alice")


@contextmanager
def raw(answer: bytes, *, then_close: bool = True) -> Iterator[str]:
    """A server that answers every connection with these bytes."""
    listening = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def run() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.recv(65536)
            connection.sendall(answer)
            if then_close:
                connection.close()
            else:
                open_ones.append(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for each in open_ones:
            each.close()
        thread.join(5)


class HttpTests(SynchronousTestCase):
    """Exchanges with a server."""

    def get(self, url: str, seconds: float = 5) -> Any:
        return Http(url).get("/", {}, seconds)

    def fails(self, url: str, seconds: float = 5) -> str:
        return str(self.assertRaises(Unavailable, self.get, url, seconds))

    def test_kept_connection(self) -> None:
        """A connection is used again; if the server closed it meanwhile, a new one is made."""
        with service(lambda *_: (200, {})) as found:
            http = Http(found.url)
            for _ in range(3):
                self.assertEqual(http.get("/x", {"A": "b"}, 5).body, b"ok")
            [kept] = http._idle
            assert kept.sock is not None
            kept.sock.shutdown(socket.SHUT_RDWR)
            self.assertEqual(http.get("/x", {}, 5).status, 200)
            http.close()
        self.assertEqual(len(found.received), 4)

    def test_unreachable(self) -> None:
        """A server that is not there is an outage."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        self.assertIn("is unreachable", self.fails(f"http://127.0.0.1:{port}"))

    def test_odd_answers(self) -> None:
        """What is not HTTP, ends too early or never comes is an outage."""
        for answer in (b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"):
            with raw(answer) as url:
                self.fails(url)
        with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", then_close=False) as url:
            self.fails(url, 0.2)

    def test_large_answer(self) -> None:
        """No more than a megabyte is read."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n"
        with raw(head + b"x" * 2_000_000) as url:
            self.assertIn("more than", self.fails(url))

    def test_wrong_urls(self) -> None:
        """A URL that could not be asked is refused at once."""
        for url in ("gateway", "ftp://x", "http://", "http://u:p@x", "http://x/?a"):
            self.assertRaises(ValueError, Http, url)

    def test_tls(self) -> None:
        """By default certificates are verified as the system does."""
        tls: Any = Http("https://x")._tls
        self.assertEqual((tls.verify_mode, tls.check_hostname), (ssl.CERT_REQUIRED, True))


class ServedTests(SynchronousTestCase):
    """The fake gateway at a port, asked by the real code."""

    def setUp(self) -> None:
        self.gateway = FakeGateway()
        self.gateway.add_token(ALICE, "opaque")

    def test_issuer(self) -> None:
        """The keys of a gateway without a discovery document are found by its URL alone."""
        with serve(self.gateway) as url:
            self.gateway.issuer = url
            self.assertEqual(Verifier(url).verify(self.gateway.mint(ALICE)), ALICE)
            self.assertEqual(Verifier(f"{url}").verify(self.gateway.mint(ALICE)), ALICE)

    def test_url_of_keys(self) -> None:
        """The URL of the keys may be another than that of the issuer."""
        with serve(self.gateway) as url:
            verifier = Verifier(self.gateway.issuer, jwks_url=f"{url}/.well-known/jwks.json")
            self.assertEqual(verifier.verify(self.gateway.mint(ALICE)), ALICE)
            elsewhere = Verifier(self.gateway.issuer, jwks_url=f"{url}/elsewhere")
            self.assertRaises(Unavailable, elsewhere.verify, self.gateway.mint(ALICE))

    def test_client(self) -> None:
        """A service asks the gateway at its port."""
        with serve(self.gateway) as url:
            client = Client(url, self.gateway.verifier())
            self.assertEqual(client.authenticate("Bearer opaque").user, ALICE)
            self.assertRaises(InvalidToken, client.authenticate, "Bearer other")
            self.gateway.fail_on("authenticate", 0)
            self.assertRaises(Unavailable, client.authenticate, "Bearer opaque", realm="internal")

    def test_discovery(self) -> None:
        """A discovery document names the keys, and must be of the issuer."""
        with serve(self.gateway) as keys:
            for change, works in (
                ({}, True), ({"issuer": "https://other.test"}, False), ({"jwks_uri": None}, False),
                ({"jwks_uri": "ftp://x/"}, False),
            ):  # fmt: skip
                document: dict[str, Any] = {}
                with raw_json(document) as url:
                    document |= {"issuer": url, "jwks_uri": f"{keys}/.well-known/jwks.json"}
                    document |= change
                    self.gateway.issuer = url
                    verifier, token = Verifier(url), self.gateway.mint(ALICE)
                    if works:
                        self.assertEqual(verifier.verify(token), ALICE)
                    else:
                        self.assertRaises(Unavailable, verifier.verify, token)


@contextmanager
def raw_json(document: dict[str, Any]) -> Iterator[str]:
    """A gateway whose every path has a document."""
    gateway = FakeGateway()
    gateway.answer = lambda *_: _json(200, document)  # type: ignore[method-assign] # nothing else
    with serve(gateway) as url:
        yield url
