"""Policies behind the real nginx with the shipped example: who may do what, in two namespaces."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import jwt
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.functional.proxies.shipped import Nginx
from tests.functional.proxy import Backend
from tests.waiting import until

USERS: list[dict[str, Any]] = [
    {"username": "alice", "password": "wonder", "roles": ["operator"]},
    {"username": "bob", "password": "builder", "roles": ["reader"]},
    {"username": "carol", "password": "christmas"},
]
PROVIDERS = [{"name": "local", "type": "plain", "realm": "here", "users": USERS}]
RULES: list[dict[str, Any]] = [
    {"name": "read", "subject": [["role=reader"]], "permissions": ["/files/**:GET,HEAD"]},
    {"name": "all", "subject": [["role=operator"]], "permissions": ["/**:*"]},
    {"name": "no secrets", "subject": [["realm=here"]], "permissions": ["-/files/secret/**:*"]},
    {
        "name": "archive",
        "namespace": "/archive",
        "subject": [["username=carol"]],
        "permissions": ["/**:GET"],
    },
]
LOCATIONS = """
    location /archived/ {
        set $space "/archive";
        proxy_pass http://backend;
    }
    location / {
        set $space "/";
        proxy_pass http://backend;
    }
"""
REASON = """
    auth_request /_authotron;
    auth_request_set $reason $upstream_http_x_auth_reason;
    add_header X-Auth-Reason $reason always;
