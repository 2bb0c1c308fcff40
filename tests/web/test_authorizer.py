"""An authorizer that must also allow each request, at every entrance."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.web.iweb import IAgent
from zope.interface import implementer

from authotron.authorizers import authzen
from authotron.gateway.authorizer import WrongVerdict
from authotron.model.errors import ConfigError
from authotron.plugin.evaluation import Evaluation
from authotron.plugin.interfaces import IAuthorizer
from authotron.testing.remotes import Action, FakeRemote, Hang, ReceivedRequest, Respond
from tests.web.conversations import ALICE, Answer, InMemoryGateway, answered
from tests.web.fastcgi import conversations
from tests.web.fastcgi.conversations import FastCgiGateway, asking
from tests.web.grpc.dialogue import Proxy
from tests.web.test_policies import BOB, PolicyCase, over, stated

URL = "http://pdp.test/access/v1/evaluation"
SECTION = {"type": "authzen", "url": URL, "cache": 0}
ALLOWED = Respond({"decision": True}, headers={"Content-Type": "application/json"})
DENIED = Respond({"decision": False}, headers={"Content-Type": "application/json"})
UNAVAILABLE = {"error": "Authorization is temporarily unavailable"}


class Pdp(FakeRemote):
    """A policy decision point whose responses arrive at once."""

    def __init__(self, script: Callable[[ReceivedRequest], Action]) -> None:
        super().__init__(script)
        self.agent: Any = Prompt(self.agent)


@implementer(IAgent)
@define(eq=False)
class Prompt:
    """An HTTP agent that delivers the bytes of each request at once."""

    _agent: Any

    def request(self, *given: Any) -> Deferred[Any]:
        response: Deferred[Any] = self._agent.request(*given)
        self.flush()
        return response

    def flush(self) -> None:
        self._agent.flush()


class AuthorizerCase(PolicyCase):
    """A gateway with rules, and with a policy decision point."""

    def setUp(self) -> None:
        super().setUp()
        self.action: Action = ALLOWED
        self.pdp = Pdp(lambda _: self.action)
        self.make()

    def make(self, given: dict[str, Any] | None = None) -> None:
        given = over() if given is None else given
        given.setdefault("authorizer", SECTION)
        self.gateway = InMemoryGateway(given, agents=self.pdp)

    def asked(self) -> list[tuple[str, str, str]]:
        """Return the subject, the action and the resource of each question, and forget them."""
        contents = [each.json for each in self.pdp.requests]
        self.pdp.requests.clear()
        return [
            (each["subject"]["id"], each["action"]["name"], each["resource"]["id"])
            for each in contents
        ]


class BothTests(AuthorizerCase):
    """Rules and the authorizer must both allow a request."""

    def test_allow(self) -> None:
        """A request passes that rules and authorizer allow; each question is sent once."""
        self.assertEqual(self.ruled("/data/x?q=1"), "200")
        self.assertEqual(self.asked(), [("internal-alice", "GET", "/data/x")] * 4)
        self.assertEqual(self.counted(), {"allow allowed": 4})

    def test_deny(self) -> None:
        """A request that the authorizer denies is a 403."""
        self.action = DENIED
        self.assertEqual(self.ruled("/data/x"), "403 denied-by-authorizer")
        answer = self.ask(Authorization=ALICE, Accept="application/json", **stated("/data/x"))
        self.assertEqual(answer.json()["reason"], "denied-by-authorizer")
        self.assertNotIn("authorization", answer.headers)
        self.assertEqual(self.counted(), {"deny denied-by-authorizer": 8})
        event = self.named("policy.request.denied")[0]
        self.assertEqual((event["reason"], event["rule"]), ("denied-by-authorizer", ""))

    def test_rules_first(self) -> None:
        """The authorizer is not asked about a request that the rules do not allow."""
        for uri, who, expected in (
            ("/data/secret", ALICE, "403 denied-by-policy"),
            ("/admin/x", BOB, "403 no-matching-policy"),
            ("/data//x", ALICE, "400"),
            ("/data/x", "Basic bm90OnJpZ2h0", "401"),
        ):
            self.assertEqual(self.ruled(uri, who=who), expected)
        self.assertEqual(self.asked(), [])

    def test_each_request(self) -> None:
        """A verdict counts for its own request alone, also if the credential is the same."""
        for uri, method in (("/data/x", "GET"), ("/data/y", "GET"), ("/data/x", "HEAD")):
            self.assertEqual(self.ruled(uri, method), "200")
        self.action = DENIED
        self.assertEqual(self.ruled("/data/x"), "403 denied-by-authorizer")
        self.action = ALLOWED
        self.assertEqual(self.ruled("/data/x"), "200")

    def test_direct_requests(self) -> None:
        """Requests to the gateway itself are no matter of the authorizer."""
        self.action = DENIED
        self.assertEqual(self.gateway.ask("GET /whoami", Authorization=BOB).status, 200)
        self.assertEqual(self.asked(), [])

    def test_facts(self) -> None:
        """Host and address are those that the trusted proxy states."""
        headers = {
            "X_Forwarded_Method": "GET",
            "X_Forwarded_Uri": "/data/x",
            "X_Forwarded_Host": "App.example.org:8443",
            "X_Forwarded_For": "10.1.2.3",
        }
        answer = self.ask("GET /auth/traefik", Authorization=BOB, **headers)
        self.assertEqual(answer.status, 200)
        content = self.pdp.requests[0].json
        properties = {"host": "app.example.org", "namespace": "/"}
        self.assertEqual(content["resource"]["properties"], properties)
        self.assertEqual(content["context"], {"address": "10.1.2.3"})

    def test_odd_host_S_PDP(self) -> None:
        """A host that cannot be read is a 400, so that it hides no deny of the authorizer."""
        headers = {"X_Forwarded_Method": "GET", "X_Forwarded_Uri": "/data/x"}
        for host in ("a b", "a.example.org, b.example.org", "[::1"):
            answer = self.ask(
                "GET /auth/traefik", Authorization=BOB, X_Forwarded_Host=host, **headers
            )
            self.assertEqual(answer.status, 400, host)
        self.assertEqual(self.asked(), [])

    def test_cache(self) -> None:
        """With a cache, equal requests are asked about once."""
        self.make({**over(), "authorizer": {**SECTION, "cache": "10s"}})
        for _ in range(2):
            self.assertEqual(self.ruled("/data/x"), "200")
        self.assertEqual(len(self.asked()), 1)
        self.gateway.clock.advance(10)
        self.action = DENIED
        self.assertEqual(self.ruled("/data/x"), "403 denied-by-authorizer")


class OutageTests(AuthorizerCase):
    """No verdict, no access."""

    def test_unavailable_S_PDP(self) -> None:
        """A request about which the authorizer cannot decide is a 503."""
        self.action = Respond(b"", 500)
        answer = self.ask(Authorization=ALICE, **stated("/data/x"))
        self.assertEqual((answer.status, answer.json()), (503, UNAVAILABLE))
        self.assertEqual(answer.headers["retry-after"], "5")
        self.assertNotIn("x-auth-reason", answer.headers)
        self.assertEqual(self.counted(), {"undecided authorizer-unavailable": 4})
        [event] = self.named("policy.authorizer.unavailable")
        self.assertIn("answered 500", event["reason"])
        self.assertEqual(self.named("policy.request.denied"), [])

    def test_slow(self) -> None:
        """A request is a 503 after C{auth.timeout_in_ms}, and the connection is closed."""
        self.action = Hang()
        for site in (self.gateway.public, self.gateway.entrance):
            wire = self.send(site)
            self.assertEqual(wire.value(), b"")
            self.gateway.clock.advance(5)
            [answer] = answered(wire.value())
            self.assertEqual(answer.status, 503)
        self.pdp.flush()
        self.assertEqual(self.pdp.abandoned, 2)
        text = self.gateway.metrics.text()[0].decode()
        labels = 'authorizer_name="authorizer",authorizer_type="authzen",result="timeout"'
        self.assertIn(f"authotron_authorizer_attempts_total{{{labels}}} 2.0", text)

    def send(self, site: Any) -> Any:
        channel, wire = self.gateway.connect(site)
        lines = [f"{name.replace('_', '-')}: {each}" for name, each in stated("/data/x").items()]
        head = ["GET /authenticate HTTP/1.1", "Host: gate", f"Authorization: {ALICE}", *lines]
        channel.dataReceived("\r\n".join([*head, "", ""]).encode())
        self.channel = channel
        return wire

    def test_late_answer(self) -> None:
        """A request waits for the verdict."""
        self.action = Hang()
        for site in (self.gateway.public, self.gateway.entrance):
            wire = self.send(site)
            for request in self.pdp.unanswered:
                request.setHeader("Content-Type", "application/json")
            self.pdp.finish_all(b'{"decision": true}')
            [answer] = answered(wire.value())
            self.assertEqual(answer.status, 200)

    def test_client_leaves(self) -> None:
        """If the proxy closes its connection, the question to the authorizer is cancelled."""
        self.action = Hang()
        for number, site in enumerate((self.gateway.public, self.gateway.entrance), 1):
            self.send(site)
            self.channel.connectionLost()
            self.pdp.flush()
            self.assertEqual(self.pdp.abandoned, number)

    def test_observe(self) -> None:
        """With C{mode: observe} an outage and a deny are logged, and the request passes."""
        self.make(over(mode="observe"))
        self.action = Respond(b"", 500)
        self.assertEqual(self.ruled("/data/x"), "200")
        self.action = DENIED
        self.assertEqual(self.ruled("/data/x"), "200")
        expected = {"observed authorizer-unavailable": 4, "observed denied-by-authorizer": 4}
        self.assertEqual(self.counted(), expected)

    def test_readiness(self) -> None:
        """C{/ready} shows whether the last question was answered."""
        self.action = Respond(b"", 500)
        self.ruled("/data/x")
        part = self.part()
        self.assertIs(part["reachable"], False)
        self.assertIn("answered 500", part["reason"])
        self.action = ALLOWED
        self.ruled("/data/x")
        self.assertEqual(self.part(), {"name": "authorizer", "type": "authzen", "reachable": True})

    def part(self) -> dict[str, Any]:
        answer = self.gateway.ask("GET /ready", self.gateway.operations)
        found: dict[str, Any] = answer.json()["parts"][-1]
        return found


@implementer(IAuthorizer)
@define(eq=False)
class Odd:
    """An authorizer of another package, which returns whatever a test wants."""

    answer: Any
    name: str = "odd"
    type: str = "authzen"
    asked: list[Evaluation] = field(factory=list)

    async def allows(self, evaluation: Evaluation) -> bool:
        self.asked.append(evaluation)
        if isinstance(self.answer, BaseException):
            raise self.answer
        answer: bool = self.answer
        return answer


class PluginTests(AuthorizerCase):
    """Authorizers of other packages."""

    def ruled_by(self, answer: Any) -> str:
        self.patch(authzen, "make", lambda _config, _world: Odd(answer))
        self.make()
        return self.ruled("/data/x")

    def test_wrong_answers_S_PDP(self) -> None:
        """An answer that is not C{True} never allows a request."""
        for answer in (None, 1, "true", [True], object()):
            self.assertEqual(self.ruled_by(answer), "503", answer)
        self.flushLoggedErrors(WrongVerdict)
        self.assertEqual(self.ruled_by(True), "200")
        self.assertEqual(self.ruled_by(False), "403 denied-by-authorizer")

    def test_defect(self) -> None:
        """A defect of an authorizer is logged, and is an outage."""
        self.assertEqual(self.ruled_by(ZeroDivisionError("secret")), "503")
        self.flushLoggedErrors(ZeroDivisionError)
        [event] = self.named("policy.authorizer.broken")
        self.assertEqual(event["authorizer"], "odd")

    def test_not_an_authorizer(self) -> None:
        """An object without the interface is refused when the configuration is loaded."""
        self.patch(authzen, "make", lambda _config, _world: object())
        with self.assertRaises(ConfigError) as caught:
            self.make()
        self.assertIn(
            "not an object of a class with @implementer(IAuthorizer)", str(caught.exception)
        )


class AloneTests(AuthorizerCase):
    """An authorizer without a section C{policy}."""

    def setUp(self) -> None:
        super().setUp()
        self.make({**over(), "policy": ...})

    def test_decides(self) -> None:
        """Without a policy the authorizer alone decides, and path and method must be stated."""
        self.assertEqual(self.ruled("/any"), "200")
        self.action = DENIED
        self.assertEqual(self.ruled("/any"), "403 denied-by-authorizer")
        self.assertEqual(self.ask(Authorization=ALICE).status, 400)

    def test_empty_section_S_PDP(self) -> None:
        """An empty section is a mistake, and does not switch the authorizer off."""
        sections: tuple[Any, ...] = (None, {}, [], "authzen", False)
        for given in sections:
            with self.assertRaises(ConfigError) as caught:
                self.make({**over(), "authorizer": given})
            self.assertIn("authorizer", str(caught.exception))


class ApiTokenTests(AuthorizerCase):
    """API tokens, whose owners may restrict them."""

    def setUp(self) -> None:
        super().setUp()
        store = {"enabled": True, "type": "memory", "compat": False}
        self.make({**over(), "store": store})

    def token(self, **limits: Any) -> str:
        answer = self.gateway.post("/tokens", limits, Authorization=ALICE)
        self.assertEqual(answer.status, 201, answer.body)
        return f"Bearer {answer.json()['token']}"

    def roles(self) -> list[list[str]]:
        found = [each.json["subject"]["properties"]["roles"] for each in self.pdp.requests]
        self.pdp.requests.clear()
        return found

    def test_hidden_roles_S_PDP(self) -> None:
        """The authorizer is also asked about the roles that an API token hides."""
        token = self.token(roles=["reader"])
        self.assertEqual(self.ruled("/data/x", who=token), "200")
        self.assertEqual(self.roles(), [["reader"], ["ops", "reader"]] * 4)

        def without_ops(request: ReceivedRequest) -> Action:
            return DENIED if "ops" in request.json["subject"]["properties"]["roles"] else ALLOWED

        self.pdp.script = without_ops
        self.assertEqual(self.ruled("/data/x", who=token), "403 denied-by-authorizer")

    def test_condition_first(self) -> None:
        """The authorizer is not asked about a request that the API token itself does not allow."""
        token = self.token(networks=["10.0.0.0/8"])
        found = self.ruled("/data/x", who=token, X_Forwarded_For="192.0.2.200")
        self.assertEqual(found, "403 restricted")
        self.assertEqual(self.roles(), [])


class ReloadTests(AuthorizerCase):
    """Another configuration after a reload."""

    def test_with_and_without(self) -> None:
        """Connections that were open before a reload meet the authorizer that came with it."""
        without = over()
        gateway = InMemoryGateway(without)
        channel, wire = gateway.connect(gateway.entrance)
        lines = [f"{name.replace('_', '-')}: {each}" for name, each in stated("/data/x").items()]
        head = ["GET /authenticate HTTP/1.1", "Host: gate", f"Authorization: {ALICE}", *lines]
        request = "\r\n".join([*head, "", ""]).encode()
        self.action = DENIED
        statuses: list[int] = []
        before = gateway.serving.gateway
        for used in (before, self.gateway.serving.gateway, before):
            gateway.serving.gateway = used
            for _ in range(3):
                wire.clear()
                channel.dataReceived(request)
                statuses += [each.status for each in answered(wire.value())]
        self.assertEqual(statuses, [200] * 3 + [403] * 3 + [200] * 3)
        self.assertEqual(gateway.handed_over(), 0)


class OtherProtocolTests(AuthorizerCase):
    """FastCGI and gRPC."""

    def found(self) -> dict[str, Any]:
        return {**over(), "authorizer": SECTION}

    def test_fastcgi(self) -> None:
        """A question by FastCGI waits for the authorizer, and is refused without its verdict."""
        gateway = FastCgiGateway(self.found(), agents=self.pdp)
        self.assertEqual(gateway.ask(HTTP_AUTHORIZATION=BOB).status, 200)
        self.assertEqual(self.asked(), [("internal-bob", "GET", "/data/x")])
        self.action = DENIED
        refused = gateway.ask(HTTP_AUTHORIZATION=BOB)
        reason = refused.headers["X-Auth-Reason"]
        self.assertEqual((refused.status, reason), (403, "denied-by-authorizer"))
        self.action = Respond(b"", 500)
        self.assertEqual(gateway.ask(HTTP_AUTHORIZATION=BOB).status, 503)

    def test_grpc(self) -> None:
        """A question by gRPC waits for the authorizer, and is refused without its verdict."""
        proxy = Proxy(InMemoryGateway(self.found(), agents=self.pdp))
        self.assertEqual(proxy.check(authorization=BOB).says, 200)
        self.assertEqual(self.asked(), [("internal-bob", "GET", "/data/x")])
        self.action = DENIED
        refused = proxy.check(authorization=BOB)
        headers = {name.lower(): value for name, value in refused.refusal.items()}
        self.assertEqual((refused.says, headers["x-auth-reason"]), (403, "denied-by-authorizer"))
        self.action = Respond(b"", 500)
        self.assertEqual(proxy.check(authorization=BOB).says, 503)

    def test_silent(self) -> None:
        """A question by FastCGI or gRPC that gets no verdict is refused in time."""
        self.action = Hang()
        gateway = FastCgiGateway(self.found(), agents=self.pdp)
        wire = gateway.send(asking(HTTP_AUTHORIZATION=BOB))
        self.assertEqual(wire.value(), b"")
        gateway.gateway.clock.advance(5)
        self.assertEqual(conversations.answer(wire.value()).status, 503)
        proxy = Proxy(InMemoryGateway(self.found(), agents=self.pdp))
        waiting = proxy.check(authorization=BOB)
        self.assertEqual(waiting.status, 0)
        proxy.advance(5)
        [response] = proxy.responses.values()
        self.assertEqual(response.says, 503)


class ApiTests(AuthorizerCase):
    """Services that ask what an identity may do."""

    def setUp(self) -> None:
        super().setUp()
        given = over(askers=["ops"])
        self.make({**given, "store": {"type": "memory"}})
        created = self.gateway.post("/tokens", {}, Authorization=BOB)
        self.token = created.json()["token"]

    def authz(self, resource: str) -> Answer:
        given = {"token": self.token, "resource": resource, "action": "GET", "namespace": "/"}
        return self.gateway.post("/authz", {**given, "id": "7"}, Authorization=ALICE)

    def test_authz(self) -> None:
        """C{POST /authz} asks the authorizer about the bearer of the token."""
        self.assertEqual(self.authz("/data/x").status, 204)
        [request] = self.pdp.requests
        self.assertEqual(request.json["resource"]["properties"], {"namespace": "/", "id": "7"})
        self.assertEqual(self.asked(), [("internal-bob", "GET", "/data/x")])
        self.assertEqual(self.authz("/admin/x").status, 403)
        self.assertEqual(self.asked(), [])
        self.action = DENIED
        denied = self.authz("/data/x")
        reason = denied.headers["x-auth-reason"]
        self.assertEqual((denied.status, reason), (403, "denied-by-authorizer"))
        self.action = Respond(b"", 500)
        self.assertEqual(self.authz("/data/x").status, 503)

    def test_evaluation_S_PDP(self) -> None:
        """An evaluation of AuthZEN says no more than the authorizer has said."""
        content = {
            "subject": {"type": "user", "id": "bob", "properties": {"roles": ["reader"]}},
            "action": {"name": "GET"},
            "resource": {"type": "path", "id": "/data/x"},
        }
        answer = self.gateway.post("/access/v1/evaluation", content, Authorization=ALICE)
        expected = {"decision": False, "context": {"reason": "authorizer-unavailable"}}
        self.assertEqual((answer.status, answer.json()), (200, expected))

    def test_permissions_S_PDP(self) -> None:
        """A permission list has a layer that allows nothing, as it cannot know the authorizer."""
        answer = self.gateway.ask("GET /permissions", Authorization=ALICE)
        last = answer.json()["layers"][-1]
        self.assertEqual(last, {"default": "deny", "rules": []})


class MetricsTests(AuthorizerCase):
    """What is counted."""

    def test_answers(self) -> None:
        """The answers of the authorizer are counted by their result."""
        self.ruled("/data/x")
        self.action = DENIED
        self.ruled("/data/x")
        text = self.gateway.metrics.text()[0].decode()
        pattern = r'authotron_authorizer_attempts_total\{[^}]*result="([a-z]+)"\} ([0-9.]+)'
        found = dict(re.findall(pattern, text))
        expected = {"allow": "4.0", "deny": "4.0", "error": "0.0", "timeout": "0.0"}
        self.assertEqual(found, expected)

    def test_without(self) -> None:
        """Without an authorizer no ruling mentions one."""
        self.gateway = InMemoryGateway(over())
        self.assertEqual(self.answer_of_ruling().status, 200)
        text = self.gateway.metrics.text()[0].decode()
        self.assertNotIn('reason="authorizer', text)
        self.assertNotIn('reason="denied-by-authorizer', text)

    def answer_of_ruling(self) -> Answer:
        return self.ask(Authorization=ALICE, **stated("/data/x"))
