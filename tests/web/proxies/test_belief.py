"""What the gateway believes of the questions of proxies, at both entrances, byte by byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.model.request import Facts
from tests.web.conversations import ALICE, Answer, InMemoryGateway, Replaced, Wire, answered

PROXY = IPv4Address("TCP", "192.0.2.7", 4711)
STRANGER = IPv4Address("TCP", "203.0.113.66", 4711)
TRUSTED = {"trusted_proxies": ["192.0.2.0/24", "10.0.0.0/8"]}

STATED: dict[str, tuple[str, ...]] = {
    "/auth/nginx": ("X-Original-Method: GET", "X-Original-URI: /data/x", "X-Forwarded-Host: a.org"),
    "/auth/traefik": (
        "X-Forwarded-Method: GET",
        "X-Forwarded-Uri: /data/x",
        "X-Forwarded-Host: a.org",
    ),
    "/auth/caddy/data/x": ("X-Forwarded-Host: a.org",),
    "/auth/envoy/data/x": ("Host: a.org",),
    "/auth/haproxy": (
        "x-authotron-method: GET",
        "x-authotron-uri: /data/x",
        "x-authotron-host: a.org",
    ),
}
"""Questions about C{GET a.org/data/x}: the path asked, and the headers that state the rest."""


@frozen
class Meets:
    """A condition that a test writes as a function."""

    test: Callable[[Facts], bool]

    def holds(self, facts: Facts) -> bool:
        return self.test(facts)


class BeliefCase(SynchronousTestCase):
    """A gateway whose only user may make requests that meet a condition."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway({"server": TRUSTED})

    def limit(self, test: Callable[[Facts], bool]) -> None:
        """Let only requests pass that meet a condition."""
        found = Authentication(Identity("internal", "alice"), conditions=(Meets(test),))
        decision = self.gateway.good(found)
        gateway = self.gateway.serving.gateway
        self.gateway.serving.gateway = Replaced(gateway, lambda *_: decision)  # type: ignore[assignment] # stands in for it

    def answers(
        self, line: str, *headers: str, peer: Any = PROXY, host: str = "Host: gate"
    ) -> Iterator[Answer]:
        """Yield the answers of both entrances."""
        hosts = () if any(each.lower().startswith("host:") for each in headers) else (host,)
        lines = [f"{line} HTTP/1.1", *hosts, f"Authorization: {ALICE}", *headers, "", ""]
        data = "\r\n".join(lines).encode("latin-1")
        for site in (self.gateway.entrance, self.gateway.public):
            wire = Wire(peerAddress=peer)
            channel: Any = site.buildProtocol(peer)
            channel.makeConnection(wire)
            channel.dataReceived(data)
            [answer] = answered(wire.value())
            yield answer

    def statuses(self, line: str, *headers: str, peer: Any = PROXY) -> set[int]:
        return {each.status for each in self.answers(line, *headers, peer=peer)}


