"""The ecmwf-token-generator provider."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential
from authotron.plugin.interfaces import IProvider
from authotron.providers import ecmwf_token_generator
from authotron.testing.contracts import ProviderContract
from authotron.testing.issuers import IDP, NEXT
from authotron.testing.oauth import OAuthServer
from authotron.testing.remotes import FakeRemote, Respond, start
from authotron.testing.worlds import NOW, clock_at, world

VALIDATE = "gen.example/g/validate-token"
REFRESH = "gen.example/g/admin/refresh-access-token"
CERTS = "gen.example/certs"


def generator() -> OAuthServer:
    return OAuthServer(introspection=VALIDATE, exchange=REFRESH, keys=CERTS)


def provider(server: FakeRemote, clock: Any = None) -> IProvider:
    given = {
        "type": "ecmwf-token-generator",
        "name": "it",
        "realm": "here",
        "cert_uri": "https://gen.example/certs",
        "client_id": "gate",
        "client_secret": "secret",
        "token_generator_url": "https://gen.example/g",
    }
    config = section.read(ecmwf_token_generator.Config, given)
    return ecmwf_token_generator.make(config, world(clock, server))


class GeneratorContractTests(ProviderContract, SynchronousTestCase):
    """The ecmwf-token-generator provider is a provider."""

    def provider(self) -> IProvider:
        return provider(generator())


class GeneratorTests(SynchronousTestCase):
    """Rules of the ecmwf-token-generator provider."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.server = generator()
        self.judge = provider(self.server, self.clock)

    def ask(self) -> Any:
        return start(self.judge.authenticate(Credential("bearer", "good")))

    def test_questions(self) -> None:
        """A token is validated, exchanged with the client secret, and the result verified."""
        found: Authentication = self.successResultOf(self.ask())
        self.assertEqual((found.identity.username, found.fresh_until), ("tess", NOW + 60))
        self.assertEqual(self.server.addresses(), [VALIDATE, REFRESH, CERTS])
        self.assertEqual(
            self.server.requests[1].json,
            {"client_id": "gate", "client_secret": "secret", "refresh_token": "good"},
        )

    def test_exchange_kept(self) -> None:
        """A token is validated each minute; the exchange is used nearly until it expires."""
        for _ in range(5):
            self.successResultOf(self.ask())
            self.clock.advance(60)
        self.assertEqual(self.server.count(VALIDATE), 5)
        self.assertEqual(self.server.count(REFRESH), 1)
        self.server.instead[REFRESH] = Respond({"access_token": IDP.sign(exp=NOW + 900)})
        self.successResultOf(self.ask())
        self.assertEqual(self.server.count(REFRESH), 2)

    def test_revoked_T41(self) -> None:
        """A remembered exchange does not help a token that is not active any more."""
        self.successResultOf(self.ask())
        self.clock.advance(60)
        self.server.instead[VALIDATE] = Respond({"active": False})
        self.failureResultOf(self.ask(), Rejected)

    def test_refused(self) -> None:
        """A token is rejected if the generator refuses it, or returns a bad access token."""
        for place, play in (
            (VALIDATE, Respond({"active": "true"})),
            (VALIDATE, Respond({})),
            (REFRESH, Respond({}, 400)),
            (REFRESH, Respond({"access_token": NEXT.sign(header={"kid": "idp"})})),
            (REFRESH, Respond({"access_token": IDP.sign(exp=NOW - 60)})),
        ):
            self.server.instead = {place: play}
            self.failureResultOf(self.ask(), Rejected)

    def test_outage_T70(self) -> None:
        """A response that does not concern the token is an outage."""
        for place, play in (
            (VALIDATE, Respond({}, 500)),
            (VALIDATE, Respond(b"oops")),
            (REFRESH, Respond({}, 401)),
            (REFRESH, Respond({}, 503)),
            (REFRESH, Respond({})),
            (REFRESH, Respond({"access_token": 5})),
            (CERTS, Respond({}, 500)),
        ):
            self.server.instead = {place: play}
            self.failureResultOf(self.ask(), Unavailable)
