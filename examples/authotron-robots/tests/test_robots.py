"""Tests of the provider `robots`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.plugin import ConfigError, Credential, IProvider
from authotron.testing.contracts import ProviderContract
from authotron.testing.worlds import make_plugin
from authotron_robots import robots

HARVESTER = {"name": "harvester", "key": "secret", "roles": ["reader"]}


class RobotsContractTests(ProviderContract, SynchronousTestCase):
    """The provider passes the tests that every provider must pass."""

    def provider(self) -> IProvider:
        provider: IProvider = make_plugin(robots, robots=[HARVESTER])
        return provider

    def good(self) -> Credential:
        return Credential("bearer", "secret")

    def bad(self) -> Credential:
        return Credential("bearer", "guess")


class RobotsTests(SynchronousTestCase):
    """Behaviour of this provider alone."""

    def test_identity(self) -> None:
        """A robot that sends its key is authenticated with its name and its roles."""
        provider = make_plugin(robots, robots=[HARVESTER])
        found = provider.authenticate(Credential("bearer", "secret")).identity
        self.assertEqual((found.username, found.roles), ("harvester", ("reader",)))

    def test_missing_key(self) -> None:
        """A robot without a key is an error of the configuration."""
        error = self.assertRaises(ConfigError, make_plugin, robots, robots=[{"name": "harvester"}])
        self.assertEqual(str(error), "robots[0].key: is missing")
