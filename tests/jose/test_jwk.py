"""Published keys that are used, and those that are skipped."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import jwk
from authotron.model.errors import Unavailable
from authotron.testing import issuers
from authotron.testing.issuers import CURVE, EDWARDS, IDP, NEXT, Signer

P = 2**255 - 19

ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826

SMALL_ORDER = [
    (y | sign << 255).to_bytes(32, "little")
    for y in (0, 1, P - 1, ORDER_8, P - ORDER_8, P, P + 1)
    for sign in (0, 1)
]
"""Every encoding of the eight points whose order divides eight, those beyond the prime, too."""


class SetTests(SynchronousTestCase):
    """The keys of a key set that are used."""

    def names(self, *keys: Any) -> list[str]:
        """List the names of the usable keys; a set without any is not accepted."""
        try:
            return list(jwk.read({"keys": list(keys)}, "here"))
        except Unavailable:
            return []

    def test_kinds_of_keys(self) -> None:
        """RSA keys, keys on the three NIST curves, and Ed25519 keys are used."""
        big = [Signer("p384", "ES384", ec.generate_private_key(ec.SECP384R1()))]
        big += [Signer("p521", "ES512", ec.generate_private_key(ec.SECP521R1()))]
        everyone = [IDP, CURVE, EDWARDS, *big]
        self.assertEqual(
            self.names(*(each.jwk() for each in everyone)), [each.kid for each in everyone]
        )

    def test_unusable_keys_are_skipped_T33(self) -> None:
        """Unusable keys are skipped, and the other keys of the set are used."""
        wide = "AQ" * 10
        odd: list[Any] = [
            5,
            {},
            {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
            {"kty": "XYZ", "kid": "xyz"},
            IDP.jwk(kid=5),
            IDP.jwk(use="enc"),
            IDP.jwk(key_ops=["encrypt"]),
            IDP.jwk(alg="RSA-OAEP"),
            IDP.jwk(alg="ES256"),
            IDP.jwk(e="AQ"),
            IDP.jwk(e=wide),
            IDP.jwk(n="not base64!"),
            IDP.jwk(n=5),
            Signer("small", "RS256", issuers.rsa_key(1024)).jwk(),
            CURVE.jwk(x=CURVE.jwk()["y"], y=CURVE.jwk()["x"]),
            CURVE.jwk(crv="secp256k1"),
            EDWARDS.jwk(crv="X25519"),
        ]
        self.assertEqual(self.names(*odd, NEXT.jwk()), ["next"])

    def test_without_name_H_KID(self) -> None:
        """A key without C{kid} is used; its name is empty (RFC 7517 section 4.5)."""
        self.assertEqual(
            self.names(IDP.jwk(kid=None), NEXT.jwk(kid=""), CURVE.jwk()), ["", "curve"]
        )

    def test_fully_specified_H_ED(self) -> None:
        """An Ed25519 key is used under both names of its algorithm (RFC 9864)."""
        for alg in ("EdDSA", "Ed25519", None):
            [key] = jwk.read({"keys": [EDWARDS.jwk(alg=alg)]}, "here")["edwards"]
            self.assertEqual([*key.algorithms], ["EdDSA", "Ed25519"])
        self.assertEqual(self.names(EDWARDS.jwk(alg="Ed448"), CURVE.jwk(alg="Ed25519")), [])

    def test_no_usable_key_H_EMPTY(self) -> None:
        """A key set without a usable key is no answer, and the message counts the keys."""
        sets: list[list[Any]] = [[], [{}], [IDP.jwk(use="enc")], [{"kty": "oct", "k": "x"}], [5]]
        for keys in sets:
            with self.assertRaises(Unavailable) as raised:
                jwk.read({"keys": keys}, "https://idp.example/certs")
            self.assertEqual(
                str(raised.exception),
                "https://idp.example/certs has no usable key for signatures "
                f"({len(keys)} keys listed)",
            )

    def test_many_T33(self) -> None:
        """Only the first 200 keys of a set are read."""
        self.assertEqual(self.names(*([{}] * 200), IDP.jwk()), [])

    def test_not_a_key_set(self) -> None:
        """A document without a list of keys is not a key set."""
        documents: list[dict[str, Any]] = [{}, {"keys": {}}, {"keys": None}]
        for document in documents:
            self.assertRaises(Unavailable, jwk.read, document, "here")

    def test_small_order_T29d(self) -> None:
        """An Ed25519 key of small order, in any encoding, is skipped with a warning."""
        for raw in SMALL_ORDER:
            x = urlsafe_b64encode(raw).rstrip(b"=").decode()
            with self.subTest(raw.hex()):
                with capturedLogs() as logged:
                    self.assertEqual(self.names(EDWARDS.jwk(x=x), NEXT.jwk()), ["next"])
                [warning] = [each for each in logged if each.get("event") == "jwks.key.unsafe"]
                self.assertIn("'edwards'", formatEvent(warning))

    def test_not_a_point_T29d(self) -> None:
        """An Ed25519 key that is not canonical, or not a point of the curve, is skipped."""
        for y in (*range(P, 2**255), 2, 7):
            for sign in (0, 1 << 255):
                raw = (y | sign).to_bytes(32, "little")
                x = urlsafe_b64encode(raw).rstrip(b"=").decode()
                self.assertEqual(self.names(EDWARDS.jwk(x=x)), [])

    def test_weak_rsa_key_T89a(self) -> None:
        """An RSA key with an unsafe exponent, or with a modulus that is too short, is skipped."""
        small = Signer("idp", "RS256", issuers.rsa_key(1024))
        n = IDP.jwk()["n"]
        even = urlsafe_b64encode(b"\x00\x01" + b"\x00" * 255 + b"\x02").rstrip(b"=").decode()
        for odd in (
            *(IDP.jwk(e=e) for e in ("AQ", "AA", "Ag", "AQAA", "AAE", n)),
            IDP.jwk(n="AQAB"),
            IDP.jwk(n=even),
            small.jwk(),
        ):
            self.assertEqual(self.names(odd), [], odd)
        self.assertEqual(self.names(IDP.jwk(e="Aw")), ["idp"])

    def test_point_off_its_curve_T89a(self) -> None:
        """A key whose point is not on its curve, or not of the size of its curve, is skipped."""
        x, y = CURVE.jwk()["x"], CURVE.jwk()["y"]
        zero = urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
        for change in ({"x": y, "y": x}, {"x": zero, "y": zero}, {"y": x}, {"crv": "P-384"}):
            self.assertEqual(self.names(CURVE.jwk(**change)), [])

    def test_private_T89a(self) -> None:
        """A key that is published with its private part is skipped: others can sign with it."""
        whole = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(IDP.private))
        self.assertEqual(self.names({**whole, "kid": "it", "key_ops": ["verify"]}), [])
        for name in ("d", "p", "q", "k", "oth"):
            self.assertEqual(self.names(EDWARDS.jwk(**{name: "x"}), CURVE.jwk()), ["curve"])
