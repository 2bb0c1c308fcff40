"""C{authotron doctor} lists every check, whatever the plugins do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.augmenters import http as augmenters_http
from authotron.cli import doctor, remote_checks
from authotron.config import section
from authotron.config.policy import Policy
from authotron.config.policy_section import PolicyConfig
from authotron.config.stored_policies import StoredPolicies
from authotron.model.errors import ConfigError, Problem, Rejected, Unavailable
from authotron.net.world import World
from authotron.plugin.interfaces import CheckResult, IDescribesRemote, IReachable
from authotron.providers import introspection
from authotron.stores import memory
from authotron.testing import remotes
from authotron.testing.worlds import world
from authotron.tokens.bounded_store import StoreClient

SECRET = "s3cret-of-a-plugin"


@implementer(IReachable)
class Remote:
    """A plugin whose remote is checked by a function."""

    def __init__(self, check: Callable[[], Any]) -> None:
        self._check = check

    async def check_reachable(self) -> None:
        await self._check()


@implementer(IDescribesRemote)
class Described(Remote):
    """A plugin that says what its remote sent."""

    def describe_remote(self) -> str:
        return "1 key: k1 RS256"


class RemoteServiceTests(SynchronousTestCase):
    """What C{doctor} asks remote services and the token store."""

    def check(self, plugin: object, config: Any, given: World) -> list[CheckResult]:
        async def collect() -> list[CheckResult]:
            results = doctor._results(plugin, config, given, None)
            return [each async for each in doctor.surviving(results, given)]

        return self.successResultOf(Deferred.fromCoroutine(collect()))

    def introspection(self, *answers: remotes.Respond) -> list[CheckResult]:
        """Check a provider of type C{introspection} whose server gives these answers."""
        left = [*answers]
        given = world(agents=remotes.FakeRemote(lambda _: left.pop(0)))
        url = "https://sso.example/introspect"
        keys = {"url": url, "client_id": "gate", "client_secret": "s3cret"}
        config = section.read(
            introspection.Config,
            {"type": "introspection", "name": "sso", "realm": "main", **keys},
        )
        return self.check(introspection.make(config, given), config, given)

    def test_client_secret_is_tried_W_DOCTOR(self) -> None:
        """
        A service that judges tokens is asked about an invalid one, which shows whether it accepts
        the gateway as its client.
        """
        [found] = self.introspection(remotes.Respond({"active": False}))
        self.assertEqual((found.what, found.good), ("the service refuses an invalid token", True))
        [found] = self.introspection(remotes.Respond({}, status=401))
        self.assertFalse(found.good)
        self.assertIn("refuses the client 'gate'", found.what)
        [found] = self.introspection(remotes.Respond({"active": True, "username": "alice"}))
        self.assertEqual((found.what, found.good), ("the service accepts an invalid token", False))

    def test_service_of_an_augmenter_is_asked_W_DOCTOR(self) -> None:
        """A service without a check of its own is asked by GET, and may answer what it likes."""
        given = world(agents=remotes.FakeRemote(lambda _: remotes.Respond({}, status=405)))
        url = "https://roles.example/r?k=SECRET"
        keys = {"type": "http", "name": "it", "realm": "main", "url": url}
        config = section.read(augmenters_http.Config, keys)
        [found] = self.check(augmenters_http.make(config, given), config, given)
        self.assertEqual((found.what, found.good), ("is reachable", True))
        self.assertEqual(found.detail, "https://roles.example/r answered 405")

    def store(self, backend: memory.MemoryStore, policy: Policy | None = None) -> list[CheckResult]:
        rules = section.read(memory.Config, {"type": "memory"})
        client = StoreClient(backend, rules, world().clock)

        async def collect() -> list[CheckResult]:
            results = remote_checks.of_store(client, policy)
            return [each async for each in doctor.surviving(results, world())]

        return self.successResultOf(Deferred.fromCoroutine(collect()))

    def test_policies_in_the_store(self) -> None:
        """The policies in the token store are read, and checked with those of the configuration."""
        policy = Policy(PolicyConfig(store=True), (), ())
        rule = {"name": "r", "subject": [["role=a"]], "permissions": ["/a:GET"]}
        backend = memory.MemoryStore()
        *_, found = self.store(backend, policy)
        self.assertEqual((found.good, found.what[:20]), (False, "contains no policies"))
        for permission, good, text in (
            ("/a:GET", True, "version 1, 1 labels, 1 rules with those of the configuration"),
            ("/a", False, "label x.rules[0].permissions[0]: the permission has no colon"),
        ):
            rules = [{**rule, "permissions": [permission]}]
            backend._policies = StoredPolicies(None, {"x": {"rules": rules}}).following()
            *_, found = self.store(backend, policy)
            self.assertEqual(found.good, good)
            self.assertIn(text, found.detail or found.what)
        self.assertEqual(len(self.store(backend, Policy(PolicyConfig(), (), ()))), 2)

    def test_store_is_written_W_DOCTOR(self) -> None:
        """A change is tried at the token store, which leaves the store as it is."""
        backend = Backend()
        whats = [each.what for each in self.store(backend)]
        self.assertEqual(whats, ["can be opened", "accepts changes"])
        (_, first), (earlier, second) = backend.checks
        self.assertEqual((first, first), (earlier, second))

    def test_store_that_accepts_no_changes_W_DOCTOR(self) -> None:
        """A token store that can be read but not changed is bad, with the reason in words."""
        backend = Backend()
        self.store(backend)
        backend.failure = Unavailable("the disk is full")
        first, second = self.store(backend)
        self.assertEqual((first.what, first.good), ("can be opened", True))
        self.assertEqual((second.what, second.good), ("the disk is full", False))

    def test_proxies_are_listed_W_DOCTOR(self) -> None:
        """The proxies of a plugin's requests stand below its checks, also if a check failed."""
        log = Logger()

        async def checks() -> AsyncIterator[CheckResult]:
            fields = {"remote": "https://a.example", "proxy": "b.example:1"}
            log.debug("", event="remote.request.proxied", **fields)
            yield CheckResult("is reachable", good=True)
            raise Unavailable("too late")

        async def collect() -> list[CheckResult]:
            subject = doctor._Subject("provider", "sso", "jwt", checks())
            return [each async for each in doctor._all_results(subject, world())]

        found = self.successResultOf(Deferred.fromCoroutine(collect()))
        self.assertEqual([each.good for each in found], [True, False, True])
        self.assertEqual(found[-1].what, "requests go through a proxy")
        self.assertEqual(found[-1].detail, "https://a.example by b.example:1")


