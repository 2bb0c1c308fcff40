"""What every implementation of an interface must do, to be run against each of them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from authotron.augmenters import IAugmenter
from authotron.errors import Rejected
from authotron.identity import Addition, Credential, Identity
from authotron.providers import Affinity, IProvider


class ProviderContract:
    """Mixed into a L{SynchronousTestCase} that says how to make one, and what it accepts."""

    def provider(self) -> IProvider:
        """The provider to test, of realm C{here} and name C{it}."""
        raise NotImplementedError

    def good(self) -> Credential:
        """A credential that it accepts."""
        raise NotImplementedError

    def bad(self) -> Credential:
        """A credential of its scheme that it refuses."""
        raise NotImplementedError

    def settle(self, deferred: Deferred[Any]) -> Any:
        """The result of C{deferred}; where remotes must be moved on, this does it."""
        assert isinstance(self, SynchronousTestCase)
        return self.successResultOf(deferred)

    def test_interface(self: Any) -> None:
        """It provides all of the interface."""
        verifyObject(IProvider, self.provider())

    def test_names(self: Any) -> None:
        """Name, realm and scheme are as configured, the scheme in lower case."""
        provider = self.provider()
        self.assertEqual((provider.name, provider.realm), ("it", "here"))
        self.assertEqual(provider.scheme, provider.scheme.lower())

    def test_accepts(self: Any) -> None:
        """A good credential gives an identity with a name, in the provider's realm."""
        identity = self.settle(Deferred.fromCoroutine(self.provider().authenticate(self.good())))
        self.assertIsInstance(identity, Identity)
        self.assertEqual(identity.realm, "here")
        self.assertTrue(identity.username)

    def test_refuses(self: Any) -> None:
        """A bad credential is L{Rejected}, whose text does not repeat it."""
        bad = self.bad()
        deferred = Deferred.fromCoroutine(self.provider().authenticate(bad))
        outcome = self.settle(deferred.addErrback(lambda failure: failure.value))
        self.assertIsInstance(outcome, Rejected)
        self.assertNotIn(bad.value, str(outcome))

    def test_possible(self: Any) -> None:
        """It does not call foreign what it accepts."""
        self.assertIsNot(self.provider().affinity(self.good()), Affinity.FOREIGN)

    def test_no_secrets(self: Any) -> None:
        """Its representation does not show what it knows."""
        self.assertNotIn("secret", repr(self.provider()))


class AugmenterContract:
    """Mixed into a L{SynchronousTestCase} that says how to make one."""

    def augmenter(self) -> IAugmenter:
        """The augmenter to test, of realm C{here} and name C{it}."""
        raise NotImplementedError

    def settle(self, deferred: Deferred[Any]) -> Any:
        """The result of C{deferred}; where remotes must be moved on, this does it."""
        assert isinstance(self, SynchronousTestCase)
        return self.successResultOf(deferred)

    def test_interface(self: Any) -> None:
        """It provides all of the interface."""
        verifyObject(IAugmenter, self.augmenter())

    def test_names(self: Any) -> None:
        """Name and realm are as configured."""
        augmenter = self.augmenter()
        self.assertEqual((augmenter.name, augmenter.realm), ("it", "here"))

    def test_stranger(self: Any) -> None:
        """Of somebody it does not know it has nothing to say, which is no failure."""
        stranger = Identity("here", "stranger")
        addition = self.settle(Deferred.fromCoroutine(self.augmenter().augment(stranger)))
        self.assertEqual((addition.roles, dict(addition.attributes)), ((), {}))
        self.assertIsInstance(addition, Addition)
