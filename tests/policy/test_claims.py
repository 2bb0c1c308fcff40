"""The claims of identities."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.identity import Identity
from authotron.policy.claim_filter import ClaimFilter
from authotron.policy.claims import (
    Known,
    Source,
    by_key,
    claims_of,
    known_claims,
    left_out,
    values_of,
)
from authotron.policy.index import Index

WORDS = some.sampled_from(
    ["a", "b", "a=b", "@a", "role", "scope", "a:b", "group", "x y", "", '["a","B"]', "[]", "[a"]
)
KEYS = some.sampled_from(["a", "b", "group"])
FILTERS = some.none() | some.builds(
    ClaimFilter,
    some.lists(some.sampled_from(["a", "GROUP=", "role=a"]), max_size=2).map(tuple),
    some.lists(some.sampled_from(["b", "role=", "a=a"]), max_size=2).map(tuple),
    some.dictionaries(KEYS, KEYS, max_size=2),
    some.frozensets(some.sampled_from(["a", "group", "role", "username"])),
)
SOURCES = some.builds(Source, some.just("plain"), some.just("staff"), some.just("gate"), FILTERS)
SOURCE = Source("plain", "staff", "gate")
IDENTITIES = some.builds(
    Identity,
    WORDS,
    WORDS,
    some.lists(WORDS, max_size=3).map(tuple),
    some.dictionaries(WORDS, WORDS, max_size=3),
    some.dictionaries(WORDS, some.lists(WORDS, max_size=2).map(tuple), max_size=2),
)


def known_tags(tags: Iterable[str]) -> Known:
    """Return tags as the index of the rules that name them arranges them."""
    found = Index()
    found.name((frozenset(tags),))
    return found.known


class KnownClaimsTests(SynchronousTestCase):
    """The claims that rules name."""

    @given(identity=IDENTITIES, others=IDENTITIES, source=SOURCES, data=some.data())
    def test_equal_to_all_claims(
        self, identity: Identity, others: Identity, source: Source, data: some.DataObject
    ) -> None:
        """Known claims are those of all claims that are among the known tags."""
        every = sorted(claims_of(identity, source) | claims_of(others, source))
        tags = data.draw(some.sets(some.sampled_from(every)))
        found = known_claims(identity, source, known_tags(tags))
        self.assertEqual(found, claims_of(identity, source) & tags)

    def test_order(self) -> None:
        """All claims of an identity, as rules name them."""
        identity = Identity(
            "internal",
            "bob",
            ("reader",),
            {"email": "bob@example.org", "role": "ops", "@group:name": "x", "a=b": "c", "no": ""},
            {"archive": ("read",), "a:b": ("c",)},
        )
        self.assertEqual(
            sorted(claims_of(identity, SOURCE)),
            [
                "@issuer=gate",
                "@source:name=staff",
                "@source:realm=internal",
                "@source:type=plain",
                "email=bob@example.org",
                "realm=internal",
                "role=reader",
                "scope=archive:read",
                "username=bob",
            ],
        )


def of(**attributes: str) -> list[str]:
    """Return the claims that are made of attributes, in order."""
    every = claims_of(Identity("r", "u", attributes=attributes), SOURCE)
    return sorted(every - claims_of(Identity("r", "u"), SOURCE))


class AttributeTests(SynchronousTestCase):
    """Attributes of odd shapes."""

    def test_list(self) -> None:
        """A list in JSON is one claim for each value, and each value once."""
        self.assertEqual(of(group='["b","a","b"]'), ["group=a", "group=b"])
        self.assertEqual(by_key(of(group='["b","a"]')), {"group": ["a", "b"]})

    def test_other_elements(self) -> None:
        """Numbers and truth values count as JSON writes them; what is no value is left out."""
        listed = '["a",5,1.5,true,false,null,"",["x"],{"y":"z"},-0]'
        self.assertEqual(of(n=listed), ["n=0", "n=1.5", "n=5", "n=a", "n=false", "n=true"])

    def test_no_list(self) -> None:
        """What is no list in JSON is one value, letter by letter."""
        for text in (
            "[a]",
            '["a"',
            '["a"] x',
            '{"a":["b"]}',
            ' ["a"]',
            "[NaN]",
            '["\\ud800"]',
            "[" * 100_000,
            "[" * 100 + "]" * 100,
            "5",
            "true",
        ):
            self.assertEqual(of(n=text), [f"n={text}"])

    def test_control_characters_S_CLAIM(self) -> None:
        """An element with a control character is left out, and not taken for another one."""
        self.assertEqual(of(group='["admins\\u0000","\\nops","\\u0085","é"]'), ["group=é"])

    def test_equals_sign_S_CLAIM(self) -> None:
        """The first C{=} of a claim ends its key; a key with C{=} is no claim."""
        self.assertEqual(of(a="b=c=d"), ["a=b=c=d"])
        self.assertEqual(by_key(["a=b=c=d"]), {"a": ["b=c=d"]})
        self.assertEqual(of(**{"a=b": "c", "=": "c", "a=": "c"}), [])

    def test_blanks_and_unicode(self) -> None:
        """A key with any blank of Unicode is no claim; other characters are letters like others."""
        for blank in (" ", "\t", "\u00a0", "\u2003", "\u3000", "\x85"):
            self.assertEqual(of(**{f"a{blank}b": "c", f"{blank}a": "c"}), [])
        self.assertEqual(
            of(**{"größe": "ß", "\uff20group:name": "x"}), ["größe=ß", "\uff20group:name=x"]
        )

    def test_normal_form_S_CLAIM(self) -> None:
        """Values are in normal form, also those that JSON hides behind escapes."""
        for text in ("re\u0301f", '["re\\u0301f"]', '["re\u0301f"]', '["r\\u00e9f"]'):
            self.assertEqual(of(group=text), ["group=r\u00e9f"])
            identity = Identity("r", "u", (), {"group": text})
            known = known_tags(["group=r\u00e9f"])
            self.assertEqual(known_claims(identity, SOURCE, known), {"group=r\u00e9f"})
        self.assertEqual(of(k='["\\u212a"]'), ["k=\u212a"])

    def test_many(self) -> None:
        """10,000 values are 10,000 claims."""
        roles = tuple(f"r{number}" for number in range(5_000))
        listed = json.dumps([f"g{number}" for number in range(5_000)])
        identity = Identity("r", "u", roles, {"group": listed})
        self.assertEqual(len(claims_of(identity, SOURCE)), 10_006)
        known = known_tags(["group=g4999", "role=r7", "group=g5000"])
        self.assertEqual(known_claims(identity, SOURCE, known), {"group=g4999", "role=r7"})

    def test_left_out(self) -> None:
        """Each attribute that becomes no claim has its reason."""
        attributes = {"@a": "x", "role": "x", "a b": "x", "a=b": "x", "": "x", "e": "", "l": "[]"}
        found = dict(left_out(Identity("r", "u", attributes={**attributes, "good": "x"})))
        words = ["reserved", "own", "malformed", "malformed", "malformed", "empty", "empty"]
        self.assertEqual(found, dict(zip(attributes, words, strict=True)))
        self.assertEqual(of(**attributes), [])

    def test_values(self) -> None:
        """The values of an attribute that is no list are the attribute itself."""
        self.assertEqual([*values_of("a")], ["a"])
        self.assertEqual([*values_of('["a"]')], ["a"])
