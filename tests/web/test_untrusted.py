"""Nothing in a request but its credential changes the result of authentication."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Unavailable
from authotron.model.request import Presented
from authotron.web.gateway_routes import GatewayRoutes
from authotron.web.operations_routes import OperationsRoutes
from authotron.web.routing import CONTRACT_RULE
from tests.config.cases import ROOT
from tests.web.conversations import ALICE, EVERY_ROUTE, Answer, Failing, InMemoryGateway, basic
from tests.web.test_token_routes import PROXIED, TokenCase

ORIGINAL = (
    "X-Forwarded-Uri: /health",
    "X-Original-URI: /health",
    "X-Original-URL: http://gate/health",
    "X-Rewrite-URL: /health",
    "X-Original-Method: OPTIONS",
    "X-Forwarded-Method: OPTIONS",
    "X-Forwarded-Path: /health",
    "X-Envoy-Original-Path: /health",
    "X-Accel-Redirect: /health",
)
"""How proxies name what they were asked for."""

BESIDE = (
    "X-Forwarded-Prefix: /health",
    "X-Forwarded-Server: localhost",
    "X-Forwarded-Port: 443",
    "X-Forwarded-Scheme: https",
    "X-Forwarded-Ssl: on",
    "X-Forwarded-Proto: https",
    "X-Scheme: https",
    "Front-End-Https: on",
    "X-Real-IP: 127.0.0.1",
    "X-Client-IP: 127.0.0.1",
    "True-Client-IP: 127.0.0.1",
    "CF-Connecting-IP: 127.0.0.1",
    "X-Cluster-Client-IP: 127.0.0.1",
)
"""What proxies add, and no configuration here names."""

IDENTITIES = (
    "X-Auth-Username: root",
    "X-Auth-Roles: admin",
    "X-Auth-User: root",
    "X_Auth_Username: root",
    "Remote-User: root",
    "X-Remote-User: root",
    "X-Forwarded-User: root",
    "X-Forwarded-Groups: admin",
    "X-Forwarded-Client-Cert: Subject=root",
    "X-SSL-Client-Verify: SUCCESS",
    "SSL_CLIENT_S_DN: CN=root",
)
"""How others hand identities on."""

CONFIGURATION = (
    "X-Ldap-URL: ldap://evil.example",
    "X-Ldap-Template: (cn=*)",
    "X-Ldap-BaseDN: dc=evil",
    "X-Ldap-BindDN: cn=evil",
    "AOT_JWT__SECRET: evil",
    "AOT-Providers: []",
    "X-Auth-Provider: staff",
    "X-Skip-Auth: true",
    "X-Debug: 1",
)
"""Names of settings, as in a known daemon of the same purpose and in ours."""

PROBES = (
    "GoogleHC/1.0",
    "kube-probe/1.30",
    "ELB-HealthChecker/2.0",
    "Prometheus/2.50",
    "authotron",
    "curl/8",
    "",
)
"""User agents that other gateways let through."""

GOOD = f"Authorization: {ALICE}".encode()

OTHER_FIELDS = (
    "Proxy-Authorization",
    "X-Authorization",
    "X-Forwarded-Authorization",
    "Authorization2",
    "Authentication",
    "WWW-Authenticate",
    "X-API-Key",
    "X-Amz-Security-Token",
    "Cookie",
)
"""Where other gateways look for credentials."""

ODD = (
    b"\x0b",
    b"\x0c",
    b"\x1c",
    b"\x1d",
    b"\x1e",
    b"\x85",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\x7f",
    b"\xff",
)
"""Bytes at which Python, terminals or other readers end a line, or that are not UTF-8."""

PUBLIC = {
    "/",
    "/health",
    "/providers",
    "/augmenters",
    "/.well-known/jwks.json",
    "/.well-known/authzen-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource",
    "/statuslists/{id}",
    "/logo.svg",
    "/favicon.ico",
}
"""Routes that need no credential."""

SURRENDER = {
    ("POST", "/tokens/revoke"),
    ("POST", "/oauth/token"),
    ("POST", "/token/refresh"),
    ("POST", "/ssf/events"),
    ("POST", "/backchannel-logout"),
}
"""
The body is the credential: an API token that anyone who found it may end, a token to exchange, a
refresh token, or a token that an identity provider has signed.
"""


class UntrustedCase(SynchronousTestCase):
    """Asks both ways: through the fast path, and the site alone."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()

    def answers(self, *fields: str, line: str = "GET /authenticate") -> Iterator[Answer]:
        data = "\r\n".join([f"{line} HTTP/1.1", "Host: gate", *fields, "", ""]).encode()
        for site in (self.gateway.entrance, self.gateway.public):
            [answer] = self.gateway.say(data, site)
            yield answer

    def ignored(self, fields: Sequence[str]) -> None:
        """Check that fields, alone and together, change neither a 200 nor a 401."""
        good = f"Authorization: {ALICE}"
        [expected, _] = self.answers(good)
        for group in (*([field] for field in fields), fields):
            with self.subTest(str(group)):
                for answer in self.answers(*group):
                    self.assertEqual(answer.status, 401)
                    self.assertNotIn("authorization", answer.headers)
                for answer in self.answers(*group, good):
                    self.assertEqual((answer.status, answer.body), (200, b""))
                    self.assertEqual(answer.headers.keys(), expected.headers.keys())


