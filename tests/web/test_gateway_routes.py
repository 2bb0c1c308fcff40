"""The routes of the main port."""

from __future__ import annotations

import json
from typing import Any

import jwt
from attrs import define
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.config.page import Page
from authotron.gateway.outcomes import Decision, Outcome
from authotron.model.authentication import Authentication
from authotron.model.errors import ConfigError
from authotron.model.field_values import field_value
from authotron.model.identity import Identity
from authotron.model.request import Facts
from authotron.plugin import header_profiles
from authotron.web.replies import Replies
from tests.web.conversations import ALICE, Failing, InMemoryGateway, basic


@define
class From:
    """A condition on the address of the client."""

    address: str

    def holds(self, facts: Facts) -> bool:
        return facts.address == self.address


class AuthenticateTests(SynchronousTestCase):
    """C{/authenticate} and its two aliases."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()

    def test_authenticated(self) -> None:
        """A 200 has a JWT and no body, and must not be cached."""
        for path in ("/authenticate", "/auth", "/_auth"):
            with self.subTest(path):
                answer = self.gateway.ask(f"GET {path}", Authorization=ALICE)
                self.assertEqual((answer.status, answer.body), (200, b""))
                self.assertEqual(answer.headers["cache-control"], "no-store")
                scheme, token = answer.headers["authorization"].split()
                claims = jwt.decode(token, options={"verify_signature": False})
                self.assertEqual((scheme, claims["sub"]), ("Bearer", "internal-alice"))

    def test_refused_T64(self) -> None:
        """A 401 has a challenge, JSON, and no JWT; it does not tell the reason."""
        answers = [
            self.gateway.ask("GET /authenticate"),
            self.gateway.ask("GET /authenticate", Authorization=basic("alice", "x")),
            self.gateway.ask("GET /authenticate", Authorization=basic("nobody", "x")),
            self.gateway.ask("GET /authenticate", Authorization="Bearer"),
            self.gateway.ask("GET /authenticate", Authorization=ALICE, X_Auth_Realm="nowhere"),
        ]
        for answer in answers:
            self.assertEqual(answer.status, 401)
            self.assertEqual(answer.headers["www-authenticate"], 'Basic realm="internal"')
            self.assertEqual(answer.json(), {"error": "Unauthorized access"})
            self.assertNotIn("authorization", answer.headers)

    def test_head(self) -> None:
        """HEAD answers as GET, without a body."""
        answer = self.gateway.ask("HEAD /authenticate", Authorization=ALICE)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertIn("authorization", answer.headers)

    def test_first_header_counts_T23(self) -> None:
        """Of two C{Authorization} fields the first is used."""
        line = "GET /authenticate HTTP/1.1\r\nHost: x\r\n"
        head = line + "Authorization: {}\r\nAuthorization: {}\r\n\r\n"
        for first, second, status in ((ALICE, "Basic x", 200), ("Basic x", ALICE, 401)):
            [answer] = self.gateway.say(head.format(first, second).encode())
            self.assertEqual(answer.status, status)

    def test_odd_bytes_T22(self) -> None:
        """Bytes that end lines elsewhere are refused."""
        for odd in (b"\x0b", b"\x0c", b"\x1c", b"\x1e", b"\x85", b"\x7f"):
            head = b"GET /whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Basic a" + odd + b"b\r\n\r\n"
            [answer] = self.gateway.say(head)
            self.assertEqual(answer.status, 401)

    def test_broken_T60(self) -> None:
        """A defect of a provider is a 503 without a JWT and without the reason."""
        self.gateway.serving.gateway.authenticator.providers = [Failing(KeyError("canary"))]
        answer = self.gateway.ask("GET /authenticate", Authorization=ALICE)
        self.assertEqual(answer.status, 503)
        self.assertNotIn("authorization", answer.headers)
        self.assertNotIn(b"canary", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_conditions(self) -> None:
        """Conditions are checked for each request, even if the decision is cached."""
        for address, status in (("192.0.2.7", 200), ("192.0.2.8", 403)):
            with self.subTest(address):
                alice = Identity("internal", "alice")
                found = Authentication(alice, conditions=(From(address),))
                outcome = Outcome("success", found)
                decision: Any = Decision(outcome, Replies("Basic").authenticate(outcome, "token"))
                decisions = self.gateway.serving.gateway.decisions
                self.patch(type(decisions), "decide", lambda *_, v=decision: v)
                for path in ("/authenticate", "/whoami"):
                    answer = self.gateway.ask(f"GET {path}", Authorization=ALICE)
                    self.assertEqual(answer.status, status)
                    self.assertEqual(
                        "authorization" in answer.headers, path != "/whoami" and status == 200
                    )

    def test_client_left(self) -> None:
        """A client that disconnects cancels the authentication, and is not counted as refused."""
        gateway = InMemoryGateway()
        asked = gateway.hold()
        channel, _ = gateway.connect()
        channel.dataReceived(b"GET /authenticate HTTP/1.1\r\nHost: x\r\n\r\n")
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(asked.called)
        text = gateway.metrics.text()[0].decode()
        self.assertIn('auth_requests_total{realm="unknown",result="all_failed"} 0.0', text)
        self.assertIn('authotron_http_requests_in_flight{method="GET"} 0.0', text)


class LegacyTests(SynchronousTestCase):
    """The legacy identity headers."""

    def headers(self, user: dict[str, Any]) -> dict[str, str]:
        users = [{"password": "p", **user}]
        provider = {"type": "plain", "name": "staff", "realm": "internal", "users": users}
        gateway = InMemoryGateway({"providers": [provider], "include_legacy_headers": True})
        answer = gateway.ask("GET /authenticate", Authorization=basic(user["username"], "p"))
        self.assertEqual(answer.status, 200)
        return {k: v for k, v in answer.headers.items() if k.startswith("x-auth")}

    def test_always_all_T59(self) -> None:
        """All three legacy headers are sent, even if one is empty."""
        self.assertEqual(
            self.headers({"username": "bare"}),
            {"x-auth-username": "bare", "x-auth-realm": "internal", "x-auth-roles": ""},
        )

    def test_never_split_T61(self) -> None:
        """A role with a line end is left out, and a comma does not split a role."""
        found = self.headers({"username": "a", "roles": ["x,y", "z\r\nX-Evil: 1", "z\n"]})
        self.assertEqual(found["x-auth-roles"], "x%2Cy")
        self.assertEqual(len(found), 3)

    def test_percent_encoded_T82d(self) -> None:
        """Percent signs are encoded like commas, so that different roles stay different."""
        found = self.headers({"username": "a", "roles": ["a,b", "a%2Cb", "100%"]})
        self.assertEqual(found["x-auth-roles"], "a%2Cb,a%252Cb,100%25")

    def test_unaltered_T82(self) -> None:
        """A name that a header cannot hold is an error, not changed."""
        outcome = Outcome("success", Authentication(Identity("internal", "root\x01")))
        profile = header_profiles.make("legacy", {}, "percent")
        with self.assertRaises(ValueError):
            Replies("Basic", profile).authenticate(outcome, "token")

    def test_beyond_ascii(self) -> None:
        """Names beyond ASCII are sent as UTF-8."""
        self.assertEqual(field_value("zoë"), b"zo\xc3\xab")


class OthersTests(SynchronousTestCase):
    """The other routes of the main port."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()

    def test_whoami(self) -> None:
        """C{/whoami} returns the identity of the client."""
        answer = self.gateway.ask("GET /whoami", Authorization=ALICE)
        self.assertEqual(answer.json()["username"], "alice")
        self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_lists_T58(self) -> None:
        """Providers and augmenters are listed with name, type and realm only."""
        self.assertEqual(
            self.gateway.ask("GET /providers").json(),
            {"providers": [{"name": "staff", "type": "plain", "realm": "internal"}]},
        )
        self.assertEqual(self.gateway.ask("GET /augmenters").json(), {"augmenters": []})

    def test_home_T57(self) -> None:
        """The home page has no scripts, loads nothing from other sites, and escapes names."""
        provider = {"type": "plain", "name": "x", "realm": "<script>", "users": []}
        answer = InMemoryGateway({"providers": [provider]}).ask("GET /")
        self.assertIn(b"&lt;script&gt;", answer.body)
        self.assertNotIn(b"<script", answer.body)
        self.assertIn("default-src 'none'", answer.headers["content-security-policy"])

    def test_home_shows_the_address_of_the_request(self) -> None:
        """The home page shows the address by which the client came, if that is an address."""
        for host, proto, address in (
            ("gate.example.org", "https", "https://gate.example.org/whoami"),
            ("gate.example.org", None, "https://gate.example.org/whoami"),
            ("127.0.0.1:8080", None, "http://127.0.0.1:8080/whoami"),
            ("localhost:18080", None, "http://localhost:18080/whoami"),
            ("[::1]:8080", None, "http://[::1]:8080/whoami"),
            ("gate.example.org", "javascript", "https://gate.example.org/whoami"),
        ):
            with self.subTest(host):
                fields: dict[str, Any] = {}
                if proto is not None:
                    fields["X_Forwarded_Proto"] = proto
                body = self.gateway.ask(f"GET http://{host}/", **fields).body
                self.assertEqual(body.count(address.encode()), 2, body)

    def test_errors_are_pages_for_browsers(self) -> None:
        """A browser gets 404, and 401 of C{/whoami}, as a page; other clients get JSON."""
        browser = "text/html,application/xhtml+xml,*/*;q=0.8"
        for path, status in (("/nowhere", 404), ("/whoami", 401)):
            page = self.gateway.ask(f"GET {path}", Accept=browser)
            self.assertEqual(page.status, status)
            self.assertIn(b"<!doctype html>", page.body)
            self.assertIn("default-src 'none'", page.headers["content-security-policy"])
            self.assertEqual(
                (page.headers["cache-control"], page.headers["vary"]), ("no-store", "Accept")
            )
            for accept in ("*/*", "application/json", "application/json, text/html"):
                answer = self.gateway.ask(f"GET {path}", Accept=accept)
                self.assertEqual(answer.status, status)
                self.assertIn("error", answer.json())
                self.assertEqual(
                    answer.headers.get("www-authenticate"), page.headers.get("www-authenticate")
                )

    def test_page_of_the_operator(self) -> None:
        """Title, contact and links of the operator stand in the home page, escaped."""
        page = {
            "title": "Gate <1>",
            "contact": "help@example.org",
            "links": {"Docs & more": "https://docs.example.org/?a=1&b=2", "Who": "/whoami"},
        }
        body = InMemoryGateway({"page": page}).ask("GET /").body.decode()
        self.assertIn("<title>Gate &lt;1&gt;</title>", body)
        self.assertIn("<h1>Gate &lt;1&gt;</h1>", body)
        self.assertIn('<a href="mailto:help@example.org">help@example.org</a>', body)
        link = '<a href="https://docs.example.org/?a=1&amp;b=2">Docs &amp; more</a>'
        self.assertIn(link, body)
        self.assertNotIn("More", self.gateway.ask("GET /").body.decode())

    def test_contact_on_the_page_of_a_refusal(self) -> None:
        """A browser that is refused reads whom to ask, escaped."""
        browser: dict[str, Any] = {"Accept": "text/html"}
        for contact, shown in (
            ("help@example.org", '<a href="mailto:help@example.org">help@example.org</a>'),
            ("https://x.example/?a&b", '<a href="https://x.example/?a&amp;b">'),
            ("room <5>", "Contact: room &lt;5&gt;"),
            ("javascript:x@y", "Contact: javascript:x@y"),
        ):
            gateway = InMemoryGateway({"page": {"contact": contact}})
            self.assertIn(shown, gateway.ask("GET /whoami", **browser).body.decode())
            self.assertIn(shown, gateway.ask("GET /").body.decode())

    def test_links_run_nothing(self) -> None:
        """A link that is no URL and no path is a mistake: a browser could run it as a script."""
        for target in ("javascript:alert(1)", "//x.example", "data:text/html,x", "x", "http://"):
            with self.subTest(target):
                error = self.assertRaises(ConfigError, section.read, Page, {"links": {"a": target}})
                self.assertIn("must be a URL", str(error))

    def test_json_for_people(self) -> None:
        """Browsers and curl get JSON with indentation; other clients get the bytes as ever."""
        for path in ("/providers", "/augmenters", "/whoami", "/.well-known/jwks.json"):
            compact = self.gateway.ask(f"GET {path}", Authorization=ALICE)
            self.assertEqual(compact.body, json.dumps(compact.json()).encode())
            agents: list[dict[str, Any]] = [
                {"User_Agent": "curl/8.5.0"},
                {"Accept": "text/html,*/*"},
            ]
            for fields in agents:
                with self.subTest(path, fields=fields):
                    answer = self.gateway.ask(f"GET {path}", Authorization=ALICE, **fields)
                    self.assertTrue(answer.body.startswith(b"{\n  "))
                    self.assertEqual(answer.json(), compact.json())
                    varies = {"vary": "Accept, User-Agent"}
                    kept = {**compact.headers, "content-length": str(len(answer.body)), **varies}
                    # Another second may have begun between the two answers.
                    self.assertEqual({**answer.headers, "date": ""}, {**kept, "date": ""})

    def test_assets(self) -> None:
        """The logo and the icon are served."""
        self.assertIn(b"<svg", self.gateway.ask("GET /logo.svg").body)
        icon = self.gateway.ask("GET /favicon.ico")
        self.assertEqual(icon.headers["content-type"], "image/x-icon")
        self.assertEqual(icon.body[:4], b"\0\0\1\0")

    def test_jwks(self) -> None:
        """The key set has the public keys, and is empty with a shared secret."""
        answer = self.gateway.ask("GET /.well-known/jwks.json")
        self.assertEqual(answer.json(), {"keys": []})
        self.assertIn("max-age", answer.headers["cache-control"])

    def test_unknown(self) -> None:
        """404 and 405 are JSON; a 405 lists the allowed methods."""
        self.assertEqual(self.gateway.ask("GET /nowhere").json(), {"error": "Not found"})
        answer = self.gateway.ask("POST /authenticate", Content_Length="0")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"))
        self.assertEqual(answer.json(), {"error": "Method not allowed"})

    def test_no_second_reading_T12(self) -> None:
        """Encoded, doubled and relative paths are unknown, not normalized."""
        for path in (
            "/%61uthenticate",
            "//authenticate",
            "/authenticate/",
            "/./whoami",
            "/whoami%00",
        ):
            with self.subTest(path):
                self.assertEqual(self.gateway.ask(f"GET {path}", Authorization=ALICE).status, 404)

    def test_store_disabled(self) -> None:
        """Without a store the token routes answer 503 to authenticated clients."""
        for line in ("GET /token", "GET /tokens", "POST /tokens", "DELETE /token/x"):
            with self.subTest(line):
                answer = self.gateway.ask(line, Authorization=ALICE, Content_Length="0")
                self.assertEqual(answer.json(), {"error": "Token store is disabled"})
                self.assertEqual((answer.status, self.gateway.ask(line).status), (503, 401))
