"""The race of providers, then the augmenters."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.gateway.authentication import Authenticator
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, TimedOut, Unavailable
from authotron.model.identity import Addition, Credential, Identity
from authotron.plugin.interfaces import (
    Affinity,
    IAugmenter,
    IMayAskRemotes,
    IProvider,
)
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import NOW, clock_at

TOKEN = Credential("bearer", "token")
BASIC = Credential("basic", "x")


@implementer(IProvider)
@define(eq=False)
class Oracle:
    """A provider that answers when the test decides."""

    name: str
    realm: str = "here"
    scheme: str = "bearer"
    local: bool = False
    shape: Affinity = Affinity.POSSIBLE
    type: str = "oracle"
    asked: int = 0
    cancelled: bool = False
    answer: Deferred[Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.answer = Deferred(self._cancel)

    def _cancel(self, _: Deferred[Any]) -> None:
        self.cancelled = True

    def affinity(self, credential: Credential) -> Affinity:
        return self.shape

    async def authenticate(self, credential: Credential) -> Authentication:
        self.asked += 1
        await self.answer
        return Authentication(Identity(self.realm, self.name))

    def yes(self) -> Oracle:
        self.answer.callback(None)
        return self

    def no(self, reason: Exception | None = None) -> Oracle:
        self.answer.errback(reason or Rejected())
        return self


@define(eq=False)
class Odd(Oracle):
    """A provider that does not keep to the interface: it raises at once, or answers nonsense."""

    gives: Any = None

    def authenticate(self, credential: Credential) -> Any:
        if isinstance(self.gives, Exception):
            raise self.gives
        return self._nonsense()

    async def _nonsense(self) -> Any:
        return self.gives


@define(eq=False)
class Prompt(Odd):
    """A provider that answers without a coroutine."""

    def authenticate(self, credential: Credential) -> Any:
        return self.gives


@define(eq=False)
class Undecided(Oracle):
    """A provider with a defect where it looks at the shape of a credential."""

    fault: Any = None

    def affinity(self, credential: Credential) -> Any:
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault


@implementer(IMayAskRemotes)
@define
class Unplaced(Oracle):
    """A provider with a defect where it says what it needs; it cannot be hashed."""

    def is_local(self, credential: Credential) -> bool:
        raise KeyError("defect")


@implementer(IAugmenter)
@define(eq=False)
class Giver:
    """An augmenter that gives what it was made with."""

    name: str
    gives: Any
    realm: str = "here"
    runs_last: bool = False
    required: bool = False
    timeout: float | None = None
    type: str = "giver"
    saw: list[Identity] = field(factory=list)

    async def augment(self, identity: Identity) -> Addition:
        self.saw.append(identity)
        gives = self.gives
        if isinstance(gives, Exception):
            raise gives
        addition: Addition = await gives if isinstance(gives, Deferred) else gives
        return addition


@define(eq=False)
class Early(Giver):
    """An augmenter that does not keep to the interface: it raises at once."""

    def augment(self, _: Identity) -> Any:
        raise ValueError("defect")


class AuthorityCase(SynchronousTestCase):
    """How to ask."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.metrics = Metrics()

    def ask(
        self,
        providers: list[Oracle],
        *credentials: Credential,
        realm: str | None = None,
        augmenters: list[Giver] | None = None,
        in_order: bool = False,
    ) -> Deferred[Authentication]:
        authenticator = Authenticator(
            providers, augmenters or [], self.clock, self.metrics, 5.0, in_order
        )
        return Deferred.fromCoroutine(authenticator.identify(credentials or (TOKEN,), realm))

    def named(self, deferred: Deferred[Authentication]) -> str:
        self.clock.advance(0)
        return self.successResultOf(deferred).identity.username


