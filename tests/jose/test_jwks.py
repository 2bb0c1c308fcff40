"""Published keys, and what is believed because of them."""

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
    """Which keys of a set are used."""

    def names(self, *keys: Any) -> list[str]:
        return list(jwk.read({"keys": list(keys)}, "here"))

    def test_kinds(self) -> None:
        """RSA, the three curves of NIST and Ed25519."""
        big = [Signer("p384", "ES384", ec.generate_private_key(ec.SECP384R1()))]
        big += [Signer("p521", "ES512", ec.generate_private_key(ec.SECP521R1()))]
        everyone = [IDP, CURVE, EDWARDS, *big]
        self.assertEqual(
            self.names(*(each.jwk() for each in everyone)), [each.kid for each in everyone]
        )

    def test_odd_T33(self) -> None:
        """What is of no use or of no safe size is passed over and spoils nothing."""
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
        """Of a set of thousands only the first are looked at."""
        self.assertEqual(self.names(*([{}] * 200), IDP.jwk()), [])

    def test_no_set(self) -> None:
        """A document without a list of keys is no key set."""
        documents: list[dict[str, Any]] = [{}, {"keys": {}}, {"keys": None}]
        for document in documents:
            self.assertRaises(Unavailable, jwk.read, document, "here")

    def test_small_order_T29d(self) -> None:
        """An Ed25519 key of small order, in whatever encoding, is passed over with a warning."""
        for raw in SMALL_ORDER:
            x = urlsafe_b64encode(raw).rstrip(b"=").decode()
            with self.subTest(raw.hex()):
                with capturedLogs() as logged:
                    self.assertEqual(self.names(EDWARDS.jwk(x=x), NEXT.jwk()), ["next"])
                [warning] = [each for each in logged if each.get("event") == "jwks.key.unsafe"]
                self.assertIn("'edwards'", formatEvent(warning))

    def test_not_a_point_T29d(self) -> None:
        """An Ed25519 key that is not canonical, or not a point of the curve, is passed over."""
        for y in (*range(P, 2**255), 2, 7):
            for sign in (0, 1 << 255):
                raw = (y | sign).to_bytes(32, "little")
                x = urlsafe_b64encode(raw).rstrip(b"=").decode()
                self.assertEqual(self.names(EDWARDS.jwk(x=x)), [])

    def test_rsa_T89a(self) -> None:
        """An RSA key with an unsafe exponent, or a modulus that is too short, is passed over."""
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

    def test_curve_T89a(self) -> None:
        """A point that is not on its curve, or not of its curve's size, is passed over."""
        x, y = CURVE.jwk()["x"], CURVE.jwk()["y"]
        zero = urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
        for change in ({"x": y, "y": x}, {"x": zero, "y": zero}, {"y": x}, {"crv": "P-384"}):
            self.assertEqual(self.names(CURVE.jwk(**change)), [])

    def test_private_T89a(self) -> None:
        """A key that is published with its private part is passed over: others can sign with it."""
        whole = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(IDP.private))
        self.assertEqual(self.names({**whole, "kid": "it", "key_ops": ["verify"]}), [])
        for name in ("d", "p", "q", "k", "oth"):
            self.assertEqual(self.names(EDWARDS.jwk(**{name: "x"}), CURVE.jwk()), ["curve"])


