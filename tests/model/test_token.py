"""API tokens: their format, their hashes, and their grants."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Rejected, UnusableFact
from authotron.model.identity import Identity
from authotron.model.naming import normalize
from authotron.model.request import Facts
from authotron.model.token import (
    COLUMNS,
    PATTERN,
    PREFIX,
    Grant,
    Token,
    from_row,
    generate,
    id_of,
    parse,
)
from authotron.testing.contracts import make_token
from authotron.testing.worlds import NOW
from authotron.tokens.peppers import Peppers

ALPHABET = st.characters(codec="ascii", categories=("L", "N", "P"))


class FormTests(SynchronousTestCase):
    """The format C{aot_<id>_<secret><checksum>}."""

    def test_pattern_A37(self) -> None:
        """Every token fits the documented pattern, can be parsed, and begins with its time."""
        made = [generate(NOW + second) for second in range(50)]
        for each in made:
            self.assertRegex(each.text, rf"\A{PATTERN}\Z")
            self.assertEqual(parse(each.text), each)
        self.assertEqual(sorted(each.id for each in made), [each.id for each in made])
        self.assertEqual(len({each.text for each in made}), 50)

    def test_secret(self) -> None:
        """Neither the representation nor a rejection of a token contains the token."""
        made = generate(NOW)
        self.assertNotIn(made.text, repr(made))
        error = self.assertRaises(Rejected, parse, made.text + "x")
        self.assertNotIn(made.text, str(error))

    @given(st.integers(0, 65), ALPHABET)
    def test_typo_T43(self, place: int, char: str) -> None:
        """A token with one wrong character is rejected without asking a store."""
        text = generate(NOW).text
        wrong = text[:place] + char + text[place + 1 :]
        if wrong != text:
            self.assertRaises(Rejected, parse, wrong)

    @given(st.text())
    def test_anything_T54(self, text: str) -> None:
        """Any string that is not a token is rejected and causes no other error."""
        self.assertRaises(Rejected, parse, text)
        self.assertRaises(Rejected, parse, PREFIX + text)

    def test_id(self) -> None:
        """An id is found in an id, in an id with prefix and in a token, and in no other string."""
        made = generate(NOW)
        for text in (made.id, f"aot_{made.id}", made.text):
            self.assertEqual(id_of(text), made.id)
        for text in ("", "never", "aot_", "*" * 12, made.id + "0", "\u0660" * 12):
            self.assertIsNone(id_of(text))


class PeppersTests(SynchronousTestCase):
    """Keyed hashes."""

    def test_useless_T50(self) -> None:
        """A stored hash does not contain the token, and fits only with the pepper."""
        text = generate(NOW).text
        stored = Peppers([b"one"]).hash(text)
        self.assertNotIn(text[17:], stored)
        self.assertTrue(Peppers([b"one"]).fits(stored, text))
        self.assertFalse(Peppers([b"other"]).fits(stored, text))
        other = text[:-1] + ("x" if text[-1] != "x" else "y")
        self.assertFalse(Peppers([b"one"]).fits(stored, other))
        self.assertFalse(Peppers([b"one"]).fits("", text))

    def test_rotated(self) -> None:
        """New tokens use the first pepper; hashes with older peppers still fit."""
        text = generate(NOW).text
        both = Peppers([b"new", b"old"])
        self.assertTrue(both.fits(Peppers([b"old"]).hash(text), text))
        self.assertEqual(both.hash(text), Peppers([b"new"]).hash(text))

    def test_silent(self) -> None:
        """Peppers are not printed."""
        self.assertNotIn("canary", repr(Peppers([b"canary"])))


NAMES = st.text().map(normalize)
"""Hashes are stored in one format only."""


class RowTests(SynchronousTestCase):
    """Rows for stores."""

    @given(NAMES, NAMES, st.dictionaries(st.text(), st.text(), max_size=3))
    def test_back_and_forth(self, name: str, role: str, attributes: dict[str, str]) -> None:
        """A row consists of strings and numbers, and converts back to the same token."""
        owner = Identity("here", "alice", (role,), attributes, {name: (role,)})
        before = Token("id", "hash", owner, 1.0, Grant((role,), {role: ()}), name, provider=name)
        row = before.row()
        self.assertEqual(tuple(row), COLUMNS)
        self.assertTrue(all(isinstance(v, str | float | None) for v in row.values()))
        after = from_row(json.loads(json.dumps(row)))
        self.assertEqual((after, after.provider), (before, name))

    def test_no_hash_printed(self) -> None:
        """The representation of a token does not contain its hash."""
        self.assertFalse(re.search("hash of", repr(make_token())))


class GrantTests(SynchronousTestCase):
    """Grants of API tokens."""

    alice = Identity("here", "alice", ("reader", "writer"), {}, {"data": ("get", "put")})

    def test_all(self) -> None:
        """A grant without limits leaves all roles and scopes, on all hosts."""
        self.assertEqual(Grant().restrict(self.alice), self.alice)
        self.assertTrue(Grant().holds(Facts()))

    def test_restricted_T52(self) -> None:
        """A grant leaves the listed roles and scopes that the owner has, and adds none."""
        left = Grant(("writer", "admin"), {"data": ("get", "rm"), "mail": ("send",)}).restrict(
            self.alice
        )
        self.assertEqual((left.roles, left.scopes), (("writer",), {"data": ("get",)}))
        left = Grant((), {}).restrict(self.alice)
        self.assertEqual((left.roles, left.scopes), ((), {}))

    def test_host(self) -> None:
        """A grant with hosts holds only for requests whose host fits."""
        grant = Grant(hosts=("a.org", "*.b.org"))
        self.assertTrue(grant.holds(Facts(host="a.org")))
        self.assertTrue(grant.holds(Facts(host="x.b.org")))
        self.assertFalse(grant.holds(Facts(host="c.org")))
        self.assertRaises(UnusableFact, grant.holds, Facts())

    def test_network(self) -> None:
        """A grant with networks holds only for clients in one of them."""
        grant = Grant(networks=("192.0.2.0/24", "2001:db8::/32"))
        self.assertTrue(grant.holds(Facts(address="192.0.2.9")))
        self.assertTrue(grant.holds(Facts(address="2001:db8::1")))
        self.assertFalse(grant.holds(Facts(address="198.51.100.1")))
        self.assertRaises(UnusableFact, grant.holds, Facts(host="a.org"))
