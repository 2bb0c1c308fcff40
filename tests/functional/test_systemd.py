"""The daemon as systemd starts it, with a test in the place of systemd."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.functional.listening import in_thread
from tests.waiting import DEADLINE

AS_SYSTEMD_DOES = """
exec 3<&"$0" 4<&"$1"
shift
exec env LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES="$NAMES" WATCHDOG_PID=$$ "$@"
"""
"""Puts two sockets where sd_listen_fds(3) has them, and names the process that they are for."""


class Notifications:
    """
    A socket for notifications of a daemon, as systemd has one.

    A thread receives the notifications as they come: the socket has room for 10 of them, and the
    daemon drops what does not fit.
    """

    def __init__(self, path: Path) -> None:
        self._received: Queue[list[str]] = Queue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        in_thread(self._receive)

    def _receive(self) -> None:
        while message := self._socket.recv(4096):
            self._received.put(message.decode().splitlines())

    def next(self) -> list[str]:
        """Wait for the next notification, and return its lines."""
        return self._received.get(timeout=DEADLINE)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class SystemdCase(SynchronousTestCase):
    """A test that plays systemd: it passes sockets, and receives notifications."""

    def setUp(self) -> None:
        short = TemporaryDirectory()
        self.addCleanup(short.cleanup)
        self.folder = Path(short.name)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.path = str(self.folder / "gateway.sock")
        self.unix.bind(self.path)
        os.chmod(self.path, 0o640)  # noqa: PTH101 - it is a text for the socket
        self.unix.listen(7)
        self.told = Notifications(self.folder / "notify")
        for each in (self.tcp, self.unix, self.told):
            self.addCleanup(each.close)

    def start(self, watchdog: str = "", names: str = "a:a", **over: Any) -> Daemon:
        environ = {
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": watchdog,
            "NAMES": names,
        }
        handed = (self.tcp.fileno(), self.unix.fileno())
        wrapper = ("bash", "-c", AS_SYSTEMD_DOES, *map(str, handed))  # sh may know but ten of them
        daemon = Daemon(Path(self.mktemp()), wrapper=wrapper, handed=handed, environ=environ)
        server = {"host": ..., "port": ..., "listen": ["systemd"], **over.pop("server", {})}
        daemon.configure(server=server, **over)
        self.addCleanup(daemon.stop)
        return daemon.launch()

    def word(self, *expected: str) -> list[list[str]]:
        """Wait for a message with these lines; return it, and the messages before it."""
        said = [self.told.next()]
        while not set(expected) <= set(said[-1]):
            said.append(self.told.next())
        return said

    def ask(self, address: int | str) -> int:
        return wire.login(address, "alice", "wonder").status


class SocketsTests(SystemdCase):
    """Sockets that systemd passes by LISTEN_FDS."""

    def test_served(self) -> None:
        """Both sockets are served; the UNIX socket keeps its mode, and outlives the daemon."""
        daemon = self.start()
        self.word("READY=1")
        port = self.tcp.getsockname()[1]
        self.assertEqual([self.ask(port), self.ask(self.path)], [200, 200])
        daemon.tell(signal.SIGTERM)
        self.word("STOPPING=1")
        daemon.exit_status()
        self.assertEqual(Path(self.path).stat().st_mode & 0o777, 0o640)

    def test_restart(self) -> None:
        """A client that connects during a restart waits, and the new daemon answers."""
        self.start().stop()
        waiting = [wire.connect(self.tcp.getsockname()[1]), wire.connect(self.path)]
        authorization = {"Authorization": wire.basic("alice", "wonder")}
        for connection in waiting:
            self.addCleanup(connection.close)
            connection.sendall(wire.head("/authenticate", authorization))
        self.start()
        for connection in waiting:
            answer = wire.receive(connection)
            assert answer is not None
            self.assertEqual(answer.status, 200)

    def test_none(self) -> None:
        """Without sockets of systemd the daemon does not start, and says why."""
        daemon = Daemon(Path(self.mktemp())).configure(
            server={"host": ..., "port": ..., "listen": ["systemd"]}
        )
        daemon.launch()
        self.assertEqual(daemon.exit_status(), 78)
        self.assertIn("systemd passed no socket", daemon.log())


class NamesTests(SystemdCase):
    """Names of sockets in LISTEN_FDNAMES."""

    def test_metrics(self) -> None:
        """The socket named metrics is the metrics port, and not a further main port."""
        self.start(names="http:metrics", metrics={"listen": ["systemd"]})
        self.word("READY=1")
        port = self.tcp.getsockname()[1]
        self.assertEqual((self.ask(port), self.ask(self.path)), (200, 404))
        self.assertEqual(wire.ask(self.path, "/ready").status, 200)
        self.assertEqual(wire.ask(port, "/ready").status, 404)

    def test_no_metrics(self) -> None:
        """If no socket is named metrics, the log says so."""
        daemon = self.start(metrics={"listen": ["systemd"]})
        self.assertEqual(daemon.exit_status(), 78)
        self.assertIn("no socket named metrics", daemon.log())


class WorkersTests(SystemdCase):
    """Several processes, of which the supervisor speaks to systemd."""

    def test_served(self) -> None:
        """The service is ready once all workers are; a reload keeps both sockets."""
        daemon = self.start(server={"workers": 2}, watchdog="200000")
        self.word("READY=1", "STATUS=serving")
        self.word("WATCHDOG=1")
        port = self.tcp.getsockname()[1]
        told = wire.ask(daemon.operations, "/ready").json()["workers"]
        self.assertEqual([each["state"] for each in told], ["serving"] * 2)
        self.assertEqual([self.ask(port), self.ask(self.path)], [200, 200])
        daemon.tell(signal.SIGHUP)
        self.word("RELOADING=1")
        self.word("READY=1", "STATUS=serving")
        self.assertEqual([self.ask(port), self.ask(self.path)], [200, 200])
        daemon.file.write_text("{")
        daemon.tell(signal.SIGHUP)
        self.word("READY=1", "STATUS=configuration refused, serving with the old one")
        daemon.tell(signal.SIGTERM)
        self.word("STOPPING=1")
        daemon.exit_status()
        self.assertEqual(Path(self.path).stat().st_mode & 0o777, 0o640)


class WordsTests(SystemdCase):
    """Notifications by NOTIFY_SOCKET and WATCHDOG_USEC."""

    def test_reload(self) -> None:
        """Systemd is notified when a reload begins, when it ends, and whether it failed."""
        daemon = self.start()
        self.word("READY=1", "STATUS=serving")
        daemon.tell(signal.SIGHUP)
        self.word("RELOADING=1")
        self.word("READY=1", "STATUS=serving")
        daemon.file.write_text("{")
        daemon.tell(signal.SIGHUP)
        self.word("READY=1", "STATUS=configuration refused, serving with the old one")
        self.assertEqual(self.ask(self.path), 200)

    def test_watchdog(self) -> None:
        """The daemon sends heartbeats to the watchdog."""
        self.start(watchdog="200000")
        for _ in range(3):
            self.word("WATCHDOG=1")

    def test_no_watchdog(self) -> None:
        """Without a watchdog the daemon sends no heartbeats."""
        daemon = self.start()
        said = self.word("READY=1")
        daemon.tell(signal.SIGHUP)
        said += self.word("RELOADING=1") + self.word("READY=1")
        daemon.tell(signal.SIGTERM)
        said += self.word("STOPPING=1")
        self.assertNotIn("WATCHDOG", str(said))
