"""The claims of clients whose provider is not configured."""

from __future__ import annotations

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.client_claims import ClientClaims
from authotron.gateway.identity_check import IdentityCheck
from authotron.model.authentication import Authentication
from authotron.model.errors import BadIdentity
from authotron.model.identity import Addition, Identity
from authotron.policy.claim_filter import ClaimFilter
from authotron.policy.claim_keys import OWN, is_reserved
from authotron.policy.claims import Source, claims_of

KNOWN = Source("plain", "staff", "gate")


@define
class Observer:
    """Remembers what was counted."""

    counted: list[tuple[str, str, int]] = field(factory=list)

    def claims_dropped(self, provider: str, reason: str, number: int, /) -> None:
        self.counted.append((provider, reason, number))


def found(provider: str, **attributes: str) -> Authentication:
    return Authentication(Identity("internal", "bob", attributes=attributes), provider)


class ClientClaimsTests(SynchronousTestCase):
    """The source of identities, and what is counted and refused."""

    def setUp(self) -> None:
        self.observer = Observer()
        self.claims = ClientClaims({"staff": KNOWN}, "gate", self.observer)

    def test_sources(self) -> None:
        """A provider that is not configured any more is unknown; imported tokens have a type."""
        for name, type_ in (("staff", "plain"), ("gone", "unknown"), ("imported:old", "imported")):
            listed = self.claims.checked(found(name))
            self.assertIn(f"@source:type={type_}", listed)
            self.assertIn(f"@source:name={name}", listed)
            self.assertEqual(listed, sorted(listed))

    def test_labels_S_CLAIM(self) -> None:
        """A name from the token store is no label of a metric."""
        attributes = {"@a": "x", "@b": "x", "e": ""}
        self.claims.check(found("staff", **attributes))
        self.claims.check(found("gone", **attributes))
        self.assertEqual(
            self.observer.counted,
            [
                ("staff", "reserved", 2),
                ("staff", "empty", 1),
                ("unknown", "reserved", 2),
                ("unknown", "empty", 1),
            ],
        )
        self.assertEqual(self.claims.left_out(found("staff", **attributes))["e"], "empty")

    def test_forged_S_CLAIM(self) -> None:
        """Only a reserved attribute that an augmenter has added or changed is refused."""
        own = found("staff", **{"@a": "x"})
        self.claims.check(own)
        self.claims.check(own.enriched(Addition(attributes={"b": "", "role": "ops"})))
        for added in ({"@b": "x"}, {"@a": "y"}):
            with self.assertRaises(BadIdentity) as caught:
                self.claims.check(own.enriched(Addition(attributes=added)))
            self.assertIn(f"the attribute '{next(iter(added))}', but only", str(caught.exception))


KEYS = some.text(max_size=8) | some.builds(
    "".join,
    some.lists(
        some.sampled_from(
            ["@", "group:name", "source:type", "role", "=", "\x00", "\u200b", "\uff20"]
        ),
        max_size=4,
    ),
)
FILTERS = some.none() | some.builds(
    ClaimFilter,
    rename=some.dictionaries(some.sampled_from(["a", "\uff20group:name"]), some.just("b")),
    lowercase=some.frozensets(some.sampled_from(["a", "b", "role", "username"])),
)


class ForgeryTests(SynchronousTestCase):
    """Attributes of any names and values."""

    @given(some.dictionaries(KEYS, KEYS, max_size=4), FILTERS)
    def test_no_forgery_S_CLAIM(
        self, attributes: dict[str, str], chosen: ClaimFilter | None
    ) -> None:
        """Whatever the attributes are, they add no claim that only the gateway sets."""
        bare = Identity("Internal", "Bob", ("Reader",), {}, {"a": ("b",)})
        source = Source("plain", "staff", "gate", chosen)
        checked = IdentityCheck().admit(bare._replace(attributes=attributes))
        claims = claims_of(checked, source)
        own = {each for each in claims if is_own(each.partition("=")[0])}
        self.assertEqual(own, claims_of(bare, source))
        for each in claims:
            key, equals, value = each.partition("=")
            self.assertTrue(key and equals and value, each)
            self.assertTrue(key.split() == [key] and value.translate(CONTROL) == value, each)


CONTROL = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)])


def is_own(key: str) -> bool:
    return is_reserved(key) or key in OWN
