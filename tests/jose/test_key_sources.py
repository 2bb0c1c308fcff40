"""Where key sets are fetched from."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.jwks import KeySet
from authotron.jose.key_sources import Discovery, FixedUrl, fetch
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

    def redirect(self, *locations: str) -> Deferred[Any]:
        """Redirect the request for the key set to each location in turn."""
        script: dict[str, Action] = {"keys.example/last": Respond(key_set(IDP))}
        for number, location in enumerate(locations):
            script[f"keys.example/{number}"] = Respond({}, 301, {"Location": location})
        self.remote = FakeRemote(script)
        url = "https://keys.example/0"
        source = FixedUrl(web_client(self.remote, clock_at(NOW)), url)
        return start(KeySet(clock_at(NOW), source).keys_named("idp", "RS256"))

    def test_key_set_that_moved_H_REDIRECT(self) -> None:
        """Up to three redirects of a key set are followed on the same scheme, host and port."""
        for locations in (
            ["/last"],
            ["last"],
            ["https://keys.example/last"],
            ["https://KEYS.example:443/last"],
            ["//keys.example/1", "/2", "/last"],
        ):
            with self.subTest(locations):
                self.successResultOf(self.redirect(*locations))
                self.assertEqual(len(self.remote.requests), len(locations) + 1)

    def test_key_set_that_moved_elsewhere_H_REDIRECT_T33(self) -> None:
        """A redirect to another scheme, host or port is not followed, nor is a fourth one."""
        for location in (
            "http://keys.example/last",
            "https://keys.example:444/last",
            "https://other.example/last",
            "//other.example/last",
            "https://u:p@keys.example/last",
            "https://[/",
            "file:///etc/passwd",
        ):
            with self.subTest(location):
                failure = self.failureResultOf(self.redirect(location), Unavailable)
                self.assertIn("answered 301, a redirect to another", str(failure.value))
                self.assertEqual(self.remote.addresses(), ["keys.example/0"])
        self.failureResultOf(self.redirect("/1", "/2", "/3", "/last"), Unavailable)
        self.assertEqual(len(self.remote.requests), 4)

    def test_discovery_that_moved_H_REDIRECT(self) -> None:
        """A discovery document may move, too; the issuer that it names must still be the same."""
        self.start()
        moved = self.script[self.DESCRIPTION]
        self.script[self.DESCRIPTION] = Respond({}, 308, {"Location": "/moved"})
        self.script["idp.example/moved"] = moved
        keys = Discovery(web_client(self.remote, self.clock), self.clock, self.ISSUER)
        self.successResultOf(start(keys()))
        self.assertIn("idp.example/moved", self.remote.addresses())

    def test_credentials_stay_H_REDIRECT(self) -> None:
        """Configured headers are not sent to the target of a redirect."""
        script: dict[str, Action] = {
            "keys.example/0": Respond({}, 302, {"Location": "/last"}),
            "keys.example/last": Respond(key_set(IDP)),
        }
        remote = FakeRemote(script)
        headers = {"Authorization": "Bearer SECRET"}
        url = "https://keys.example/0"
        self.successResultOf(start(fetch(web_client(remote), url, headers)))
        sent = [each.headers.get("authorization") for each in remote.requests]
        self.assertEqual(sent, ["Bearer SECRET", None])

    def test_elsewhere_T33(self) -> None:
        """Keys are not fetched from a malformed URL, nor without TLS if the issuer has TLS."""
        for url in ("http://keys.example/x", "file:///etc/passwd", 5, None, "keys.example"):
            self.failureResultOf(self.start(jwks_uri=url), Unavailable)
            self.assertEqual(self.remote.addresses(), [self.DESCRIPTION])
