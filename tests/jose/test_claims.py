"""How the claims of a JWT are checked and mapped to an identity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.jose.claim_roles import KEYCLOAK_ROLES
from authotron.jose.claims import ClaimRules, effective_expiry
from authotron.jose.claims_config import ClaimsConfig, missing_checks
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.binding import Binding
from authotron.model.errors import ConfigError, Rejected
from authotron.model.identity import Addition, Identity
from authotron.providers import jwt
from authotron.testing.issuers import CLAIMS
from authotron.testing.worlds import NOW

NOT_TIMES: list[Any] = ["1800000300", True, [NOW], {}, -1, 10**400, float("inf"), float("nan")]


ANY_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: (
        some.lists(inner, max_size=4)
        | some.dictionaries(some.text() | some.sampled_from(("roles", "value", "name")), inner)
    ),
    max_leaves=12,
)
"""A value that any claim may have."""

STRICT = {
    "type": "jwt",
    "name": "sso",
    "realm": "here",
    "cert_uri": "https://idp.example/certs",
    "iam_realm": "x",
}
"""The section of a provider in a configuration of auth-o-tron."""


def strict(given: dict[str, Any] | None = None, **claims: Any) -> Identity:
    """Return the identity that a provider of auth-o-tron's configuration reads."""
    rules = ClaimRules("sso", "here", section.read(jwt.Config, {**STRICT, **(given or {})}))
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value != "absent"}
    return rules.authentication(said, NOW).identity


def warnings_of(read: Callable[[], object]) -> list[str]:
    """List the warnings about claims that a call logs."""
    with capturedLogs() as logged:
        read()
    events = (each for each in logged if str(each.get("event")).startswith("auth.claims."))
    return [formatEvent(each) or "" for each in events]


def identity(given: dict[str, Any] | None = None, **claims: Any) -> Identity:
    """Who the usual claims with these over them belong to."""
    return authentication(given, **claims).identity


def authentication(given: dict[str, Any] | None = None, **claims: Any) -> Authentication:
    """What is made of the usual claims with these over them."""
    rules = ClaimRules("sso", "here", section.read(ClaimsConfig, given or {}))
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value != "absent"}
    return rules.authentication(said, NOW)


class ClaimsTestCase(SynchronousTestCase):
    """Checks claims that must be refused."""

    def refused(self, given: dict[str, Any] | None = None, **claims: Any) -> None:
        with self.subTest(str(claims)[:60]):
            self.assertRaises(Rejected, identity, given, **claims)


class TokenTests(ClaimsTestCase):
    """The id and the time of issue of a JWT."""

    def test_id_and_time(self) -> None:
        found = authentication(jti="a1", iat=NOW - 5)
        self.assertEqual(found.token, PresentedToken("a1", NOW - 5))

    def test_neither(self) -> None:
        self.assertIsNone(authentication().token)

    def test_odd_ids(self) -> None:
        """An id that cannot be revoked counts as no id."""
        for odd in ("", 5, ["a1"], "x" * 300):
            self.assertIsNone(authentication(jti=odd).token)

    def test_kept_by_augmenters(self) -> None:
        """An addition to the identity leaves the id of the token as it is."""
        found = authentication(jti="a1").enriched(Addition(("reader",)))
        self.assertEqual(found.token, PresentedToken("a1", None))


