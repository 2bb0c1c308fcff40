"""What is remembered, how long, and what never is."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import partial
from itertools import product
from math import inf
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.reactor_time import Meter
from authotron.concurrency.waiters import Waiters
from authotron.config.schema import LoggingConfig
from authotron.gateway.credentials import parse
from authotron.gateway.decisions import (
    DecisionCache,
)
from authotron.gateway.outcomes import REFUSED, SUCCESS, Decision, Outcome
from authotron.limits.slots import CLIENT
from authotron.model.authentication import Authentication
from authotron.model.errors import InsufficientScope, Rejected, Unavailable
from authotron.model.identity import Client, Identity
from authotron.model.request import Presented
from authotron.model.token import Grant
from authotron.telemetry import logs
from authotron.testing.worlds import NOW, clock_at

ALICE = Authentication(Identity("internal", "alice"))


def alice(**over: Any) -> Authentication:
    """Her authentication, with another identity."""
    return ALICE._replace(identity=ALICE.identity._replace(**over))


class Oracle:
    """Plays the authenticator: keeps the questions, and answers when the test decides."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.pending: list[Deferred[Authentication]] = []
        self.answer: Authentication | Exception | None = ALICE
        self.cancelled = 0
        self.on_asked: Callable[[], object] = lambda: None

    def _cancel(self, _: Deferred[Authentication]) -> None:
        self.cancelled += 1

    async def identify(self, credentials: Any, realm: str | None) -> Authentication:
        self.asked.append(([credential.value for credential in credentials], realm))
        self.on_asked()
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            self.pending.append(Deferred(self._cancel))
            return await self.pending[-1]
        return self.answer


class VerdictsCase(SynchronousTestCase):
    """How to ask. The case itself mints tokens and makes replies."""

    max_lifetime = 3600.0
    signs_until = inf
    first_read: Waiters[None] | None = None

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.oracle = Oracle()
        self.minted = 0
        self.mint_fails = False
        self.decisions = self.make()

    def make(self, **given: Any) -> DecisionCache[str]:
        return DecisionCache(
            self.clock,
            self.oracle,  # type: ignore[arg-type] # plays the authority
            self,
            self,
            **{"ttl": 60, "size": 100, "reuse": 30, "refusals": 5, **given},
        )

    def authenticate(self, outcome: Outcome, token: str | None) -> str:
        """Make the reply, as the edge does."""
        return f"{outcome.result} {token}"

    def mint(self, found: Authentication) -> str:
        if self.mint_fails:
            raise Rejected("expired")
        self.minted += 1
        return f"{found.identity.username}{self.minted}"

    def ask(self, header: bytes | None = b"Bearer a", realm: bytes | None = None) -> Decision[str]:
        decision = self.decisions.decide(Presented(header, realm))
        return self.successResultOf(decision) if isinstance(decision, Deferred) else decision

    def decide(self, header: bytes | None = b"Bearer a", realm: bytes | None = None) -> Outcome:
        return self.ask(header, realm).outcome

    def token(self) -> str:
        return self.ask().reply.removeprefix("success ")


