"""Tokens of a real Keycloak, on their way through nginx and the gateway to a backend."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.functional.keycloak import CLIENTS, OLD, REALM, Keycloak, keycloak
from tests.functional.proxies.shipped import Nginx
from tests.functional.proxy import Backend
from tests.functional.wire import Answer
from tests.waiting import until


def offline(server: Keycloak, client: str, **given: Any) -> dict[str, Any]:
    """Return a provider of offline tokens that introspects as a client, in a realm of its name."""
    return {
        "type": "openid-offline",
        "name": client,
        "realm": client,
        "cert_uri": f"{server.issuer}/protocol/openid-connect/certs",
        "public_client_id": "cli",
        "private_client_id": client,
        "private_client_secret": CLIENTS[client],
        "iam_url": server.address,
        "iam_realm": REALM,
        "cache": 0,
        **given,
    }


def signed_by(token: str) -> str:
    """Return the id of the key that signed a token."""
    return str(jwt.get_unverified_header(token)["kid"])


class KeycloakTestCase(SynchronousTestCase):
    """A gateway without a cache, so that each request is verified anew."""

    def gateway(self, server: Keycloak, *providers: dict[str, Any]) -> Daemon:
        daemon = Daemon(Path(self.mktemp()))
        usual = [
            {"type": "jwt", "name": "sso", "realm": "sso", "issuer": server.issuer},
            *(offline(server, client) for client in CLIENTS),
        ]
        daemon.configure(providers=[*(providers or usual)], auth={"cache": {"ttl": 0}})
        daemon.start()
        self.addCleanup(daemon.stop)
        return daemon

    def ask(self, port: int, token: str, realm: str | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        return wire.ask(port, "/authenticate", headers | ({"X-Auth-Realm": realm} if realm else {}))

    def claims(self, answer: Answer) -> Any:
        self.assertEqual(answer.status, 200, answer.body)
        minted = (answer.header("Authorization") or "").removeprefix("Bearer ")
        return jwt.decode(minted, options={"verify_signature": False})


class TokensTests(KeycloakTestCase):
    """Tokens of the current Keycloak."""

    def setUp(self) -> None:
        self.keycloak = keycloak()

    def test_through_nginx(self) -> None:
        """The backend gets the user and the roles of an access token and of an offline token."""
        daemon = self.gateway(self.keycloak)
        backend = Backend(Path(self.mktemp())).start()
        self.addCleanup(backend.stop)
        nginx = Nginx(Path(self.mktemp()), daemon.port, backend.port).start()
        self.addCleanup(nginx.stop)
        for token in (self.keycloak.access_token(), self.keycloak.offline_token()):
            answer = wire.ask(nginx.port, "/", {"Authorization": f"Bearer {token}"})
            self.assertEqual(answer.status, 200, answer.body)
            told = answer.json()["claims"]
            self.assertEqual(told["username"], "alice")
            self.assertLessEqual({"reader", "writer", "operator"}, set(told["roles"]))
            self.assertNotIn(token, str(answer.json()))
        self.assertEqual(wire.ask(nginx.port, "/", {"Authorization": "Bearer no"}).status, 401)

    def test_both_clients(self) -> None:
        """An offline token is accepted, whether or not the server lets the client introspect it."""
        daemon, token = self.gateway(self.keycloak), self.keycloak.offline_token()
        self.assertEqual(
            [self.keycloak.introspected(token, client) for client in CLIENTS], [True, False]
        )
        for client in CLIENTS:
            told = self.claims(self.ask(daemon.port, token, client))
            self.assertEqual((told["sub"], told["realm"]), (f"{client}-alice", client))

    def test_introspection_alone(self) -> None:
        """With introspection alone, a client that may not introspect the token makes it a 401."""
        providers = [offline(self.keycloak, client, check="introspection") for client in CLIENTS]
        daemon, token = self.gateway(self.keycloak, *providers), self.keycloak.offline_token()
        statuses = [self.ask(daemon.port, token, client).status for client in CLIENTS]
        self.assertEqual(statuses, [200, 401])

    def test_again(self) -> None:
        """An offline token can be used many times."""
        daemon, token = self.gateway(self.keycloak), self.keycloak.offline_token("bob")
        for _ in range(3):
            for client in CLIENTS:
                self.assertIn("reader", self.claims(self.ask(daemon.port, token, client))["roles"])

    def test_access_token_is_no_offline_token(self) -> None:
        """An access token is not taken for an offline token, though its scope says so."""
        daemon = self.gateway(self.keycloak)
        token = self.keycloak.access_token(scope="openid offline_access")
        for client in CLIENTS:
            self.assertEqual(self.ask(daemon.port, token, client).status, 401)
        self.assertEqual(self.claims(self.ask(daemon.port, token))["realm"], "sso")

    def test_other_tokens(self) -> None:
        """A refresh token and an ID token are a 401."""
        daemon, tokens = self.gateway(self.keycloak), self.keycloak.tokens()
        for kind in ("refresh_token", "id_token"):
            self.assertEqual(self.ask(daemon.port, tokens[kind]).status, 401, kind)

    def test_revoked(self) -> None:
        """A revoked offline token is refused with both clients; tokens of other users are not."""
        daemon = self.gateway(self.keycloak)
        token, other = self.keycloak.offline_token(), self.keycloak.offline_token("bob")
        for client in CLIENTS:
            self.assertEqual(self.ask(daemon.port, token, client).status, 200)
        self.keycloak.revoke(token)
        for client in CLIENTS:
            self.assertEqual(self.ask(daemon.port, token, client).status, 401)
            self.assertEqual(self.ask(daemon.port, other, client).status, 200)

    def test_tls(self) -> None:
        """Over TLS tokens are accepted if the certificate is trusted; if not, it is an outage."""
        port = self.keycloak.port + 1
        secure = {
            "cert_uri": f"https://localhost:{port}/realms/{REALM}/protocol/openid-connect/certs"
        }
        trusting = {
            "type": "jwt",
            "realm": "a",
            "name": "a",
            "ca_file": str(self.keycloak.authority),
        }
        distrusting = {"type": "jwt", "realm": "b", "name": "b"}
        daemon = self.gateway(self.keycloak, {**trusting, **secure}, {**distrusting, **secure})
        token = self.keycloak.access_token()
        self.assertEqual(self.ask(daemon.port, token, "a").status, 200)
        answer = self.ask(daemon.port, token, "b")
        self.assertEqual(answer.status, 503)
        self.assertIsNotNone(answer.header("Retry-After"))
        daemon.logged("certificate of an unknown issuer")
        self.assertNotIn(token, daemon.log())

    def test_rotation(self) -> None:
        """
        While the realm changes its key, no request fails, neither with old tokens nor with new
        ones.
        """
        daemon, old = self.gateway(self.keycloak), self.keycloak.access_token()

        def use(token: Callable[[], str]) -> list[int]:
            return [self.ask(daemon.port, token(), "sso").status for _ in range(40)]

        with ThreadPoolExecutor(4) as threads:
            running = [threads.submit(use, lambda: old) for _ in range(2)]
            running += [threads.submit(use, self.keycloak.access_token) for _ in range(2)]
            self.keycloak.rotate()
            new = self.keycloak.access_token()
            statuses = [status for each in running for status in each.result()]
        self.assertNotEqual(signed_by(new), signed_by(old))
        statuses += [self.ask(daemon.port, token, "sso").status for token in (old, new)]
        self.assertEqual(statuses, [200] * 162)

    def test_outage(self) -> None:
        """
        While Keycloak is down, known keys are used, and other requests are an outage; both end
        later.
        """
        daemon = self.gateway(self.keycloak)
        access, token = self.keycloak.access_token(), self.keycloak.offline_token()
        self.assertEqual(self.ask(daemon.port, access).status, 200)
        self.keycloak.stop()
        try:
            self.assertEqual(self.ask(daemon.port, access).status, 200)
            for client in CLIENTS:
                answer = self.ask(daemon.port, token, client)
                self.assertEqual(answer.status, 503)
                self.assertIsNotNone(answer.header("Retry-After"))
        finally:
            self.keycloak.start(keep=True)
        until(
            lambda: all(self.ask(daemon.port, token, each).status == 200 for each in CLIENTS),
            "well again",
        )


class RevokingRealmTests(KeycloakTestCase):
    """
    A realm that revokes a refresh token when it is used.

    Such a realm takes the second use of a token for a theft, and ends the user's session.
    """

    def setUp(self) -> None:
        self.keycloak = keycloak()
        self.keycloak.change(revokeRefreshToken=True)
        self.addCleanup(self.keycloak.change, revokeRefreshToken=False)

    def alive(self, token: str) -> bool:
        return self.keycloak.introspected(token, "gateway")

    def test_used_once(self) -> None:
        """A refresh token is used once, while the access token is valid and cached."""
        for client, believed in {"gateway": 0, "strict": 60}.items():
            part = offline(self.keycloak, client, cache=believed)
            daemon, token = self.gateway(self.keycloak, part), self.keycloak.offline_token()
            for _ in range(5):
                self.assertEqual(self.ask(daemon.port, token).status, 200, client)
            self.assertTrue(self.alive(token), client)

    def test_used_again(self) -> None:
        """The second use of a token is refused and not repeated; then the token is invalid."""
        part = offline(self.keycloak, "strict", cache=0)
        daemon, token = self.gateway(self.keycloak, part), self.keycloak.offline_token()
        statuses = [self.ask(daemon.port, token).status for _ in range(3)]
        self.assertEqual(statuses, [200, 401, 401])
        self.assertFalse(self.alive(token))


class YesterdayTests(KeycloakTestCase):
    """Keycloak 26.4, where the documented flow works with any client."""

    def test_introspection(self) -> None:
        """Introspection by both clients is enough to accept an offline token."""
        server = keycloak(OLD)
        token = server.offline_token()
        providers = [offline(server, client, check="introspection") for client in CLIENTS]
        daemon = self.gateway(server, *providers)
        for client in CLIENTS:
            self.assertTrue(server.introspected(token, client))
            self.assertEqual(self.claims(self.ask(daemon.port, token, client))["username"], "alice")
        server.revoke(token)
        for client in CLIENTS:
            self.assertEqual(self.ask(daemon.port, token, client).status, 401)


class LogoutTests(KeycloakTestCase):
    """Sessions that end at a real Keycloak (OpenID Connect Back-Channel Logout)."""

    def test_session(self) -> None:
        """The end of a session revokes its access tokens, and those of no other session."""
        server, folder = keycloak(), Path(self.mktemp()).absolute()
        daemon = Daemon(folder)
        server.report_logouts("cli", f"http://127.0.0.1:{daemon.port}/backchannel-logout")
        sso = {"type": "jwt", "name": "sso", "realm": "sso", "issuer": server.issuer}
        transmitter = {"provider": "sso", "audience": ["cli"], "session_claim": "sid"}
        daemon.configure(
            providers=[sso],
            store={"type": "sqlite", "path": str(folder / "tokens.db")},
            revocation={},
            events={"transmitters": [transmitter]},
        ).start()
        self.addCleanup(daemon.stop)
        ended, other = server.tokens(), server.tokens()
        for each in (ended, other):
            self.assertEqual(self.ask(daemon.port, each["access_token"]).status, 200)
        server.log_out(ended["refresh_token"])
        until(
            lambda: self.ask(daemon.port, ended["access_token"]).status == 401,
            "refused",
            otherwise=daemon.log,
        )
        self.assertEqual(self.ask(daemon.port, other["access_token"]).status, 200)
