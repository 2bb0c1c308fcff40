"""The answers to proxies, which are the same at every entrance."""

from __future__ import annotations

from typing import Any

import jwt
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import BadIdentity, Rejected, Unavailable
from tests.config.cases import BASE
from tests.web.conversations import ALICE, Failing, basic
from tests.web.entrances import Answer, Entrances
from tests.web.proxies.test_profiles import EVERY, answering

LINES = (
    "{} /authenticate",
    "{} /auth/nginx",
    "{} /auth/nginx/x",
    "{} /auth/traefik",
    "{} /auth/caddy",
    "{} /auth/caddy/x?y",
    "{} /auth/envoy/x",
    "{} /auth/haproxy",
    "{} /auth/skipper",
    "{} /auth/apache",
    "{} /auth/apisix",
)
"""The questions of all contracts."""

STATED = {"X_Forwarded_Method": "GET", "X_Forwarded_Uri": "/x"}
PREFLIGHT = {
    "Origin": "https://evil.example",
    "Access_Control_Request_Method": "POST",
    "Access_Control_Request_Headers": "authorization",
}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class AnswersCase(SynchronousTestCase):
    """One gateway, asked at every entrance and by every contract."""

    def setUp(self) -> None:
        self.entrances = Entrances(answering("auth-request"))

    def ask(
        self, method: str = "GET", authorization: str = ALICE, **headers: str
    ) -> dict[str, Answer]:
        """Ask by every contract, and return the answers by contract and entrance."""
        found = self.entrances.ask(f"{method} /auth/envoy/x", authorization, **headers)
        for line in LINES:
            if method in ("GET", "HEAD") or not line.endswith("/authenticate"):
                asked = line.format(method)
                answers = self.entrances.ask_http(asked, authorization, **STATED, **headers)
                found.update({f"{asked} {where}": answer for where, answer in answers.items()})
        return found

    def providers(self, *providers: Any) -> None:
        authenticator: Any = self.entrances.gateway.serving.gateway.authenticator
        authenticator.providers = providers

    def assert_refused(self, answer: Answer, *statuses: int) -> None:
        """Check that a refusal has no trace of an identity or a JWT."""
        self.assertIn(answer.status, statuses)
        self.assertFalse({"authorization", *EVERY} & {*answer.headers})
        self.assertNotIn("eyJ", str(answer))


class MethodTests(AnswersCase):
    """Questions about requests that are not ordinary."""

    def test_preflight_S_PREFLIGHT(self) -> None:
        """A preflight has no credentials, so it gets a 401 as any other request without them."""
        for method, headers in (("OPTIONS", PREFLIGHT), ("OPTIONS", {}), ("GET", PREFLIGHT)):
            for where, answer in self.ask(method, "", **headers).items():
                with self.subTest(where):
                    self.assert_refused(answer, 401)
                    self.assertIn("www-authenticate", answer.headers)
                    self.assertNotIn("access-control", str(answer.headers))

    def test_options_S_PREFLIGHT(self) -> None:
        """OPTIONS with a credential is answered like any other method."""
        for password, status in (("wonder", 200), ("guess", 401)):
            for where, answer in self.ask("OPTIONS", basic("alice", password), **PREFLIGHT).items():
                with self.subTest(where):
                    self.assertEqual(answer.status, status)
                    self.assertEqual("authorization" in answer.headers, status == 200)
                    self.assertNotIn("access-control", str(answer.headers))

    def test_web_socket_N_CORS(self) -> None:
        """The opening request of a WebSocket is answered like any other, and never with 101."""
        for password, status in (("wonder", 200), ("guess", 401)):
            for where, answer in self.ask("GET", basic("alice", password), **UPGRADE).items():
                with self.subTest(where):
                    self.assertEqual(answer.status, status)
                    self.assertNotIn("upgrade", answer.headers)

    def test_web_socket_keeps_the_connection_N_CORS(self) -> None:
        """C{Upgrade} neither ends a connection of the fast path nor leads it away."""
        gateway = self.entrances.gateway
        fields = "".join(
            f"{name.replace('_', '-')}: {value}\r\n" for name, value in UPGRADE.items()
        )
        head = f"GET /authenticate HTTP/1.1\r\nHost: g\r\nAuthorization: {ALICE}\r\n{fields}\r\n"
        channel, wire = gateway.connect(gateway.entrance)
        for _ in range(2):
            channel.dataReceived(head.encode())
        self.assertEqual(wire.value().count(b"HTTP/1.1 200 OK"), 2)
        self.assertFalse(wire.disconnecting)
        self.assertEqual(gateway.handed_over(), 0)


