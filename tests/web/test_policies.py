"""Policies that proxies' questions meet: on the site, on the fast path, by FastCGI and by gRPC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, cast

from attrs import define
from twisted.internet.address import IPv4Address
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.augmenters import plain
from authotron.model.errors import ConfigError
from authotron.model.identity import Addition, Identity
from authotron.plugin.interfaces import IAugmenter
from authotron.policy import policies as policies_module
from authotron.testing.worlds import NOW
from authotron.web.fastpath import repeats
from tests.web.conversations import ALICE, Answer, InMemoryGateway, Wire, answered, basic
from tests.web.fastcgi.conversations import FastCgiGateway
from tests.web.grpc.dialogue import Proxy

BOB = basic("bob", "builder")
PROXIED = ["192.0.2.0/24", "127.0.0.0/8"]
USERS = [
    {"username": "alice", "password": "wonder", "roles": ["ops", "reader"]},
    {"username": "bob", "password": "builder", "roles": ["reader"]},
]
RULES = [
    {"name": "read", "subject": [["role=reader"]], "permissions": ["/data/**:GET,HEAD"]},
    {"name": "admin", "subject": [["role=ops"]], "permissions": ["/admin/**:*"]},
    {
        "name": "no secrets",
        "subject": [["realm=internal"]],
        "permissions": ["-/data/secret/**:*"],
    },
    {
        "name": "inside",
        "subject": [["role=reader"]],
        "permissions": ["/inside:GET"],
        "networks": ["10.0.0.0/8"],
    },
]


def over(**policy: Any) -> dict[str, Any]:
    """Return a configuration with two users, a trusted proxy and a policy."""
    provider = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
    return {
        "server": {"trusted_proxies": PROXIED},
        "providers": [provider],
        "policy": {"rules": RULES, **policy},
    }


def stated(uri: str, method: str = "GET", **headers: str) -> dict[str, str]:
    """Return the headers in which nginx states a request."""
    return {"X_Original_URI": uri, "X_Original_Method": method, **headers}


class PolicyCase(SynchronousTestCase):
    """A gateway with policies, whose log events are collected."""

    def setUp(self) -> None:
        self.patch(repeats, "ONE_IN", 1)
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def make(self, given: dict[str, Any] | None = None) -> None:
        self.gateway = InMemoryGateway(over() if given is None else given)

    def ask(self, line: str = "GET /authenticate", **headers: str) -> Answer:
        """
        Ask on the site, and on the fast path with a new and with a known head, all of which must
        answer alike, and return the answer.
        """
        entrance = self.gateway.entrance
        answers = [
            self.gateway.ask(line, site, **headers)
            for site in (self.gateway.public, entrance, entrance, entrance)
        ]
        for answer in answers:
            for name in {"authorization", "date", "server"} & answer.headers.keys():
                del answer.headers[name]
            self.assertEqual(answer, answers[0])
        self.assertEqual(self.gateway.handed_over(), 0)
        return answers[0]

    def ruled(self, uri: str, method: str = "GET", who: str = ALICE, **headers: str) -> str:
        """Return the status of an answer, with the reason of a refusal."""
        answer = self.ask(Authorization=who, **stated(uri, method, **headers))
        reason = answer.headers.get("x-auth-reason", "")
        return f"{answer.status} {reason}".strip()

    def counted(self) -> dict[str, int]:
        """Return the rulings that were counted, by result and reason."""
        text = self.gateway.metrics.text()[0].decode()
        pattern = r'policy_rulings_total\{reason="([^"]*)",result="([^"]*)"\} ([0-9]+)'
        found = re.findall(pattern, text)
        return {f"{result} {reason}": int(n) for reason, result, n in found if int(n)}

    def named(self, event: str) -> list[LogEvent]:
        return [each for each in self.events if each.get("event") == event]


class RulingTests(PolicyCase):
    """What identities may do."""

    def setUp(self) -> None:
        super().setUp()
        self.make()

    def test_allow_and_deny(self) -> None:
        """A request passes if a rule allows it; any deny wins; nothing said is a deny."""
        self.assertEqual(self.ruled("/data/x"), "200")
        self.assertEqual(self.ruled("/data/x", who=BOB), "200")
        self.assertEqual(self.ruled("/admin/x", "DELETE"), "200")
        self.assertEqual(self.ruled("/admin/x", "DELETE", BOB), "403 no-matching-policy")
        self.assertEqual(self.ruled("/data/secret"), "403 denied-by-policy")
        self.assertEqual(self.ruled("/data/x", "POST"), "403 no-matching-policy")

    def test_no_credential(self) -> None:
        """A client without a good credential gets a 401, whatever it asks for."""
        for headers in ({}, {"Authorization": basic("alice", "wrong")}):
            answer = self.ask(**stated("/data/x"), **headers)
            self.assertEqual(answer.status, 401)
            self.assertNotIn("x-auth-reason", answer.headers)

    def test_refusal_carries_no_identity(self) -> None:
        """A 403 has neither a JWT nor identity headers."""
        answer = self.gateway.ask(
            "GET /authenticate", self.gateway.entrance, Authorization=BOB, **stated("/admin/x")
        )
        self.assertEqual(answer.status, 403)
        self.assertNotIn("authorization", answer.headers)
        self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_network(self) -> None:
        """A rule for a network is about the client whom the trusted proxy names."""
        self.assertEqual(self.ruled("/inside", X_Forwarded_For="10.1.2.3"), "200")
        self.assertEqual(self.ruled("/inside", X_Forwarded_For="::ffff:10.1.2.3"), "200")
        for address in ("192.168.0.1", "nonsense", "2001:db8::1"):
            self.assertEqual(self.ruled("/inside", X_Forwarded_For=address), "403 network")
        self.assertEqual(self.ruled("/inside"), "403 network")
        self.assertEqual(self.ruled("/data/x", X_Forwarded_For="nonsense"), "200")

    def test_cached_decision(self) -> None:
        """Each request is ruled, also if the decision about its credential is cached."""
        found = [self.ruled(uri, who=BOB) for uri in ("/data/x", "/admin", "/data/x")]
        self.assertEqual(found, ["200", "403 no-matching-policy", "200"])

    def test_direct_requests(self) -> None:
        """Requests to the gateway itself are no matter of policies."""
        self.assertEqual(self.gateway.ask("GET /whoami", Authorization=BOB).status, 200)

    def test_counted_and_logged(self) -> None:
        """Each ruling is counted, and each refusal is an audit event with the rule."""
        self.ruled("/data/x")
        self.ruled("/data/secret/a?token=hidden")
        self.assertEqual(self.counted(), {"allow allowed": 4, "deny denied-by-policy": 4})
        event = self.named("policy.request.denied")[0]
        self.assertEqual((event["rule"], event["username"]), ("no secrets", "alice"))
        self.assertEqual((event["method"], event["path"]), ("GET", "/data/secret/a"))
        self.assertNotIn("hidden", repr(event))


class PatternTests(PolicyCase):
    """Patterns of hosts and paths in rules, which requests meet at every entrance."""

    def asked_for(self, host: str, uri: str = "/api") -> int:
        """Return the status of a question of Traefik about a host and a path."""
        stated = {"X_Forwarded_Method": "GET", "X_Forwarded_Uri": uri, "X_Forwarded_Host": host}
        return self.ask("GET /auth/traefik", Authorization=BOB, **stated).status

    def test_labels_T17(self) -> None:
        """C{*.example.org} covers one more label: no domain, no two labels, no look-alike."""
        rule = {"name": "r", "subject": [["role=reader"]], "permissions": ["/**:*"]}
        self.make(over(rules=[{**rule, "hosts": ["*.example.org"]}]))
        for host, expected in (
            ("a.example.org", 200),
            ("A.Example.ORG:8443", 200),
            ("example.org", 403),
            ("a.b.example.org", 403),
            ("evilexample.org", 403),
            ("a.example.org.evil.net", 403),
            (".example.org", 403),
        ):
            self.assertEqual(self.asked_for(host), expected, host)

    def test_whole_T16(self) -> None:
        """A pattern covers the whole host and the whole path; a dot is a dot."""
        rule = {"name": "r", "subject": [["role=reader"]], "permissions": ["/api:GET"]}
        self.make(over(rules=[{**rule, "hosts": ["www.example.org"]}]))
        for host, uri, expected in (
            ("www.example.org", "/api", 200),
            ("www.example.org", "/apix", 403),
            ("www.example.org", "/x/api", 403),
            ("www.example.org", "/api/x", 403),
            ("www.example.org", "/api%0A", 400),
            ("wwwxexample.org", "/api", 403),
            ("xwww.example.org", "/api", 403),
        ):
            self.assertEqual(self.asked_for(host, uri), expected, f"{host} {uri}")


class SpellingTests(PolicyCase):
    """Spellings of a path that would hide a deny."""

    def setUp(self) -> None:
        super().setUp()
        self.make(over(default="allow"))

    def test_equal_spellings(self) -> None:
        """Other spellings of a denied path are denied as well."""
        for path in (
            "/data/secret/",
            "/data/secret/x",
            "/data/x/../secret",
            "/data/./secret",
            "/data/%73ecret",
            "/data/secret?x=/public",
            "http://app.example.org/data/secret",
        ):
            self.assertEqual(self.ruled(path), "403 denied-by-policy", path)

    def test_ambiguous_spellings(self) -> None:
        """A path that proxies and backends could read differently gets a 400."""
        for path in (
            "//data/secret",
            "/data%2Fsecret",
            "/data/%2e%2e/data/secret",
            "/data/secret;x",
            "/data/secret%3Bx",
            "/data/secret%3b/x",
            "/data/secret" + "/x" * 1_000,
            "/data/secret%00",
            "/data\\secret",
            "/data/%2573ecret",
            "data/secret",
            "/data/secret#x",
        ):
            self.assertEqual(self.ruled(path), "400", path)

    def test_case(self) -> None:
        """Case counts in paths and unknown methods, as it does for most backends."""
        self.assertEqual(self.ruled("/Data/secret"), "200")
        self.assertEqual(self.ruled("/data/secret", "purge"), "403 denied-by-policy")
        self.assertEqual(self.ruled("/data/x", "purge"), "200")

    def test_methods_in_lower_case_T18a(self) -> None:
        """A deny of DELETE is not passed by delete, which some backends take for DELETE."""
        rules = [{"name": "a", "subject": [["role=ops"]], "permissions": ["/**:*", "-/x:DELETE"]}]
        self.make(over(rules=rules))
        self.assertEqual(self.ruled("/x", "DELETE"), "403 denied-by-policy")
        for method in ("delete", "Delete", "dELETE"):
            self.assertEqual(self.ruled("/x", method), "400")


class UnstatedTests(PolicyCase):
    """Questions that do not state what policies need."""

    def test_missing(self) -> None:
        """A question without path or method, or with two of them, is a 400, not a pass."""
        self.make(over(default="allow"))
        for headers in (
            {},
            {"X_Original_URI": "/x"},
            {"X_Original_Method": "GET"},
            {"X_Original_URI": "", "X_Original_Method": "GET"},
            {**stated("/x"), "x_original_uri": "/y"},
            {**stated("/x"), "x_original_method": "GET"},
            stated("/x", "not a method"),
        ):
            for who in ({"Authorization": ALICE}, {"Authorization": basic("alice", "wrong")}, {}):
                answer = self.ask(**headers, **who)
                expected = 400 if answer.status != 401 else 401
                self.assertEqual(answer.status, expected)
                if who.get("Authorization") == ALICE:
                    self.assertEqual(answer.status, 400, headers)

    def test_untrusted_peer(self) -> None:
        """A question of a peer that is no trusted proxy is a 400, whatever it states."""
        self.make({**over(default="allow"), "server": {"trusted_proxies": ["127.0.0.0/8"]}})
        for line in ("GET /authenticate", "GET /auth/traefik", "GET /auth/envoy/x"):
            answer = self.ask(
                line,
                Authorization=ALICE,
                **stated("/x"),
                X_Forwarded_Method="GET",
                X_Forwarded_Uri="/x",
            )
            self.assertEqual(answer.status, 400, line)

    def test_method_of_nginx(self) -> None:
        """
        The method is that of the header, also where nginx appends the path: nginx asks with GET,
        whatever the method of the client is.
        """
        self.make()
        path = "/auth/nginx/admin/users"
        for method, who, status in (("DELETE", BOB, 403), ("DELETE", ALICE, 200)):
            answer = self.ask(f"GET {path}", Authorization=who, X_Original_Method=method)
            self.assertEqual(answer.status, status)
        rule = {"name": "r", "subject": [["role=ops"]], "permissions": ["/admin/**:GET"]}
        self.make(over(rules=[rule]))
        ask = {"GET": 200, "DELETE": 403}
        for method, status in ask.items():
            answer = self.ask(f"GET {path}", Authorization=ALICE, X_Original_Method=method)
            self.assertEqual(answer.status, status)
        self.assertEqual(self.ask(f"GET {path}", Authorization=ALICE).status, 400)

    def test_required_nothing(self) -> None:
        """A contract that is configured to require nothing needs path and method nevertheless."""
        given = over(default="allow")
        given["server"]["contracts"] = [{"type": "traefik", "required": []}]
        self.make(given)
        self.assertEqual(self.ask("GET /auth/traefik", Authorization=ALICE).status, 400)


class FactsTests(PolicyCase):
    """The headers of nginx that C{policy.facts} names."""

    def test_other_headers(self) -> None:
        """The named headers are read in place of the usual ones."""
        self.make(over(facts={"uri": "X-Uri", "method": "X-Method"}))
        headers = {"X_Uri": "/data/x", "X_Method": "GET", **stated("/admin", "DELETE")}
        self.assertEqual(self.ask(Authorization=BOB, **headers).status, 200)

    def test_no_namespace(self) -> None:
        """Unless a header is configured, no header of a client sets the namespace."""
        rules = [{**RULES[0], "namespace": "/data"}]
        self.make(over(rules=rules))
        headers = {"X_Auth_Namespace": "/data", "X_Namespace": "/data"}
        self.assertEqual(self.ruled("/data/x", **headers), "403 no-matching-policy")
        self.make(over(rules=rules, namespace="/data/old"))
        self.assertEqual(self.ruled("/data/x"), "200")

    def test_namespace(self) -> None:
        """The configured header sets the namespace, and a malformed one is denied."""
        rules = [{**RULES[0], "namespace": "/data"}]
        self.make(over(rules=rules, facts={"namespace": "X-Space"}))
        for namespace, expected in (
            ("/data", "200"),
            ("/data/x", "200"),
            ("/database", "403 no-matching-policy"),
            ("/data/", "403 namespace"),
            ("data", "403 namespace"),
        ):
            self.assertEqual(self.ruled("/data/x", X_Space=namespace), expected)
        self.assertEqual(self.ruled("/data/x"), "403 no-matching-policy")
        self.assertEqual(self.ruled("/data/x", X_Space="/data", x_space="/data"), "400")


class ModeTests(PolicyCase):
    """Observing, and the default."""

    def test_observe(self) -> None:
        """What would be refused passes, and is logged and counted."""
        self.make(over(mode="observe"))
        self.assertEqual(self.ruled("/admin", who=BOB), "200")
        self.assertEqual(self.ask(Authorization=BOB).status, 200)
        expected = {"observed no-matching-policy": 4, "observed unusable-fact": 4}
        self.assertEqual(self.counted(), expected)
        self.assertEqual(len(self.named("policy.request.observed")), 8)
        self.assertEqual(self.named("policy.request.denied"), [])

    def test_empty_policy(self) -> None:
        """A section without rules, or with nothing but disabled ones, denies every request."""
        for policy in (None, {}, {"rules": [{**RULES[0], "disabled": True}]}):
            self.make({**over(), "policy": policy})
            self.assertEqual(self.ruled("/data/x"), "403 no-matching-policy")

    def test_default(self) -> None:
        """With C{default: allow} a request passes unless a rule denies it."""
        self.make(over(default="allow"))
        self.assertEqual(self.ruled("/other"), "200")
        self.assertEqual(self.ruled("/data/secret"), "403 denied-by-policy")

    def test_no_policy(self) -> None:
        """Without the section every authenticated request passes, whatever the proxy states."""
        self.make({**over(), "policy": ...})
        answer = self.ask(Authorization=BOB, Accept="application/json")
        self.assertEqual(answer.status, 200)
        self.assertNotIn("policy_rulings_total{", self.gateway.metrics.text()[0].decode())


class ConditionTests(PolicyCase):
    """Rules with a condition in CEL."""

    def setUp(self) -> None:
        super().setUp()
        own = 'request.path.startsWith("/home/" + claims.username[0] + "/")'
        subject = [["realm=internal"]]
        self.make(
            over(
                rules=[
                    {"name": "own", "subject": subject, "permissions": ["/home/**:*"], "when": own},
                    {
                        "name": "approved",
                        "subject": subject,
                        "permissions": ["/lab/**:GET", "-/lab/secret/**:*"],
                        "when": 'claims.approval == ["yes"]',
                    },
                    {
                        "name": "all of the secrets",
                        "subject": subject,
                        "permissions": ["/lab/secret/**:GET"],
                    },
                    {
                        "name": "outside",
                        "subject": subject,
                        "permissions": ["/out:GET"],
                        "when": '!request.address.startsWith("10.")',
                    },
                ]
            )
        )

    def test_compared_with_the_request(self) -> None:
        """A condition compares claims of each identity with its request."""
        self.assertEqual(self.ruled("/home/alice/x"), "200")
        self.assertEqual(self.ruled("/home/bob/x"), "403 condition")
        self.assertEqual(self.ruled("/home/bob/x", who=BOB), "200")
        self.assertEqual(self.ruled("/home/bob/../alice/x", who=BOB), "403 condition")

    def test_no_value(self) -> None:
        """
        A condition without a value grants nothing, denies, is counted for each permission that it
        limits, and logged once.
        """
        self.assertEqual(self.ruled("/lab/x"), "403 condition")
        self.assertEqual(self.ruled("/lab/secret/x"), "403 denied-by-policy")
        [event] = self.named("policy.condition.failed")
        self.assertEqual(event["rule"], "approved")
        self.assertIn("approval", event["reason"])
        text = self.gateway.metrics.text()[0].decode().splitlines()
        self.assertIn('authotron_policy_conditions_failed_total{rule="approved"} 12.0', text)

    def test_facts(self) -> None:
        """A condition reads the client that the proxy names, not one that a client names."""
        self.assertEqual(self.ruled("/out", X_Forwarded_For="192.168.2.9"), "200")
        self.assertEqual(self.ruled("/out", X_Forwarded_For="10.0.0.1"), "403 condition")
        self.assertEqual(
            self.ruled("/out", X_Forwarded_For="192.168.2.9, 10.0.0.1"), "403 condition"
        )

    def test_unknown_address(self) -> None:
        """A condition that reads the address does not hold if the address is not known."""
        for headers in ({}, {"X_Forwarded_For": "unknown"}):
            self.assertEqual(self.ruled("/out", **headers), "403 condition")


class BodyTests(PolicyCase):
    """The body of a 403."""

    def test_problem_details(self) -> None:
        """A client that asks for JSON gets problem details, any other one the usual body."""
        self.make()
        for accept, media in (
            ("application/json", "application/problem+json"),
            ("text/html, application/problem+json;q=0.9", "application/problem+json"),
            ("APPLICATION/JSON", "application/problem+json"),
            ("application/json;q=0", "application/json"),
            ("application/json; charset=utf-8; Q=0.000", "application/json"),
            ("application/json;q=0, application/problem+json", "application/problem+json"),
            ("application/json;q=0.001", "application/problem+json"),
            ("*/*", "application/json"),
            ("text/html", "application/json"),
        ):
            answer = self.ask(Authorization=BOB, Accept=accept, **stated("/admin"))
            self.assertEqual(answer.headers["content-type"], media, accept)
            self.assertEqual(answer.headers["x-auth-reason"], "no-matching-policy")
        answer = self.ask(Authorization=BOB, Accept="application/json", **stated("/admin"))
        self.assertEqual(answer.json()["status"], 403)
        self.assertEqual(answer.json()["reason"], "no-matching-policy")
        self.assertNotIn("admin", str(answer.json()["detail"]))


class OtherProtocolTests(SynchronousTestCase):
    """FastCGI and gRPC."""

    def test_fastcgi(self) -> None:
        """A question by FastCGI is ruled by the variables that describe the request."""
        gateway = FastCgiGateway(over())
        self.assertEqual(gateway.ask(HTTP_AUTHORIZATION=BOB).status, 200)
        refused = gateway.ask(HTTP_AUTHORIZATION=BOB, REQUEST_METHOD="DELETE")
        self.assertEqual(
            (refused.status, refused.headers["X-Auth-Reason"]), (403, "no-matching-policy")
        )
        details = gateway.ask(
            HTTP_AUTHORIZATION=BOB, REQUEST_URI="/data/secret/", HTTP_ACCEPT="application/json"
        )
        self.assertEqual(details.headers["Content-Type"], "application/problem+json")
        self.assertEqual(details.headers["X-Auth-Reason"], "denied-by-policy")
        self.assertEqual(gateway.ask(HTTP_AUTHORIZATION=BOB, REQUEST_URI="//data").status, 400)

    def test_grpc(self) -> None:
        """A question of Envoy is ruled by its message."""
        proxy = Proxy(InMemoryGateway(over()))
        self.assertEqual(proxy.check(authorization=BOB).says, 200)
        refused = proxy.check(method="DELETE", authorization=BOB, accept="application/json")
        self.assertEqual(refused.says, 403)
        headers = {name.lower(): value for name, value in refused.refusal.items()}
        self.assertEqual(headers["x-auth-reason"], "no-matching-policy")
        self.assertEqual(headers["content-type"], "application/problem+json")
        self.assertEqual(proxy.check(path="/data//x", authorization=BOB).says, 400)


@implementer(IAugmenter)
@define(eq=False)
class Adding:
    """An augmenter that adds attributes to every identity."""

    attributes: dict[str, str]
    name: str = "adding"
    type: str = "adding"
    realm: str = "internal"
    required: bool = True
    runs_last: bool = False
    timeout: float | None = None

    async def augment(self, identity: Identity) -> Addition:
        return Addition(attributes=self.attributes)


class LostClaimTests(PolicyCase):
    """Requests that the fast path knows, and that the policies allowed until a claim was lost."""

    def test_attribute_lost(self) -> None:
        """When a decision is made anew and the identity has lost a claim, so is the right."""
        rule = {"name": "r", "subject": [["group=a"]], "permissions": ["/**:*"]}
        attributes = {"group": "a"}
        self.patch(plain, "make", lambda _config, _world: Adding(attributes))
        section = {"type": "plain", "name": "adding", "realm": "internal", "roles": {}}
        self.make({**over(rules=[rule]), "augmenters": [section]})
        found = [self.ruled("/x", who=BOB) for _ in range(4)]
        attributes["group"] = "b"
        found += [self.ruled("/x", who=BOB)]
        self.assertEqual(found, ["200"] * 5)
        self.gateway.clock.advance(61)
        found = [self.ruled("/x", who=BOB) for _ in range(4)]
        self.assertEqual(found, ["403 no-matching-policy"] * 4)
        attributes["group"] = "a"
        self.gateway.clock.advance(61)
        self.assertEqual([self.ruled("/x", who=BOB) for _ in range(4)], ["200"] * 4)


class ReservedClaimTests(PolicyCase):
    """Attributes that are named like claims of the gateway."""

    def ruled_with(self, attributes: dict[str, str], subject: list[str]) -> str:
        rule = {"name": "r", "subject": [subject], "permissions": ["/**:*"]}
        self.patch(plain, "make", lambda _config, _world: Adding(attributes))
        section = {"type": "plain", "name": "adding", "realm": "internal", "roles": {}}
        self.make({**over(rules=[rule]), "augmenters": [section]})
        return self.ruled("/x", who=BOB)

    def test_attribute(self) -> None:
        """An attribute of any other name is a claim."""
        self.assertEqual(self.ruled_with({"group": "a"}, ["group=a", "role=reader"]), "200")

    def test_own_claims_S_CLAIM(self) -> None:
        """An attribute cannot stand for a role, a user name, a realm or a scope."""
        for key, value in (
            ("role", "ops"),
            ("username", "alice"),
            ("realm", "x"),
            ("scope", "a:b"),
        ):
            found = self.ruled_with({key: value}, [f"{key}={value}"])
            self.assertEqual(found, "403 no-matching-policy", key)
        self.assertEqual(self.ruled_with({"role=a": "b"}, ["role=a=b"]), "403 no-matching-policy")

    def test_reserved_S_CLAIM(self) -> None:
        """An identity to which an augmenter adds a reserved key is refused."""
        self.assertEqual(self.ruled_with({"@source:type": "ldap"}, ["role=reader"]), "403")
        self.assertEqual(self.ruled_with({"@group:name": "ops"}, ["role=reader"]), "403")

    def test_names_of_providers_S_SOURCE(self) -> None:
        """Providers of different types have different names, if policies know them by the type."""
        given = over()
        other = {"type": "static-token", "tokens": [{"token": "t" * 40, "username": "robot"}]}
        given["providers"].append({**other, "name": "staff", "realm": "machines"})
        with self.assertRaises(ConfigError) as caught:
            InMemoryGateway(given)
        self.assertIn("are named 'staff'", str(caught.exception))
        del given["policy"]
        InMemoryGateway(given)

    def test_claims_of_the_gateway(self) -> None:
        """Rules can name the source of an identity."""
        claims = ["@source:type=plain", "@source:name=staff", "@source:realm=internal"]
        claims += ["@issuer=gate", "realm=internal", "username=bob", "role=reader"]
        self.assertEqual(self.ruled_with({}, claims), "200")


class ApiTokenTests(PolicyCase):
    """API tokens, whose owners may restrict them."""

    def setUp(self) -> None:
        super().setUp()
        rules = [
            *RULES,
            {"name": "no ops", "subject": [["role=ops"]], "permissions": ["-/data/live/**:*"]},
        ]
        store = {"enabled": True, "type": "memory", "compat": False}
        self.make({**over(rules=rules), "store": store})

    def token(self, **limits: Any) -> str:
        """Create an API token of alice over HTTP."""
        answer = self.gateway.post("/tokens", limits, Authorization=ALICE)
        self.assertEqual(answer.status, 201, answer.body)
        return f"Bearer {answer.json()['token']}"

    def test_same_as_its_owner(self) -> None:
        """An API token may do what its owner may do."""
        token = self.token()
        self.assertEqual(self.ruled("/admin", who=token), "200")
        self.assertEqual(self.ruled("/data/live/x", who=token), "403 denied-by-policy")

    def test_fewer_roles(self) -> None:
        """An API token with fewer roles may do less, and what is denied to a role stays denied."""
        token = self.token(roles=["reader"])
        self.assertEqual(self.ruled("/data/x", who=token), "200")
        self.assertEqual(self.ruled("/admin", who=token), "403 restricted")
        self.assertEqual(self.ruled("/data/live/x", who=token), "403 denied-by-policy")

    def test_condition(self) -> None:
        """A request that a limit of the API token does not allow says so."""
        token = self.token(networks=["10.0.0.0/8"])
        self.assertEqual(self.ruled("/data/x", who=token, X_Forwarded_For="10.0.0.1"), "200")
        found = self.ruled("/data/x", who=token, X_Forwarded_For="192.0.2.200, 11.0.0.1")
        self.assertEqual(found, "403 restricted")


class KnownHeadTests(PolicyCase):
    """Heads that the fast path has parsed before."""

    def statuses(self, *peers: str, **headers: str) -> list[int]:
        """Send one head from several peers, each time on a new connection."""
        found = []
        for peer in peers:
            wire = Wire(peerAddress=IPv4Address("TCP", peer, 4711))
            channel = self.gateway.entrance.buildProtocol(wire.peerAddr)
            channel.makeConnection(wire)
            lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            text = "\r\n".join(["GET /authenticate HTTP/1.1", "Host: gate", *lines, "", ""])
            channel.dataReceived(text.encode())
            found += [each.status for each in answered(wire.value())]
        return found

    def test_untrusted_peer(self) -> None:
        """A head that a trusted proxy has sent is not believed of another peer."""
        self.make()
        proxy, stranger = "192.0.2.7", "198.51.100.7"
        peers = (proxy, proxy, stranger, proxy, stranger)
        found = self.statuses(*peers, Authorization=ALICE, **stated("/data/x"))
        self.assertEqual(found, [200, 200, 400, 200, 400])

    def test_time(self) -> None:
        """A rule that expires does not count any more, though an equal request was allowed."""
        expires = datetime.fromtimestamp(NOW + 5, UTC).isoformat()
        self.make(over(rules=[{**RULES[0], "expires": expires}]))
        self.assertEqual(self.ruled("/data/x"), "200")
        self.gateway.clock.advance(4)
        self.assertEqual(self.ruled("/data/x"), "200")
        self.gateway.clock.advance(1)
        self.assertEqual(self.ruled("/data/x"), "403 time")

    def test_new_jwt(self) -> None:
        """An equal request is ruled again after a new JWT was minted, and is counted each time."""
        self.make()
        for _ in range(3):
            self.assertEqual(self.ruled("/data/x"), "200")
            self.gateway.clock.advance(31)
        self.assertEqual(self.counted(), {"allow allowed": 12})

    def test_memory_T83a(self) -> None:
        """A known head does not keep the claims of a client whose decision is no longer cached."""
        self.make()
        self.assertEqual(self.ruled("/data/x"), "200")
        [known] = self.gateway.entrance.repeats._known.values()
        self.assertIsNotNone(known.settled())
        self.gateway.serving.gateway.decisions.invalidate()
        self.assertIsNone(known.settled())
        self.assertIsNone(known.tried())


class ReloadTests(PolicyCase):
    """Other policies after a reload."""

    def test_cached_decisions(self) -> None:
        """Decisions that were cached before a reload are not used with other policies."""
        self.make()
        self.assertEqual(self.ruled("/data/x"), "200")
        self.gateway.serving.gateway = InMemoryGateway(over(rules=[])).serving.gateway
        self.assertEqual(self.ruled("/data/x"), "403 no-matching-policy")

    def test_tables_discarded(self) -> None:
        """A request is ruled alike if the table of its identity was discarded."""
        self.patch(policies_module, "_MOST_PERMISSIONS", 1)
        self.make()
        for who, expected in ((ALICE, "200"), (BOB, "403 no-matching-policy")) * 2:
            self.assertEqual(self.ruled("/admin", who=who), expected)
