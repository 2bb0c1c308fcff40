"""In which parts of a request credentials stand, and which of them decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.carriers import NO_CARRIERS, Carriers, Judge
from authotron.model.carriers import Carrier
from authotron.model.errors import BadCredentials, Flaw, UnusableFact
from authotron.model.request import Facts, Presented

KEY = Carrier("header", "x-api-key")
COOKIE = Carrier("cookie", "session")
QUERY = Carrier("query", "token")
PROXY = Carrier("header", "proxy-authorization", "bearer")
PASSWORD = Carrier("basic", "password")


def judge(*carriers: Carrier | None, realm: str | None = "a", scheme: str = "bearer") -> Judge:
    return Judge("it", scheme, realm, carriers)


def headers(given: Mapping[str, str]) -> Callable[[bytes], bytes | None]:
    known = {name.encode(): value.encode("latin-1") for name, value in given.items()}
    return known.get


class CarriersCase(SynchronousTestCase):
    """Reads a credential as the gateway does."""

    carriers = Carriers([judge(None), judge(KEY), judge(COOKIE), judge(QUERY), judge(PROXY)])

    def presented(
        self,
        given: Mapping[str, str],
        query: str | None = None,
        authorization: str | None = None,
        realm: str | None = None,
        carriers: Carriers | None = None,
    ) -> Presented:
        others = (carriers or self.carriers).of_question(headers(given), Facts(query=query))
        return Presented(
            None if authorization is None else authorization.encode(),
            None if realm is None else realm.encode(),
            others,
        )

    def found(
        self, given: Mapping[str, str], query: str | None = None, **more: Any
    ) -> list[tuple[str, str, str]]:
        """Return scheme, value and carrier of each credential."""
        presented = self.presented(given, query, **more)
        if not presented.others:
            return []
        _, found = self.carriers.read(presented, None)
        return [(each.scheme, each.value, str(each.carrier)) for each in found]

    def assertMalformed(self, given: Mapping[str, str], query: str | None = None) -> None:
        presented = self.presented(given, query)
        self.assertRaises(BadCredentials, self.carriers.read, presented, None)


class HeaderTests(CarriersCase):
    """Headers other than C{Authorization}."""

    def test_value(self) -> None:
        """The whole value is the credential."""
        self.assertEqual(
            self.found({"x-api-key": " abc "}), [("bearer", "abc", "header x-api-key")]
        )

    def test_scheme(self) -> None:
        """If a scheme is configured, the value begins with it, or there is no credential."""
        for value in ("Bearer abc", "bearer \tabc".replace("\t", " "), "BEARER abc"):
            [(scheme, text, _)] = self.found({"proxy-authorization": value})
            self.assertEqual((scheme, text), ("bearer", "abc"))
        for value in ("Basic abc", "abc", "bearerabc"):
            self.assertEqual(self.found({"proxy-authorization": value}), [])
        self.assertMalformed({"proxy-authorization": "Bearer"})

    def test_empty(self) -> None:
        """An empty value counts as a missing header."""
        for value in ("", "  ", "\t"):
            self.assertEqual(self.found({"x-api-key": value}), [])

    def test_several_T27b(self) -> None:
        """A header that stands twice, or a value that is not one credential, is malformed."""
        for value in ("a,b", "a,", ",a", "a b", "a\tb", "\xe9", "a\x7f", "a,a"):
            self.assertMalformed({"x-api-key": value})

    @given(some.text(some.characters(min_codepoint=0, max_codepoint=255)))
    def test_any_value_T27b(self, value: str) -> None:
        """Whatever the value is, it is one printable credential, none, or malformed."""
        presented = self.presented({"x-api-key": value})
        try:
            _, found = self.carriers.read(presented, None) if presented.others else (None, ())
        except BadCredentials:
            return
        for each in found:
            self.assertTrue(each.value.isascii() and each.value.isprintable())
            self.assertFalse(set(each.value) & {" ", ","})


class CookieTests(CarriersCase):
    """Cookies."""

    def test_value(self) -> None:
        """One cookie of several is the credential; its name is case-sensitive."""
        for value in ("session=abc", "a=b; session=abc", "session=abc;a=b", " session = abc ;x"):
            self.assertEqual(
                self.found({"cookie": value}), [("bearer", "abc", "cookie session")], value
            )
        for value in ("Session=abc", "xsession=abc", "session", "a=session=abc", "", "session="):
            self.assertEqual(self.found({"cookie": value}), [], value)

    def test_several_T27c(self) -> None:
        """Several cookies of the name are ambiguous, in every order, also if one is empty."""
        for values in permutations(("session=abc", "session=", "a=b")):
            self.assertMalformed({"cookie": "; ".join(values)})
        self.assertMalformed({"cookie": "session=a; session=a"})

    def test_joined_T27c(self) -> None:
        """A cookie beside a comma is ambiguous, since some proxies join headers by commas."""
        for value in (
            "a=b,session=abc",
            "a=b, session=abc",
            "session=abc,a=b",
            "session=abc, session=abc",
            "session=abc; a=b,session=x",
            "a=b,\tsession =abc",
        ):
            self.assertMalformed({"cookie": value})

    def test_other_commas(self) -> None:
        """A comma in another cookie changes nothing."""
        self.assertEqual(len(self.found({"cookie": 'prefs={"a":1,"b":2}; session=abc'})), 1)


class QueryTests(CarriersCase):
    """Parameters of the query of the client's request."""

    def test_value(self) -> None:
        """A parameter is decoded as backends decode it."""
        for query in ("token=a%2Bc", "x=y&token=a%2Bc&z", "%74oken=a%2Bc"):
            self.assertEqual(self.found({}, query), [("bearer", "a+c", "query token")], query)
        for query in ("", "token", "token=", "Token=abc", "xtoken=abc", "x=token=abc"):
            self.assertEqual(self.found({}, query), [], query)

    def test_several_T27d(self) -> None:
        """A parameter that stands twice, or is not one credential, is malformed."""
        for query in (
            "token=a&token=b",
            "token=a&token=",
            "token=a&%74oken=a",
            "token=a+b",
            "token=a,b",
            "token=%00",
            "token=%e9",
            "token=%0d%0aX:y",
        ):
            self.assertMalformed({}, query)

    def test_not_stated_T27d(self) -> None:
        """Without a proxy that states the query there is no parameter; a doubtful one is none."""
        for flaw, malformed in (
            (Flaw.MISSING, False),
            (Flaw.UNTRUSTED, False),
            (Flaw.DUPLICATE, True),
            (Flaw.MALFORMED, True),
        ):

            def read(fact: str, flaw: Flaw = flaw) -> object:
                raise UnusableFact(fact, flaw)

            others = self.carriers.of_question(headers({}), Facts(read))
            if malformed:
                presented = Presented(b"Bearer x", None, others)
                self.assertRaises(BadCredentials, self.carriers.read, presented, None)
            else:
                self.assertEqual(others, ())

    def test_not_of_clients_T27d(self) -> None:
        """Requests to the gateway itself have neither a query nor cookies that count."""
        given = {"x-api-key": "k", "cookie": "session=abc"}
        self.assertEqual(
            self.carriers.of_client(headers(given)),
            self.carriers.of_question(headers({"x-api-key": "k"}), Facts(query=None)),
        )
        self.assertEqual(self.carriers.of_client(headers({"cookie": "session=abc"})), ())


