"""A gateway that starts where a killed one left its UNIX socket and pid file."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.waiting import until


class SocketTests(SynchronousTestCase):
    """UNIX sockets."""

    def setUp(self) -> None:
        self.folder = mkdtemp()  # the path of a socket must be short
        self.addCleanup(shutil.rmtree, self.folder)
        self.socket = f"{self.folder}/main.sock"

    def launched(self, name: str, **server: Any) -> Daemon:
        keys = {"port": ..., "host": ..., "listen": [f"unix:{self.socket}"], **server}
        daemon = Daemon(Path(self.folder) / name).configure(server=keys)
        daemon.launch()
        self.addCleanup(daemon.stop)
        return daemon

    def serves(self) -> bool:
        """Return whether a gateway answers; one that was killed may have taken the connection."""
        try:
            answer = wire.say(self.socket, wire.head("/health", [("Connection", "close")], "GET"))
        except OSError:
            return False
        return answer is not None and answer.status == 200

    def test_stale_socket_U_LOCK(self) -> None:
        """A socket of a killed gateway is replaced, though a process with its number exists."""
        for name, server in (("one", {}), ("two", {"workers": 2})):
            first = self.launched(f"{name}-first", **server)
            until(self.serves, "serving", otherwise=first.log)
            first.tell(signal.SIGKILL)
            first.exit_status()
            until(lambda: not self.serves(), "gone")
            lock = Path(f"{self.socket}.lock")
            lock.unlink(missing_ok=True)
            lock.symlink_to(str(os.getpid()))
            second = self.launched(f"{name}-second", **server)
            until(self.serves, "serving", otherwise=second.log)
            second.stop()

    def test_live_socket_U_LOCK(self) -> None:
        """The socket of a running gateway is not taken away."""
        first = self.launched("first")
        until(self.serves, "serving", otherwise=first.log)
        second = self.launched("second")
        self.assertEqual(second.exit_status(), 1)
        self.assertTrue(self.serves())
