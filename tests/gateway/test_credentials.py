"""How an C{Authorization} header is read, and how a challenge is written."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway import credentials
from authotron.gateway.credentials import MOST, Challenged, challenge
from authotron.model.errors import BadCredentials, Rejected
from authotron.model.identity import Credential
from tests.providers.test_plain import basic


def parse(text: str) -> tuple[Credential, ...]:
    """Return the credentials of an C{Authorization} header."""
    return credentials.parse(text)


tokens = some.text(
    some.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1
)


class ParseTests(SynchronousTestCase):
    """Header to credentials."""

    def found(self, text: str) -> list[tuple[str, str]]:
        return [(credential.scheme, credential.value) for credential in parse(text)]

    def test_one(self) -> None:
        """A scheme and a value; the scheme ignores case."""
        self.assertEqual(self.found("bEaRer abc"), [("bearer", "abc")])

    def test_alias(self) -> None:
        """Plain is Basic."""
        self.assertEqual(self.found("Plain abc"), [("basic", "abc")])

    def test_order(self) -> None:
        """Schemes stay in the order of the header."""
        self.assertEqual(self.found("Bearer b, Basic a"), [("bearer", "b"), ("basic", "a")])

    def test_last_of_a_scheme_T23(self) -> None:
        """Of several credentials of one scheme the last counts."""
        self.assertEqual(
            self.found("Basic a, Bearer b, Plain c"), [("basic", "c"), ("bearer", "b")]
        )

    def test_repeated_part_T23(self) -> None:
        """A part that was there already is dropped."""
        self.assertEqual(self.found("Basic a, Basic b, Basic a"), [("basic", "b")])

    def test_too_many_T23(self) -> None:
        """More than three different ones are too many."""
        self.assertEqual(len(parse("A a, B b, C c, A a")), MOST)
        self.assertRaises(BadCredentials, parse, "A a, B b, C c, D d")

    def test_malformed_T21(self) -> None:
        """One malformed part spoils the header."""
        for text in (
            "",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a,",
            ",Bearer a",
            "Bearer a,,Basic b",
            'Digest username="a", realm="b"',
        ):
            with self.subTest(text):
                self.assertRaises(BadCredentials, parse, text)

    def test_odd_bytes_T22(self) -> None:
        """What would break a log line, and is passed on by Twisted, is refused."""
        for odd in "\x00\x0b\x0c\x1c\x1d\x1e\x85\x7f\r\n\u2028é":
            with self.subTest(repr(odd)):
                self.assertRaises(BadCredentials, parse, f"Bearer a{odd}b")

    @given(some.text())
    def test_anything_T21(self, text: str) -> None:
        """Whatever comes, it is read or refused."""
        try:
            found = parse(text)
        except BadCredentials:
            return
        self.assertTrue(1 <= len(found) <= MOST)
        self.assertEqual(len({each.scheme for each in found}), len(found))

    @given(some.dictionaries(some.sampled_from(["basic", "bearer", "x"]), tokens, min_size=1))
    def test_round_trip(self, wanted: dict[str, str]) -> None:
        """What was written is read."""
        text = " , ".join(f"{scheme}\t {value}" for scheme, value in wanted.items())
        self.assertEqual(self.found(text), list(wanted.items()))


class BasicTests(SynchronousTestCase):
    """The two halves of a Basic credential."""

    def test_colons(self) -> None:
        """The first colon divides; others belong to the password."""
        self.assertEqual(basic("bob", "p:a:ss").username_and_password(), ("bob", "p:a:ss"))

    def test_hostile_T21(self) -> None:
        """Nothing but canonical base64 of UTF-8 with a user and a colon is taken."""
        for value in (
            "Ym9iOmJ1aWxkZXI",  # no padding
            "Ym9iOmJ1aWxkZXI==",  # too much
            "Ym9iOmJ1aWxkZXJ=",  # last bits
            "Ym9i*OmJ1aWxkZXI=",  # stray character
            "_-8=",  # the other alphabet
            "Ym9i",  # no colon
            "OnB3",  # no user
            "/zph",  # no UTF-8
            "=",
            "é",
        ):
            with self.subTest(value):
                self.assertRaises(Rejected, Credential("basic", value).username_and_password)

    @given(some.text(alphabet=some.characters(exclude_categories=["Cs"])))
    def test_any_password(self, password: str) -> None:
        """Any password comes out as it went in."""
        self.assertEqual(basic("u", password).username_and_password(), ("u", password))

    @given(some.text())
    def test_anything_T21(self, value: str) -> None:
        """Whatever comes, it is read or refused."""
        try:
            username, _ = Credential("basic", value).username_and_password()
        except Rejected:
            return
        self.assertTrue(username)

    def test_other_encodings_B_LATIN(self) -> None:
        """A name in ISO-8859-1 is rejected with a reason that names the encoding."""
        value = b64encode("müller:wönder".encode("latin-1")).decode()
        rejected = self.assertRaises(Rejected, Credential("basic", value).username_and_password)
        self.assertIn("not UTF-8", str(rejected))
        self.assertIn("auth.challenge_charset", str(rejected))
        value = b64encode("müller:wönder".encode()).decode()
        self.assertEqual(Credential("basic", value).username_and_password()[0], "müller")

    def test_not_shown(self) -> None:
        """The representation of a credential does not repeat it."""
        self.assertNotIn("secret", repr(Credential("bearer", "secret")))


class ChallengeTests(SynchronousTestCase):
    """Providers to C{WWW-Authenticate}."""

    def provider(self, realm: str) -> Challenged:
        return Challenged("basic", realm)

    def known(self, realm: str, scheme: str) -> Challenged:
        return Challenged(scheme, realm)

    def test_each_once(self) -> None:
        """Each scheme and realm stands once, in the order of the configuration."""
        providers = list(map(self.provider, ["b", "a", "b"]))
        self.assertEqual(challenge(providers), 'Basic realm="b", Basic realm="a"')

    def test_nobody(self) -> None:
        """Without providers there is still a challenge."""
        self.assertEqual(challenge([]), "Bearer")

    def test_quoted_T61(self) -> None:
        """Quotes are escaped and line ends are left out."""
        provider = self.provider('a"\\\r\nb')
        self.assertEqual(challenge([provider]), 'Basic realm="a\\"\\\\b"')

    def test_charset_B_LATIN(self) -> None:
        """If wanted, Basic challenges say that names are UTF-8 (RFC 7617 section 2.1)."""
        providers = [self.known("b", "bearer"), self.known("a", "basic")]
        self.assertEqual(
            challenge(providers, charset=True),
            'Bearer realm="b", Basic realm="a", charset="UTF-8"',
        )

    def test_basic_first_B_ORDER(self) -> None:
        """If wanted, Basic challenges come first; the others stay in their order."""
        providers = [
            self.known(name, scheme)
            for name, scheme in (("b", "bearer"), ("a", "basic"), ("c", "bearer"), ("d", "basic"))
        ]
        expected = 'Basic realm="a", Basic realm="d", Bearer realm="b", Bearer realm="c"'
        self.assertEqual(challenge(providers, basic_first=True), expected)

    def test_errors_B_ORDER(self) -> None:
        """An error stands in each Bearer challenge, and in no other (RFC 6750 section 3)."""
        providers = [self.known("b", "bearer"), self.known("a", "basic")]
        expected = 'Bearer realm="b", error="invalid_token", Basic realm="a"'
        self.assertEqual(challenge(providers, error="invalid_token"), expected)
        self.assertEqual(challenge([], error="invalid_token"), 'Bearer error="invalid_token"')
