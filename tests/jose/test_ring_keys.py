"""Signing and verifying with the keys of a ring."""

from __future__ import annotations

from typing import Any

import jwt
from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.config.schema import JwtConfig
from authotron.jose import minter, ring_keys
from authotron.jose.key_ring import KeyRing, first
from authotron.jose.minter import Minter
from authotron.jose.ring_keys import RingKeys, configured_pair
from authotron.model.authentication import Authentication
from authotron.model.errors import KeysUnknown
from authotron.model.identity import Identity
from authotron.testing.worlds import NOW, clock_at
from tests.jose.rings import DAY, PLAN, real_pair

ALICE = Authentication(Identity("internal", "alice"))
GRACE = 3660.0


def config(**given: Any) -> JwtConfig:
    keys = {"iss": "gate", "alg": "ES256", "sealing_key": "s" * 32, "rotation": "30d"}
    return section.read(JwtConfig, {**keys, **given}, "jwt")


class RingCase(SynchronousTestCase):
    """A minter whose keys are in a ring."""

    def setUp(self) -> None:
        self.clock: Clock = clock_at(NOW)
        self.make()

    def make(self, **given: Any) -> None:
        self.minter: Minter = minter.make(config(**given), self.clock)
        assert isinstance(self.minter.keys, RingKeys)
        self.keys = self.minter.keys
        self.one, self.two = real_pair("one"), real_pair("two")
        plan = self.keys.plan
        self.ring = first(self.one, NOW, plan).with_next(self.two, NOW, plan)

    def use(self, ring: KeyRing | None = None) -> None:
        self.keys.use(self.ring if ring is None else ring, self.clock.seconds())

    def kid(self) -> str:
        """Return the id of the key that signs now."""
        kid: str = jwt.get_unverified_header(self.minter.mint(ALICE))["kid"]
        return kid

    def published(self) -> list[str]:
        return [key["kid"] for key in self.minter.jwks["keys"]]


