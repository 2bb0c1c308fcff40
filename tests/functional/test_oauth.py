"""A stock OAuth client (Authlib) uses a real gateway, which serves TLS itself."""

from __future__ import annotations

import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from twisted.trial.unittest import SynchronousTestCase

from authotron.client.keys import published
from authotron.client.verifier import Verifier
from authotron.jose import keys
from tests.certificates import Authority
from tests.functional.daemon import Daemon, free_port
from tests.waiting import DEADLINE

USERS = [
    {"username": "alice", "password": "canary-of-alice", "roles": ["reader", "writer"]},
    {"username": "service", "password": "canary-of-service", "roles": ["inspector"]},
]
LOCAL = {"name": "local", "type": "plain", "realm": "here", "users": USERS}
ALICE = ("alice", "canary-of-alice")
_TYPE = "urn:ietf:params:oauth:token-type:"


class AuthlibTests(SynchronousTestCase):
    """Authlib discovers the endpoints, and uses each of them."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        port = free_port()
        self.issuer = f"https://localhost:{port}"
        authority = Authority(folder).found()
        self.tls = ssl.create_default_context(cafile=str(authority.file))
        certificate = authority.issue("localhost")
        where = f"ssl:{port}:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}"
        self.daemon = Daemon(folder / "gateway").configure(
            server={"host": ..., "port": ..., "listen": [where]},
            jwt={
                "iss": self.issuer,
                "secret": ...,
                "alg": "ES256",
                "key": keys.generate("ES256"),
                "profile": "at+jwt",
                "aud": "api",
                "emit_aud": True,
            },
            providers=[LOCAL],
            store={"type": "memory"},
            tokens={"introspectors": ["inspector"], "exchange": {}},
            revocation={},
            logging={"level": "debug", "access": "all"},
            oauth={},
        )
        self.addCleanup(self.daemon.stop)
        self.daemon.launch()
        self.daemon.logged(f"serves at https://127.0.0.1:{port}")
        self.http = httpx.Client(verify=self.tls, timeout=DEADLINE, base_url=self.issuer)
        self.addCleanup(self.http.close)

    def client(self, username: str) -> OAuth2Client:
        """Return a client of Authlib that authenticates as a user."""
        client = OAuth2Client(username, f"canary-of-{username}", verify=self.tls, timeout=DEADLINE)
        self.addCleanup(client.close)
        return client

    def metadata(self) -> AuthorizationServerMetadata:
        """Return the metadata of the gateway, which Authlib finds by the issuer and accepts."""
        url = get_well_known_url(self.issuer, external=True)
        found = AuthorizationServerMetadata(self.http.get(url).json())
        found.validate()
        self.assertEqual(found["issuer"], self.issuer)
        return found

    def api_token(self) -> str:
        answer = self.http.post("/tokens", json={"name": "canary"}, auth=ALICE)
        token: str = answer.json()["token"]
        return token

    def ask(self, token: str, path: str = "/authenticate") -> httpx.Response:
        return self.http.get(path, headers={"Authorization": f"Bearer {token}"})

    def introspect(self, token: str) -> dict[str, Any]:
        url = self.metadata()["introspection_endpoint"]
        answer = self.client("service").introspect_token(url, token)
        self.assertEqual(answer.status_code, 200)
        found: dict[str, Any] = answer.json()
        return found

    def exchange(self, token: str, **more: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client("alice").fetch_token(
            self.metadata()["token_endpoint"],
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=token,
            subject_token_type=f"{_TYPE}access_token",
            **more,
        )
        return found

    def test_introspects_and_revokes(self) -> None:
        """A service sees the token of a user until the user revokes it."""
        token = self.api_token()
        found = self.introspect(token)
        self.assertEqual((found["active"], found["sub"]), (True, "here-alice"))
        self.assertEqual(found["iss"], self.issuer)
        url = self.metadata()["revocation_endpoint"]
        answer = self.client("alice").revoke_token(url, token)
        self.assertEqual((answer.status_code, answer.content), (200, b""))
        self.assertEqual(self.introspect(token), {"active": False})
        self.assertEqual(self.ask(token).status_code, 401)

    def test_exchanges_T52(self) -> None:
        """A client gets a narrower token, whose end comes with that of the first one."""
        parent = self.api_token()
        found = self.exchange(parent, role="reader", validity="60")
        self.assertEqual(found["issued_token_type"], f"{_TYPE}access_token")
        self.assertLessEqual(found["expires_in"], 60)
        child = found["access_token"]
        self.assertEqual(self.ask(child, "/whoami").json()["roles"], ["reader"])
        self.assertTrue(self.introspect(child)["active"])
        self.client("alice").revoke_token(self.metadata()["revocation_endpoint"], parent)
        self.assertEqual(self.ask(child).status_code, 401)
        self.assertEqual(self.introspect(child), {"active": False})

    def test_revokes_jwts(self) -> None:
        """An exchanged token, and a JWT for backends, can be revoked each by itself."""
        parent = self.api_token()
        url = self.metadata()["revocation_endpoint"]
        for more in ({}, {"requested_token_type": f"{_TYPE}jwt"}):
            token = self.exchange(parent, **more)["access_token"]
            self.assertTrue(self.introspect(token)["active"])
            self.assertEqual(self.client("alice").revoke_token(url, token).status_code, 200)
            self.assertEqual(self.introspect(token), {"active": False})
        self.assertEqual(self.ask(parent).status_code, 200)

    def test_access_token(self) -> None:
        """A minted JWT is an access token, for a backend that fetches the published keys."""
        token = self.ask(self.api_token()).headers["Authorization"].removeprefix("Bearer ")
        exchanged = self.exchange(self.api_token(), requested_token_type=f"{_TYPE}jwt")
        keys_found = published(self.http.get(self.metadata()["jwks_uri"]).json(), "the gateway")
        verifier = Verifier(
            self.issuer, profile="at+jwt", audience="api", source=lambda: keys_found
        )
        for each in (token, exchanged["access_token"]):
            user = verifier.verify(each)
            self.assertEqual((user.username, user.claims["client_id"]), ("alice", "here-alice"))
            self.assertTrue(self.introspect(each)["active"])

    def test_no_secret_in_the_log_S_INURL(self) -> None:
        """Neither tokens nor passwords are in the log, also if a client puts them into the URL."""
        token = self.api_token()
        child = self.exchange(token)["access_token"]
        for path in ("/oauth/introspect", "/oauth/revoke", "/oauth/token"):
            for data, query in (({"token": child}, ""), ({}, f"?token={token}")):
                self.http.post(f"{path}{query}", data=data, auth=ALICE)
        log = self.daemon.log()
        self.assertIn("/oauth/introspect", log)
        basic = b64encode(b"alice:canary-of-alice").decode()
        for secret in ("canary-of", token, token.rpartition("_")[2], child, basic):
            self.assertNotIn(secret, log)
