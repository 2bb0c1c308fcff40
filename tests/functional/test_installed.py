"""The package as it is installed, outside of a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.functional.daemon import TWISTD, environment
from tests.waiting import DEADLINE

COMMAND = Path(sys.executable).parent / "authotron"


class InstalledTests(SynchronousTestCase):
    """The result of C{pip install} of the wheels."""

    def setUp(self) -> None:
        try:
            self.files = self.listed("authotron")
        except subprocess.CalledProcessError:
            if "CI" in os.environ:
                raise
            raise SkipTest("authotron runs from a checkout here") from None

    def listed(self, distribution: str) -> list[str]:
        """Return the files of a distribution."""
        listing = f"import importlib.metadata as m; print(*m.files({distribution!r}), sep='\\n')"
        return self.told(sys.executable, "-c", listing).splitlines()

    def told(self, *command: str) -> str:
        """Run a command outside of the checkout, and return its output."""
        with TemporaryDirectory() as folder:
            return subprocess.run(
                command,
                capture_output=True,
                check=True,
                cwd=folder,
                env={k: v for k, v in environment().items() if k != "PYTHONPATH"},
                text=True,
                timeout=DEADLINE,
            ).stdout

    def test_plugin(self) -> None:
        """C{twistd} lists the plugin C{authotron}."""
        self.assertRegex(self.told(str(TWISTD), "--help"), r"\n +authotron +\S")

    def test_command(self) -> None:
        """The command C{authotron} is installed."""
        self.assertIn("authotron", self.told(str(COMMAND), "--version"))

    def test_content(self) -> None:
        """The wheel contains the pages, the marker of types and the plugin, but no tests."""
        for path in (
            "authotron/web/assets/home.html",
            "authotron/web/assets/logo.svg",
            "authotron/web/assets/favicon.ico",
            "authotron/web/assets/permission-list.schema.json",
            "authotron/testing/echo.py",
            "twisted/plugins/authotron_plugin.py",
        ):
            self.assertIn(path, self.files)
        self.assertFalse([path for path in self.files if path.startswith(("tests/", "bench/"))])

    def test_client(self) -> None:
        """The client owns what both share; no file is in both wheels, so either can go."""
        client = self.listed("authotron-client")
        for path in ("authotron/__init__.py", "authotron/py.typed", "authotron/client/user.py"):
            self.assertIn(path, client)
        self.assertEqual({*client} & {*self.files}, set())
        others = ("authotron/client/", "authotron/__", "authotron/py.typed", "authotron_client-")
        self.assertEqual([path for path in client if not path.startswith(others)], [])
