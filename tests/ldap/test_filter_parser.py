"""Parsing of LDAP filters with placeholders."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap.decoding import Entry
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
from tests.ldap.test_filters import decoded, filled

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


def has_asterisk_beside_a_placeholder(node: Node) -> bool:
    """Return whether the filter is rejected for an asterisk in a DN with a placeholder."""
    try:
        parse_filter(str(node))
    except InvalidFilter as bad:
        return "an asterisk in a DN with a placeholder" in str(bad)
    return False


class FilterParserTests(SynchronousTestCase):
    """The grammar of RFC 4515 and RFC 4526, and its mistakes."""

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
                found.fill(TemplateUser("x", Entry("dc=x")))

    def test_examples_T97(self) -> None:
        """The examples of RFC 4515 and RFC 4526 are parsed, and print as filters."""
        for text in EXAMPLES:
            with self.subTest(text):
                found = parse_filter(text)
                self.assertEqual(parse_filter(str(found.node)).node, found.node)
                decoded(found.fill(TemplateUser("x")))

    def test_unknown_braces_L_PRIMARY(self) -> None:
        """Braces that are not a placeholder, and placeholders of other programs, are mistakes."""
        for text, words in (
            ("(cn={0})", "unknown placeholder {0} (write \\7b and \\7d for braces) at character 5"),
            ("(cn={user_dn})", "unknown placeholder {user_dn}"),
            ("(cn={})", "unknown placeholder {}"),
            ("(cn={username)", "unknown placeholder {username "),
            ("(cn={{username}})", "unknown placeholder { "),
            ("(cn={user})", "unknown placeholder {user} (write {username})"),
            ("(cn={usrname})", "unknown placeholder {usrname} (write {username})"),
            ("(cn={Username})", "unknown placeholder {Username} (write {username})"),
            ("(member={DN})", "unknown placeholder {DN} (write {dn})"),
            ("(member={userdn})", "unknown placeholder {userdn} (write {dn})"),
        ):
            with self.subTest(text):
                self.assertTrue(is_template(text))
                self.assertIn(words, str(self.assertRaises(InvalidFilter, parse_filter, text)))
        self.assertEqual(parse_filter("(cn={uid})").placeholders(), ("uid",))
        self.assertEqual(parse_filter("(cn=\\7buser\\7d)").placeholders(), ())

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
                message = str(self.assertRaises(InvalidFilter, parse_filter, text))
                self.assertTrue(message.endswith(f" at {where}"), message)

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