class ProvidersTests(AuthorityCase):
    """Who is asked, and who is believed."""

    def test_scheme_and_realm(self) -> None:
        """Only providers of the scheme and the wanted realm are asked; the realm ignores case."""
        basic, elsewhere = Oracle("basic", scheme="basic"), Oracle("elsewhere", realm="there")
        here = Oracle("here").yes()
        self.assertEqual(self.named(self.ask([basic, elsewhere, here], realm="HERE")), "here")
        self.assertEqual((basic.asked, elsewhere.asked), (0, 0))

    def test_realm_folds_ascii_alone_T10b(self) -> None:
        """The filter for a realm ignores the case of ASCII letters, and of no others."""
        for realm, wanted, fits in (
            ("kelvin", "KELVIN", True),
            ("kelvin", "\u212aelvin", False),
            ("stra\u017fe", "strase", False),
            ("\xe9t\xe9", "\xc9T\xc9", False),
            ("\xe9t\xe9", "\xe9T\xe9", True),
            ("i\u0307stanbul", "\u0130stanbul", False),
        ):
            with self.subTest(wanted):
                d = self.ask([Oracle("one", realm=realm).yes()], realm=wanted)
                self.clock.advance(0)
                if fits:
                    self.assertEqual(self.named(d), "one")
                else:
                    self.failureResultOf(d, Rejected)

    def test_unknown_realm_T10(self) -> None:
        """
        If no provider has the requested realm, the credential is refused, and no
        provider is asked.
        """
        d = self.ask([Oracle("one").yes()], realm="nowhere")
        self.failureResultOf(d, Rejected)

    def test_local_first(self) -> None:
        """
        Local providers are asked first; if one accepts the credential, no remote
        provider is asked.
        """
        remote, local = Oracle("remote"), Oracle("local", local=True).yes()
        self.assertEqual(self.named(self.ask([remote, local])), "local")
        self.assertEqual(remote.asked, 0)

    def test_remote_after_local(self) -> None:
        """Who does not know it locally leaves it to the remotes."""
        remote, local = Oracle("remote").yes(), Oracle("local", local=True).no()
        self.assertEqual(self.named(self.ask([remote, local])), "remote")

    def test_no_longer_remote_D5(self) -> None:
        """A provider whose keys come to hand while local ones are asked is asked all the same."""
        local, late = Oracle("local", local=True), Oracle("late").yes()
        d = self.ask([local, late])
        late.local = True
        local.no()
        self.assertEqual(self.named(d), "late")

    def test_own(self) -> None:
        """
        A credential that one provider owns is shown to no other, even if the owner
        is unavailable.
        """
        owner = Oracle("owner", shape=Affinity.OWN).no(Unavailable())
        other = Oracle("other").yes()
        self.failureResultOf(self.ask([other, owner]), Unavailable)
        self.assertEqual(other.asked, 0)

    def test_own_elsewhere_T10(self) -> None:
        """
        A credential is shown to its owner alone, even if the owner is not of the
        requested realm.
        """
        owner, other = Oracle("owner", realm="there", shape=Affinity.OWN), Oracle("other").yes()
        self.failureResultOf(self.ask([other, owner], realm="here"), Rejected)

    def test_foreign(self) -> None:
        """Who cannot know it is not asked."""
        foreign, possible = Oracle("foreign", shape=Affinity.FOREIGN), Oracle("possible").yes()
        self.assertEqual(self.named(self.ask([foreign, possible])), "possible")
        self.assertEqual(foreign.asked, 0)

    def test_never_without_judge(self) -> None:
        """If no provider could know the credential, all providers are asked."""
        foreign = Oracle("foreign", shape=Affinity.FOREIGN).yes()
        self.assertEqual(self.named(self.ask([foreign])), "foreign")

    def test_prefer_order_T46(self) -> None:
        """With prefer: order, who is configured first is believed first."""
        late, early = Oracle("late"), Oracle("early").yes()
        d = self.ask([late, early], in_order=True)
        self.clock.advance(0)
        self.assertNoResult(d)
        late.yes()
        self.assertEqual(self.named(d), "late")

    def test_schemes_in_order_T23(self) -> None:
        """Of several credentials the first that is good decides."""
        bearer, basic = Oracle("bearer").no(), Oracle("basic", scheme="basic").yes()
        d = self.ask([bearer, basic], TOKEN, Credential("basic", "x"))
        self.assertEqual(self.named(d), "basic")


