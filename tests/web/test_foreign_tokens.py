"""JWTs of other issuers, as a whole gateway treats them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import jwt
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.plugin.interfaces import IProvider, IReachable
from authotron.providers import ecmwf_api
from authotron.telemetry import logs
from authotron.testing.issuers import CLAIMS, IDP, forged_jwt, key_set
from authotron.testing.remotes import Action, FakeRemote, Hang, ReceivedRequest, Respond
from authotron.testing.worlds import NOW, clock_at, world
from tests.providers import test_ecmwf_api, test_efas_api, test_http, test_introspection, test_jwt
from tests.providers.test_any_json import gathered
from tests.web.conversations import Answer, InMemoryGateway, basic

SECRET = "a secret of thirty-two bytes ..."
SHARED = {"type": "jwt", "name": "sso", "realm": "here", "secret": SECRET}


def signed(**claims: Any) -> str:
    return jwt.encode({**CLAIMS, **claims}, SECRET, "HS256")


def authenticate(gateway: InMemoryGateway, token: str) -> Answer:
    return gateway.ask("GET /authenticate", Authorization=f"Bearer {token}")


class GatewayCase(SynchronousTestCase):
    """A gateway that shares a secret with an issuer."""

    def authenticate(self, token: str, **over: Any) -> Answer:
        return authenticate(InMemoryGateway({"providers": [{**SHARED, **over}]}), token)

    def minted(self, answer: Answer) -> dict[str, Any]:
        self.assertEqual(answer.status, 200)
        token = answer.headers["authorization"].split()[1]
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        return claims


class ClaimShapeTests(GatewayCase):
    """Claims of unexpected shapes, from the request to the minted JWT."""

    def test_list_of_scopes_H_CLAIM(self) -> None:
        """A list of scopes and roles of any shape lock out no user."""
        claims = self.minted(self.authenticate(signed(scope=["read"], realm_access={"roles": "a"})))
        self.assertEqual((claims["scopes"], claims["roles"]), ({"sso": ["read"]}, ["a"]))
        odd_claims: list[dict[str, Any]] = [
            {"scope": 5},
            {"realm_access": 5},
            {"entitlements": {}},
            {"scp": {}},
        ]
        for odd in odd_claims:
            self.minted(self.authenticate(signed(**odd)))

    def test_empty_name_H_CLAIM(self) -> None:
        """An empty C{preferred_username} is a 401."""
        self.assertEqual(self.authenticate(signed(preferred_username="")).status, 401)

    def test_groups_once_H_GROUPS(self) -> None:
        """Groups that became roles are minted once."""
        groups = [f"group-{number:03}" for number in range(260)]
        answer = self.authenticate(signed(groups=groups), roles_claims=["groups"])
        claims = self.minted(answer)
        self.assertEqual(claims["roles"], groups)
        self.assertNotIn("groups", claims["attributes"])
        self.assertLess(len(answer.headers["authorization"]), 8_192)

    def test_both_values_W_ISS(self) -> None:
        """The log says which issuer or audience a JWT has, and which is configured."""
        for given, text in (
            ({"audience": ["gateway"]}, 'has ["other"], wanted one of ["gateway"]'),
            (
                {"issuer": f"{CLAIMS['iss']}/", "accepts": "any"},
                f'has "{CLAIMS["iss"]}", wanted "{CLAIMS["iss"]}/"; only the slash',
            ),
            ({"issuer": f"{CLAIMS['iss']}/"}, "only the slash at the end of the issuer differs"),
        ):
            self.patch(logs.log, "writes_debug", True)
            with capturedLogs() as logged:
                answer = self.authenticate(signed(aud=["other"]), **given)
            self.assertEqual(answer.status, 401)
            messages = " ".join(formatEvent(each) or "" for each in logged)
            self.assertIn(text, messages)


class ExpiryTests(GatewayCase):
    """The expiry of minted JWTs."""

    def test_within_leeway_S_LEEWAY(self) -> None:
        """Within the leeway the minted JWT expires at its end, and not in the past."""
        for over, end in ((0, 60), (1, 59), (30, 30), (59, 1)):
            claims = self.minted(self.authenticate(signed(exp=NOW - over)))
            self.assertEqual(
                (claims["exp"], claims["attributes"]["exp"]), (NOW + end, str(NOW + end))
            )
        for exp in (NOW - 60, NOW - 59.5, 0):
            self.assertEqual(self.authenticate(signed(exp=exp)).status, 401)

    def test_other_leeway_D2(self) -> None:
        """The leeway is the configured one; a token that has not expired gains nothing."""
        claims = self.minted(self.authenticate(signed(exp=NOW - 200), leeway="5m"))
        self.assertEqual(claims["exp"], NOW + 100)
        self.assertEqual(self.authenticate(signed(exp=NOW), leeway=0).status, 401)
        self.assertEqual(self.minted(self.authenticate(signed(exp=NOW + 9)))["exp"], NOW + 9)

    def test_over_the_end_S_LEEWAY(self) -> None:
        """The decision for a token that expires is not reused in the leeway."""
        gateway, bearer = InMemoryGateway({"providers": [SHARED]}), f"Bearer {signed(exp=NOW + 15)}"
        ends = []
        for _ in range(8):
            answer = gateway.ask("GET /authenticate", Authorization=bearer)
            if answer.status == 200:
                claims = self.minted(answer)
                ends.append(claims["exp"] - NOW)
                self.assertGreater(claims["exp"], gateway.clock.seconds())
            gateway.clock.advance(10)
        self.assertEqual(ends, [15, 15, *[75] * 6])
        answer = gateway.ask("GET /authenticate", Authorization=bearer)
        self.assertEqual(answer.status, 401)

    def test_without_a_gap_S_LEEWAY(self) -> None:
        """A token is accepted in every second until the end of its leeway."""
        gateway, bearer = (
            InMemoryGateway({"providers": [SHARED]}),
            f"Bearer {signed(exp=NOW + 2.5)}",
        )
        for _ in range(62):
            answer = gateway.ask("GET /authenticate", Authorization=bearer)
            self.assertGreater(self.minted(answer)["exp"], gateway.clock.seconds())
            gateway.clock.advance(0.7)
        gateway.clock.advance(62.5)
        self.assertEqual(gateway.ask("GET /authenticate", Authorization=bearer).status, 401)

    def test_attribute_T81e_H_EXP(self) -> None:
        """An attribute C{exp} in the past is a 401; one that is not a number is ignored."""
        for text, status in (("12345", 401), ("-1", 401), (str(NOW), 401), ("x", 200), ("", 200)):
            augmenter = {
                "type": "plain_advanced",
                "name": "ends",
                "realm": "internal",
                "match": {"username": ["alice"]},
                "augment": {"attributes": {"exp": text}},
            }
            user = {"username": "alice", "password": "wonder"}
            plain = {"type": "plain", "name": "staff", "realm": "internal", "users": [user]}
            gateway = InMemoryGateway({"providers": [plain], "augmenters": [augmenter]})
            for path in ("/authenticate", "/whoami"):
                answer = gateway.ask(f"GET {path}", Authorization=basic("alice", "wonder"))
                self.assertEqual(answer.status, status, text)


class UnsignedTests(GatewayCase):
    """JWTs with malformed members, before their signature is verified."""

    def test_odd_members_T81a(self) -> None:
        """A JWT with malformed members is a 401, never a 500."""
        gateway = InMemoryGateway({"providers": [SHARED]})
        odd: tuple[Any, ...] = ([], {}, ["JWT"], 5, True, 1e308, "\x00", [[[]]])
        for value in odd:
            for name in ("typ", "alg", "kid", "iss", "aud", "exp", "azp", "at_hash", "events"):
                for token in (
                    forged_jwt({"alg": "HS256", name: value}),
                    forged_jwt({"alg": "HS256"}, {**CLAIMS, name: value}),
                ):
                    self.assertEqual(authenticate(gateway, token).status, 401, f"{name} {value}")

    def test_half_pair_T94(self) -> None:
        """A signed JWT with half of a surrogate pair is a 401."""
        self.assertEqual(self.authenticate(signed(sub="\ud800")).status, 401)
        self.assertEqual(self.authenticate(signed(x={"\udc00": 1})).status, 401)


class StrangersTests(SynchronousTestCase):
    """The providers to which a bearer token is shown."""

    def ask(self, token: str, providers: Sequence[IProvider], realm: str | None = None) -> Any:
        deferred = gathered(providers, Credential("bearer", token), realm)
        return self.successResultOf(deferred.addErrback(lambda failure: failure.value))

    def strangers(self, remote: FakeRemote, **given: Any) -> list[IProvider]:
        return [
            test_jwt.provider(remote, issuer=CLAIMS["iss"]),
            ecmwf_api.make(test_ecmwf_api.config(**given), world(agents=remote)),
            test_efas_api.provider(remote),
            test_introspection.provider(remote, issuer="https://oauth.example"),
            test_http.provider(remote, accepts="opaque"),
        ]

    def test_unknown_issuer_T81c(self) -> None:
        """A JWT of an issuer without a provider is not shown to any provider."""
        remote = FakeRemote(everything_is_good)
        for token in (
            IDP.sign(iss="https://other.example"),
            IDP.sign(iss=CLAIMS["iss"] + "/"),
            forged_jwt({"alg": "none"}, {"iss": ["x"]}),
            forged_jwt({"alg": []}, {"iss": 5}),
            forged_jwt({"alg": "dir", "enc": "A256GCM", "iss": "https://other.example"}, b"\xff"),
            forged_jwt({"alg": "RS256"}, b'{"iss": "x", "iss": "y"}'),
            forged_jwt({"alg": "RS256"}, b"\xff"),
            forged_jwt({"alg": "RS256", "cty": "JWT"}, IDP.sign().encode()),
            IDP.sign(iss="https://other.example", typ="Refresh"),
        ):
            outcome = self.ask(token, self.strangers(remote))
            self.assertIsInstance(outcome, Rejected)
            self.assertEqual(remote.requests, [])

    def test_malformed_T81c(self) -> None:
        """A JWT whose header only a lenient parser accepts is not shown to any provider."""
        remote = FakeRemote(everything_is_good)
        header, claims, signature = IDP.sign(iss="https://other.example").split(".")
        twice, long = b'{"alg": "RS256", "alg": "ES256"}', {"alg": "RS256", "kid": "k" * 20_000}
        padded = b64encode(b'{"alg":"RS256","kid":">>>???"}')
        for token in (
            f"{header}{'=' * (-len(header) % 4 or 4)}.{claims}.{signature}",
            f"{padded.decode()}.{claims}.{signature}",
            forged_jwt(twice),
            forged_jwt(long),
            forged_jwt('{"alg": "RS256"}'.encode("utf-8-sig")),
            forged_jwt('{"alg": "RS256"}'.encode("utf-16")),
            forged_jwt('{"alg": "RS256", "kid": "é"}'.encode("latin-1")),
            forged_jwt(b'{"alg": "RS256", "x": NaN}'),
        ):
            self.assertIsInstance(self.ask(token, self.strangers(remote)), Rejected)
            self.assertEqual(remote.requests, [], token)

    def test_other_realm_T81c(self) -> None:
        """A JWT is not shown to a requested realm other than that of its issuer's provider."""
        remote = FakeRemote(everything_is_good)
        [_, *others] = self.strangers(remote)
        elsewhere = test_jwt.provider(remote, issuer=CLAIMS["iss"], realm="elsewhere")
        self.assertIsInstance(self.ask(IDP.sign(), [elsewhere, *others], "here"), Rejected)
        self.assertEqual(remote.requests, [])

    def test_accepts_any_T81c(self) -> None:
        """C{accepts: any} shows all tokens to a provider."""
        remote = FakeRemote(everything_is_good)
        providers = self.strangers(remote, accepts="any")
        found = self.ask(IDP.sign(iss="https://other.example"), providers)
        self.assertIsInstance(found, Authentication)
        self.assertEqual(remote.addresses(), ["api.example/v1/who-am-i"])

    def test_introspection_accepts_any_T81c(self) -> None:
        """C{accepts: any} beside an issuer shows all tokens to introspection."""
        for given, asked in (({}, 0), ({"accepts": "any"}, 1)):
            remote = FakeRemote(everything_is_good)
            judge = test_introspection.provider(remote, issuer="https://oauth.example", **given)
            self.ask(IDP.sign(iss="https://other.example"), [judge])
            self.assertEqual(len(remote.requests), asked)

    def test_no_issuer_T81c(self) -> None:
        """A JWT without an issuer, or an opaque token, is shown to all that may know it."""
        for token in (IDP.sign(iss=None), forged_jwt({"alg": "dir", "enc": "A256GCM"}, b"\xff")):
            remote = FakeRemote(everything_is_good)
            judge = test_efas_api.provider(remote)
            jwt_judge = test_jwt.provider(remote, issuer=CLAIMS["iss"])
            self.assertIsInstance(self.ask(token, [jwt_judge, judge]), Authentication)

    def test_provider_without_issuer_T81c(self) -> None:
        """A C{jwt} provider without an issuer is asked about every issuer."""
        remote = FakeRemote(everything_is_good)
        providers = [test_jwt.provider(remote), *self.strangers(remote)[1:]]
        found = self.ask(IDP.sign(iss="https://other.example"), providers)
        self.assertIsInstance(found, Authentication)
        self.assertEqual(remote.addresses(), ["idp.example/certs"])


