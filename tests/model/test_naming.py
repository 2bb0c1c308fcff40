"""Which strings may be names, and how they are compared."""

from __future__ import annotations

import unicodedata

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.naming import (
    MAX_NAME,
    MAX_ROLE,
    flaw,
    fold_ascii_case,
    normalize,
)

GOOD = (
    "root",
    "fred smith",
    "a-b_c.d+e@example.org",
    "zo\xeb",
    "\u5c71\u7530",
    "\u0627\u062d\u0645\u062f",
    "x" * MAX_NAME,
    "%2C,",
)
BAD = {
    "empty": "",
    "blanks": "   ",
    "blank behind": "root ",
    "blank before": " root",
    "tab behind": "root\t",
    "tab inside": "ro\tot",
    "control": "root\x01",
    "controls alone": "\x01\x02",
    "NUL": "root\x00",
    "delete": "root\x7f",
    "C1": "root\x85",
    "line end": "ro\r\not",
    "no-break space behind": "root\xa0",
    "no-break space inside": "ro\xa0ot",
    "ideographic space": "\u3000root",
    "em space": "root\u2003",
    "line separator": "root\u2028",
    "zero width space": "ro\u200bot",
    "zero width joiner": "root\u200d",
    "byte order mark": "\ufeffroot",
    "soft hyphen": "ro\xadot",
    "right-to-left override": "\u202etoor",
    "isolate": "\u2066root\u2069",
    "tag characters": "root\U000e0041",
    "variation selector": "root\ufe0f",
    "grapheme joiner": "ro\u034fot",
    "Hangul filler": "\u3164",
    "Braille blank": "\u2800",
    "unassigned": "root\u0378",
    "noncharacter": "root\uffff",
    "private use": "root\ue000",
    "half of a pair": "root\ud800",
    "Kelvin sign": "\u212aelvin",
    "Greek question mark": "root\u037e",
    "combining characters": "e" + "\u0301" * 31,
    "long": "x" * (MAX_NAME + 1),
}


class FlawTests(SynchronousTestCase):
    """Names that a proxy, a person or a backend might confuse."""

    def test_good_T82(self) -> None:
        """Printable, trimmed names of any script are good."""
        for name in GOOD:
            with self.subTest(ascii(name)):
                self.assertIsNone(flaw(name))

    def test_bad_T82(self) -> None:
        """A name that is empty, not trimmed, not printable, not visible or too long is not good."""
        for why, name in BAD.items():
            with self.subTest(why):
                self.assertIsNotNone(flaw(name))

    def test_roles_T82(self) -> None:
        """A role may contain a tab and be longer; all other rules are those of names."""
        self.assertIsNone(flaw("a\tb", MAX_ROLE, tab=True))
        self.assertIsNone(flaw("x" * MAX_ROLE, MAX_ROLE, tab=True))
        for why, name in BAD.items():
            if why not in ("tab inside", "long"):
                with self.subTest(why):
                    self.assertIsNotNone(flaw(name, MAX_ROLE, tab=True))

    def test_no_other_ascii_T82(self) -> None:
        """No other character than those three becomes an ASCII one when it is normalized."""
        become = [
            char
            for char in map(chr, range(0x80, 0x110000))
            if unicodedata.normalize("NFC", char).isascii() and flaw(char) is None
        ]
        self.assertEqual(become, [])


class NormalizedTests(SynchronousTestCase):
    """Normalization of names."""

    def test_one_T82(self) -> None:
        """Composed and decomposed characters are one name; letters of both cases are two."""
        self.assertEqual(normalize("zoe\u0308"), "zo\xeb")
        self.assertEqual(normalize("\u212bngstr\xf6m"), "\xc5ngstr\xf6m")
        self.assertEqual(normalize("Root"), "Root")

    def test_bad_T82(self) -> None:
        """A string that is not a name does not become one."""
        for why, name in BAD.items():
            with self.subTest(why):
                self.assertIsNotNone(flaw(normalize(name)))

    def test_very_long_T82(self) -> None:
        """A very long string is left as it is: putting combining characters in order takes long."""
        long = "e" + "\u0323\u0301" * 500_000
        self.assertEqual(normalize(long), long)

    def test_folded_T10b(self) -> None:
        """Folding concerns ASCII letters alone."""
        self.assertEqual(fold_ascii_case("KELVIN"), fold_ascii_case("kelvin"))
        self.assertEqual(fold_ascii_case("zoe\u0308"), fold_ascii_case("ZO\xeb"))
        for other in ("\u212aelvin", "KELV\u0130N", "kelv\u0131n"):
            with self.subTest(ascii(other)):
                self.assertNotEqual(fold_ascii_case(other), fold_ascii_case("kelvin"))
