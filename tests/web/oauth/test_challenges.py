"""Challenges name the metadata of the requested resource (RFC 9728 section 5.1)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.web.resource_challenges import with_url
from tests.web.conversations import ALICE, InMemoryGateway, basic
from tests.web.entrances import Entrances
from tests.web.test_challenges import STAFF, STATIC

API = "https://app.example.org"
METADATA = f"{API}/.well-known/oauth-protected-resource"
RESOURCES = {
    "oauth": {
        "server": False,
        "resources": [
            {"resource": url, "authorization_servers": ["https://login.example.org"]}
            for url in (API, f"{API}/data")
        ],
    },
    "providers": [STATIC, STAFF],
}


class WithUrlTests(SynchronousTestCase):
    """The header C{WWW-Authenticate} with one more parameter."""

    def test_tokens(self) -> None:
        """The challenges that ask for tokens name the metadata, wherever they stand."""
        for given, expected in (
            (b"Bearer", b"Bearer M"),
            (b'Bearer realm="a"', b'Bearer realm="a", M'),
            (b'Bearer realm="a", error="x"', b'Bearer realm="a", error="x", M'),
            (b'Basic realm="a", Bearer realm="b"', b'Basic realm="a", Bearer realm="b", M'),
            (b'Bearer realm="a", Basic realm="b"', b'Bearer realm="a", M, Basic realm="b"'),
            (
                b'DPoP algs="ES256 EdDSA", Bearer realm="a"',
                b'DPoP algs="ES256 EdDSA", M, Bearer realm="a", M',
            ),
            (b'Basic realm="a"', b'Basic realm="a", Bearer M'),
            (
                b'Basic realm="a, Bearer realm=\\"b\\"", charset="UTF-8"',
                b'Basic realm="a, Bearer realm=\\"b\\"", charset="UTF-8", Bearer M',
            ),
        ):
            named = expected.replace(b"M", b'resource_metadata="https://x"')
            self.assertEqual(with_url(given, b"https://x"), named)

    def test_other_forms(self) -> None:
        """A header of another form stays as it is."""
        for given in (b"Negotiate abc==", b'Bearer realm="a', b"Bearer a=b c"):
            self.assertEqual(with_url(given, b"https://x"), given)


class ChallengeTests(SynchronousTestCase):
    """Refusals at every entrance, and by every contract."""

    def setUp(self) -> None:
        self.entrances = Entrances(RESOURCES)

    def test_every_contract(self) -> None:
        """The metadata of the requested host, whichever header states the host and the path."""
        host = {"X_Forwarded_Host": "app.example.org"}
        whole = {**host, "X_Forwarded_Method": "GET", "X_Forwarded_Uri": "/data/x"}
        private = {name.replace("Forwarded", "Authotron"): value for name, value in whole.items()}
        for path, headers, metadata in (
            ("/authenticate", {**host, "X_Original_URI": "/data/x"}, f"{METADATA}/data"),
            ("/auth/nginx", {**host, "X_Original_URI": "/other"}, METADATA),
            ("/auth/nginx", host, METADATA),
            ("/auth/traefik", whole, f"{METADATA}/data"),
            ("/auth/caddy", whole, f"{METADATA}/data"),
            ("/auth/caddy/data/x", host, f"{METADATA}/data"),
            ("/auth/apisix", whole, f"{METADATA}/data"),
            ("/auth/apache", whole, f"{METADATA}/data"),
            ("/auth/skipper", private, f"{METADATA}/data"),
            ("/auth/haproxy", private, f"{METADATA}/data"),
        ):
            answers = self.entrances.ask_http(f"GET {path}", "", **headers)
            for name, answer in answers.items():
                self.assertEqual(answer.status, 401, (path, name, answer))
                challenge = answer.headers["www-authenticate"]
                self.assertIn(f'resource_metadata="{metadata}"', challenge, path)

    def test_protocols(self) -> None:
        """FastCGI and gRPC state host and path in their own way."""
        for name, answer in self.entrances.ask_protocols("/data/x", "").items():
            challenge = answer.headers["www-authenticate"]
            if name == "grpc":
                self.assertIn(f'resource_metadata="{METADATA}/data"', challenge)
            self.assertIn("Bearer", challenge)

    def test_other_hosts_S_METADATA(self) -> None:
        """For a host without metadata, or without a host, the challenge is the usual one."""
        gateway = self.entrances.gateway
        for headers in ({}, {"X_Forwarded_Host": "other.example.org"}):
            for site in (gateway.entrance, gateway.public):
                answer = gateway.ask("GET /authenticate", site, **headers)
                expected = 'Bearer realm="robots", Basic realm="internal"'
                self.assertEqual(answer.headers["www-authenticate"], expected)

    def test_errors(self) -> None:
        """A refused token gets its error and the metadata."""
        gateway = InMemoryGateway({**RESOURCES, "auth": {"challenge_errors": True}, **_TRUSTED})
        for site in (gateway.entrance, gateway.public):
            for _ in range(2):
                answer = gateway.ask(
                    "GET /authenticate",
                    site,
                    Authorization="Bearer x",
                    X_Forwarded_Host="app.example.org",
                )
                expected = (
                    f'Bearer realm="robots", error="invalid_token", resource_metadata="{METADATA}"'
                    ', Basic realm="internal"'
                )
                self.assertEqual(answer.headers["www-authenticate"], expected)

    def test_accepted(self) -> None:
        """A 200 has no challenge, also when it is repeated; a direct request is no resource."""
        gateway = self.entrances.gateway
        for site in (gateway.entrance, gateway.public):
            for _ in range(2):
                answer = gateway.ask(
                    "GET /authenticate",
                    site,
                    Authorization=ALICE,
                    X_Forwarded_Host="app.example.org",
                )
                self.assertEqual(answer.status, 200)
                self.assertNotIn("www-authenticate", answer.headers)
        answer = gateway.ask("GET /whoami", Authorization=basic("alice", "wrong"))
        self.assertNotIn("resource_metadata", answer.headers["www-authenticate"])


_TRUSTED: dict[str, Any] = {"server": {"trusted_proxies": ["192.0.2.0/24"]}}