class ChoiceTests(CarriersCase):
    """Which carrier decides, if several have a value."""

    ALL: Mapping[str, str] = {
        "proxy-authorization": "Bearer p",
        "x-api-key": "k",
        "cookie": "session=c",
    }

    def values(self, given: Mapping[str, str], query: str | None = None, **more: Any) -> list[str]:
        return [value for _, value, _ in self.found(given, query, **more)]

    def test_order_T23(self) -> None:
        """Headers come before the query, the query before cookies, C{Authorization} comes last."""
        left, query, seen = dict(self.ALL), "token=q", []
        for name in ("proxy-authorization", "x-api-key", "", "cookie"):
            seen += self.values(left, query, authorization="Bearer z")
            left.pop(name, None)
            query = "" if not name else query
        self.assertEqual(seen, ["p", "k", "q", "c"])
        presented = self.presented({}, authorization="Bearer z")
        self.assertEqual(presented, Presented(b"Bearer z"))

    def test_authorization_of_the_backend(self) -> None:
        """Where a carrier decides, C{Authorization} may have any syntax."""
        for text in ("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c", "x", "\x01"):
            self.assertEqual(self.values({"x-api-key": "k"}, authorization=text), ["k"])

    def test_malformed_decides_T27b(self) -> None:
        """A malformed value is refused; it does not leave the decision to C{Authorization}."""
        presented = self.presented({"x-api-key": "a,b"}, authorization="Bearer z")
        self.assertRaises(BadCredentials, self.carriers.read, presented, None)

    def test_realm(self) -> None:
        """If the client asks for a realm, only the carriers of its providers count."""
        carriers = Carriers([judge(KEY, realm="A"), judge(COOKIE, realm="b"), judge(None)])
        given = {"x-api-key": "k", "cookie": "session=c"}
        for realm, authorization, value in (
            ("a", None, "k"),
            ("B", None, "c"),
            ("b", "Bearer z", "c"),
            ("c", "Bearer z", "z"),
            ("c", None, "k"),
        ):
            presented = self.presented(given, None, authorization, realm, carriers)
            _, found = carriers.read(presented, None)
            self.assertEqual([each.value for each in found], [value])

    def test_any_realm(self) -> None:
        """The token store judges credentials of all realms."""
        carriers = Carriers([judge(KEY, realm=None), judge(COOKIE, realm="b")])
        presented = self.presented({"x-api-key": "k", "cookie": "session=c"}, realm="b")
        _, [found] = carriers.read(presented, None)
        self.assertEqual(found.value, "k")


