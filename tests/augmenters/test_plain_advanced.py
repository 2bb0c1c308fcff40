"""Roles and attributes by name or by role."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.augmenters import plain_advanced
from authotron.config import section
from authotron.model.identity import Addition, Identity
from authotron.plugin.interfaces import IAugmenter
from authotron.testing.contracts import AugmenterContract
from authotron.testing.worlds import as_deferred, world


def made(match: dict[str, Any], augment: dict[str, Any]) -> IAugmenter:
    given = {
        "type": "plain_advanced",
        "name": "it",
        "realm": "here",
        "match": match,
        "augment": augment,
    }
    return plain_advanced.make(section.read(plain_advanced.Config, given), world())


class PlainAdvancedTests(AugmenterContract, SynchronousTestCase):
    """The conditional augmenter is an augmenter."""

    def augmenter(self) -> IAugmenter:
        gives = {"roles": ["observer", "admin", "observer"], "attributes": {"team": "blue"}}
        return made({"username": ["adam"], "role": ["admin"]}, gives)

    def added(self, augmenter: IAugmenter, *roles: str, username: str = "eve") -> Addition:
        identity = Identity("here", username, roles)
        addition: Addition = self.settle(as_deferred(augmenter.augment, identity))
        return addition

    def test_by_name(self) -> None:
        """An identity with a listed name gets each role once."""
        addition = self.added(self.augmenter(), username="adam")
        self.assertEqual(addition, Addition(("observer", "admin"), {"team": "blue"}))

    def test_by_role(self) -> None:
        """An identity with a listed role gets the roles that it does not have."""
        self.assertEqual(self.added(self.augmenter(), "admin").roles, ("observer",))

    def test_nobody(self) -> None:
        """An empty match fits no identity."""
        augmenter = made({}, {"roles": ["never"]})
        self.assertEqual(self.added(augmenter, "any"), Addition())

    def test_empty_names(self) -> None:
        """Empty names are accepted; an empty role that would be added gets a warning."""
        given = {
            "type": "plain_advanced",
            "name": "it",
            "realm": "here",
            "match": {"username": [""], "role": [""]},
            "augment": {"roles": ["", "a"], "attributes": {"": "x"}},
        }
        warnings = section.read(plain_advanced.Config, given).warnings()
        self.assertEqual(warnings, ("role '' of augment is left out: the role is empty",))

    def test_last(self) -> None:
        """The augmenter runs after the others, so that it sees their roles."""
        self.assertTrue(self.augmenter().runs_last)
