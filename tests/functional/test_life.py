"""How the daemon starts, reloads, stops and fails."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import SECRET, Daemon, awkward, check, free_port, has_ipv6
from tests.waiting import DEADLINE, until

LATE = """
from twisted.internet.defer import fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.internet.task import deferLater
from twisted.plugin import IPlugin
from zope.interface import implementer

@implementer(IStreamServerEndpoint)
class Late:
    def __init__(self, reactor):
        self.reactor = reactor
    def listen(self, factory):
        failed = lambda: fail(CannotListenError("late", 1, OSError("taken meanwhile")))
        return deferLater(self.reactor, 0.1, failed)

@implementer(IPlugin, IStreamServerEndpointStringParser)
class Parser:
    prefix = "late"
    def parseStreamServer(self, reactor, *arguments, **named):
        return Late(reactor)

late = Parser()
"""
"""A plugin of Twisted: an endpoint that fails, but not at once."""


def refused(port: int) -> bool:
    """Return whether a connection to a port is refused."""
    try:
        wire.connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


class StopTests(SynchronousTestCase):
    """SIGTERM ends the daemon, but not what it has begun."""

    def start(self, grace: float) -> tuple[Daemon, socket.socket]:
        """Start a daemon and a slow request that waits for an answer."""
        folder = Path(self.mktemp())
        daemon = awkward(folder, server={"grace": grace})
        self.addCleanup(daemon.stop)
        connection = wire.connect(daemon.port)
        self.addCleanup(connection.close)
        authorization = {"Authorization": wire.basic("slow", "secret")}
        connection.sendall(wire.head("/authenticate", authorization))
        until((folder / "arrived").exists, "in flight", otherwise=daemon.log)
        return daemon, connection

    def test_in_flight(self) -> None:
        """A request that was begun is answered, while no new connections are accepted."""
        daemon, connection = self.start(grace=20)
        daemon.tell(signal.SIGTERM)
        until(lambda: refused(daemon.port), "closed to others", otherwise=daemon.log)
        (daemon.folder / "go").touch()
        answer = wire.receive(connection)
        assert answer is not None
        self.assertEqual(answer.status, 200)
        self.assertIn(daemon.exit_status(), (0, -signal.SIGTERM))

    def test_grace_T60(self) -> None:
        """A request that takes longer than the grace period is cut off, without a 200."""
        daemon, connection = self.start(grace=0.2)
        daemon.tell(signal.SIGTERM)
        self.assertIn(daemon.exit_status(), (0, -signal.SIGTERM))
        answer = wire.receive(connection)
        self.assertTrue(answer is None or answer.status >= 500)

    def test_interrupt(self) -> None:
        """Ctrl-C ends the daemon, without a stack trace."""
        daemon = Daemon(Path(self.mktemp())).configure().start()
        daemon.tell(signal.SIGINT)
        self.assertIn(daemon.exit_status(), (0, -signal.SIGINT))
        self.assertNotIn("Traceback", daemon.log())


class ReloadTests(SynchronousTestCase):
    """SIGHUP reads the configuration again."""

    def setUp(self) -> None:
        self.daemon = Daemon(Path(self.mktemp())).configure().start()
        self.addCleanup(self.daemon.stop)

    def status(self, username: str, password: str) -> int:
        return wire.login(self.daemon.port, username, password).status

    def reloads(self, result: str) -> float:
        return self.daemon.metric(f'authotron_reloads_total{{result="{result}"}}')

    def test_good_T49(self) -> None:
        """A valid file is used at once: a user that it no longer lists is refused."""
        self.assertEqual(self.status("alice", "wonder"), 200)
        bob = {"username": "bob", "password": "builder"}
        provider = {"name": "local", "type": "plain", "realm": "here", "users": [bob]}
        self.daemon.configure(providers=[provider])
        self.daemon.tell(signal.SIGHUP)
        until(lambda: self.reloads("success") == 1, "reloaded", otherwise=self.daemon.log)
        self.assertEqual(self.status("bob", "builder"), 200)
        self.assertEqual(self.status("alice", "wonder"), 401)

    def test_bad_T49(self) -> None:
        """An invalid file changes nothing; its problems are logged, counted and shown."""
        self.daemon.configure(jwt={"exp": "soon"}, nonsense=True)
        self.daemon.tell(signal.SIGHUP)
        until(lambda: self.reloads("failure") == 1, "refused", otherwise=self.daemon.log)
        self.daemon.logged("jwt.exp")
        self.daemon.logged("unknown key")
        self.assertEqual(self.status("alice", "wonder"), 200)
        ready = wire.ask(self.daemon.operations, "/ready").json()
        self.assertIn("jwt.exp", str(ready["last_reload"]))

    def test_missing_T49(self) -> None:
        """A missing file counts as invalid."""
        self.daemon.file.unlink()
        self.daemon.tell(signal.SIGHUP)
        until(lambda: self.reloads("failure") == 1, "refused", otherwise=self.daemon.log)
        self.assertEqual(self.status("alice", "wonder"), 200)


class ExitTests(SynchronousTestCase):
    """The exit status says whether trying again makes sense."""

    def setUp(self) -> None:
        self.daemon = Daemon(Path(self.mktemp()))

    def ends(self) -> int:
        """Return the exit status of a start that must fail without a stack trace."""
        status = self.daemon.launch().exit_status()
        self.assertNotIn("Traceback", self.daemon.log())
        return status

    def test_bad_configuration(self) -> None:
        """An invalid configuration lists every problem with its path: exit status 78."""
        self.daemon.configure(jwt={"exp": -1}, surplus={})
        self.assertEqual(self.ends(), 78)
        self.assertIn("jwt.exp", self.daemon.log())
        self.assertIn("unknown key", self.daemon.log())

    def test_no_configuration(self) -> None:
        """A missing configuration file is exit status 78."""
        self.assertEqual(self.ends(), 78)
        self.assertIn("No such file", self.daemon.log())

    def test_unusable_key(self) -> None:
        """A configuration that names a missing file is exit status 78."""
        self.daemon.configure(jwt={"alg": "ES256", "key_file": "nowhere.pem"})
        self.assertEqual(self.ends(), 78)
        self.assertIn("nowhere.pem", self.daemon.log())

    def test_port_in_use(self) -> None:
        """If either port is in use, the exit status is not 0, and the port is named."""
        for port in (self.daemon.port, self.daemon.operations):
            with socket.create_server(("127.0.0.1", port)):
                self.daemon.configure()
                self.assertNotIn(self.ends(), (0, 78))
                self.assertIn(
                    f"port {port} of 127.0.0.1: address already in use", self.daemon.log()
                )
                self.assertNotIn("serves", self.daemon.log())

    def test_no_folder_for_the_socket(self) -> None:
        """If the UNIX socket cannot be made, the exit status is not 0."""
        server = {"port": None, "listen": ["unix:/nowhere/at/all/socket"]}
        self.daemon.configure(server=server)
        self.assertNotEqual(self.ends(), 0)

    def test_late(self) -> None:
        """If listening fails after the start, the exit status is not 0."""
        plugins = self.daemon.folder / "late/twisted/plugins"
        plugins.mkdir(parents=True)
        (plugins / "late.py").write_text(LATE)
        paths = [str(self.daemon.folder / "late"), os.environ.get("PYTHONPATH", "")]
        self.daemon.environ = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self.daemon.configure(server={"port": None, "listen": ["late:"]})
        self.assertNotIn(self.daemon.launch().exit_status(), (0, 78))
        self.assertIn("fatal error", self.daemon.log())

    def test_check(self) -> None:
        """C{--check} reports the problems that a start would report, and starts nothing."""
        self.daemon.configure()
        self.assertEqual(check(self.daemon.file)[0], 0)
        self.daemon.configure(jwt={"exp": "soon"})
        status, told = check(self.daemon.file)
        self.assertEqual(status, 78)
        self.assertIn("jwt.exp", told)


class ListenTests(SynchronousTestCase):
    """Addresses at which the daemon can listen."""

    def test_unix_socket(self) -> None:
        """At a UNIX socket requests are answered, and the client has no address."""
        folder = self.enterContext(TemporaryDirectory())
        path = f"{folder}/socket"
        daemon = Daemon(Path(folder)).configure(server={"port": None, "listen": [f"unix:{path}"]})
        daemon.start(path)
        self.addCleanup(daemon.stop)
        self.assertEqual(wire.login(path, "alice", "wonder").status, 200)
        self.assertEqual(wire.login(path, "alice", "guess").status, 401)

    def test_modes_T91c(self) -> None:
        """UNIX sockets of both ports are for user and group, whatever the umask."""
        for umask in ("000", "077"):
            for count in (1, 2):
                folder = Path(self.enterContext(TemporaryDirectory()))
                main, second = folder / "main", folder / "second"
                wrapper = ("sh", "-c", f'umask {umask}; exec "$@"', "sh")
                daemon = Daemon(folder / "gateway", wrapper=wrapper).configure(
                    server={"port": ..., "listen": [f"unix:{main}"], "workers": count},
                    metrics={"port": ..., "listen": [f"unix:{second}"]},
                )
                daemon.start(str(main))
                self.addCleanup(daemon.stop)
                modes = [path.stat().st_mode & 0o777 for path in (main, second)]
                self.assertEqual(modes, [0o660, 0o660], (umask, count))
                daemon.logged(f"unix:{main}:mode=660")
                daemon.logged("server.listen[0]: no mode")

    def test_proxies_at_a_socket_T91c(self) -> None:
        """A peer at a UNIX socket is a trusted proxy only if the list of proxies has C{unix}."""
        for proxies, status in ((None, 200), (["127.0.0.0/8"], 400), (["unix"], 200)):
            folder = Path(self.enterContext(TemporaryDirectory()))
            path = str(folder / "socket")
            trusted = {} if proxies is None else {"trusted_proxies": proxies}
            daemon = Daemon(folder / "gateway").configure(
                server={"port": ..., "listen": [f"unix:{path}:mode=600"], **trusted},
                store={"type": "sqlite", "path": "tokens.db"},
            )
            daemon.start(path)
            self.addCleanup(daemon.stop)
            body = json.dumps({"hosts": ["a.org"]}).encode()
            fields = [
                ("Authorization", wire.basic("alice", "wonder")),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
            ]
            made = wire.say(path, wire.head("/tokens", fields, "POST"), body)
            assert made is not None
            bearer = {
                "Authorization": f"Bearer {made.json()['token']}",
                "X-Forwarded-Host": "a.org",
            }
            self.assertEqual(wire.ask(path, "/authenticate", bearer).status, status, proxies)

    def test_ipv6(self) -> None:
        """At an IPv6 address requests are answered; a machine without IPv6 is an error."""
        daemon = Daemon(Path(self.mktemp())).configure(server={"host": "::1"})
        daemon.launch()
        if not has_ipv6():
            self.assertNotIn(daemon.exit_status(), (0, 78))
            self.assertIn("::1", daemon.log())
            return
        self.addCleanup(daemon.stop)
        daemon.logged(f"serves at http://[::1]:{daemon.port}")
        with socket.create_connection(("::1", daemon.port), DEADLINE) as connection:
            connection.sendall(wire.head("/health"))
            answer = wire.receive(connection)
        self.assertEqual(answer and answer.status, 200)

    def test_metrics_disabled(self) -> None:
        """If the metrics port is disabled, only the main port is served."""
        daemon = Daemon(Path(self.mktemp())).configure(metrics={"enabled": False}).start()
        self.addCleanup(daemon.stop)
        self.assertTrue(refused(daemon.operations))

    def test_secret_from_file(self) -> None:
        """The secret may be in a file of its own."""
        daemon = Daemon(Path(self.mktemp())).configure(jwt={"secret": None, "secret_file": "key"})
        (daemon.folder / "key").write_text(SECRET + "\n")
        daemon.start()
        self.addCleanup(daemon.stop)
        self.assertEqual(wire.login(daemon.port, "alice", "wonder").status, 200)

    def test_environment(self) -> None:
        """Values of the environment override values of the file."""
        port = free_port()
        daemon = Daemon(Path(self.mktemp()), environ={"AOT_SERVER__PORT": str(port)})
        daemon.configure().start(port)
        self.addCleanup(daemon.stop)
        self.assertEqual(wire.login(port, "alice", "wonder").status, 200)
