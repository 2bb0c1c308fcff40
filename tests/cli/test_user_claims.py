"""The claims of a user that C{authotron doctor --user} lists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli.user_claims import with_claims
from authotron.config import check
from authotron.daemon.compose import compose
from authotron.plugin.interfaces import CheckResult
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import world
from tests.config.cases import BASE, laid_over

EMITS = {"jwt": {"emit_claims": True}}


async def one() -> AsyncIterator[CheckResult]:
    yield CheckResult("first", good=True)


class UserClaimsTests(SynchronousTestCase):
    """What follows the checks of a provider."""

    def listed(self, username: str | None, **over: Any) -> list[tuple[str, str]]:
        gateway = compose(check.check(laid_over(BASE, over)), world(), Metrics())
        [provider] = gateway.authenticator.providers

        async def collect() -> list[tuple[str, str]]:
            results = with_claims(one(), gateway, provider, username)
            return [(each.what, each.detail) async for each in results]

        return self.successResultOf(Deferred.fromCoroutine(collect()))

    def users(self, roles: list[str]) -> dict[str, Any]:
        user = {"username": "alice", "password": "wonder", "roles": roles}
        return {"providers": [{**BASE["providers"][0], "users": [user]}], **EMITS}

    def test_claims(self) -> None:
        """The claims of a user are listed, as the provider chooses them."""
        given = self.users(["Reader"])
        given["providers"][0]["claims"] = {"lowercase": ["role"]}
        found = self.listed("alice", **given)
        self.assertEqual(found[0], ("first", ""))
        self.assertIn(("claim", "role=reader"), found)
        self.assertIn(("claim", "@source:name=staff"), found)

    def test_nothing(self) -> None:
        """Nothing follows without a user, without claims, and for an unknown user."""
        self.assertEqual(self.listed(None, **EMITS), [("first", "")])
        self.assertEqual(self.listed("alice"), [("first", "")])
        self.assertEqual(self.listed("nobody", **EMITS), [("first", "")])

    def test_many(self) -> None:
        """Of very many claims the first are listed, and the others counted."""
        found = self.listed("alice", **self.users([f"r{number}" for number in range(200)]))
        self.assertEqual(len(found), 102)
        self.assertEqual(found[-1], ("claim", "106 more claims"))

    def test_refused(self) -> None:
        """An identity that is refused is a failure."""
        given = self.users(["a", "b"])
        given["auth"] = {"identity": {"max_roles": 1}}
        [_, (what, why)] = self.listed("alice", **given)
        self.assertEqual(what, "claims")
        self.assertIn("max_roles", why)
