"""Events of real gateways, and WebSockets of revoked users behind real proxies."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from zlib import decompress

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from authotron.client.event_parser import EventParser, ServerEvent
from authotron.jose import unverified
from tests.functional import wire
from tests.functional.daemon import Daemon, environment, free_port
from tests.functional.proxies.around import KEY, Service
from tests.functional.proxies.envoy import EnvoyByHttp
from tests.functional.proxies.shipped import Nginx, Proxy
from tests.waiting import DEADLINE, until

ROOT = Path(__file__).resolve().parents[2]
RELAY = ROOT / "examples" / "websocket_relay.py"
USERS = [
    {"username": "alice", "password": "wonder", "roles": ["auditor", "admin"]},
    {"username": "bob", "password": "builder"},
]
ALICE, BOB = wire.basic("alice", "wonder"), wire.basic("bob", "builder")


def gateway(folder: Path, **over: Any) -> Daemon:
    """Start a gateway that revokes, and sends events."""
    store = {
        "type": "sqlite",
        "path": str(folder.absolute() / "tokens.db"),
        "admins": {"here": ["admin"]},
    }
    local = {"name": "local", "type": "plain", "realm": "here", "users": USERS}
    over = {"events": {}, **over}
    return (
        Daemon(folder)
        .configure(
            store=store,
            revocation={},
            tokens={"introspectors": ["auditor"]},
            providers=[local],
            **over,
        )
        .start()
    )


def revoke(port: int, **named: Any) -> None:
    """Make a revocation as an administrator."""
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    headers = {"Authorization": ALICE, "Content-Type": "application/json"}
    connection.request("POST", "/revocations", json.dumps(named), headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 201, (response.status, body)


class Listening:
    """A client of C{GET /events}."""

    def __init__(self, port: int, authorization: str = ALICE, last: str = "") -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        headers = {"Authorization": authorization, **({"Last-Event-ID": last} if last else {})}
        self._connection.request("GET", "/events", headers=headers)
        self._response: HTTPResponse = self._connection.getresponse()
        assert self._response.status == 200
        self._parser = EventParser()
        self._events: list[ServerEvent] = []

    @property
    def last_id(self) -> str:
        return self._parser.last_id

    def until(self, name: str) -> ServerEvent:
        """Return the next event with a name, or with none C{""} when the stream ends."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if event.name == name:
                    return event
            piece = self._response.read1(65_536)
            if not piece:
                return ServerEvent("", "")
            self._events += self._parser.feed(piece)

    def close(self) -> None:
        self._connection.close()