class LoggedTests(VerdictsCase):
    """Which decisions the log names the user of."""

    def logged(self, presented: Presented) -> list[LogEvent]:
        with capturedLogs() as events:
            self.decisions.decide(presented)
        return [each for each in events if each.get("event") == "auth.request.authenticated"]

    def test_decision_is_logged_once_H_LOGS(self) -> None:
        """Who was authenticated is logged when a decision is made, not when it is repeated."""
        self.oracle.answer = alice(roles=("a", "b"), attributes={"x": "1"}, scopes={"s": ("r",)})
        presented = Presented(b"Basic YWxpY2U6d29uZGVy")
        [event] = self.logged(presented)
        names = ("realm", "username", "roles", "roles_count", "attributes_count")
        self.assertEqual([event[name] for name in names], ["internal", "alice", "a,b", 2, 1])
        self.assertEqual(event["scopes_services_count"], 1)
        self.assertEqual(event["log_level"], LogLevel.info)
        self.assertEqual(self.logged(presented), [])
        self.clock.advance(35)  # another JWT for the same authentication
        self.assertEqual(self.logged(presented), [])
        self.clock.advance(60)
        self.assertEqual(len(self.logged(presented)), 1)

    def test_refusal_names_nobody_H_LOGS(self) -> None:
        """A refusal and an outage are not logged as an authentication."""
        for failure in (Rejected("no"), Unavailable("down")):
            self.oracle.answer = failure
            self.assertEqual(self.logged(Presented(b"Basic eDp5")), [])

    def events(self, name: str, presented: Presented) -> list[LogEvent]:
        with capturedLogs() as events:
            self.decisions.decide(presented)
        return [each for each in events if each.get("event") == name]

    def test_refusals_H_LOGS(self) -> None:
        """One refusal of a scheme in 30 s is logged, with the number of those before it."""
        self.oracle.answer = Rejected("no such user")
        counts = []
        for number in range(40):
            presented = Presented(b"Basic %b" % b64encode(b"a:%d" % number))
            for event in self.events("auth.provider.all_failed", presented):
                self.assertEqual((event["scheme"], event["last_error"]), ("Basic", "no such user"))
                counts.append(event["suppressed_count"])
            self.clock.advance(1)
        self.assertEqual(counts, [0, 29])
        [event] = self.events("auth.provider.all_failed", Presented(b"Bearer x"))
        self.assertEqual(event["scheme"], "Bearer")
        [event] = self.events("auth.provider.all_failed", Presented(b"Canary x"))
        self.assertEqual(event["scheme"], "other")

    def test_malformed_headers_H_LOGS(self) -> None:
        """A malformed header is logged with the reasons of auth-o-tron, and never repeated."""
        for header, reason in (
            (b"Basic", "invalid_format"),
            (b"A canary, B canary, C canary, D canary", "too_many_credentials"),
        ):
            [event] = self.events("auth.header.invalid", Presented(header))
            self.assertEqual(event["reason"], reason)
            self.assertNotIn("canary", repr(event))
            self.assertEqual(self.events("auth.header.invalid", Presented(header)), [])
            self.clock.advance(30)

    def test_level_H_LOGS(self) -> None:
        """Above the level info no event is made."""
        self.addCleanup(logs.log.configure, LoggingConfig())
        logs.log.configure(LoggingConfig(level="warn"))
        self.assertEqual(self.logged(Presented(b"Basic YWxpY2U6d29uZGVy")), [])


class ClientTests(VerdictsCase):
    """Which client a credential is from."""

    def setUp(self) -> None:
        super().setUp()
        self.asked = 0

    def client(self) -> str:
        self.asked += 1
        return "192.0.2.7"

    def test_passed_on_T84d(self) -> None:
        """Each credential of a header names the client, which does not make it another one."""
        seen: list[Any] = []

        async def identify(found: Any, _realm: str | None) -> Authentication:
            seen.extend(found)
            raise Rejected

        self.patch(self.oracle, "identify", identify)
        self.decisions.decide(Presented(b"Basic a, Bearer b"), self.client)
        self.assertEqual([each.client for each in seen], ["192.0.2.7"] * 2)
        self.assertEqual(seen, list(parse("Basic a, Bearer b")))

    def test_known_while_verified_T84d(self) -> None:
        """
        All work for a decision knows the client, before and after a wait; other
        work does not.
        """
        self.assert_known_while_verified()

    def test_known_on_the_fast_way_T84d(self) -> None:
        """
        Work for a decision on the fast path, which has a meter of its own, knows
        the client, too.
        """
        self.decisions = self.make(meter=Meter("front", self.clock, lambda _: None))
        self.assert_known_while_verified()

    def test_next_client_T84d(self) -> None:
        """Each of several decisions in a row is made for its own client."""
        seen: list[Client] = []

        async def identify(_found: Any, _realm: str | None) -> Authentication:
            seen.append(CLIENT.get())
            raise Rejected

        self.patch(self.oracle, "identify", identify)
        self.decisions = self.make(meter=Meter("front", self.clock, lambda _: None))
        clients = ["192.0.2.7", "192.0.2.8", "192.0.2.7"]
        for place, client in enumerate(clients):
            self.decisions.decide(Presented(b"Bearer %d" % place), partial(str, client))
        self.assertEqual(seen, clients)

    def assert_known_while_verified(self) -> None:
        seen: list[Client] = []
        turns: list[Deferred[None]] = [Deferred(), Deferred()]

        async def identify(found: Any, _realm: str | None) -> Authentication:
            for turn in turns:
                seen.append(CLIENT.get())
                await turn
            seen.append(CLIENT.get())
            raise Rejected

        self.patch(self.oracle, "identify", identify)
        self.decisions.decide(Presented(b"Bearer a"), lambda: "192.0.2.7")
        self.assertIsNone(CLIENT.get())
        for turn in turns:
            turn.callback(None)
        self.assertEqual(seen, ["192.0.2.7"] * 3)
        self.assertIsNone(CLIENT.get())

    def test_remembered_T84d(self) -> None:
        """
        The address of the client is not looked up if a decision is cached or the
        header is missing.
        """
        for header in (b"Bearer a", b"Bearer a", None, b""):
            self.decisions.decide(Presented(header), self.client)
        self.assertEqual(self.asked, 1)


