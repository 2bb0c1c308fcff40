"""The headers that name an identity to backends, at every entrance."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.web.conversations import ALICE, basic
from tests.web.entrances import Answer, Entrances

PROFILES = {
    "jwt": (),
    "legacy": ("x-auth-username", "x-auth-realm", "x-auth-roles"),
    "remote-user": ("remote-user", "remote-groups", "remote-name", "remote-email"),
    "auth-request": (
        "x-auth-request-user",
        "x-auth-request-email",
        "x-auth-request-groups",
        "x-auth-request-preferred-username",
        "x-auth-request-access-token",
    ),
    "custom": ("x-who", "x-teams", "x-mail", "x-scopes", "x-jwt"),
}
CUSTOM = {
    "X-Who": "user:{sub}",
    "X-Teams": "{roles}",
    "X-Mail": "{attributes.mail}",
    "X-Scopes": "{scopes.files}",
    "X-Jwt": "{jwt}",
}
EVERY = {name for names in PROFILES.values() for name in names}


CONTRACTS = {
    "caddy": {"profile": "remote-user"},
    "envoy": {"profile": "auth-request"},
    "fastcgi": {"profile": "jwt"},
    "grpc": {"profile": "custom"},
}


def answering(profile: str, **over: Any) -> dict[str, Any]:
    """Return a configuration with a header profile."""
    answers = {"profile": profile, **({"custom": CUSTOM} if profile == "custom" else {})}
    return {"server": {"answers": {**answers, **over}}}


def people(**user: Any) -> dict[str, Any]:
    """Return a configuration whose only user has some roles and attributes."""
    attributes = user.pop("attributes", None)
    users = [{"username": "alice", "password": "wonder", **user}]
    provider = {"type": "plain", "name": "staff", "realm": "internal", "users": users}
    found: dict[str, Any] = {"providers": [provider]}
    if attributes:
        augment = {"type": "plain_advanced", "name": "more", "realm": "internal"}
        match = {"username": ["alice"]}
        found["augmenters"] = [{**augment, "match": match, "augment": {"attributes": attributes}}]
    return found


def identity_of(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "authorization"}


class ProfileTests(SynchronousTestCase):
    """Which headers a 200 has."""

    def test_complete_set_T59(self) -> None:
        """
        Every profile sends all of its headers, once and empty if unknown, with the JWT, and names
        the headers of the other profiles for removal.
        """
        for profile, names in PROFILES.items():
            entrances = Entrances(answering(profile))
            for where, answer in entrances.ask().items():
                with self.subTest(profile, entrance=where):
                    self.assertEqual(answer.status, 200)
                    self.assertTrue(answer.headers["authorization"].startswith("Bearer ey"))
                    self.assertEqual([*identity_of(answer)], [*names])
                    empty = [name for name, value in identity_of(answer).items() if not value]
                    self.assertEqual(bool(names), bool(empty))
            envoys = {**entrances.ask_http("GET /auth/envoy/x"), "grpc": entrances.ask()["grpc"]}
            for answer in envoys.values():
                others = {name for name in EVERY if not name.startswith(("x-who", "x-j"))}
                others -= {"x-teams", "x-mail", "x-scopes", *names}
                self.assertEqual(set(answer.removed), others)

    def test_values(self) -> None:
        """The headers say what the claims of the JWT say."""
        found = {"attributes": {"email": "a@example.org", "name": "Alice A."}, "roles": ["x", "y"]}
        for profile, expected in (
            (
                "remote-user",
                {
                    "remote-user": "alice",
                    "remote-groups": "x,y",
                    "remote-name": "Alice A.",
                    "remote-email": "a@example.org",
                },
            ),
            (
                "auth-request",
                {
                    "x-auth-request-user": "alice",
                    "x-auth-request-email": "a@example.org",
                    "x-auth-request-groups": "x,y",
                    "x-auth-request-preferred-username": "alice",
                },
            ),
            ("custom", {"x-who": "user:internal-alice", "x-teams": "x,y", "x-mail": ""}),
        ):
            entrances = Entrances({**answering(profile), **people(**found)})
            for where, answer in entrances.ask().items():
                with self.subTest(profile, entrance=where):
                    headers = identity_of(answer)
                    self.assertEqual({name: headers[name] for name in expected}, expected)
                    for name in ("x-auth-request-access-token", "x-jwt"):
                        if name in headers:
                            jwt = answer.headers["authorization"].removeprefix("Bearer ")
                            self.assertEqual(headers[name], jwt)

    def test_refusals_have_no_identity(self) -> None:
        """No refusal has a header of any profile, nor a JWT."""
        for profile in PROFILES:
            entrances = Entrances(answering(profile))
            for credential in ("", basic("alice", "wrong"), "x", "Bearer y"):
                answers = entrances.ask(authorization=credential)
                envoy = entrances.ask_http("GET /auth/envoy/x", credential)
                for answer in (*answers.values(), *envoy.values()):
                    self.assertEqual(answer.status, 401)
                    self.assertFalse({"authorization", *EVERY} & {*answer.headers})
                    self.assertNotIn("x-envoy-auth-headers-to-remove", answer.headers)

    def test_clients_own_headers_T59(self) -> None:
        """Identity headers of the client never come back."""
        spoofed = {name.replace("-", "_"): "mallory" for name in EVERY}
        del spoofed["x_auth_realm"]  # narrows the choice of providers
        for profile in PROFILES:
            for answer in Entrances(answering(profile)).ask(**spoofed).values():
                self.assertEqual(answer.status, 200)
                self.assertNotIn("mallory", str(answer))

    def test_legacy_switch(self) -> None:
        """C{include_legacy_headers} is the profile C{legacy}."""
        by_switch = Entrances({"include_legacy_headers": True}).ask()
        by_profile = Entrances(answering("legacy")).ask()
        for where, answer in by_switch.items():
            self.assertEqual(identity_of(answer), identity_of(by_profile[where]))
            self.assertEqual([*identity_of(answer)], [*PROFILES["legacy"]])

    def test_default(self) -> None:
        """Without any setting a 200 has the JWT alone; Apache gets the legacy variables as well."""
        found = {where: {*identity_of(answer)} for where, answer in Entrances().ask().items()}
        legacy = {*PROFILES["legacy"]}
        self.assertEqual(
            found, {"site": set(), "fast path": set(), "grpc": set(), "fastcgi": legacy}
        )


class ContractTests(SynchronousTestCase):
    """Other profiles for some contracts."""

    def setUp(self) -> None:
        over = answering("legacy", contracts=CONTRACTS, custom=CUSTOM)
        self.entrances = Entrances(over)

    def test_each_its_own_T59(self) -> None:
        """Each contract gets the complete set of its own profile, whichever asked first."""
        stated = {"X_Forwarded_Method": "GET", "X_Forwarded_Uri": "/x"}
        for _ in range(2):
            for line, profile in (
                ("GET /authenticate", "legacy"),
                ("GET /auth/nginx", "legacy"),
                ("GET /auth/caddy", "remote-user"),
                ("GET /auth/caddy/x", "remote-user"),
                ("GET /auth/envoy/x", "auth-request"),
                ("GET /auth/traefik", "legacy"),
            ):
                for where, answer in self.entrances.ask_http(line, **stated).items():
                    with self.subTest(line, entrance=where):
                        self.assertEqual([*identity_of(answer)], [*PROFILES[profile]])
                        self.assertTrue(answer.headers["authorization"].startswith("Bearer ey"))
            answers = self.entrances.ask()
            self.assertEqual([*identity_of(answers["fastcgi"])], [])
            self.assertEqual([*identity_of(answers["grpc"])], [*PROFILES["custom"]])

    def test_one_jwt(self) -> None:
        """All contracts get the same JWT while a decision is cached."""
        seen = {
            answer.headers["authorization"]
            for line in ("GET /authenticate", "GET /auth/envoy/x", "GET /auth/caddy/x")
            for answer in self.entrances.ask_http(line).values()
        }
        self.assertEqual(len(seen), 1)

    def test_memory_T83a(self) -> None:
        """The budget of the cache counts the replies of all profiles."""
        sizes = []
        for contracts in ({}, {"caddy": {"profile": "auth-request"}}):
            entrances = Entrances(answering("jwt", contracts=contracts))
            [answer, _] = entrances.ask_http().values()
            sizes.append(entrances.gateway.serving.gateway.decisions.remembered_bytes())
        jwt = len(answer.headers["authorization"])
        self.assertGreater(sizes[1] - sizes[0], 2 * jwt)


ODD: dict[str, Any] = {
    "attributes": {"name": " Zoë, 100%\u2028", "email": "zoë@example.org"},
    "roles": ["a,b", "é", "a%2Cb"],
}


class EncodingTests(SynchronousTestCase):
    """What is not ASCII, and what separates."""

    def headers(self, **answers: Any) -> list[dict[str, str]]:
        entrances = Entrances({**answering("remote-user", **answers), **people(**ODD)})
        found = [identity_of(answer) for answer in entrances.ask().values()]
        # HTTP/1.1 has bytes, which the tests read as Latin-1; the other protocols have UTF-8.
        return [{name: _as_utf_8(value) for name, value in each.items()} for each in found]

    def test_percent_T61(self) -> None:
        """By default everything but printable ASCII is percent-encoded, as are commas in roles."""
        for headers in self.headers():
            self.assertEqual(headers["remote-groups"], "a%2Cb,%C3%A9,a%252Cb")
            self.assertEqual(headers["remote-email"], "zo%C3%AB@example.org")
            self.assertEqual(headers["remote-name"], "%20Zo%C3%AB, 100%25%E2%80%A8")

    def test_utf_8_T61(self) -> None:
        """With C{utf-8} names are sent as they are; a comma inside of a role stays encoded."""
        for headers in self.headers(encoding="utf-8"):
            self.assertEqual(headers["remote-groups"], "a%2Cb,é,a%252Cb")
            self.assertEqual(headers["remote-email"], "zoë@example.org")
            self.assertEqual(headers["remote-name"].strip(), "Zoë, 100%")

    def test_never_split_T61(self) -> None:
        """Line ends in roles and attributes add no header at any entrance."""
        user = {
            "roles": ["x\r\nX-Evil: 1", "y"],
            "attributes": {"name": "n\r\nX-Evil: 1", "email": "e\0\n"},
        }
        for profile, names in PROFILES.items():
            for encoding in ("percent", "utf-8"):
                over = {**answering(profile, encoding=encoding), **people(**user)}
                for answer in Entrances(over).ask().values():
                    self.assertEqual(answer.status, 200)
                    self.assertEqual([*identity_of(answer)], [*names])


def _as_utf_8(value: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


class CredentialTests(SynchronousTestCase):
    """The JWT of the answers."""

    def test_never_the_clients_own_credential_T59(self) -> None:
        """No header of any profile contains what the client presented."""
        for profile in PROFILES:
            for answer in Entrances(answering(profile)).ask().values():
                self.assertNotIn(ALICE.partition(" ")[2], str(answer))
