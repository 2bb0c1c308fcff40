"""The efas-api provider."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.authentication import Authentication
from authotron.model.errors import Unavailable
from authotron.model.identity import Credential, Identity
from authotron.plugin.interfaces import IProvider
from authotron.providers import efas_api
from authotron.testing.contracts import ProviderContract
from authotron.testing.remotes import Action, FakeRemote, ReceivedRequest, Respond, start
from authotron.testing.worlds import NOW, world

TESS: dict[str, Any] = {
    "username": "tess",
    "email": "tess@example.org",
    "roles": ["flood", "admin"],
}


def knows_one(asked: ReceivedRequest) -> Action:
    return (
        Respond(TESS) if asked.query == {"token": "good"} else Respond(b"Invalid access token", 403)
    )


def provider(remote: FakeRemote) -> IProvider:
    given = {"type": "efas-api", "name": "it", "realm": "here", "uri": "https://efas.example/user"}
    return efas_api.make(section.read(efas_api.Config, given), world(agents=remote))


class EfasApiContractTests(ProviderContract, SynchronousTestCase):
    """The efas-api provider is a provider."""

    def provider(self) -> IProvider:
        return provider(FakeRemote(knows_one))


class EfasApiTests(SynchronousTestCase):
    """Rules of the efas-api provider."""

    def ask(self, content: Any) -> Any:
        remote = FakeRemote(lambda _: Respond(content))
        return start(provider(remote).authenticate(Credential("bearer", "good")))

    def test_kept(self) -> None:
        """User name, roles and email address are kept for a minute."""
        self.assertEqual(
            self.successResultOf(self.ask(TESS)),
            Authentication(
                Identity("here", "tess", ("flood", "admin"), {"email": "tess@example.org"}),
                fresh_until=NOW + 60,
            ),
        )

    def test_lean(self) -> None:
        """Roles and email address may be missing."""
        contents: list[Any] = [{"username": "t"}, {"username": "t", "email": None, "roles": []}]
        for content in contents:
            identity = self.successResultOf(self.ask(content)).identity
            self.assertEqual((identity.roles, identity.attributes), ((), {}))

    def test_odd_T68(self) -> None:
        """A response without user name, or with bad roles, is an outage."""
        for change in (
            {"username": None},
            {"username": ""},
            {"username": 5},
            {"roles": None},
            {"roles": "admin"},
            {"roles": ["a", 5]},
        ):
            self.failureResultOf(self.ask({**TESS, **change}), Unavailable)
