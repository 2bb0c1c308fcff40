"""The ECMWF Web API, asked who a token belongs to."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential, Identity
from authotron.plugin.interfaces import Affinity, IProvider
from authotron.providers import ecmwf_api
from tests.contracts import ProviderContract
from tests.issuers import IDP
from tests.remotes import Asked, Play, Remote, Says, running
from tests.worlds import NOW, at, world

TESS = {"uid": "tess", "email": "tess@example.org", "first_name": "Tess"}


def knows_one(asked: Asked) -> Play:
    return Says(TESS) if asked.query == {"token": "good"} else Says({"error": "no"}, 403)


def config(**given: Any) -> ecmwf_api.Config:
    part = {"type": "ecmwf-api", "name": "it", "realm": "here", "uri": "https://api.example/v1/"}
    return section.read(ecmwf_api.Config, {**part, **given})


class EcmwfApiContractTests(ProviderContract, SynchronousTestCase):
    """The ecmwf-api provider is a provider."""

    def provider(self) -> IProvider:
        return ecmwf_api.make(config(), world(agents=Remote(knows_one)))


class EcmwfApiTests(SynchronousTestCase):
    """What is special about it."""

    def setUp(self) -> None:
        self.clock = at(NOW)
        self.play: Play = Says(TESS)
        self.remote = Remote(lambda _: self.play)
        self.judge = ecmwf_api.make(config(), world(self.clock, self.remote))

    def ask(self, token: str = "good") -> Identity:
        deferred = running(self.judge.authenticate(Credential("bearer", token)))
        identity: Identity = self.successResultOf(deferred)
        return identity

    def no_verdict(self, play: Play, error: type[Exception] = Unavailable) -> None:
        self.play = play
        deferred = running(self.judge.authenticate(Credential("bearer", "SECRET")))
        self.assertNotIn("SECRET", self.failureResultOf(deferred, error).getErrorMessage())

    def test_kept(self) -> None:
        """Of what it tells only name and mail are kept, for a minute."""
        self.assertEqual(
            self.ask(),
            Identity("here", "tess", (), {"ecmwf-email": "tess@example.org"}, fresh_until=NOW + 60),
        )
        self.assertEqual(self.remote.places(), ["api.example/v1/who-am-i"])

    def test_remembered_T41(self) -> None:
        """Within that minute it is not asked again, after it it is."""
        self.ask()
        self.clock.advance(59)
        self.ask()
        self.assertEqual(len(self.remote.asked), 1)
        self.clock.advance(1)
        self.ask()
        self.assertEqual(len(self.remote.asked), 2)

    def test_nobody_T68(self) -> None:
        """An answer that names nobody is none."""
        uids: list[Any] = [None, "", 7, ["a"], {}]
        for uid in uids:
            self.no_verdict(Says({"uid": uid}))
        self.no_verdict(Says({}))

    def test_nonsense_T68(self) -> None:
        """Nor is one that is no JSON object, or none at all."""
        for content in (b"", b"<html>", b"[1]", b"null"):
            self.no_verdict(Says(content))
        self.no_verdict(Says(b"", 204))

    def test_outage_T70(self) -> None:
        """Only a refusal refuses."""
        for status in (302, 408, 429, 500, 502, 503):
            self.no_verdict(Says(TESS, status))
        for status in (400, 401, 403, 404):
            self.no_verdict(Says(TESS, status), Rejected)

    def test_not_remembered_T44(self) -> None:
        """What did not work is tried again at once."""
        self.no_verdict(Says({}, 500))
        self.play = Says({**TESS, "email": 5})
        self.assertEqual(self.ask("SECRET").attributes, {})

    def test_routing(self) -> None:
        """A JSON Web Token is not shown to it, unless it is to take everything."""
        token = Credential("bearer", IDP.sign())
        self.assertIs(self.judge.affinity(token), Affinity.FOREIGN)
        generous = ecmwf_api.make(config(accepts="any"), world())
        self.assertIs(generous.affinity(token), Affinity.POSSIBLE)
