"""Filters that choose, rename and change the claims of a provider's identities."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.identity import Identity
from authotron.policy.claim_filter import ClaimFilter, lowered
from authotron.policy.claims import Source, claims_of

BOB = Identity(
    "internal",
    "Bob",
    ("Reader", "ops"),
    {"email": "Bob@Example.org", "mail": "b@x", "iat": "5", "group": '["A","a","b"]'},
    {"Archive": ("Read",)},
)
ALWAYS = [
    "@issuer=gate",
    "@source:name=staff",
    "@source:realm=internal",
    "@source:type=plain",
    "realm=internal",
    "username=Bob",
]


def filtered(identity: Identity = BOB, **given: Any) -> list[str]:
    """Return the claims that a filter leaves, in order, without those that it never removes."""
    source = Source("plain", "staff", "gate", ClaimFilter(**given))
    return sorted(claims_of(identity, source) - set(ALWAYS))


class ChoiceTests(SynchronousTestCase):
    """Claims that are kept and removed."""

    def test_nothing(self) -> None:
        """An empty filter changes nothing."""
        self.assertEqual(
            filtered(),
            sorted(
                claims_of(BOB, Source("", "", ""))
                - claims_of(Identity("internal", "Bob"), Source("", "", ""))
            ),
        )

    def test_ignore_S_CHOICE(self) -> None:
        """An ignored prefix removes claims, however their letters are written."""
        found = filtered(ignore=("IAT=", "Role=", "group=a", "SCOPE=archive:"))
        self.assertEqual(found, ["email=Bob@Example.org", "group=b", "mail=b@x"])

    def test_include(self) -> None:
        """With included prefixes nothing else is left but what every identity has."""
        self.assertEqual(filtered(include=("EMAIL=",)), ["email=Bob@Example.org"])
        self.assertEqual(filtered(include=("role=r", "ma")), ["mail=b@x", "role=Reader"])

    def test_ignore_wins(self) -> None:
        """What is ignored and included is removed."""
        self.assertEqual(filtered(include=("role=",), ignore=("role=o",)), ["role=Reader"])

    def test_never_removed_S_CHOICE(self) -> None:
        """Realm, user name and the claims of the gateway stay, whatever is ignored."""
        source = Source("plain", "staff", "gate", ClaimFilter(("x=",), ("re", "user", "@", "")))
        self.assertEqual(sorted(claims_of(BOB, source)), ALWAYS)

    def test_rules_see_what_is_left(self) -> None:
        """A prefix without C{=} covers longer keys as well."""
        identity = Identity("r", "u", attributes={"email": "a", "email_verified": "true"})
        self.assertNotIn("email_verified=true", filtered(identity, ignore=("email",)))
        self.assertIn("email_verified=true", filtered(identity, ignore=("email=",)))


class RenameTests(SynchronousTestCase):
    """Keys that are renamed."""

    def test_after_choice(self) -> None:
        """Claims are chosen by the keys of the provider, not by the new ones."""
        found = filtered(include=("mail=",), rename={"mail": "address"})
        self.assertEqual(found, ["address=b@x"])
        self.assertEqual(filtered(include=("address=",), rename={"mail": "address"}), [])
        self.assertIn("iat=b@x", filtered(ignore=("iat=",), rename={"mail": "iat"}))

    def test_two_keys_into_one(self) -> None:
        """Keys that are renamed into one, or onto one that is there, keep the values of both."""
        both = filtered(include=("mail=", "iat="), rename={"mail": "x", "iat": "x"})
        self.assertEqual(both, ["x=5", "x=b@x"])
        onto = filtered(include=("mail=", "email="), rename={"mail": "email"})
        self.assertEqual(onto, ["email=Bob@Example.org", "email=b@x"])

    def test_at_once(self) -> None:
        """Keys are renamed all at once: two can be swapped, and no key is renamed twice."""
        identity = Identity("r", "u", attributes={"a": "1", "b": "2"})
        swapped = filtered(identity, include=("a=", "b="), rename={"a": "b", "b": "a"})
        self.assertIn("a=2", swapped)
        self.assertIn("b=1", swapped)
        chained = filtered(identity, include=("a=",), rename={"a": "b", "b": "c"})
        self.assertIn("b=1", chained)
        self.assertNotIn("c=1", chained)


class LowercaseTests(SynchronousTestCase):
    """Values in lower case."""

    def test_values(self) -> None:
        """Only values of the named keys change, and equal ones become one claim."""
        found = filtered(include=("email=", "group=", "role="), lowercase=("email", "group"))
        self.assertEqual(
            found, ["email=bob@example.org", "group=a", "group=b", "role=Reader", "role=ops"]
        )

    def test_after_renaming(self) -> None:
        """The keys are those after renaming."""
        given: dict[str, Any] = {"include": ("email=",), "rename": {"email": "m"}}
        self.assertEqual(filtered(**given, lowercase=("m",)), ["m=bob@example.org"])
        self.assertEqual(filtered(**given, lowercase=("email",)), ["m=Bob@Example.org"])

    def test_names_and_roles(self) -> None:
        """User name, roles and scopes can be in lower case, too."""
        found = filtered(include=("role=", "scope="), lowercase=("username", "role", "scope"))
        expected = ["role=ops", "role=reader", "scope=archive:read", "username=bob"]
        self.assertEqual(found, expected)

    def test_kelvin_sign_S_CHOICE(self) -> None:
        """No other character becomes a letter of ASCII."""
        self.assertEqual(lowered("\u212aate@X.org"), "\u212aate@x.org")
        self.assertEqual(lowered("STRASSE ÄÖÜ İ"), "strasse äöü i\u0307")

    def test_normal_form(self) -> None:
        """Values in lower case are in the normal form in which rules are compared."""
        for text in ("J\u030c", "E\u0301", "\u01f0", "H\u0331"):
            lower = lowered(text)
            self.assertEqual(lower, unicodedata.normalize("NFC", lower))
        identity = Identity("r", "u", attributes={"name": "J\u030c"})
        found = filtered(identity, include=("name=",), lowercase=frozenset({"name"}))
        self.assertIn("name=\u01f0", found)


class PossibleTests(SynchronousTestCase):
    """Claims that a filter can yield."""

    def test_possible(self) -> None:
        """A claim is possible unless it is removed, renamed, or of another case."""
        one = ClaimFilter(
            ("mail=", "group=", "role="), ("group=x",), {"mail": "email"}, frozenset({"email"})
        )
        for claim in ("email=a@b", "group=a", "role=a", "username=x", "@source:type=jwt"):
            self.assertTrue(one.may_yield(claim), claim)
        for claim in ("mail=a@b", "email=A@b", "group=x", "group=X1", "other=a"):
            self.assertFalse(one.may_yield(claim), claim)

    @given(
        some.builds(
            ClaimFilter,
            some.lists(some.sampled_from(["a=", "B", "role="]), max_size=2).map(tuple),
            some.lists(some.sampled_from(["a=x", "b", "role=r"]), max_size=2).map(tuple),
            some.dictionaries(some.sampled_from("abc"), some.sampled_from("abc"), max_size=3),
            some.frozensets(some.sampled_from(["a", "b", "role", "username"])),
        ),
        some.dictionaries(some.sampled_from("abc"), some.sampled_from(["x", "Y"]), max_size=3),
        some.sampled_from(["role", "Role"]),
    )
    def test_whatever_is_yielded(
        self, one: ClaimFilter, attributes: dict[str, str], role: str
    ) -> None:
        """What a filter yields is possible."""
        identity = Identity("R", "U", (role,), attributes)
        for claim in claims_of(identity, Source("Plain", "staff", "gate", one)):
            self.assertTrue(one.may_yield(claim), claim)
