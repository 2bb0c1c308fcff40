"""LDAP filters with placeholders for a user."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as some
from ldaptor.protocols import pureber, pureldap
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap.dn import parse_dn
from authotron.ldap.filter_parser import InvalidFilter, is_template, parse_filter
from authotron.ldap.filters import (
    Combination,
    Comparison,
    FilterTemplate,
    Negation,
    Node,
    TemplateUser,
    ValueTemplate,
)

EXAMPLES = r"""
(cn=Babs Jensen)
(!(cn=Tim Howes))
(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))
(o=univ*of*mich*)
(seeAlso=)
(cn:caseExactMatch:=Fred Flintstone)
(cn:=Betty Rubble)
(sn:dn:2.4.6.8.10:=Barney Rubble)
(o:dn:=Ace Industry)
(:1.2.3:=Wilma Flintstone)
(:DN:2.4.6.8.10:=Dino)
(o=Parens R Us \28for all your parenthetical needs\29)
(cn=*\2A*)
(filename=C:\5cMyFile)
(bin=\00\00\00\04)
(sn=Lu\c4\8di\c4\87)
(1.3.6.1.4.1.1466.0=\04\02\48\69)
(&)
(|)
""".strip().splitlines()
"""The examples of RFC 4515 section 4, and those of RFC 4526 section 2."""

OIDS = some.sampled_from(["cn", "x-1", "objectClass", "dn", "2.5.4.3", "0.9.2342"])
ATTRIBUTES = OIDS | some.sampled_from(["cn;lang-de", "userCertificate;binary;x-a"])
PIECES = some.lists(
    some.binary(min_size=1) | some.sampled_from(["username", "dn"]), max_size=3
).map(
    lambda parts: ValueTemplate(
        tuple(each for i, each in enumerate(parts) if not i or type(each) is not type(parts[i - 1]))
    )
)
EXTENSIBLE = some.builds(
    Comparison,
    ATTRIBUTES | some.just(""),
    some.just(":="),
    some.tuples(PIECES),
    OIDS | some.just(""),
    some.booleans(),
).filter(lambda each: bool(each.attribute or each.rule) and (each.rule != "dn" or each.of_dn))
COMPARISONS: some.SearchStrategy[Node] = some.one_of(
    some.builds(Comparison, ATTRIBUTES, some.sampled_from(["~=", ">=", "<="]), some.tuples(PIECES)),
    some.builds(
        Comparison,
        ATTRIBUTES,
        some.just("="),
        some.lists(PIECES, min_size=1, max_size=4).map(tuple),
    ),
    EXTENSIBLE,
)
FILTERS = some.recursive(
    COMPARISONS,
    lambda each: (
        some.builds(
            Combination, some.sampled_from(["&", "|"]), some.lists(each, max_size=3).map(tuple)
        )
        | some.builds(Negation, each)
    ),
    max_leaves=8,
)

NAMES = some.text(some.characters(exclude_categories=["Cs"]), min_size=1)


def decoded(wire: bytes) -> Any:
    """Decode a filter by another implementation."""
    context = pureldap.LDAPBERDecoderContext_Filter(fallback=pureber.BERDecoderContext())
    found, size = pureber.berDecodeObject(context, wire)
    assert size == len(wire)
    return found


def has_asterisk_beside_a_placeholder(node: Node) -> bool:
    """Return whether the filter is rejected for an asterisk in a DN with a placeholder."""
    try:
        parse_filter(str(node))
    except InvalidFilter as bad:
        return "not allowed in a DN with a placeholder" in str(bad)
    return False


def filled(template: str, username: str, dn: str = "") -> Any:
    return decoded(parse_filter(template).fill(TemplateUser(username, dn)))


class FilterTests(SynchronousTestCase):
    """Filling of placeholders, and the grammar of RFC 4515."""

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

    def test_invalid_filters(self) -> None:
        """An invalid filter is rejected when the configuration is read."""
        deep = "(!" * 50 + "(a={username})" + ")" * 50
        for text in ("", "cn=a", "(cn=a", "(cn=a))", "()", "(=a)", "(cn=a\\zz)", "(a>=x*)", deep,
                     "(cn=a)(cn=b)", "(&(cn=a)", "(c n=a)", "(a:b=c)"):  # fmt: skip
            with self.subTest(text):
                self.assertRaises(InvalidFilter, parse_filter, text)

    def test_asterisk_in_a_dn_with_a_placeholder_T66(self) -> None:
        """A DN with a placeholder must not contain an asterisk."""
        for text in (
            "(member=uid={username},ou=*)",
            "(member=uid=*,ou={username})",
            "(member=*uid={username},dc=org)",
            "(member=x*,uid={username},dc=org)",
        ):
            self.assertRaises(InvalidFilter, parse_filter, text)
        parse_filter("(&(member=uid=x,ou=*)(cn={username}))")

    @given(FILTERS)
    def test_print_and_parse_T97(self, node: Node) -> None:
        """Every filter is parsed from its text to an equal filter."""
        assume(not has_asterisk_beside_a_placeholder(node))
        self.assertEqual(parse_filter(str(node)), FilterTemplate(str(node), node))

    @given(some.text("(){}&|!=~<>:;*\\\0 .dnDN012cé\udc80", max_size=20))
    def test_any_text_is_parsed_or_rejected_T97(self, text: str) -> None:
        """Any text is parsed to a filter, or rejected with the place of the mistake."""
        for each in (text, f"({text})", f"(cn{text}=x)", f"(cn={text})"):
            try:
                found = parse_filter(each)
            except InvalidFilter as bad:
                self.assertRegex(str(bad), r" at (character [0-9]+|its end)$")
            else:
                self.assertEqual(parse_filter(str(found.node)).node, found.node)
                found.fill(TemplateUser("x", "dc=x"))

    def test_examples_T97(self) -> None:
        """The examples of RFC 4515 and RFC 4526 are parsed, and print as filters."""
        for text in EXAMPLES:
            with self.subTest(text):
                found = parse_filter(text)
                self.assertEqual(parse_filter(str(found.node)).node, found.node)
                decoded(found.fill(TemplateUser("x")))

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
                told = [each.value if each is not None else None for each in named]
                self.assertEqual((told[0], told[1], bool(told[2])), (attribute, rule, of_dn))
                self.assertEqual(found.matchValue.value, b"Dino")

    def test_empty_sets_T97(self) -> None:
        """An empty set of filters is sent as an empty set (RFC 4526)."""
        self.assertEqual(bytes(parse_filter("(&)").fill(TemplateUser("x"))), b"\xa0\x00")
        self.assertEqual(bytes(parse_filter("(|)").fill(TemplateUser("x"))), b"\xa1\x00")

    def test_mistakes_name_their_place_T97(self) -> None:
        """
        A text that the grammar does not allow is rejected, and the message names the
        character.
        """
        for text, where in (
            ("(cn:a:b:=x)", "character 4"),
            ("(:dn:=x)", "character 2"),
            ("(:=x)", "character 2"),
            ("(cn:dn:dn:dn:=x)", "character 4"),
            ("(cn:1.02:=x)", "character 4"),
            ("(1=x)", "character 2"),
            ("(01.2=x)", "character 2"),
            ("(1..2=x)", "character 2"),
            ("(-cn=x)", "character 2"),
            ("(c_n=x)", "character 3"),
            ("(cn;=x)", "character 4"),
            ("(cn;lang_de=x)", "character 9"),
            ("(cn =x)", "character 4"),
            ("( cn=x)", "character 2"),
            ("(cn>x)", "character 4"),
            ("(cn:=x*)", "character 7"),
            ("(cn~=*)", "character 6"),
            ("(cn=x\\2)", "character 6"),
            ("(cn=x\\2g)", "character 6"),
            ("(cn=x\0)", "character 6"),
            ("(cn=(x))", "character 5"),
            ("(!)", "character 3"),
            ("(!(a=b)(c=d))", "character 8"),
            ("(& (a=b))", "character 3"),
            ("(&(a=b) (c=d))", "character 8"),
            ("(cn=x", "its end"),
            ("(cn=x))", "character 7"),
        ):
            with self.subTest(text):
                told = str(self.assertRaises(InvalidFilter, parse_filter, text))
                self.assertTrue(told.endswith(f" at {where}"), told)

    def test_escaped_bytes_T97(self) -> None:
        """Escaped bytes need not be UTF-8; unescaped text must be."""
        self.assertEqual(filled("(cn=\\ff\\28{username})", "u").assertionValue.value, b"\xff(u")
        self.assertRaises(InvalidFilter, parse_filter, "(cn=\udcff)")
        escaped = parse_filter("(cn=\\7busername})")
        self.assertFalse(escaped.uses_username())
        self.assertEqual(str(escaped.node), "(cn=\\7busername})")

    def test_is_template(self) -> None:
        """
        A text in parentheses with a placeholder is a search; any other text is a part of a
        DN.
        """
        for text, is_one in {
            "(cn={username})": True,
            " (member={dn}) ": True,
            "(cn=a)": False,
            "OU={username}": False,
            "OU=(x)": False,
        }.items():
            self.assertEqual(is_template(text), is_one, text)
