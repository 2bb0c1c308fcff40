"""The size limit of a stored API token."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import ExceedsGrant
from authotron.model.identity import Identity
from authotron.model.token import Grant, Token
from authotron.tokens.size import MAX_BYTES, check_growth, shorten

ROLES = tuple(f"role-{number}" for number in range(500))


def token(roles: tuple[str, ...] = (), grant: Grant | None = None, **attributes: str) -> Token:
    owner = Identity("here", "alice", roles, attributes)
    return Token("id", "hash", owner, 0.0, grant or Grant())


class ShortenedTests(SynchronousTestCase):
    """The stored owner of an API token that is too large."""

    def test_small_token_is_unchanged(self) -> None:
        """An API token within the limit is stored as it is."""
        small = token(("reader",), mail="a@example.org")
        self.assertIs(shorten(small, can_look_up=False), small)

    def test_largest_attributes_are_dropped_S_AUDIT(self) -> None:
        """The largest attributes of the owner are dropped until the rest fits."""
        large = token(groups="g" * 3000, comment="c" * 2000, mail="a@example.org")
        stored = shorten(large, can_look_up=False)
        self.assertEqual([*stored.owner.attributes], ["comment", "mail"])
        self.assertLessEqual(stored.size, MAX_BYTES)

    def test_granted_roles_are_kept_T84a(self) -> None:
        """Of an owner with too many roles those are stored that the API token grants."""
        stored = shorten(token(ROLES, Grant(("role-7",))), can_look_up=False)
        self.assertEqual(stored.owner.roles, ("role-7",))

    def test_no_roles_if_the_owner_can_be_looked_up_T84a(self) -> None:
        """If a provider can look the owner up, no roles and attributes are stored."""
        stored = shorten(token(ROLES, mail="a@example.org"), can_look_up=True)
        self.assertEqual((stored.owner.roles, stored.owner.attributes), ((), {}))

    def test_too_many_roles_T84a(self) -> None:
        """An API token that is too large without attributes is refused."""
        self.assertRaises(ExceedsGrant, shorten, token(ROLES), can_look_up=False)


class GrowthTests(SynchronousTestCase):
    """Changes of an API token."""

    def test_growth_beyond_the_limit_T84a(self) -> None:
        """A change must not make an API token exceed the limit; larger stored ones may change."""
        small, large = token(), token(text="x" * MAX_BYTES)
        self.assertRaises(ExceedsGrant, check_growth, small, large)
        check_growth(large, evolve(large, name="new"))
        check_growth(small, evolve(small, name="new"))
