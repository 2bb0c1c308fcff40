"""Published keys: which are used, when they are fetched, and what they verify."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import jwk
from authotron.jose.jwks import KeySet
from authotron.jose.key_sources import Discovery, FixedUrl
from authotron.jose.verifier import Verifier
from authotron.model.errors import Rejected, Unavailable
from authotron.testing import issuers
from authotron.testing.issuers import CURVE, EDWARDS, IDP, NEXT, Signer, forged_jwt, key_set
from authotron.testing.remotes import Action, FakeRemote, Hang, Respond, start, web_client
from authotron.testing.worlds import NOW, clock_at

CERTS = "http://idp.example/certs"


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
        return list(jwk.read({"keys": list(keys)}, "here"))

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
            IDP.jwk(kid=None),
            IDP.jwk(kid=5),
            IDP.jwk(kid=""),
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


class KeySetTests(SynchronousTestCase):
    """The times at which a key set is fetched."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.play: Action = Respond(key_set(IDP))
        self.remote = FakeRemote(lambda _: self.play)
        self.keys = KeySet(self.clock, FixedUrl(web_client(self.remote, self.clock), CERTS))

    def named(self, kid: str) -> Deferred[Any]:
        return start(self.keys.named(kid))

    def fetches(self) -> int:
        return len(self.remote.requests)

    def test_fetched_when_needed(self) -> None:
        """Keys are fetched when they are first needed, once, and used for 10 minutes."""
        self.assertEqual(self.fetches(), 0)
        for _ in range(3):
            self.successResultOf(self.named("idp"))
        self.clock.advance(599)
        self.successResultOf(self.named("idp"))
        self.assertEqual(self.fetches(), 1)
        self.clock.advance(1)
        self.successResultOf(self.named("idp"))
        self.assertEqual(self.fetches(), 2)

    def test_together_T45(self) -> None:
        """All requests wait for one fetch, which is not cancelled when they are."""
        self.play = Hang()
        waiting = [self.named("idp") for _ in range(5)]
        for each in waiting[:4]:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.remote.finish_all(json.dumps(key_set(IDP)).encode())
        self.successResultOf(waiting[4])
        self.assertEqual((self.fetches(), self.remote.abandoned), (1, 0))

    def test_unknown_name(self) -> None:
        """A JWT that names an unknown key causes one more fetch."""
        self.successResultOf(self.named("idp"))
        self.play = Respond(key_set(IDP, NEXT))
        self.successResultOf(self.named("next"))
        self.assertEqual(self.fetches(), 2)

    def test_flood_T32(self) -> None:
        """A thousand made-up key names cause one fetch every 10 s."""
        self.successResultOf(self.named("idp"))
        for number in range(1000):
            self.failureResultOf(self.named(f"made-up-{number}"), Rejected)
        self.assertEqual(self.fetches(), 2)
        self.clock.advance(10)
        self.failureResultOf(self.named("made-up"), Rejected)
        self.assertEqual(self.fetches(), 3)

    def test_just_fetched(self) -> None:
        """A key set that was just fetched for a JWT is not fetched again for the same JWT."""
        self.failureResultOf(self.named("made-up"), Rejected)
        self.assertEqual(self.fetches(), 1)

    def test_refreshed_in_background_D1(self) -> None:
        """No request waits while keys are refreshed: the cached keys are used meanwhile."""
        self.successResultOf(self.named("idp"))
        self.clock.advance(600)
        self.play = Hang()
        for _ in range(3):
            self.successResultOf(self.named("idp"))
        self.assertEqual(self.fetches(), 2)
        self.remote.finish_all(json.dumps(key_set(NEXT)).encode())
        self.play = Respond(key_set(NEXT))
        self.successResultOf(self.named("next"))
        self.failureResultOf(self.named("idp"), Rejected)

    def test_packets_dropped_H_KEYS(self) -> None:
        """If the issuer does not answer, a refresh times out and is repeated after 10 s."""
        self.successResultOf(self.named("idp"))
        self.clock.advance(600)
        self.play = Hang()
        self.successResultOf(self.named("idp"))
        with capturedLogs() as logged:
            self.clock.advance(10)
        [warning] = [each for each in logged if each.get("event") == "jwks.refresh.failed"]
        self.assertIn("its keys of 610 s ago remain in use", formatEvent(warning))
        self.successResultOf(self.named("idp"))
        self.assertEqual(self.fetches(), 3)

    def test_refresh_broken_D1(self) -> None:
        """A defect in a background refresh is logged, and no request fails."""
        self.successResultOf(self.named("idp"))
        self.clock.advance(600)
        self.patch(self.keys, "_source", self.breaks)
        self.successResultOf(self.named("idp"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def breaks(self) -> Any:
        return 1 / 0

    def test_at_hand_D5(self) -> None:
        """Keys are at hand after they were fetched, until they are too stale."""
        self.assertFalse(self.keys.is_at_hand)
        self.successResultOf(self.named("idp"))
        self.assertTrue(self.keys.is_at_hand)
        self.clock.advance(86_400)
        self.assertFalse(self.keys.is_at_hand)

    def test_stale_keys_T32(self) -> None:
        """If a refresh fails, stale keys are used, and the issuer is not asked more often."""
        self.successResultOf(self.named("idp"))
        self.clock.advance(600)
        for self.play in (Respond({}, 500), Respond(b"<html>"), Respond({"keys": 5})):
            for _ in range(3):
                self.successResultOf(self.named("idp"))
            self.clock.advance(10)
        self.assertEqual(self.fetches(), 4)

    def test_too_stale(self) -> None:
        """Keys are not used for more than a day without a successful refresh."""
        self.successResultOf(self.named("idp"))
        self.play = Respond({}, 500)
        self.clock.advance(86_400)
        self.failureResultOf(self.named("idp"), Unavailable)

    def test_no_keys_yet_T44(self) -> None:
        """Without keys a JWT is not judged, and the next one tries to fetch them again at once."""
        self.play = Respond({}, 500)
        self.failureResultOf(self.named("idp"), Unavailable)
        self.play = Respond(key_set(IDP))
        self.successResultOf(self.named("idp"))

    def test_search_fails_T44(self) -> None:
        """If fetching fails, a JWT with an unknown key is not judged."""
        self.successResultOf(self.named("idp"))
        self.play = Respond({}, 500)
        self.failureResultOf(self.named("next"), Unavailable)
        self.successResultOf(self.named("idp"))

    def test_searched_together_D1(self) -> None:
        """All JWTs that name a new key wait for the same fetch."""
        self.successResultOf(self.named("idp"))
        self.play = Hang()
        waiting = [self.named("next"), self.named("next"), self.named("made-up")]
        self.successResultOf(self.named("idp"))
        self.remote.finish_all(json.dumps(key_set(IDP, NEXT)).encode())
        for each in waiting[:2]:
            self.successResultOf(each)
        self.failureResultOf(waiting[2], Rejected)
        self.assertEqual(self.fetches(), 2)

    def test_search_failed_D1(self) -> None:
        """Until a failed fetch is repeated, JWTs with an unknown key are not judged."""
        self.successResultOf(self.named("idp"))
        self.play = Respond({}, 500)
        for _ in range(3):
            self.failureResultOf(self.named("next"), Unavailable)
        self.assertEqual(self.fetches(), 2)
        self.clock.advance(10)
        self.play = Respond(key_set(IDP, NEXT))
        self.successResultOf(self.named("next"))
        self.failureResultOf(self.named("made-up"), Rejected)

    def test_too_large_T33(self) -> None:
        """A key set of more than a megabyte is not used."""
        self.play = Respond(b" " * 1_048_577)
        self.failureResultOf(self.named("idp"), Unavailable)


class DiscoveryTests(SynchronousTestCase):
    """Key sets that are found by the issuer's discovery document."""

    ISSUER = "https://idp.example/realms/x"
    DESCRIPTION = "idp.example/realms/x/.well-known/openid-configuration"

    def start(self, **described: Any) -> Deferred[Any]:
        said = {"issuer": self.ISSUER, "jwks_uri": "https://keys.example/x", **described}
        self.script: dict[str, Action] = {
            self.DESCRIPTION: Respond(said),
            "keys.example/x": Respond(key_set(IDP)),
        }
        self.clock = clock_at(NOW)
        self.remote = FakeRemote(self.script)
        web = web_client(self.remote, self.clock)
        self.keys = KeySet(self.clock, Discovery(web, self.clock, self.ISSUER))
        return start(self.keys.named("idp"))

    def test_discovered(self) -> None:
        """The discovery document is fetched, then the keys from the URL that it names."""
        self.successResultOf(self.start())
        self.assertEqual(self.remote.addresses(), [self.DESCRIPTION, "keys.example/x"])

    def test_discovery_is_cached(self) -> None:
        """Refreshing the keys does not fetch the discovery document again within an hour."""
        self.successResultOf(self.start())
        self.clock.advance(600)
        self.successResultOf(start(self.keys.named("idp")))
        self.assertEqual(self.remote.addresses()[2:], ["keys.example/x"])

    def test_moved(self) -> None:
        """If the key set cannot be fetched, the discovery document is fetched again."""
        self.successResultOf(self.start())
        self.script["keys.example/x"] = Respond({}, 404)
        self.clock.advance(600)
        self.successResultOf(start(self.keys.named("idp")))
        moved = {"issuer": self.ISSUER, "jwks_uri": "https://keys.example/y"}
        self.script[self.DESCRIPTION] = Respond(moved)
        self.script["keys.example/y"] = Respond(key_set(NEXT))
        self.clock.advance(10)
        self.successResultOf(start(self.keys.named("next")))

    def test_another_issuer_T34(self) -> None:
        """A discovery document of another issuer is not used, even if only a slash differs."""
        for other in (self.ISSUER + "/", "https://evil.example", [self.ISSUER], None):
            self.failureResultOf(self.start(issuer=other), Unavailable)

    def test_elsewhere_T33(self) -> None:
        """Keys are not fetched from a malformed URL, nor without TLS if the issuer has TLS."""
        for url in ("http://keys.example/x", "file:///etc/passwd", 5, None, "keys.example"):
            self.failureResultOf(self.start(jwks_uri=url), Unavailable)
            self.assertEqual(self.remote.addresses(), [self.DESCRIPTION])


class VerifierTests(SynchronousTestCase):
    """JWTs whose signatures are accepted."""

    def setUp(self) -> None:
        self.remote = FakeRemote(lambda _: Respond(key_set(IDP, NEXT, CURVE, EDWARDS)))
        keys = KeySet(clock_at(NOW), FixedUrl(web_client(self.remote), CERTS))
        self.verifier = Verifier(jwk.ALGORITHMS, keys)

    def verify(self, token: str) -> Any:
        return self.successResultOf(start(self.verifier.verified(token)))[1]

    def refused(self, token: str) -> None:
        failure = self.failureResultOf(start(self.verifier.verified(token)), Rejected)
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
        """If the keys cannot be fetched, a JWT is not judged."""
        keys = KeySet(
            clock_at(NOW), FixedUrl(web_client(FakeRemote(lambda _: Respond({}, 500))), CERTS)
        )
        deferred = start(Verifier(jwk.ALGORITHMS, keys).verified(IDP.sign()))
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
