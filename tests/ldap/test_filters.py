"""Filters with places for a user."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from ldaptor.protocols import pureber, pureldap
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap import filters, names
from authotron.ldap.filters import BadFilter, User

NAMES = some.text(some.characters(exclude_categories=["Cs"]), min_size=1)


def decoded(wire: bytes) -> Any:
    """A filter as another implementation understands it."""
    context = pureldap.LDAPBERDecoderContext_Filter(fallback=pureber.BERDecoderContext())
    found, size = pureber.berDecodeObject(context, wire)
    assert size == len(wire)
    return found


def filled(template: str, username: str, dn: str = "") -> Any:
    return decoded(filters.parse(template).fill(User(username, dn)))


class FilterTests(SynchronousTestCase):
    """What a server is asked."""

    @given(NAMES)
    def test_exactly_that_name_T66(self, username: str) -> None:
        """For any user name, the server is asked about exactly that name."""
        both = filled("(&(objectClass=person)(cn={username}))", username)
        self.assertEqual(len(both.data), 2)
        self.assertEqual(both[1].attributeDesc.value, b"cn")
        self.assertEqual(both[1].assertionValue.value, username.encode())

    @given(NAMES)
    def test_name_in_a_name_T66(self, username: str) -> None:
        """Inside a DN it is one value of that DN."""
        found = filled("(member=uid={username},ou=users,dc=org)", username)
        parts = names.parse(found.assertionValue.value.decode())
        self.assertEqual([part.value_of("uid") for part in parts], [username, None, None])
        self.assertEqual(len(parts), 3)

    @given(NAMES)
    def test_name_between_T66(self, username: str) -> None:
        """Between asterisks of the template it adds none."""
        found = filled("(mail={username}@*)", username)
        self.assertEqual([each.value for each in found.substrings], [username.encode() + b"@"])

    def test_whole_dn(self) -> None:
        """The DN of an entry is taken as it is."""
        dn = "cn=a\\, (b*),dc=org"
        rule = filled("(member:1.2.840.113556.1.4.1941:={dn})", "x", dn)
        self.assertEqual(rule.matchValue.value, dn.encode())
        self.assertEqual(filled("(member={dn})", "x", dn).assertionValue.value, dn.encode())

    def test_kinds(self) -> None:
        """Everything that RFC 4515 knows."""
        both = filled("(|(a=*)(!(b>=1))(c<=2)(d~=3)(e=x*y*z)(f=\\2a)(g:dn:=4))", "u")
        kinds = [type(each).__name__.removeprefix("LDAPFilter_") for each in both]
        wanted = "present not lessOrEqual approxMatch substrings equalityMatch extensibleMatch"
        self.assertEqual(kinds, wanted.split())
        self.assertEqual(both[5].assertionValue.value, b"*")

    def test_bad(self) -> None:
        """What is no filter is refused when the configuration is read."""
        deep = "(!" * 50 + "(a={username})" + ")" * 50
        for text in ("", "cn=a", "(cn=a", "(cn=a))", "()", "(=a)", "(cn=a\\zz)", "(a>=x*)", deep,
                     "(cn=a)(cn=b)", "(&(cn=a)", "(c n=a)", "(a:b=c)"):  # fmt: skip
            with self.subTest(text):
                self.assertRaises(BadFilter, filters.parse, text)

    def test_name_with_asterisk_T66(self) -> None:
        """A user inside a DN is escaped as there, which a pattern would not allow."""
        for text in (
            "(member=uid={username},ou=*)",
            "(member=uid=*,ou={username})",
            "(member=*uid={username},dc=org)",
            "(member=x*,uid={username},dc=org)",
        ):
            self.assertRaises(BadFilter, filters.parse, text)
        filters.parse("(&(member=uid=x,ou=*)(cn={username}))")

    def test_template_or_not(self) -> None:
        """Parentheses and a place make a template; all else is a piece of a DN."""
        for text, is_one in {
            "(cn={username})": True,
            " (member={dn}) ": True,
            "(cn=a)": False,
            "OU={username}": False,
            "OU=(x)": False,
        }.items():
            self.assertEqual(filters.is_template(text), is_one, text)