class OutageTests(AuthorityCase):
    """An outage is not a wrong password."""

    def test_refused_T70(self) -> None:
        """If all providers refuse the credential, the result is a refusal."""
        d = self.ask([Oracle("one").no(), Oracle("two").no()])
        self.failureResultOf(d, Rejected)

    def test_all_out_T70(self) -> None:
        """If all providers are unavailable, the result is an outage and not a refusal."""
        d = self.ask([Oracle("one").no(Unavailable()), Oracle("two").no(Unavailable())])
        self.failureResultOf(d, Unavailable)

    def test_unavailable_beside_refusal_T101(self) -> None:
        """If one provider refuses and one that could know did not answer, it is an outage."""
        for reason in (Unavailable(), TimedOut(), KeyError("defect")):
            for one, two in (("one", "two"), ("two", "one")):
                with self.subTest(f"{reason!r}, {one}"):
                    providers = {"one": Oracle("one").no(reason), "two": Oracle("two").no()}
                    d = self.ask([providers[one], providers[two]])
                    self.failureResultOf(d, Unavailable)
                    self.flushLoggedErrors(KeyError)

    def test_unavailable_after_local_refusal_T101(self) -> None:
        """If a local provider refuses and a remote one did not answer, it is an outage."""
        local, remote = Oracle("local", local=True).no(), Oracle("remote").no(Unavailable())
        self.failureResultOf(self.ask([local, remote]), Unavailable)

    def test_unavailable_for_one_credential_T101(self) -> None:
        """
        If one of two credentials is refused and one cannot be verified, the result
        is an outage.
        """
        bearer, basic = Oracle("bearer").no(), Oracle("basic", scheme="basic").no(Unavailable())
        for credentials in (TOKEN, BASIC), (BASIC, TOKEN):
            with self.subTest(credentials):
                self.failureResultOf(self.ask([bearer, basic], *credentials), Unavailable)

    def test_unavailable_but_foreign_T101(self) -> None:
        """If only a provider is away that could not know the credential, it is a refusal."""
        for possible, away in (
            (Affinity.POSSIBLE, Affinity.FOREIGN),
            (Affinity.LIKELY, Affinity.POSSIBLE),
        ):
            with self.subTest(possible):
                refusing = Oracle("refusing", shape=possible).no()
                other = Oracle("away", shape=away)
                self.failureResultOf(self.ask([refusing, other]), Rejected)

    def test_nobody_serves(self) -> None:
        """A scheme that no provider judges is refused."""
        d = self.ask([Oracle("one")], Credential("negotiate", "x"))
        self.failureResultOf(d, Rejected)

    def test_timeout(self) -> None:
        """Who takes too long could not judge; it is counted as a timeout."""
        d = self.ask([Oracle("one")])
        self.clock.advance(5)
        self.failureResultOf(d, Unavailable)
        self.assertIn(b'result="timeout"} 1.0', self.metrics.text()[0])

    def test_broken_T60(self) -> None:
        """A defect of a provider counts as an outage, and is logged as an error."""
        self.failureResultOf(self.ask([Oracle("one").no(KeyError("defect"))]), Unavailable)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_odd_T60(self) -> None:
        """
        A provider that violates the interface counts as failed; the other providers
        are asked.
        """
        for gives in (Rejected("early"), ValueError("defect"), None, "alice"):
            with self.subTest(repr(gives)):
                d = self.ask([Odd("odd", gives=gives), Oracle("good").yes()])
                self.assertEqual(self.named(d), "good")
                self.flushLoggedErrors(ValueError, TypeError)
                told = self.metrics.text()[0].decode().splitlines()
                odd = [line for line in told if '"odd"' in line and "success" in line]
                self.assertEqual(odd, [])

    def test_odd_affinity_T81b(self) -> None:
        """A provider that fails to say whether a credential may be its own stops no other."""
        for fault in (TypeError("unhashable"), None, "POSSIBLE"):
            with self.subTest(repr(fault)):
                odd = Undecided("odd", fault=fault)
                self.assertEqual(self.named(self.ask([odd, Oracle("good").yes()])), "good")
                self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
                self.assertEqual(odd.asked, 0)

    def test_only_odd_affinity_T81b(self) -> None:
        """If no other provider accepts the credential, it is an outage."""
        odd = Undecided("odd", fault=KeyError("defect"))
        self.failureResultOf(self.ask([odd]), Unavailable)
        self.failureResultOf(self.ask([odd, Oracle("no").no()]), Unavailable)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)

    def test_odd_locality_T81b(self) -> None:
        """A provider that fails to say whether it is local is asked with the remote ones."""
        odd = Unplaced("odd").no()
        self.assertEqual(self.named(self.ask([odd, Oracle("good").yes()])), "good")
        self.assertEqual((odd.asked, len(self.flushLoggedErrors(KeyError))), (1, 1))

    def test_odd_affinity_elsewhere_T81b(self) -> None:
        """A provider that was not to be asked anyway makes no outage."""
        odd = Undecided("odd", fault=KeyError("defect"), realm="elsewhere")
        d = self.ask([odd, Oracle("no").no()], realm="here")
        self.failureResultOf(d, Rejected)
        self.flushLoggedErrors(KeyError)

    def test_plain_function(self) -> None:
        """One that need not wait may answer by a plain function."""
        alice = Authentication(Identity("here", "alice"))
        d = self.ask([Oracle("slow"), Prompt("prompt", gives=alice)])
        self.assertEqual(self.successResultOf(d).provider, "prompt")

    def test_odd_plain_function_T60(self) -> None:
        """What it answers is held to the same; one that returns a Deferred has no more time."""
        for gives in (None, "alice", Addition()):
            with self.subTest(repr(gives)):
                self.failureResultOf(self.ask([Prompt("odd", gives=gives)]), Unavailable)
                self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        never: Deferred[Any] = Deferred()
        d = self.ask([Prompt("odd", gives=never)])
        self.clock.advance(5)
        self.failureResultOf(d, Unavailable)
        self.assertTrue(never.called)

    def test_own_timeout(self) -> None:
        """A time limit that a provider has set itself is one, too."""
        late = Deferred[None]().addTimeout(1, self.clock)
        oracle = Oracle("one")
        oracle.answer = late
        d = self.ask([oracle])
        self.clock.advance(1)
        self.failureResultOf(d, Unavailable)
        self.assertIn(b'result="timeout"} 1.0', self.metrics.text()[0])

    def test_client_left(self) -> None:
        """If the client disconnects, the providers are cancelled, and no refusal is reported."""
        oracle = Oracle("one")
        d = self.ask([oracle])
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.assertTrue(oracle.cancelled)


