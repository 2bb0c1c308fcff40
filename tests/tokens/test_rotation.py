"""The replacement of an API token by a new one."""

from __future__ import annotations

from typing import Any

from authotron.model.errors import ExceedsGrant, NoSuchToken, Rejected
from authotron.model.token import TERMINAL, Token
from authotron.plugin.interfaces import TokenQuery
from authotron.telemetry import audit
from authotron.testing.worlds import NOW
from authotron.tokens.rotation import rotate
from tests.tokens.test_service import ALICE, IssuingCase

DAY = 86_400


class RotationTests(IssuingCase):
    """What a new API token has in common with the one that it replaces."""

    def rotate(self, old: Token, **given: Any) -> Any:
        return rotate(
            self.tokens,
            old,
            now=self.clock.seconds(),
            by=audit.at_terminal(),
            **{"can_look_up": True, **given},
        )

    def listed(self) -> list[str]:
        return [token.id for token in self.done(self.tokens.store.list_tokens(TokenQuery()))]

    def test_permissions_stay(self) -> None:
        """Owner, restrictions, name and comment stay; id, secret and times are new."""
        wish: dict[str, Any] = {
            "roles": ("reader",),
            "hosts": ("a.example",),
            "networks": ("192.0.2.0/24",),
        }
        _, old = self.new(name="ci", comment="why", ttl=3 * DAY, **wish)
        self.clock.advance(DAY)
        plain, new = self.done(self.rotate(old))
        self.assertEqual((new.owner, new.provider), (old.owner, old.provider))
        self.assertEqual((new.name, new.comment, new.origin), ("ci", "why", TERMINAL))
        self.assertEqual(new.grant.roles, ("reader",))
        self.assertEqual((new.grant.hosts, new.grant.networks), (wish["hosts"], wish["networks"]))
        self.assertEqual(new.grant.expires, NOW + 4 * DAY)
        self.assertNotEqual((new.id, new.hashed), (old.id, old.hashed))
        self.assertEqual(self.done(self.tokens.find(plain.text)).id, new.id)

    def test_old_token_stays_until_the_caller_ends_it(self) -> None:
        """Both tokens are valid until the caller revokes the old one."""
        _, old = self.new()
        _, new = self.done(self.rotate(old))
        self.assertEqual({*self.listed()}, {old.id, new.id})

    def test_limits_of_lifetimes(self) -> None:
        """The lifetime is within the limits for new tokens."""
        self.tokens = self.make(max_ttl="10d", max_ttl_unchecked="1d")
        _, old = self.new(ttl=10 * DAY)
        self.assertEqual(self.done(self.rotate(old, ttl=60))[1].grant.expires, NOW + 60)
        found = self.done(self.rotate(old, can_look_up=False))[1]
        self.assertEqual(found.grant.expires, NOW + DAY)
        failing = self.start(self.rotate(old, ttl=11 * DAY))
        error = self.failureResultOf(failing, ExceedsGrant).value
        self.assertIn("the limit of 10 d", str(error))

    def test_expired_token(self) -> None:
        """A token that has expired is not replaced."""
        _, old = self.new(ttl=60)
        self.clock.advance(60)
        self.failureResultOf(self.start(self.rotate(old)), Rejected)

    def test_ancestors_stay(self) -> None:
        """A token that was created with another one ends with that one, after a rotation, too."""
        _, parent = self.new(ttl=2 * DAY)
        using = ALICE._replace(restriction=parent.grant.used((parent.id,)))
        _, child = self.new(using, ttl=DAY)
        self.clock.advance(1.5 * DAY - DAY)
        _, new = self.done(self.rotate(child, ttl=10 * DAY))
        self.assertEqual(new.lineage, (parent.id,))
        self.assertEqual(new.grant.expires, parent.grant.expires)
        self.done(self.tokens.end(parent.id, audit.at_terminal()))
        self.assertEqual(self.listed(), [])
        self.failureResultOf(self.start(self.rotate(child)), Rejected)

    def test_shorten(self) -> None:
        """The old token can be left to expire, never later than it would, with its descendants."""
        _, old = self.new(ttl=100)
        using = ALICE._replace(restriction=old.grant.used((old.id,)))
        _, child = self.new(using)
        by = audit.at_terminal()
        self.done(self.tokens.shorten(old, NOW + 1000, by))
        self.assertEqual(self.done(self.tokens.store.get(old.id)).grant.expires, NOW + 100)
        self.done(self.tokens.shorten(old, NOW + 10, by))
        self.assertEqual(self.done(self.tokens.store.get(child.id)).grant.expires, NOW + 10)
        self.done(self.tokens.end(old.id, by))
        self.failureResultOf(self.start(self.tokens.shorten(old, NOW, by)), NoSuchToken)
