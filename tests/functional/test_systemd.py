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
    """What systemd holds, and what it is told."""

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
    """LISTEN_FDS."""

    def test_served(self) -> None:
        """Both sockets are served; the UNIX one keeps its mode, and its place when it ends."""
        daemon = self.start()
        self.word("READY=1")
        port = self.tcp.getsockname()[1]
        self.assertEqual([self.ask(port), self.ask(self.path)], [200, 200])
        daemon.tell(signal.SIGTERM)
        self.word("STOPPING=1")
        daemon.exit_status()
        self.assertEqual(Path(self.path).stat().st_mode & 0o777, 0o640)

    def test_restart(self) -> None:
        """Who connects between two of them waits, and is answered by the second."""
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
        """Without systemd there are none, and it says so."""
        daemon = Daemon(Path(self.mktemp())).configure(
            server={"host": ..., "port": ..., "listen": ["systemd"]}
        )
        daemon.launch()
        self.assertEqual(daemon.exit_status(), 78)
        self.assertIn("systemd passed no socket", daemon.log())


class NamesTests(SystemdCase):
    """LISTEN_FDNAMES."""

    def test_metrics(self) -> None:
        """The socket of that name is the second port, and not a further main one."""
        self.start(names="http:metrics", metrics={"listen": ["systemd"]})
        self.word("READY=1")
        port = self.tcp.getsockname()[1]
        self.assertEqual((self.ask(port), self.ask(self.path)), (200, 404))
        self.assertEqual(wire.ask(self.path, "/ready").status, 200)
        self.assertEqual(wire.ask(port, "/ready").status, 404)

    def test_no_metrics(self) -> None:
        """If none has the name, it is told."""
        daemon = self.start(metrics={"listen": ["systemd"]})
        self.assertEqual(daemon.exit_status(), 78)
        self.assertIn("no socket named metrics", daemon.log())


class WorkersTests(SystemdCase):
    """The same with several processes: it is the supervisor that systemd speaks to."""

    def test_served(self) -> None:
        """Ready is who has all workers; they serve both sockets, also after a reload."""
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
    """NOTIFY_SOCKET and WATCHDOG_USEC."""

    def test_reload(self) -> None:
        """A reload is told when it begins and when it ends, and whether it was refused."""
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
        """It says that it lives, again and again."""
        self.start(watchdog="200000")
        for _ in range(3):
            self.word("WATCHDOG=1")

    def test_wanted_by_nobody(self) -> None:
        """Without a watchdog it says nothing of the kind."""
        daemon = self.start()
        said = self.word("READY=1")
        daemon.tell(signal.SIGHUP)
        said += self.word("RELOADING=1") + self.word("READY=1")
        daemon.tell(signal.SIGTERM)
        said += self.word("STOPPING=1")
        self.assertNotIn("WATCHDOG", str(said))