class WaitingTests(SynchronousTestCase):
    """Requests while a key set is being fetched."""

    def test_keys_do_not_come_D5(self) -> None:
        """If a key set cannot be fetched, a remote provider is asked meanwhile."""
        hanging, remote = FakeRemote(lambda _: Hang()), FakeRemote(everything_is_good)
        clock, token = clock_at(NOW), Credential("bearer", IDP.sign())
        providers = [test_jwt.provider(hanging), test_introspection.provider(remote)]
        deferred = gathered(providers, token, clock=clock)
        clock.advance(0)
        self.assertEqual(self.successResultOf(deferred).identity.username, "tess")
        self.assertEqual(len(hanging.requests), 1)
        hanging.finish_all(b"{}")

    def test_keys_at_hand_D5(self) -> None:
        """A JWT that cached keys verify is not shown to a remote provider."""
        remote = FakeRemote(everything_is_good)
        judge = test_jwt.provider(remote)
        self.successResultOf(Deferred.fromCoroutine(IReachable(judge).check_reachable()))
        providers = [test_introspection.provider(remote), judge]
        self.successResultOf(gathered(providers, Credential("bearer", IDP.sign())))
        self.assertEqual(remote.addresses(), ["idp.example/certs"])


def everything_is_good(asked: ReceivedRequest) -> Action:
    """Answer every request with keys, or with an identity for every token."""
    if "certs" in asked.address:
        return Respond(key_set(IDP))
    return Respond({"active": True, "username": "tess", "uid": "tess", "sub": "tess"})