class CanonicalTests(CarriersCase):
    """What identifies a decision."""

    def canonical(self, given: Mapping[str, str], **more: Any) -> Presented:
        presented = self.presented(given, **more)
        return self.carriers.read(presented, None)[0]

    def assertAllEqual(self, found: Sequence[Presented]) -> None:
        self.assertEqual(len(set(found)), 1)

    def test_rest_does_not_count(self) -> None:
        """What does not decide does not count, nor does the spelling of what decides."""
        self.assertAllEqual(
            [
                self.canonical({"x-api-key": "k"}),
                self.canonical({"x-api-key": " k", "cookie": "session=c"}),
                self.canonical({"x-api-key": "k"}, authorization="Bearer z"),
            ]
        )
        self.assertAllEqual(
            [self.canonical({"proxy-authorization": f"{word}  k"}) for word in ("bearer", "Bearer")]
        )

    def test_carrier_counts_T27a(self) -> None:
        """The same value in two carriers is not the same credential."""
        found = [
            self.canonical({"x-api-key": "k"}),
            self.canonical({"proxy-authorization": "Bearer k"}),
            self.canonical({"cookie": "session=k"}),
            self.canonical({}, query="token=k"),
            self.canonical({"x-api-key": "k"}, realm="a"),
            Presented(b"Bearer k"),
        ]
        self.assertEqual(len(set(found)), len(found))


class NothingTests(SynchronousTestCase):
    """A configuration without the key C{credentials}."""

    def test_nothing_is_read(self) -> None:
        """Without carriers nothing is read but C{Authorization}."""

        def read(name: bytes) -> bytes | None:
            raise AssertionError(name)

        for carriers in (NO_CARRIERS, Carriers([judge(None)]), Carriers([judge(None, PASSWORD)])):
            self.assertFalse(carriers)
            self.assertEqual(carriers.of_question(read), ())
            self.assertEqual(carriers.of_client(read), ())
            self.assertFalse(carriers.reads_facts)