class FieldTests(UntrustedCase):
    """Header fields."""

    def test_original_request_T01(self) -> None:
        """No field with an original path or method changes the route."""
        self.ignored(ORIGINAL)

    def test_underscores_T02(self) -> None:
        """A name with underscores is another name: it neither replaces nor adds a field."""
        good = f"Authorization: {ALICE}"
        for fields, status in (
            (["X_Auth_Realm: nowhere", good], 200),
            (["X-Auth-Realm: nowhere", "X_Auth_Realm: internal", good], 401),
            (["X_Auth_Realm: internal", "X-Auth-Realm: nowhere", good], 401),
            (["X-Auth_Realm: nowhere", good], 200),
        ):
            with self.subTest(str(fields)):
                self.assertEqual([each.status for each in self.answers(*fields)], [status] * 2)

    def test_beside_T03(self) -> None:
        """Forwarding fields that are not configured are not read."""
        self.ignored(BESIDE)

    def test_connection_names_T04(self) -> None:
        """A field that C{Connection} names is still read."""
        named = "Connection: X-Auth-Realm, Authorization, X-Forwarded-Host"
        good = f"Authorization: {ALICE}"
        for fields, status in (([named, good], 200), ([named, "X-Auth-Realm: nowhere", good], 401)):
            self.assertEqual([each.status for each in self.answers(*fields)], [status] * 2)

    def test_identities_T11(self) -> None:
        """Identity headers from a client are ignored."""
        self.gateway = InMemoryGateway({"include_legacy_headers": True})
        self.ignored(IDENTITIES)
        for answer in self.answers(*IDENTITIES, f"Authorization: {ALICE}"):
            self.assertEqual(answer.headers["x-auth-username"], "alice")
            self.assertEqual(answer.headers["x-auth-roles"], "")

    def test_configuration_T10(self) -> None:
        """No field changes the configuration."""
        self.ignored(CONFIGURATION)

    def test_odd_bytes_T22(self) -> None:
        """Bytes that end lines are refused or ignored, and do not reach the log."""
        self.gateway = InMemoryGateway({"logging": {"access": "all"}, "server": PROXIED})
        log = EventLoggingObserver()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        for name in (
            "X-Auth-Realm",
            "X-Request-ID",
            "X-Forwarded-Host",
            "X-Forwarded-For",
            "User-Agent",
        ):
            for odd in ODD:
                field = name.encode() + b": internal" + odd + b"canary"
                lines = [b"GET /authenticate HTTP/1.1", b"Host: gate", field, GOOD, b"", b""]
                for site in (self.gateway.entrance, self.gateway.public):
                    [answer] = self.gateway.say(b"\r\n".join(lines), site)
                    self.assertEqual(answer.status, 401 if name == "X-Auth-Realm" else 200)
        answered = [each for each in log if each["event"] == "routes.request.answered"]
        self.assertEqual(len(answered), 2 * 5 * len(ODD))
        self.assertNotIn("canary", repr(list(log)))

    def test_user_agents_T11(self) -> None:
        """No user agent is authenticated without a credential."""
        self.ignored([f"User-Agent: {name}" for name in PROBES])


class ElsewhereTests(UntrustedCase):
    """Credentials in other places than C{Authorization}."""

    def test_other_fields_T27(self) -> None:
        """A credential in another field is not read."""
        for value in (ALICE, "alice:wonder", ALICE.split()[1]):
            self.ignored([f"{name}: {value}" for name in OTHER_FIELDS])
        self.ignored([f"Cookie: Authorization={ALICE}; session={ALICE}; access_token=x"])

    def test_query_T27(self) -> None:
        """A credential in the query is not read, and the query is not logged."""
        self.gateway = InMemoryGateway({"logging": {"access": "all"}})
        log = EventLoggingObserver()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        canary = ALICE.split()[1]
        for name in ("access_token", "token", "authorization", "api_key", "Authorization"):
            for answer in self.answers(line=f"GET /authenticate?{name}={canary}"):
                self.assertEqual(answer.status, 401)
        self.assertTrue(list(log))
        self.assertNotIn(canary, repr(list(log)))

    def test_body_T27(self) -> None:
        """A credential in the body is not read."""
        body = b"username=alice&password=wonder&access_token=x"
        head = (
            b"GET /whoami HTTP/1.1\r\nHost: gate\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
        )
        for site in (self.gateway.entrance, self.gateway.public):
            [answer] = self.gateway.say(head % len(body) + body, site)
            self.assertEqual(answer.status, 401)