class RememberedTests(VerdictsCase):
    """Decisions that accept a credential."""

    def test_once(self) -> None:
        """A cached decision is repeated without asking a provider or minting again."""
        self.assertEqual(self.token(), self.token())
        self.assertEqual(len(self.oracle.asked), 1)

    def test_reuse(self) -> None:
        """After the reuse time a new token is minted, without asking again."""
        first = self.token()
        self.clock.advance(30)
        self.assertNotEqual(self.token(), first)
        self.assertEqual(len(self.oracle.asked), 1)

    def test_ttl(self) -> None:
        """After its time to live it is asked for again; minting anew does not lengthen it."""
        self.decide()
        self.clock.advance(31)
        self.decide()
        self.clock.advance(29)
        self.decide()
        self.assertEqual(len(self.oracle.asked), 2)

    def test_off(self) -> None:
        """With a time to live of zero nothing is remembered."""
        self.decisions = self.make(ttl=0)
        self.decide()
        self.decide()
        self.assertEqual((len(self.oracle.asked), self.decisions.remembered()), (2, 0))

    def test_fresh_until(self) -> None:
        """It lives no longer than what it was made of is fresh."""
        self.oracle.answer = ALICE._replace(fresh_until=NOW + 10)
        self.decide()
        self.clock.advance(10)
        self.decide()
        self.assertEqual(len(self.oracle.asked), 2)

    def test_nothing_minted_T81e(self) -> None:
        """If nothing can be minted, since the identity has expired, it is a refusal like others."""
        self.mint_fails = True
        self.assertEqual(self.decide().result, REFUSED)
        self.mint_fails = False
        self.clock.advance(5)
        self.assertEqual(self.decide().result, SUCCESS)
        self.assertEqual(len(self.oracle.asked), 2)

    def test_nothing_minted_again_T81e(self) -> None:
        """If a remembered identity expires before a further token is minted, it is a refusal."""
        self.decide()
        self.clock.advance(31)
        self.mint_fails = True
        self.assertEqual(self.decide().result, REFUSED)

    def test_whole_seconds_T81e(self) -> None:
        """A token ends at a whole second, and is not handed out after it."""
        self.oracle.answer = ALICE._replace(expires=NOW + 3.9)
        self.decide()
        self.clock.advance(3)
        self.decide()
        self.assertEqual(len(self.oracle.asked), 2)

    def test_expiry_T41(self) -> None:
        """It lives no longer than the credential, or the attribute exp."""
        for found in (
            ALICE._replace(expires=NOW + 3),
            alice(attributes={"exp": str(NOW + 3)}),
        ):
            with self.subTest(repr(found)):
                self.setUp()
                self.oracle.answer = found
                self.decide()
                self.clock.advance(3)
                self.oracle.answer = Rejected()
                self.assertEqual(self.decide().result, "all_failed")

    def test_key_T40(self) -> None:
        """Another credential, realm, or absence of a realm is another question."""
        self.decide(b"Bearer a")
        self.decide(b"Bearer a", b"")
        self.decide(b"Bearer a", b"x")
        self.decide(b"Bearer ax")
        self.assertEqual(
            self.oracle.asked, [(["a"], None), (["a"], ""), (["a"], "x"), (["ax"], None)]
        )

    def test_bounded_T43(self) -> None:
        """No more than the configured number is kept; those not used for longest go."""
        self.decisions = self.make(size=2)
        for header in (b"Bearer a", b"Bearer b", b"Bearer a", b"Bearer c", b"Bearer a"):
            self.decide(header)
        self.assertEqual((self.decisions.remembered(), len(self.oracle.asked)), (2, 3))

    def test_nothing_secret_inside_T43(self) -> None:
        """Neither what the client sent nor what was minted is in the representation."""
        self.decide(b"Bearer secretly")
        decision: Any = self.decisions.decide(Presented(b"Bearer secretly"))
        self.assertIsInstance(decision, Decision)
        self.assertNotIn("secretly", repr(decision) + repr(self.decisions))
        self.assertNotIn("alice1", repr(decision))


