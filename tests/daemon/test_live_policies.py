"""Policies in the token store: how a gateway reads and follows them, and what else may happen."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import check
from authotron.config.stored_policies import StoredPolicies
from authotron.daemon.compose import compose
from authotron.daemon.live_policies import LivePolicies
from authotron.gateway import decisions
from authotron.model.errors import ConfigError, Unavailable
from authotron.model.policy_document import PolicyDocument
from authotron.net.world import World
from authotron.stores.memory import MemoryStore
from authotron.testing.worlds import run_at_once
from tests.config.cases import BASE, laid_over
from tests.web.conversations import ALICE, InMemoryGateway
from tests.web.test_authorizer import ALLOWED, SECTION, Pdp

PEERS = {"trusted_proxies": ["192.0.2.0/24"]}
USERS = [{"username": "alice", "password": "wonder", "roles": ["reader"]}]
READ = {"name": "read", "subject": [["role=reader"]], "permissions": ["/data/**:GET"]}
WRITE = {"name": "write", "subject": [["role=reader"]], "permissions": ["/data/**:PUT"]}
DENY = {"name": "deny", "subject": [["role=reader"]], "permissions": ["-/data/x:*"]}
LABEL = "team"


def document(version: int, *rules: dict[str, Any], label: str = LABEL) -> PolicyDocument:
    """Return the document with some rules that has a version number."""
    before = None if version == 1 else f"{version - 1}-x"
    return StoredPolicies(before, {label: {"rules": rules, "groups": ()}}).following()


@define(eq=False)
class Unreliable(MemoryStore):
    """
    A store in memory that a test can make unreachable.

    @ivar reads: how often the whole policies were read.
    @ivar held: a Deferred for which each look at the state waits, if there is one.
    """

    is_down: bool = field(default=False, init=False)
    reads: int = field(default=0, init=False)
    held: Deferred[None] | None = field(default=None, init=False)

    async def policy_state(self) -> str | None:
        if self.held is not None:
            await self.held
        if self.is_down:
            raise Unavailable("the cable is cut")
        return await super().policy_state()

    async def policies(self) -> PolicyDocument | None:
        self.reads += 1
        if self.is_down:
            raise Unavailable("the cable is cut")
        return await super().policies()

    def put(self, stored: PolicyDocument | None) -> None:
        self._policies = stored


class StoredCase(SynchronousTestCase):
    """A gateway whose policies are in a store in memory."""

    def setUp(self) -> None:
        self.store = Unreliable()
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def over(self, **policy: Any) -> dict[str, Any]:
        provider = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
        return {
            "server": PEERS,
            "providers": [provider],
            "store": {"type": "redis"},
            "policy": {"store": True, **policy},
        }

    def gateway_of(self, given: dict[str, Any]) -> InMemoryGateway:
        return InMemoryGateway(given)

    def make(self, **policy: Any) -> None:
        self.gateway = self.gateway_of(self.over(**policy))
        self.world = World(self.gateway.clock, run_at_once)
        self.serving = self.gateway.serving
        assert self.serving.gateway.tokens is not None
        self.serving.gateway.tokens.store.backend = self.store
        self.policies = LivePolicies(self.serving, self.world)
        self.addCleanup(self.policies.stop)

    def start(self, **policy: Any) -> None:
        self.make(**policy)
        self.policies.start()

    def pass_(self, seconds: float) -> None:
        self.gateway.clock.advance(seconds)

    def ask(self, uri: str = "/data/x", method: str = "GET") -> int:
        """Ask on the site and on the fast path, which must answer alike; return the status."""
        headers = {"X_Original_URI": uri, "X_Original_Method": method, "Authorization": ALICE}
        entrances: list[Any] = [self.gateway.public, *[self.gateway.entrance] * 3]
        found = {
            self.gateway.ask("GET /authenticate", site, **headers).status for site in entrances
        }
        [status] = found
        return status

    def ready(self) -> Any:
        answer = self.gateway.ask("GET /ready", self.gateway.operations)
        return {"status": answer.status, **answer.json().get("policies", {})}

    def gauge(self, name: str) -> float:
        text = self.gateway.metrics.text()[0].decode()
        [value] = re.findall(rf"^authotron_policies_{name} (\S+)$", text, re.MULTILINE)
        return float(value)

    def logged(self, event: str) -> list[LogEvent]:
        return [each for each in self.events if each.get("event") == f"policy.store.{event}"]

    def awaited(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def refused(self, work: Coroutine[Any, Any, Any]) -> str:
        failure = self.failureResultOf(Deferred.fromCoroutine(work), ConfigError)
        return str(failure.value)


class FollowingTests(StoredCase):
    """How a running gateway follows the token store."""

    def test_read_at_start(self) -> None:
        """Stored policies count from the start on, together with those of the configuration."""
        self.store.put(document(1, READ))
        self.start(rules=[WRITE])
        self.assertEqual([self.ask(), self.ask(method="PUT"), self.ask("/y")], [200, 200, 403])
        self.assertEqual(self.ready(), {"status": 200, "version": 1, "age": 0.0})

    def test_change(self) -> None:
        """A change counts within policy.recheck, for cached decisions of all paths as well."""
        self.store.put(document(1, READ))
        self.start(recheck="7s")
        self.assertEqual(self.ask(), 200)
        self.store.put(document(2, READ, DENY))
        self.pass_(6.9)
        self.assertEqual(self.ask(), 200)
        self.pass_(0.2)
        self.assertEqual(self.ask(), 403)
        self.store.put(document(3, READ))
        self.pass_(7)
        self.assertEqual(self.ask(), 200)
        self.assertEqual([each["version"] for each in self.logged("applied")], [1, 2, 3])
        self.assertEqual(self.gauge("version"), 3)

    def test_authenticated_once(self) -> None:
        """After a change clients are not authenticated again."""
        self.store.put(document(1, READ))
        self.start()
        self.assertEqual(self.ask(), 200)
        self.serving.gateway.authenticator.providers = []
        self.store.put(document(2, READ, DENY))
        self.pass_(5)
        self.assertEqual(self.ask(), 403)

    def test_many_decisions(self) -> None:
        """If very many decisions are cached, they are discarded after a change."""
        self.patch(decisions, "_MOST_APPLIED", 0)
        self.store.put(document(1, READ))
        self.start()
        self.assertEqual((self.ask(), self.serving.gateway.decisions.remembered()), (200, 1))
        self.store.put(document(2, READ, DENY))
        self.pass_(5)
        self.assertEqual(self.serving.gateway.decisions.remembered(), 0)
        self.assertEqual(self.ask(), 403)

    def test_read_only_when_changed(self) -> None:
        """Policies that have not changed are not read again, and their age stays small."""
        self.store.put(document(1, READ))
        self.start()
        self.pass_(4)
        self.assertEqual(self.gauge("age_seconds"), 4)
        self.pass_(1)
        self.assertEqual((self.gauge("age_seconds"), self.store.reads), (0, 1))

    def test_same_number_Q_POLICIES(self) -> None:
        """Other policies with the same number, after a backup was restored, are noticed."""
        self.store.put(document(2, READ))
        self.start()
        self.store.put(document(2, READ, DENY))
        self.pass_(5)
        self.assertEqual(self.ask(), 403)

    def test_earlier_number(self) -> None:
        """Earlier policies that were restored from a backup are used."""
        self.store.put(document(5, READ, DENY))
        self.start()
        self.store.put(document(2, READ))
        self.pass_(5)
        self.assertEqual((self.ask(), self.gauge("version")), (200, 2))

    def test_unreachable_Q_POLICIES(self) -> None:
        """While the store is unreachable the policies stay in use, and their age is shown."""
        self.store.put(document(1, READ))
        self.start()
        self.store.is_down = True
        for _ in range(5):
            self.pass_(60)
        self.assertEqual((self.ask(), self.ask("/y")), (200, 403))
        problem = "the cable is cut"
        self.assertEqual(
            self.ready(), {"status": 200, "version": 1, "age": 300.0, "problem": problem}
        )
        self.assertEqual(self.gauge("age_seconds"), 300)
        [event] = self.logged("unreachable")
        self.assertEqual((event["version"], event["age"]), (1, 60))
        self.store.is_down = False
        self.pass_(60)
        self.assertEqual(self.ready(), {"status": 200, "version": 1, "age": 0.0})
        self.assertEqual(len(self.logged("reached")), 1)

    def test_lost_Q_POLICIES(self) -> None:
        """If the store has lost its policies, those in use stay."""
        self.store.put(document(1, READ))
        self.start()
        self.store.put(None)
        self.pass_(5)
        self.pass_(5)
        self.assertEqual((self.ask(), self.ask("/y")), (200, 403))
        self.assertEqual(len(self.logged("missing")), 1)

    def test_bad_policies_Q_POLICIES(self) -> None:
        """A version with a problem is refused as a whole and logged once; a later one is used."""
        self.store.put(document(1, READ))
        self.start(rules=[{**DENY, "name": "local", "permissions": ["/z:GET"]}])
        bad = {**WRITE, "permissions": ["/data"]}
        newer = PolicyDocument("9-x", b"")
        for number, stored in enumerate(
            (
                document(2, DENY, bad),
                document(3, DENY, {**WRITE, "unheard_of": 1}),
                document(4, DENY, {**WRITE, "name": "local"}),
                PolicyDocument(document(5, DENY).state, document(6).content),
                newer,
            ),
            1,
        ):
            self.store.put(stored)
            self.pass_(5)
            self.pass_(5)
            self.assertEqual((self.ask(), self.ask("/z")), (200, 200))
            self.assertEqual(len({each["version"] for each in self.logged("refused")}), number)
        problems = [str(each["problem"]) for each in self.logged("refused")]
        self.assertEqual(len(problems), 5)
        self.assertIn("label team.rules[1].permissions[0]: the permission has", problems[0])
        self.assertIn("label team.rules[1].name: another one", problems[2])
        self.assertIn("version 9 is refused", self.ready()["problem"])
        self.assertEqual(self.gauge("age_seconds"), 50)
        self.assertEqual(self.store.reads, 6)
        self.store.put(document(10, READ, DENY))
        self.pass_(5)
        self.assertEqual((self.ask(), self.ready()["version"]), (403, 10))

    def test_refused_after_an_outage(self) -> None:
        """After an outage the status says again why a version is refused, and not the outage."""
        self.store.put(document(1, READ))
        self.start()
        self.store.put(document(2, {**WRITE, "unheard_of": 1}))
        self.pass_(5)
        self.store.is_down = True
        self.pass_(5)
        self.assertEqual(self.ready()["problem"], "the cable is cut")
        self.store.is_down = False
        self.pass_(5)
        self.assertIn("version 2 is refused", self.ready()["problem"])
        self.assertEqual(len(self.logged("refused")), 1)

    def test_defect(self) -> None:
        """An unexpected exception is logged, and does not end the looking for changes."""
        self.store.put(document(1, READ))
        self.start()
        self.store.put(PolicyDocument("2-x", cast(bytes, None)))
        self.pass_(5)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.store.put(document(3, READ, DENY))
        self.pass_(5)
        self.assertEqual(self.ask(), 403)

    def test_stopped(self) -> None:
        """A stopped gateway does not look any more."""
        self.store.put(document(1, READ))
        self.start()
        self.policies.stop()
        self.store.put(document(2, DENY))
        self.pass_(60)
        self.assertEqual(self.store.reads, 1)


class UnknownTests(StoredCase):
    """A gateway that does not know its policies yet."""

    def test_unreachable_Q_POLICIES(self) -> None:
        """Without known policies no request is allowed, whatever the configuration allows."""
        self.store.is_down = True
        allowing = {**READ, "name": "local"}
        self.start(default="allow", rules=[allowing])
        self.assertEqual((self.ask(), self.ask("/y")), (503, 503))
        self.assertEqual((self.ready()["status"], self.ready()["version"]), (503, None))
        self.assertEqual(len(self.logged("unreachable")), 1)
        self.store.is_down = False
        self.store.put(document(1, DENY))
        self.pass_(1)
        self.assertEqual((self.ask(), self.ask("/data/y"), self.ask("/y")), (403, 200, 200))
        self.assertEqual(self.ready()["status"], 200)

    def test_with_authorizer_Q_POLICIES(self) -> None:
        """The authorizer is not asked while the policies are not known, and nothing is broken."""
        section = {"type": "authzen", "url": "http://pdp.test/evaluation"}
        usual = self.over
        self.patch(self, "over", lambda **policy: {**usual(**policy), "authorizer": section})
        self.store.is_down = True
        self.start(default="allow")
        self.assertEqual(self.ask(), 503)
        broken = [each for each in self.events if each.get("event") == "routes.request.broken"]
        self.assertEqual(broken, [])

    def test_none_stored_Q_POLICIES(self) -> None:
        """A store without policies opens nothing; policies without rules are known ones."""
        self.start(default="allow")
        self.assertEqual(self.ask(), 503)
        self.store.put(StoredPolicies().following())
        self.pass_(1)
        self.assertEqual(self.ask(), 200)

    def test_own_requests(self) -> None:
        """Requests to the gateway itself do not depend on policies."""
        self.store.is_down = True
        self.start()
        answer = self.gateway.ask("GET /whoami", Authorization=ALICE)
        self.assertEqual(answer.status, 200)

    def test_questions_of_services_Q_POLICIES(self) -> None:
        """A service that asks what an identity may do gets a 503."""
        self.store.is_down = True
        self.start(default="allow")
        question = {
            "subject": {"type": "user", "id": "alice"},
            "action": {"name": "GET"},
            "resource": {"type": "path", "id": "/data/x"},
        }
        answer = self.gateway.post("/access/v1/evaluation", question, Authorization=ALICE)
        self.assertEqual(answer.status, 503, answer)

    def test_wrong_credentials(self) -> None:
        """Wrong credentials are refused, whether the policies are known or not."""
        self.store.is_down = True
        self.start()
        answer = self.gateway.ask(
            "GET /authenticate",
            X_Original_URI="/",
            X_Original_Method="GET",
            Authorization="Basic eDp5",
        )
        self.assertEqual(answer.status, 401)

    def test_observed(self) -> None:
        """With mode: observe all requests pass, and are counted."""
        self.store.is_down = True
        self.start(mode="observe")
        self.assertEqual((self.ask(), self.ready()["status"]), (200, 200))
        text = self.gateway.metrics.text()[0].decode()
        counted = 'policy_rulings_total{reason="policies-unknown",result="observed"} 4.0'
        self.assertIn(counted, text)

    def test_first_requests_wait(self) -> None:
        """Requests that come while the policies are first read wait for them."""
        self.store.put(document(1, READ))
        held = self.store.held = Deferred()
        self.start()
        channel, wire = self.gateway.connect(self.gateway.entrance)
        lines = ("X-Original-URI: /data/x", "X-Original-Method: GET", f"Authorization: {ALICE}")
        head = "\r\n".join(["GET /authenticate HTTP/1.1", "Host: gate", *lines, "", ""])
        channel.dataReceived(head.encode())
        self.assertEqual(wire.value(), b"")
        self.store.held = None
        held.callback(None)
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 200"), wire.value())

    def test_stop_ends_waiting(self) -> None:
        """A gateway that stops while requests wait answers them."""
        self.store.held = Deferred()
        self.start()
        channel, wire = self.gateway.connect(self.gateway.entrance)
        lines = ("X-Original-URI: /data/x", "X-Original-Method: GET", f"Authorization: {ALICE}")
        head = "\r\n".join(["GET /authenticate HTTP/1.1", "Host: gate", *lines, "", ""])
        channel.dataReceived(head.encode())
        self.policies.stop()
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 503"), wire.value())


class AuthorizerTests(StoredCase):
    """A gateway with an authorizer besides the policies in the store."""

    def gateway_of(self, given: dict[str, Any]) -> InMemoryGateway:
        pdp = Pdp(lambda _: ALLOWED)
        return InMemoryGateway({**given, "authorizer": SECTION}, agents=pdp)

    def test_both_must_allow_Q_POLICIES(self) -> None:
        """What an authorizer allows is not allowed before the policies are known, or denied."""
        self.store.is_down = True
        self.start(default="allow")
        self.assertEqual(self.ask(), 503)
        self.store.is_down = False
        self.store.put(document(1, READ))
        self.pass_(1)
        self.assertEqual(self.ask(), 200)
        self.store.put(document(2, DENY))
        self.pass_(5)
        self.assertEqual((self.ask(), self.ask("/data/y")), (403, 200))


class ReloadTests(StoredCase):
    """A reload of the configuration."""

    def reload(self, **policy: Any) -> Coroutine[Any, Any, None]:
        """Return the work of a reload with the same store and another section policy."""
        config = check.check(laid_over(BASE, self.over(**policy)))
        new = compose(config, self.world, self.serving.metrics, self.store)

        async def work() -> None:
            await self.policies.prepare(new, is_same_store=True)
            self.serving.gateway = new
            self.policies.replace()

        return work()

    def test_known_policies_stay(self) -> None:
        """After a reload the stored policies count at once, with the new rules."""
        self.store.put(document(1, READ))
        self.start()
        self.awaited(self.reload(rules=[WRITE]))
        self.assertEqual((self.ask(), self.ask(method="PUT")), (200, 200))
        self.store.put(document(2, DENY))
        self.pass_(5)
        self.assertEqual(self.ask(), 403)

    def test_unreachable_Q_POLICIES(self) -> None:
        """A reload while the store is unreachable keeps the known policies, and their age."""
        self.store.put(document(1, READ))
        self.start()
        self.store.is_down = True
        self.pass_(30)
        self.awaited(self.reload(rules=[WRITE]))
        self.assertEqual((self.ask(), self.ask(method="PUT"), self.ask("/y")), (200, 200, 403))
        self.assertEqual(self.gauge("age_seconds"), 30)

    def test_conflict_Q_POLICIES(self) -> None:
        """A reload whose rules do not fit the stored ones is refused."""
        self.store.put(document(1, READ))
        self.start()
        self.assertIn("label team.rules[0].name", self.refused(self.reload(rules=[READ])))
        self.assertEqual(self.ask(), 200)

    def test_switched_on_Q_POLICIES(self) -> None:
        """A reload that switches the store on is refused if the policies cannot be known."""
        self.start(store=False, rules=[READ])
        self.assertNotIn("version", self.ready())
        self.assertIn("contains no policies", self.refused(self.reload()))
        self.store.is_down = True
        self.assertIn("policy.store: the cable is cut", self.refused(self.reload()))
        self.store.is_down = False
        self.store.put(document(1, {**READ, "permissions": ["/x"]}))
        self.assertIn("label team.rules[0].permissions[0]", self.refused(self.reload()))
        self.assertEqual(self.ask(), 200)
        self.store.put(document(2, DENY))
        self.awaited(self.reload())
        self.assertEqual((self.ask(), self.ready()["version"]), (403, 2))

    def test_switched_off(self) -> None:
        """A reload that switches the store off stops looking."""
        self.store.put(document(1, READ))
        self.start()
        self.awaited(self.reload(store=False, rules=[WRITE]))
        self.assertEqual((self.ask(), self.ask(method="PUT")), (403, 200))
        self.pass_(60)
        self.assertEqual(self.store.reads, 1)

    def test_unknown_before(self) -> None:
        """A reload while no policies are known is not refused, as it makes nothing worse."""
        self.store.is_down = True
        self.start()
        self.awaited(self.reload(rules=[WRITE]))
        self.assertEqual(self.ask(method="PUT"), 503)
        self.store.is_down = False
        self.store.put(document(1, READ))
        self.pass_(1)
        self.assertEqual((self.ask(), self.ask(method="PUT")), (200, 200))

    def test_worker_reads_first_Q_POLICIES(self) -> None:
        """A worker that replaces another one reads the policies before it serves, or fails."""
        self.make()
        self.assertIn("contains no policies", self.refused(self.policies.read()))
        self.store.put(document(1, READ))
        self.awaited(self.policies.read())
        self.policies.start()
        self.assertEqual((self.ask(), self.store.reads), (200, 2))