class TargetTests(UntrustedCase):
    """Paths, queries and methods."""

    def test_query_T14(self) -> None:
        """The query does not change the route."""
        for query in ("?/health", "?x=/health", "?path=/health&rd=/", "?%2fhealth", "?/../health"):
            for answer in self.answers(line=f"GET /authenticate{query}"):
                self.assertEqual(answer.status, 401)

    def test_fragment_T15(self) -> None:
        """A path with a fragment is unknown."""
        for path in ("/authenticate#/health", "/authenticate#", "/health#/authenticate"):
            for answer in self.answers(f"Authorization: {ALICE}", line=f"GET {path}"):
                self.assertIn(answer.status, {400, 404})
                self.assertNotIn("authorization", answer.headers)

    def test_methods_T18(self) -> None:
        """Only GET and HEAD authenticate, and no field or query changes the method."""
        good = f"Authorization: {ALICE}"
        override = ("X-HTTP-Method-Override: GET", "X-HTTP-Method: GET", "X-Method-Override: GET")
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO"):
            for path in ("/authenticate", "/whoami", "/authenticate?_method=GET"):
                for answer in self.answers(good, *override, line=f"{method} {path}"):
                    self.assertIn(answer.status, {400, 405}, (method, path))
                    self.assertNotIn("authorization", answer.headers)
                    self.assertNotIn(b"alice", answer.body)

    def test_methods_of_tokens_T18(self) -> None:
        """A GET stays a GET, whatever method a field or the query names."""
        self.gateway = InMemoryGateway({"store": {"type": "memory"}})
        fields = (f"Authorization: {ALICE}", "X-HTTP-Method-Override: POST")
        for answer in self.answers(*fields, line="GET /tokens?_method=POST"):
            self.assertEqual(answer.status, 400)
        for answer in self.answers(*fields, line="GET /tokens"):
            self.assertEqual((answer.status, answer.json()["tokens"]), (200, []))

    def test_no_redirect_T65(self) -> None:
        """No answer redirects, however a path is written."""
        self.gateway = InMemoryGateway({"store": {"type": "memory"}})
        good = f"Authorization: {ALICE}"
        for path in (
            "/authenticate?rd=https://evil.example",
            "/?redirect=//evil.example",
            "/tokens/?next=//evil.example",
            "//evil.example/..",
            "//evil.example//authenticate",
            "/\\evil.example",
            "/%09/evil.example",
            "/%5cevil.example",
            "/tokens//",
            "/whoami/",
            "/.",
            "/..",
            "http://evil.example/",
            "https:evil.example",
        ):
            for answer in (
                *self.answers(line=f"GET {path}"),
                *self.answers(good, line=f"GET {path}"),
            ):
                self.assertFalse(300 <= answer.status < 400, path)
                self.assertNotIn("location", answer.headers)
                # The home page shows the address that the client itself asked for, as text.
                shown = answer.body.replace(b" https://evil.example/whoami", b"")
                self.assertNotIn(b"evil", shown)


class ForwardedTests(TokenCase):
    """C{Forwarded} of RFC 7239, which is not read."""

    def test_forwarded_T06(self) -> None:
        """C{Forwarded} names neither host nor client, even from a trusted proxy."""
        self.gateway = self.make(server=PROXIED)
        forwarded = "for=10.1.2.3;host=a.org;proto=https"
        for made in (self.new(hosts=["a.org"]), self.new(networks=["10.0.0.0/8"])):
            bearer = f"Bearer {made['token']}"
            answer = self.gateway.ask(
                "GET /authenticate", Authorization=bearer, Forwarded=forwarded
            )
            self.assertEqual(answer.status, 400)


