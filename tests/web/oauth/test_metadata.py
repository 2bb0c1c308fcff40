"""The metadata by which OAuth clients find endpoints (RFC 8414) and protected resources (9728)."""

from __future__ import annotations

from typing import Any

from tests.web.conversations import Answer
from tests.web.oauth.cases import ISSUER, OAuthCase, key

SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE = "/.well-known/oauth-protected-resource"


class ServerMetadataTests(OAuthCase):
    """The metadata of the gateway as an authorization server."""

    def metadata(self, path: str = SERVER) -> dict[str, Any]:
        answer = self.gateway.ask(f"GET {path}")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["cache-control"], "public, max-age=300")
        found: dict[str, Any] = answer.json()
        return found

    def test_endpoints(self) -> None:
        """The issuer is the one of minted JWTs, letter for letter; the endpoints are below it."""
        found = self.metadata()
        self.assertEqual(found["issuer"], ISSUER)
        self.assertEqual(found["jwks_uri"], f"{ISSUER}/.well-known/jwks.json")
        self.assertEqual(found["introspection_endpoint"], f"{ISSUER}/oauth/introspect")
        self.assertEqual(found["revocation_endpoint"], f"{ISSUER}/oauth/revoke")
        self.assertEqual(found["response_types_supported"], ["none"])

    def test_endpoints_exist(self) -> None:
        """Each endpoint that the metadata name is a route."""
        for name, url in self.metadata().items():
            if name.endswith("_endpoint"):
                answer = self.form(url.removeprefix(ISSUER), {})
                self.assertEqual(answer.status, 400, name)

    def test_path_of_the_issuer_S_METADATA(self) -> None:
        """The path of the issuer stands behind the well-known path (RFC 8414 section 3.1)."""
        self.gateway = self.make(
            jwt={"iss": f"{ISSUER}/a/b", "alg": "ES256", "key": key(), "secret": ...}
        )
        for path in (f"{SERVER}/a/b", f"{OPENID}/a/b", SERVER, OPENID):
            found = self.metadata(path)
            self.assertEqual(found["issuer"], f"{ISSUER}/a/b")
            self.assertEqual(found["introspection_endpoint"], f"{ISSUER}/a/b/oauth/introspect")
        for path in (f"{SERVER}/a", f"{SERVER}/a/b/c", f"{OPENID}/x", f"{SERVER}/"):
            self.assertEqual(self.gateway.ask(f"GET {path}").status, 404)

    def test_url(self) -> None:
        """Endpoints may be at another URL than the issuer."""
        self.gateway = self.make(oauth={"url": "https://gate.example.org"})
        found = self.metadata()
        self.assertEqual(found["issuer"], ISSUER)
        self.assertEqual(found["revocation_endpoint"], "https://gate.example.org/oauth/revoke")

    def test_openid(self) -> None:
        """Libraries that know only OpenID Connect find the keys."""
        found = self.metadata(OPENID)
        self.assertEqual(found["jwks_uri"], f"{ISSUER}/.well-known/jwks.json")
        self.assertEqual(found["id_token_signing_alg_values_supported"], ["ES256"])

    def test_shared_secret(self) -> None:
        """With a shared secret there are no keys to publish."""
        self.gateway = self.make(jwt={"iss": ISSUER})
        self.assertNotIn("jwks_uri", self.metadata())

    def test_off(self) -> None:
        """Without the section C{oauth}, or with C{server: false}, there are none."""
        for oauth in (..., {"server": False}):
            self.gateway = self.make(oauth=oauth)
            for path in (SERVER, OPENID, f"{SERVER}/x", RESOURCE, f"{RESOURCE}/x"):
                self.assertEqual(self.gateway.ask(f"GET {path}").status, 404)

    def test_metric_label(self) -> None:
        """Metrics show the route, and not what a client appended to its path."""
        for path, label in ((SERVER, SERVER), (f"{SERVER}/a/b/c", f"{SERVER}/{{issuer_path}}")):
            self.gateway.ask(f"GET {path}")
            text = self.gateway.metrics.text()[0].decode()
            self.assertIn(f'route="{label}"', text)
            self.assertNotIn("a/b/c", text)


class ResourceMetadataTests(OAuthCase):
    """The metadata of protected resources."""

    def setUp(self) -> None:
        resources = [
            {"resource": "https://api.example.org", "name": "The data", "scopes": ["read"]},
            {
                "resource": "https://api.example.org/v1/deep",
                "authorization_servers": ["https://login.example.org"],
                "documentation": "https://docs.example.org",
            },
        ]
        proxied = {"trusted_proxies": ["192.0.2.0/24"]}
        self.gateway = self.make(oauth={"resources": resources}, server=proxied)

    def ask(self, path: str, host: str = "api.example.org") -> Answer:
        return self.gateway.ask(f"GET {path}", X_Forwarded_Host=host)

    def test_root(self) -> None:
        """A resource without a path; the gateway is its authorization server."""
        answer = self.ask(RESOURCE)
        self.assertEqual(answer.headers["cache-control"], "public, max-age=300")
        self.assertEqual(
            answer.json(),
            {
                "resource": "https://api.example.org",
                "authorization_servers": [ISSUER],
                "bearer_methods_supported": ["header"],
                "scopes_supported": ["read"],
                "resource_name": "The data",
            },
        )

    def test_path(self) -> None:
        """A resource with a path, and with another authorization server."""
        found = self.ask(f"{RESOURCE}/v1/deep").json()
        self.assertEqual(found["resource"], "https://api.example.org/v1/deep")
        self.assertEqual(found["authorization_servers"], ["https://login.example.org"])

    def test_host_S_METADATA(self) -> None:
        """Only the metadata of the requested host, as C{resource} must be what the client uses."""
        for host, status in (
            ("API.example.org", 200),
            ("api.example.org:443", 200),
            ("api.example.org:8443", 404),
            ("other.example.org", 404),
            ("a b", 404),
        ):
            self.assertEqual(self.ask(RESOURCE, host).status, status, host)
        self.assertEqual(self.gateway.ask(f"GET {RESOURCE}").status, 404)
        for path in (f"{RESOURCE}/v1", f"{RESOURCE}/", f"{RESOURCE}/v1/deep/x", f"{RESOURCE}/%2f"):
            self.assertEqual(self.ask(path).status, 404, path)

    def test_host_without_proxy(self) -> None:
        """A client that reaches the gateway without a proxy names the host itself."""
        head = f"GET {RESOURCE} HTTP/1.1\r\nHost: api.example.org\r\n\r\n"
        [answer] = self.gateway.say(head.encode())
        self.assertEqual(answer.status, 200)

    def test_listed(self) -> None:
        """The authorization server lists its resources (RFC 9728 section 4)."""
        found = self.gateway.ask(f"GET {SERVER}").json()["protected_resources"]
        expected = ["https://api.example.org", "https://api.example.org/v1/deep"]
        self.assertEqual(found, expected)
