"""Every TLS client beside servers that show odd certificates: nothing secret is sent to them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase, TestCase

from authotron.model.errors import Unavailable
from authotron.plugin.interfaces import ITokenStore
from tests.certificates import EXPIRED, GOOD, ODD, Authority, Shape, named
from tests.functional import directory, wire
from tests.functional.awkward_remote import Remote
from tests.functional.daemon import Daemon, environment
from tests.functional.databases import shared
from tests.functional.directory import provider
from tests.functional.listening import Relay, in_thread, pump
from tests.functional.test_stores import closed, outcome, reachable, store_of
from tests.waiting import DEADLINE, TEST_TIMEOUT, eventually

FEW = ("no names", "an email address", "a star beside the name", "a null byte", "another name")
"""Odd certificates of every kind of refusal, where each costs a server of its own."""

SERVED = frozenset({"an extension that breaks off", "no extension at all", "an authority"})
"""Odd certificates that not every server is able to show."""

timeout = TEST_TIMEOUT


def odd() -> Iterator[tuple[str, Shape, str]]:
    for name, (shape, told) in ODD.items():
        if name not in SERVED:
            yield name, shape, told


@define(eq=False)
class Front(Relay):
    """
    Speaks TLS before a server that does not.

    @ivar certificate: what it shows.
    @ivar heard: what came to it, decrypted.
    """

    certificate: Path = Path()
    heard: bytearray = field(factory=bytearray)
    clients: list[socket.socket] = field(factory=list, init=False)

    def cut(self) -> None:
        """End all connections."""
        while self.clients:
            with contextlib.suppress(OSError):
                self.clients.pop().shutdown(socket.SHUT_RDWR)

    def serve(self, client: socket.socket) -> None:
        self.clients.append(client)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        with context.wrap_socket(client, server_side=True) as connection:
            self.clients.append(connection)
            server = wire.connect(self.target)
            server.settimeout(None)
            in_thread(pump, server, connection)
            while piece := connection.recv(65536):
                self.heard += piece
                server.sendall(piece)


class HttpTests(SynchronousTestCase):
    """A provider that sends HTTP requests."""

    def test_odd_certificates_S_TLS(self) -> None:
        """An odd certificate is an outage with the reason in the log, and no request is sent."""
        authority = Authority(Path(self.mktemp()).absolute()).found()
        remote = Remote(authority.issue("localhost")).start()
        self.addCleanup(remote.stop)
        part = {
            "type": "ecmwf-api",
            "name": "api",
            "realm": "here",
            "uri": f"https://localhost:{remote.port}",
            "ca_file": str(authority.file),
        }
        for number, (name, shape, told) in enumerate(odd()):
            if number % 8 == 0:  # before the circuit opens
                daemon = Daemon(Path(self.mktemp())).configure(providers=[part])
                self.addCleanup(daemon.stop)
                daemon.start()
            remote.show(authority.write(shape, "odd"))
            headers = {"Authorization": "Bearer good"}
            with self.subTest(name):
                answer = wire.ask(daemon.port, "/authenticate", headers)
                self.assertEqual(answer.status, 503)
                self.assertIsNotNone(answer.header("Retry-After"))
                daemon.logged(told)
        self.assertEqual(remote.asked, {})
        self.assertNotIn("Traceback", daemon.log())
        remote.show(authority.write(GOOD["names of other kinds"], "good"))
        self.assertEqual(wire.ask(daemon.port, "/authenticate", headers).status, 200)


class LdapTests(SynchronousTestCase):
    """A directory over ldaps and over StartTLS."""

    def login(self, daemon: Daemon, realm: str) -> wire.Answer:
        headers = {"Authorization": wire.basic("alice", "alicepw"), "X-Auth-Realm": realm}
        return wire.ask(daemon.port, "/whoami", headers)

    def test_ldaps_S_TLS(self) -> None:
        """With ldaps each certificate is an outage with its reason, and no bind is sent."""
        slapd = directory.directory()
        authority = Authority(Path(self.mktemp()).absolute()).found()
        front = Front(slapd.port).start()
        self.addCleanup(front.stop)
        for name in FEW:
            shape, told = ODD[name]
            front.certificate = authority.write(shape, "odd")
            part = provider(
                slapd, "corp", uri=f"ldaps://localhost:{front.port}", ca_file=str(authority.file)
            )
            with self.subTest(name):
                self.refused(part, told)
        self.assertEqual(front.heard, b"")
        front.certificate = authority.issue("localhost")
        daemon = self.daemon(part)
        self.assertEqual(self.login(daemon, "corp").status, 200)
        self.assertIn(b"svc", front.heard)

    def test_starttls_S_TLS(self) -> None:
        """With StartTLS each certificate is an outage with its reason, and no bind is sent."""
        authority = Authority(Path(self.mktemp()).absolute()).found()
        for name in FEW:
            shape, told = ODD[name]
            slapd = directory.another(Path(self.mktemp()), "odd", issued=authority.issued(shape))
            self.addCleanup(slapd.stop)
            with self.subTest(name):
                part = provider(slapd, "corp", tls="starttls", ca_file=str(authority.file))
                self.refused(part, told)
                self.assertNotIn("cn=authotron", slapd.log())

    def daemon(self, part: dict[str, Any]) -> Daemon:
        daemon = Daemon(Path(self.mktemp())).configure(providers=[part])
        self.addCleanup(daemon.stop)
        return daemon.start()

    def refused(self, part: dict[str, Any], told: str) -> None:
        daemon = self.daemon(part)
        self.assertEqual(self.login(daemon, "corp").status, 503)
        daemon.logged(told)
        self.assertNotIn("Traceback", daemon.log())
        daemon.stop()


class StoreTests(TestCase):
    """Token stores over TLS."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()

    async def refused(self, section: dict[str, Any], login: dict[str, Any], front: Front) -> None:
        """Expect an outage with the reason, before a command or a password is sent."""
        authority = Authority(self.folder).found()
        section = {**section, "tls": True, "tls_ca_file": str(authority.file)}
        for name, shape, told in odd():
            front.certificate = authority.write(shape, "odd")
            store = store_of(section, **login)
            error = await outcome(store.open())
            await closed(store)
            with self.subTest(name):
                self.assertIsInstance(error, Unavailable)
                self.assertIn(told, str(error))
        self.assertEqual(front.heard, b"")
        front.certificate = authority.issue("localhost")
        store = store_of(section)
        self.addCleanup(closed, store)
        await store.open()
        await self.changed(store, front, authority)

    async def changed(self, store: ITokenStore, front: Front, authority: Authority) -> None:
        """Expect that the certificate is checked again at each new connection."""
        front.certificate = authority.write(named("localhost", end=EXPIRED), "odd")
        heard = len(front.heard)
        front.cut()
        error = await eventually(
            lambda: outcome(store.check_reachable()),
            "rejected for its certificate",
            wanted=lambda error: error is None or "certificate expired" in str(error),
        )
        self.assertIsInstance(error, Unavailable)
        self.assertEqual(len(front.heard), heard)
        front.certificate = authority.issue("localhost")
        await reachable(store)

    def front(self, port: int) -> Front:
        front = Front(port).start()
        self.addCleanup(front.stop)
        return front

    async def test_redis_S_TLS(self) -> None:
        """A Redis server with an odd certificate receives no command and no password."""
        section = shared("redis").section
        front = self.front(section["port"])
        section = {**section, "host": "localhost", "port": front.port}
        await self.refused(section, {"password": "canary"}, front)

    async def test_mongo_S_TLS(self) -> None:
        """A MongoDB server with an odd certificate receives no command and no password."""
        section = shared("mongo").section
        port = urlsplit(section["uri"]).port
        assert port is not None
        front = self.front(port)
        place = f"localhost:{front.port}/{section['database']}"
        section["uri"] = f"mongodb://{place}"
        await self.refused(section, {"uri": f"mongodb://user:canary@{place}"}, front)


