"""Authentications that augmenters enrich, and that their credential restricts."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Acting, Authentication, PresentedToken
from authotron.model.identity import Addition, Identity, earliest
from authotron.model.token import Grant

EXPIRIES = some.lists(some.one_of(some.integers(0, 10**9).map(str), some.sampled_from(["", "x"])))
ALICE = Identity("internal", "alice")


class ExpiryTests(SynchronousTestCase):
    """When an authentication expires that several augmenters add an C{exp} attribute to."""

    def test_replaced_expiry_T38(self) -> None:
        """An C{exp} attribute that an augmenter replaces shortens the life all the same."""
        for said in ("2000", "", "never", "99999999999999999999"):
            with self.subTest(said):
                known = Authentication(ALICE._replace(attributes={"exp": "1000"}))
                later = known.enriched(Addition(attributes={"exp": said}))
                self.assertEqual(later.expires_at(), 1000)
                self.assertEqual(later.identity.attributes["exp"], said)

    @given(EXPIRIES)
    def test_any_expiries_T38(self, texts: list[str]) -> None:
        """Of all C{exp} attributes that augmenters add one after the other the earliest counts."""
        known = Authentication(ALICE, expires=500_000_000)
        for text in texts:
            known = known.enriched(Addition(attributes={"exp": text, "team": "blue"}))
        said = [float(text) for text in texts if text.isdigit()]
        self.assertEqual(known.expires_at(), earliest(500_000_000, *said))


class ActorsTests(SynchronousTestCase):
    """How the log names the identities that act in the name of a user."""

    def test_named_in_order(self) -> None:
        """The log names each identity that acts for a user, and nothing for other clients."""
        portal, robot = Identity("services", "portal"), Identity("services", "robot")
        token = PresentedToken(actors=(Acting(portal, "staff"), Acting(robot, "staff")))
        self.assertEqual(
            Authentication(ALICE, token=token).describe_actors(),
            "portal in realm services, robot in realm services",
        )
        for token_without in (None, PresentedToken("t")):
            self.assertEqual(Authentication(ALICE, token=token_without).describe_actors(), "")


class FieldsTests(SynchronousTestCase):
    """Fields of identities and authentications that are copied from one value to the next."""

    def distinct(self, kind: Any, **given: Any) -> Any:
        """A value whose fields all differ from their defaults, also those added in future."""
        return kind(**{name: object() for name in kind._fields} | given)

    def changed(self, before: Any, after: Any) -> set[str]:
        return {
            name for name in before._fields if getattr(before, name) is not getattr(after, name)
        }

    def test_enriched_identity(self) -> None:
        """An addition changes roles and attributes of an identity, and keeps all other fields."""
        before = self.distinct(Identity, roles=("a",), attributes={"a": "1"})
        after = before.enriched(("b",), {"b": "2"})
        self.assertEqual(self.changed(before, after), {"roles", "attributes"})

    def test_enriched(self) -> None:
        """An addition changes identity, expiry and freshness, and keeps all other fields."""
        alice = ALICE._replace(attributes={"exp": "5"})
        before = self.distinct(Authentication, identity=alice, expires=9.0, fresh_until=9.0)
        after = before.enriched(Addition(("b",), {"exp": "7"}, 3.0))
        self.assertEqual(self.changed(before, after), {"identity", "expires", "fresh_until"})
        self.assertEqual((after.expires, after.fresh_until), (5.0, 3.0))

    def test_restricted(self) -> None:
        """A restriction changes the identity, and keeps all other fields."""
        alice, grant = ALICE._replace(roles=("a", "b")), Grant(roles=("b",))
        before = self.distinct(Authentication, identity=alice, restriction=grant)
        after = before.restricted()
        self.assertEqual(self.changed(before, after), {"identity"})
        self.assertEqual(after.identity.roles, ("b",))

    def test_unaugmented(self) -> None:
        """What augmenters and the restriction change is kept as the provider returned it."""
        found = Authentication(ALICE._replace(roles=("a",)), restriction=Grant(roles=("b",)))
        self.assertIsNone(found.unaugmented)
        left = found.enriched(Addition(("b",))).enriched(Addition(("c",))).restricted()
        self.assertEqual(left.identity.roles, ("b",))
        self.assertEqual(left.unaugmented, found.identity)

    def test_nothing_new(self) -> None:
        """An addition that says nothing, or a restriction that takes nothing, changes nothing."""
        found = Authentication(ALICE, restriction=Grant())
        self.assertIs(found.enriched(Addition()), found)
        self.assertIs(found.restricted(), found)
