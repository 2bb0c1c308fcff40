"""Rules that require a stronger or more recent login (RFC 9470), at every entrance."""

from __future__ import annotations

from typing import Any

import jwt

from authotron.testing.issuers import CLAIMS
from authotron.testing.worlds import NOW
from tests.web.conversations import ALICE, Answer, InMemoryGateway, basic
from tests.web.fastcgi.conversations import FastCgiGateway
from tests.web.grpc.dialogue import Proxy
from tests.web.test_policies import PROXIED, PolicyCase, stated

SECRET = "a secret of thirty-two bytes ..."
SSO = {"type": "jwt", "name": "sso", "realm": "here", "secret": SECRET}
TESS = [["username=tess"]]
RULES: list[dict[str, Any]] = [
    {"name": "read", "subject": TESS, "permissions": ["/data/**:GET"]},
    {
        "name": "admin",
        "subject": TESS,
        "permissions": ["/admin/**:*"],
        "require": {"acr": ["gold", "platinum"], "max_age": "5m"},
    },
    {"name": "strong", "subject": TESS, "permissions": ["/strong:*"], "require": {"acr": ["gold"]}},
    {"name": "fresh", "subject": TESS, "permissions": ["/fresh:*"], "require": {"max_age": 60}},
    {"name": "never", "subject": TESS, "permissions": ["-/admin/keys:*"]},
]
REASON = "insufficient-user-authentication"
WANTED = f"401 {REASON}"
ERROR = (
    'Bearer error="insufficient_user_authentication", error_description="The policy allows this '
    'request only after a stronger or more recent login."'
)


def with_login(**policy: Any) -> dict[str, Any]:
    """Return a configuration whose identity provider is trusted by a shared secret."""
    return {
        "server": {"trusted_proxies": PROXIED},
        "providers": [SSO],
        "policy": {"rules": RULES, **policy},
    }


def bearer(**claims: Any) -> str:
    """Return the credential of tess, with further claims."""
    token = jwt.encode({**CLAIMS, "exp": NOW + 3600, **claims}, SECRET, "HS256")
    return f"Bearer {token}"


class StepUpCase(PolicyCase):
    """A gateway that accepts JWTs, which state how a user has logged in."""

    def setUp(self) -> None:
        super().setUp()
        self.make(with_login())

    def came(self, uri: str, **claims: Any) -> str:
        """Return the status and the reason of the answer to tess, by the claims of her JWT."""
        return self.ruled(uri, who=bearer(**claims))


class RequirementTests(StepUpCase):
    """Which logins a rule accepts."""

    def test_acr(self) -> None:
        """A rule with C{acr} allows logins of these authentication contexts, and no other ones."""
        self.assertEqual(self.came("/strong", acr="gold"), "200")
        for acr in ("silver", "Gold", "gold ", "", ["gold"], {"gold": 1}, 1, None):
            self.assertEqual(self.came("/strong", acr=acr), WANTED, acr)
        self.assertEqual(self.came("/strong"), WANTED)

    def test_max_age(self) -> None:
        """A rule with C{max_age} allows requests until that many seconds after the login."""
        for age, expected in ((0, "200"), (60, "200"), (61, WANTED), (10**9, WANTED)):
            self.assertEqual(self.came("/fresh", auth_time=NOW - age), expected, age)
        self.assertEqual(self.came("/fresh"), WANTED)

    def test_odd_times_S_STEPUP(self) -> None:
        """A time that is malformed, or lies in the future, is not the time of a login."""
        for time in (f"{NOW}", True, -1, [NOW], NOW + 61, NOW * 1_000, 10**30):
            self.assertEqual(self.came("/fresh", auth_time=time), WANTED, str(time)[:40])
        self.assertEqual(self.came("/fresh", auth_time=NOW + 60), "200")

    def test_both(self) -> None:
        """A rule with C{acr} and C{max_age} requires a login that is strong and recent."""
        self.assertEqual(self.came("/admin/x", acr="platinum", auth_time=NOW - 300), "200")
        self.assertEqual(self.came("/admin/x", acr="gold", auth_time=NOW - 301), WANTED)
        self.assertEqual(self.came("/admin/x", acr="silver", auth_time=NOW), WANTED)

    def test_time_passes_S_STEPUP(self) -> None:
        """An equal request of the same client is refused once its login is too old."""
        token = bearer(auth_time=NOW - 30)
        self.assertEqual(self.ruled("/fresh", who=token), "200")
        self.gateway.clock.advance(30)
        self.assertEqual(self.ruled("/fresh", who=token), "200")
        self.gateway.clock.advance(1)
        self.assertEqual(self.ruled("/fresh", who=token), WANTED)
        self.assertEqual(self.ruled("/data/x", who=token), "200")

    def test_attributes_do_not_matter(self) -> None:
        """A provider need not make attributes of C{acr} and C{auth_time}."""
        given = with_login()
        given["providers"] = [{**SSO, "attributes": {"include": ["email"]}}]
        self.make(given)
        self.assertEqual(self.came("/strong", acr="gold"), "200")


