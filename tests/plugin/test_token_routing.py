"""Tests of the routing of bearer tokens to providers."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.config import section
from authotron.config.section import Section
from authotron.jose import unverified
from authotron.model.identity import Credential
from authotron.plugin import token_routing
from authotron.plugin.interfaces import Affinity, IOfIssuer
from authotron.plugin.token_routing import Rule
from authotron.testing.issuers import IDP, forged_jwt

ISSUER = "https://idp.example/realms/x"


class Part(Section):
    accepts: Rule = "any"


def match(accepts: Any, token: str) -> Affinity:
    rule = section.read(Part, {"accepts": accepts}).accepts
    return token_routing.match(rule, Credential("bearer", token))


class ShapeTests(SynchronousTestCase):
    """The shape of a bearer token."""

    def test_jwt(self) -> None:
        """A token whose first part decodes to an object with C{alg} is a JWT, signed or not."""
        for token in (IDP.sign(), forged_jwt({"alg": "none"}), forged_jwt({"alg": 5}, b"\xff")):
            self.assertIsNotNone(unverified.parse(token))

    def test_opaque(self) -> None:
        """Other tokens are opaque, even if they contain dots."""
        for token in (
            "a.b.c",
            "",
            ".",
            "eyJ9",
            forged_jwt({"typ": "JWT"}),
            forged_jwt([1]),
            IDP.sign()[1:],
        ):
            self.assertIsNone(unverified.parse(token))

    def test_large_claims_are_not_parsed_T81a(self) -> None:
        """Claims with thousands of objects are not parsed before the signature is verified."""
        seen = unverified.parse(forged_jwt({"alg": "ES256"}, {"a": [{}] * 5000}))
        assert seen is not None
        self.assertEqual((seen.readable, dict(seen.claims)), (False, {}))

    def test_credential_is_parsed_once_T81a(self) -> None:
        """A credential is parsed once for all providers, and stays an equal value."""
        credential = Credential("bearer", IDP.sign())
        first = unverified.parse_once(credential)
        self.assertIs(unverified.parse_once(credential), first)
        self.assertEqual(credential, Credential("bearer", credential.value))
        opaque = Credential("bearer", "opaque")
        self.assertEqual(
            [unverified.parse_once(opaque), unverified.parse_once(opaque)], [None, None]
        )

    @given(st.text())
    def test_any_string_has_a_shape(self, token: str) -> None:
        """Every string has a shape."""
        unverified.parse(token)


class RuleTests(SynchronousTestCase):
    """The key C{accepts} of a provider."""

    def test_any_accepts_every_token(self) -> None:
        """C{any} accepts every token."""
        for token in ("opaque", "aot_x", IDP.sign()):
            self.assertIs(match("any", token), Affinity.POSSIBLE)

    def test_shape_excludes_api_tokens(self) -> None:
        """A shape accepts the tokens of this shape, but no API tokens."""
        for accepts in ("jwt", {"shape": "jwt"}):
            self.assertIs(match(accepts, IDP.sign()), Affinity.POSSIBLE)
            self.assertIs(match(accepts, "opaque"), Affinity.FOREIGN)
        for accepts in ("opaque", {"shape": "opaque"}):
            self.assertIs(match(accepts, IDP.sign()), Affinity.FOREIGN)
            self.assertIs(match(accepts, "opaque"), Affinity.POSSIBLE)
            self.assertIs(match(accepts, "aot_x"), Affinity.FOREIGN)

    def test_issuer_and_prefix_are_likely(self) -> None:
        """A provider with the issuer or the prefix of a token is a likely one."""
        self.assertIs(match({"issuer": ISSUER}, IDP.sign()), Affinity.LIKELY)
        self.assertIs(match({"issuer": "other"}, IDP.sign()), Affinity.FOREIGN)
        self.assertIs(match({"issuer": ISSUER}, "opaque"), Affinity.FOREIGN)
        encrypted = forged_jwt({"alg": "dir", "enc": "A256GCM", "iss": ISSUER}, b"\xff")
        self.assertIs(match({"issuer": ISSUER}, encrypted), Affinity.LIKELY)
        self.assertIs(match({"prefix": "ew_"}, "ew_5"), Affinity.LIKELY)
        self.assertIs(match({"prefix": "ew_"}, "5"), Affinity.FOREIGN)
        self.assertIs(match({"prefix": "ew_", "shape": "jwt"}, "ew_5"), Affinity.FOREIGN)


class StrangerTests(SynchronousTestCase):
    """Why a JWT is shown to no provider."""

    def why(self, *issuers: str | None, **claims: Any) -> str:
        """Return the reason for a JWT with these claims, and providers of these issuers."""

        @implementer(IOfIssuer)
        @frozen
        class Provider:
            issuer: str | None

        credential = Credential("bearer", IDP.sign(**claims))
        return token_routing.why_strange(credential, [*map(Provider, issuers), object()])

    def test_both_issuers_W_ISS(self) -> None:
        """The reason names the issuer of the JWT and the configured ones."""
        self.assertEqual(
            self.why(f"{ISSUER}/", "https://other.example", None),
            "no provider is configured for the issuer, or the purpose, of the JWT: "
            f'has "{ISSUER}", wanted "https://idp.example/realms/x/"; only the slash at the end '
            f'of the issuer differs; has "{ISSUER}", wanted "https://other.example"; '
            "to ask a provider, set its `accepts: any`",
        )
        self.assertIn(f'has "{ISSUER}"', self.why(None))

    def test_purpose_W_ISS(self) -> None:
        """If the issuer is configured, the purpose of the JWT is the reason."""
        self.assertEqual(
            self.why(ISSUER, typ="ID"),
            f'no provider is configured for the purpose of the JWT (issuer "{ISSUER}"): its claim '
            'typ is "ID"; clients must send access tokens, or a provider needs `typ: ID`',
        )
        self.assertIn("as it has the claim at_hash; clients must", self.why(ISSUER, at_hash="x"))
        self.assertIn('its claim typ is "Refresh"; clients must', self.why(ISSUER, typ="Refresh"))
        self.assertIn("compare `accepts` and the types", self.why(ISSUER))

    def test_offline_token_W_ISS(self) -> None:
        """
        For an offline token the reason names the type of provider that accepts such tokens, also if
        no provider has an issuer, and does not recommend C{accepts: any}.
        """
        for issuer in (ISSUER, None):
            reason = self.why(issuer, typ="Offline")
            self.assertIn('its claim typ is "Offline"; only a provider of type openid-o', reason)
            self.assertNotIn("accepts: any", reason)

    def test_long_issuer_W_ISS(self) -> None:
        """A long issuer is cut, and shown in ASCII on one line."""
        reason = self.why(iss="\n\u202e" * 5000)
        self.assertTrue(reason.isascii() and reason.isprintable())
        self.assertLess(len(reason), 300)
