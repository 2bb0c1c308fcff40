"""C{POST /authz}: a service asks whether the bearer of a token may do something, as with A3S."""

from __future__ import annotations

import json
from typing import Any

import jwt as pyjwt

from authotron.testing.worlds import NOW
from tests.web.conversations import ALICE, InMemoryGateway, basic
from tests.web.policy_case import BOB, PDP, STAFF, AskingCase


class AuthzCase(AskingCase):
    """Questions to C{POST /authz}."""

    def setUp(self) -> None:
        super().setUp()
        self.tokens = {who: self.token(who) for who in (ALICE, BOB)}

    def asked(self, resource: str, action: str = "GET", whose: str = BOB, **more: Any) -> str:
        """Return the status of an answer, with the reason of a refusal."""
        by = more.pop("by", PDP)
        given = {"token": self.tokens[whose], "resource": resource, "action": action}
        answer = self.post("/authz", {**given, "namespace": "/", **more}, by)
        return f"{answer.status} {answer.headers.get('x-auth-reason', '')}".strip()


class AnswerTests(AuthzCase):
    """What the answers say."""

    def test_allowed_and_denied(self) -> None:
        """An allowed request is a 204; any other is a 403 with its reason."""
        self.assertEqual(self.asked("/data/x"), "204")
        self.assertEqual(self.asked("/admin/x"), "403 no-matching-policy")
        self.assertEqual(self.asked("/admin/x", whose=ALICE), "204")
        self.assertEqual(self.asked("/data/secret/x"), "403 denied-by-policy")

    def test_not_cached(self) -> None:
        """No answer may be kept by a cache."""
        for resource in ("/data/x", "/admin/x", "/data//x"):
            given = {"token": self.tokens[BOB], "resource": resource, "action": "GET"}
            answer = self.post("/authz", {**given, "namespace": "/"})
            self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_id(self) -> None:
        """A permission with ids counts for a question with one of them; C{ID} is A3S's spelling."""
        self.assertEqual(self.asked("dog", "walk", ALICE, id="rex"), "204")
        self.assertEqual(self.asked("dog", "walk", ALICE, ID="rex"), "204")
        self.assertEqual(self.asked("dog", "walk", ALICE, id="odie"), "403 no-matching-policy")
        self.assertEqual(self.asked("dog", "walk", ALICE), "403 no-matching-policy")

    def test_context_of_an_asker(self) -> None:
        """An asker states the address, the namespace and the host of the request."""
        self.assertEqual(self.asked("/inside", ip="10.1.2.3"), "204")
        self.assertEqual(self.asked("/inside", IP="::ffff:10.1.2.3"), "204")
        self.assertEqual(self.asked("/inside", ip="192.0.2.1"), "403 network")
        self.assertEqual(self.asked("/inside"), "403 network")
        self.assertEqual(self.asked("/old", namespace="/archive"), "204")
        self.assertEqual(self.asked("/old"), "403 no-matching-policy")
        self.assertEqual(self.asked("/by-host", host="A.example.org:8443"), "204")
        self.assertEqual(self.asked("/by-host", host="b.example.org"), "403 no-matching-policy")

    def test_spellings_S_STATED(self) -> None:
        """No spelling of a path or a method hides a deny: it is the same path, or a 422."""
        for path in ("/data/secret/", "/data/./secret/x", "/data/x/../secret", "/data/%73ecret"):
            self.assertEqual(self.asked(path), "403 denied-by-policy", path)
        for path in (
            "/data//secret",
            "/data/%2573ecret",
            "/data/x%2F..%2Fsecret",
            "/data/secret;x",
        ):
            self.assertEqual(self.asked(path), "422", path)
        for path in ("/data/x?y", "/data/x#y", "/data/\\x", "/data/%3Bx", "/a" * 1001):
            self.assertEqual(self.asked(path), "422", path)
        for method in ("get", "GET ", " GET", "GE T", "GET\n", "G\u00c9T"):
            self.assertEqual(self.asked("/data/x", method), "422", method)
        for resource, action in (("dog ", "walk"), ("dog", "walk "), ("/data/x ", "GET")):
            self.assertEqual(self.asked(resource, action, ALICE, id="rex"), "422")

    def test_wildcards_S_STATED(self) -> None:
        """A question is about one resource and one verb, so one about a wildcard is a 422."""
        self.assertEqual(self.asked("*", whose=ALICE), "422")
        self.assertEqual(self.asked("/admin/x", "*", ALICE), "422")

    def test_restricted_token(self) -> None:
        """The limits of an API token count, with the stated address and host."""
        self.tokens[BOB] = self.token(BOB, networks=["10.0.0.0/8"], hosts=["a.example.org"])
        known = {"ip": "10.1.2.3", "host": "a.example.org"}
        self.assertEqual(self.asked("/data/x", **known), "204")
        for each in ({"ip": "10.1.2.3"}, {"host": "a.example.org"}, {**known, "ip": "11.0.0.1"}):
            self.assertEqual(self.asked("/data/x", **each), "403 restricted")

    def test_revoked_token_S_A3SAUTHZ(self) -> None:
        """A token that was revoked is a 401 at once."""
        self.assertEqual(self.asked("/data/x"), "204")
        line = f"DELETE /token/{self.tokens[BOB]}"
        self.assertEqual(self.gateway.ask(line, Authorization=BOB).status, 204)
        self.assertEqual(self.asked("/data/x"), "401")

    def test_mode(self) -> None:
        """The answer is what the rules say, also if the gateway only observes."""
        rules = {"rules": self.rules, "askers": ["asker"], "mode": "observe"}
        self.gateway = self.make(policy=rules)
        self.tokens[BOB] = self.token(BOB)
        self.assertEqual(self.asked("/admin/x"), "403 no-matching-policy")


