"""The claims of identities."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.identity import Identity
from authotron.policy.claims import Source, claims_of, known_claims, known_tags

WORDS = some.sampled_from(["a", "b", "a=b", "@a", "role", "scope", "a:b", "group", "x y", ""])
SOURCE = Source("plain", "staff", "gate")
IDENTITIES = some.builds(
    Identity,
    WORDS,
    WORDS,
    some.lists(WORDS, max_size=3).map(tuple),
    some.dictionaries(WORDS, WORDS, max_size=3),
    some.dictionaries(WORDS, some.lists(WORDS, max_size=2).map(tuple), max_size=2),
)


class KnownClaimsTests(SynchronousTestCase):
    """The claims that rules name."""

    @given(identity=IDENTITIES, others=IDENTITIES, data=some.data())
    def test_equal_to_all_claims(
        self, identity: Identity, others: Identity, data: some.DataObject
    ) -> None:
        """Known claims are those of all claims that are among the known tags."""
        every = sorted(claims_of(identity, SOURCE) | claims_of(others, SOURCE))
        tags = data.draw(some.sets(some.sampled_from(every)))
        found = known_claims(identity, SOURCE, known_tags(tags))
        self.assertEqual(found, claims_of(identity, SOURCE) & tags)

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
