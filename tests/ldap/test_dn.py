"""Parsing, escaping and comparing of distinguished names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap import dn
from authotron.ldap.dn import InvalidDn

TEXTS = some.text(some.characters(exclude_categories=["Cs"]))


def read(text: str) -> list[tuple[tuple[str, str], ...]]:
    return [part.pairs for part in dn.parse_dn(text)]


class ParseTests(SynchronousTestCase):
    """The grammar of RFC 4514."""

    def test_examples(self) -> None:
        """The examples of RFC 4514 section 4, and older spellings, are parsed."""
        for text, pairs in {
            "UID=jsmith,DC=example": [(("UID", "jsmith"),), (("DC", "example"),)],
            "OU=Sales+CN=J.  Smith,DC=net": [
                (("OU", "Sales"), ("CN", "J.  Smith")),
                (("DC", "net"),),
            ],
            'CN=James \\"Jim\\" Smith\\, III': [(("CN", 'James "Jim" Smith, III'),)],
            "CN=Before\\0dAfter": [(("CN", "Before\rAfter"),)],
            "1.3.6.1.4.1.1466.0=#04024869": [(("1.3.6.1.4.1.1466.0", "Hi"),)],
            "SN=Lu\\C4\\8Di\\C4\\87": [(("SN", "Lučić"),)],
            'CN="a, b" ; O = c': [(("CN", "a, b"),), (("O", "c"),)],
            "CN=\\ a\\ ,O= b ": [(("CN", " a "),), (("O", "b"),)],
            "CN=x=y": [(("CN", "x=y"),)],
            "CN=a\\5C,O=b": [(("CN", "a\\"),), (("O", "b"),)],
            "CN=": [(("CN", ""),)],
            "": [],
        }.items():
            with self.subTest(text):
                self.assertEqual(read(text), pairs)

    def test_limits_T67(self) -> None:
        """A DN with too many characters or RDNs is invalid."""
        for text in ("cn=" + "x" * 2_000, ",".join(["a=b"] * 101)):
            self.assertRaises(InvalidDn, dn.parse_dn, text)
        self.assertEqual(len(dn.parse_dn(",".join(["a=b"] * 100))), 100)

    def test_invalid_dns(self) -> None:
        """An invalid DN raises InvalidDn, and is never parsed in part."""
        for text in ("nonsense", "=x", "CN=a,", ",CN=a", "CN=a,,O=b", 'CN="a', "CN=a\\", "CN=a\\zz",
                     'CN="a"b', "CN=\\FF", "CN+O=a", 'CN=a"b'):  # fmt: skip
            with self.subTest(text):
                self.assertRaises(InvalidDn, dn.parse_dn, text)

    @given(TEXTS, TEXTS)
    def test_escaped_value_round_trip_T66(self, one: str, other: str) -> None:
        """An escaped value in a DN is parsed to the same single value."""
        text = f"cn={dn.escape_value(one)},ou={dn.escape_value(other)},dc=org"
        self.assertEqual(read(text), [(("cn", one),), (("ou", other),), (("dc", "org"),)])

    def test_equal_spellings(self) -> None:
        """Case, blanks and kinds of escapes make no difference."""
        one = dn.fold_dn(dn.parse_dn("CN=Smith\\2C  J,O=X+OU=Y"))
        other = dn.fold_dn(dn.parse_dn('cn = "smith, j" , ou=y + o=x'))
        self.assertEqual(one, other)
