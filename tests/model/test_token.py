"""Tokens: their form, their hashes, what is left of an owner."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import MissingContext, Rejected
from authotron.model.identity import Identity
from authotron.model.naming import normalized
from authotron.model.request import RequestFacts
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
    """C{aot_<id>_<secret><checksum>}."""

    def test_pattern_A37(self) -> None:
        """Every token fits the documented pattern, is read again, and begins with its age."""
        made = [generate(NOW + second) for second in range(50)]
        for each in made:
            self.assertRegex(each.text, rf"\A{PATTERN}\Z")
            self.assertEqual(parse(each.text), each)
        self.assertEqual(sorted(each.id for each in made), [each.id for each in made])
        self.assertEqual(len({each.text for each in made}), 50)

    def test_secret(self) -> None:
        """Neither the representation nor a refusal repeats it."""
        made = generate(NOW)
        self.assertNotIn(made.text, repr(made))
        error = self.assertRaises(Rejected, parse, made.text + "x")
        self.assertNotIn(made.text, str(error))

    @given(st.integers(0, 65), ALPHABET)
    def test_typo_T43(self, place: int, char: str) -> None:
        """One wrong character is noticed without asking a store."""
        text = generate(NOW).text
        wrong = text[:place] + char + text[place + 1 :]
        if wrong != text:
            self.assertRaises(Rejected, parse, wrong)

    @given(st.text())
    def test_anything_T54(self, text: str) -> None:
        """Whatever else is presented is refused, and no more."""
        self.assertRaises(Rejected, parse, text)
        self.assertRaises(Rejected, parse, PREFIX + text)

    def test_id(self) -> None:
        """An id is meant by itself, with its prefix, or by the whole token; nothing else is."""
        made = generate(NOW)
        for text in (made.id, f"aot_{made.id}", made.text):
            self.assertEqual(id_of(text), made.id)
        for text in ("", "never", "aot_", "*" * 12, made.id + "0", "\u0660" * 12):
            self.assertIsNone(id_of(text))


class PeppersTests(SynchronousTestCase):
    """Keyed hashes."""

    def test_useless_T50(self) -> None:
        """What is stored neither shows the token nor fits without the pepper."""
        text = generate(NOW).text
        stored = Peppers([b"one"]).hash(text)
        self.assertNotIn(text[17:], stored)
        self.assertTrue(Peppers([b"one"]).fits(stored, text))
        self.assertFalse(Peppers([b"other"]).fits(stored, text))
        other = text[:-1] + ("x" if text[-1] != "x" else "y")
        self.assertFalse(Peppers([b"one"]).fits(stored, other))
        self.assertFalse(Peppers([b"one"]).fits("", text))

    def test_rotated(self) -> None:
        """A new pepper stands first; what was hashed with older ones still fits."""
        text = generate(NOW).text
        both = Peppers([b"new", b"old"])
        self.assertTrue(both.fits(Peppers([b"old"]).hash(text), text))
        self.assertEqual(both.hash(text), Peppers([b"new"]).hash(text))

    def test_silent(self) -> None:
        """They do not print."""
        self.assertNotIn("canary", repr(Peppers([b"canary"])))


NAMES = st.text().map(normalized)
"""In the one spelling that is kept."""


class RowTests(SynchronousTestCase):
    """What stores are given."""

    @given(NAMES, NAMES, st.dictionaries(st.text(), st.text(), max_size=3))
    def test_back_and_forth(self, name: str, role: str, attributes: dict[str, str]) -> None:
        """A row is texts and numbers, and becomes the same token again."""
        owner = Identity("here", "alice", (role,), attributes, {name: (role,)})
        before = Token("id", "hash", owner, 1.0, Grant((role,), {role: ()}), name, provider=name)
        row = before.row()
        self.assertEqual(tuple(row), COLUMNS)
        self.assertTrue(all(isinstance(v, str | float | None) for v in row.values()))
        after = from_row(json.loads(json.dumps(row)))
        self.assertEqual((after, after.provider), (before, name))

    def test_no_hash_printed(self) -> None:
        """A token does not print what is kept of its secret."""
        self.assertFalse(re.search("hash of", repr(make_token())))


class GrantTests(SynchronousTestCase):
    """What is left of an owner."""

    alice = Identity("here", "alice", ("reader", "writer"), {}, {"data": ("get", "put")})

    def test_all(self) -> None:
        """A token that says nothing leaves everything, everywhere."""
        self.assertEqual(Grant().restrict(self.alice), self.alice)
        self.assertTrue(Grant().holds(RequestFacts()))

    def test_restricted_T52(self) -> None:
        """What is named is left, as far as the owner has it; nothing is added."""
        left = Grant(("writer", "admin"), {"data": ("get", "rm"), "mail": ("send",)}).restrict(
            self.alice
        )
        self.assertEqual((left.roles, left.scopes), (("writer",), {"data": ("get",)}))
        left = Grant((), {}).restrict(self.alice)
        self.assertEqual((left.roles, left.scopes), ((), {}))

    def test_host(self) -> None:
        """With hosts the request must name one that fits."""
        grant = Grant(hosts=("a.org", "*.b.org"))
        self.assertTrue(grant.holds(RequestFacts("A.org")))
        self.assertTrue(grant.holds(RequestFacts("x.b.org")))
        self.assertFalse(grant.holds(RequestFacts("c.org")))
        self.assertRaises(MissingContext, grant.holds, RequestFacts())

    def test_network(self) -> None:
        """With networks the client must be in one of them."""
        grant = Grant(networks=("192.0.2.0/24", "2001:db8::/32"))
        self.assertTrue(grant.holds(RequestFacts(address="192.0.2.9")))
        self.assertTrue(grant.holds(RequestFacts(address="2001:db8::1")))
        self.assertFalse(grant.holds(RequestFacts(address="198.51.100.1")))
        self.assertRaises(MissingContext, grant.holds, RequestFacts("a.org"))
