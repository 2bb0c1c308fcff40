"""The claim C{cnf} of bound tokens."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.binding import Binding, from_confirmation

EXAMPLE = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"
"""The thumbprint of the certificate in RFC 8705 appendix A."""

JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
SLOPPY = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"
"""The thumbprint in the first example of RFC 8705, whose last letter has superfluous bits."""


class BindingTests(SynchronousTestCase):
    """A binding as the value of C{cnf}."""

    def test_there_and_back(self) -> None:
        """A binding is the same after it was written as C{cnf} and read again."""
        for binding in (Binding(JKT), Binding(None, EXAMPLE), Binding(JKT, EXAMPLE)):
            with self.subTest(binding):
                self.assertEqual(from_confirmation(binding.confirmation), binding)
        self.assertEqual(Binding(JKT, EXAMPLE).confirmation, {"jkt": JKT, "x5t#S256": EXAMPLE})

    def test_not_enforceable_S_CNF(self) -> None:
        """A claim that the gateway could enforce only in part, or not at all, is an error."""
        values: tuple[Any, ...] = (
            *(None, {}, [], "jkt", 5, {"jkt": None}, {"jkt": 5}, {"jkt": ""}, {"kid": "x"}),
            *({"jkt": JKT, "kid": "x"}, {"jwk": {}}, {"jkt": JKT[:-1]}, {"jkt": JKT + "="}),
            *({"jkt": JKT[:-1] + "J"}, {"x5t#S256": SLOPPY}, {"x5t": JKT}, {"jkt": JKT + "\n"}),
        )
        for value in values:
            with self.subTest(value):
                self.assertRaises(ValueError, from_confirmation, value)
