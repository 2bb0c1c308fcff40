"""C{authotron tokens list} prints one line for each API token."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.cli.tokens import _line
from authotron.model.identity import Identity
from authotron.model.token import Token


class LineTests(SynchronousTestCase):
    """The line of an API token."""

    def test_names_do_nothing_to_a_terminal_T57(self) -> None:
        """The name of an API token cannot control the terminal."""
        token = Token("0" * 12, "", Identity("r", "u\n"), 0, name="\x9b2J\u202e\x1b[1m ü")
        line = _line(token)
        self.assertTrue(line.isprintable(), ascii(line))
        self.assertIn("ü", line)