class TimeTests(ClaimsTestCase):
    """The times at which a JWT is valid."""

    def test_exp_and_leeway_T35(self) -> None:
        """A JWT is refused after its C{exp} and the leeway."""
        self.assertEqual(identity(exp=NOW - 59).username, "tess")
        self.refused(exp=NOW - 60)
        self.refused({"leeway": 0}, exp=NOW)
        self.refused({"leeway": "10s"}, exp=NOW - 10)

    def test_times_in_reasons(self) -> None:
        """The reason says how long ago a JWT expired, or when it is valid, and the leeway."""
        said: tuple[tuple[dict[str, Any], str], ...] = (
            ({"exp": NOW - 3600}, "expired 3600 s ago, and the leeway is 60 s"),
            ({"nbf": NOW + 90}, "not valid yet (nbf), but in 90 s, and the leeway is 60 s"),
        )
        for claims, reason in said:
            error = self.assertRaises(Rejected, identity, **claims)
            self.assertIn(reason, str(error))

    def test_expiry_is_passed_on_T41(self) -> None:
        """The identity expires when the JWT does, and is cached no longer."""
        known = authentication(exp=NOW + 3.5)
        self.assertEqual((known.expires, known.fresh_until), (NOW + 3.5, NOW + 3.5))

    def test_within_leeway_S_LEEWAY(self) -> None:
        """A JWT that expired within the leeway is valid until the end of the leeway."""
        for exp in (NOW + 0.5, NOW, NOW - 1, NOW - 30, NOW - 59, NOW - 0.5):
            known = authentication(exp=exp)
            self.assertEqual((known.expires, known.fresh_until), (exp + 60, exp + 60))
            self.assertEqual(known.expires_at(), int(exp + 60))
            self.assertGreater(known.expires_at() or 0, NOW)
        known = authentication({"leeway": "5m", "attributes": {"ignore": ["exp"]}}, exp=NOW - 299)
        self.assertEqual((known.expires_at(), "exp" in known.identity.attributes), (NOW + 1, False))

    def test_before_leeway_S_LEEWAY(self) -> None:
        """A JWT that has not expired does not live longer because of the leeway."""
        for exp in (NOW + 1, NOW + 1.5, NOW + 300):
            self.assertEqual(authentication(exp=exp).expires, exp)
        self.assertEqual(identity(exp=NOW + 300).attributes["exp"], str(NOW + 300))

    @given(some.floats(0, 2_000), some.floats(0, 2_000), some.floats(0, 600))
    def test_any_moment_S_LEEWAY(self, said: float, now: float, leeway: float) -> None:
        """The effective expiry is after now, and between the claimed one and that with leeway."""
        try:
            counts = effective_expiry(said, now, leeway)
        except Rejected:
            self.assertGreaterEqual(now, said + leeway)
        else:
            assert counts is not None
            self.assertTrue(now < counts)
            self.assertTrue(said <= counts <= said + leeway)

    def test_exp_is_missing_or_malformed_T35(self) -> None:
        """A JWT without C{exp}, or with one that is not a timestamp, is refused."""
        for value in ("absent", None, *NOT_TIMES):
            self.refused(exp=value)

    def test_nbf_and_leeway_T35(self) -> None:
        """A JWT is refused before its C{nbf} less the leeway."""
        self.assertEqual(identity(nbf=NOW + 60).username, "tess")
        self.refused(nbf=NOW + 61)
        for value in NOT_TIMES:
            self.refused(nbf=value)

    def test_iat_in_the_future_T35(self) -> None:
        """A JWT whose C{iat} is in the future is accepted, because clocks differ."""
        self.assertEqual(identity(iat=NOW + 3000).username, "tess")