"""
CHANGES = {
    "    location / {\n        proxy_pass http://backend;\n    }\n": LOCATIONS,
    "proxy_method HEAD;": "proxy_method HEAD; proxy_set_header X-Space $space;",
    "    auth_request /_authotron;": REASON,
}
TABLE = (
    ("alice", "GET", "/files/x", "200"),
    ("bob", "GET", "/files/x", "200"),
    ("carol", "GET", "/files/x", "403 no-matching-policy"),
    ("alice", "DELETE", "/admin/users", "200"),
    ("bob", "DELETE", "/admin/users", "403 no-matching-policy"),
    ("bob", "POST", "/files/x", "403 no-matching-policy"),
    ("alice", "GET", "/files/secret", "403 denied-by-policy"),
    ("alice", "GET", "/files/%73ecret/?x=1", "403 denied-by-policy"),
    ("alice", "GET", "/admin/../files/secret", "403 denied-by-policy"),
    ("carol", "GET", "/archived/x", "200"),
    ("carol", "POST", "/archived/x", "403 no-matching-policy"),
    ("bob", "GET", "/archived/x", "403 no-matching-policy"),
    ("bob, wrong", "GET", "/files/x", "401"),
    ("", "GET", "/files/x", "401"),
)
PASSWORDS = {user["username"]: str(user["password"]) for user in USERS}
SPOOFED = {
    "X-Space": "/archive",
    "X-Original-URI": "/files/x",
    "X-Original-Method": "GET",
    "X-Auth-Reason": "none",
}


class PoliciesTests(SynchronousTestCase):
    """Three people, two namespaces, and one table of what they may do."""

    def start(self, others: dict[str, Any] | None = None, **policy: Any) -> None:
        folder = Path(self.mktemp()).absolute()
        trusted = {"trusted_proxies": ["127.0.0.1/32"]}
        section = {"rules": RULES, "facts": {"namespace": "X-Space"}, **policy}
        given = {"providers": PROVIDERS, "server": trusted, **(others or {})}
        self.daemon = Daemon(folder).configure(**given, policy=section)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        backend = Backend(folder).start()
        self.addCleanup(backend.stop)
        nginx = Nginx(folder / "nginx", self.daemon.port, backend.port, CHANGES).start()
        self.addCleanup(nginx.stop)
        self.port = nginx.port

    def ask(self, who: str, method: str, path: str) -> str:
        """Ask with headers that a client made up; return the status and the reason."""
        headers = {**SPOOFED}
        if who:
            headers["Authorization"] = wire.basic(who, PASSWORDS.get(who, "guess"))
        answer = wire.ask(self.port, path, headers, method)
        return f"{answer.status} {answer.header('X-Auth-Reason') or ''}".strip()

    def test_enforced(self) -> None:
        """Each person may do what the table says, whatever headers they send."""
        self.start()
        for who, method, path, expected in TABLE * 2:
            with self.subTest(who=who, method=method, path=path):
                self.assertEqual(self.ask(who, method, path), expected)

    def test_step_up(self) -> None:
        """Nginx passes on which login a rule requires, and the reason."""
        rule = {
            "name": "fresh",
            "subject": [["realm=sso"]],
            "permissions": ["/files/**:GET"],
            "require": {"acr": ["gold"], "max_age": "5m"},
        }
        secret = "a secret of thirty-two bytes ..."
        sso = {"name": "sso", "type": "jwt", "realm": "sso", "secret": secret}
        self.start({"providers": [sso]}, rules=[rule])
        now = int(time.time())  # noqa: TID251 - the gateway reads the clock of the machine
        for login, expected in (
            ({"acr": "gold", "auth_time": now}, 200),
            ({"acr": "gold", "auth_time": now - 3_600}, 401),
            ({"acr": "silver", "auth_time": now}, 401),
            ({}, 401),
        ):
            claims = {"iss": "idp", "sub": "tess", "exp": now + 300, **login}
            token = jwt.encode(claims, secret, "HS256")
            answer = wire.ask(self.port, "/files/x", {"Authorization": f"Bearer {token}"})
            self.assertEqual(answer.status, expected)
            if answer.status != 200:
                challenge = answer.header("WWW-Authenticate") or ""
                self.assertIn('error="insufficient_user_authentication"', challenge)
                self.assertTrue(challenge.endswith('acr_values="gold", max_age="300"'), challenge)

    def test_observed(self) -> None:
        """With mode: observe nothing changes, and each refusal is logged."""
        self.start(mode="observe")
        for who, method, path, expected in TABLE:
            status = "401" if expected == "401" else "200"
            self.assertEqual(self.ask(who, method, path), status, path)
        refused = [each for *_, each in TABLE if each.startswith("403")]
        until(
            lambda: self.daemon.log().count("would be denied by the policy") >= len(refused),
            "logged",
        )

    def test_reload(self) -> None:
        """A reload with a mistake in the rules keeps the old ones; a good one replaces them."""
        self.start()
        self.assertEqual(self.ask("bob", "GET", "/files/x"), "200")
        for rules, logged, expected in (
            (
                [{**RULES[0], "permissions": ["/files/**"]}],
                "policy.rules[0].permissions[0]: the permission has no colon",
                "200",
            ),
            ([RULES[1]], "configuration reloaded", "403 no-matching-policy"),
        ):
            self.daemon.configure(
                providers=PROVIDERS,
                server={"trusted_proxies": ["127.0.0.1/32"]},
                policy={"rules": rules, "facts": {"namespace": "X-Space"}},
            )
            self.daemon.tell(signal.SIGHUP)
            self.daemon.logged(logged)
            self.assertEqual(self.ask("bob", "GET", "/files/x"), expected)

    def test_claims(self) -> None:
        """Rules see the claims that a provider chooses, and the service gets the same ones."""
        robot = {
            "token": "t" * 40,
            "username": "Robbie",
            "roles": ["reader"],
            "attributes": {"groups": '["Ops","net"]', "iat": "5", "@group:name": "admins"},
        }
        claims = {"ignore": ["iat="], "rename": {"groups": "group"}, "lowercase": ["group"]}
        provider = {"type": "static-token", "name": "robots", "realm": "here", "tokens": [robot]}
        rules = [
            {
                "name": "ops",
                "subject": [["group=ops", "@source:name=robots"]],
                "permissions": ["/ops:GET"],
            },
            {"name": "forged", "subject": [["@group:name=admins"]], "permissions": ["/**:*"]},
            {"name": "left out", "subject": [["iat=5"]], "permissions": ["/**:*"]},
        ]
        groups = [{"name": "admins", "subject": [["username=alice"]]}]
        others = {"providers": [{**provider, "claims": claims}], "jwt": {"emit_claims": True}}
        self.start(others, rules=rules, groups=groups)
        headers = {"Authorization": "Bearer " + "t" * 40}
        answer = wire.ask(self.port, "/ops", headers)
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            answer.json()["claims"]["identity"][1:],
            [
                "@source:name=robots",
                "@source:realm=here",
                "@source:type=static-token",
                "group=net",
                "group=ops",
                "realm=here",
                "role=reader",
                "username=Robbie",
            ],
        )
        self.assertEqual(wire.ask(self.port, "/other", headers).status, 403)
