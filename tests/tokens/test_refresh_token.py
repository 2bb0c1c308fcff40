"""The text of refresh tokens."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from authotron.model import token
from authotron.model.errors import Rejected
from authotron.tokens import refresh_token
from authotron.tokens.refresh_token import PATTERN, PLACES, generate, parse, place_of


class TextTests(SynchronousTestCase):
    """Writing and reading refresh tokens."""

    def test_parsed(self) -> None:
        made = generate(place_of("internal", "alice", 7))
        self.assertRegex(made.text, f"^{PATTERN}$")
        self.assertEqual(parse(made.text), made)

    def test_secrets_are_not_shown(self) -> None:
        made = generate(place_of("internal", "alice", 7))
        self.assertNotIn(made.family, repr(made))
        self.assertNotIn(made.own, repr(made))

    def test_successor(self) -> None:
        """The next refresh token is of the same family, and has another secret of its own."""
        made = generate(place_of("internal", "alice", 7))
        following = made.successor()
        self.assertEqual((following.place, following.family), (made.place, made.family))
        self.assertNotEqual(following.own, made.own)

    def test_malformed(self) -> None:
        """A typing mistake, a part that is missing, or an API token is rejected."""
        text = generate(place_of("internal", "alice", 7)).text
        other = "1" if text[30] == "0" else "0"
        api_token = token.generate(0).text
        for wrong in ("", text[:-1], text + "0", text[:30] + other + text[31:], api_token):
            self.assertRaises(Rejected, parse, wrong)

    def test_no_credential_T36(self) -> None:
        """A refresh token that is presented as a credential is shown to no provider."""
        text = generate(place_of("internal", "alice", 7)).text
        self.assertTrue(token.looks_like_ours(text))
        refused = self.assertRaises(Rejected, token.parse, text)
        self.assertIn("a refresh token is not a credential", str(refused))


class PlaceTests(SynchronousTestCase):
    """The places of a user in the token store."""

    def test_places(self) -> None:
        """Each user has a limited number of places, which other users do not share."""
        mine, others = (
            {place_of("internal", user, number) for number in range(PLACES)}
            for user in ("alice", "bob")
        )
        self.assertEqual((len(mine), len(others)), (PLACES, PLACES))
        self.assertFalse(mine & others)

    def test_realm(self) -> None:
        """Realm and user name are told apart, wherever one of them ends."""
        self.assertNotEqual(place_of("a", "bc", 0), place_of("ab", "c", 0))

    def test_form(self) -> None:
        """Any user name yields a place that a refresh token can contain."""
        for name in ("alice", "\ud800", "a\0b", "雪" * 200):
            place = place_of("internal", name, PLACES - 1)
            self.assertTrue(re.fullmatch("[0-9A-Za-z]{18}", place), place)
            self.assertEqual(refresh_token.parse(generate(place).text).place, place)