class OutagesTests(AuthorityCase):
    """Why the last call of a provider or augmenter got no answer."""

    def test_provider_W_DOCTOR(self) -> None:
        """An outage is noted until the provider answers again, by whatever answer."""
        yes = Authentication(Identity("here", "alice"))
        for answers, noted in (
            ([Unavailable("down")], ["down"]),
            ([Unavailable("down"), Rejected("no")], []),
            ([Unavailable("down"), yes], []),
            ([Rejected("no"), Unavailable("down"), Unavailable("slow")], ["slow"]),
        ):
            provider = Odd("one")
            authenticator = Authenticator([provider], [], self.clock, self.metrics, timeout=5.0)
            for provider.gives in answers:
                asking = Deferred.fromCoroutine(authenticator.identify((TOKEN,), None))
                asking.addErrback(lambda failure: failure.trap(Unavailable, Rejected) and None)
                self.clock.advance(0)
            self.assertEqual([*authenticator.outages.values()], noted)

    def test_augmenter_W_DOCTOR(self) -> None:
        """An outage is noted until the augmenter answers again."""
        for answers, noted in (([Unavailable("down")], ["down"]), ([Unavailable("x"), None], [])):
            authenticator = Authenticator(
                [Prompt("one", gives=Authentication(Identity("here", "alice")))],
                [giver := Giver("two", None)],
                self.clock,
                self.metrics,
                timeout=5.0,
            )
            for gives in answers:
                giver.gives = gives or Addition()
                asking = Deferred.fromCoroutine(authenticator.identify((TOKEN,), None))
                self.clock.advance(0)
                self.successResultOf(asking)
            self.assertEqual([*authenticator.outages.values()], noted)


