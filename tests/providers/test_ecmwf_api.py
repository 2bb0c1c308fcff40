"""The ecmwf-api provider."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential, Identity
from authotron.plugin.interfaces import Affinity, IProvider
from authotron.providers import ecmwf_api
from authotron.testing.contracts import ProviderContract
from authotron.testing.issuers import IDP
from authotron.testing.remotes import Action, FakeRemote, ReceivedRequest, Respond, start
from authotron.testing.worlds import NOW, clock_at, world

TESS = {"uid": "tess", "email": "tess@example.org", "first_name": "Tess"}


def knows_one(asked: ReceivedRequest) -> Action:
    return Respond(TESS) if asked.query == {"token": "good"} else Respond({"error": "no"}, 403)


def config(**given: Any) -> ecmwf_api.Config:
    part = {"type": "ecmwf-api", "name": "it", "realm": "here", "uri": "https://api.example/v1/"}
    return section.read(ecmwf_api.Config, {**part, **given})


class EcmwfApiContractTests(ProviderContract, SynchronousTestCase):
    """The ecmwf-api provider is a provider."""

    def provider(self) -> IProvider:
        return ecmwf_api.make(config(), world(agents=FakeRemote(knows_one)))


class EcmwfApiTests(SynchronousTestCase):
    """Rules of the ecmwf-api provider."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.play: Action = Respond(TESS)
        self.remote = FakeRemote(lambda _: self.play)
        self.judge = ecmwf_api.make(config(), world(self.clock, self.remote))

    def ask(self, token: str = "good") -> Authentication:
        deferred = start(self.judge.authenticate(Credential("bearer", token)))
        found: Authentication = self.successResultOf(deferred)
        return found

    def assert_outage(self, play: Action, error: type[Exception] = Unavailable) -> None:
        self.play = play
        deferred = start(self.judge.authenticate(Credential("bearer", "SECRET")))
        self.assertNotIn("SECRET", self.failureResultOf(deferred, error).getErrorMessage())

    def test_kept(self) -> None:
        """Only user name and email address of a response are kept, for a minute."""
        self.assertEqual(
            self.ask(),
            Authentication(
                Identity("here", "tess", (), {"ecmwf-email": "tess@example.org"}),
                fresh_until=NOW + 60,
            ),
        )
        self.assertEqual(self.remote.addresses(), ["api.example/v1/who-am-i"])

    def test_remembered_T41(self) -> None:
        """The remote is not asked again within a minute, and asked again after that."""
        self.ask()
        self.clock.advance(59)
        self.ask()
        self.assertEqual(len(self.remote.requests), 1)
        self.clock.advance(1)
        self.ask()
        self.assertEqual(len(self.remote.requests), 2)

    def test_no_user_name_T68(self) -> None:
        """A response without user name is an outage."""
        uids: list[Any] = [None, "", 7, ["a"], {}]
        for uid in uids:
            self.assert_outage(Respond({"uid": uid}))
        self.assert_outage(Respond({}))

    def test_nonsense_T68(self) -> None:
        """A response that is not a JSON object is an outage, and so is no response."""
        for content in (b"", b"<html>", b"[1]", b"null"):
            self.assert_outage(Respond(content))
        self.assert_outage(Respond(b"", 204))

    def test_outage_T70(self) -> None:
        """Only the statuses 400, 401, 403 and 404 reject a token."""
        for status in (302, 408, 429, 500, 502, 503):
            self.assert_outage(Respond(TESS, status))
        for status in (400, 401, 403, 404):
            self.assert_outage(Respond(TESS, status), Rejected)

    def test_not_remembered_T44(self) -> None:
        """After an outage the remote is asked again at once."""
        self.assert_outage(Respond({}, 500))
        self.play = Respond({**TESS, "email": 5})
        self.assertEqual(self.ask("SECRET").identity.attributes, {})

    def test_routing(self) -> None:
        """A JSON Web Token is not sent to the remote, unless `accepts` is C{any}."""
        token = Credential("bearer", IDP.sign())
        self.assertIs(self.judge.affinity(token), Affinity.FOREIGN)
        generous = ecmwf_api.make(config(accepts="any"), world())
        self.assertIs(generous.affinity(token), Affinity.POSSIBLE)
