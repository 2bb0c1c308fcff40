"""Providers and augmenters that return values of a wrong type, or identities of another realm."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.gateway.authentication import Authenticator
from authotron.model.authentication import Authentication, Login
from authotron.model.errors import BadIdentity, Unavailable
from authotron.model.identity import Addition, Credential, Identity
from authotron.plugin.interfaces import IProvider, IUserLookup
from authotron.plugin.results import OtherRealm, WrongResult
from authotron.telemetry.metrics import Metrics
from authotron.tokens.owners import Owners
from tests.gateway.test_authentication import Giver, Odd, Oracle, Prompt

WRONG: Any = []
ALICE: Any = Authentication(Identity("here", "alice"))
STRANGER = Authentication(Identity("elsewhere", "alice"))
WRONG_TYPE = "the plugin returned a result of the wrong type: "


class ResultCase(SynchronousTestCase):
    """Asks providers and augmenters; returns what the gateway makes of it, and what it logs."""

    def ask(self, *providers: Oracle, augmenters: tuple[Giver, ...] = ()) -> Any:
        authenticator = Authenticator(providers, augmenters, Clock(), Metrics(), 5.0)
        work = authenticator.identify((Credential("bearer", "token"),), None)
        with capturedLogs() as events:
            deferred: Deferred[Any] = Deferred.fromCoroutine(work)
            deferred.addErrback(lambda failure: failure.value)
            found = self.successResultOf(deferred)
        self.events = [each for each in events if each.get("event")]
        self.flushLoggedErrors(WrongResult, OtherRealm)
        return found

    def logged(self, name: str) -> str:
        [event] = [each for each in self.events if each["event"] == name]
        return formatEvent(LogEvent(event))


class ProviderTests(ResultCase):
    """Results of providers."""

    def test_wrong_types_W_RESULT(self) -> None:
        """A result of a wrong type is an outage, and the log names the value and its type."""
        wrong: tuple[tuple[Any, str], ...] = (
            (None, "NoneType"),
            ("alice", "str"),
            (Identity("here", "alice"), "Identity"),
            (ALICE._replace(identity="alice"), "identity is str, must be Identity"),
            (ALICE._replace(identity=None), "identity is None, must be Identity"),
            (ALICE._replace(expires="soon"), "expires is str, must be a number or None"),
            (ALICE._replace(fresh_until=True), "fresh_until is bool, must be a number or None"),
            (ALICE._replace(login="gold"), "login is str, must be Login"),
            (ALICE._replace(login=Login(WRONG)), "login.acr is list, must be str"),
            (
                ALICE._replace(login=Login(None, WRONG)),
                "login.at is list, must be a number or None",
            ),
            (ALICE._replace(conditions="owl"), "conditions is str, must be tuple"),
            (ALICE._replace(conditions=("owl",)), "an object of conditions has no method holds"),
            (ALICE._replace(restriction="owl"), "restriction is str, and has no method restrict"),
        )
        for result, words in wrong:
            for provider in (Odd("csv", gives=result), Prompt("csv", gives=result)):
                with self.subTest(words):
                    self.assertIsInstance(self.ask(provider), Unavailable)
                    self.assertEqual(
                        self.logged("auth.provider.broken"),
                        f"provider csv is broken: {WRONG_TYPE}{words}",
                    )

    def test_string_as_list_W_RESULT(self) -> None:
        """A string is not accepted as the roles of an identity or as the scopes of a service."""
        for identity in (
            Identity("here", "alice", "owl"),  # type: ignore[arg-type] # the defect
            Identity("here", "alice", scopes={"data": "owl"}),  # type: ignore[dict-item] # the defect
            Identity("here", "alice", scopes={"data": None}),  # type: ignore[dict-item] # the defect
            Identity("here", "alice", scopes="owl"),  # type: ignore[arg-type] # the defect
            Identity("here", "alice", attributes="owl"),  # type: ignore[arg-type] # the defect
        ):
            with self.subTest(repr(identity)):
                found = self.ask(Odd("csv", gives=Authentication(identity)))
                self.assertIsInstance(found, BadIdentity)
                self.assertIn("csv", str(found))

    def test_text_of_other_errors_is_not_logged_W_RESULT(self) -> None:
        """The text of an exception of a plugin may contain a secret, and is not logged."""
        self.ask(Odd("csv", gives=TypeError("canary")))
        self.flushLoggedErrors(TypeError)
        self.assertEqual(self.logged("auth.provider.broken"), "provider csv is broken")

    def test_other_realm_W_REALM(self) -> None:
        """An identity of another realm is refused; the log names provider and both realms."""
        for result in (STRANGER, STRANGER._replace(identity=Identity("HERE", "alice"))):
            found = self.ask(Odd("csv", gives=result))
            self.assertIsInstance(found, BadIdentity)
            realm = result.identity.realm
            words = (
                f"provider 'csv' returned an identity of realm '{realm}', but the realm of the "
                "provider is 'here'"
            )
            self.assertEqual(str(found), words)
            self.assertIn(words, self.logged("auth.provider.broken"))

    def test_other_spelling_of_realm_W_REALM(self) -> None:
        """A realm in another Unicode normalization form is the realm of the provider."""
        result = Authentication(Identity("cafe\u0301", "alice"))
        found = self.ask(Odd("csv", realm="caf\xe9", gives=result))
        self.assertEqual(found.identity.realm, "caf\xe9")

    def test_odd_realm_W_REALM(self) -> None:
        """A realm that is not a string, or is long, is refused without repeating all of it."""
        for realm in (None, 5, ["here"], "x" * 9999):
            found = self.ask(Odd("csv", gives=Authentication(Identity(realm, "alice"))))  # type: ignore[arg-type] # the defect
            self.assertIsInstance(found, BadIdentity)
            self.assertLess(len(str(found)), 200)

    def test_others_are_asked_W_REALM(self) -> None:
        """Another provider may accept the credential; if one does not answer it is an outage."""
        broken = Odd("csv", gives=STRANGER)
        self.assertEqual(self.ask(broken, Oracle("good").yes()).identity.username, "good")
        self.assertIsInstance(self.ask(broken, Oracle("no").no()), BadIdentity)
        self.assertIsInstance(self.ask(broken, Oracle("down").no(Unavailable())), Unavailable)

    def test_own_tokens_have_other_realms_W_REALM(self) -> None:
        """The provider of API tokens returns their owners, who are of the realms of others."""
        authenticator = Authenticator([], [], Clock(), Metrics(), 5.0)
        authenticator.own = Odd("tokens", realm="unknown", gives=STRANGER)
        work = authenticator.identify((Credential("bearer", "token"),), None)
        found = self.successResultOf(Deferred.fromCoroutine(work))
        self.assertEqual(found.identity, STRANGER.identity)


@implementer(IProvider, IUserLookup)
class Directory(Odd):
    """A provider that looks users up, and returns what it was made with."""

    async def look_up(self, username: str) -> Any:
        return self.gives


class OwnerTests(SynchronousTestCase):
    """Owners of API tokens, whom a plugin looks up."""

    def owner(self, gives: Any) -> Deferred[Authentication]:
        owners = Owners([Directory("csv", gives=gives)], Clock(), 60)
        return Deferred.fromCoroutine(owners.now(Identity("here", "alice"), "csv"))

    def test_wrong_owner_W_RESULT(self) -> None:
        """An owner of a wrong type is a defect of the plugin, as the result of a login is."""
        for gives in (None, "alice", ALICE._replace(expires="soon")):
            self.failureResultOf(self.owner(gives), WrongResult)

    def test_owner_of_other_realm_W_REALM(self) -> None:
        """An owner of another realm is refused."""
        self.failureResultOf(self.owner(STRANGER), BadIdentity)
        self.assertEqual(self.successResultOf(self.owner(ALICE)).identity, ALICE.identity)


class AugmenterTests(ResultCase):
    """Results of augmenters."""

    def test_wrong_types_W_RESULT(self) -> None:
        """An addition of a wrong type adds nothing; the log names the augmenter and the type."""
        wrong: tuple[tuple[Any, str], ...] = (
            (None, "NoneType"),
            (("owl",), "tuple"),
            (Addition("owl"), "roles is str, must be tuple"),  # type: ignore[arg-type] # the defect
            (Addition(None), "roles is None, must be tuple"),  # type: ignore[arg-type] # the defect
            (Addition(("owl",), "owl"), "attributes is str, must be a mapping"),  # type: ignore[arg-type] # the defect
            (Addition(("owl",), [("a", "b")]), "attributes is list, must be a mapping"),  # type: ignore[arg-type] # the defect
            (
                Addition(("owl",), fresh_until="soon"),  # type: ignore[arg-type] # the defect
                "fresh_until is str, must be a number or None",
            ),
        )
        for addition, words in wrong:
            with self.subTest(words):
                bad, good = Giver("birds", addition), Giver("good", Addition(("a",)))
                found = self.ask(Odd("csv", gives=ALICE), augmenters=(bad, good))
                self.assertEqual((found.identity.roles, found.fresh_until), (("a",), 0))
                self.assertEqual(
                    self.logged("auth.augmenter.failed"),
                    f"augmenter birds is broken: {WRONG_TYPE}{words}",
                )

    def test_required_W_RESULT(self) -> None:
        """If the augmenter is required, the result is an outage."""
        bad = Giver("birds", Addition("owl"), required=True)  # type: ignore[arg-type] # the defect
        found = self.ask(Odd("csv", gives=ALICE), augmenters=(bad,))
        self.assertIsInstance(found, Unavailable)

    def test_lists_W_RESULT(self) -> None:
        """A list or a set of roles is accepted, as in an identity."""
        for roles in (["owl"], {"owl"}):
            found = self.ask(
                Odd("csv", gives=ALICE),
                augmenters=(Giver("birds", Addition(roles)),),  # type: ignore[arg-type] # not the interface
            )
            self.assertEqual(found.identity.roles, ("owl",))
