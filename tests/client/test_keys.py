"""Which published keys are used."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from authotron.client import Unavailable
from authotron.client.keys import published
from authotron.client.testing import SigningKey

JWK = SigningKey.generate("ES256", "k").jwk()
RSA = SigningKey.generate("RS256", "r").jwk()
EDWARDS = SigningKey.generate("EdDSA", "e").jwk()
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def names(*jwks: Any) -> set[tuple[str, str]]:
    """Key ids and algorithms of the keys that are used."""
    found = published({"keys": list(jwks)}, "the test")
    return {(key.kid, key.algorithm) for same in found.values() for key in same}


class KeysTests(SynchronousTestCase):
    """Key sets, good and odd."""

    def test_algorithms(self) -> None:
        """A key is used for its own algorithm, or without one for all that fit its kind."""
        self.assertEqual(names(JWK), {("k", "ES256")})
        self.assertEqual(names({**JWK, "alg": None}), {("k", "ES256")})
        self.assertEqual(len(names({**RSA, "alg": None})), 6)
        self.assertEqual(names(EDWARDS), {("e", "EdDSA"), ("e", "Ed25519")})

    def test_unusable(self) -> None:
        """Keys for other purposes, with their private part, or that are weak are skipped."""
        weak = {**RSA, "n": RSA["n"][:100]}
        for odd in (
            {**JWK, "use": "enc"}, {**JWK, "key_ops": ["sign"]}, {**JWK, "alg": "RS256"},
            {**JWK, "alg": "HS256"}, {**JWK, "d": "AA"}, {"kty": "oct", "k": "AAAA"}, weak,
            {**JWK, "kid": 5}, {**JWK, "crv": "P-521"}, {**JWK, "x": JWK["y"]}, {}, None, "x",
        ):  # fmt: skip
            with self.subTest(odd):
                self.assertEqual(names(RSA, odd), {("r", "RS256")})
                self.assertRaises(Unavailable, names, odd)

    def test_not_a_key_set(self) -> None:
        """What is not a key set is an outage."""
        odd: list[Any] = [None, [], {}, {"keys": {}}, {"keys": []}, "x", 5]
        for document in odd:
            self.assertRaises(Unavailable, published, document, "the test")

    @given(st.sampled_from([JWK, RSA, EDWARDS]), st.data())
    def test_any_member(self, jwk: dict[str, Any], data: st.DataObject) -> None:
        """Whatever stands in a key, the other keys of the set are used."""
        name = data.draw(st.sampled_from([*jwk, "d", "key_ops", "x5c"]))
        odd = {**jwk, name: data.draw(anything)}
        self.assertLessEqual({("good", "ES256")}, names(odd, {**JWK, "kid": "good"}))
