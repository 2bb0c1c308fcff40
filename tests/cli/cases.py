"""What the tests of commands share: a configuration file, and how to run a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli.main import main
from tests.config.cases import BASE, laid_over


class CommandCase(SynchronousTestCase):
    """Runs a command and returns its result."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def run_command(self, *words: str, text: str = "", **environ: str) -> Result:
        return CliRunner().invoke(main, words, input=text, env=environ)

    def file(self, **over: Any) -> str:
        path = self.folder / "config.yaml"
        path.write_text(yaml.dump(laid_over(BASE, over), Dumper=yaml.CSafeDumper))
        path.chmod(0o600)
        return str(path)
