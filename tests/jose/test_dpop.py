"""DPoP proofs are accepted only as RFC 9449 defines them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import dpop
from authotron.jose.dpop import BadProof, NonceNeeded, Proof, Target
from authotron.testing.issuers import CURVE, EDWARDS, IDP, Signer, forged_jwt, rsa_key

NOW = 1_700_000_000.0
ALGORITHMS = ("ES256", "ES384", "EdDSA", "Ed25519", "RS256", "PS256")
TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
HASH = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
REQUEST = dpop.target("GET", "https", "api.example.org", None, "/data/x")
WIDE = Signer("wide", "ES384", ec.generate_private_key(ec.SECP384R1()))

_RFC_HEADER = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNo"
    "UklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERW"
    "clUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
)


def key_of(signer: Signer) -> dict[str, Any]:
    """Return the public key of a signer as the header of a proof contains it."""
    return signer.jwk(kid=None, alg=None, use=None)


def proof(
    signer: Signer = CURVE, header: Mapping[str, Any] | None = None, /, **changes: Any
) -> str:
    """
    Build a proof for L{REQUEST} and L{TOKEN}.

    @param header: members of the header that are changed; one that is C{None} is left out.
    @param changes: claims that are changed; one that is C{None} is left out.
    """
    claims = {
        "jti": "e1j3V_bKic8-LAEB",
        "htm": "GET",
        "htu": "https://api.example.org/data/x",
        "iat": int(NOW),
        "ath": HASH,
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    members = {"typ": "dpop+jwt", "jwk": key_of(signer), "alg": signer.algorithm, **(header or {})}
    members = {name: value for name, value in members.items() if value is not None}
    algorithm = members.pop("alg", signer.algorithm)
    raw = json.dumps(claims).encode()
    return jwt.PyJWS().encode(raw, signer.private, algorithm, members)


def verify(text: str, request: Target = REQUEST, **more: Any) -> Proof:
    arguments = {"window": 60, "algorithms": ALGORITHMS, "token_hash": HASH, **more}
    return dpop.verify(text, [request], arguments.pop("now", NOW), **arguments)


class ProofTests(SynchronousTestCase):
    """Which proofs are accepted."""

    def assert_bad(self, text: str, reason: str, **more: Any) -> None:
        wrong = self.assertRaises(BadProof, verify, text, **more)
        self.assertIn(reason, str(wrong))

    def test_example_of_the_standard(self) -> None:
        """The proofs in sections 4.1 and 7.1 of RFC 9449 are accepted."""
        first = (
            f"{_RFC_HEADER}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8v"
            "c2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdr"
            "j8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
        )
        asked = dpop.target("POST", "https", "server.example.com", None, "/token")
        found = verify(first, asked, now=1562262616, token_hash=None)
        self.assertEqual(
            found,
            Proof("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "-BwC3ESc6acc2lTc", 1562262616),
        )
        second = (
            f"{_RFC_HEADER}.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9y"
            "ZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVI"
            "eU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxR"
            "imPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
        )
        asked = dpop.target("GET", "https", "resource.example.org", None, "/protectedresource")
        found = verify(second, asked, now=1562262618, token_hash=dpop.hash_of(TOKEN))
        self.assertEqual(found.id, "e1j3V_bKic8-LAEB")

    def test_hash_of_token(self) -> None:
        """C{ath} is the SHA-256 hash of the token in base64url."""
        self.assertEqual(dpop.hash_of(TOKEN), HASH)

    def test_kinds_of_keys(self) -> None:
        """Keys of each kind may sign a proof, and have the thumbprints of RFC 7638."""
        for signer in (CURVE, EDWARDS, IDP, WIDE):
            with self.subTest(signer.kid):
                self.assertEqual(verify(proof(signer)).jkt, dpop.thumbprint(key_of(signer)))
        vector = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }
        self.assertEqual(dpop.thumbprint(vector), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")

    def test_same_uri_in_other_spellings(self) -> None:
        """C{htu} is compared in canonical spelling, and its query and fragment do not count."""
        for uri in (
            "HTTPS://API.example.org/data/x",
            "https://api.example.org:443/data/x",
            "https://api.example.org/data/%78",
            "https://api.example.org/data/y/../x",
            "https://api.example.org/data/x?a=b",
            "https://api.example.org/data/x#a",
            "https://api.example.org./data/x",
        ):
            with self.subTest(uri):
                self.assertEqual(verify(proof(htu=uri)).id, "e1j3V_bKic8-LAEB")
        root = dpop.target("GET", "http", "api.example.org", 8080, "/")
        self.assertEqual(verify(proof(htu="http://api.example.org:8080"), root).issued, NOW)

    def test_other_request_S_DPOPURI(self) -> None:
        """A proof for another method or another URI is refused."""
        for method in ("POST", "get", "", None, 5, ["GET"]):
            with self.subTest(method):
                self.assert_bad(proof(htm=method), "htm")
        for uri in (
            *("http://api.example.org/data/x", "https://api.example.org:8443/data/x"),
            *("https://other.example.org/data/x", "https://api.example.org/data/x/"),
            *("https://api.example.org/Data/x", "https://u@api.example.org/data/x"),
            *("https://api.example.org/data%2Fx", "https://api.example.org//data/x", "/data/x"),
            *("https:api.example.org/data/x", " https://api.example.org/data/x", "", None, 5),
            *("https://api.example.org:/data/x", "https://api.example.org:0443x/data/x"),
            *("ftp://api.example.org/data/x", "https://api.example.org\\data/x", "https:///data/x"),
            *("https://api.example.org/d\u00e4ta", "https://api.example.org/data/x\n", ["x"]),
        ):
            with self.subTest(uri):
                self.assert_bad(proof(htu=uri), "htu")

    def test_other_token_S_DPOPATH(self) -> None:
        """A proof for another token, or for none, is refused with a token."""
        for ath in (dpop.hash_of("other"), HASH + "=", HASH.lower(), "", None, 5):
            with self.subTest(ath):
                self.assert_bad(proof(ath=ath), "ath")
        self.assertEqual(verify(proof(ath=None), token_hash=None).issued, NOW)

    def test_time_S_DPOPTIME(self) -> None:
        """A proof counts within 60 s of the time at which it was made, before and after."""
        for late in (-60.0, 0.0, 60.0):
            self.assertEqual(verify(proof(), now=NOW + late).issued, NOW)
        for late in (-61.0, 61.0, 1e9):
            self.assert_bad(proof(), "within 60 s", now=NOW + late)
        wrong: tuple[Any, ...] = (None, "1700000000", True, [], {})
        for issued in wrong:
            with self.subTest(issued):
                self.assert_bad(proof(iat=issued), "iat")

    def test_id(self) -> None:
        """A proof has an id of 1 to 256 characters."""
        self.assertEqual(verify(proof(jti="x" * 256)).id, "x" * 256)
        for id_ in (None, "", "x" * 257, 5, ["x"]):
            with self.subTest(id_):
                self.assert_bad(proof(jti=id_), "jti")

    def test_type_S_DPOPTYP(self) -> None:
        """A JWT of another type is no proof, even if the key of a proof has signed it."""
        for kind in ("JWT", "at+jwt", "exchange+jwt", "application/dpop+jwt", "DPOP+JWT", None):
            with self.subTest(kind):
                self.assert_bad(proof(CURVE, {"typ": kind or "none"}), "typ")

    def test_algorithms_S_DPOPALG(self) -> None:
        """Only asymmetric algorithms of the list are accepted, each with a fitting key."""
        self.assert_bad(proof(), "algorithm", algorithms=("EdDSA",))
        none = forged_jwt({"typ": "dpop+jwt", "alg": "none", "jwk": key_of(CURVE)}, {}, b"")
        self.assert_bad(none, "algorithm")
        secret = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}
        shared = forged_jwt({"typ": "dpop+jwt", "alg": "HS256", "jwk": secret}, {})
        self.assert_bad(shared, "algorithm")
        self.assert_bad(shared, "key", algorithms=("HS256",))
        self.assert_bad(proof(CURVE, {"jwk": key_of(IDP)}), "does not fit")
        self.assert_bad(proof(CURVE, {"jwk": key_of(WIDE)}), "does not fit")

    def test_keys_S_DPOPKEY(self) -> None:
        """A missing, private, weak or malformed key is refused, and so is a wrong signature."""
        numbers = CURVE.private.private_numbers().private_value.to_bytes(32, "big")
        private = urlsafe_b64encode(numbers).rstrip(b"=").decode()
        self.assert_bad(proof(CURVE, {"jwk": {**key_of(CURVE), "d": private}}), "private part")
        weak = Signer("weak", "RS256", rsa_key(1024))
        self.assert_bad(proof(weak), "below 2048 bits")
        other = Signer("other", "ES256", ec.generate_private_key(ec.SECP256R1()))
        self.assert_bad(proof(CURVE, {"jwk": key_of(other)}), "signature")
        curve = key_of(CURVE)
        for key in (None, "key", [curve], {}, {**curve, "x": 5}, {**curve, "use": "enc"}):
            with self.subTest(key):
                self.assert_bad(proof(CURVE, {"jwk": key}), "key")

    def test_one_spelling_of_keys_S_DPOPKEY(self) -> None:
        """A key in another spelling is refused, because its thumbprint would differ."""
        curve, modulus = key_of(CURVE), key_of(IDP)
        longer = {**modulus, "e": "AAEAAQ"}
        for signer, key in ((CURVE, {**curve, "x": curve["x"] + "="}), (IDP, longer)):
            with self.subTest(key):
                self.assert_bad(proof(signer, {"jwk": key}), "key")

    def test_malformed_S_DPOPFORM(self) -> None:
        """Text that is not one strict, signed JWT is refused."""
        good = proof()
        head, claims, signature = good.split(".")
        for text in (
            *("", "x", "a.b.c", f"{head}.{claims}", f"{good}.x", f" {good}", f"{good}="),
            *(f"{head}.{claims}.", f"{head}.{claims}.{signature[:-2]}", f"{good}, {good}"),
            forged_jwt({"typ": "dpop+jwt", "alg": "ES256", "jwk": key_of(CURVE)}, b"[]"),
            forged_jwt(b'{"typ":"dpop+jwt","typ":"JWT","alg":"ES256"}'),
            proof(jti="x" * dpop.LONGEST),
            "\u00e4.\u00e4.\u00e4",
        ):
            with self.subTest(text[:80]):
                self.assertRaises(BadProof, verify, text)
        self.assert_bad(proof(CURVE, {"zip": "DEF"}), "extension")

    def test_nonce(self) -> None:
        """If nonces are demanded, a proof must have one of the current ones."""
        self.assertEqual(verify(proof(nonce="n2"), nonces=("n1", "n2")).issued, NOW)
        for nonce in (None, "", "n3", 5, ["n1"]):
            with self.subTest(nonce):
                self.assertRaises(NonceNeeded, verify, proof(nonce=nonce), nonces=("n1", "n2"))
        self.assertEqual(verify(proof(nonce="any")).issued, NOW)
