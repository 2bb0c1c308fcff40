"""The openid-offline provider."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential
from authotron.plugin.interfaces import Affinity, IProvider
from authotron.providers import openid_offline
from authotron.testing.contracts import ProviderContract
from authotron.testing.issuers import CLAIMS, IDP, NEXT, forged_jwt, key_set
from authotron.testing.oauth import OAuthServer
from authotron.testing.remotes import Action, FakeRemote, ReceivedRequest, Respond, start
from authotron.testing.worlds import NOW, clock_at, world

BELOW = "iam.example/auth/realms/here/protocol/openid-connect"
TOKEN, INTROSPECT = f"{BELOW}/token", f"{BELOW}/token/introspect"
CERTS = "iam.example/certs"
ACTIVE = {"active": True, "scope": "openid offline_access"}


def offline(**claims: Any) -> str:
    """An offline token of Keycloak, with a signature that only Keycloak can verify."""
    said = {**CLAIMS, "typ": "Offline", "azp": "app", **claims}
    return forged_jwt({"alg": "HS512", "kid": "its-own"}, said)


def keycloak() -> OAuthServer:
    server = OAuthServer(introspection=INTROSPECT, exchange=TOKEN, keys=CERTS)
    server.tokens["good"] = ACTIVE
    server.access_token = IDP.sign(scope="openid offline_access", typ="Bearer")
    return server


def basic(pair: str) -> str:
    return f"Basic {b64encode(pair.encode()).decode()}"


def provider(server: FakeRemote, clock: Any = None, **given: Any) -> IProvider:
    part = {
        "type": "openid-offline",
        "name": "it",
        "realm": "here",
        "cert_uri": "https://iam.example/certs",
        "public_client_id": "app",
        "private_client_id": "gate",
        "private_client_secret": "secret",
        "iam_url": "https://iam.example/auth/",
    }
    config = section.read(openid_offline.Config, {**part, **given})
    return openid_offline.make(config, world(clock, server))


class OfflineContractTests(ProviderContract, SynchronousTestCase):
    """The openid-offline provider is a provider."""

    def provider(self) -> IProvider:
        return provider(keycloak())


class OfflineTestCase(SynchronousTestCase):
    """A Keycloak whose responses can be changed."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.server = keycloak()
        self.judge = provider(self.server, self.clock)

    def ask(self, token: str = "good") -> Any:
        return start(self.judge.authenticate(Credential("bearer", token)))