class AskerTests(AuthzCase):
    """Who may ask."""

    def test_anonymous_S_ASKER(self) -> None:
        """Only an authenticated client may ask; the token in the body is no credential."""
        for by in ("", basic("alice", "wrong")):
            self.assertEqual(self.asked("/data/x", by=by), "401")

    def test_about_oneself_S_ASKER(self) -> None:
        """A client without a role of C{policy.askers} asks about its own tokens alone."""
        self.assertEqual(self.asked("/data/x", by=BOB), "204")
        self.assertEqual(self.asked("/data/x", by=ALICE), "403")
        self.assertEqual(self.asked("/data/x", whose=ALICE, by=BOB), "403")

    def test_no_askers_S_ASKER(self) -> None:
        """Unless roles are configured, every client asks about itself alone."""
        self.gateway = self.make(policy={"rules": self.rules})
        self.tokens[BOB] = self.token(BOB)
        self.assertEqual(self.asked("/data/x"), "403")
        self.assertEqual(self.asked("/data/x", by=BOB), "204")

    def test_token_without_the_role_S_ASKER(self) -> None:
        """An API token of an asker that leaves the role out may not ask about others."""
        for roles, expected in ((["asker"], "204"), ([], "403")):
            by = f"Bearer {self.token(PDP, roles=roles)}"
            self.assertEqual(self.asked("/data/x", by=by), expected)

    def test_context_of_others_S_ASKER(self) -> None:
        """Other clients cannot state an address or a namespace that the gateway does not know."""
        self.assertEqual(self.asked("/inside", by=BOB), "403 network")
        self.assertEqual(self.asked("/inside", by=BOB, ip="10.1.2.3"), "403")
        self.assertEqual(self.asked("/data/x", by=BOB, ip="192.0.2.7"), "204")
        self.assertEqual(self.asked("/data/x", by=BOB, ip="nonsense"), "403")
        self.assertEqual(self.asked("/old", by=BOB, namespace="/archive"), "403")

    def test_refusal_says_why(self) -> None:
        """The 403 of a client that may not ask says so, and has no reason of a policy."""
        given = {"token": self.tokens[BOB], "resource": "/x", "action": "GET", "namespace": "/"}
        answer = self.post("/authz", given, ALICE)
        self.assertNotIn("x-auth-reason", answer.headers)
        self.assertIn("policy.askers", answer.json()["problems"][0])
        [event] = self.named("policy.question.refused")
        self.assertEqual((event["by_username"], event["api"]), ("alice", "authz"))

    def test_audit_S_ASKER(self) -> None:
        """Each question is logged and counted: who asked what about whom, without the token."""
        self.asked("/data/secret/x")
        [event] = self.named("policy.asked")
        named = {key: event[key] for key in ("by_username", "about", "verb", "resource", "rule")}
        expected = ("pdp", "bob in realm internal", "GET", "/data/secret/x", "secret")
        self.assertEqual(tuple(named.values()), expected)
        self.assertNotIn(self.tokens[BOB], repr(event))
        text = self.gateway.metrics.text()[0].decode()
        self.assertIn('authotron_policy_questions_total{api="authz",result="deny"} 1', text)


