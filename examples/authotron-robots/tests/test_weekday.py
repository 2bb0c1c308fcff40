"""Tests of the augmenter `weekday`."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from authotron.plugin import Addition, IAugmenter, Identity
from authotron.testing.contracts import AugmenterContract
from authotron.testing.worlds import clock_at, make_plugin, world
from authotron_robots import weekday

# On a Sunday nothing is added: the contract asks about a stranger, who must get no addition.
SUNDAY = datetime(2023, 11, 19, 12, tzinfo=UTC).timestamp()
MONDAY = SUNDAY + 86_400


def augmenter_at(time: float) -> IAugmenter:
    augmenter: IAugmenter = make_plugin(weekday, world(clock_at(time)), role="worker")
    return augmenter


class WeekdayContractTests(AugmenterContract, SynchronousTestCase):
    """The augmenter passes the tests that every augmenter must pass."""

    def augmenter(self) -> IAugmenter:
        return augmenter_at(SUNDAY)


class WeekdayTests(SynchronousTestCase):
    """Behaviour of this augmenter alone."""

    def test_role(self) -> None:
        """Users have the role from Monday to Friday; the answer is valid until midnight."""
        for time, roles in ((SUNDAY, ()), (MONDAY, ("worker",))):
            addition = augmenter_at(time).augment(Identity("here", "alice"))
            self.assertEqual(addition, Addition(roles, fresh_until=time + 43_200))