class ImportTests(SynchronousTestCase):
    """Commands that read the store of another service."""

    def test_import_S_TLS(self) -> None:
        """An import from a store with an odd certificate fails, before any command."""
        authority = Authority(Path(self.mktemp()).absolute()).found()
        front = Front(1, certificate=authority.write(ODD["no names"][0], "odd")).start()
        self.addCleanup(front.stop)
        gateway = Daemon(Path(self.mktemp()))
        store = {"type": "sqlite", "path": "tokens.db", "imported": True}
        gateway.configure(store={**store, "acl_proxy_pepper": "pepper"})
        trust = {"tls": True, "tls_ca_file": str(authority.file)}
        uri = f"mongodb://user:canary@localhost:{front.port}/theirs"
        theirs = Daemon(Path(self.mktemp())).configure(
            store={"type": "mongo", "uri": uri, "database": "theirs", **trust}
        )
        done = self.imports(gateway, "auth-o-tron", "--from", str(theirs.file))
        self.assertIn("names no host", done.stderr)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(front.heard, b"")

    def imports(self, gateway: Daemon, kind: str, *words: str) -> Any:
        command = [sys.executable, "-m", "authotron", "tokens", "import", kind]
        return subprocess.run(
            [*command, "--config", str(gateway.file), *words],
            check=False,
            capture_output=True,
            env=environment(),
            text=True,
            timeout=DEADLINE,
        )
