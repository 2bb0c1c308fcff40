"""Cookies and parameters of one name, found and removed as a slow and simple reader would do."""

from __future__ import annotations

from urllib.parse import unquote_plus

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model import cookies, parameters
from authotron.model.cookies import AMBIGUOUS

HEADERS = some.lists(
    some.sampled_from([b"s", b"=", b";", b",", b" ", b"\t", b"a", b"s=", b"; s=x"]), max_size=9
).map(b"".join)
QUERIES = some.lists(
    some.sampled_from(["s", "=", "&", "%73", "%", "+", "a", "S", "7", "3", "&s=x"]), max_size=9
).map("".join)


def names(piece: bytes) -> list[bytes]:
    """Return the names of the cookies in a part of C{Cookie} that has no semicolon."""
    pairs = [each.partition(b"=") for each in piece.split(b",")]
    return [name.strip(b" \t") if equals else b"" for name, equals, _ in pairs]


def read(header: bytes) -> bytes | None:
    """Return the cookie C{s}."""
    pieces = [each for each in header.split(b";") if b"s" in names(each)]
    if not pieces:
        return None
    if len(pieces) > 1 or b"," in pieces[0]:
        return AMBIGUOUS
    return pieces[0].partition(b"=")[2].strip(b" \t")


class CookieTests(SynchronousTestCase):
    """One cookie of a header."""

    @given(HEADERS)
    def test_value_T27c(self, header: bytes) -> None:
        """The cookie that stands alone is found, and others are ambiguous."""
        self.assertEqual(cookies.value(header, cookies.finder("s")), read(header))

    @given(HEADERS)
    def test_without_T27g(self, header: bytes) -> None:
        """No cookie of the name is left, and all others are."""
        left = cookies.without(header, cookies.remover("s"))
        self.assertIsNone(read(left))
        kept = [each.strip() for each in header.split(b";") if b"s" not in names(each)]
        found = [each.strip() for each in left.split(b";")]
        self.assertEqual([*filter(None, found)], [*filter(None, kept)])

    def test_unchanged(self) -> None:
        """A header without the cookie is the same, byte for byte."""
        for header in (b"", b" a=b ;; c", b"a=b;", b"s;S=1"):
            self.assertEqual(cookies.without(header, cookies.remover("s")), header)

    def test_names_are_literal(self) -> None:
        """Characters of a name have no meaning in the regular expression."""
        for name in ("a.b", "a|b", "a+", "^a$", "__Host-s"):
            header = f"axb=1; b=2; a=3; {name}=4".encode()
            self.assertEqual(cookies.value(header, cookies.finder(name)), b"4")
            kept = cookies.without(header, cookies.remover(name))
            self.assertEqual(kept, b"axb=1; b=2; a=3")


class ParameterTests(SynchronousTestCase):
    """One parameter of a query."""

    @given(QUERIES)
    def test_value_T27d(self, query: str) -> None:
        """A parameter is found in any encoding of its name, and several are ambiguous."""
        pairs = [each.partition("=") for each in query.split("&")]
        values = [value for name, _, value in pairs if unquote_plus(name) == "s"]
        found = parameters.value(query, parameters.finder("s"))
        if len(values) > 1:
            self.assertEqual(found, AMBIGUOUS)
        elif values:
            self.assertEqual(found, unquote_plus(values[0], errors="replace").encode())
        else:
            self.assertIsNone(found)

    def test_encoded_names(self) -> None:
        """Each character of a name may be encoded, in hexadecimal digits of either case."""
        for query in ("a.k-z=1", "%61%2ek%2Dz=1", "x&%61.k-%7A=1&y", "a.k-z=%31"):
            self.assertEqual(parameters.value(query, parameters.finder("a.k-z")), b"1")
        self.assertIsNone(parameters.value("axk-z=1", parameters.finder("a.k-z")))