class RefusedTests(VerdictsCase):
    """Refusals and outages."""

    def test_refusal(self) -> None:
        """A refusal is repeated for five seconds, no longer: a token made later works."""
        self.oracle.answer = Rejected()
        self.assertEqual((self.decide().result, self.decide().result), ("all_failed",) * 2)
        self.assertEqual(len(self.oracle.asked), 1)
        self.clock.advance(5)
        self.oracle.answer = ALICE
        self.assertEqual(self.decide().result, "success")

    def test_refusal_after_success(self) -> None:
        """So is that of a credential that was good before."""
        self.decide()
        self.clock.advance(60)
        self.oracle.answer = Rejected()
        self.assertEqual((self.decide().result, self.decide().result), ("all_failed",) * 2)
        self.assertEqual(len(self.oracle.asked), 2)

    def test_flood_T43(self) -> None:
        """The cache of refusals is bounded, and refusals evict no accepted credential."""
        self.decide(b"Bearer good")
        self.oracle.answer = Rejected()
        for number in range(1000):
            self.decide(b"Bearer %d" % number)
        self.assertLessEqual(self.decisions.remembered(), 11)
        self.assertEqual(self.decide(b"Bearer good").result, "success")

    def test_never_T44(self) -> None:
        """Not remembered: outages, uncertain refusals, failed augmenters, several credentials."""
        for answer, header in (
            (Unavailable(), b"Bearer a"),
            (ALICE._replace(fresh_until=0), b"Bearer a"),
            (ALICE, b"Bearer a, Basic b"),
            (Rejected(), b"Bearer a, Basic b"),
        ):
            with self.subTest(f"{answer!r} {header!r}"):
                self.setUp()
                self.oracle.answer = answer
                self.decide(header)
                self.decide(header)
                self.assertEqual((len(self.oracle.asked), self.decisions.remembered()), (2, 0))

    def test_header(self) -> None:
        """What is missing, blank, not ASCII or malformed never reaches the authority."""
        for header, result in (
            (None, "no_auth_header"),
            (b"  ", "no_auth_header"),
            (b"Basic \xc3\xa9", "no_auth_header"),
            (b"Bearer", "invalid_header"),
            (b"A a, B b, C c, D d", "invalid_header"),
        ):
            with self.subTest(repr(header)):
                self.assertEqual(self.decide(header).result, result)
        self.assertEqual(self.oracle.asked, [])

    def test_broken_T60(self) -> None:
        """A defect gives no identity and is not remembered."""
        self.oracle.answer = KeyError("defect")
        outcome = self.decide()
        self.assertEqual((outcome.result, outcome.authentication), ("error", None))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.decisions.remembered(), 0)

    def test_signer_broken_T60(self) -> None:
        """So does a signer that fails, at first and later."""
        self.decide()
        self.clock.advance(30)
        self.minted = "no number"  # type: ignore[assignment] # the defect
        self.assertEqual((self.decide().result, self.decide(b"Bearer b").result), ("error",) * 2)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)


