"""What a new API token may grant."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config.schema import TokensConfig
from authotron.model.authentication import Authentication
from authotron.model.errors import ExceedsGrant
from authotron.model.identity import Identity
from authotron.model.token import Grant
from authotron.tokens.grants import TokenRequest, new_grant, restricted_token_id

NOW = 1_000.0
ALICE = Authentication(
    Identity("here", "alice", ("reader", "writer"), scopes={"archive": ("read",)}), "staff"
)


def using(grant: Grant) -> Authentication:
    """Return alice as she is authenticated by an API token with a grant."""
    return ALICE._replace(restriction=grant)


class NewGrantTests(SynchronousTestCase):
    """The grant of a new API token."""

    def grant(
        self, requester: Authentication = ALICE, *, can_look_up: bool = True, **requested: Any
    ) -> Grant:
        return new_grant(
            requester,
            TokenRequest(**requested),
            TokensConfig(ttl=60, max_ttl=600, max_ttl_unchecked=90),
            NOW,
            can_look_up=can_look_up,
        )

    def problems(self, requester: Authentication = ALICE, **requested: Any) -> list[str]:
        error = self.assertRaises(ExceedsGrant, self.grant, requester, **requested)
        return [problem.path for problem in error.problems]

    def test_empty_request_grants_everything_for_the_default_lifetime(self) -> None:
        """A request without restrictions grants what the owner may do, for C{tokens.ttl}."""
        self.assertEqual(self.grant(), Grant(expires=NOW + 60))

    def test_default_lifetime_is_shortened_to_the_limit(self) -> None:
        """If no provider can look the owner up, C{max_ttl_unchecked} limits the lifetime."""
        self.assertEqual(self.grant(can_look_up=False).expires, NOW + 60)
        self.assertEqual(self.grant(ttl=600).expires, NOW + 600)
        self.assertRaises(ExceedsGrant, self.grant, can_look_up=False, ttl=91)

    def test_restrictions_are_inherited(self) -> None:
        """What a request leaves out is as restricted as the API token in use."""
        outer = Grant(("reader",), {}, ("a.example",), ("192.0.2.0/24",), NOW + 30)
        self.assertEqual(self.grant(using(outer)), outer)

    def test_every_excess_is_a_problem_T52(self) -> None:
        """A request for more than the credential in use allows names every excess."""
        outer = Grant(hosts=("*.example.org",), networks=("192.0.2.0/24",), expires=NOW + 30)
        found = self.problems(
            using(outer),
            roles=("reader", "root"),
            scopes={"archive": ("read", "write"), "other": ("read",)},
            hosts=("a.example.org", "example.com"),
            networks=("192.0.2.1", "0.0.0.0/0"),
            ttl=31,
        )
        expected = ["roles[1]", "scopes.archive", "scopes.other", "hosts[1]", "networks[1]", "ttl"]
        self.assertEqual(found, expected)


class RestrictedTokenTests(SynchronousTestCase):
    """The id of the restricted API token in use."""

    def test_only_restricted_tokens_have_one(self) -> None:
        """An unrestricted API token, and any other credential, has no such id."""
        lineage = ("parent", "in-use")
        restricted = Grant(roles=("reader",), lineage=lineage)
        self.assertEqual(restricted_token_id(using(restricted)), "in-use")
        self.assertIsNone(restricted_token_id(using(Grant(lineage=lineage))))
        self.assertIsNone(restricted_token_id(ALICE))