class IntrospectionTests(OfflineTestCase):
    """Tokens that are introspected, exchanged and verified."""

    def test_questions(self) -> None:
        """Three requests are sent, each with what it needs and no more."""
        found: Authentication = self.successResultOf(self.ask())
        self.assertEqual((found.identity.username, found.fresh_until), ("tess", NOW + 60))
        self.assertEqual(self.server.addresses(), [INTROSPECT, TOKEN, CERTS])
        self.assertEqual(self.server.requests[0].form, {"token": "good"})
        self.assertEqual(
            self.server.requests[1].form,
            {"client_id": "app", "grant_type": "refresh_token", "refresh_token": "good"},
        )

    def test_exchange_kept(self) -> None:
        """A token is introspected each minute; the exchange is used nearly until it expires."""
        for _ in range(4):
            self.successResultOf(self.ask())
            self.clock.advance(60)
        self.assertEqual((self.server.count(INTROSPECT), self.server.count(TOKEN)), (4, 1))

    def test_revoked_T41(self) -> None:
        """A remembered exchange does not help a token that is not active any more."""
        self.successResultOf(self.ask())
        self.clock.advance(60)
        self.server.instead[INTROSPECT] = Respond({"active": False})
        self.failureResultOf(self.ask(), Rejected)

    def test_no_offline_token_T36(self) -> None:
        """An active token without the scope, or of another type, is rejected."""
        for change in (
            {"scope": None},
            {"scope": "no_offline_access_at_all"},
            {"scope": ["offline"]},
            {"typ": "Bearer"},
            {"active": "true"},
        ):
            self.server.instead[INTROSPECT] = Respond({**ACTIVE, **change})
            self.failureResultOf(self.ask(), Rejected)
        self.assertEqual(self.server.count(TOKEN), 0)

    def test_scopes_H_CLAIM(self) -> None:
        """The scopes of an active token may be a list."""
        self.server.instead[INTROSPECT] = Respond({**ACTIVE, "scope": ["offline_access"]})
        self.successResultOf(self.ask())

    def test_odd_claims_H_CLAIM(self) -> None:
        """Scopes and roles of an access token that have another shape refuse no user."""
        self.server.access_token = IDP.sign(
            typ="Bearer", scope=["openid"], realm_access={"roles": "a"}, entitlements=5
        )
        identity = self.successResultOf(self.ask()).identity
        self.assertEqual((identity.roles, identity.scopes), (("a",), {"it": ("openid",)}))

    def test_client_secret_H_CLIENT(self) -> None:
        """The secret is sent unchanged first, and form-encoded from then on if that helps."""
        raw, encoded = basic("gate:a+b:%"), basic("gate:a%2Bb%3A%25")

        def strict(asked: ReceivedRequest) -> Action:
            if asked.address == CERTS:
                return Respond(key_set(IDP))
            if asked.headers["authorization"] != encoded:
                return Respond({"error": "invalid_client"}, 401)
            if asked.address == INTROSPECT:
                return Respond(ACTIVE)
            return Respond({"access_token": IDP.sign(typ="Bearer")})

        remote = FakeRemote(strict)
        judge = provider(remote, self.clock, private_client_secret="a+b:%")
        for _ in range(2):
            self.successResultOf(start(judge.authenticate(Credential("bearer", "good"))))
            self.clock.advance(60)
        sent = [each.headers.get("authorization") for each in remote.requests]
        self.assertEqual(sent, [raw, encoded, encoded, None, encoded])

    def test_client_auth_H_CLIENT(self) -> None:
        """C{client_auth} decides how the private client is named to the server."""
        for method, header, form in (
            ("basic", basic("gate:a%2Bb"), {}),
            ("basic-raw", basic("gate:a+b"), {}),
            ("post", None, {"client_id": "gate", "client_secret": "a+b"}),
        ):
            server = keycloak()
            given = {"private_client_secret": "a+b", "client_auth": method}
            judge = provider(server, self.clock, **given)
            self.successResultOf(start(judge.authenticate(Credential("bearer", "good"))))
            asked, exchanged, _ = server.requests
            self.assertEqual(asked.headers.get("authorization"), header)
            self.assertEqual(asked.form, {"token": "good", **form})
            self.assertEqual(exchanged.form["client_id"], "app")

    def test_access_token_T36(self) -> None:
        """An access token is rejected without a request, whatever its scope."""
        token = IDP.sign(typ="Bearer", scope="offline_access")
        self.assertIs(self.judge.affinity(Credential("bearer", token)), Affinity.FOREIGN)
        self.failureResultOf(self.ask(token), Rejected)
        self.assertEqual(self.server.requests, [])

    def test_refused(self) -> None:
        """A token is rejected if the exchange is refused, or returns a bad access token."""
        for play in (
            Respond({"error": "invalid_grant"}, 400),
            Respond({"access_token": NEXT.sign(header={"kid": "idp"})}),
            Respond({"access_token": IDP.sign(exp=NOW - 60)}),
            Respond({"access_token": IDP.sign(typ="ID")}),
        ):
            self.server.instead = {TOKEN: play}
            self.failureResultOf(self.ask(), Rejected)

    def test_outage_T70(self) -> None:
        """A response that does not concern the token is an outage."""
        for place, play in (
            (INTROSPECT, Respond({"error": "invalid_client"}, 401)),
            (INTROSPECT, Respond({"error": "busy"}, 503)),
            (INTROSPECT, Respond(b"oops")),
            (TOKEN, Respond({"error": "invalid_client"}, 400)),
            (TOKEN, Respond({}, 500)),
            (TOKEN, Respond({"token_type": "Bearer"})),
            (CERTS, Respond({}, 500)),
        ):
            self.server.instead = {place: play}
            self.failureResultOf(self.ask(), Unavailable)

    def test_not_asked_twice(self) -> None:
        """A failed exchange is not retried, as the realm might take it for a theft."""
        self.server.instead = {TOKEN: Respond({}, 500)}
        self.failureResultOf(self.ask(), Unavailable)
        self.assertEqual(self.server.count(TOKEN), 1)

    def test_realm(self) -> None:
        """The realm at the identity provider may have another name, and is encoded."""
        self.judge = provider(self.server, iam_realm="a/b")
        self.ask().addErrback(lambda _: None)
        self.assertIn("/realms/a%2Fb/", self.server.addresses()[0])

    def test_within_leeway_S_LEEWAY(self) -> None:
        """An access token that expired within the leeway ends with the leeway."""
        for over, end in ((30, NOW + 30), (0, NOW + 60)):
            access = IDP.sign(scope="openid offline_access", exp=NOW - over)
            self.server.access_token = access
            self.server.tokens[f"good-{over}"] = ACTIVE
            found: Authentication = self.successResultOf(self.ask(f"good-{over}"))
            self.assertEqual((found.expires, found.expires_at()), (end, end))
        self.server.access_token = IDP.sign(exp=NOW - 60)
        self.server.tokens["good-other"] = ACTIVE
        self.failureResultOf(self.ask("good-other"), Rejected)