class FlightTests(VerdictsCase):
    """Many ask the same at once."""

    def setUp(self) -> None:
        super().setUp()
        self.oracle.answer = None

    def waiting(self, header: bytes = b"Bearer a") -> Deferred[Decision[str]]:
        decision = self.decisions.decide(Presented(header))
        assert isinstance(decision, Deferred)
        return decision

    def test_single_T45(self) -> None:
        """One question is asked; all get its answer."""
        waiting = [self.waiting() for _ in range(3)]
        self.assertEqual(len(self.oracle.pending), 1)
        self.oracle.pending[0].callback(ALICE)
        replies = {self.successResultOf(each).reply for each in waiting}
        self.assertEqual(replies, {"success alice1"})

    def test_one_leaves_T45(self) -> None:
        """One that leaves does not cancel the others."""
        leaver, stayer = self.waiting(), self.waiting()
        leaver.cancel()
        self.failureResultOf(leaver, CancelledError)
        self.oracle.pending[0].callback(ALICE)
        self.assertEqual(self.successResultOf(stayer).outcome.result, "success")

    def test_leaves_on_hearing_T45(self) -> None:
        """One that hears the answer may make another leave; the rest still hear it."""
        first, second, third = (self.waiting() for _ in range(3))
        first.addCallback(lambda _: second.cancel())
        self.oracle.pending[0].callback(ALICE)
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.successResultOf(third).outcome.result, "success")

    def test_last_leaves(self) -> None:
        """The last one that leaves cancels the question; who comes later asks a new one."""
        leaver = self.waiting()
        leaver.cancel()
        self.failureResultOf(leaver, CancelledError)
        self.assertEqual(self.oracle.cancelled, 1)
        later = self.waiting()
        self.oracle.pending[1].callback(ALICE)
        self.assertEqual(self.successResultOf(later).outcome.result, "success")

    def test_revoked_meanwhile_T42(self) -> None:
        """What was found out before a revocation is not remembered after it."""
        waiting = self.waiting()
        self.decisions.invalidate()
        self.oracle.pending[0].callback(ALICE)
        self.successResultOf(waiting)
        self.assertEqual(self.decisions.remembered(), 0)

    def test_asked_after_revocation_T42(self) -> None:
        """Who asks after a revocation does not get an answer from before it."""
        self.waiting()
        self.decisions.invalidate()
        later = self.waiting()
        self.oracle.pending[0].callback(ALICE)
        self.assertNoResult(later)
        self.oracle.pending[1].errback(Rejected())
        self.assertEqual(self.successResultOf(later).outcome.result, "all_failed")

    def test_revoked_while_asking_T42(self) -> None:
        """Nor when the revocation comes before the question has even begun to wait."""
        self.oracle.answer = None
        self.oracle.on_asked = self.decisions.invalidate
        self.waiting()
        later = self.waiting()
        self.assertEqual(len(self.oracle.asked), 2)
        self.oracle.pending[0].callback(ALICE)
        self.assertNoResult(later)

    def test_at_once(self) -> None:
        """
        A decision that need not wait is returned without a Deferred, and leaves
        nothing behind.
        """
        for answer in (ALICE, Rejected(), Unavailable()):
            self.oracle.answer = answer
            self.assertIsInstance(self.decisions.decide(Presented(b"Bearer a")), Decision)
            self.decisions.invalidate()

    def test_no_mix_T45(self) -> None:
        """Five hundred at once each get their own."""
        waiting = {n: self.waiting(b"Bearer %d" % n) for n in range(500)}
        for number, pending in reversed(list(enumerate(self.oracle.pending))):
            pending.callback(Authentication(Identity("internal", f"user{number}-")))
        for number, each in waiting.items():
            decision = self.successResultOf(each)
            assert decision.outcome.authentication is not None
            self.assertEqual(decision.outcome.authentication.identity.username, f"user{number}-")
            self.assertIn(f" user{number}-", decision.reply)


class LeavingTests(VerdictsCase):
    """A caller that leaves while the result is given to another caller."""

    def test_leaves(self) -> None:
        """A caller that has left gets no result; the other callers get theirs."""
        self.oracle.answer = None
        first, second, third = (self.decisions.decide(Presented(b"Bearer a")) for _ in range(3))
        assert isinstance(first, Deferred)
        assert isinstance(second, Deferred)
        assert isinstance(third, Deferred)
        first.addCallback(lambda _: second.cancel())
        self.oracle.pending[0].callback(ALICE)
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.successResultOf(third).outcome.result, "success")


