"""The section C{oauth}, and the keys of other sections that belong to it."""

from __future__ import annotations

from typing import Any

from tests.config.cases import ConfigCase

ISSUER = {"iss": "https://auth.example.org"}
API = "https://api.example.org"


class OAuthTests(ConfigCase):
    """URLs of issuers and resources."""

    def test_off(self) -> None:
        """Without the section nothing is on, and every issuer is accepted."""
        self.assertIsNone(self.changed().file.oauth)

    def test_urls(self) -> None:
        """A resource is an https URL, with a port and a path if needed; http is for one machine."""
        for url in (
            API,
            "https://api.example.org:8443/v1/data",
            "https://[2001:db8::1]",
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:9",
        ):
            found = self.changed(jwt=ISSUER, oauth={"resources": [{"resource": url}]})
            assert found.file.oauth is not None
            self.assertEqual(found.file.oauth.resources[0].resource, url)

    def test_other_urls(self) -> None:
        """What clients could spell in two ways, or read without TLS, is a problem."""
        for url, why in (
            ("http://api.example.org", "must begin with https://"),
            ("https://api.example.org/", "is not an https URL"),
            ("https://API.example.org", "is not an https URL"),
            ("https://api.example.org?a=b", "is not an https URL"),
            ("https://api.example.org#x", "is not an https URL"),
            ("https://user@api.example.org", "is not an https URL"),
            ("https://api.example.org:443", "has the usual port"),
            ("https://api.example.org/a/../b", "has a segment . or .."),
            ("https://api.example.org/a%2fb", "is not an https URL"),
            ('https://api.example.org/"', "is not an https URL"),
            ("api.example.org", "is not an https URL"),
        ):
            found = self.problem(jwt=ISSUER, oauth={"resources": [{"resource": url}]})
            self.assertIn(f"oauth.resources[0].resource: {why}", found)

    def test_twice(self) -> None:
        """A resource that stands twice is a problem."""
        resources = [{"resource": API}, {"resource": API}]
        found = self.problem(jwt=ISSUER, oauth={"resources": resources})
        self.assertIn("oauth.resources[1].resource: is the URL of another resource", found)

    def test_issuer(self) -> None:
        """The issuer of an authorization server is an https URL (RFC 8414)."""
        self.assertIn("jwt.iss: is not an https URL", self.problem(oauth={}))
        self.assertIn("server: false", self.problem(oauth={}))
        for issuer in ("https://auth.example.org/gate", "http://127.0.0.1:8080"):
            self.assertIsNotNone(self.changed(jwt={"iss": issuer}, oauth={}).file.oauth)

    def test_no_server(self) -> None:
        """Without an authorization server the issuer does not matter, but resources name others."""
        resource: dict[str, Any] = {"resource": API}
        found = self.problem(oauth={"server": False, "resources": [resource]})
        self.assertIn("oauth.resources[0].authorization_servers: is missing", found)
        resource["authorization_servers"] = ["https://login.example.org"]
        self.changed(oauth={"server": False, "resources": [resource]})

    def test_scopes(self) -> None:
        """Scopes are words of OAuth, as they stand in lists with blanks between them."""
        for scope in ("a b", "", 'a"', "a\\", "é"):
            resource = {"resource": API, "scopes": [scope]}
            found = self.problem(jwt=ISSUER, oauth={"resources": [resource]})
            self.assertIn("oauth.resources[0].scopes[0]: is not a scope", found)


class ProfileTests(ConfigCase):
    """The key C{jwt.profile}."""

    def test_audience_is_needed(self) -> None:
        """Access tokens of RFC 9068 name an audience, so one must be configured and emitted."""
        for jwt in ({}, {"aud": "api"}, {"emit_aud": True}):
            problem = self.problem(jwt={"profile": "at+jwt", **jwt})
            self.assertIn("jwt.profile: needs aud and emit_aud", problem)
        found = self.changed(jwt={"profile": "at+jwt", "aud": "api", "emit_aud": True})
        self.assertEqual(found.file.jwt.profile, "at+jwt")
