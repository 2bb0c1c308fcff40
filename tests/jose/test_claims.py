"""What a token must claim, and who it makes of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.jose.claims import ClaimsConfig, Rules, effective_expiry
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
    rules = Rules("sso", "here", section.read(ClaimsConfig, given or {}))
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value != "absent"}
    return rules.authentication(said, NOW)


class ClaimsTestCase(SynchronousTestCase):
    """Claims that are refused."""

    def refused(self, given: dict[str, Any] | None = None, **claims: Any) -> None:
        with self.subTest(str(claims)[:60]):
            self.assertRaises(Rejected, identity, given, **claims)


class TimeTests(ClaimsTestCase):
    """When a token is good."""

    def test_end_T35(self) -> None:
        """It ends when it says, but for the leeway."""
        self.assertEqual(identity(exp=NOW - 59).username, "tess")
        self.refused(exp=NOW - 60)
        self.refused({"leeway": 0}, exp=NOW)
        self.refused({"leeway": "10s"}, exp=NOW - 10)

    def test_end_is_known_T41(self) -> None:
        """What is minted for it, or remembered of it, ends with it."""
        known = authentication(exp=NOW + 3.5)
        self.assertEqual((known.expires, known.fresh_until), (NOW + 3.5, NOW + 3.5))

    def test_within_leeway_S_LEEWAY(self) -> None:
        """A token that expired within the leeway ends with the leeway, never before now."""
        for exp in (NOW + 0.5, NOW, NOW - 1, NOW - 30, NOW - 59, NOW - 0.5):
            known = authentication(exp=exp)
            self.assertEqual((known.expires, known.fresh_until), (exp + 60, exp + 60))
            self.assertEqual(known.expires_at(), int(exp + 60))
            self.assertGreater(known.expires_at() or 0, NOW)
        known = authentication({"leeway": "5m", "attributes": {"ignore": ["exp"]}}, exp=NOW - 299)
        self.assertEqual((known.expires_at(), "exp" in known.identity.attributes), (NOW + 1, False))

    def test_before_leeway_S_LEEWAY(self) -> None:
        """A token that has not expired does not gain the leeway."""
        for exp in (NOW + 1, NOW + 1.5, NOW + 300):
            self.assertEqual(authentication(exp=exp).expires, exp)
        self.assertEqual(identity(exp=NOW + 300).attributes["exp"], str(NOW + 300))

    @settings(deadline=None)
    @given(some.floats(0, 2_000), some.floats(0, 2_000), some.floats(0, 600))
    def test_any_moment_S_LEEWAY(self, said: float, now: float, leeway: float) -> None:
        """The end that counts is after now, and between the claimed end and that of the leeway."""
        try:
            counts = effective_expiry(said, now, leeway)
        except Rejected:
            self.assertGreaterEqual(now, said + leeway)
        else:
            assert counts is not None
            self.assertTrue(now < counts)
            self.assertTrue(said <= counts <= said + leeway)

    def test_no_end_T35(self) -> None:
        """One without an end, or whose end is no moment, is refused."""
        for value in ("absent", None, *NOT_TIMES):
            self.refused(exp=value)

    def test_begin_T35(self) -> None:
        """One that is not valid yet is refused, but for the leeway."""
        self.assertEqual(identity(nbf=NOW + 60).username, "tess")
        self.refused(nbf=NOW + 61)
        for value in NOT_TIMES:
            self.refused(nbf=value)

    def test_issued_later_T35(self) -> None:
        """One that was issued in the future is believed: clocks differ."""
        self.assertEqual(identity(iat=NOW + 3000).username, "tess")


class PurposeTests(ClaimsTestCase):
    """Whom a token is for."""

    def test_issuer_T34(self) -> None:
        """The issuer must be the same text, to the last character."""
        issuer = "https://idp.example/realms/x"
        self.assertEqual(identity({"issuer": issuer}).username, "tess")
        for other in (issuer + "/", issuer[:-1], issuer.upper(), [issuer], "", None, "absent", 5):
            self.refused({"issuer": issuer}, iss=other)

    def test_audience_T34(self) -> None:
        """One of ours must be among the audience."""
        for good in ("a", "b", ["x", "b"]):
            self.assertEqual(identity({"audience": ["a", "b"]}, aud=good).username, "tess")
        for bad in ("c", "", "ab", ["c"], [], None, "absent", 5, [["a"]], {"a": 1}):
            self.refused({"audience": ["a", "b"]}, aud=bad)
        self.refused({"audience": "ab"}, aud="a")

    def test_no_audience(self) -> None:
        """Where none is configured it does not matter."""
        for audience in ("account", ["x"], "absent", 5):
            self.assertEqual(identity(aud=audience).username, "tess")

    def test_scopes(self) -> None:
        """Scopes are words; those that are required must all be there."""
        self.assertEqual(identity(scope=" a  b a ").scopes, {"sso": ("a", "b", "a")})
        self.assertEqual(identity(scope="absent").scopes, {"sso": ()})
        self.assertEqual(identity({"required_scopes": ["b"]}, scope="a b").username, "tess")
        self.refused({"required_scopes": ["a", "b"]}, scope="a ab")
        values: list[Any] = [["a"], 5, {}]
        for value in values:
            self.refused(scope=value)

    def test_type_T36(self) -> None:
        """A token for another purpose is refused, wherever it says so."""
        for typ in ("ID", "Refresh", "Offline", "Logout"):
            self.other(claims={"typ": typ})
        self.other({"typ": "logout+jwt"})
        for header in ({}, {"typ": "JWT"}, {"typ": "at+jwt"}, {"typ": None}):
            self.rules().check_type(header, {"typ": "Bearer"})

    def test_pinned_type_T36(self) -> None:
        """Where a type is configured a token must have it, in its header or its claims."""
        rules = self.rules("at+jwt")
        rules.check_type({"typ": "application/AT+jwt"}, {})
        rules.check_type({"typ": "JWT"}, {"typ": "at+jwt"})
        for header in ({}, {"typ": "JWT"}, {"typ": None}, {"typ": 5}, {"typ": ["at+jwt"]}):
            self.assertRaises(Rejected, rules.check_type, header, {})

    def test_odd_type_T81a(self) -> None:
        """A type that is not a string is refused."""
        for odd in (5, True, 0.5, [], ["JWT"], {}, {"JWT": 1}):
            self.other({"typ": odd})
            for claim in ("typ", "token_use", "token_type", "use"):
                self.other(claims={claim: odd})

    def test_id_token_T81d(self) -> None:
        """A hash of something given out beside it tells an ID token; a nonce does not."""
        for claim in ("at_hash", "c_hash", "s_hash"):
            for value in ("x", "", None, 5):
                self.other(claims={claim: value})
        self.rules().check_type({}, {"nonce": "n", "auth_time": 5, "sid": "s"})

    def test_said_use_T81d(self) -> None:
        """A token that calls itself an ID, a refresh or a logout token is refused."""
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
        """Refresh and ID tokens of servers that have names of their own for it are refused."""
        for claim in ("type", "tokenName", "purpose"):
            for kind in ("refresh", "Refresh", "refresh_token", "id_token", "id"):
                self.other(claims={claim: kind})
                self.rules("ID" if "id" in kind else "refresh").check_type({}, {claim: kind})
            for other in ("access", "access_token", "user", "passport", "", 5, ["refresh"], None):
                self.rules().check_type({}, {claim: other})

    def test_id_token_by_hash_T81d(self) -> None:
        """The type ID accepts what only its hashes tell, such as access tokens of Dex."""
        for claim in ("at_hash", "c_hash", "s_hash"):
            self.rules("ID").check_type({}, {claim: "x"})
            self.rules("id").check_type({"typ": "JWT"}, {claim: "x"})
        for claims in ({}, {"nonce": "n"}, {"typ": "Bearer"}, {"typ": "Refresh"}):
            self.assertRaises(Rejected, self.rules("ID").check_type, {"typ": "JWT"}, claims)

    def test_logout_token_T81d(self) -> None:
        """A security event, such as a logout token, tells its events in an object."""
        self.other(claims={"events": {"http://schemas.openid.net/event/backchannel-logout": {}}})
        self.other(claims={"events": {}})
        self.rules().check_type({}, {"events": ["concert"]})

    def test_other_kinds_T99(self) -> None:
        """A header whose type names another kind of token is refused."""
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
        """A type that means access passes, and so does a token without a type."""
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

    def test_way_out_T99(self) -> None:
        """A configured type accepts tokens that would be refused otherwise."""
        self.rules("kb+jwt").check_type({"typ": "application/KB+JWT"}, {})
        self.rules("ID").check_type({"typ": "JWT"}, {"typ": "ID", "at_hash": "x"})
        self.rules("refresh").check_type({}, {"token_use": "refresh_token"})
        self.rules("JWT").check_type({"typ": "JWT"}, {"at_hash": "x", "events": {}})

    def other(self, header: Any = None, claims: Any = None) -> None:
        with self.subTest(f"{header} {claims}"):
            self.assertRaises(Rejected, self.rules().check_type, header or {}, claims or {})

    def rules(self, typ: str | None = None) -> Rules:
        return Rules("sso", "here", section.read(ClaimsConfig, {"typ": typ} if typ else {}))


class PersonTests(ClaimsTestCase):
    """Who it is."""

    def test_name(self) -> None:
        """The preferred name, or the subject where that is no text."""
        for preferred, name in (("tess", "tess"), (5, "u-1"), ("", "u-1"), ("absent", "u-1")):
            self.assertEqual(identity(preferred_username=preferred).username, name)

    def test_nobody(self) -> None:
        """A token without a subject is refused."""
        for subject in ("absent", None, "", 5, ["u"]):
            self.refused(sub=subject)

    def test_chosen_name(self) -> None:
        """Where a claim is configured it must be there: nothing else takes its place."""
        self.assertEqual(identity({"username_claim": "mail"}, mail="t@x").username, "t@x")
        self.assertEqual(identity({"username_claim": "a.b"}, a={"b": "t"}).username, "t")
        for mail in ("absent", "", 5, None):
            self.refused({"username_claim": "mail"}, mail=mail)

    def test_roles(self) -> None:
        """Those of the realm, entitlements, then those of clients; repetitions stay."""
        known = identity(
            resource_access={"app": {"roles": ["c"], "more": 1}, "web": {"roles": ["d"]}},
            entitlements=["b", "a"],
            realm_access={"roles": ["a"]},
        )
        self.assertEqual(known.roles, ("a", "b", "a", "c", "d"))

    def test_odd_roles_T37(self) -> None:
        """Roles that are not what they should be refuse the token; null is none at all."""
        for claim in ("realm_access", "resource_access", "entitlements"):
            self.assertEqual(identity(**{claim: None}).roles, ())
            for value in (5, "admin", True, ["admin", 5], {"roles": "admin"}, {"roles": [5]}):
                self.refused(None, **{claim: value})
        self.refused(realm_access={})

    def test_chosen_roles(self) -> None:
        """Where claims are configured only these are looked at."""
        chosen = {"roles_claims": ["groups", "realm_access.roles", "https://x.example/roles"]}
        known = identity(
            chosen,
            groups=["g"],
            entitlements=["e"],
            **{"https://x.example/roles": ["r"]},
        )
        self.assertEqual(known.roles, ("g", "r"))
        self.refused(chosen, groups="g")

    def test_roles_elsewhere_T39(self) -> None:
        """Somebody whose groups did not fit into the token is not somebody without groups."""
        self.refused({"roles_claims": ["groups"]}, _claim_names={"groups": "src1"})
        self.assertEqual(identity(_claim_names={"groups": "src1"}).roles, ())

    def test_attributes(self) -> None:
        """Other claims are kept as text, JSON where they are not simple, without controls."""
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

    def test_chosen_attributes(self) -> None:
        """Which claims are kept can be chosen by how their names begin."""
        chosen = {"attributes": {"include": ["e"], "ignore": ["email_"]}}
        known = identity(chosen, email="t@x", email_verified=True, phone="1")
        self.assertEqual(sorted(known.attributes), ["email", "exp"])

    def test_end_not_chosen_T38(self) -> None:
        """An end that is not kept as an attribute counts all the same."""
        known = authentication({"attributes": {"ignore": ["exp"]}})
        self.assertEqual(known.expires_at(), NOW + 300)

    def test_collisions_T38(self) -> None:
        """Claims with the names of ours change nothing: they are attributes like others."""
        known = identity(roles=["admin"], realm="other", username="root", scopes={"a": ["b"]})
        self.assertEqual((known.roles, known.realm, known.username), ((), "here", "tess"))
        self.assertEqual(known.scopes, {"sso": ("openid",)})
        self.assertEqual(known.attributes["roles"], '["admin"]')