class ExchangeTests(OfflineTestCase):
    """Verification since Keycloak 26.6.2."""

    def setUp(self) -> None:
        super().setUp()
        self.server.tokens.clear()  # Keycloak since 26.6.2 hides tokens from other clients

    def test_auto(self) -> None:
        """If introspection calls an offline token of the client inactive, the exchange decides."""
        identity = self.successResultOf(self.ask(offline())).identity
        self.assertEqual(identity.username, "tess")
        self.assertEqual(self.server.addresses(), [INTROSPECT, TOKEN, CERTS])

    def test_others(self) -> None:
        """A token of another client or type, or an opaque one, is not exchanged."""
        for token in (offline(azp="other"), offline(azp=["app"]), "opaque", offline(typ=None)):
            self.failureResultOf(self.ask(token), Rejected)
        self.assertEqual(self.server.count(TOKEN), 0)

    def test_only_introspection(self) -> None:
        """With `check: introspection` only the introspection decides."""
        self.judge = provider(self.server, self.clock, check="introspection")
        self.failureResultOf(self.ask(offline()), Rejected)
        self.assertEqual(self.server.count(TOKEN), 0)

    def test_only_exchange(self) -> None:
        """With `check: exchange` the token is not introspected."""
        self.judge = provider(self.server, self.clock, check="exchange")
        self.successResultOf(self.ask(offline()))
        self.assertEqual(self.server.addresses(), [TOKEN, CERTS])

    def test_no_offline_token_T36(self) -> None:
        """The access token of an exchange that decides must have the scope."""
        for scope in ("openid", "", "no_offline_access_at_all"):
            self.server.instead[TOKEN] = Respond({"access_token": IDP.sign(scope=scope)})
            self.failureResultOf(self.ask(offline()), Rejected)

    def test_again_T41(self) -> None:
        """An exchange that decides is remembered for a minute only."""
        for _ in range(2):
            self.successResultOf(self.ask(offline()))
            self.clock.advance(60)
        self.assertEqual(self.server.count(TOKEN), 2)
        self.server.instead[TOKEN] = Respond({"error": "invalid_grant"}, 400)
        self.failureResultOf(self.ask(offline()), Rejected)

    def test_routing(self) -> None:
        """An offline token is for providers with its issuer."""
        for issuer, expected in ((CLAIMS["iss"], Affinity.LIKELY), ("x", Affinity.FOREIGN)):
            judge = provider(self.server, issuer=issuer)
            self.assertIs(judge.affinity(Credential("bearer", offline())), expected)
