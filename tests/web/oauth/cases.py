"""A gateway in memory that is an OAuth authorization server, and clients that send it forms."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import keys
from tests.web.conversations import ALICE, Answer, InMemoryGateway, basic

ISSUER = "https://auth.example.org"
USERS = [
    {"username": "alice", "password": "wonder", "roles": ["reader", "writer"]},
    {"username": "bob", "password": "builder", "roles": ["reader"]},
    {"username": "root", "password": "toor", "roles": ["keeper"]},
    {"username": "service", "password": "secret", "roles": ["inspector"]},
]
STAFF = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
BOB, ROOT = basic("bob", "builder"), basic("root", "toor")
SERVICE = basic("service", "secret")


@cache
def key() -> str:
    """Return the private key of all gateways of the tests."""
    return keys.generate("ES256")


class OAuthCase(SynchronousTestCase):
    """A gateway with a token store, an asymmetric key, and an introspector."""

    def setUp(self) -> None:
        self.gateway = self.make()

    def make(self, **over: Any) -> InMemoryGateway:
        usual = {
            "jwt": {"iss": ISSUER, "alg": "ES256", "key": key(), "secret": ...},
            "providers": [STAFF],
            "store": {"type": "memory", "admins": {"internal": ["keeper"]}},
            "tokens": {"introspectors": ["inspector"]},
            "oauth": {},
        }
        return InMemoryGateway({**usual, **over})

    def form(
        self, path: str, content: dict[str, Any] | bytes, authorization: str = ALICE, **headers: str
    ) -> Answer:
        """Send a form, and return the reply; C{...} as a header leaves the header out."""
        body = content if isinstance(content, bytes) else urlencode(content, doseq=True).encode()
        fields: dict[str, Any] = {
            "Authorization": authorization or ...,
            "Content_Type": "application/x-www-form-urlencoded",
            "Content_Length": str(len(body)),
            **headers,
        }
        lines = [
            f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value != ...
        ]
        text = "\r\n".join([f"POST {path} HTTP/1.1", "Host: gate", *lines, "", ""])
        [answer] = self.gateway.say(text.encode() + body)
        return answer

    def introspect(self, token: str, authorization: str = SERVICE, **more: str) -> dict[str, Any]:
        answer = self.form("/oauth/introspect", {"token": token, **more}, authorization)
        self.assertEqual(answer.status, 200, answer.body)
        found: dict[str, Any] = answer.json()
        return found

    def api_token(self, authorization: str = ALICE, **body: Any) -> str:
        """Return a new API token of a user."""
        answer = self.gateway.post("/tokens", body, Authorization=authorization)
        token: str = answer.json()["token"]
        return token

    def minted(self, authorization: str = ALICE) -> str:
        """Return a JWT that the gateway mints for backends."""
        answer = self.gateway.ask("GET /authenticate", Authorization=authorization)
        return answer.headers["authorization"].removeprefix("Bearer ")
