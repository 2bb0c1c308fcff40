"""Where key sets are fetched from."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.jwks import KeySet
from authotron.jose.key_sources import Discovery
from authotron.model.errors import Unavailable
from authotron.testing.issuers import IDP, NEXT, key_set
from authotron.testing.remotes import Action, FakeRemote, Respond, start, web_client
from authotron.testing.worlds import NOW, clock_at


class DiscoveryTests(SynchronousTestCase):
    """Key sets that are found by the issuer's discovery document."""

    ISSUER = "https://idp.example/realms/x"
    DESCRIPTION = "idp.example/realms/x/.well-known/openid-configuration"

    def start(self, **described: Any) -> Deferred[Any]:
        said = {"issuer": self.ISSUER, "jwks_uri": "https://keys.example/x", **described}
        self.script: dict[str, Action] = {
            self.DESCRIPTION: Respond(said),
            "keys.example/x": Respond(key_set(IDP)),
        }
        self.clock = clock_at(NOW)
        self.remote = FakeRemote(self.script)
        web = web_client(self.remote, self.clock)
        self.keys = KeySet(self.clock, Discovery(web, self.clock, self.ISSUER))
        return start(self.keys.keys_named("idp", "RS256"))

    def test_discovered(self) -> None:
        """The discovery document is fetched, then the keys from the URL that it names."""
        self.successResultOf(self.start())
        self.assertEqual(self.remote.addresses(), [self.DESCRIPTION, "keys.example/x"])

    def test_discovery_is_cached(self) -> None:
        """Refreshing the keys does not fetch the discovery document again within an hour."""
        self.successResultOf(self.start())
        self.clock.advance(600)
        self.successResultOf(start(self.keys.keys_named("idp", "RS256")))
        self.assertEqual(self.remote.addresses()[2:], ["keys.example/x"])

    def test_moved(self) -> None:
        """If the key set cannot be fetched, the discovery document is fetched again."""
        self.successResultOf(self.start())
        self.script["keys.example/x"] = Respond({}, 404)
        self.clock.advance(600)
        self.successResultOf(start(self.keys.keys_named("idp", "RS256")))
        moved = {"issuer": self.ISSUER, "jwks_uri": "https://keys.example/y"}
        self.script[self.DESCRIPTION] = Respond(moved)
        self.script["keys.example/y"] = Respond(key_set(NEXT))
        self.clock.advance(10)
        self.successResultOf(start(self.keys.keys_named("next", "RS256")))

    def test_another_issuer_T34(self) -> None:
        """A discovery document of another issuer is not used, even if only a slash differs."""
        for other in (self.ISSUER + "/", "https://evil.example", [self.ISSUER], None):
            self.failureResultOf(self.start(issuer=other), Unavailable)

    def test_both_issuers_W_ISS(self) -> None:
        """The message names the issuer of the discovery document, and the configured one."""
        for other, message in (
            (f"{self.ISSUER}/", f'has "{self.ISSUER}/", wanted "{self.ISSUER}"; only the slash'),
            ("https://evil.example", f'has "https://evil.example", wanted "{self.ISSUER}"'),
            (None, f'iss is missing, wanted "{self.ISSUER}"'),
        ):
            failure = self.failureResultOf(self.start(issuer=other), Unavailable)
            self.assertIn(message, failure.getErrorMessage())

    def test_media_type_H_ACCEPT(self) -> None:
        """A key set is asked for by its own media type first; the discovery document as JSON."""
        self.successResultOf(self.start())
        discovery, keys = (each.headers["accept"] for each in self.remote.requests)
        self.assertEqual(discovery, "application/json")
        self.assertEqual(keys, "application/jwk-set+json, application/json;q=0.9, */*;q=0.1")

    def test_elsewhere_T33(self) -> None:
        """Keys are not fetched from a malformed URL, nor without TLS if the issuer has TLS."""
        for url in ("http://keys.example/x", "file:///etc/passwd", 5, None, "keys.example"):
            self.failureResultOf(self.start(jwks_uri=url), Unavailable)
            self.assertEqual(self.remote.addresses(), [self.DESCRIPTION])
