"""The fake gateway that services are tested with."""

from __future__ import annotations

import json
import unittest
from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.client import InvalidToken, Unavailable, User
from authotron.client.http import Answer
from authotron.client.testing import FakeGateway, GatewayMixin, mint

ALICE = User("internal", "alice", ("reader",), {"archive": ("read",)}, {"unit": "x"})
BOB = User("external", "bob")


def ask(gateway: FakeGateway, path: str, method: str = "GET", **headers: str) -> Answer:
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    answer = gateway.answer(method, path, sent)
    assert answer is not None
    return answer


class FakeGatewayTests(SynchronousTestCase):
    """Answers without a network."""

    def test_every_algorithm(self) -> None:
        """JWTs of each algorithm are believed by the verifier of the same gateway alone."""
        for algorithm in ("ES256", "EdDSA", "RS256", "HS256"):
            gateway = FakeGateway(algorithm=algorithm, audience="api")
            token = gateway.mint(ALICE)
            self.assertEqual(gateway.verifier().verify(token), ALICE)
            other = FakeGateway(algorithm="HS256", audience="api").verifier()
            self.assertRaises(InvalidToken, other.verify, token)
        self.assertRaises(ValueError, FakeGateway, algorithm="none")

    def test_options_of_mint(self) -> None:
        """A test mints expired JWTs, JWTs for others, and JWTs with further claims."""
        verifier = FakeGateway().verifier()
        self.assertEqual(verifier.verify(mint(ALICE)), ALICE)
        for token, code in (
            (mint(ALICE, lifetime=-60), "expired"),
            (mint(ALICE, audience="other"), "audience"),
            (mint(ALICE, cnf={}), "unchecked-claim"),
            (mint(ALICE, username=None), "claims"),
        ):
            self.assertEqual(self.assertRaises(InvalidToken, verifier.verify, token).code, code)

    def test_authenticate(self) -> None:
        """Users get in by password or token; the answer has a JWT and no body."""
        gateway = FakeGateway()
        gateway.add_user(ALICE, "wonder")
        gateway.add_token(BOB, "opaque")
        for credential, user in (
            ("Basic " + b64encode(b"alice:wonder").decode(), ALICE), ("bearer opaque", BOB)
        ):  # fmt: skip
            answer = ask(gateway, "/authenticate", Authorization=credential)
            self.assertEqual((answer.status, answer.body), (200, b""))
            token = answer.headers["Authorization"].removeprefix("Bearer ")
            self.assertEqual(gateway.verifier().verify(token), user)
        refused = ask(gateway, "/authenticate", Authorization="Bearer other")
        self.assertEqual(refused.status, 401)
        self.assertEqual(json.loads(refused.body), {"error": "Unauthorized access"})

    def test_revoke(self) -> None:
        """A revoked token, and whatever a revoked user has, is refused."""
        gateway = FakeGateway()
        gateway.add_token(ALICE, "first")
        gateway.add_token(ALICE, "second")
        gateway.revoke("first")
        self.assertEqual(ask(gateway, "/whoami", Authorization="Bearer first").status, 401)
        self.assertEqual(ask(gateway, "/whoami", Authorization="Bearer second").status, 200)
        gateway.revoke(ALICE)
        self.assertEqual(ask(gateway, "/whoami", Authorization="Bearer second").status, 401)

    def test_fail_on(self) -> None:
        """A test lets an action fail, always or some times, with or without an answer."""
        gateway = FakeGateway()
        gateway.fail_on("authenticate", times=1)
        answer = ask(gateway, "/authenticate")
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "5"))
        self.assertEqual(ask(gateway, "/authenticate").status, 401)
        gateway.fail_on("health", 0)
        self.assertIsNone(gateway.answer("GET", "/health"))
        self.assertRaises(ValueError, gateway.fail_on, "everything")

    def test_keys_away(self) -> None:
        """A verifier of a gateway whose keys are away knows nothing about a JWT."""
        for status in (0, 503):
            gateway = FakeGateway()
            gateway.fail_on("jwks", status)
            self.assertRaises(Unavailable, gateway.verifier().verify, gateway.mint(ALICE))

    def test_rotate(self) -> None:
        """After a change of keys old and new JWTs are good, unless the old key is gone."""
        gateway = FakeGateway()
        verifier, old = gateway.verifier(), gateway.mint(ALICE)
        verifier.verify(old)
        gateway.rotate()
        self.assertEqual(verifier.verify(gateway.mint(ALICE)), ALICE)
        self.assertEqual(verifier.verify(old), ALICE)
        gateway.rotate(keep_old=False)
        self.assertRaises(InvalidToken, gateway.verifier().verify, old)

    def test_counts(self) -> None:
        """A test counts how often the gateway was asked."""
        gateway = FakeGateway()
        verifier = gateway.verifier()
        for _ in range(3):
            verifier.verify(gateway.mint(ALICE))
        self.assertEqual(gateway.count("/.well-known/jwks.json"), 1)


class MixinTests(SynchronousTestCase):
    """The mixin for unittest."""

    def test_each_test_has_its_own(self) -> None:
        """Each test starts with a new gateway that has the options of its class."""
        seen: list[Any] = []

        class Case(GatewayMixin, unittest.TestCase):
            gateway_options = {"audience": "api"}  # noqa: RUF012 - as users write it

            def test(self) -> None:
                fields = [self.headers_of(ALICE)["Authorization"]]
                seen.append((self.gateway, self.gateway.verifier().authenticate(fields)))

        for _ in range(2):
            result = Case("test").run()
            assert result is not None
            self.assertTrue(result.wasSuccessful(), result)
        self.assertEqual([user for _, user in seen], [ALICE, ALICE])
        self.assertIsNot(seen[0][0], seen[1][0])
