"""A gateway whose standard output is a pipe that no process reads."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import TWISTD, environment, free_port
from tests.waiting import until


class UnreadOutputTests(SynchronousTestCase):
    """Log output to a pipe that is full after 64 KiB."""

    def test_all_requests_are_answered_W_OUT(self) -> None:
        """The gateway answers on, and counts the log lines that it drops."""
        port, second = free_port(), free_port()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        config = {
            "version": "2.0.0",
            "server": {"host": "127.0.0.1", "port": port},
            "metrics": {"host": "127.0.0.1", "port": second},
            "jwt": {"iss": "x", "secret": "a-secret-of-more-than-thirty-two-bytes"},
            "logging": {"access": "all", "format": "json"},
            "providers": [],
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        gateway = subprocess.Popen(
            [TWISTD, "-n", "--pidfile=", "authotron", "--config", "config.yaml"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment(),
        )
        self.addCleanup(gateway.communicate)
        self.addCleanup(gateway.kill)

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return wire.ask(second, "/health").status == 200
            return False

        until(answers, "answering", otherwise=lambda: "")

        def dropped() -> float:
            for _ in range(100):
                self.assertEqual(wire.ask(port, "/health").status, 200)
            text = wire.ask(second, "/metrics").body.decode()
            [found] = re.findall(r"(?m)^authotron_log_lines_dropped (\S+)$", text)
            return float(found)

        until(dropped, "dropping log lines")