class OtherRuleTests(StepUpCase):
    """Rules that say something else about the same request."""

    def test_deny_wins(self) -> None:
        """A request that a rule denies is a 403, as no other login would help."""
        self.assertEqual(self.came("/admin/keys"), "403 denied-by-policy")

    def test_no_rule(self) -> None:
        """A request that no rule would allow is a 403, whatever the login."""
        self.assertEqual(self.came("/other"), "403 no-matching-policy")

    def test_allowed_without(self) -> None:
        """A request that another rule allows without C{require} passes."""
        rules = [*RULES, {"name": "all", "subject": TESS, "permissions": ["/strong:GET"]}]
        self.make(with_login(rules=rules))
        self.assertEqual(self.came("/strong"), "200")

    def test_other_limits(self) -> None:
        """A client is asked for another login only if the rule allows the request afterwards."""
        for limit, reason in (
            ({"networks": ["10.0.0.0/8"]}, "network"),
            ({"expires": "2026-01-01T00:00:00Z"}, "time"),
            ({"methods": ["POST"]}, "no-matching-policy"),
        ):
            self.make(with_login(rules=[{**RULES[2], **limit}]))
            self.assertEqual(self.came("/strong"), f"403 {reason}")

    def test_first_of_several(self) -> None:
        """Of several rules that require a login, the first one says what is wanted."""
        first = {**RULES[2], "name": "first", "require": {"acr": ["silver"]}}
        self.make(with_login(rules=[first, RULES[2]]))
        self.assertEqual(self.came("/strong", acr="gold"), "200")
        self.assertEqual(self.came("/strong", acr="silver"), "200")
        answer = self.ask(Authorization=bearer(), **stated("/strong"))
        self.assertEqual(answer.headers["www-authenticate"], f'{ERROR}, acr_values="silver"')

    def test_default_allow(self) -> None:
        """The default does not allow a request for which a rule requires another login."""
        self.make(with_login(default="allow"))
        self.assertEqual(self.came("/strong"), WANTED)
        self.assertEqual(self.came("/other"), "200")

    def test_observe(self) -> None:
        """With C{mode: observe} the request passes, and the missing login is logged."""
        self.make(with_login(mode="observe"))
        self.assertEqual(self.came("/strong"), "200")
        [event, *_] = self.named("policy.request.observed")
        self.assertEqual((event["reason"], event["rule"]), (REASON, "strong"))
        self.assertEqual(self.counted(), {f"observed {REASON}": 4})


class OtherCredentialTests(StepUpCase):
    """Credentials that do not stem from a login."""

    def test_api_token_S_STEPUP(self) -> None:
        """An API token does not count as a login, even if its owner made it after a strong one."""
        store = {"enabled": True, "type": "memory", "compat": False}
        self.make({**with_login(), "store": store})
        strong = bearer(acr="gold", auth_time=NOW)
        created = self.gateway.post("/tokens", {}, Authorization=strong)
        self.assertEqual(created.status, 201, created.body)
        token = f"Bearer {created.json()['token']}"
        self.assertEqual(self.ruled("/data/x", who=token), "200")
        for uri in ("/strong", "/fresh"):
            self.assertEqual(self.ruled(uri, who=strong), "200")
            self.assertEqual(self.ruled(uri, who=token), WANTED)

    def test_password(self) -> None:
        """A password that comes with each request is not a login."""
        given = with_login(rules=[{**RULES[3], "subject": [["username=alice"]]}])
        users = [{"username": "alice", "password": "wonder"}]
        given["providers"] = [{"type": "plain", "name": "p", "realm": "here", "users": users}]
        self.make(given)
        self.assertEqual(self.ruled("/fresh", who=ALICE), WANTED)

    def test_augmenter_S_STEPUP(self) -> None:
        """An attribute that an augmenter or a provider adds says nothing about the login."""
        given = with_login()
        section = {"type": "plain_advanced", "name": "more", "realm": "here"}
        added = {"match": {"username": ["tess"]}, "augment": {"attributes": {"acr": "gold"}}}
        given["augmenters"] = [{**section, **added}]
        self.make(given)
        self.assertEqual(self.came("/strong"), WANTED)


