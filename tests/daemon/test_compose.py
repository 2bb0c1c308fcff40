"""Build a gateway from a configuration, with plugins that break the contract of their interface."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.augmenters import plain as plain_augmenter
from authotron.config import check
from authotron.daemon.compose import compose
from authotron.model.authentication import Authentication
from authotron.model.errors import ConfigError
from authotron.model.identity import NOTHING_NEW, Addition, Credential, Identity
from authotron.plugin.interfaces import Affinity, IAugmenter, IProvider, IUserLookup
from authotron.providers import plain
from authotron.stores import memory
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import world
from tests.config.cases import BASE, laid_over


@implementer(IProvider)
class Provider:
    """A provider that keeps its contract."""

    name, type, realm, scheme, local = "mine", "plain", "here", "basic", True

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    def authenticate(self, credential: Credential) -> Authentication:
        return Authentication(Identity("here", "alice"))


class PluginCase(SynchronousTestCase):
    """A configuration of which one plugin is replaced."""

    over: dict[str, Any] = {}  # noqa: RUF012 - replaced as a whole, never changed

    def problems(self, plugin: object, module: Any = plain) -> list[str]:
        """What is wrong with a configuration, one plugin of which is replaced."""
        self.patch(module, "make", lambda _config, _world: plugin)
        config = check.check(laid_over(BASE, self.over))
        try:
            compose(config, world(Clock()), Metrics())
        except ConfigError as error:
            return [str(problem) for problem in error.problems]
        return []

    def only_problem(self, plugin: object, module: Any = plain) -> str:
        [problem] = self.problems(plugin, module)
        return problem


class ProviderTests(PluginCase):
    """Providers."""

    def test_good_provider_is_used(self) -> None:
        """A provider that keeps the contract is accepted."""
        self.assertEqual(self.problems(Provider()), [])

    def test_missing_method_is_a_problem_of_the_configuration(self) -> None:
        """A provider without a method is reported with the path and type of its section."""

        @implementer(IProvider)
        class Incomplete:  # type: ignore[misc] # the defect
            name, type, realm, scheme, local = "mine", "plain", "here", "basic", True

            def authenticate(self, credential: Credential) -> Authentication:
                return Authentication(Identity("here", "alice"))

        problem = self.only_problem(Incomplete())
        self.assertTrue(problem.startswith("providers[0]: plugin 'plain' "), problem)
        self.assertIn("affinity(credential) is missing", problem)

    def test_wrong_signature_is_a_problem_of_the_configuration(self) -> None:
        """A method that cannot be called with the arguments of the interface is reported."""

        class Odd(Provider):
            def authenticate(self) -> Authentication:  # type: ignore[override] # the defect
                return Authentication(Identity("here", "alice"))

        problem = self.only_problem(Odd())
        self.assertIn("authenticate(credential) doesn't allow enough arguments", problem)

    def test_make_must_return_an_instance_of_the_interface(self) -> None:
        """Anything else that make() returns is reported: None, a class, an undeclared object."""
        for returned, word in ((None, "NoneType"), (Provider, "class Provider"), (7, "int")):
            with self.subTest(word):
                problem = self.only_problem(returned)
                self.assertIn(f"make() returned {word}, not an object", problem)
                self.assertIn("@implementer(IProvider)", problem)

    def test_attributes_must_have_the_type_of_the_contract(self) -> None:
        """Each attribute of a wrong type is reported, all of them at once."""
        plugin: Any = Provider()
        plugin.name, plugin.realm, plugin.local = 7, None, 1
        problem = self.only_problem(plugin)
        for reason in (
            "name is int, must be str",
            "realm is None, must be str",
            "local is int, must be bool",
        ):
            self.assertIn(reason, problem)

    def test_scheme_must_be_in_lower_case(self) -> None:
        """A scheme in capitals would never match a credential, so it is reported."""
        plugin: Any = Provider()
        plugin.scheme = "Basic"
        self.assertIn("scheme must be in lower case", self.only_problem(plugin))

    def test_optional_interfaces_are_verified(self) -> None:
        """An optional interface that a plugin declares must be complete, too."""

        @implementer(IUserLookup)
        class Half(Provider):  # type: ignore[misc] # the defect
            """Declares to look users up, and cannot."""

        self.assertIn("is missing", self.only_problem(Half()))

    def test_secrets_are_not_shown(self) -> None:
        """The message does not contain the object, whose representation may show a secret."""

        class Careless(Provider):
            local = "yes"  # type: ignore[assignment] # the defect
            affinity = None  # type: ignore[assignment] # the defect

            def __repr__(self) -> str:
                return "CANARY"

        self.assertNotIn("CANARY", self.only_problem(Careless()))

    def test_attribute_that_raises_is_a_problem_of_the_configuration(self) -> None:
        """A property that raises an exception is reported, and does not end the service."""

        class Raising(Provider):
            @property
            def local(self) -> bool:  # type: ignore[override] # the defect
                raise ValueError("canary")

        problem = self.only_problem(Raising())
        self.assertEqual(problem, "providers[0]: building plugin 'plain' failed: ValueError")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_all_broken_plugins_are_reported(self) -> None:
        """Broken plugins are reported together, each with the place of its section."""
        first, *_ = BASE["providers"]
        self.over = {"providers": [first, {**first, "name": "other"}]}
        places = [problem.partition(":")[0] for problem in self.problems(None)]
        self.assertEqual(places, ["providers[0]", "providers[1]"])


class OtherPluginTests(PluginCase):
    """Augmenters and stores."""

    def test_augmenter_is_verified(self) -> None:
        """An augmenter without a timeout is reported; C{None} is a timeout."""

        @implementer(IAugmenter)
        class Augmenter:  # type: ignore[misc] # the defect
            name, type, realm, runs_last, required = "more", "plain", "internal", False, False

            def augment(self, identity: Identity) -> Addition:
                return NOTHING_NEW

        section = {"type": "plain", "name": "more", "realm": "internal", "roles": {"a": ["alice"]}}
        self.over = {"augmenters": [section]}
        plugin: Any = Augmenter()
        problem = self.only_problem(plugin, plain_augmenter)
        self.assertTrue(problem.startswith("augmenters[0]: plugin 'plain' "), problem)
        self.assertIn("timeout is missing", problem)
        plugin.timeout = None
        self.assertEqual(self.problems(plugin, plain_augmenter), [])

    def test_store_is_verified(self) -> None:
        """A store without its methods is reported at the section of the store."""
        self.over = {"store": {"type": "memory", "enabled": True}}
        problem = self.only_problem(object(), memory)
        self.assertTrue(problem.startswith("store: plugin 'memory' "), problem)
        self.assertIn("@implementer(ITokenStore)", problem)
