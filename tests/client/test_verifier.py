"""Which JWTs a backend believes."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from twisted.trial.unittest import SynchronousTestCase

from authotron.client import InvalidToken, Unavailable, User, Verifier
from authotron.client.keys import Keys, published
from authotron.client.testing import ISSUER, SigningKey, mint

NOW = 1_800_000_000.0
ALICE = User("internal", "alice", ("reader",), {"archive": ("read",)}, {"department": "archive"})
KEYS = {name: SigningKey.generate(name, name) for name in ("ES256", "EdDSA", "RS256")}
SECRET = SigningKey.generate("HS256")
HOSTILE = SigningKey.generate("ES256", "ES256")


def source(*keys: SigningKey) -> Keys:
    return published({"keys": [key.jwk() for key in keys]}, "the test")


def verifier(**options: Any) -> Verifier:
    usual = {"source": lambda: source(*KEYS.values()), "clock": lambda: NOW}
    return Verifier(ISSUER, **{**usual, **options})


def token(key: SigningKey = KEYS["ES256"], **options: Any) -> str:
    return mint(ALICE, key, now=NOW, **options)


def forged(header: dict[str, Any], claims: object = None) -> str:
    parts = [json.dumps(header), json.dumps({} if claims is None else claims), "signature" * 8]
    return ".".join(urlsafe_b64encode(each.encode()).decode().rstrip("=") for each in parts)


class VerifierTests(SynchronousTestCase):
    """Good and bad JWTs."""

    def refuse(self, code: str, value: str, **options: Any) -> InvalidToken:
        """The JWT is refused for a reason."""
        error: InvalidToken = self.assertRaises(InvalidToken, verifier(**options).verify, value)
        self.assertEqual(error.code, code)
        return error

    def test_user(self) -> None:
        """A good JWT gives its user, with all claims, whatever the kind of key."""
        for key in KEYS.values():
            user = verifier().verify(token(key))
            self.assertEqual(user, ALICE)
            self.assertEqual(user.claims["sub"], "internal-alice")

    def test_shared_secret(self) -> None:
        """A verifier with a secret believes HS256, and fetches no keys."""
        found = Verifier(ISSUER, secret=SECRET.material, clock=lambda: NOW).verify(token(SECRET))
        self.assertEqual(found, ALICE)

    def test_wrong_key(self) -> None:
        """A JWT that another key signed is refused, even under the name of a known key."""
        self.refuse("signature", token(HOSTILE))
        other = SigningKey.generate("HS256")
        self.refuse("signature", token(other), source=None, secret=SECRET.material)

    def test_unknown_key(self) -> None:
        """A JWT of a key that is not published is refused."""
        self.refuse("unknown-key", token(SigningKey.generate("ES256", "other")))

    def test_public_key_as_secret(self) -> None:
        """A public key is never used as the shared secret of HS256."""
        pem = (
            KEYS["RS256"]
            .material.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        header = {"alg": "HS256", "kid": "RS256"}
        algorithm = jwt.get_algorithm_by_name("HS256")
        signed = forged(header, dict(jwt.decode(token(), options={"verify_signature": False})))
        head, payload, _ = signed.split(".")
        signature = algorithm.sign(f"{head}.{payload}".encode(), pem)
        value = f"{head}.{payload}.{urlsafe_b64encode(signature).decode().rstrip('=')}"
        self.refuse("algorithm", value)
        self.refuse("signature", value, secret=SECRET.material)

    def test_none(self) -> None:
        """A JWT without a signature is refused."""
        value = token().rpartition(".")[0]
        self.refuse("malformed", f"{value}.")
        self.refuse("algorithm", forged({"alg": "none"}))
        self.refuse("algorithm", forged({}))

    def test_algorithm_bound_to_key(self) -> None:
        """A key verifies no other algorithm than the key set says."""
        self.refuse("unknown-key", forged({"alg": "ES384", "kid": "ES256"}))
        self.refuse("algorithm", token(KEYS["RS256"]), algorithms=["ES256"])

    def test_malformed(self) -> None:
        """What is not a JWT is refused, and never raises another error."""
        good = token()
        for value in (
            "", ".", "..", "a.b", "a.b.c", f"{good}.", f"{good} ", f" {good}", good[:-1] + "=",
            f"{good}\n", "é.b.c", good.replace(".", ".."), "a" * 70_000,
            forged({"alg": "ES256", "kid": 5}), forged({"alg": ["ES256"]}),
            forged({"alg": "ES256", "crit": ["x"]}), forged({"alg": "ES256", "b64": False}),
            forged({"alg": "ES256", "typ": "dpop+jwt"}), forged([1]), forged("x"),  # type: ignore[arg-type] # hostile
            urlsafe_b64encode(b"[" * 20_000).decode() + ".e30.e30",
        ):  # fmt: skip
            with self.subTest(value[:60]):
                self.refuse("malformed", value)

    def test_expired(self) -> None:
        """A JWT is refused from its expiry on; a difference of clocks of 5 s is tolerated."""
        self.assertEqual(verifier().verify(token(lifetime=-4)), ALICE)
        self.refuse("expired", token(lifetime=-5))
        self.refuse("expired", token(lifetime=-1), leeway=0)

    def test_expiry_is_a_number(self) -> None:
        """A JWT without an expiry, or with another one than a number, is refused."""
        self.refuse("expired", token(exp=None))
        self.refuse("claims", token(exp="9999999999"))
        self.refuse("claims", KEYS["ES256"].sign({"exp": True}))

    def test_not_yet_valid(self) -> None:
        """A JWT from the future is refused; a difference of clocks of 5 s is tolerated."""
        self.assertEqual(verifier().verify(token(nbf=NOW + 5, iat=NOW + 5)), ALICE)
        self.refuse("not-yet-valid", token(nbf=NOW + 6))
        self.refuse("not-yet-valid", token(iat=NOW + 6))

    def test_issuer(self) -> None:
        """A JWT of another issuer is refused, even if a known key signed it."""
        self.refuse("issuer", token(issuer="https://other.test"))
        self.refuse("issuer", token(iss=None))

    def test_audience(self) -> None:
        """Only a JWT for one of the service's names is believed."""
        self.assertEqual(verifier(audience="api").verify(token(audience="api")), ALICE)
        many = token(audience=["web", "api"])
        self.assertEqual(verifier(audience=["api", "old"]).verify(many), ALICE)
        self.refuse("audience", token(audience="web"), audience="api")
        self.refuse("audience", token(), audience="api")
        self.refuse("audience", token(aud=5), audience="api")
        self.refuse("audience", token(aud=[["api"]]), audience="api")

    def access_token(
        self, typ: str = "at+jwt", claims: Mapping[str, Any] = MappingProxyType({})
    ) -> str:
        """Return a JWT as the gateway mints it with C{jwt.profile}."""
        usual = {"iss": ISSUER, "aud": "api", "sub": "internal-alice", "client_id": "portal"}
        times = {"iat": NOW, "exp": NOW + 60, "jti": "1"}
        user = {"realm": "internal", "username": "alice", "roles": [], "scopes": {}}
        whole = {**usual, **times, **user, "attributes": {}, **claims}
        found = {name: value for name, value in whole.items() if value is not None}
        key = KEYS["ES256"]
        header = {"kid": key.kid, "typ": typ}
        return jwt.encode(found, key.material, key.algorithm, header)

    def test_profile_S_ATJWT(self) -> None:
        """With the profile only access tokens of RFC 9068 are believed."""
        options: dict[str, Any] = {"profile": "at+jwt", "audience": "api"}
        for typ in ("at+jwt", "application/at+jwt", "AT+JWT"):
            found = verifier(**options).verify(self.access_token(typ))
            self.assertEqual(found.username, "alice")
        for typ in ("JWT", "exchange+jwt", "id+jwt", ""):
            self.refuse("malformed", self.access_token(typ), **options)
        for name in ("sub", "client_id", "jti", "iat"):
            self.refuse("claims", self.access_token(claims={name: None}), **options)
        self.refuse("claims", self.access_token(claims={"client_id": ""}), **options)
        self.refuse("audience", self.access_token(claims={"aud": None}), **options)
        self.assertEqual(verifier(audience="api").verify(self.access_token()).username, "alice")

    def test_unknown_profile(self) -> None:
        """A misspelt profile is an error at the start."""
        self.assertRaises(ValueError, verifier, profile="jwt")

    def test_audience_of_other_services(self) -> None:
        """A verifier without an audience refuses JWTs that have one."""
        self.refuse("audience", token(audience="web"))

    def test_unchecked_conditions(self) -> None:
        """A JWT with a condition is refused, unless the service says that it checks it."""
        for name in ("cnf", "restrictions"):
            condition: dict[str, Any] = {name: {"networks": ["10.0.0.0/8"]}}
            value = token(**condition)
            self.refuse("unchecked-claim", value)
            self.assertIn(name, verifier(checks=[name]).verify(value).claims)

    def test_no_user(self) -> None:
        """A JWT that does not describe a user is refused."""
        wrong: list[dict[str, Any]] = [
            {"username": None}, {"realm": None}, {"username": ""}, {"username": 5},
            {"roles": "admin"}, {"roles": [1]}, {"attributes": []}, {"scopes": {"x": "read"}},
        ]  # fmt: skip
        for claims in wrong:
            with self.subTest(claims):
                self.refuse("claims", token(**claims))

    def test_missing_details(self) -> None:
        """Roles, attributes and scopes may be missing, or null."""
        value = token(roles=None, attributes=None, scopes=None)
        self.assertEqual(verifier().verify(value), User("internal", "alice"))
        nothing = {"roles": None, "attributes": None, "scopes": None}
        claims = {"iss": ISSUER, "exp": NOW + 60, "realm": "r", "username": "u", **nothing}
        self.assertEqual(verifier().verify(KEYS["ES256"].sign(claims)), User("r", "u"))

    def test_without_key_id(self) -> None:
        """A JWT that names no key is verified by the only key that fits its algorithm."""
        key = KEYS["ES256"]
        unnamed = mint(ALICE, SigningKey("", "ES256", key.material), now=NOW)
        self.assertEqual(verifier().verify(unnamed), ALICE)
        many = {"source": lambda: source(key, SigningKey.generate("ES256", "other"))}
        self.refuse("unknown-key", unnamed, **many)

    def test_gateway_away(self) -> None:
        """If the keys cannot be fetched the JWT is not called bad."""

        def unreachable() -> Keys:
            raise Unavailable("the gateway is unreachable")

        self.assertRaises(Unavailable, verifier(source=unreachable).verify, token())

    def test_wrong_arguments(self) -> None:
        """A verifier that could never work is refused when it is made."""
        wrong: list[dict[str, Any]] = [
            {"secret": "short", "source": None}, {"audience": []}, {"audience": ""},
            {"algorithms": []}, {"algorithms": ["HS256"]}, {"algorithms": ["none"]},
            {"source": None, "jwks_url": "ftp://gateway.test/"},
            {"source": None, "jwks_url": "/jwks.json"},
        ]  # fmt: skip
        for options in wrong:
            with self.subTest(options):
                self.assertRaises(ValueError, verifier, **options)

    def test_headers(self) -> None:
        """The token of a request is taken from its Authorization header."""
        self.assertEqual(verifier().authenticate([f"Bearer {token()}"]), ALICE)

    def test_header_of_forged_jwt_is_not_remembered(self) -> None:
        """Forged JWTs take up no memory."""
        found = verifier()
        self.assertRaises(InvalidToken, found.verify, forged({"alg": "ES256", "kid": "ES256"}))
        self.assertEqual(found._headers, {})
        found.verify(token())
        self.assertEqual(len(found._headers), 1)

    def test_headers_of_many_keys(self) -> None:
        """However often the gateway changes its key, a bounded number of headers is remembered."""
        keys = [SigningKey(f"key-{number}", "ES256", HOSTILE.material) for number in range(100)]
        found = verifier(source=lambda: source(*keys))
        for key in keys:
            self.assertEqual(found.verify(token(key)), ALICE)
            self.assertLessEqual(len(found._headers), 32)
            self.assertIn(token(key).partition(".")[0], found._headers)

    def test_secret_does_not_print(self) -> None:
        """Neither keys nor tokens stand in a representation."""
        found = verifier(secret=SECRET.material)
        self.assertNotIn(SECRET.material, repr([found, found._shared, vars(found)]))