class ConditionTests(BeliefCase):
    """Facts on which a condition depends."""

    def test_stated(self) -> None:
        """What a trusted proxy states meets a condition, by each contract."""
        self.limit(
            lambda facts: (facts.method, facts.host, facts.path) == ("GET", "a.org", "/data/x")
        )
        for path, headers in STATED.items():
            self.assertEqual(self.statuses(f"GET {path}", *headers), {200}, path)
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_not_met(self) -> None:
        """A request that does not meet a condition is a 403 without an identity."""
        self.limit(lambda facts: facts.path == "/other")
        for path, headers in STATED.items():
            for answer in self.answers(f"GET {path}", *headers):
                self.assertEqual(answer.status, 403)
                self.assertFalse({"authorization", "x-auth-username"} & set(answer.headers))

    def test_untrusted_T01(self) -> None:
        """A stranger cannot choose the path, by no header and by no path of a contract."""
        self.limit(lambda facts: facts.path == "/data/x")
        for path, headers in STATED.items():
            self.assertEqual(self.statuses(f"GET {path}", *headers, peer=STRANGER), {400}, path)
        spoofed = ("X-Forwarded-Uri", "X-Original-URI", "X-Original-URL", "X-Rewrite-URL")
        for name in spoofed:
            found = self.statuses("GET /authenticate", f"{name}: /data/x", peer=STRANGER)
            self.assertEqual(found, {400})

    def test_underscores_T02(self) -> None:
        """A header with underscores never replaces the one with hyphens, nor stands in for it."""
        self.limit(lambda facts: facts.path == "/data/x")
        stated = STATED["/auth/traefik"]
        for twin in ("X_Forwarded_Uri: /public", "x_forwarded-uri: /public"):
            for headers in ((twin, *stated), (*stated, twin)):
                self.assertEqual(self.statuses("GET /auth/traefik", *headers), {200})
        alone = ("X-Forwarded-Method: GET", "X_Forwarded_Uri: /data/x")
        self.assertEqual(self.statuses("GET /auth/traefik", *alone), {400})

    def test_refused_underscores_T02(self) -> None:
        """If the operator wants so, a header with underscores beside the right one is a 400."""
        contract = {"type": "traefik", "refuse_underscores": True}
        self.gateway = InMemoryGateway({"server": {**TRUSTED, "contracts": [contract]}})
        self.limit(lambda facts: facts.path == "/data/x")
        stated = STATED["/auth/traefik"]
        self.assertEqual(self.statuses("GET /auth/traefik", *stated), {200})
        for twin in ("X_Forwarded_Uri: /data/x", "x_forwarded-uri: /public"):
            self.assertEqual(self.statuses("GET /auth/traefik", twin, *stated), {400})

    def test_foreign_T03(self) -> None:
        """Headers of other contracts, and headers of none, have no effect."""
        self.limit(lambda facts: (facts.host, facts.path) == ("a.org", "/data/x"))
        foreign = (
            "X-Forwarded-Prefix: /admin",
            "X-Forwarded-Server: b.org",
            "X-Forwarded-Port: 1",
            "X-Original-Host: b.org",
            "X-Rewrite-URL: /admin",
            "Forwarded: host=b.org",
        )
        for path, headers in STATED.items():
            self.assertEqual(self.statuses(f"GET {path}", *headers, *foreign), {200}, path)
        other = {
            "/auth/nginx": "X-Forwarded-Uri: /admin",
            "/auth/traefik": "X-Original-URI: /admin",
            "/auth/caddy/data/x": "X-Forwarded-Uri: /admin",
            "/auth/envoy/data/x": "X-Forwarded-Host: b.org",
            "/auth/haproxy": "X-Forwarded-Uri: /admin",
        }
        for path, header in other.items():
            self.assertEqual(self.statuses(f"GET {path}", *STATED[path], header), {200}, path)

    def test_missing_T04(self) -> None:
        """A header that C{Connection} removed on its way is missing, and C{Host} is no spare."""
        self.limit(lambda facts: facts.host == "a.org")
        for path, headers in STATED.items():
            left = [each for each in headers if "ost: a.org" not in each]
            removed = "Connection: keep-alive, X-Forwarded-Host, X-Authotron-Host"
            host = "Host: b.org" if "envoy" in path else "Host: a.org"
            wanted = {403} if "envoy" in path else {400}
            self.assertEqual(self.statuses(f"GET {path}", host, removed, *left), wanted, path)

    def test_connection_is_not_obeyed_T04(self) -> None:
        """C{Connection} of a client that arrives removes no header."""
        self.limit(lambda facts: (facts.host, facts.path) == ("a.org", "/data/x"))
        removed = "Connection: X-Forwarded-Host, X-Forwarded-Uri, Authorization, Host"
        for path, headers in STATED.items():
            self.assertEqual(self.statuses(f"GET {path}", removed, *headers), {200}, path)

    def test_client_T05(self) -> None:
        """The address is the rightmost that is no proxy; that of a stranger is its own."""
        for path, header in (
            ("/authenticate", "X-Forwarded-For"),
            ("/auth/traefik", "X-Forwarded-For"),
            ("/auth/envoy/data/x", "x-forwarded-for"),
            ("/auth/haproxy", "X-Authotron-Client"),
        ):
            stated = STATED.get(path, ())
            self.limit(lambda facts: facts.address == "198.51.100.9")
            for value, status in (
                ("8.8.8.8, 198.51.100.9", 200),
                ("198.51.100.9, 8.8.8.8", 403),
                ("198.51.100.9, 10.0.0.1", 200),
                ("198.51.100.9, garbage", 400),
                ("", 400),
            ):
                found = self.statuses(f"GET {path}", *stated, f"{header}: {value}")
                self.assertEqual(found, {status}, (path, value))
            self.limit(lambda facts: facts.address == "203.0.113.66")
            if path != "/auth/traefik":
                found = self.statuses(
                    f"GET {path}", *stated, f"{header}: 198.51.100.9", peer=STRANGER
                )
                self.assertEqual(found, {200}, path)

    def test_scheme_T06(self) -> None:
        """A stranger cannot claim C{https}, neither by C{X-Forwarded-Proto} nor by C{Forwarded}."""
        self.limit(lambda facts: facts.scheme == "https")
        claims = ("X-Forwarded-Proto: https", "Forwarded: proto=https")
        self.assertEqual(self.statuses("GET /authenticate", *claims), {200})
        self.assertEqual(self.statuses("GET /authenticate", *claims, peer=STRANGER), {400})
        self.assertEqual(self.statuses("GET /authenticate", claims[1]), {400})

    def test_duplicate_T07(self) -> None:
        """A header that stands twice is a 400, even with equal values."""
        self.limit(
            lambda facts: (facts.method, facts.host, facts.path) == ("GET", "a.org", "/data/x")
        )
        for path, headers in STATED.items():
            for header in headers:
                if not header.startswith("Host"):
                    found = self.statuses(f"GET {path}", *headers, header)
                    self.assertEqual(found, {400}, (path, header))
        twice = self.statuses("GET /auth/envoy/data/x", "Host: a.org", "Host: a.org")
        self.assertEqual(twice, {400})

    def test_socket_T08(self) -> None:
        """A peer at a UNIX socket is believed if the trusted proxies contain C{unix}."""
        peer = UNIXAddress("/run/x")
        for more, status in (([], 400), (["unix"], 200)):
            trusted = {"trusted_proxies": [*TRUSTED["trusted_proxies"], *more]}
            self.gateway = InMemoryGateway({"server": trusted})
            self.limit(lambda facts: facts.path == "/data/x")
            for path, headers in STATED.items():
                self.assertEqual(self.statuses(f"GET {path}", *headers, peer=peer), {status}, path)

    def test_magic_T11(self) -> None:
        """No user agent, method or path of a health check lets a request pass."""
        self.limit(lambda facts: facts.path == "/data/x")
        for line, headers in (
            ("GET /auth/envoy/health", ("User-Agent: kube-probe/1.30",)),
            ("OPTIONS /auth/envoy/metrics", ("User-Agent: GoogleHC/1.0",)),
            ("GET /auth/envoy/auth/envoy/data/x", ()),
            ("GET /auth/envoy/data/xx", ()),
        ):
            self.assertEqual(self.statuses(line, *headers), {403})

    def test_paths_T12_T15(self) -> None:
        """A path that proxies and backends disagree about is a 400 if a condition asks for it."""
        self.limit(lambda facts: facts.path.startswith("/data/"))
        for target, status in (
            ("/public/../data/x", 200),
            ("/data/../admin", 403),
            ("/data/%2e%2e/admin", 400),
            ("/data/..%2fadmin", 400),
            ("/data/..;/admin", 400),
            ("/data//x", 400),
            ("/data\\..\\admin", 400),
            ("/data/%252e%252e/admin", 400),
            ("/data/x%00", 400),
            ("/data/x#/../admin", 400),
            ("/data/%zz", 400),
        ):
            with self.subTest(target):
                self.assertEqual(self.statuses(f"GET /auth/envoy{target}"), {status})
                self.assertEqual(self.statuses(f"GET /auth/nginx{target}"), {status})
                stated = ("X-Forwarded-Method: GET", f"X-Forwarded-Uri: {target}")
                self.assertEqual(self.statuses("GET /auth/traefik", *stated), {status})

    def test_odd_paths_without_condition(self) -> None:
        """Where nothing depends on the path, any path is answered."""
        for target in ("/a%2fb", "//x", "/..;/", "/%zz", "/x#y", "/%00", "/caf\xc3\xa9", "/?\xff"):
            self.assertEqual(self.statuses(f"GET /auth/envoy{target}"), {200}, target)
        self.assertEqual(self.statuses("OPTIONS /auth/envoy*"), {200})

    def test_case_T13(self) -> None:
        """A host is compared in lower case and without a dot at its end."""
        self.limit(lambda facts: (facts.host, facts.port) == ("a.org", 8443))
        for host in ("a.org:8443", "A.ORG:8443", "a.org.:8443"):
            self.assertEqual(self.statuses("GET /auth/envoy/x", f"Host: {host}"), {200})
        for host in ("a.org", "a.org:443", "b.org:8443", "xa.org:8443"):
            self.assertEqual(self.statuses("GET /auth/envoy/x", f"Host: {host}"), {403})

    def test_query_T14(self) -> None:
        """The query is not part of the path."""
        self.limit(lambda facts: "data" in facts.path)
        self.assertEqual(self.statuses("GET /auth/envoy/admin?x=/data/x"), {403})
        self.assertEqual(self.statuses("GET /auth/caddy/admin?/data/x"), {403})

    def test_method_T18(self) -> None:
        """The method is the client's as it was sent, and no header overrides it."""
        self.limit(lambda facts: facts.method == "GET")
        override = ("X-HTTP-Method-Override: GET", "X-Method-Override: GET")
        for method, status in (("GET", 200), ("get", 403), ("FOO", 403), ("OPTIONS", 403)):
            self.assertEqual(self.statuses(f"{method} /auth/envoy/x", *override), {status})
        stated = ("X-Forwarded-Uri: /x",)
        self.assertEqual(self.statuses("GET /auth/traefik", *stated), {400})
        self.assertEqual(
            self.statuses("GET /auth/traefik", "X-Forwarded-Method: POST", *stated), {403}
        )


