"""Roles by user name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.augmenters import plain
from authotron.config import section
from authotron.model.identity import Identity
from authotron.plugin.interfaces import IAugmenter
from authotron.testing.contracts import AugmenterContract
from authotron.testing.worlds import as_deferred, world


class PlainTests(AugmenterContract, SynchronousTestCase):
    """The plain augmenter is an augmenter."""

    def augmenter(self) -> IAugmenter:
        roles = {"reader": ["alice", "bob"], "writer": ["alice"], "nothing": []}
        given = {"type": "plain", "name": "it", "realm": "here", "roles": roles}
        return plain.make(section.read(plain.Config, given), world())

    def test_roles(self) -> None:
        """A user gets every role that lists them, in the order of the configuration."""
        identity = Identity("here", "alice", ("reader",))
        addition = self.settle(as_deferred(self.augmenter().augment, identity))
        self.assertEqual(
            identity.enriched(addition.roles, addition.attributes).roles,
            ("reader", "reader", "writer"),
        )