class Backend(memory.MemoryStore):
    """
    A token store that may refuse to change its pepper's check value.

    @ivar checks: the earlier and the later check value of each change.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.checks: list[tuple[str | None, str]] = []

    async def set_pepper_check(self, value: str, earlier: str | None) -> None:
        if self.failure is not None:
            raise self.failure
        self.checks.append((earlier, value))
        await super().set_pepper_check(value, earlier)


class SurvivalTests(SynchronousTestCase):
    """Whatever a plugin raises becomes a result."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.world = world(clock=self.clock)

    def start(self, results: AsyncIterator[CheckResult]) -> Deferred[list[CheckResult]]:
        async def collect() -> list[CheckResult]:
            return [each async for each in doctor.surviving(results, self.world)]

        return Deferred.fromCoroutine(collect())

    def checked(self, plugin: object, section: object = None) -> list[CheckResult]:
        results = doctor._results(plugin, section or SimpleNamespace(), self.world, None)
        return self.successResultOf(self.start(results))

    def test_any_exception_is_a_bad_result_W_DOCTOR(self) -> None:
        """An exception of a plugin is one bad result, in words and without its text."""
        for raised, words in (
            (Unavailable("http://x/ timed out"), "http://x/ timed out"),
            (Unavailable(), "unreachable"),
            (Rejected("wrong password"), "wrong password"),
            (ConfigError([Problem("store", "is foreign")]), "store: is foreign"),
            (error.ConnectionRefusedError("111"), "connection refused"),
            (error.DNSLookupError(SECRET), "host name not found"),
            (PermissionError(13, SECRET), "not allowed"),
            (KeyError(SECRET), "the check ended with KeyError, which is a defect"),
            (RecursionError(SECRET), "the check ended with RecursionError, which is a defect"),
            (AssertionError(SECRET), "the check ended with AssertionError, which is a defect"),
            (SystemExit(0), "the check ended the process"),
        ):

            async def fail(raised: BaseException = raised) -> None:
                raise raised

            with self.subTest(repr(raised)):
                [found] = self.checked(Remote(fail))
                self.assertFalse(found.good)
                self.assertIn(words, found.what)
                self.assertNotIn(SECRET, found.what)

    def test_wrong_results_are_bad_W_DOCTOR(self) -> None:
        """A plugin whose checks return something else than results is a bad result."""

        async def numbers(*_: object) -> AsyncIterator[Any]:
            yield CheckResult("first", good=True)
            yield 42

        for run_checks in (numbers, lambda *_: None, lambda *_: [1], None):
            with self.subTest(str(run_checks)):
                found = self.checked(None, SimpleNamespace(run_checks=run_checks))
                self.assertFalse(found[-1].good)

    def test_results_before_the_failure_are_kept_W_DOCTOR(self) -> None:
        """What a plugin found before it failed is listed."""

        async def checks(*_: object) -> AsyncIterator[CheckResult]:
            yield CheckResult("connection", good=True)
            raise ZeroDivisionError

        found = self.checked(None, SimpleNamespace(run_checks=checks))
        self.assertEqual([each.good for each in found], [True, False])

    def test_check_that_never_ends_times_out_W_DOCTOR(self) -> None:
        """A check that never ends is a bad result after 10 s, and it is cancelled."""
        cancelled: list[object] = []

        async def checks(*_: object) -> AsyncIterator[CheckResult]:
            await Deferred(cancelled.append)
            yield CheckResult("never", good=True)

        section = SimpleNamespace(run_checks=checks)
        listing = self.start(doctor._results(None, section, self.world, None))
        self.assertNoResult(listing)
        self.clock.advance(10)
        [found] = self.successResultOf(listing)
        self.assertFalse(found.good)
        self.assertIn("within 10 s", found.what)
        self.assertEqual(len(cancelled), 1)

    def test_plugin_that_raises_when_asked_for_an_attribute_W_DOCTOR(self) -> None:
        """A plugin whose attributes cannot be read is a bad result."""

        class Section:
            @property
            def run_checks(self) -> object:
                raise ZeroDivisionError

        self.assertFalse(self.checked(None, Section())[-1].good)

    def test_keys_are_listed_W_DOCTOR(self) -> None:
        """What a remote sent, such as its keys, stands beside the result."""

        async def well() -> None:
            pass

        [found] = self.checked(Described(well))
        self.assertEqual((found.good, found.detail), (True, "1 key: k1 RS256"))

    def test_rows_of_json_W_DOCTOR(self) -> None:
        """In JSON a plugin is good if all its checks are."""
        subject = doctor._Subject("provider", "sso", "jwt", None)  # type: ignore[arg-type] # not read
        bad = CheckResult("is reachable", good=False, detail="no")
        row = doctor._row(subject, [CheckResult("a", good=True), bad])
        self.assertEqual((row["name"], row["good"]), ("sso", False))
        self.assertEqual(row["checks"][1], {"what": "is reachable", "good": False, "detail": "no"})
