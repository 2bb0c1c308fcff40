"""LDAP filters with placeholders for a user."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from ldaptor.protocols import pureber, pureldap
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap.decoding import Entry
from authotron.ldap.dn import parse_dn
from authotron.ldap.filter_parser import parse_filter
from authotron.ldap.filters import (
    TemplateUser,
)
from authotron.model.errors import Unavailable

NAMES = some.text(some.characters(exclude_categories=["Cs"]), min_size=1)


def decoded(wire: bytes | None) -> Any:
    """Decode a filter by another implementation."""
    assert wire is not None
    context = pureldap.LDAPBERDecoderContext_Filter(fallback=pureber.BERDecoderContext())
    found, size = pureber.berDecodeObject(context, wire)
    assert size == len(wire)
    return found


def filled(template: str, username: str, dn: str = "") -> Any:
    return decoded(parse_filter(template).fill(TemplateUser(username, Entry(dn))))


class FilterTests(SynchronousTestCase):
    """Filling of placeholders, and encoding of filters."""

    @given(NAMES)
    def test_user_name_is_one_value_T66(self, username: str) -> None:
        """Any user name becomes exactly one value of the filter."""
        both = filled("(&(objectClass=person)(cn={username}))", username)
        self.assertEqual(len(both.data), 2)
        self.assertEqual(both[1].attributeDesc.value, b"cn")
        self.assertEqual(both[1].assertionValue.value, username.encode())

    @given(NAMES)
    def test_user_name_in_a_dn_T66(self, username: str) -> None:
        """In a DN, any user name becomes exactly one value of one RDN."""
        found = filled("(member=uid={username},ou=users,dc=org)", username)
        parts = parse_dn(found.assertionValue.value.decode())
        self.assertEqual([part.value_of("uid") for part in parts], [username, None, None])
        self.assertEqual(len(parts), 3)

    @given(NAMES)
    def test_asterisks_of_a_user_name_T66(self, username: str) -> None:
        """A user name with asterisks adds no wildcard to a substring filter."""
        found = filled("(mail={username}@*)", username)
        self.assertEqual([each.value for each in found.substrings], [username.encode() + b"@"])

    def test_dn_placeholder(self) -> None:
        """The DN of an entry is inserted unchanged."""
        dn = "cn=a\\, (b*),dc=org"
        rule = filled("(member:1.2.840.113556.1.4.1941:={dn})", "x", dn)
        self.assertEqual(rule.matchValue.value, dn.encode())
        self.assertEqual(filled("(member={dn})", "x", dn).assertionValue.value, dn.encode())

    def test_kinds_of_filters(self) -> None:
        """All kinds of filters of RFC 4515 are encoded."""
        both = filled("(|(a=*)(!(b>=1))(c<=2)(d~=3)(e=x*y*z)(f=\\2a)(g:dn:=4))", "u")
        kinds = [type(each).__name__.removeprefix("LDAPFilter_") for each in both]
        wanted = "present not lessOrEqual approxMatch substrings equalityMatch extensibleMatch"
        self.assertEqual(kinds, wanted.split())
        self.assertEqual(both[5].assertionValue.value, b"*")

    def test_extensible_matches_T97(self) -> None:
        """An extensible match keeps its attribute, rule and C{dn}, in any case."""
        for text, attribute, rule, of_dn in (
            ("(:DN:2.4.6.8.10:=Dino)", None, b"2.4.6.8.10", True),
            ("(:dn:2.4.6.8.10:=Dino)", None, b"2.4.6.8.10", True),
            ("(sn:Dn:2.4.6.8.10:=Dino)", b"sn", b"2.4.6.8.10", True),
            ("(sn:dN:=Dino)", b"sn", None, True),
            ("(sn:dn:dn:=Dino)", b"sn", b"dn", True),
            ("(sn:dnMatch:=Dino)", b"sn", b"dnMatch", False),
            ("(sn;lang-de:=Dino)", b"sn;lang-de", None, False),
            ("(:1.2.3:=Dino)", None, b"1.2.3", False),
        ):
            with self.subTest(text):
                found = filled(text, "x")
                named = (found.type, found.matchingRule, found.dnAttributes)
                named_values = [each.value if each is not None else None for each in named]
                name, matching_rule, has_dn = named_values
                self.assertEqual((name, matching_rule, bool(has_dn)), (attribute, rule, of_dn))
                self.assertEqual(found.matchValue.value, b"Dino")

    def test_empty_sets_T97(self) -> None:
        """An empty set of filters is sent as an empty set (RFC 4526)."""
        self.assertEqual(parse_filter("(&)").fill(TemplateUser("x")), b"\xa0\x00")
        self.assertEqual(parse_filter("(|)").fill(TemplateUser("x")), b"\xa1\x00")

    def test_attributes_L_PRIMARY(self) -> None:
        """An attribute of the entry is filled in, once for each of its values."""
        entry = Entry("uid=a", {"gidnumber": (b"100",), "ou": (b"x*", b"(y)"), "id": (b"\xff",)})

        def fill(text: str) -> bytes | None:
            return parse_filter(text).fill(TemplateUser("a", entry))

        one = decoded(fill("(&(objectClass=posixGroup)(gidNumber={gidNumber}))"))
        self.assertEqual(one[1].assertionValue.value, b"100")
        both = decoded(fill("(cn={ou}-users)"))
        values = [each.assertionValue.value for each in both]
        self.assertEqual(values, [b"x*-users", b"(y)-users"])
        self.assertEqual(decoded(fill("(guid={id})")).assertionValue.value, b"\xff")

    def test_missing_attribute_L_PRIMARY(self) -> None:
        """A comparison with an attribute that the entry lacks matches nothing, even if negated."""

        def fill(text: str) -> bytes | None:
            return parse_filter(text).fill(TemplateUser("a", Entry("uid=a", {"empty": ()})))

        for text in (
            "(g={gid})",
            "(!(g={gid}))",
            "(&(a=b)(g={gid}))",
            "(|(g={gid})(!(g={empty})))",
        ):
            self.assertIsNone(fill(text), text)
        found = decoded(fill("(|(member={dn})(g={gid}))"))
        self.assertEqual([each.assertionValue.value for each in found], [b"uid=a"])

    def test_many_values_L_PRIMARY(self) -> None:
        """The number of values that a comparison is filled with is limited."""
        entry = Entry("uid=a", {"x": tuple(b"%d" % each for each in range(40))})
        self.assertIsNotNone(parse_filter("(a={x})").fill(TemplateUser("a", entry)))
        template = parse_filter("(a={x}{x})")
        self.assertRaises(Unavailable, template.fill, TemplateUser("a", entry))

    def test_attribute_in_a_dn_L_PRIMARY(self) -> None:
        """In a DN, the value of an attribute is escaped as one value of one RDN."""
        entry = Entry("uid=a", {"ou": (b"x,ou=admins",)})
        found = decoded(parse_filter("(member=cn={ou},dc=org)").fill(TemplateUser("a", entry)))
        parts = parse_dn(found.assertionValue.value.decode())
        self.assertEqual([part.value() for part in parts], ["x,ou=admins", "org"])

    def test_primary_group_of_active_directory_L_PRIMARY(self) -> None:
        """The SID of the primary group is that of the user with C{primaryGroupID} at its end."""
        sid = bytes.fromhex("010500000000000515000000") + bytes(range(12)) + b"\x51\x04\0\0"
        entry = Entry("cn=a", {"objectsid": (sid,), "primarygroupid": (b"513",)})
        template = parse_filter("(objectSid={primaryGroupSid})")
        value = decoded(template.fill(TemplateUser("a", entry))).assertionValue.value
        self.assertEqual(value, sid[:-4] + b"\x01\x02\0\0")
        self.assertEqual(template.entry_attributes(), ("objectSid", "primaryGroupID"))
        for bad in (b"x", b"-1", b"99999999999"):
            wrong = Entry("cn=a", {"objectsid": (sid,), "primarygroupid": (bad,)})
            self.assertIsNone(template.fill(TemplateUser("a", wrong)))