class AugmentersTests(AuthorityCase):
    """Who adds what."""

    def augmented(self, *augmenters: Giver) -> Authentication:
        d = self.ask([Oracle("alice").yes()], augmenters=list(augmenters))
        self.clock.advance(0)
        return self.successResultOf(d)

    def test_realm_is_case_sensitive(self) -> None:
        """Only augmenters of just this realm are asked."""
        other = Giver("other", Addition(("stray",)), realm="HERE")
        self.assertEqual(self.augmented(other).identity.roles, ())

    def test_order(self) -> None:
        """The ordinary ones see what the provider said; the last ones see all before them."""
        first = Giver("first", Addition(("a",)), runs_last=True)
        second = Giver("second", Addition(("b",), {"x": "2"}), runs_last=True)
        plain = Giver("plain", Addition(("c",), {"x": "1"}))
        identity = self.augmented(first, second, plain).identity
        self.assertEqual(identity.roles, ("c", "a", "b"))
        self.assertEqual(identity.attributes, {"x": "2"})
        self.assertEqual(plain.saw[0].roles, ())
        self.assertEqual(second.saw[0].roles, ("c", "a"))

    def test_last_see_checked_names_T82b(self) -> None:
        """The last ones see names in the spelling that their configuration has, and only these."""
        last = Giver("last", Addition(("x",)), runs_last=True)
        first = Giver("first", Addition(("role\u0301", "admin "), {"a\n": "1"}))
        self.assertEqual(self.augmented(first, last).identity.roles, ("rol\xe9", "x"))
        self.assertEqual(last.saw[0].roles, ("rol\xe9",))
        self.assertEqual(last.saw[0].attributes, {"a": "1"})

    def test_failure(self) -> None:
        """One that fails is passed over; what comes of it is not to be remembered."""
        bad, good = Giver("bad", Unavailable("down")), Giver("good", Addition(("a",)))
        found = self.augmented(bad, good)
        self.assertEqual((found.identity.roles, found.fresh_until), (("a",), 0))

    def test_failures_are_logged_under_known_names_H_LOGS(self) -> None:
        """A failed augmenter is logged with the event and the fields of auth-o-tron."""
        for answer, level in ((Unavailable("down"), "warn"), (KeyError("defect"), "critical")):
            with capturedLogs() as events:
                self.augmented(Giver("bad", answer))
            [event] = [each for each in events if each.get("event") == "auth.augmenter.failed"]
            self.assertEqual(event["log_level"].name, level)
            names = [event[each] for each in ("augmenter_name", "augmenter_type", "realm")]
            self.assertEqual(names, ["bad", "giver", "here"])
        self.flushLoggedErrors(KeyError)

    def test_defect(self) -> None:
        """
        If an augmenter has a defect, the result is not cached, and the defect is logged as an
        error.
        """
        self.assertEqual(self.augmented(Giver("bad", KeyError("defect"))).fresh_until, 0)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_odd_T60(self) -> None:
        """So is one that answers nonsense, or cancels itself; the others are waited for."""
        for gives in (None, CancelledError()):
            with self.subTest(repr(gives)):
                found = self.augmented(Giver("odd", gives), Giver("good", Addition(("a",))))
                self.assertEqual((found.identity.roles, found.fresh_until), (("a",), 0))
                self.flushLoggedErrors(TypeError, CancelledError)

    def test_early_T60(self) -> None:
        """One that raises at once leaves no question behind."""
        early, slow = Early("early", None), Giver("slow", Deferred())
        d = self.ask([Oracle("alice").yes()], augmenters=[slow, early])
        self.clock.advance(0)
        self.assertNoResult(d)
        slow.gives.callback(Addition(("a",)))
        self.assertEqual(self.successResultOf(d).identity.roles, ("a",))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_deadline(self) -> None:
        """One that takes longer than its own deadline is passed over."""
        slow = Giver("slow", Deferred(), timeout=1)
        d = self.ask([Oracle("alice").yes()], augmenters=[slow])
        self.clock.advance(0)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(d).identity.roles, ())

    def test_durations(self) -> None:
        """Each is counted with the time it took itself, not with that of the slowest."""
        slow = Giver("slow", Deferred(), type="slow")
        d = self.ask(
            [Oracle("alice").yes()], augmenters=[Giver("quick", Addition(), type="quick"), slow]
        )
        self.clock.advance(0)
        self.clock.advance(3)
        slow.gives.callback(Addition())
        self.successResultOf(d)
        text = self.metrics.text()[0].decode()
        for kind, took in (("quick", "0.0"), ("slow", "3.0")):
            labels = f'augmenter_type="{kind}",realm="here"'
            self.assertIn(f"augmenter_duration_seconds_sum{{{labels}}} {took}", text)

    def test_required_T60(self) -> None:
        """While a required augmenter fails, no client is authenticated."""
        d = self.ask(
            [Oracle("alice").yes()], augmenters=[Giver("bad", Unavailable(), required=True)]
        )
        self.clock.advance(0)
        self.failureResultOf(d, Unavailable)

    def test_freshness(self) -> None:
        """The earliest of all limits is the limit."""
        one, two = Giver("one", Addition(fresh_until=20)), Giver("two", Addition(fresh_until=10))
        self.assertEqual(self.augmented(one, two).fresh_until, 10)
