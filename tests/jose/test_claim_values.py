"""Claims as text."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.claim_values import as_text


class TextTests(SynchronousTestCase):
    """The text of a claim is the text that auth-o-tron would give it."""

    def test_numbers(self) -> None:
        """Exponents have no leading zero; whole numbers beyond 64 bits have an exponent."""
        for number, text in (
            (1.5e-7, "1.5e-7"),
            (1.5e-5, "0.000015"),
            (1e-6, "1e-6"),
            (0.0001, "0.0001"),
            (-1e-5, "-0.00001"),
            (1e-10, "1e-10"),
            (1e20, "1e+20"),
            (1e15, "1000000000000000.0"),
            (5e-324, "5e-324"),
            (-0.0, "-0.0"),
            (2**64 - 1, "18446744073709551615"),
            (2**64, "1.8446744073709552e+19"),
            (-(2**63), "-9223372036854775808"),
            (-(2**63) - 1, "-9.223372036854776e+18"),
            (10**400, str(10**400)),
            (True, "true"),
        ):
            with self.subTest(number=str(number)[:30]):
                self.assertEqual(as_text(number), text)

    def test_numbers_in_collections(self) -> None:
        """Numbers in lists and mappings have the same text; strings do not change."""
        claim = {"a": [1e-7, {"1e-07": "1e-07"}], "b": None, "ä": 2**64}
        text = '{"a":[1e-7,{"1e-07":"1e-07"}],"b":null,"ä":1.8446744073709552e+19}'
        self.assertEqual(as_text(claim), text)
        self.assertEqual(json.loads(text)["b"], None)
