"""The claims of clients whose provider is not configured."""

from __future__ import annotations

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.client_claims import ClientClaims
from authotron.model.authentication import Authentication
from authotron.model.errors import BadIdentity
from authotron.model.identity import Addition, Identity
from authotron.policy.claims import Source

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
            with self.assertRaises(BadIdentity):
                self.claims.check(own.enriched(Addition(attributes=added)))
