"""How the claims of a JWT are checked and mapped to an identity."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.jose.claims import ClaimRules, ClaimsConfig, effective_expiry
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Identity
from authotron.testing.issuers import CLAIMS
from authotron.testing.worlds import NOW

NOT_TIMES: list[Any] = ["1800000300", True, [NOW], {}, -1, 10**400, float("inf"), float("nan")]


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


class TimeTests(ClaimsTestCase):
    """The times at which a JWT is valid."""

    def test_exp_and_leeway_T35(self) -> None:
        """A JWT is refused after its C{exp} and the leeway."""
        self.assertEqual(identity(exp=NOW - 59).username, "tess")
        self.refused(exp=NOW - 60)
        self.refused({"leeway": 0}, exp=NOW)
        self.refused({"leeway": "10s"}, exp=NOW - 10)

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

    @settings(deadline=None)
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
        for audience in ("account", ["x"], "absent", 5):
            self.assertEqual(identity(aud=audience).username, "tess")

    def test_scopes(self) -> None:
        """C{scope} is split into words, and must contain all required scopes."""
        self.assertEqual(identity(scope=" a  b a ").scopes, {"sso": ("a", "b", "a")})
        self.assertEqual(identity(scope="absent").scopes, {"sso": ()})
        self.assertEqual(identity({"required_scopes": ["b"]}, scope="a b").username, "tess")
        self.refused({"required_scopes": ["a", "b"]}, scope="a ab")
        values: list[Any] = [["a"], 5, {}]
        for value in values:
            self.refused(scope=value)

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
        for preferred, name in (("tess", "tess"), (5, "u-1"), ("", "u-1"), ("absent", "u-1")):
            self.assertEqual(identity(preferred_username=preferred).username, name)

    def test_sub_is_missing(self) -> None:
        """A JWT without C{sub} is refused."""
        for subject in ("absent", None, "", 5, ["u"]):
            self.refused(sub=subject)

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
        """Malformed role claims refuse the JWT; C{null} means no roles."""
        for claim in ("realm_access", "resource_access", "entitlements"):
            self.assertEqual(identity(**{claim: None}).roles, ())
            for value in (5, "admin", True, ["admin", 5], {"roles": "admin"}, {"roles": [5]}):
                self.refused(None, **{claim: value})
        self.refused(realm_access={})

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
        self.refused(chosen, groups="g")

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
