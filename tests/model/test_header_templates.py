"""Templates of headers, and how values are written."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.field_values import field_value, joined, percent, percent_joined
from authotron.model.header_templates import check_template, compiled
from authotron.model.identity import Identity

ALICE = Identity(
    "here", "alice", ("a,b", "c"), {"email": "a@example.org"}, {"files": ("read", "write")}
)
TEXTS = some.text(some.characters(exclude_categories=["Cs"]), max_size=20)


class TemplateTests(SynchronousTestCase):
    """What a template may contain."""

    def test_filled(self) -> None:
        """Placeholders stand for claims of the identity, and for the JWT."""
        for template, expected in (
            ("{username}", b"alice"),
            ("{realm}/{username}", b"here/alice"),
            ("{sub}", b"here-alice"),
            ("{roles}", b"a%2Cb,c"),
            ("{attributes.email}", b"a@example.org"),
            ("{attributes.missing}", b""),
            ("{scopes.files}", b"read,write"),
            ("{scopes.missing}", b""),
            ("Bearer {jwt}", b"Bearer token"),
            ("fixed", b"fixed"),
            ("", b""),
        ):
            self.assertEqual(compiled(template, "percent")(ALICE, "token"), expected, template)

    def test_bad(self) -> None:
        """Unknown placeholders, single braces and odd characters are refused when loaded."""
        for template in (
            "{user}",
            "{}",
            "{attributes}",
            "{attributes.}",
            "{password}",
            "{username",
            "username}",
            "{{username}}",
            "{username} ",
            "a\r\nX: y",
            "é",
        ):
            with self.assertRaises(ValueError, msg=template):
                check_template(template)


class ValueTests(SynchronousTestCase):
    """How texts become values."""

    @given(TEXTS)
    def test_percent_T61(self, text: str) -> None:
        """A percent-encoded text is printable ASCII, and decoding returns the text."""
        value = percent(text)
        self.assertTrue(value.isascii())
        self.assertTrue(value.decode().isprintable())
        self.assertEqual(value, value.strip())
        self.assertEqual(unquote(value.decode()), text)

    @given(some.lists(TEXTS.filter(lambda text: text.strip() == text), max_size=4))
    def test_lists_T61(self, texts: list[str]) -> None:
        """A list can be split at its commas, whatever its items contain."""
        for value in (percent_joined(texts).decode(), joined(texts)):
            self.assertEqual([unquote(item) for item in value.split(",")], texts or [""])

    @given(TEXTS)
    def test_utf_8_T61(self, text: str) -> None:
        """A value in UTF-8 has neither line ends nor other control characters."""
        self.assertFalse(any(char in field_value(text) for char in b"\r\n\0\x0b\x7f"))