class KeySetTests(SynchronousTestCase):
    """When keys are fetched."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.play: Action = Respond(key_set(IDP))
        self.remote = FakeRemote(lambda _: self.play)
        self.keys = KeySet(self.clock, FixedUrl(web_client(self.remote, self.clock), CERTS))

    def named(self, kid: str) -> Deferred[Any]:
        return start(self.keys.named(kid))

    def fetches(self) -> int:
        return len(self.remote.requests)

    def test_once(self) -> None:
        """They are fetched when first needed, once, and kept for ten minutes."""
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
        """However many wait, one fetch goes on, and goes on when they leave."""
        self.play = Hang()
        waiting = [self.named("idp") for _ in range(5)]
        for each in waiting[:4]:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.remote.finish_all(json.dumps(key_set(IDP)).encode())
        self.successResultOf(waiting[4])
        self.assertEqual((self.fetches(), self.remote.abandoned), (1, 0))

    def test_new_name(self) -> None:
        """A name that is not known is worth one new look."""
        self.successResultOf(self.named("idp"))
        self.play = Respond(key_set(IDP, NEXT))
        self.successResultOf(self.named("next"))
        self.assertEqual(self.fetches(), 2)

    def test_flood_T32(self) -> None:
        """A thousand made-up names cost one look for each ten seconds."""
        self.successResultOf(self.named("idp"))
        for number in range(1000):
            self.failureResultOf(self.named(f"made-up-{number}"), Rejected)
        self.assertEqual(self.fetches(), 2)
        self.clock.advance(10)
        self.failureResultOf(self.named("made-up"), Rejected)
        self.assertEqual(self.fetches(), 3)

    def test_just_fetched(self) -> None:
        """A set that was fetched for this very token is not fetched again for it."""
        self.failureResultOf(self.named("made-up"), Rejected)
        self.assertEqual(self.fetches(), 1)

    def test_refreshed_in_background_D1(self) -> None:
        """No request waits while keys are refreshed: the old ones serve meanwhile."""
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
        """If the issuer does not answer, the refresh is given up and tried again after 10 s."""
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
        """A defect in a background refresh is logged and costs no request."""
        self.successResultOf(self.named("idp"))
        self.clock.advance(600)
        self.patch(self.keys, "_source", self.breaks)
        self.successResultOf(self.named("idp"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def breaks(self) -> Any:
        return 1 / 0

    def test_at_hand_D5(self) -> None:
        """Keys are at hand once they were fetched, and as long as they may be used."""
        self.assertFalse(self.keys.is_at_hand)
        self.successResultOf(self.named("idp"))
        self.assertTrue(self.keys.is_at_hand)
        self.clock.advance(86_400)
        self.assertFalse(self.keys.is_at_hand)

    def test_last_good_T32(self) -> None:
        """Where a set cannot be fetched again the last one serves on; it is not asked for often."""
        self.successResultOf(self.named("idp"))
        self.clock.advance(600)
        for self.play in (Respond({}, 500), Respond(b"<html>"), Respond({"keys": 5})):
            for _ in range(3):
                self.successResultOf(self.named("idp"))
            self.clock.advance(10)
        self.assertEqual(self.fetches(), 4)

    def test_not_for_ever(self) -> None:
        """After a day without a word the last good set is not good enough."""
        self.successResultOf(self.named("idp"))
        self.play = Respond({}, 500)
        self.clock.advance(86_400)
        self.failureResultOf(self.named("idp"), Unavailable)

    def test_never_had_T44(self) -> None:
        """Without a set there is no verdict, and the next one tries again at once."""
        self.play = Respond({}, 500)
        self.failureResultOf(self.named("idp"), Unavailable)
        self.play = Respond(key_set(IDP))
        self.successResultOf(self.named("idp"))

    def test_search_fails_T44(self) -> None:
        """If nobody can say whether a new name exists there is no verdict about it."""
        self.successResultOf(self.named("idp"))
        self.play = Respond({}, 500)
        self.failureResultOf(self.named("next"), Unavailable)
        self.successResultOf(self.named("idp"))

    def test_searched_together_D1(self) -> None:
        """Tokens of a new key that come while it is searched for wait for the same search."""
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
        """Until a failed search is repeated there is no verdict about a new name."""
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
        """A set above a megabyte is none."""
        self.play = Respond(b" " * 1_048_577)
        self.failureResultOf(self.named("idp"), Unavailable)


class DiscoveryTests(SynchronousTestCase):
    """Keys that are found through the issuer's own description."""

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

    def test_found(self) -> None:
        """The description is fetched, then the keys where it says."""
        self.successResultOf(self.start())
        self.assertEqual(self.remote.addresses(), [self.DESCRIPTION, "keys.example/x"])

    def test_kept(self) -> None:
        """When the keys are fetched again the description is not, within an hour."""
        self.successResultOf(self.start())
        self.clock.advance(600)
        self.successResultOf(start(self.keys.named("idp")))
        self.assertEqual(self.remote.addresses()[2:], ["keys.example/x"])

    def test_moved(self) -> None:
        """Where the keys are gone the description is read again."""
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
        """A description of another issuer, be it by a slash, is of no use."""
        for other in (self.ISSUER + "/", "https://evil.example", [self.ISSUER], None):
            self.failureResultOf(self.start(issuer=other), Unavailable)

    def test_elsewhere_T33(self) -> None:
        """Keys are not fetched without TLS where the issuer has it, nor from what is no address."""
        for url in ("http://keys.example/x", "file:///etc/passwd", 5, None, "keys.example"):
            self.failureResultOf(self.start(jwks_uri=url), Unavailable)
            self.assertEqual(self.remote.addresses(), [self.DESCRIPTION])