class EveryRouteTests(TokenCase):
    """All routes, as Klein lists them, of a gateway that has all of them."""

    def make(self, **over: Any) -> InMemoryGateway:
        gateway = super().make(**EVERY_ROUTE, **over)
        assert gateway.serving.gateway.revocations is not None
        gateway.serving.gateway.revocations.index.note_age(0.0, None)
        return gateway

    def routes(self) -> Iterator[tuple[str, str]]:
        """Yield method and path of each route that requires a credential."""
        for rule in GatewayRoutes.app.url_map.iter_rules():
            path = rule.rule.replace("<token>", "0123456789ab").replace("<id_>", "0123456789ab")
            path = path.partition("/<path:")[0]
            is_public = path in PUBLIC or rule.rule.replace("<id_>", "{id}") in PUBLIC
            for method in sorted(rule.methods or ()):
                if not is_public and (method, path) not in SURRENDER:
                    yield method, path

    def test_documented_T58(self) -> None:
        """Each route of either port is documented."""
        page = (ROOT / "docs" / "http-endpoints.md").read_text(encoding="utf-8")
        main, metrics = page.split("## Metrics port")
        for app, table in ((GatewayRoutes.app, main), (OperationsRoutes.app, metrics)):
            listed = set(re.findall(r"`(/[^` ]*)`", table.partition("## Request headers")[0]))
            for rule in app.url_map.iter_rules():
                path = "/tokens" if rule.rule.startswith("/token") else rule.rule
                path = path.partition("/<path:")[0].replace("<id_>", "{id}")
                if path != CONTRACT_RULE:
                    self.assertIn(path, listed)
        public = set(re.findall(r"^\| GET, HEAD \| (.*?) \| no \|", main, re.MULTILINE))
        self.assertEqual(set(re.findall(r"`([^`]+)`", " ".join(public))), PUBLIC)

    def test_no_other_origin_T53(self) -> None:
        """No answer of either port allows another origin to read it."""
        asked = "Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n"
        ports = (
            (self.gateway.public, GatewayRoutes.app),
            (self.gateway.operations, OperationsRoutes.app),
        )
        for site, app in ports:
            for path in sorted({rule.rule for rule in app.url_map.iter_rules()}):
                for method in ("GET", "OPTIONS", "POST", "DELETE"):
                    head = f"{method} {path} HTTP/1.1\r\nHost: gate\r\n{asked}\r\n"
                    [answer] = self.gateway.say(head.encode(), site)
                    allowed = [name for name in answer.headers if name.startswith("access-control")]
                    self.assertEqual(allowed, [], f"{method} {path}")

    def test_not_stored_T53(self) -> None:
        """Answers about a client or its API tokens are C{no-store}."""
        token = self.new()
        for method, path in (
            ("GET", "/authenticate"),
            ("GET", "/whoami"),
            ("GET", "/token"),
            ("GET", "/tokens"),
            ("GET", f"/tokens/{token['id']}"),
            ("GET", "/tokens/0123456789ab"),
            ("DELETE", f"/tokens/{token['id']}"),
            ("DELETE", f"/token/{self.new()['token']}"),
        ):
            for fields in ({}, {"Authorization": ALICE}):
                answer = self.gateway.ask(f"{method} {path}", None, **fields)
                with self.subTest(f"{method} {path} {answer.status}"):
                    self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_metrics_port_changes_nothing_T80(self) -> None:
        """The metrics port has no route but for reading."""
        for rule in OperationsRoutes.app.url_map.iter_rules():
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
                data = f"{method} {rule.rule} HTTP/1.1\r\nHost: gate\r\nContent-Length: 0\r\n\r\n"
                [answer] = self.gateway.say(data.encode(), self.gateway.operations)
                self.assertEqual(answer.status, 405, f"{method} {rule.rule}")

    def test_one_gate_T71(self) -> None:
        """Each route refuses missing and wrong credentials, by the same decision."""
        decisions = self.gateway.serving.gateway.decisions
        asked: list[bytes | None] = []
        decide = decisions.decide

        def noted(presented: Presented, *others: Any) -> object:
            asked.append(presented.authorization)
            return decide(presented, *others)

        self.patch(type(decisions), "decide", lambda _, *given: noted(*given))
        routes = list(self.routes())
        self.assertGreater(len(routes), 10)
        for method, path in routes:
            for given in (None, basic("alice", "wrong"), "Bearer aot_0123456789ab_x"):
                with self.subTest(f"{method} {path} {given}"):
                    asked.clear()
                    field = "" if given is None else f"Authorization: {given}\r\n"
                    head = f"{method} {path} HTTP/1.1\r\nHost: gate\r\n{field}\r\n"
                    [answer] = self.gateway.say(head.encode())
                    self.assertEqual(answer.status, 401)
                    self.assertEqual(asked, [given.encode() if given else None])


class OutageTests(UntrustedCase):
    """The reply during an outage."""

    def test_outage_reveals_nothing_T64(self) -> None:
        """A 503 is JSON and names neither the provider nor the reason."""
        outage = Unavailable('secret-host: "quoted"\r\nX-Evil: 1')
        self.gateway.serving.gateway.authenticator.providers = [Failing(outage)]
        for answer in self.answers(f"Authorization: {ALICE}"):
            self.assertEqual(answer.status, 503)
            self.assertEqual(answer.json().keys(), {"error"})
            self.assertNotIn("secret", str(answer))
            self.assertNotIn("x-evil", answer.headers)
