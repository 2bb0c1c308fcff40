"""What a killed process left behind."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from authotron.config.endpoint import socket_path
from authotron.daemon.leftovers import remove_stale_pid_file, remove_stale_socket


class SocketPathTests(SynchronousTestCase):
    """The path of a UNIX socket in an endpoint string."""

    def test_path_U_LOCK(self) -> None:
        """The path is found wherever an endpoint string may have it."""
        for text, path in (
            ("unix:/run/a.sock", "/run/a.sock"),
            ("unix:/run/a.sock:mode=660", "/run/a.sock"),
            ("unix:address=/run/a.sock:lockfile=0", "/run/a.sock"),
            ("unix:mode=600:address=/run/a.sock", "/run/a.sock"),
            (r"unix:/run/a\:b.sock", "/run/a:b.sock"),
            ("haproxy:unix:/run/a.sock", "/run/a.sock"),
        ):
            self.assertEqual(socket_path(text), Path(path))
        for text in ("tcp:80", "tcp:80:interface=unix", "", "unix:"):
            self.assertIsNone(socket_path(text))


class RemovalTests(SynchronousTestCase):
    """Files that are, or are not, left over."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_lock_of_this_number_U_LOCK(self) -> None:
        """A lock without a socket is removed, though a process with its number exists."""
        lock = self.folder / "a.sock.lock"
        lock.symlink_to(str(os.getpid()))
        remove_stale_socket(f"unix:{self.folder}/a.sock")
        self.assertFalse(lock.is_symlink())

    def test_other_files_stay_U_LOCK(self) -> None:
        """A file that is no socket is not removed."""
        file = self.folder / "a.sock"
        file.write_text("dear diary")
        remove_stale_socket(f"unix:{file}")
        self.assertEqual(file.read_text(), "dear diary")

    def test_pid_file_U_LOCK(self) -> None:
        """A pid file with the number of this process, or of another program, is removed."""
        file = self.folder / "twistd.pid"
        file.write_text(str(os.getpid()))
        remove_stale_pid_file(file)
        self.assertFalse(file.exists())
        for content in ("", "no number", "999999999"):
            file.write_text(content)
            remove_stale_pid_file(file)
            self.assertTrue(file.exists())
        remove_stale_pid_file(self.folder / "missing")
