"""The gateway and the backend for the tests of all proxies, and a proxy of each kind."""

from __future__ import annotations

import atexit
import json
import shutil
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from attrs import define, field, frozen

from tests.functional import wire
from tests.functional.daemon import Daemon, awkward, free_port
from tests.functional.listening import Listener, Relay, in_thread, pump
from tests.functional.proxies.shipped import Proxy
from tests.functional.proxy import Backend, crowd

CLIENT = "127.0.0.2"
"""The address of clients. It is no trusted proxy, unlike that of the proxies, C{127.0.0.1}."""

MANY = tuple(f"a-role-with-a-rather-long-name-{number:04}" for number in range(300))
"""The roles of the user C{member}, whose JWT has some 16 KiB."""

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of a WebSocket, with its answer that of the example in RFC 6455."""

_OPENED = (
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

_RULE = {
    "name": "all-but-admin",
    "subject": [["realm=here"]],
    "permissions": ["/**:*", "-/admin/**:*"],
}


@define(eq=False)
class Door(Relay):
    """The way of a proxy to the gateway, which a test can shut."""

    _open: set[socket.socket] = field(factory=set, init=False)

    def serve(self, client: socket.socket) -> None:
        self._open.add(client)
        try:
            super().serve(client)
        finally:
            self._open.discard(client)
            client.close()

    def shut(self) -> None:
        """Refuse new connections, and end those that are open."""
        port = self.port
        self.stop()
        self._shut_at = port
        for client in list(self._open):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def unlock(self) -> None:
        """Accept connections again, at the same port."""
        self._listening = socket.create_server(("127.0.0.1", self._shut_at), backlog=512)
        in_thread(self._accept)

    _shut_at: int = field(default=0, init=False)


@define(eq=False)
class Service(Listener):
    """
    A service that answers one request on each connection, or opens a WebSocket and repeats what it
    gets.

    @ivar heads: of the requests.
    """

    heads: list[bytes] = field(factory=list, init=False)

    def serve(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(65_536)
                if not piece:
                    return
                head += piece
            self.heads.append(head)
            if b"\r\nupgrade: websocket\r\n" in head.lower():
                client.sendall(_OPENED.encode())
                pump(client, client)
            else:
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@frozen
class Gateway:
    """
    A gateway with many users, which every proxy can ask.

    @ivar entrances: the ports by their protocol.
    @ivar second: another gateway, which sends no C{X-Auth-*}, allows no request below C{/admin},
        and which a test may stop.
    @ivar second_entrances: its ports.
    """

    daemon: Daemon
    entrances: Mapping[str, int]
    second: Daemon
    second_entrances: Mapping[str, int]
    backend: Backend


@cache
def gateway() -> Gateway:
    """Return the gateway and the backend for all proxies."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    folder.chmod(0o755)
    [local] = crowd()
    member = {"username": "member", "password": "many", "roles": list(MANY)}
    local["users"].append(member)
    entrances, second_entrances = _entrances(), _entrances()
    keys = {"include_legacy_headers": True, "store": {"type": "memory"}}
    daemon = awkward(folder / "gateway", local, server=_server(entrances), **keys)
    atexit.register(daemon.stop)
    second = Daemon(folder / "second").configure(
        server=_server(second_entrances), policy={"rules": [_RULE]}
    )
    second.start()
    atexit.register(second.stop)
    backend = Backend(folder / "backend").start()
    atexit.register(backend.stop)
    return Gateway(
        daemon,
        {**entrances, "http": daemon.port},
        second,
        {**second_entrances, "http": second.port},
        backend,
    )


def _entrances() -> dict[str, int]:
    return {"grpc": free_port(), "fastcgi": free_port()}


def _server(entrances: Mapping[str, int]) -> dict[str, Any]:
    listen = [f"{name}:tcp:{port}:interface=127.0.0.1" for name, port in entrances.items()]
    return {"listen": listen, "trusted_proxies": ["127.0.0.1/32"]}


@frozen
class Around:
    """
    A proxy twice, each with everything around it.

    @ivar door: the way of C{proxy} to the gateway; behind C{proxy} is the backend.
    @ivar other: a proxy that asks the second gateway, and waits one second for it if possible.
    @ivar other_door: the way of C{other} to the second gateway.
    @ivar service: what is behind C{other}.
    """

    proxy: Proxy
    door: Door
    other: Proxy
    other_door: Door
    service: Service


@define(eq=False)
class _Standing:
    """The proxy of one kind; when the tests go on to the next kind, it is stopped."""

    _kind: type[Proxy] | None = None
    _around: Around | None = None
    _stack: ExitStack = field(factory=ExitStack)

    def of(self, kind: type[Proxy]) -> Around:
        if self._around is None or self._kind is not kind:
            self.end()
            self._kind, self._around = kind, self._start(kind)
        return self._around

    def end(self) -> None:
        self._kind = self._around = None
        self._stack.close()

    def _start(self, kind: type[Proxy]) -> Around:
        targets = (gateway().entrances, gateway().second_entrances)
        folder = Path(mkdtemp())
        self._stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        doors = [Door(target[kind.entrance]).start() for target in targets]
        service = Service().start()
        for listener in (*doors, service):
            self._stack.callback(listener.stop)
        proxy = kind(folder / "proxy", doors[0].port, gateway().backend.port)
        other = kind(folder / "other", doors[1].port, service.port, kind.impatient)
        for started in (proxy, other):
            self._stack.callback(started.start().stop)
        return Around(proxy, doors[0], other, doors[1], service)


_STANDING = _Standing()


def around(kind: type[Proxy]) -> Around:
    """Return a proxy of a kind and everything around it; that of another kind is stopped."""
    gateway()
    return _STANDING.of(kind)


atexit.register(_STANDING.end)


def limited(limits: Mapping[str, Sequence[str]]) -> str:
    """Make an API token with limits, and return the value of C{Authorization}."""
    body = json.dumps(limits).encode()
    fields = {
        "Authorization": wire.basic("alice", "wonder"),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    answer = wire.say(gateway().daemon.port, wire.head("/tokens", fields, "POST"), body)
    assert answer is not None
    return f"Bearer {answer.json()['token']}"
