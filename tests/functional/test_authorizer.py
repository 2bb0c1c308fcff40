"""A gateway that asks a policy decision point about each request, whatever that one answers."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.awkward_remote import Manner
from tests.functional.daemon import Daemon
from tests.functional.listening import Listener
from tests.waiting import DEADLINE, until

USERS: list[dict[str, Any]] = [{"username": "alice", "password": "wonder", "roles": ["operator"]}]
PROVIDERS = [{"name": "local", "type": "plain", "realm": "here", "users": USERS}]
TRUSTED = {"trusted_proxies": ["127.0.0.1/32"]}
POLICY = {
    "rules": [
        {"name": "all", "subject": [["role=operator"]], "permissions": ["/**:*", "-/denied:*"]}
    ]
}
YES = b'{"decision": true}'


def _response(body: bytes, status: str = "200 OK", *lines: str, media: str = "json") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: application/{media}", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _sends(*pieces: bytes, then_waits: bool = False) -> Manner:
    """Send bytes, and either close the connection or wait until the gateway closes it."""

    def manner(connection: socket.socket, ended: threading.Event) -> None:
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
            while then_waits and connection.recv(4096):
                pass
        ended.set()

    return manner


_ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * 300_000

MANNERS: dict[str, Manner] = {
    "yes": _sends(_response(YES)),
    "no": _sends(_response(b'{"decision": false}')),
    "string": _sends(_response(b'{"decision": "true"}')),
    "number": _sends(_response(b'{"decision": 1}')),
    "twice": _sends(_response(b'{"decision": false, "decision": true}')),
    "nested": _sends(_response(b'{"evaluations": [{"decision": true}]}')),
    "html": _sends(_response(YES, media="xhtml+xml")),
    "error": _sends(_response(YES, "500 Internal Server Error")),
    "created": _sends(_response(YES, "201 Created")),
    "redirect": _sends(_response(YES, "307 Temporary Redirect", "Location: /yes")),
    "two-lengths": _sends(_response(YES, "200 OK", "Content-Length: 5")),
    "short": _sends(_response(YES)[:-5]),
    "nothing": _sends(),
    "ssh": _sends(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "endless": _sends(_ENDLESS, then_waits=True),
    "slow": _sends(_response(YES)[:-5], then_waits=True),
    "silent": _sends(then_waits=True),
}
"""What a policy decision point does if it is asked about the path of this name."""

ALLOWED, DENIED = "yes", "no"


@define(eq=False)
class Pdp(Listener):
    """
    A policy decision point that behaves as the path in a question says.

    @ivar asked: how often it was asked, by path.
    @ivar ended: by path, whether the gateway closed the connection.
    """

    asked: Counter[str] = field(factory=Counter, init=False)
    ended: dict[str, threading.Event] = field(init=False)
    heads: list[str] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.ended = {name: threading.Event() for name in MANNERS}

    def serve(self, client: socket.socket) -> None:
        with client:
            head, question = _question(client)
            name = question["resource"]["id"].removeprefix("/")
            self.heads.append(head)
            self.asked[name] += 1
            MANNERS[name](client, self.ended[name])


def _question(connection: socket.socket) -> tuple[str, Any]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    text = head.decode().lower()
    length = int(text.partition("content-length:")[2].split("\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return head.decode(), json.loads(body)


class AuthorizerTests(SynchronousTestCase):
    """A real gateway, and a policy decision point over TCP."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.pdp = Pdp().start()
        self.addCleanup(self.pdp.stop)
        self.daemon = Daemon(self.folder / "gateway")

    def configure(self, port: int, **over: Any) -> Daemon:
        token = self.folder / "token"
        token.write_text("pdp-secret\n")
        token.chmod(0o600)
        section = {
            "type": "authzen",
            "url": f"http://127.0.0.1:{port}/access/v1/evaluation",
            "token_file": str(token),
            "timeout": "1s",
            **over,
        }
        return self.daemon.configure(
            providers=PROVIDERS, server=TRUSTED, policy=POLICY, authorizer=section
        )

    def start(self, **over: Any) -> None:
        self.configure(self.pdp.port, **over).start()
        self.addCleanup(self.daemon.stop)

    def ask(self, path: str) -> wire.Answer:
        headers = {
            "Authorization": wire.basic("alice", "wonder"),
            "X-Original-URI": f"/{path}",
            "X-Original-Method": "GET",
        }
        return wire.ask(self.daemon.port, "/authenticate", headers)

    def test_manners_S_PDP(self) -> None:
        """Only a clear yes lets a request pass; whatever else happens is a refusal in time."""
        self.start(cache=0)
        self.assertEqual(self.ask(ALLOWED).status, 200)
        denied = self.ask(DENIED)
        self.assertEqual(
            (denied.status, denied.header("X-Auth-Reason")), (403, "denied-by-authorizer")
        )
        for name in (each for each in MANNERS if each not in (ALLOWED, DENIED)):
            answer = self.ask(name)
            self.assertEqual(answer.status, 503, name)
            self.assertIsNone(answer.header("Authorization"))
            self.assertIsNotNone(answer.header("Retry-After"))
            self.assertEqual(self.pdp.asked[name], 1, name)
            self.assertEqual(self.ask(ALLOWED).status, 200)
        for name in ("endless", "slow", "silent"):
            self.assertTrue(self.pdp.ended[name].wait(DEADLINE), name)
        self.assertEqual(self.ask("denied").header("X-Auth-Reason"), "denied-by-policy")
        self.assertNotIn("denied", self.pdp.asked)
        self.assertTrue(all("Authorization: Bearer pdp-secret" in each for each in self.pdp.heads))
        log = self.daemon.log()
        self.assertIn("authorizer authorizer is unavailable", log)
        self.assertNotIn("pdp-secret", log)
        self.assertNotIn("Traceback", log)

    def test_closed_and_reload(self) -> None:
        """A policy decision point that is gone is a 503, until a reload names another one."""
        self.start(cache=0)
        self.assertEqual(self.ask(ALLOWED).status, 200)
        self.pdp.stop()
        self.assertEqual(self.ask(ALLOWED).status, 503)
        part = json.loads(wire.ask(self.daemon.operations, "/ready").body)["parts"][-1]
        self.assertEqual((part["name"], part["reachable"]), ("authorizer", False))
        other = Pdp().start()
        self.addCleanup(other.stop)
        self.configure(other.port, cache=0)
        self.daemon.tell(signal.SIGHUP)
        self.daemon.logged("configuration reloaded")
        until(lambda: self.ask(ALLOWED).status, "allowed", wanted=(200).__eq__)
        self.assertGreater(other.asked[ALLOWED], 0)

    def test_cached(self) -> None:
        """A decision is used for equal questions while it is cached."""
        self.start(cache="1h")
        for _ in range(3):
            self.assertEqual(self.ask(ALLOWED).status, 200)
            self.assertEqual(self.ask(DENIED).status, 403)
        self.assertEqual((self.pdp.asked[ALLOWED], self.pdp.asked[DENIED]), (1, 1))