class StreamTests(SynchronousTestCase):
    """Streams of real processes."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_every_worker(self) -> None:
        """A revocation that one worker makes reaches the streams of all workers."""
        daemon = gateway(self.folder, server={"workers": 2})
        self.addCleanup(daemon.stop)
        streams = [Listening(daemon.port) for _ in range(8)]
        for each in streams:
            self.addCleanup(each.close)
            each.until("ready")
        revoke(daemon.port, realm="here", username="carol")
        for each in streams:
            self.assertEqual(json.loads(each.until("revocation").data)["username"], "carol")

    def test_stop(self) -> None:
        """A gateway that stops ends its streams, and does not wait for the grace period."""
        daemon = gateway(self.folder, server={"grace": DEADLINE * 2})
        self.addCleanup(daemon.stop)
        stream = Listening(daemon.port)
        self.addCleanup(stream.close)
        stream.until("ready")
        daemon.tell(signal.SIGTERM)
        self.assertEqual(stream.until("never").name, "")
        daemon.exit_status()

    def test_own_revocation_S_STREAM(self) -> None:
        """The stream of a revoked client ends."""
        daemon = gateway(self.folder)
        self.addCleanup(daemon.stop)
        stream = Listening(daemon.port, BOB)
        self.addCleanup(stream.close)
        stream.until("ready")
        revoke(daemon.port, realm="here", username="bob")
        self.assertEqual(stream.until("end").data, '{"reason": "refused"}')

    def test_status_lists(self) -> None:
        """Each worker publishes the lists of all workers, with what is revoked in each of them."""
        lists = {"status_list": {"url": "https://gate", "ttl": 1}}
        daemon = gateway(self.folder, server={"workers": 2}, events=lists)
        self.addCleanup(daemon.stop)
        references: dict[str, int] = {}

        def has_both() -> bool:
            with ThreadPoolExecutor(16) as threads:
                for each in threads.map(self.minted, [daemon.port] * 64):
                    references[each["uri"]] = each["idx"]
            return len(references) == 2

        until(has_both, "JWTs of both workers")
        until(lambda: all(self.fetched(daemon.port, references)), "lists of both workers")
        self.assertFalse(any(map(self.is_marked, self.fetched(daemon.port, references))))
        revoke(daemon.port, realm="here", username="bob")
        until(
            lambda: all(map(self.is_marked, self.fetched(daemon.port, references))),
            "marked in both lists, whichever worker publishes them",
        )

    def minted(self, port: int) -> dict[str, Any]:
        """Return the place of a JWT that one of the workers has minted for bob."""
        answer = wire.ask(port, "/authenticate", {"Authorization": BOB})
        found = unverified.parse(str(answer.header("Authorization")).removeprefix("Bearer "))
        assert found is not None
        return dict(found.claims["status"]["status_list"])

    def fetched(self, port: int, references: dict[str, int]) -> list[tuple[bytes, int] | None]:
        """Fetch each list several times at once, so that each worker publishes it."""

        def fetch(uri: str) -> tuple[bytes, int] | None:
            answer = wire.ask(port, uri.removeprefix("https://gate"), {})
            found = unverified.parse(answer.body.decode()) if answer.status == 200 else None
            if found is None:
                return None
            lst = unverified.decode_base64url(found.claims["status_list"]["lst"])
            return decompress(lst), references[uri]

        with ThreadPoolExecutor(16) as threads:
            return [*threads.map(fetch, [*references] * 16)]

    def is_marked(self, found: tuple[bytes, int] | None) -> bool:
        assert found is not None
        statuses, index = found
        return bool(statuses[index // 8] >> index % 8 & 1)

    def test_reload(self) -> None:
        """A reload keeps the streams, and is an event."""
        daemon = gateway(self.folder, policy={"default": "allow"})
        self.addCleanup(daemon.stop)
        stream = Listening(daemon.port)
        self.addCleanup(stream.close)
        stream.until("ready")
        daemon.tell(signal.SIGHUP)
        self.assertEqual(stream.until("policy").name, "policy")
        revoke(daemon.port, realm="here", username="carol")
        self.assertEqual(stream.until("revocation").name, "revocation")


class WebSocketCase:
    """A WebSocket of a revoked user behind one proxy."""

    proxy: type[Proxy]

    def test_ended(self: Any) -> None:
        """
        The relay of the examples ends the WebSocket of a user who is revoked, and no other one,
        although the proxy asked only when it was opened.
        """
        folder = Path(self.mktemp()).absolute()
        daemon = gateway(folder / "gateway", jwt={"alg": "ES256", "secret": ..., "key": _key()})
        self.addCleanup(daemon.stop)
        service = Service()
        service.start()
        self.addCleanup(service.stop)
        relay = self.relay(folder, daemon, service.port)
        entrance = daemon.port
        proxy = self.proxy(folder / "proxy", entrance, relay)
        proxy.start()
        self.addCleanup(proxy.stop)
        alice, bob = (self.opened(proxy.port, each) for each in (ALICE, BOB))
        revoke(daemon.port, realm="here", username="bob")
        self.assertEqual(bob.recv(100), b"")
        alice.sendall(b"still there")
        self.assertEqual(alice.recv(100), b"still there")

    def relay(self: Any, folder: Path, daemon: Daemon, service: int) -> int:
        """Start the relay, and return its port."""
        port, token = free_port(), folder / "token"
        issuer, url = "functional", f"http://127.0.0.1:{daemon.port}"
        token.write_text(_token(daemon.port))
        command = [sys.executable, str(RELAY), str(port), str(service), url, issuer, str(token)]
        with (folder / "relay.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                env=environment({"PYTHONPATH": str(ROOT)}),
            )  # fmt: skip
        self.addCleanup(process.wait, DEADLINE)
        self.addCleanup(process.terminate)
        log_file = folder / "relay.log"
        until(
            lambda: "listening" in log_file.read_text(), "listening", otherwise=log_file.read_text
        )
        return port

    def opened(self: Any, port: int, authorization: str) -> socket.socket:
        """Open a WebSocket through the proxy, and check that it passes bytes on."""
        client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.addCleanup(client.close)
        fields = [
            ("Authorization", authorization), ("Connection", "Upgrade"), ("Upgrade", "websocket"),
            ("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Version", "13"),
        ]  # fmt: skip
        client.sendall(wire.head("/", fields))
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65_536)
            self.assertTrue(piece, head)
            head += piece
        self.assertIn(b" 101 ", head.partition(b"\r\n")[0])
        client.sendall(b"hello")
        self.assertEqual(client.recv(100), b"hello")
        return client


def _key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def _token(port: int) -> str:
    """Make an API token with which the relay listens."""
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    headers = {"Authorization": ALICE, "Content-Type": "application/json"}
    connection.request("POST", "/tokens", "{}", headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == 201, answer
    return str(answer["token"])


class NginxTests(WebSocketCase, SynchronousTestCase):
    """Behind nginx."""

    proxy = Nginx


class EnvoyTests(WebSocketCase, SynchronousTestCase):
    """Behind Envoy."""

    proxy = EnvoyByHttp