class MalformedTests(AuthzCase):
    """Questions that cannot be answered."""

    def test_required_keys(self) -> None:
        """A missing, empty, unknown or duplicate key, or another type, is a 422 that names it."""
        whole = {"token": "x", "resource": "/x", "action": "GET", "namespace": "/"}
        for key in whole:
            for given in ({**whole, key: ""}, {k: v for k, v in whole.items() if k != key}):
                answer = self.post("/authz", given)
                self.assertEqual(answer.status, 422)
                self.assertEqual(answer.json()["problems"], [f"{key}: is required"])
        for more in ({"ip": 7}, {"id": None}, {"id": ["x"]}, {"Ip": "x"}, {"id": "a", "ID": "a"}):
            self.assertEqual(self.post("/authz", {**whole, **more}).status, 422, more)

    def test_values(self) -> None:
        """A namespace, an address or a host that is none is a 422."""
        for more in (
            {"namespace": "data"},
            {"namespace": "/" + "x" * 2000},
            {"namespace": "/a//b"},
            {"ip": "10.0.0"},
            {"host": "a b"},
        ):
            self.assertEqual(self.asked("/data/x", **more), "422", more)

    def test_host_needed(self) -> None:
        """If a rule depends on the host, the question must state it."""
        self.assertEqual(self.asked("/by-host"), "422")
        self.assertEqual(self.asked("/data/x"), "204")

    def test_body_S_QUESTION(self) -> None:
        """A body that is not strict JSON, or not an object, is a 400; another type is a 415."""
        for body in (b"", b"{", b"[]", b'{"a":1,"a":1}', b"\xff", b'{"id":' + b"[" * 100):
            self.assertEqual(self.raw("/authz", body).status, 400, body)
        self.assertEqual(self.raw("/authz", b"{}", kind="text/plain").status, 415)

    def test_many_mistakes_S_QUESTION(self) -> None:
        """A body of many mistakes gets a short answer."""
        body = json.dumps({str(number): 1 for number in range(5000)}).encode()
        self.assertLess(len(self.raw("/authz", body).body), 2000)

    def test_bad_token_S_QUESTION(self) -> None:
        """A token that is not valid is a 401 with a challenge; it cannot smuggle a credential."""
        for token in ("x", "aot_0123456789ab_x", f"x, {ALICE}", f"{self.tokens[BOB]} ", "ü", "a\n"):
            self.tokens["bad"] = token
            self.assertEqual(self.asked("/data/x", whose="bad"), "401", token)
        given = {"token": "x", "resource": "/x", "action": "GET", "namespace": "/"}
        answer = self.post("/authz", given)
        self.assertIn("www-authenticate", answer.headers)
        self.assertEqual(answer.json(), {"error": "The token is not valid"})


class AudienceTests(AuthzCase):
    """The audience that a question demands."""

    def test_opaque_token(self) -> None:
        """An API token names no audience, so it is not meant for the one that is demanded."""
        self.assertEqual(self.asked("/data/x", audience="app"), "401")

    def test_jwt(self) -> None:
        """A JWT must name the audience."""
        secret = "0123456789abcdef0123456789abcdef"
        provider = {
            "type": "jwt",
            "name": "issuer",
            "realm": "internal",
            "secret": secret,
            "roles_claims": ["roles"],
        }
        self.gateway = self.make(providers=[STAFF, provider])
        for named, expected in (("app", "204"), (["other", "app"], "204"), ("other", "401")):
            claims = {"sub": "carol", "aud": named, "exp": NOW + 60, "roles": ["reader"]}
            self.tokens["jwt"] = pyjwt.encode(claims, secret, "HS256")
            self.assertEqual(self.asked("/data/x", whose="jwt", audience="app"), expected)


class UnconfiguredTests(AuthzCase):
    """A gateway without policies."""

    def setUp(self) -> None:
        super().setUp()
        self.without = InMemoryGateway()

    def test_route_does_not_exist(self) -> None:
        """Without a section C{policy} the path is unknown, whatever the method and the body."""
        for line in ("GET /authz", "POST /authz", "OPTIONS /authz", "post /authz"):
            answer = self.without.ask(line, Authorization=ALICE)
            unknown = self.without.ask(line.replace("authz", "none"), Authorization=ALICE)
            del answer.headers["date"], unknown.headers["date"]
            self.assertEqual(answer, unknown)
        self.assertNotIn("/authz", self.without.metrics.text()[0].decode())

    def test_body_is_not_read(self) -> None:
        """Without a section C{policy} the answer does not wait for an announced body."""
        head = b"POST /authz HTTP/1.1\r\nHost: gate\r\nContent-Length: 5\r\n\r\n"
        self.assertEqual([each.status for each in self.without.say(head)], [404])
        self.assertEqual(self.gateway.say(head), [])

    def test_removed_by_a_reload(self) -> None:
        """A reload that removes the policies removes the route."""
        self.gateway.serving.gateway = self.without.serving.gateway
        self.assertEqual(self.asked("/data/x"), "404")