class RequiredTests(BeliefCase):
    """Facts that a contract requires in every question."""

    def test_required_T04(self) -> None:
        """A question without a required header is a 400 before any provider is asked."""
        for headers, status in (
            (STATED["/auth/traefik"], 200),
            (STATED["/auth/traefik"][:2], 200),
            (("X-Forwarded-Method: GET", "X-Forwarded-Uri:"), 200),
            (("X-Forwarded-Uri: /x",), 400),
            (("X-Forwarded-Method: GET",), 400),
            ((*STATED["/auth/traefik"], "X-Forwarded-Uri: /x"), 400),
            ((), 400),
        ):
            self.assertEqual(self.statuses("POST /auth/traefik", *headers), {status}, headers)
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_stranger_T01(self) -> None:
        """A stranger cannot ask by a contract that requires facts."""
        stated = STATED["/auth/traefik"]
        self.assertEqual(self.statuses("GET /auth/traefik", *stated, peer=STRANGER), {400})

    def test_configured(self) -> None:
        """An operator may require other facts, or none."""
        contracts = [
            {"type": "traefik", "required": []},
            {"type": "nginx", "required": ["host", "address"]},
        ]
        self.gateway = InMemoryGateway({"server": {**TRUSTED, "contracts": contracts}})
        self.assertEqual(self.statuses("GET /auth/traefik", peer=STRANGER), {200})
        host, client = "X-Forwarded-Host: a.org", "X-Forwarded-For: 198.51.100.9"
        for path in ("/authenticate", "/auth/nginx", "/auth/nginx/x"):
            self.assertEqual(self.statuses(f"GET {path}", host, client), {200})
            self.assertEqual(self.statuses(f"GET {path}", host), {400})
            self.assertEqual(self.statuses(f"GET {path}", client), {400})

    def test_recorded_T03(self) -> None:
        """At C{/authenticate} nothing is required, and odd metadata have no effect."""
        odd = ("X-Forwarded-Host: a, b", "X-Forwarded-Host: c", "X-Original-URI: x", "Forwarded: ;")
        for peer in (PROXY, STRANGER):
            self.assertEqual(self.statuses("GET /authenticate", *odd, peer=peer), {200})

    def test_counted_and_logged(self) -> None:
        """A refused question is counted by contract, fact and flaw, and logged with the reason."""
        self.statuses("GET /auth/traefik", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /x")
        self.statuses("GET /auth/traefik", "X-Forwarded-Method: GET")
        text = self.gateway.metrics.text()[0].decode()
        family = 'authotron_unusable_facts_total{contract="traefik",fact="path",flaw="missing"}'
        self.assertIn(f"{family} 2.0", text)
        self.assertEqual(text.count("authotron_unusable_facts_total{"), 1)


class LimitedTests(BeliefCase):
    """C{server.contracts}."""

    def test_limited(self) -> None:
        """A proxy whose contract is not configured finds no path; a reload changes that."""
        self.gateway = InMemoryGateway({"server": {**TRUSTED, "contracts": ["envoy"]}})
        self.assertEqual(self.statuses("GET /auth/envoy/x"), {200})
        self.assertEqual(self.statuses("GET /auth/traefik", *STATED["/auth/traefik"]), {404})
        other = InMemoryGateway({"server": TRUSTED})
        self.gateway.serving.gateway = other.serving.gateway
        self.assertEqual(self.statuses("GET /auth/traefik", *STATED["/auth/traefik"]), {200})

    def test_without_nginx(self) -> None:
        """Without the contract of nginx the paths of auth-o-tron are unknown."""
        self.gateway = InMemoryGateway({"server": {**TRUSTED, "contracts": ["envoy"]}})
        for path in ("/authenticate", "/auth", "/_auth", "/auth/nginx"):
            self.assertEqual(self.statuses(f"GET {path}"), {404})


class HeadTests(BeliefCase):
    """The head of a question decides."""

    def test_ordinary(self) -> None:
        """What clients send through proxies is ordinary, and stays on the fast path."""
        for headers in (
            ("Upgrade: websocket", "Connection: Upgrade"),
            ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"),
            ("Connection: keep-alive", "Connection: X-Request-ID, Host"),
            ("Expect: 100-continue",),
            ("Expect: something-else",),
            ("TE: trailers", "Trailer: X-Sum", "Keep-Alive: timeout=5"),
            ("Authorization: Basic eA==",),
            ("X-Auth-Realm: internal", "X-Auth-Realm: other"),
            ("Host: ",),
            ("Host: a.org.",),
            ("Range: bytes=0-1", 'If-None-Match: "x"'),
            ("X-Forwarded-For: a", "X-Forwarded-For: b", "X-Forwarded-Host: c, d"),
            tuple(f"X-{n}: y" for n in range(200)),
        ):
            for line in ("GET /authenticate?x=y", "DELETE /auth/envoy/x", "get /auth/nginx/x"):
                for answer in self.answers(line, *headers):
                    self.assertEqual(answer.status, 200, (line, headers))
                    self.assertNotIn("connection", answer.headers)
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_closed(self) -> None:
        """C{close} among the connection options closes the connection."""
        for header in ("Connection: Close, X-Request-ID", "connection: x\r\nConnection: close"):
            for answer in self.answers("GET /auth/envoy/x", header):
                self.assertEqual(answer.headers["connection"], "close")

    def test_no_host_T92a(self) -> None:
        """A question of HTTP/1.1 without C{Host} is a 400, which the fast path answers itself."""
        data = f"GET /auth/envoy/x HTTP/1.1\r\nAuthorization: {ALICE}\r\n\r\n".encode()
        for site in (self.gateway.entrance, self.gateway.public):
            [answer] = self.gateway.say(data, site)
            self.assertEqual((answer.status, answer.headers["connection"]), (400, "close"))
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_ambiguous_length_T75a(self) -> None:
        """Both lengths, and unknown or two transfer codings, are a 400, and closed."""
        for headers in (
            ("Content-Length: 5", "Transfer-Encoding: chunked"),
            ("Content-Length: 5", "Content-Length: 5"),
            ("Content-Length: 5, 5",),
            ("Content-Length: -1",),
            ("Transfer-Encoding: gzip",),
            ("Transfer-Encoding: gzip, chunked",),
            ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ):
            for line in ("GET /authenticate", "POST /auth/envoy/x", "PUT /auth/haproxy"):
                for answer in self.answers(line, *headers):
                    self.assertEqual((answer.status, answer.headers["connection"]), (400, "close"))

    def test_body_beside_the_head_H_BODY(self) -> None:
        """A body that comes with the head is no part of it, on the fast path too."""
        self.limit(lambda facts: facts.host == "a.org")
        body = b"X-Forwarded-Host: a.org\r\n\r\nGET /auth/envoy/x HTTP/1.1\r\n\r\n"
        for path, stated, status in (
            ("/auth/nginx", b"X-Forwarded-Host: a.org\r\n", 200),
            ("/auth/nginx", b"", 400),
        ):
            lines = f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: {ALICE}\r\n".encode()
            head = lines + stated + b"Content-Length: %d\r\n\r\n" % len(body)
            for site in (self.gateway.entrance, self.gateway.public):
                answers = self.gateway.say(head + body, site)
                self.assertEqual([each.status for each in answers], [status])
                self.assertEqual(answers[0].headers["connection"], "close")
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_large(self) -> None:
        """A path of 20 KB, and heads up to the limit in pieces, stay on the fast path."""
        for size in (20_000, 60_000):
            head = f"GET /auth/envoy/{'x' * size} HTTP/1.1\r\nHost: g\r\nAuthorization: {ALICE}"
            data = f"{head}\r\n\r\n".encode()
            for pieces in (0, 700):
                [answer] = self.gateway.say(data, self.gateway.entrance, pieces)
                self.assertEqual(answer.status, 200)
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_absolute_form_T75(self) -> None:
        """A whole URL is served like its path, and its host counts, once checked like C{Host}."""
        self.limit(lambda facts: (facts.host, facts.path) == ("a.org", "/x"))
        for target, status in (
            ("http://a.org/auth/envoy/x", 200),
            ("http://b.org/auth/envoy/x", 403),
            ("http://a.org/auth/envoy/../x", 400),
        ):
            self.assertEqual(self.statuses(f"GET {target}", "Host: c.org"), {status}, target)
        for target in ("http://u@a.org/auth/envoy/x", "http://a..b/auth/envoy/x", "http:///x"):
            self.assertEqual(self.statuses(f"GET {target}", "Host: c.org"), {400}, target)

    def test_recorded_methods_T18(self) -> None:
        """The recorded paths take GET and HEAD alone, and nothing behind them."""
        for line, status in (
            ("POST /authenticate", 405),
            ("OPTIONS /auth", 405),
            ("get /authenticate", 405),
            ("GET /authenticate/x", 404),
            ("GET /_auth/", 404),
            ("GET /auth/unknown", 404),
            ("POST /auth/unknown", 404),
            ("GET /auth/traefik/x", 404),
        ):
            self.assertEqual(self.statuses(line), {status}, line)

    def test_several_credentials(self) -> None:
        """Of several C{Authorization} headers the first counts, in every contract."""
        for line in ("GET /authenticate", "PUT /auth/envoy/x", "GET /auth/haproxy"):
            self.assertEqual(self.statuses(line, "Authorization: Basic eA=="), {200})


class AnswerTests(BeliefCase):
    """How the replies to proxies look."""

    def test_only_200_says_who(self) -> None:
        """No refusal by any contract has a header with an identity."""
        self.limit(lambda facts: facts.path == "/other")
        lines = [f"GET {path}" for path in STATED]
        for line in lines:
            for answer in self.answers(line, *STATED[line[4:]]):
                self.assertNotEqual(answer.status, 200)
                own = [each for each in answer.headers if each.startswith("x-auth-")]
                self.assertEqual(own, [])
                self.assertNotIn("authorization", answer.headers)

    def test_envoy_removes_T59(self) -> None:
        """A 200 to Envoy names the identity headers that Envoy must take from the client."""
        legacy_names = {"X-Auth-Username", "X-Auth-Realm", "X-Auth-Roles"}
        for legacy in (False, True):
            self.gateway = InMemoryGateway({"server": TRUSTED, "include_legacy_headers": legacy})
            for answer in self.answers("GET /auth/envoy/x"):
                removed = {*answer.headers["x-envoy-auth-headers-to-remove"].split(",")}
                self.assertEqual(removed & legacy_names, set() if legacy else legacy_names)
                self.assertIn("Remote-User", removed)
            for answer in self.answers("GET /authenticate"):
                self.assertNotIn("x-envoy-auth-headers-to-remove", answer.headers)