class PurposeTests(ClaimsTestCase):
    """The issuer, audience, scopes and type that a JWT must have."""

    def test_issuer_T34(self) -> None:
        """The issuer must be equal to the configured one, character for character."""
        issuer = "https://idp.example/realms/x"
        self.assertEqual(identity({"issuer": issuer}).username, "tess")
        for other in (issuer + "/", issuer[:-1], issuer.upper(), [issuer], "", None, "absent", 5):
            self.refused({"issuer": issuer}, iss=other)

    def test_audience_T34(self) -> None:
        """One of the configured audiences must be in C{aud}."""
        for good in ("a", "b", ["x", "b"]):
            self.assertEqual(identity({"audience": ["a", "b"]}, aud=good).username, "tess")
        for bad in ("c", "", "ab", ["c"], [], None, "absent", 5, [["a"]], {"a": 1}):
            self.refused({"audience": ["a", "b"]}, aud=bad)
        self.refused({"audience": "ab"}, aud="a")

    def test_audience_not_configured(self) -> None:
        """C{aud} is not checked if no audience is configured."""
        for audience in ("account", ["x"], "absent", None, []):
            self.assertEqual(identity(aud=audience).username, "tess")

    def test_scopes(self) -> None:
        """C{scope} is split into words, and must contain all required scopes."""
        self.assertEqual(identity(scope=" a  b a ").scopes, {"sso": ("a", "b", "a")})
        self.assertEqual(identity(scope="absent").scopes, {"sso": ()})
        self.assertEqual(identity({"required_scopes": ["b"]}, scope="a b").username, "tess")
        self.refused({"required_scopes": ["a", "b"]}, scope="a ab")

    def test_shapes_of_scopes_H_CLAIM(self) -> None:
        """Scopes are a string or a list, in C{scope}, C{scp} or C{scopes}; others are left out."""
        shapes: list[tuple[Any, tuple[str, ...]]] = [
            (["a", "b"], ("a", "b")),
            ("a b", ("a", "b")),
            (["a b", 5, None, ["c"]], ("a", "b")),
            (5, ()),
            ({"a": True}, ()),
            (True, ()),
            (None, ()),
            ([], ()),
        ]
        for name in ("scope", "scp", "scopes"):
            for value, found in shapes:
                claims = {"scope": "absent", name: value}
                self.assertEqual(identity(**claims).scopes, {"sso": found}, claims)
        both = identity(scope="a a b", scp=["b", "c"], scopes="c d")
        self.assertEqual(both.scopes, {"sso": ("a", "a", "b", "c", "d")})

    def test_required_scopes_H_AUDCLAIM(self) -> None:
        """A required scope may be in any scope claim, and what is required is never optional."""
        wanted = {"required_scopes": ["read"]}
        claims: list[dict[str, Any]] = [
            {"scope": ["read"]},
            {"scp": "read write"},
            {"scp": ["read"]},
            {"scope": "openid", "scopes": ["read"]},
        ]
        for each in claims:
            self.assertEqual(identity(wanted, **{"scope": "absent", **each}).username, "tess")
        for scope in ("absent", None, 5, {"read": True}, "reader", ["readers"], [["read"]]):
            self.refused(wanted, scope=scope)

    def test_malformed_claims_H_CLAIM(self) -> None:
        """A malformed C{iat}, C{nbf}, C{iss}, C{aud} or C{cnf} refuses a JWT in any case."""
        malformed: dict[str, tuple[Any, ...]] = {
            "iat": ("yesterday", -1, True, [NOW], {}, "1800000000"),
            "nbf": ("yesterday", -1, True, [NOW], {}, "1800000000"),
            "iss": (5, True, ["https://idp.example"], {}),
            "aud": (5, True, {}, {"a": 1}, [5], ["a", None], [["a"]]),
            "cnf": ("x", 5, True, [], {}, {"jkt": 5}, {"x5t#S256": []}, {"jwk": "x"}),
        }
        for name, values in malformed.items():
            for value in values:
                self.refused(None, **{name: value})
        for name in malformed:
            self.assertEqual(identity(**{name: None}).username, "tess")
        for good in ({"jkt": "x"}, {"x5t#S256": "x"}, {"jwk": {"kty": "EC"}}, {"kid": "x"}):
            self.assertEqual(identity(cnf=good).username, "tess")

    def test_binding_S_CNF(self) -> None:
        """With C{bound_tokens} a JWT is bound as C{cnf} says, or refused if this is not clear."""
        key = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        held = {"bound_tokens": True}
        for cnf, binding in (
            ({"jkt": key}, Binding(key)),
            ({"x5t#S256": key}, Binding(None, key)),
            (None, None),
        ):
            token = authentication(held, cnf=cnf, jti="j").token
            self.assertEqual(token, PresentedToken("j", binding=binding))
        found = authentication(held, cnf={"jkt": key}).token
        self.assertEqual(found, PresentedToken(binding=Binding(key)))
        for odd in ({"jkt": "short"}, {"kid": "k"}, {"jkt": key, "jwk": {}}):
            self.assertRaises(Rejected, authentication, held, cnf=odd)
            self.assertIsNone(authentication(cnf=odd).token)

    def test_malformed_types_H_CLAIM(self) -> None:
        """A C{typ} that is not a string, or a malformed C{crit}, refuses a JWT in any case."""
        for typ in (None, "at+jwt"):
            rules = ClaimRules("sso", "here", section.read(ClaimsConfig, {"typ": typ}))
            headers: list[dict[str, Any]] = [{"typ": 5}, {"typ": ["at+jwt"]}]
            critical: list[Any] = [[], "x", 5, None, [5], {}]
            headers += [{"typ": "at+jwt", "crit": crit} for crit in critical]
            for header in headers:
                with self.subTest(f"{typ} {header}"):
                    self.assertRaises(Rejected, rules.check_type, header, {})
            claims: list[Any] = [5, ["at+jwt"], {}, True]
            for claim in claims:
                self.assertRaises(Rejected, rules.check_type, {"typ": "at+jwt"}, {"typ": claim})

    def test_both_values_W_ISS(self) -> None:
        """A refusal for issuer or audience says what the JWT has, and what is configured."""
        issuer = "https://idp.example/realms/x"
        slash = "; only the slash at the end of the issuer differs"
        other = "; the setting `audience_claim: client_id` would accept the JWT"
        cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
            (
                {"issuer": issuer},
                {"iss": issuer + "/"},
                f'the JWT is from another issuer (iss): has "{issuer}/", wanted "{issuer}"{slash}',
            ),
            (
                {"issuer": issuer},
                {"iss": "absent"},
                f'the JWT is from another issuer (iss): iss is missing, wanted "{issuer}"',
            ),
            (
                {"audience": ["gateway"]},
                {"aud": ["other", "account"]},
                (
                    "the JWT is for another audience: "
                    'aud has ["other", "account"], wanted one of ["gateway"]'
                ),
            ),
            (
                {"audience": "gateway"},
                {"client_id": "gateway"},
                (
                    "the JWT is for another audience: "
                    f'aud is missing, wanted one of ["gateway"]{other}'
                ),
            ),
        ]
        for rules, claims, message in cases:
            with self.assertRaises(Rejected) as raised:
                identity(rules, **claims)
            self.assertEqual(str(raised.exception), message)

    def test_long_values_W_ISS(self) -> None:
        """A refusal shows the beginning of a long value, in ASCII on one line."""
        with self.assertRaises(Rejected) as raised:
            identity({"issuer": "https://idp.example"}, iss="x\n\u202e" * 1000)
        self.assertTrue(str(raised.exception).isascii() and str(raised.exception).isprintable())
        self.assertLess(len(str(raised.exception)), 250)

    def test_audience_claim_H_AUDCLAIM(self) -> None:
        """The audience may be in another claim, such as C{client_id} of Amazon Cognito."""
        given = {"audience": ["a", "b"], "audience_claim": "client_id"}
        for good in ("a", ["x", "b"]):
            self.assertEqual(identity(given, client_id=good).username, "tess")
        for bad in ("c", "", [], None, "absent", 5, {"a": 1}, [["a"]]):
            self.refused(given, client_id=bad)
        self.refused(given, aud="a")
        self.refused(given, client_id="a", aud=5)
        self.assertRaises(ConfigError, section.read, ClaimsConfig, {"audience_claim": "client_id"})

    def test_required_claims_H_AUDCLAIM(self) -> None:
        """Required claims must have one of their values, at the end of their path."""
        given = {
            "required_claims": {"tid": "t-1", "a.b": ["x", "y"], "verified": True, "n": 5},
        }
        good: dict[str, Any] = {"tid": "t-1", "a": {"b": "y"}, "verified": True, "n": 5}
        self.assertEqual(identity(given, **good).username, "tess")
        self.assertEqual(identity(given, **{**good, "tid": ["t-0", "t-1"]}).username, "tess")
        self.assertEqual(identity(given, **{**good, "verified": "true"}).username, "tess")
        bad: list[dict[str, Any]] = [
            *({"tid": tid} for tid in ("t-2", "", None, "absent", 5, {"t-1": 1}, [["t-1"]])),
            *({"a": a} for a in ("x", {"b": "z"}, {}, {"b": {"x": 1}})),
            {"verified": False},
            {"verified": 1},
            {"n": 6},
            {"n": True},
        ]
        for change in bad:
            self.refused(given, **{**good, **change})
        with self.assertRaises(Rejected) as raised:
            identity(given, **{**good, "tid": "t-2"})
        self.assertEqual(
            str(raised.exception), 'required_claims: tid is "t-2" in the JWT, wanted "t-1"'
        )

    def test_required_claims_are_checked_H_AUDCLAIM(self) -> None:
        """A required claim without any value, or with an object as value, is a mistake."""
        values: list[Any] = [[], {}, None, [None], [["x"]]]
        for value in values:
            with self.subTest(str(value)):
                self.assertRaises(
                    ConfigError, section.read, ClaimsConfig, {"required_claims": {"tid": value}}
                )

    def test_type_T36(self) -> None:
        """A JWT for another purpose than access is refused, whichever member names the purpose."""
        for typ in ("ID", "Refresh", "Offline", "Logout"):
            self.other(claims={"typ": typ})
        self.other({"typ": "logout+jwt"})
        for header in ({}, {"typ": "JWT"}, {"typ": "at+jwt"}, {"typ": None}):
            self.rules().check_type(header, {"typ": "Bearer"})

    def test_configured_type_T36(self) -> None:
        """If a type is configured, the header or a claim of a JWT must name it."""
        rules = self.rules("at+jwt")
        rules.check_type({"typ": "application/AT+jwt"}, {})
        rules.check_type({"typ": "JWT"}, {"typ": "at+jwt"})
        for header in ({}, {"typ": "JWT"}, {"typ": None}, {"typ": 5}, {"typ": ["at+jwt"]}):
            self.assertRaises(Rejected, rules.check_type, header, {})

    def test_odd_type_T81a(self) -> None:
        """A JWT whose type is not a string is refused."""
        for odd in (5, True, 0.5, [], ["JWT"], {}, {"JWT": 1}):
            self.other({"typ": odd})
            for claim in ("typ", "token_use", "token_type", "use"):
                self.other(claims={claim: odd})

    def test_id_token_T81d(self) -> None:
        """A hash claim marks an ID token; a nonce does not."""
        for claim in ("at_hash", "c_hash", "s_hash"):
            for value in ("x", "", None, 5):
                self.other(claims={claim: value})
        self.rules().check_type({}, {"nonce": "n", "auth_time": 5, "sid": "s"})

    def test_declared_purpose_T81d(self) -> None:
        """A JWT that declares to be an ID, refresh or logout token is refused."""
        kinds: tuple[str, ...] = (
            "id",
            "ID",
            "id_token",
            "refresh",
            "Refresh",
            "refresh_token",
            "refresh-token",
        )
        kinds += (
            "offline",
            "offline_token",
            "logout",
            "Logout_Token",
            " Refresh ",
            "Serialized-ID",
        )
        kinds += ("urn:ietf:params:oauth:token-type:refresh_token", "RegistrationAccessToken")
        kinds += ("urn:ietf:params:oauth:token-type:id_token", "InitialAccessToken", "rt+jwt")
        for claim in ("typ", "token_use", "token_type", "use"):
            for kind in kinds:
                self.other(claims={claim: kind})
            for kind in (
                "access",
                "Bearer",
                "bearer",
                "DPoP",
                "access_token",
                "at+jwt",
                "user",
                "",
            ):
                self.rules().check_type({}, {claim: kind})
            self.rules().check_type({}, {claim: None})

    def test_other_names_T81d(self) -> None:
        """Refresh and ID tokens are refused under the names that single servers use."""
        for claim in ("type", "tokenName", "purpose"):
            for kind in ("refresh", "Refresh", "refresh_token", "id_token", "id"):
                self.other(claims={claim: kind})
                self.rules("ID" if "id" in kind else "refresh").check_type({}, {claim: kind})
            for other in ("access", "access_token", "user", "passport", "", 5, ["refresh"], None):
                self.rules().check_type({}, {claim: other})

    def test_id_token_by_hash_T81d(self) -> None:
        """The configured type ID accepts a JWT with hash claims only, as access tokens of Dex."""
        for claim in ("at_hash", "c_hash", "s_hash"):
            self.rules("ID").check_type({}, {claim: "x"})
            self.rules("id").check_type({"typ": "JWT"}, {claim: "x"})
        for claims in ({}, {"nonce": "n"}, {"typ": "Bearer"}, {"typ": "Refresh"}):
            self.assertRaises(Rejected, self.rules("ID").check_type, {"typ": "JWT"}, claims)

    def test_logout_token_T81d(self) -> None:
        """A JWT whose claim C{events} is an object is refused as a security event token."""
        self.other(claims={"events": {"http://schemas.openid.net/event/backchannel-logout": {}}})
        self.other(claims={"events": {}})
        self.rules().check_type({}, {"events": ["concert"]})

    def test_other_kinds_T99(self) -> None:
        """A JWT whose header names another type than that of an access token is refused."""
        kinds: tuple[str, ...] = (
            "statuslist",
            "entity-statement",
            "secevent",
            "logout",
            "dpop",
            "oauth-authz-req",
        )
        kinds += ("token-introspection", "kb", "vc", "dc", "wallet-attestation", "new", "", "at+at")
        names = [f"{kind}+jwt" for kind in kinds]
        names += [
            "vc+sd-jwt",
            "example+jws",
            "JOSE+JSON",
            "passport",
            "refresh",
            "ID",
            "at",
            "",
            "x",
        ]
        for name in {*names, *map(str.upper, names), *(f"application/{name}" for name in names)}:
            if name.lower().removeprefix("application/") != "at":
                self.other({"typ": name})

    def test_access_tokens_T99(self) -> None:
        """A JWT of a type for access is accepted, and so is one without a type."""
        for typ in (
            "JWT",
            "jwt",
            "at+jwt",
            "AT+JWT",
            "application/at+jwt",
            "Application/JWT",
            "JOSE",
        ):
            self.rules().check_type({"typ": typ}, {})
        self.rules().check_type({}, {})

    def test_configured_type_accepts_others_T99(self) -> None:
        """A configured type accepts JWTs that are refused by default."""
        self.rules("kb+jwt").check_type({"typ": "application/KB+JWT"}, {})
        self.rules("ID").check_type({"typ": "JWT"}, {"typ": "ID", "at_hash": "x"})
        self.rules("refresh").check_type({}, {"token_use": "refresh_token"})
        self.rules("JWT").check_type({"typ": "JWT"}, {"at_hash": "x", "events": {}})

    def other(self, header: Any = None, claims: Any = None) -> None:
        with self.subTest(f"{header} {claims}"):
            self.assertRaises(Rejected, self.rules().check_type, header or {}, claims or {})

    def rules(self, typ: str | None = None) -> ClaimRules:
        return ClaimRules("sso", "here", section.read(ClaimsConfig, {"typ": typ} if typ else {}))


