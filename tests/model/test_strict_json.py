"""Untrusted JSON that every parser must read in the same way."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from authotron.model import strict_json
from authotron.model.strict_json import DEEPEST, LONGEST, MOST

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(10**100), 10**100) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


class AcceptedTests(SynchronousTestCase):
    """JSON that is accepted."""

    @given(VALUES, st.booleans(), st.sampled_from((None, 2)))
    def test_any(self, value: Any, ascii_only: bool, indent: int | None) -> None:  # noqa: FBT001 - hypothesis gives it
        """Valid JSON is parsed as the standard library parses it."""
        content = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
        self.assertEqual(strict_json.loads(b" \r\n\t" + content + b"\t\n\r "), value)

    def test_pair(self) -> None:
        """A whole surrogate pair is one character; an escaped backslash begins no escape."""
        self.assertEqual(
            strict_json.loads(rb'["\ud83d\ude00", "\\ud800"]'), ["\U0001f600", r"\ud800"]
        )

    def test_deep_enough(self) -> None:
        """Many objects side by side are not deep."""
        wide: list[Any] = [{"a": [{}]}] * 100
        self.assertEqual(strict_json.loads(json.dumps(wide).encode()), wide)
        deep = b"[" * DEEPEST + b"]" * DEEPEST
        strict_json.loads(deep)


class RefusedTests(SynchronousTestCase):
    """JSON that is an error, always a C{ValueError}."""

    def refused(self, *contents: bytes) -> None:
        for content in contents:
            with self.subTest(content[:40]):
                self.assertRaises(ValueError, strict_json.loads, content)

    def test_encoding_T95(self) -> None:
        """UTF-8 is the only encoding, and it has no byte order mark."""
        text = '{"a": "é"}'
        encodings = (
            "utf-16",
            "utf-16-le",
            "utf-16-be",
            "utf-32",
            "utf-32-le",
            "utf-32-be",
            "latin-1",
        )
        self.refused(*(text.encode(each) for each in encodings), BOM_UTF8 + text.encode())
        self.refused(b'{"a": "\xed\xa0\x80"}', b'{"a": "\xc0\x80"}', b'{"a": "\xf5\x80\x80\x80"}')

    def test_half_pairs_T94(self) -> None:
        """Half of a surrogate pair is not a character, in a value or in a name."""
        for half in (
            rb"\ud800",
            rb"\uDBFF",
            rb"\udc00",
            rb"\uDfFf",
            rb"\ud800\ud800",
            rb"\ude00\ud83d",
        ):
            self.refused(b'{"a": "%b"}' % half, b'{"%b": 1}' % half, b'[[{"x": ["y%b"]}]]' % half)

    def test_duplicates_T94(self) -> None:
        """A duplicate name in an object is an error, however it is escaped, at any depth."""
        self.refused(b'{"a": 1, "a": 1}', rb'{"a": 1, "\u0061": 2}', b'[{"x": {"": 1, "": 2}}]')
        strict_json.loads(b'{"a": {"a": 1}, "A": 2}')

    def test_numbers_T94(self) -> None:
        """An infinite number, or one of thousands of digits, is an error."""
        self.refused(b"NaN", b'{"a": Infinity}', b"[-Infinity]", b"[1e999]", b"-1e309", b"1" * 4000)
        self.refused(b"1." + b"0" * 4000, b"[+1]", b"[01]", b"[.5]", b"[5.]", b"[0x10]", b"[1_0]")
        self.refused("[\u0661]".encode())

    def test_depth_T94(self) -> None:
        """A document that is nested too deeply is an error, without exhausting the stack."""
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            for depth in (DEEPEST + 1, 1000, 100_000):
                self.refused(opening * depth + b"1" + closing * depth, opening * depth)

    def test_size_T94(self) -> None:
        """A document above the limit is an error before it is parsed."""
        self.refused(b'"' + b"a" * LONGEST + b'"')
        self.assertRaises(ValueError, strict_json.loads, b"[1]", 2)

    def test_many_T94(self) -> None:
        """A document with too many arrays and objects is an error before it is parsed."""
        self.refused(b"[" + b"{}," * MOST + b"{}]", b"[" + b"[]," * MOST + b"[]]")
        strict_json.loads(b"[" + b"{}," * (MOST - 2) + b"{}]")
        self.assertRaises(ValueError, strict_json.loads, b"[[],[]]", most=2)

    def test_trailing_T94(self) -> None:
        """Only JSON white space may follow a document."""
        self.refused(b"{} {}", b"{}x", b"1 2", b"[]\x00", b"{}\x0b", "{}\u00a0".encode(), b"\x0c{}")

    def test_no_json_T94(self) -> None:
        """A document that is not JSON is an error."""
        self.refused(b"", b" ", b"{", b"[1,]", b"{'a': 1}", b'{"a": 1,}', b'["\x00"]', b'["\n"]')
        self.refused(b"/**/{}", b"nul", b"True", b'"\\x"', b'"\\u12"', b"\xff")

    @given(st.binary())
    def test_anything(self, content: bytes) -> None:
        """Any bytes are parsed or an error; what is parsed can be encoded in UTF-8."""
        try:
            found = strict_json.loads(content)
        except ValueError:
            return
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()

    @given(st.text(st.sampled_from('{}[]",:\\ud8dcE0123456789.-+ \n')))
    def test_anything_like_json(self, content: str) -> None:
        """Any string that looks like JSON is parsed or an error."""
        self.test_anything.hypothesis.inner_test(self, content.encode())  # type: ignore[attr-defined] # what hypothesis wraps