class SigningTests(RingCase):
    """Which key signs, and which ones verify."""

    def test_plan(self) -> None:
        """The configuration says how keys are rotated."""
        self.assertEqual(self.keys.plan, PLAN)

    def test_rotation(self) -> None:
        """At its moment the next key signs, and the earlier one verifies until it is gone."""
        self.use()
        early = self.minter.mint(ALICE)
        self.assertEqual(
            (self.kid(), self.published()), (self.one.kid, [self.one.kid, self.two.kid])
        )
        self.clock.advance(30 * DAY - 1)
        self.use()
        last = self.minter.mint(ALICE)
        self.assertEqual(self.minter.signs_until, NOW + 30 * DAY)
        self.clock.advance(1)
        self.assertEqual(
            (self.kid(), self.published()), (self.two.kid, [self.two.kid, self.one.kid])
        )
        self.assertEqual(self.minter.verify(last)[0]["kid"], self.one.kid)
        self.assertRaises(jwt.ExpiredSignatureError, self.minter.verify, early)
        self.clock.advance(GRACE)
        self.assertEqual(self.published(), [self.two.kid])
        error = self.assertRaises(jwt.InvalidSignatureError, self.minter.verify, last)
        self.assertIn("none of the configured keys", str(error))

    def test_signatures(self) -> None:
        """JWTs of all types are verified with the published key."""
        self.use()
        for token in (self.minter.mint(ALICE), self.minter.sign({"iss": "gate"}, "exchange+jwt")):
            [key, _] = jwt.PyJWKSet.from_dict(dict(self.minter.jwks)).keys
            self.assertTrue(
                jwt.decode(token, key.key, ["ES256"], {"verify_exp": False, "verify_iat": False})
            )

    def test_clock_is_set_back(self) -> None:
        """If the clock is set back, the keys have the states of the earlier time again."""
        self.use()
        kids = []
        for step in (30 * DAY, -30 * DAY, 30 * DAY):
            self.clock.rightNow += step
            kids.append(self.kid())
        self.assertEqual(kids, [self.two.kid, self.one.kid, self.two.kid])

    def test_not_known(self) -> None:
        """Before the ring is known nothing is signed, verified or published."""
        self.assertRaises(KeysUnknown, self.minter.mint, ALICE)
        self.assertRaises(KeysUnknown, self.minter.sign, {})
        self.assertRaises(KeysUnknown, lambda: self.minter.jwks)
        self.assertRaises(KeysUnknown, self.keys.verification_key, "x", NOW)
        self.assertEqual(self.minter.jwks_max_age, 0)

    def test_lost_connection(self) -> None:
        """
        A gateway that cannot know which key signs, because it has not reached the token store for
        as long as it knows the plan, signs and publishes nothing.
        """
        self.use()
        self.clock.advance(60 * DAY - 100)
        self.assertEqual((self.kid(), self.minter.jwks_max_age), (self.two.kid, 70))
        self.assertEqual(self.minter.signs_until, NOW + 60 * DAY)
        self.clock.advance(70)
        self.assertEqual(self.kid(), self.two.kid)
        self.assertRaises(KeysUnknown, self.published)
        self.assertRaises(KeysUnknown, self.keys.verification_key, "x", self.clock.seconds())
        self.clock.advance(30)
        error = self.assertRaises(KeysUnknown, self.minter.mint, ALICE)
        self.assertIn("the token store has not been reached", str(error))
        self.use()
        self.assertEqual((self.kid(), self.minter.jwks_max_age), (self.two.kid, 300))

    def test_lost_connection_by_hand(self) -> None:
        """If only operators promote keys, a gateway without its token store goes on signing."""
        self.make(rotation=None)
        self.use()
        self.assertEqual(self.minter.jwks_max_age, 300)
        self.clock.advance(30)
        self.assertEqual(self.minter.jwks_max_age, 300)
        self.clock.advance(170)
        self.assertEqual(self.minter.jwks_max_age, 130)
        self.clock.advance(900 * DAY)
        self.assertEqual((self.kid(), self.minter.jwks_max_age), (self.one.kid, 0))

    def test_retired_key_T48(self) -> None:
        """A retired key neither signs nor verifies from the moment at which the ring lacks it."""
        self.use()
        self.clock.advance(DAY)
        token = self.minter.mint(ALICE)
        self.use(self.ring.without(self.one.kid, NOW + DAY, self.keys.plan))
        self.assertEqual((self.kid(), self.published()), (self.two.kid, [self.two.kid]))
        self.assertRaises(jwt.InvalidSignatureError, self.minter.verify, token)

    def test_other_algorithm(self) -> None:
        """Each key of the ring signs with its own algorithm, whatever new keys have."""
        self.make(alg="EdDSA")
        self.use()
        other = evolve(PLAN, algorithm="EdDSA")
        self.use(self.ring.with_next(ring_keys.new_pair(other), NOW, other))
        self.assertEqual(
            (self.minter.algorithm, self.minter.algorithms), ("ES256", ["ES256", "EdDSA"])
        )
        self.assertEqual(self.kid(), self.one.kid)

    def test_longest_lifetime(self) -> None:
        """Keys are published for the longest JWTs that the gateway signs."""
        keys = minter.make(config(), self.clock, 30 * 86_400).keys
        assert isinstance(keys, RingKeys)
        self.assertEqual(keys.plan.lifetime, 30 * DAY)

    def test_temporary(self) -> None:
        """A command measures JWTs with a key that no gateway knows."""
        self.keys.use_temporary(NOW)
        self.assertNotIn(self.kid(), (self.one.kid, self.two.kid))


class ConfiguredTests(RingCase):
    """Keys of the configuration beside those of a ring."""

    def test_pair(self) -> None:
        """The configured key becomes a key pair with its own name, or its thumbprint."""
        found = configured_pair(config(key=self.one.pem))
        self.assertEqual(found, self.one)
        named = configured_pair(config(key=self.one.pem, kid="mine"))
        self.assertEqual(named, evolve(self.one, kid="mine"))
        self.assertIsNone(configured_pair(config()))

    def test_previous(self) -> None:
        """Previous keys in files are published after those of the ring."""
        file = self.mktemp()
        with open(file, "w", encoding="ascii") as to:  # noqa: PTH123 - a file of one test
            to.write(real_pair("three").pem)
        self.make(previous_key_files=[file])
        self.use()
        kids = [self.one.kid, self.two.kid, real_pair("three").kid]
        self.assertEqual(self.published(), kids)
