"""What a developer of a plugin reads if a contract fails."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.identity import Addition, Identity
from authotron.plugin.interfaces import IAugmenter
from authotron.testing.contracts import AugmenterContract
from tests.gateway.test_authentication import Giver


class AugmenterContractTests(SynchronousTestCase):
    """The contract of augmenters."""

    def test_adds_to_every_user_W_RESULT(self) -> None:
        """An augmenter that adds to every user fails, with what the test case has to do."""

        class Everyone(Giver):
            def augment(self, identity: Identity) -> Addition:  # type: ignore[override] # not async
                return Addition(("owl",))

        class Tests(AugmenterContract, SynchronousTestCase):
            def augmenter(self) -> IAugmenter:
                giver: IAugmenter = Everyone("it", None)
                return giver

        failure = self.assertRaises(self.failureException, Tests("test_unknown_user").debug)
        self.assertIn("adds nothing to the user 'stranger'", str(failure))
