"""Tests of the OAuth server double."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.testing.issuers import IDP, key_set
from authotron.testing.oauth import OAuthServer
from authotron.testing.remotes import Respond, start, web_client

INTROSPECTION, TOKEN, KEYS = (
    f"https://oauth.example/{each}" for each in ("introspect", "token", "keys")
)


class OAuthServerTests(SynchronousTestCase):
    """Responses of the server."""

    def setUp(self) -> None:
        self.server = OAuthServer()
        self.web = web_client(self.server)

    def post(self, url: str, **sent: Any) -> dict[str, Any]:
        response = self.successResultOf(start(self.web.post(url, **sent)))
        content: dict[str, Any] = response.json_object()
        return content

    def test_introspection(self) -> None:
        """Known tokens are active, others are not; the request may be a form or JSON."""
        for name in ("form", "content"):
            for token, is_active in (("good", True), ("other", False)):
                found = self.post(INTROSPECTION, **{name: {"token": token}})
                self.assertIs(found["active"], is_active)
        self.assertEqual(self.server.count("oauth.example/introspect"), 4)

    def test_exchange(self) -> None:
        """The token endpoint returns the access token."""
        self.assertEqual(
            self.post(TOKEN, form={"refresh_token": "good"}),
            {"access_token": self.server.access_token},
        )

    def test_keys(self) -> None:
        """The key set has the key that signs the access token."""
        response = self.successResultOf(start(self.web.get(KEYS)))
        self.assertEqual(response.json_object(), key_set(IDP))

    def test_instead(self) -> None:
        """A test can replace the response of an address."""
        self.server.instead["oauth.example/token"] = Respond({"error": "busy"}, 503)
        response = self.successResultOf(start(self.web.post(TOKEN, form={})))
        self.assertEqual(response.status, 503)
