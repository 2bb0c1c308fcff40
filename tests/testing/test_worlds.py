"""Tests of L{authotron.testing.worlds}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.augmenters import plain
from authotron.model.errors import ConfigError
from authotron.net.tls import Trust
from authotron.stores import memory
from authotron.testing.worlds import NOW, as_deferred, make_plugin, world


class WorldTests(SynchronousTestCase):
    """A World for unit tests."""

    def test_clock_shows_now(self) -> None:
        """The clock shows C{NOW} until the test advances it."""
        self.assertEqual(world().clock.seconds(), NOW)

    def test_no_network(self) -> None:
        """A World that was given no agents refuses to send HTTP requests."""
        self.assertRaises(AssertionError, world().agents, Trust())

    def test_threads_work_at_once(self) -> None:
        """Work for a thread is done immediately."""
        self.assertEqual(self.successResultOf(world().threads(lambda: 5)), 5)


class MakePluginTests(SynchronousTestCase):
    """Plugins that are built as the daemon builds them."""

    def test_name_and_realm(self) -> None:
        """Name and realm are those that the contracts expect, unless the test gives others."""
        augmenter = make_plugin(plain, roles={})
        self.assertEqual((augmenter.name, augmenter.realm), ("it", "here"))
        self.assertEqual(make_plugin(plain, roles={}, realm="there").realm, "there")

    def test_store(self) -> None:
        """A store, which has no name and no realm, can be built, too."""
        self.assertEqual(make_plugin(memory).type, "memory")

    def test_unknown_key(self) -> None:
        """A key that the plugin does not know is a C{ConfigError}."""
        self.assertRaises(ConfigError, make_plugin, plain, roles={}, unknown=1)


class AsDeferredTests(SynchronousTestCase):
    """Methods of plugins that may wait."""

    def test_value_and_coroutine(self) -> None:
        """The result of a plain function and that of a coroutine function both arrive."""

        async def later(argument: int) -> int:
            return argument

        for method in (later, abs):
            self.assertEqual(self.successResultOf(as_deferred(method, 5)), 5)