class VerifierTests(SynchronousTestCase):
    """Which tokens are believed to be signed."""

    def setUp(self) -> None:
        self.remote = FakeRemote(lambda _: Respond(key_set(IDP, NEXT, CURVE, EDWARDS)))
        keys = KeySet(clock_at(NOW), FixedUrl(web_client(self.remote), CERTS))
        self.verifier = Verifier(jwk.ALGORITHMS, keys)

    def verify(self, token: str) -> Any:
        return self.successResultOf(start(self.verifier.verified(token)))[1]

    def refused(self, token: str) -> None:
        failure = self.failureResultOf(start(self.verifier.verified(token)), Rejected)
        self.assertNotIn(token or "?", failure.getErrorMessage())

    def test_good(self) -> None:
        """A token signed with a published key."""
        for signer in (IDP, NEXT, CURVE, EDWARDS):
            self.assertEqual(self.verify(signer.sign())["sub"], "u-1")

    def test_none_T29(self) -> None:
        """A token that wants no signature, however it says so, or does not say."""
        for algorithm in ("none", "None", "NONE", "", None, 5, ["RS256"], "rs256"):
            for signature in (b"", b"x" * 64):
                self.refused(forged_jwt({"alg": algorithm, "kid": "idp"}, signature=signature))
        self.refused(forged_jwt({"kid": "idp"}))

    def test_public_key_as_secret_T29(self) -> None:
        """An HMAC over the public key in any of its written forms."""
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
        """An algorithm the key was not published for, though it could do it."""
        self.refused(IDP.sign(header={"alg": "RS512"}))
        self.refused(IDP.sign(header={"alg": "PS256"}))

    def test_not_configured_T29(self) -> None:
        """An algorithm that is not among the configured ones."""
        self.verifier = Verifier(["ES256"], self.verifier.keys)
        self.refused(IDP.sign())

    def test_other_key(self) -> None:
        """A signature of one key under the name of another."""
        self.refused(IDP.sign(header={"kid": "next"}))
        self.refused(IDP.sign(header={"kid": "curve"}))

    def test_name_T30(self) -> None:
        """A name that is missing or no text."""
        for kid in (None, 5, "", ["idp"]):
            self.refused(forged_jwt({"alg": "RS256", "kid": kid}))

    def test_critical_T31(self) -> None:
        """Extensions that are not understood."""
        extensions: list[dict[str, Any]] = [{"crit": ["bork"], "bork": 1}, {"crit": []}]
        for extension in [*extensions, {"b64": False}, {"zip": "DEF"}]:
            self.refused(forged_jwt({"alg": "RS256", "kid": "idp", **extension}))

    def test_no_fetch_T33(self) -> None:
        """What a token says about where keys are is not even read."""
        where = "http://169.254.169.254/"
        for name in ("jku", "x5u", "jwk", "iss"):
            self.refused(forged_jwt({"alg": "RS256", "kid": "idp", name: where}))
        self.refused(forged_jwt({"alg": "RS256", "kid": "idp"}, {"iss": where}))
        self.assertEqual(set(self.remote.addresses()), {"idp.example/certs"})

    def test_shape_T37(self) -> None:
        """What is no token of three parts of canonical base64."""
        good = IDP.sign()
        head, claims, signature = good.split(".")
        for bad in ("", ".", "..", "a.b.c", good + ".", head, f"{head}.{claims}", good + ".x.y",
                    f"{head}=.{claims}.{signature}", f"{head}.{claims}.{signature}==",
                    f" {good}", f"{head}.{claims}\n.{signature}"):  # fmt: skip
            with self.subTest(bad[:10]):
                self.refused(bad)

    def test_content_T37(self) -> None:
        """Claims that are no object, say something twice, are deep beyond reason or no JSON."""
        deep = b'{"sub":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
        for claims in (b"[]", b"5", b'"x"', b"null", b"{", b'{"sub":"a","sub":"b"}', deep,
                       b'{"exp":1e400}', b'{"exp":NaN}', b'{"exp":Infinity}', b"\xff{}",
                       b'{"n":' + b"9" * 5000 + b"}"):  # fmt: skip
            with self.subTest(claims[:12]):
                self.refused(IDP.sign(claims))

    def test_huge_T37(self) -> None:
        """A token of megabytes is not looked at."""
        self.refused(IDP.sign(x="x" * 5_000_000))

    def test_unreachable(self) -> None:
        """Without keys there is no verdict."""
        keys = KeySet(
            clock_at(NOW), FixedUrl(web_client(FakeRemote(lambda _: Respond({}, 500))), CERTS)
        )
        deferred = start(Verifier(jwk.ALGORITHMS, keys).verified(IDP.sign()))
        self.failureResultOf(deferred, Unavailable)

    def test_secret(self) -> None:
        """HS signatures are checked with the configured secret, and with nothing else."""
        secret = b"s" * 32
        self.verifier = Verifier(["HS256", "RS256"], self.verifier.keys, secret)
        token = jwt.encode(dict(issuers.CLAIMS), secret, "HS256")
        self.assertEqual(self.verify(token)["sub"], "u-1")
        self.refused(jwt.encode(dict(issuers.CLAIMS), b"t" * 32, "HS256"))
        self.assertEqual(self.verify(IDP.sign())["sub"], "u-1")
        self.assertNotIn("ssss", repr(self.verifier))