class ForgetTests(VerdictsCase):
    """Revocation."""

    def test_forget_T42(self) -> None:
        """What was remembered is asked for again at once."""
        self.decide()
        self.decisions.invalidate()
        self.oracle.answer = Rejected()
        self.assertEqual(self.decide().result, "all_failed")

    def test_token_T83d(self) -> None:
        """A revoked API token voids what depends on it or descends from it, and nothing else."""
        self.remember(b"Bearer alice", ALICE)
        for name, lineage in (("one", ("one",)), ("child", ("one", "child")), ("two", ("two",))):
            self.remember(b"Bearer %b" % name.encode(), granted(*lineage))
        self.decisions.invalidate(["one"])
        self.assertEqual(self.remembered("alice", "one", "child", "two"), ["alice", "two"])

    def test_unknown_token_T83d(self) -> None:
        """What depends on an API token that is not known is void with each of them."""
        self.remember(b"Bearer x", ALICE._replace(restriction=Grant()))
        self.decisions.invalidate(["one"])
        self.assertEqual(self.remembered("x"), [])

    def test_everything_T83d(self) -> None:
        """Without ids everything is void."""
        self.remember(b"Bearer alice", ALICE)
        self.decisions.invalidate()
        self.assertEqual(self.remembered("alice"), [])

    def test_token_meanwhile_T83d(self) -> None:
        """A lookup in flight is not remembered if its API token, or an ancestor, was revoked."""
        for found, voided in (
            (granted("one"), True),
            (granted("one", "child"), True),
            (ALICE._replace(restriction=Grant()), True),
            (granted("two"), False),
            (ALICE, False),
        ):
            with self.subTest(found):
                self.decisions, self.oracle.answer = self.make(), None
                waiting = self.decisions.decide(Presented(b"Bearer a"))
                assert isinstance(waiting, Deferred)
                self.decisions.invalidate(["one"])
                self.oracle.pending[-1].callback(found)
                self.successResultOf(waiting)
                self.assertEqual(self.decisions.remembered(), 0 if voided else 1)

    def test_asked_after_token_T83d(self) -> None:
        """A client that asks after a revocation gets no answer from before it."""
        self.oracle.answer = None
        self.decisions.decide(Presented(b"Bearer a"))
        self.decisions.invalidate(["one"])
        self.decisions.decide(Presented(b"Bearer a"))
        self.assertEqual(len(self.oracle.asked), 2)

    def test_many_tokens_T83d(self) -> None:
        """After very many revocations no lookup that was in flight before them is remembered."""
        self.oracle.answer = None
        waiting = self.decisions.decide(Presented(b"Bearer a"))
        assert isinstance(waiting, Deferred)
        for number in range(2_000):
            self.decisions.invalidate([f"id{number}"])
        self.assertLess(len(self.decisions._changed), 2_000)
        self.oracle.pending[0].callback(granted("id0"))
        self.successResultOf(waiting)
        self.assertEqual(self.decisions.remembered(), 0)

    def remember(self, header: bytes, found: Authentication) -> None:
        self.oracle.answer = found
        self.decide(header)

    def remembered(self, *names: str) -> list[str]:
        """Which of these bearer tokens are remembered."""
        self.oracle.answer, before = Rejected(), len(self.oracle.asked)
        for name in names:
            self.decide(b"Bearer %b" % name.encode())
        asked = [values[0] for values, _ in self.oracle.asked[before:]]
        return [name for name in names if name not in asked]


def granted(*lineage: str) -> Authentication:
    """An authentication by an API token, the last of these."""
    return ALICE._replace(restriction=Grant(lineage=lineage))


