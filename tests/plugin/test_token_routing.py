"""Which providers a bearer token is for."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.config.section import Section
from authotron.jose import unverified
from authotron.model.identity import Credential
from authotron.plugin import token_routing
from authotron.plugin.interfaces import Affinity
from authotron.plugin.token_routing import Rule
from authotron.testing.issuers import IDP, forged_jwt

ISSUER = "https://idp.example/realms/x"


class Part(Section):
    accepts: Rule = "any"


def match(accepts: Any, token: str) -> Affinity:
    rule = section.read(Part, {"accepts": accepts}).accepts
    return token_routing.match(rule, Credential("bearer", token))


class ShapeTests(SynchronousTestCase):
    """What a token shows of itself."""

    def test_jwt(self) -> None:
        """A token whose first part decodes to an object with C{alg} is a JWT, signed or not."""
        for token in (IDP.sign(), forged_jwt({"alg": "none"}), forged_jwt({"alg": 5}, b"\xff")):
            self.assertIsNotNone(unverified.parse(token))

    def test_opaque(self) -> None:
        """Others are not, though they have dots."""
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

    def test_many_T81a(self) -> None:
        """Claims of thousands of objects are not read before their signature is checked."""
        seen = unverified.parse(forged_jwt({"alg": "ES256"}, {"a": [{}] * 5000}))
        assert seen is not None
        self.assertEqual((seen.readable, dict(seen.claims)), (False, {}))

    def test_once_T81a(self) -> None:
        """A credential is looked into once, however many providers ask; it stays the same value."""
        credential = Credential("bearer", IDP.sign())
        first = unverified.parse_once(credential)
        self.assertIs(unverified.parse_once(credential), first)
        self.assertEqual(credential, Credential("bearer", credential.value))
        opaque = Credential("bearer", "opaque")
        self.assertEqual(
            [unverified.parse_once(opaque), unverified.parse_once(opaque)], [None, None]
        )

    @given(st.text())
    def test_anything(self, token: str) -> None:
        """Whatever comes, there is an answer."""
        unverified.parse(token)


class RuleTests(SynchronousTestCase):
    """What C{accepts} says."""

    def test_any(self) -> None:
        """Everything, as in the original."""
        for token in ("opaque", "aot_x", IDP.sign()):
            self.assertIs(match("any", token), Affinity.POSSIBLE)

    def test_shape(self) -> None:
        """Only tokens of a shape, and never those of the gateway itself."""
        for accepts in ("jwt", {"shape": "jwt"}):
            self.assertIs(match(accepts, IDP.sign()), Affinity.POSSIBLE)
            self.assertIs(match(accepts, "opaque"), Affinity.FOREIGN)
        for accepts in ("opaque", {"shape": "opaque"}):
            self.assertIs(match(accepts, IDP.sign()), Affinity.FOREIGN)
            self.assertIs(match(accepts, "opaque"), Affinity.POSSIBLE)
            self.assertIs(match(accepts, "aot_x"), Affinity.FOREIGN)

    def test_named(self) -> None:
        """An issuer or a prefix that fits comes before everything else."""
        self.assertIs(match({"issuer": ISSUER}, IDP.sign()), Affinity.LIKELY)
        self.assertIs(match({"issuer": "other"}, IDP.sign()), Affinity.FOREIGN)
        self.assertIs(match({"issuer": ISSUER}, "opaque"), Affinity.FOREIGN)
        encrypted = forged_jwt({"alg": "dir", "enc": "A256GCM", "iss": ISSUER}, b"\xff")
        self.assertIs(match({"issuer": ISSUER}, encrypted), Affinity.LIKELY)
        self.assertIs(match({"prefix": "ew_"}, "ew_5"), Affinity.LIKELY)
        self.assertIs(match({"prefix": "ew_"}, "5"), Affinity.FOREIGN)
        self.assertIs(match({"prefix": "ew_", "shape": "jwt"}, "ew_5"), Affinity.FOREIGN)
