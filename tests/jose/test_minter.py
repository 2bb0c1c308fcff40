"""Minting and verifying JWTs, and the keys for both."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519
from hypothesis import given
from hypothesis import strategies as some
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import schema, section
from authotron.config.schema import JwtConfig
from authotron.config.sources import Sources
from authotron.jose import minter
from authotron.jose.keys import thumbprint
from authotron.jose.minter import Minter
from authotron.model.authentication import Authentication
from authotron.model.errors import ConfigError, Rejected
from authotron.model.identity import Identity
from authotron.testing.issuers import rsa_key
from authotron.testing.worlds import NOW, clock_at

SECRET = "a secret that is long enough for HS256"
ALICE = Authentication(
    Identity("internal", "alice", ("reader",), {"team": "blue"}, {"archive": ("read",)})
)


def config(**given: Any) -> schema.JwtConfig:
    return section.read(schema.JwtConfig, {"iss": "gate", "secret": SECRET, **given}, "jwt")


def made(**given: Any) -> Minter:
    return minter.make(config(**given), clock_at(NOW))


def pem(key: Any) -> bytes:
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded


class ClaimsTests(SynchronousTestCase):
    """The claims of a minted JWT."""

    def claims(self, found: Authentication = ALICE, **given: Any) -> dict[str, Any]:
        token = made(**given).mint(found)
        unchecked = {"verify_signature": False}
        self.assertTrue(jwt.api_jws.decode(token, SECRET, ["HS256"]))
        claims: dict[str, Any] = jwt.decode(token, options=unchecked)  # type: ignore[arg-type] # some of them
        return claims

    def test_all_T63(self) -> None:
        """A JWT has subject, issuer, times, a unique id, and the identity."""
        claims = self.claims(exp=120)
        self.assertTrue(claims.pop("jti"))
        self.assertEqual(
            claims,
            {
                "sub": "internal-alice",
                "iss": "gate",
                "iat": NOW,
                "exp": NOW + 120,
                "username": "alice",
                "realm": "internal",
                "roles": ["reader"],
                "attributes": {"team": "blue"},
                "scopes": {"archive": ["read"]},
            },
        )

    def test_jti_is_unique_T63(self) -> None:
        """No two JWTs have the same C{jti}."""
        self.assertNotEqual(self.claims()["jti"], self.claims()["jti"])

    def test_any_text_T38(self) -> None:
        """Every string is minted unchanged, even half of a surrogate pair, which UTF-8 lacks."""
        for text in ("Ångström", "\u2028", "\U0001f600", "\x00", 'a"b\\', "\ud800"):
            claims = self.claims(
                Authentication(Identity("internal", "alice", (text,), {"team": text}))
            )
            self.assertEqual((claims["roles"], claims["attributes"]), ([text], {"team": text}))

    def test_other_types(self) -> None:
        """A JWT of another type has the given claims, and a header that states its type."""
        made_by = made()
        token = made_by.sign({"iss": "gate", "exp": NOW + 60, "who": "alice"}, "exchange+jwt")
        header, claims = made_by.verify(token)
        self.assertEqual(header, {"alg": "HS256", "typ": "exchange+jwt"})
        self.assertEqual(claims, {"iss": "gate", "exp": NOW + 60, "who": "alice"})

    def test_audience_on_demand(self) -> None:
        """C{aud} is minted only with C{emit_aud}."""
        self.assertNotIn("aud", self.claims(aud="backends"))
        self.assertEqual(self.claims(aud="backends", emit_aud=True)["aud"], "backends")
        self.assertEqual(self.claims(aud=["a", "b"], emit_aud=True)["aud"], ["a", "b"])

    def test_not_longer_than_the_credential_T41(self) -> None:
        """A JWT expires no later than the credential of the client."""
        found = Authentication(Identity("internal", "alice"), expires=NOW + 10.9)
        self.assertEqual(self.claims(found)["exp"], NOW + 10)

    def test_attribute_exp_T38(self) -> None:
        """The attribute C{exp} shortens the lifetime of a JWT, and never lengthens it."""
        for text, wanted in (
            (str(NOW + 5), NOW + 5),
            (f"+{NOW + 5}", NOW + 5),
            ("9" * 11, NOW + 60),
        ):
            with self.subTest(text):
                found = Authentication(Identity("internal", "alice", attributes={"exp": text}))
                self.assertEqual(self.claims(found, exp=60)["exp"], wanted)

    def test_expired_attribute_S_LEEWAY(self) -> None:
        """No JWT is minted if the attribute C{exp} is in the past or negative."""
        over = (
            "12345",
            str(NOW),
            "0",
            "-0",
            "-1",
            f"-{NOW + 60}",
            "-" + "9" * 400,
            "+7",
            "0" * 20 + "7",
        )
        for text in over:
            with self.subTest(text):
                found = Authentication(Identity("internal", "alice", attributes={"exp": text}))
                self.assertRaises(Rejected, self.claims, found)

    def test_large_H_GROUPS(self) -> None:
        """A JWT above C{jwt.warn_bytes} is minted, with one warning an hour for each user."""
        clock = clock_at(NOW)
        mint = minter.make(config(warn_bytes=2048), clock).mint
        tess, bob = (
            Authentication(Identity("internal", name, ("r" * 20,) * 100))
            for name in ("tess", "bob")
        )
        with capturedLogs() as logged:
            for found in (tess, bob, tess, ALICE):
                self.assertEqual(len(mint(found)) > 2048, found is not ALICE)
            clock.advance(3600)
            size = len(mint(tess))
        told = [formatEvent(each) or "" for each in logged if each.get("event") == "auth.jwt.large"]
        self.assertEqual(len(told), 3)
        self.assertIn("the JWT of tess in realm internal has", told[2])
        self.assertIn(f"{size} bytes, more than jwt.warn_bytes (2048): 100 roles", told[2])

    def test_warnings_are_bounded_H_GROUPS(self) -> None:
        """Warnings of at most 1000 users are remembered."""
        mint = made(warn_bytes=1024)
        for number in range(1500):
            mint.mint(Authentication(Identity("internal", f"user-{number}", ("r" * 1000,))))
        self.assertLessEqual(len(mint._next_warnings), 1000)

    def test_expired_T81e(self) -> None:
        """No JWT is minted for a credential that has expired, or expires within this second."""
        for expires in (NOW - 30, NOW - 0.5, NOW, NOW + 0.9, 0.0, -5.0):
            with self.subTest(expires):
                found = Authentication(Identity("internal", "alice"), expires=expires)
                self.assertRaises(Rejected, self.claims, found)
        self.assertEqual(
            self.claims(Authentication(Identity("internal", "alice"), expires=NOW + 1))["exp"],
            NOW + 1,
        )

    @given(some.text(some.sampled_from("+-0123456789. e")) | some.text())
    def test_attribute_exp_garbage_T38(self, text: str) -> None:
        """A malformed attribute C{exp} neither lengthens the lifetime nor raises an error."""
        found = Authentication(Identity("internal", "alice", attributes={"exp": text}))
        with contextlib.suppress(Rejected):
            expires = self.claims(found, exp=60)["exp"]
            self.assertTrue(NOW < expires <= NOW + 60)


class SecretTests(SynchronousTestCase):
    """The secrets that HS256 accepts."""

    def test_weak_T78(self) -> None:
        """A placeholder or a short secret is refused, unless C{allow_weak_secret} is set."""
        for secret in ("changeme", "your-secret-key-here", "fifteen bytes.."):
            with self.subTest(secret):
                error = self.assertRaises(ConfigError, config, secret=secret)
                self.assertIn("jwt", error.problems[0].path)
                self.assertNotIn(secret, str(error))
                self.assertTrue(config(secret=secret, allow_weak_secret=True))

    def test_short_secret_warns(self) -> None:
        """A secret below 32 bytes causes a warning."""
        self.assertIn("32", config(secret="sixteen bytes...").warnings()[0])
        self.assertEqual(config().warnings(), ())

    def test_secret_is_missing(self) -> None:
        """HS256 requires a secret."""
        self.assertRaises(ConfigError, section.read, schema.JwtConfig, {"iss": "gate"}, "jwt")

    def test_not_shown(self) -> None:
        """The repr of configuration and minter does not contain the secret."""
        self.assertNotIn(SECRET, repr(config()) + repr(made()))


class KeyTests(SynchronousTestCase):
    """Asymmetric keys."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, key: Any, name: str = "key.pem") -> str:
        path = self.folder / name
        path.write_bytes(pem(key))
        return str(path)

    def test_each_algorithm_T63(self) -> None:
        """Each algorithm signs; the published key verifies, and has no private part."""
        keys: dict[str, Any] = {
            "RS256": rsa_key(),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
        for alg, key in keys.items():
            with self.subTest(alg):
                signer = made(alg=alg, key_file=self.write(key))
                token = signer.mint(ALICE)
                [jwk] = signer.jwks["keys"]
                self.assertEqual(jwt.get_unverified_header(token)["kid"], jwk["kid"])
                self.assertFalse({"d", "p", "q", "k"} & set(jwk))
                self.assertEqual(jwk["alg"], alg)
                claims = jwt.decode(token, jwt.PyJWK(jwk), [alg], {"verify_iat": False})
                self.assertEqual(claims["sub"], "internal-alice")
                self.assertEqual(signer.verify(token)[1], claims)

    def test_secret_is_not_published_T63(self) -> None:
        """The shared secret of HS256 is not in the key set."""
        self.assertEqual(made().jwks, {"keys": []})

    def test_thumbprint(self) -> None:
        """The default C{kid} is the thumbprint: the example of RFC 7638 section 3.1."""
        n = (
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
            "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
        )
        key = jwt.PyJWK({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256"}).key
        self.assertEqual(thumbprint(key), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")

    def test_previous_T48(self) -> None:
        """A previous key is still published and verifies, but does not sign."""
        old, new = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))
        before = made(alg="EdDSA", key_file=self.write(old, "old.pem"))
        after = made(
            alg="EdDSA",
            key_file=self.write(new, "new.pem"),
            previous_key_files=[self.write(old, "old.pem")],
        )
        self.assertEqual(len(after.jwks["keys"]), 2)
        self.assertTrue(after.verify(before.mint(ALICE)))
        self.assertRaises(jwt.InvalidTokenError, before.verify, after.mint(ALICE))

    def test_confusion_T29(self) -> None:
        """A key verifies with its own algorithm only, whatever the header says."""
        signer = made(alg="EdDSA", key_file=self.write(ed25519.Ed25519PrivateKey.generate()))
        [jwk] = signer.jwks["keys"]
        for alg, key in (
            ("RS256", rsa_key()),
            ("ES256", ec.generate_private_key(ec.SECP256R1())),
            ("HS256", SECRET),
        ):
            forged = jwt.encode({"iss": "gate", "exp": NOW + 9}, key, alg, {"kid": jwk["kid"]})
            self.assertRaises(jwt.InvalidTokenError, signer.verify, forged)

    def test_unsafe_previous_T29d(self) -> None:
        """A previous key with which others could sign is refused: backends would trust it."""
        unsafe: list[Any] = [
            ed25519.Ed25519PublicKey.from_public_bytes(bytes(32)),
            ed25519.Ed25519PublicKey.from_public_bytes(b"\xee" + b"\xff" * 30 + b"\x7f"),
            rsa_key(1024).public_key(),
        ]
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        good = self.write(ed25519.Ed25519PrivateKey.generate())
        for number, key in enumerate(unsafe):
            path = self.folder / f"{number}.pem"
            path.write_bytes(key.public_bytes(*form))
            error = self.assertRaises(
                ConfigError, made, alg="EdDSA", key_file=good, previous_key_files=[str(path)]
            )
            [problem] = error.problems
            self.assertEqual(problem.path, "jwt.previous_key_files[0]")

    def test_unfit_key(self) -> None:
        """A key that is missing, weak, or of another kind is a configuration error with a path."""
        weak = self.write(rsa_key(1024), "weak.pem")
        other = self.write(ec.generate_private_key(ec.SECP384R1()), "other.pem")
        garbage = self.folder / "garbage.pem"
        garbage.write_text("no key")
        for alg, path in (
            ("RS256", weak),
            ("ES256", other),
            ("EdDSA", weak),
            ("RS256", str(garbage)),
            ("RS256", str(self.folder / "missing.pem")),
        ):
            with self.subTest(f"{alg} {path}"):
                error = self.assertRaises(ConfigError, made, alg=alg, key_file=path)
                self.assertIn(error.problems[0].path, ("jwt.key", "jwt.key_file"))

    def test_key_from_each_source(self) -> None:
        """The private key may stand in a file, in a variable or in the configuration itself."""
        key = ed25519.Ed25519PrivateKey.generate()
        text = pem(key).decode()
        tokens = []
        for twin in ({"key_file": self.write(key)}, {"key_env": "KEY"}, {"key": text}):
            keys = {"iss": "gate", "alg": "EdDSA", **twin}
            sources = Sources(environ={"KEY": text})
            read = section.read(JwtConfig, keys, sources=sources)
            self.assertNotIn("PRIVATE", repr(read))
            tokens.append(minter.make(read, clock_at(NOW)).jwks)
        self.assertEqual(tokens[0], tokens[1])
        self.assertEqual(tokens[0], tokens[2])

    def test_unfit_previous(self) -> None:
        """A previous key that cannot verify signatures is a configuration error."""
        for key in (
            dsa.generate_private_key(1024),
            ed448.Ed448PrivateKey.generate(),
            ec.generate_private_key(ec.SECP384R1()),
        ):
            with self.subTest(repr(key)):
                paths = [self.write(key, "previous.pem")]
                error = self.assertRaises(ConfigError, made, previous_key_files=paths)
                self.assertEqual(error.problems[0].path, "jwt.previous_key_files[0]")


class VerifyTests(SynchronousTestCase):
    """Verifying a JWT that the gateway minted."""

    def test_confusion_T29(self) -> None:
        """A JWT is verified with the configured algorithm, whatever its header says."""
        signer = made()
        none = jwt.encode({"iss": "gate"}, "", "none")
        self.assertRaises(jwt.InvalidTokenError, signer.verify, none)
        forged = jwt.encode({"iss": "gate"}, SECRET + "!", "HS256")
        self.assertRaises(jwt.InvalidTokenError, signer.verify, forged)