class MemoryTests(VerdictsCase):
    """What the memory takes, and for whom."""

    def test_spellings_T83b(self) -> None:
        """All spellings of the same credentials and the same realm are one entry."""
        blanks = (b" ", b"  ", b"\t", b"   ", b" \t ")
        for scheme in (b"Basic", b"basic", b"BASIC", b"bAsIc", b"Plain", b"PLAIN"):
            for between in blanks:
                for realm in (b"internal", b"Internal", b" INTERNAL", b"internal\t"):
                    for end in (b"", b" "):
                        header = scheme + between + b"eDp5" + end
                        self.assertEqual(self.decide(header, realm).result, "success")
        self.assertEqual((self.decisions.remembered(), len(self.oracle.asked)), (1, 1))
        self.assertEqual(self.minted, 1)

    def test_spellings_refused_T83b(self) -> None:
        """All spellings of refused credentials are one entry."""
        self.oracle.answer = Rejected()
        for header in (b"Bearer a", b"bearer a", b"BEARER  a", b"bearer a"):
            self.decide(header)
        self.assertEqual((self.decisions.remembered(), len(self.oracle.asked)), (1, 1))

    def test_spellings_in_flight_T83b(self) -> None:
        """All spellings of credentials that are being verified share one lookup."""
        self.oracle.answer = None
        first, second = (
            self.decisions.decide(Presented(each)) for each in (b"Bearer a", b"bearer  a")
        )
        self.oracle.pending[0].callback(ALICE)
        for each in (first, second):
            assert isinstance(each, Deferred)
            self.assertEqual(self.successResultOf(each).outcome.authentication, ALICE)

    def test_different_T83b(self) -> None:
        """What means something else stays another entry."""
        for header, realm in (
            (b"Bearer a", None),
            (b"Bearer A", None),
            (b"Basic a", None),
            (b"Bearer a", b""),
            (b"Bearer a", b"internal"),
            (b"Bearer a", b"internal x"),
            (b"Bearer a", "\u212aelvin".encode()),
            (b"Bearer a", b"kelvin"),
        ):
            self.decide(header, realm)
        self.assertEqual(self.decisions.remembered(), 8)

    def test_key_covers_all_fields(self) -> None:
        """The key differs whatever field differs; no value runs into the next one."""
        values = (None, b"", b"-", b"0:", b"1:a", b"a", b"a-", b"aa", b"-1:a")
        several = [(), *product((None, b"", b"a", b"[1]"), repeat=1), *product(values, repeat=2)]
        found = [Presented(*each) for each in product(values, values, several)]
        self.assertEqual(len(Presented._fields), 3)
        self.assertEqual(len({self.decisions.key(each) for each in found}), len(found))

    def test_again_T83b(self) -> None:
        """Another spelling lengthens nothing."""
        self.decide(b"Bearer a")
        self.decide(b"bearer a")
        self.clock.advance(60)
        self.oracle.answer = Rejected()
        self.assertEqual(self.decide(b"bearer a").result, "all_failed")

    def test_forgotten_T83b(self) -> None:
        """What is void is so in all spellings."""
        self.decide(b"Bearer a")
        self.decide(b"bearer a")
        self.decisions.invalidate()
        self.oracle.answer = Rejected()
        for header in (b"bearer a", b"Bearer a"):
            self.assertEqual(self.decide(header).result, "all_failed")

    def test_bytes_T83a(self) -> None:
        """The memory stays within its budget, however large identities are."""
        self.decisions = self.make(max_bytes=2**20, size=10_000)
        for number in range(100):
            roles = tuple(f"{number}-{role}" for role in range(500))
            self.oracle.answer = alice(username=f"user{number}", roles=roles)
            self.decide(b"Bearer %d" % number)
            self.assertLessEqual(self.decisions.remembered_bytes(), 2**20)
        self.assertGreater(self.decisions.remembered(), 10)

    def test_share_T83c(self) -> None:
        """One user with very many credentials pushes out no other user's."""
        self.decisions = self.make(size=1_000)
        self.oracle.answer = alice(username="bob")
        for number in range(50):
            self.decide(b"Bearer bob-%d" % number)
        self.oracle.answer = ALICE
        for number in range(2_000):
            self.decide(b"Bearer alice-%d" % number)
        asked = len(self.oracle.asked)
        for number in range(50):
            self.decide(b"Bearer bob-%d" % number)
        self.assertEqual((len(self.oracle.asked), self.decisions.remembered()), (asked, 150))

    def test_share_of_another_realm_T83c(self) -> None:
        """A name with a hyphen is no way into the share of a user of another realm."""
        self.decisions = self.make(size=1_000)
        for username, realm in (("carol", "here-there"), ("there-carol", "here")):
            self.oracle.answer = alice(username=username, realm=realm)
            for number in range(100):
                self.decide(b"Bearer %b-%d" % (realm.encode(), number))
        self.assertEqual(self.decisions.remembered(), 200)


class ScopeTests(VerdictsCase):
    """Tokens without a required scope."""

    def test_missing_scope_B_ORDER(self) -> None:
        """A token that lacks a required scope has an error of its own, also when repeated."""
        self.oracle.answer = InsufficientScope("lacks x")
        for _ in range(2):
            decision: Any = self.decisions.decide(Presented(b"Bearer x"))
            self.assertEqual(decision.outcome.result, REFUSED)
            self.assertEqual(decision.outcome.error, "insufficient_scope")
        self.oracle.answer = Rejected("wrong")
        decision = self.decisions.decide(Presented(b"Bearer y"))
        self.assertEqual(decision.outcome.error, "invalid_token")
