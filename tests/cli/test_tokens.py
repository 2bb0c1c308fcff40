"""C{authotron tokens list} prints a table with one line for each API token."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.cli.token_table import HEADER, table
from authotron.model.identity import Identity
from authotron.model.token import Grant, Token

NOW = 1_800_000_000.0
DAY = 86_400


def token(**given: object) -> Token:
    owner = Identity("here", "alice")
    return Token("0" * 12, "", owner, NOW - DAY, **given)  # type: ignore[arg-type] # named by the test


class TableTests(SynchronousTestCase):
    """The table of API tokens."""

    def lines(self, *tokens: Token) -> list[str]:
        return list(table(tokens, NOW))

    def test_names_do_nothing_to_a_terminal_T57(self) -> None:
        """The name of an API token cannot control the terminal."""
        evil = Token("0" * 12, "", Identity("r", "u\n"), 0, name="\x9b2J\u202e\x1b[1m ü")
        for line in self.lines(evil):
            self.assertTrue(line.isprintable(), ascii(line))
        self.assertIn("ü", self.lines(evil)[1])

    def test_no_tokens_print_nothing(self) -> None:
        """Without API tokens there is no line of headings either."""
        self.assertEqual(self.lines(), [])

    def test_columns_stand_below_their_headings(self) -> None:
        """Each value begins in the column of its heading."""
        head, *rows = self.lines(token(name="ci"), token(name="a longer name"))
        for heading in HEADER:
            place = head.index(heading)
            for row in rows:
                self.assertEqual(row[place - 2 : place], "  " if place else "")
                self.assertNotEqual(row[place], " ")

    def test_expiry(self) -> None:
        """The expiry is a date and the time that is left, in its largest unit."""
        for expires, words in (
            (None, "never"),
            (NOW + 89 * DAY + 5, "(in 89 d)"),
            (NOW + 7300, "(in 2 h)"),
            (NOW + 61, "(in 1 min)"),
            (NOW + 1, "(in 1 s)"),
            (NOW - 1, "(expired)"),
        ):
            self.assertIn(words, self.lines(token(grant=Grant(expires=expires)))[1])

    def test_roles(self) -> None:
        """A token without restriction has all roles of its owner, another one those named."""
        for roles, words in ((None, " all "), ((), " none "), (("a", "b"), " a,b ")):
            self.assertIn(words, self.lines(token(grant=Grant(roles=roles)))[1])