class PersonTests(ClaimsTestCase):
    """The identity that the claims of a JWT describe."""

    def test_preferred_username(self) -> None:
        """The user name is C{preferred_username}, or C{sub} if that is not a string."""
        for preferred, name in (("tess", "tess"), (5, "u-1"), (None, "u-1"), ("absent", "u-1")):
            self.assertEqual(identity(preferred_username=preferred).username, name)
            self.assertEqual(strict(preferred_username=preferred).username, name)

    def test_empty_name_H_CLAIM(self) -> None:
        """A C{preferred_username} that is there and empty refuses a JWT, whatever C{sub} says."""
        self.refused(preferred_username="")
        self.refused(preferred_username="", sub="absent")
        self.assertRaises(Rejected, strict, preferred_username="")

    def test_sub_is_optional_H_KID(self) -> None:
        """C{sub} is optional beside C{preferred_username}; one that is malformed is not."""
        for subject in ("absent", None):
            self.assertEqual(identity(sub=subject).username, "tess")
            self.refused(sub=subject, preferred_username="absent")
            self.refused(sub=subject, preferred_username=5)
        malformed: list[Any] = ["", 5, ["u"], {}, True]
        for subject in malformed:
            self.refused(sub=subject)

    def test_strict_H_CLAIM(self) -> None:
        """A configuration of auth-o-tron refuses what auth-o-tron refuses, unless it says so."""
        odd: list[dict[str, Any]] = [
            {"sub": "absent"},
            {"scope": ["openid"]},
            {"realm_access": {"roles": "admin"}},
            {"realm_access": {}},
            {"entitlements": "admin"},
            {"resource_access": []},
        ]
        for claims in odd:
            with self.subTest(str(claims)):
                self.assertRaises(Rejected, strict, **claims)
                self.assertEqual(strict({"strict_claims": False}, **claims).username, "tess")
                self.assertEqual(identity(**claims).username, "tess")
        self.assertRaises(
            Rejected, strict, {"iam_realm": None, "strict_claims": True}, scope=["openid"]
        )

    def test_configured_username_claim(self) -> None:
        """If a user name claim is configured, no other claim takes its place."""
        self.assertEqual(identity({"username_claim": "mail"}, mail="t@x").username, "t@x")
        self.assertEqual(identity({"username_claim": "a.b"}, a={"b": "t"}).username, "t")
        for mail in ("absent", "", 5, None):
            self.refused({"username_claim": "mail"}, mail=mail)

    def test_keycloak_roles(self) -> None:
        """Roles of the realm come first, then entitlements, then roles of clients."""
        known = identity(
            resource_access={"app": {"roles": ["c"], "more": 1}, "web": {"roles": ["d"]}},
            entitlements=["b", "a"],
            realm_access={"roles": ["a"]},
        )
        self.assertEqual(known.roles, ("a", "b", "a", "c", "d"))

    def test_odd_roles_T37(self) -> None:
        """Values that are not roles give no roles, and refuse no JWT; C{null} means no roles."""
        odd: list[Any] = [5, True, [5], [[]], {"roles": [5]}, {"roles": {"a": "b"}}, "", [""], {}]
        named: list[Any] = ["admin", ["admin"], {"admin": {}}]
        for claim in ("realm_access", "resource_access", "entitlements"):
            self.assertEqual(identity(**{claim: None}).roles, ())
            for value in (*odd, *(named if claim != "entitlements" else ())):
                self.assertEqual(identity(**{claim: value}).roles, (), f"{claim} {value}")

    def test_shapes_of_roles_H_CLAIM(self) -> None:
        """Roles are a list, a string, a map of roles or clients, or objects with a name."""
        shapes: list[tuple[Any, tuple[str, ...]]] = [
            (["a", "b"], ("a", "b")),
            ("Domain Users", ("Domain Users",)),
            ({"admin": {"1": "org.example"}, "reader": {}}, ("admin", "reader")),
            ({"admin": True, "reader": False, "none": None}, ("admin",)),
            ({"roles": ["a"]}, ("a",)),
            ({"app": {"roles": ["a"]}, "web": {"roles": "b"}}, ("a", "b")),
            ([{"value": "a", "display": "A"}, {"name": "b", "id": "1"}], ("a", "b")),
            (["a", 5, None, {"id": 1}, "", " "], ("a",)),
            (5, ()),
            (True, ()),
            (None, ()),
            ([], ()),
            ({}, ()),
        ]
        name = "urn:zitadel:iam:org:project:roles"
        for path in (name, "realm_access.roles", "groups"):
            for value, found in shapes:
                claims: dict[str, Any] = {path: value}
                if path == "realm_access.roles":
                    claims = {"realm_access": {"roles": value}}
                known = identity({"roles_claims": [path]}, **claims)
                self.assertEqual(known.roles, found, f"{path} {value}")

    @given(
        some.dictionaries(
            some.sampled_from(
                (
                    *KEYCLOAK_ROLES,
                    "scope",
                    "scp",
                    "scopes",
                    "roles",
                    "groups",
                    "attributes",
                    "email",
                )
            ),
            ANY_JSON,
        ),
        some.sampled_from(({}, {"roles_claims": ["groups", "roles", "realm_access.roles.roles"]})),
    )
    def test_any_shape_H_CLAIM(self, claims: dict[str, Any], chosen: dict[str, Any]) -> None:
        """Roles, scopes and attributes of any shape refuse no JWT, and are lists of strings."""
        known = identity(chosen, **claims)
        self.assertEqual(known.username, "tess")
        for each in (*known.roles, *known.scopes["sso"], *known.attributes.values()):
            self.assertIsInstance(each, str)

    @given(some.sampled_from(("exp", "nbf", "iat", "aud", "iss", "cnf", "sub")), ANY_JSON)
    def test_any_condition_H_CLAIM(self, name: str, value: Any) -> None:
        """A condition of any shape refuses a JWT or is well-formed; it never raises an error."""
        try:
            identity(**{name: value})
        except Rejected:
            return
        shapes: dict[str, tuple[type, ...]] = {
            "aud": (str, list),
            "iss": (str,),
            "sub": (str,),
            "cnf": (dict,),
        }
        kinds = shapes.get(name, (int, float))
        self.assertTrue(value is None or value == "absent" or isinstance(value, kinds))

    def test_keycloak_shapes_H_CLAIM(self) -> None:
        """Without C{roles_claims}, too, a string and a map are read, in the places of Keycloak."""
        known = identity(
            realm_access={"roles": "a"},
            entitlements="b",
            resource_access={"app": {"roles": {"c": {}}}, "web": {"roles": "d"}, "odd": 5},
        )
        self.assertEqual(known.roles, ("a", "b", "c", "d"))

    def test_scopes_as_roles_H_CLAIM(self) -> None:
        """The words of a scope claim become roles, if C{roles_claims} names it."""
        self.assertEqual(identity({"roles_claims": ["scp"]}, scp="a b").roles, ("a", "b"))

    def test_unreadable_roles_H_CLAIM(self) -> None:
        """A claim with values that are not roles causes one warning, which shows the claim."""
        for path in ("groups", "entitlements"):
            chosen = {"roles_claims": [path]} if path == "groups" else {}
            rules = ClaimRules("sso", "here", section.read(ClaimsConfig, chosen))
            read = partial(rules.authentication, {**CLAIMS, path: ["a", 5]}, NOW)
            [told] = warnings_of(read)
            self.assertIn(f"provider sso: the claim {path} has values that are not roles", told)
            self.assertIn('["a", 5]', told)
            self.assertEqual(warnings_of(read), [])

    def test_missing_path_H_DOT(self) -> None:
        """A configured path that no JWT has had causes one warning, with the claims there are."""
        paths = {"roles_claims": ["groups", "realm_access.role"]}
        rules = ClaimRules("sso", "here", section.read(ClaimsConfig, paths))
        rules.authentication({**CLAIMS, "groups": []}, NOW)
        again = ClaimRules("sso", "here", section.read(ClaimsConfig, paths))
        claims = {**CLAIMS, "realm_access": {"roles": ["a"]}, "groups": []}
        [told] = warnings_of(lambda: again.authentication(claims, NOW))
        self.assertIn("roles_claims names realm_access.role,", told)
        self.assertIn("exp, groups, iss, preferred_username, realm_access, scope, sub", told)
        self.assertEqual(warnings_of(lambda: again.authentication(claims, NOW)), [])
        self.assertEqual(warnings_of(lambda: again.authentication(CLAIMS, NOW)), [])

    def test_missing_username_claim_H_DOT(self) -> None:
        """A missing user name claim causes one warning, and the refusal names the claim."""
        rules = ClaimRules("sso", "here", section.read(ClaimsConfig, {"username_claim": "mail"}))

        def refuse() -> None:
            error = self.assertRaises(Rejected, rules.authentication, CLAIMS, NOW)
            self.assertEqual(str(error), "the claim mail, which should name the user, is missing")

        [told] = warnings_of(refuse)
        self.assertIn("username_claim names mail, which in a JWT is missing", told)
        self.assertEqual(warnings_of(refuse), [])

    def test_missing_requirements_H_AUDCLAIM(self) -> None:
        """A required claim that no JWT has causes one warning, which names the key."""
        audience = {"audience": "a", "audience_claim": "cid"}
        tenant = {"required_claims": {"t.id": "x"}}
        cases: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
            ("audience_claim", audience, {}, "cid, which in a JWT is missing"),
            ("audience_claim", audience, {"cid": 5}, "cid, which in a JWT is not a string but 5"),
            ("required_claims", tenant, {"t": {"ID": "x"}}, "t.id, which in a JWT is missing"),
        ]
        for key, chosen, more, text in cases:
            rules = ClaimRules("sso", "here", section.read(ClaimsConfig, chosen))
            read = partial(
                self.assertRaises, Rejected, rules.authentication, {**CLAIMS, **more}, NOW
            )
            [told] = warnings_of(read)
            self.assertIn(f"provider sso: {key} names {text}", told)
            self.assertEqual(warnings_of(read), [])

    def test_names_with_dots_H_DOT(self) -> None:
        """At each step of a path the longest name that leads to a value is used."""
        app = {"my.app": {"roles": ["a"]}, "my": {"app": {"roles": ["b"]}, "x.y": {"z": ["c"]}}}
        for path, found in (
            ("resource_access.my.app.roles", ("a",)),
            ("resource_access.my.x.y.z", ("c",)),
            ("resource_access.my.app", ("a",)),
            ("https://x.example/roles", ("d",)),
            ("https://x.example/claims.roles", ("e",)),
            ("resource_access.my.none.roles", ()),
            ("resource_access..my", ()),
            (".", ()),
        ):
            known = identity(
                {"roles_claims": [path]},
                resource_access=app,
                **{"https://x.example/roles": ["d"], "https://x.example/claims": {"roles": ["e"]}},
            )
            self.assertEqual(known.roles, found, path)
        chosen = {"username_claim": "ext.my.app.name"}
        self.assertEqual(identity(chosen, ext={"my.app": {"name": "t"}}).username, "t")

    def test_included_twice_H_GROUPS(self) -> None:
        """C{check} warns of a claim that is minted as roles and as an attribute."""
        for include, count in ((["groups"], 1), (["g"], 1), (["email"], 0), ([], 0)):
            given_attributes = {"attributes": {"include": include}}
            chosen = {"issuer": "x", "audience": "y", "roles_claims": ["groups"]}
            found = section.read(ClaimsConfig, {**chosen, **given_attributes})
            told = list(missing_checks(found, None))
            self.assertEqual(len(told), count)
            self.assertTrue(all("attributes.include: contains groups" in each for each in told))

    def test_consumed_H_GROUPS(self) -> None:
        """Claims that became roles are not minted again as attributes."""
        chosen = {"roles_claims": ["groups", "ext.my.app.roles"]}
        ext = {"my.app": {"roles": ["r"], "more": 1}, "x": 2}
        known = identity(chosen, groups=["g"] * 260, ext=ext)
        self.assertEqual(known.roles, ("g",) * 260 + ("r",))
        self.assertNotIn("groups", known.attributes)
        self.assertEqual(known.attributes["ext"], '{"my.app":{"more":1},"x":2}')
        self.assertNotIn("ext", identity(chosen, ext={"my.app": {"roles": ["r"]}}).attributes)
        empty: tuple[object, ...] = ([], {}, "", {"roles": []})
        for none in empty:
            self.assertNotIn("groups", identity(chosen, groups=none).attributes)
        odd = identity(chosen, groups=5)
        self.assertEqual((odd.roles, odd.attributes["groups"]), ((), "5"))
        included = {**chosen, "attributes": {"include": ["groups"]}}
        self.assertIn("groups", identity(included, groups=["g"]).attributes)
        self.assertNotIn("groups", strict(chosen, groups=["g"]).attributes)

    def test_configured_roles_claims(self) -> None:
        """If role claims are configured, no others are read."""
        chosen = {"roles_claims": ["groups", "realm_access.roles", "https://x.example/roles"]}
        known = identity(
            chosen,
            groups=["g"],
            entitlements=["e"],
            **{"https://x.example/roles": ["r"]},
        )
        self.assertEqual(known.roles, ("g", "r"))

    def test_distributed_roles_T39(self) -> None:
        """A JWT that only refers to its groups is refused, not accepted without groups."""
        self.refused({"roles_claims": ["groups"]}, _claim_names={"groups": "src1"})
        self.assertEqual(identity(_claim_names={"groups": "src1"}).roles, ())

    def test_attributes(self) -> None:
        """Other claims become attributes: strings unchanged, other values as JSON."""
        known = identity(n=5, f=1.5, yes=True, nul=None, lst=[1, "é"], ctl="a\nb\x85c\x7f")
        expected = {
            "n": "5",
            "f": "1.5",
            "yes": "true",
            "nul": "null",
            "lst": '[1,"é"]',
            "ctl": "abc",
        }
        self.assertEqual({**known.attributes, **expected}, known.attributes)
        self.assertTrue({"sub", "scope"}.isdisjoint(known.attributes))

    def test_configured_attributes(self) -> None:
        """Prefixes of claim names select which claims become attributes."""
        chosen = {"attributes": {"include": ["e"], "ignore": ["email_"]}}
        known = identity(chosen, email="t@x", email_verified=True, phone="1")
        self.assertEqual(sorted(known.attributes), ["email", "exp"])

    def test_exp_is_not_an_attribute_T38(self) -> None:
        """C{exp} limits the identity even if it does not become an attribute."""
        known = authentication({"attributes": {"ignore": ["exp"]}})
        self.assertEqual(known.expires_at(), NOW + 300)

    def test_collisions_T38(self) -> None:
        """Claims with the names of an identity's fields become attributes like others."""
        known = identity(roles=["admin"], realm="other", username="root", scopes={"a": ["b"]})
        self.assertEqual((known.roles, known.realm, known.username), ((), "here", "tess"))
        self.assertEqual(known.scopes, {"sso": ("openid",)})
        self.assertEqual(known.attributes["roles"], '["admin"]')