class RefusalTests(AnswersCase):
    """What a refusal says."""

    def test_failures_T60(self) -> None:
        """Whatever fails, no contract gets a 200, an identity or a JWT."""
        for error, status in (
            (Rejected("canary"), 401),
            (Unavailable("canary"), 503),
            (BadIdentity("canary"), 503),
            (RuntimeError("canary"), 503),
            (UnicodeDecodeError("utf-8", b"canary", 0, 1, "canary"), 503),
        ):
            self.entrances = Entrances(answering("auth-request"))
            self.providers(Failing(error))
            for where, answer in self.ask().items():
                with self.subTest(where, error=error):
                    self.assert_refused(answer, status)
                    self.assertNotIn("canary", str(answer))
            self.flushLoggedErrors()

    def test_signer_T60(self) -> None:
        """If no JWT can be signed, no contract gets a 200."""

        class Broken:
            max_lifetime = 60.0
            first_read = None

            def mint(self, *_: object) -> str:
                raise RuntimeError("canary")

        decisions: Any = self.entrances.gateway.serving.gateway.decisions
        decisions._minter = Broken()
        for answer in self.ask().values():
            self.assert_refused(answer, 500)
        self.flushLoggedErrors()

    def test_no_rule_applies_T20(self) -> None:
        """
        A request to which none of the hosts of a limited token applies is a 403 at every entrance:
        neither an error nor a 404, and never a 200.
        """
        entrances = Entrances({"store": {"type": "memory"}})
        gateway = entrances.gateway
        for hosts, status in ((["other.example.org"], 403), (["app.example.org"], 200)):
            made = gateway.post("/tokens", {"hosts": hosts}, Authorization=ALICE).json()
            bearer = f"Bearer {made['token']}"
            found = entrances.ask("GET /auth/nginx", bearer, X_Forwarded_Host="app.example.org")
            self.assertEqual({answer.status for answer in found.values()}, {status})
            if status != 200:
                for answer in found.values():
                    self.assert_refused(answer, status)

    def test_one_text_T64(self) -> None:
        """Unknown users and wrong passwords get the same answer, whichever provider refused."""
        seen: dict[str, set[str]] = {}
        for credential in (
            basic("alice", "guess"),
            basic("stranger", "guess"),
            basic("alice", ""),
            "Bearer unknown",
            "",
        ):
            for where, answer in self.ask(authorization=credential).items():
                seen.setdefault(where, set()).add(str(answer))
                self.assert_refused(answer, 401)
        for where, answers in seen.items():
            self.assertEqual(len(answers), 1, where)

    def test_no_redirect_T65(self) -> None:
        """No question is answered with a redirect, whatever target the client names."""
        for target in ("//evil.example", "/\\evil.example", "/%09/evil.example", "https:evil"):
            headers = {"X_Auth_Request_Redirect": target, "Referer": target}
            for line in LINES:
                asked = f"{line.format('GET')}?rd={target}&redirect={target}".replace("\\", "%5c")
                for credential in (ALICE, ""):
                    found = self.entrances.ask_http(asked, credential, **STATED, **headers)
                    found.update(self.entrances.ask("GET /auth/envoy/x", credential, **headers))
                    for where, answer in found.items():
                        with self.subTest(where, line=asked):
                            self.assertIn(answer.status, {200, 401})
                            self.assertNotIn("location", answer.headers)
                            self.assertNotIn("evil", str(answer))


class TokenTests(AnswersCase):
    """The JWT of a 200."""

    def test_verified_T63(self) -> None:
        """Every contract gets a JWT that names its algorithm, has an id, and can be verified."""
        for answer in self.ask().values():
            token = answer.headers["authorization"].removeprefix("Bearer ")
            self.assertEqual(jwt.get_unverified_header(token), {"alg": "HS256", "typ": "JWT"})
            claims = jwt.decode(
                token, BASE["jwt"]["secret"], ["HS256"], {"verify_exp": False, "verify_iat": False}
            )
            self.assertEqual((claims["sub"], claims["iss"]), ("internal-alice", "gate"))
            self.assertGreater(claims["exp"], claims["iat"])
            self.assertTrue(claims["jti"])


class AuthorizationTests(SynchronousTestCase):
    """Several credentials in one question."""

    OTHER = basic("eve", "eve")

    def statuses(self, *values: str, **section: str) -> set[int]:
        """Ask with C{Authorization} headers at both entrances, and return the statuses."""
        contracts = [{"type": "traefik", **section}]
        entrances = Entrances({"server": {"contracts": contracts}})
        lines = [f"Authorization: {value}\r\n" for value in values]
        stated = "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /x\r\n"
        head = f"GET /auth/traefik HTTP/1.1\r\nHost: g\r\n{stated}{''.join(lines)}\r\n"
        gateway = entrances.gateway
        return {
            answer.status
            for _ in range(2)
            for site in (gateway.entrance, gateway.public)
            for answer in gateway.say(head.encode(), site)
        }

    def test_first_T23(self) -> None:
        """By default the first header counts; a header may have several credentials."""
        self.assertEqual(self.statuses(ALICE, self.OTHER), {200})
        self.assertEqual(self.statuses(self.OTHER, ALICE), {401})
        self.assertEqual(self.statuses(f"{ALICE}, Bearer x"), {200})

    def test_refused_T23(self) -> None:
        """A contract that refuses them answers 400 to two headers, and to two in one header."""
        for values in (
            (ALICE, self.OTHER),
            (self.OTHER, ALICE),
            (ALICE, ALICE),
            (ALICE, ""),
            (f"{ALICE}, {self.OTHER}",),
            (f"{ALICE},{ALICE}",),
            (f"{ALICE}, Bearer x",),
            (f"{ALICE},",),
        ):
            self.assertEqual(self.statuses(*values, authorization="refuse"), {400}, values)
        self.assertEqual(self.statuses(ALICE, authorization="refuse"), {200})
        self.assertEqual(self.statuses(self.OTHER, authorization="refuse"), {401})
        self.assertEqual(self.statuses(authorization="refuse"), {401})
