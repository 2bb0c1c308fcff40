"""The canonical spelling of paths."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.paths import (
    ALLOWABLE,
    AmbiguousPath,
    Oddity,
    canonical,
    split_target,
)

_PIECES = (
    *(b"/", b"/", b"/", b".", b"..", b"a", b"A", b"~", b"@", b"!", b"%", b";", b"\\", b"#", b"?"),
    *(b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"%25", b"%41", b"%40", b"%00", b"%7f", b"%3b"),
    *(b"%c3%a9", b"\xc3\xa9", b"%C3", b"\xff", b"%E9", b"|", b"%7C", b" ", b"\0", b"%zz", b"2e"),
)
PATHS = some.lists(some.sampled_from(_PIECES), max_size=8).map(lambda each: b"/" + b"".join(each))
"""Paths of what proxies and backends disagree about."""

ALLOWED = some.frozensets(some.sampled_from(sorted(ALLOWABLE, key=str)))


def oddity(path: bytes, allowed: frozenset[Oddity] = frozenset()) -> str:
    """Return what makes a path ambiguous, or an empty string."""
    try:
        canonical(path, allowed)
    except AmbiguousPath as ambiguous:
        return ambiguous.oddity.value
    return ""


class CanonicalTests(SynchronousTestCase):
    """One spelling for each resource."""

    def test_spelling(self) -> None:
        """A path that all servers read alike has one spelling."""
        for path, expected in (
            (b"/", "/"),
            (b"/data/x", "/data/x"),
            (b"/data/x/", "/data/x/"),
            (b"/DATA/%41%7Euser/x", "/DATA/A~user/x"),
            (b"/data/a+b@c:d,e=f&g'h(i)*!$", "/data/a+b@c:d,e=f&g'h(i)*!$"),
            (b"/users/a%40b.org", "/users/a@b.org"),
            (b"/data/caf\xc3\xa9", "/data/caf%C3%A9"),
            (b"/data/caf%c3%a9", "/data/caf%C3%A9"),
            (b'/data/"q"<x>{y}|z^`', "/data/%22q%22%3Cx%3E%7By%7D%7Cz%5E%60"),
            (b"/100%25", "/100%25"),
            (b"/a%23b%3Fc%3bd", "/a%23b%3Fc%3Bd"),
            (b"/.well-known/x", "/.well-known/x"),
            (b"/x%2ey", "/x.y"),
            (b"/...", "/..."),
        ):
            with self.subTest(path):
                self.assertEqual(canonical(path), expected)

    def test_dot_segments_T12(self) -> None:
        """Plain dot segments are removed, as browsers and backends do."""
        for path, expected in (
            (b"/public/../admin/x", "/admin/x"),
            (b"/a/./b", "/a/b"),
            (b"/a/b/..", "/a/"),
            (b"/a/.", "/a/"),
            (b"/a/..", "/"),
        ):
            with self.subTest(path):
                self.assertEqual(canonical(path), expected)

    def test_ambiguous_T12_T13(self) -> None:
        """What proxies and backends disagree about is refused, in every spelling."""
        for path, expected in (
            (b"/user/%2e%2e/admin", "encoded-dot-segment"),
            (b"/user/%2E%2e/admin", "encoded-dot-segment"),
            (b"/user/.%2E/admin", "encoded-dot-segment"),
            (b"/user/%2e/admin", "encoded-dot-segment"),
            (b"/%2e%2e%2fadmin", "encoded-slash"),
            (b"/public/..%3B/admin", "encoded-dot-segment"),
            (b"/public/..%3bv=1/admin", "encoded-dot-segment"),
            (b"/public/%2e%2E%3B/admin", "encoded-dot-segment"),
            (b"/public/.%3B", "encoded-dot-segment"),
            (b"/a%2fb", "encoded-slash"),
            (b"/a%2Fb", "encoded-slash"),
            (b"/public/..;/admin", "semicolon"),
            (b"/data;v=1/x", "semicolon"),
            (b"//admin/x", "empty-segment"),
            (b"/data//x", "empty-segment"),
            (b"/data//", "empty-segment"),
            (b"/a//../b", "empty-segment"),
            (b"/../x", "above-root"),
            (b"/a/../../x", "above-root"),
            (b"/a\\..\\b", "backslash"),
            (b"/a%5C..%5cb", "backslash"),
            (b"/%252e%252e%252fadmin", "double-encoding"),
            (b"/%25%32%65", "double-encoding"),
            (b"/x%00.png", "control"),
            (b"/x\0", "control"),
            (b"/x%0d%0a", "control"),
            (b"/x%7F", "control"),
            (b"/caf%E9", "not-utf-8"),
            (b"/\xff", "not-utf-8"),
            (b"/%c0%af", "not-utf-8"),
            (b"/%ed%a0%80", "not-utf-8"),
            (b"/%zz/100%", "bad-percent"),
            (b"/%%32%65", "bad-percent"),
            (b"/%", "bad-percent"),
            (b"x", "not-absolute"),
            (b"", "not-absolute"),
            (b"*", "not-absolute"),
            (b"http://a.org/x", "not-absolute"),
        ):
            with self.subTest(path):
                self.assertEqual(oddity(path), expected)

    def test_fragment_T15(self) -> None:
        """A fragment is refused, because one server cuts it off and the next one does not."""
        self.assertEqual(oddity(b"/public#/../admin"), "fragment")

    def test_newline_T16(self) -> None:
        """A line end cannot stand in a path, so no pattern can be met before it."""
        for path in (b"/public\n", b"/public%0a", b"/public%0A/admin", b"/public\r"):
            self.assertEqual(oddity(path), "control")

    def test_query_T14(self) -> None:
        """The query is not part of the path."""
        self.assertEqual(split_target(b"/admin?x=/public"), (b"/admin", b"x=/public"))
        self.assertEqual(split_target(b"/admin?"), (b"/admin", b""))
        self.assertEqual(split_target(b"/admin"), (b"/admin", None))
        self.assertEqual(split_target(b"/admin?a?b"), (b"/admin", b"a?b"))

    def test_long_T16(self) -> None:
        """Long paths take time in proportion to their length."""
        for piece in (b"/a", b"/%41", b"/\xc3\xa9", b"/a/.."):
            canonical(piece * 25_000)

    def test_allowed(self) -> None:
        """A caller may allow what a backend needs, but no dot segment comes with it."""
        for path, allowed, expected in (
            (b"/projects/a%2fb", Oddity.ENCODED_SLASH, "/projects/a%2Fb"),
            (b"/a;v=1/b", Oddity.SEMICOLON, "/a;v=1/b"),
            (b"/a//b/", Oddity.EMPTY_SEGMENT, "/a//b/"),
        ):
            self.assertEqual(canonical(path, {allowed}), expected)
        for path, allowed in (
            (b"/a%2f..%2fb", Oddity.ENCODED_SLASH),
            (b"/..%2fb", Oddity.ENCODED_SLASH),
            (b"/a/..;/b", Oddity.SEMICOLON),
            (b"/a/.;x/b", Oddity.SEMICOLON),
            (b"/a//../b", Oddity.EMPTY_SEGMENT),
            (b"/a/..%3B/b", Oddity.SEMICOLON),
            (b"/a%2f..%3Bx/b", Oddity.ENCODED_SLASH),
        ):
            self.assertTrue(oddity(path, frozenset({allowed})), path)

    @given(PATHS | some.binary().map(b"/".__add__), ALLOWED)
    @example(b"/%2525", frozenset())
    def test_canonical_of_canonical(self, path: bytes, allowed: frozenset[Oddity]) -> None:
        """The canonical spelling of a canonical path is this path."""
        try:
            found = canonical(path, allowed)
        except AmbiguousPath:
            return
        self.assertEqual(canonical(found.encode("ascii"), allowed), found)

    @given(PATHS, PATHS)
    def test_one_spelling(self, one: bytes, other: bytes) -> None:
        """No two spellings that a server decodes to one path reach a rule."""
        try:
            found = [canonical(each) for each in (one, other)]
        except AmbiguousPath:
            return
        if _decoded(one) == _decoded(other):
            self.assertEqual(*found)

    @given(PATHS)
    def test_decoded_at_most_once(self, path: bytes) -> None:
        """
        Decoding a canonical path gives no slash, dot segment or percent sequence more, and no dot
        segment with parameters.
        """
        try:
            found = canonical(path)
        except AmbiguousPath:
            return
        decoded = unquote_to_bytes(found)
        self.assertEqual(decoded.count(b"/"), found.count("/"))
        self.assertIsNone(re.search(rb"%[0-9A-Fa-f]{2}|\\|\x00|//", decoded))
        names = [each.partition(b";")[0] for each in decoded.split(b"/")]
        self.assertTrue({b".", b".."}.isdisjoint(names))


def _decoded(path: bytes) -> bytes:
    """Return the path that a server reads which decodes once, and then removes dot segments."""
    left: list[bytes] = []
    segments = unquote_to_bytes(path).split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            left = left[:-1]
        elif segment != b".":
            left.append(segment)
    return b"/" + b"/".join([*left, *([b""] if segments[-1] in (b".", b"..") else [])])