class ApiTests(StepUpCase):
    """A service that asks whether the bearer of a token may do something."""

    def test_authz(self) -> None:
        """C{POST /authz} judges the login of the token; a weak one is a 403 with its reason."""
        given = with_login(askers=["asker"])
        users = [{"username": "pdp", "password": "point", "roles": ["asker"]}]
        plain = {"type": "plain", "name": "staff", "realm": "internal", "users": users}
        self.make({**given, "providers": [SSO, plain], "store": {"type": "memory"}})
        for claims, expected in (({"acr": "gold"}, 204), ({"acr": "silver"}, 403), ({}, 403)):
            token = bearer(**claims).partition(" ")[2]
            content = {"token": token, "resource": "/strong", "action": "GET", "namespace": "/"}
            answer = self.gateway.post("/authz", content, Authorization=basic("pdp", "point"))
            self.assertEqual(answer.status, expected)
            if expected != 204:
                self.assertEqual(answer.headers["x-auth-reason"], REASON)

    def test_evaluation(self) -> None:
        """An evaluation of AuthZEN says which login is needed."""
        content = {
            "subject": {"type": "user", "id": "tess"},
            "action": {"name": "GET"},
            "resource": {"type": "path", "id": "/admin/x"},
        }
        for claims, expected in (
            (
                {},
                {
                    "decision": False,
                    "context": {
                        "reason": REASON,
                        "acr_values": "gold platinum",
                        "max_age": 300,
                    },
                },
            ),
            ({"acr": "gold", "auth_time": NOW}, {"decision": True}),
        ):
            who = bearer(**claims)
            answer = self.gateway.post("/access/v1/evaluation", content, Authorization=who)
            self.assertEqual((answer.status, answer.json()), (200, expected))


class AnswerTests(StepUpCase):
    """What the refusal says."""

    def refusal(self, uri: str, **headers: str) -> Answer:
        return self.ask(Authorization=bearer(), **headers, **stated(uri))

    def test_challenge(self) -> None:
        """The challenge names the error of RFC 9470, and what the login must be."""
        for uri, wanted in (
            ("/admin/x", 'acr_values="gold platinum", max_age="300"'),
            ("/strong", 'acr_values="gold"'),
            ("/fresh", 'max_age="60"'),
        ):
            answer = self.refusal(uri)
            self.assertEqual(answer.status, 401)
            self.assertEqual(answer.headers["www-authenticate"], f"{ERROR}, {wanted}")
            self.assertEqual(answer.headers["cache-control"], "no-store")
            self.assertEqual(answer.json(), {"error": "Unauthorized access"})
            self.assertNotIn("authorization", answer.headers)

    def test_problem_details(self) -> None:
        """A client that asks for JSON gets problem details that say what is wanted."""
        answer = self.refusal("/admin/x", Accept="application/json")
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertIn('max_age="300"', answer.headers["www-authenticate"])
        expected = {
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "The policy allows this request only after a stronger or more recent login.",
            "reason": REASON,
            "acr_values": "gold platinum",
            "max_age": 300,
        }
        self.assertEqual(answer.json(), expected)

    def test_counted_and_logged(self) -> None:
        """The refusal is counted by its reason, and is an audit event with the rule."""
        self.refusal("/strong")
        self.assertEqual(self.counted(), {f"deny {REASON}": 4})
        event = self.named("policy.request.denied")[0]
        self.assertEqual((event["reason"], event["rule"]), (REASON, "strong"))

    def test_contracts(self) -> None:
        """Each contract passes the challenge on."""
        for name in ("traefik", "caddy", "haproxy", "nginx"):
            line = f"GET /auth/{name}" + ("/strong" if name == "nginx" else "")
            headers = {
                "X_Forwarded_Method": "GET",
                "X_Forwarded_Uri": "/strong",
                "X_Forwarded_Host": "app.example.org",
                "X_Authotron_Method": "GET",
                "X_Authotron_Path": "/strong",
                "X_Authotron_Uri": "/strong",
                "X_Authotron_Host": "app.example.org",
                "X_Original_Method": "GET",
            }
            answer = self.ask(line, Authorization=bearer(), **headers)
            self.assertEqual((name, answer.status), (name, 401))
            self.assertIn('acr_values="gold"', answer.headers["www-authenticate"])

    def test_fastcgi(self) -> None:
        """A question by FastCGI gets the challenge, too."""
        gateway = FastCgiGateway(with_login())
        asked = {"REQUEST_URI": "/strong"}
        found = gateway.ask(HTTP_AUTHORIZATION=bearer(acr="gold"), **asked)
        self.assertEqual(found.status, 200)
        refused = gateway.ask(HTTP_AUTHORIZATION=bearer(), **asked)
        self.assertEqual((refused.status, refused.headers["X-Auth-Reason"]), (401, REASON))
        self.assertEqual(refused.headers["WWW-Authenticate"], f'{ERROR}, acr_values="gold"')

    def test_grpc(self) -> None:
        """A question by gRPC gets the challenge, too."""
        proxy = Proxy(InMemoryGateway(with_login()))
        found = proxy.check(path="/strong", authorization=bearer(acr="gold"))
        self.assertEqual(found.says, 200)
        refused = proxy.check(path="/strong", authorization=bearer())
        self.assertEqual(refused.says, 401)
        headers = {name.lower(): value for name, value in refused.refusal.items()}
        self.assertEqual(headers["x-auth-reason"], REASON)
        self.assertEqual(headers["www-authenticate"], f'{ERROR}, acr_values="gold"')
