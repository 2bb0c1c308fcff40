"""JWTs whose signatures are accepted."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import jwk
from authotron.jose.jwks import KeySet
from authotron.jose.key_sources import FixedUrl
from authotron.jose.verifier import Verifier
from authotron.model.errors import Rejected, Unavailable
from authotron.testing import issuers
from authotron.testing.issuers import CURVE, EDWARDS, IDP, NEXT, forged_jwt, key_set
from authotron.testing.remotes import FakeRemote, Respond, start, web_client
from authotron.testing.worlds import NOW, clock_at

CERTS = "http://idp.example/certs"


def ed25519(kid: str | None) -> str:
    """Sign a JWT whose header has the algorithm C{Ed25519}, which PyJWT does not know."""
    head = forged_jwt({"alg": "Ed25519", "kid": kid}).rpartition(".")[0]
    signature = EDWARDS.private.sign(head.encode())
    return head + "." + urlsafe_b64encode(signature).decode().rstrip("=")


class VerifierTests(SynchronousTestCase):
    """JWTs whose signatures are accepted."""

    def setUp(self) -> None:
        self.remote = FakeRemote(lambda _: Respond(key_set(IDP, NEXT, CURVE, EDWARDS)))
        keys = KeySet(clock_at(NOW), FixedUrl(web_client(self.remote), CERTS))
        self.verifier = Verifier(jwk.ALGORITHMS, keys)

    def verify(self, token: str) -> Any:
        return self.successResultOf(start(self.verifier.verify(token)))[1]

    def refused(self, token: str) -> None:
        failure = self.failureResultOf(start(self.verifier.verify(token)), Rejected)
        self.assertNotIn(token or "?", failure.getErrorMessage())

    def test_signed_with_a_published_key(self) -> None:
        """A JWT that is signed with a published key is accepted."""
        for signer in (IDP, NEXT, CURVE, EDWARDS):
            self.assertEqual(self.verify(signer.sign())["sub"], "u-1")

    def test_none_T29(self) -> None:
        """A JWT without a signature is refused, in every spelling of the algorithm C{none}."""
        for algorithm in ("none", "None", "NONE", "", None, 5, ["RS256"], "rs256"):
            for signature in (b"", b"x" * 64):
                self.refused(forged_jwt({"alg": algorithm, "kid": "idp"}, signature=signature))
        self.refused(forged_jwt({"kid": "idp"}))

    def test_public_key_as_secret_T29(self) -> None:
        """A JWT with an HMAC keyed by any encoding of the public key is refused."""
        public = IDP.private.public_key()
        pem = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for secret in (pem, json.dumps(IDP.jwk()).encode()):
            for algorithm in ("HS256", "HS384", "HS512"):
                head = forged_jwt({"alg": algorithm, "kid": "idp"}).rpartition(".")[0]
                signature = jwt.algorithms.HMACAlgorithm(
                    getattr(jwt.algorithms.HMACAlgorithm, algorithm.replace("HS", "SHA"))
                ).sign(head.encode(), secret)
                self.refused(head + "." + urlsafe_b64encode(signature).decode().rstrip("="))

    def test_other_algorithm_T30(self) -> None:
        """A key is not used with an algorithm for which it was not published."""
        self.refused(IDP.sign(header={"alg": "RS512"}))
        self.refused(IDP.sign(header={"alg": "PS256"}))

    def test_not_configured_T29(self) -> None:
        """A JWT with an algorithm that is not configured is refused."""
        self.verifier = Verifier(["ES256"], self.verifier.keys)
        self.refused(IDP.sign())

    def test_other_key(self) -> None:
        """A JWT that is signed with another key than it names is refused."""
        self.refused(IDP.sign(header={"kid": "next"}))
        self.refused(IDP.sign(header={"kid": "curve"}))

    def test_kid_T30(self) -> None:
        """A JWT whose C{kid} is missing or not a string is refused."""
        for kid in (None, 5, "", ["idp"]):
            self.refused(forged_jwt({"alg": "RS256", "kid": kid}))

    def serve(self, *keys: Any) -> None:
        """Verify with a key set of these keys, which is fetched anew."""
        self.remote = FakeRemote(lambda _: Respond({"keys": [*keys]}))
        self.clock = clock_at(NOW)
        keys_of_issuer = KeySet(self.clock, FixedUrl(web_client(self.remote, self.clock), CERTS))
        self.verifier = Verifier(jwk.ALGORITHMS, keys_of_issuer)

    def test_without_kid_H_KID(self) -> None:
        """C{kid} is optional in a JWT and in a key: the only key that fits is used."""
        for key in (IDP.jwk(kid=None), IDP.jwk(), IDP.jwk(alg=None, kid=None)):
            self.serve(key, CURVE.jwk())
            for kid in (None, ""):
                self.assertEqual(self.verify(IDP.sign(header={"kid": kid}))["sub"], "u-1")
        self.serve(IDP.jwk(kid=None), CURVE.jwk())
        self.verify(IDP.sign(header={"kid": "a name that is not published"}))
        self.refused(NEXT.sign(header={"kid": None}))
        self.refused(EDWARDS.sign(header={"kid": None}))

    def test_several_fit_H_KID(self) -> None:
        """A JWT without C{kid} is refused if several keys fit its algorithm."""
        self.serve(IDP.jwk(kid=None), NEXT.jwk())
        self.refused(IDP.sign(header={"kid": None}))
        self.serve(IDP.jwk(), NEXT.jwk(alg="RS512"))
        self.verify(IDP.sign(header={"kid": None}))

    def test_new_key_H_KID(self) -> None:
        """If the only key without a name was replaced, the new one is fetched, every 10 s."""
        published = [IDP.jwk(kid=None)]
        self.serve()
        self.remote.script = lambda _: Respond({"keys": published})
        self.verify(IDP.sign(header={"kid": None}))
        published[:] = [NEXT.jwk(kid=None)]
        self.verify(NEXT.sign(header={"kid": None}))
        for _ in range(100):
            self.refused(IDP.sign(header={"kid": None}))
        self.assertEqual(len(self.remote.requests), 2)

    def test_fully_specified_H_ED(self) -> None:
        """C{Ed25519} and C{EdDSA} name the same signatures (RFC 9864)."""
        token = ed25519("edwards")
        for alg in ("EdDSA", "Ed25519", None):
            self.serve(EDWARDS.jwk(alg=alg))
            for each in (token, ed25519(None), EDWARDS.sign()):
                self.assertEqual(self.verify(each)["sub"], "u-1")
        self.refused(token[:-4] + "AAAA")

    def test_critical_T31(self) -> None:
        """A JWT that demands an unknown extension is refused."""
        extensions: list[dict[str, Any]] = [{"crit": ["bork"], "bork": 1}, {"crit": []}]
        for extension in [*extensions, {"b64": False}, {"zip": "DEF"}]:
            self.refused(forged_jwt({"alg": "RS256", "kid": "idp", **extension}))

    def test_no_fetch_T33(self) -> None:
        """No key is fetched from a URL in the header of a JWT."""
        where = "http://169.254.169.254/"
        for name in ("jku", "x5u", "jwk", "iss"):
            self.refused(forged_jwt({"alg": "RS256", "kid": "idp", name: where}))
        self.refused(forged_jwt({"alg": "RS256", "kid": "idp"}, {"iss": where}))
        self.assertEqual(set(self.remote.addresses()), {"idp.example/certs"})

    def test_shape_T37(self) -> None:
        """A token that is not three parts of canonical base64url is refused."""
        good = IDP.sign()
        head, claims, signature = good.split(".")
        for bad in ("", ".", "..", "a.b.c", good + ".", head, f"{head}.{claims}", good + ".x.y",
                    f"{head}=.{claims}.{signature}", f"{head}.{claims}.{signature}==",
                    f" {good}", f"{head}.{claims}\n.{signature}"):  # fmt: skip
            with self.subTest(bad[:10]):
                self.refused(bad)

    def test_content_T37(self) -> None:
        """Claims must be a JSON object without duplicate keys and without excessive nesting."""
        deep = b'{"sub":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
        for claims in (b"[]", b"5", b'"x"', b"null", b"{", b'{"sub":"a","sub":"b"}', deep,
                       b'{"exp":1e400}', b'{"exp":NaN}', b'{"exp":Infinity}', b"\xff{}",
                       b'{"n":' + b"9" * 5000 + b"}"):  # fmt: skip
            with self.subTest(claims[:12]):
                self.refused(IDP.sign(claims))

    def test_huge_T37(self) -> None:
        """A token of megabytes is refused without parsing."""
        self.refused(IDP.sign(x="x" * 5_000_000))

    def test_unreachable(self) -> None:
        """If the keys cannot be fetched, a JWT is neither accepted nor refused."""
        keys = KeySet(
            clock_at(NOW), FixedUrl(web_client(FakeRemote(lambda _: Respond({}, 500))), CERTS)
        )
        deferred = start(Verifier(jwk.ALGORITHMS, keys).verify(IDP.sign()))
        self.failureResultOf(deferred, Unavailable)

    def test_secret(self) -> None:
        """HS signatures are verified with the configured secret only."""
        secret = b"s" * 32
        self.verifier = Verifier(["HS256", "RS256"], self.verifier.keys, secret)
        token = jwt.encode(dict(issuers.CLAIMS), secret, "HS256")
        self.assertEqual(self.verify(token)["sub"], "u-1")
        self.refused(jwt.encode(dict(issuers.CLAIMS), b"t" * 32, "HS256"))
        self.assertEqual(self.verify(IDP.sign())["sub"], "u-1")
        self.assertNotIn("ssss", repr(self.verifier))
