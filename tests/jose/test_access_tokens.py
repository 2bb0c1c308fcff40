"""JWTs by the profile of OAuth access tokens (RFC 9068)."""

from __future__ import annotations

from typing import Any

import jwt
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import minter
from authotron.jose.access_tokens import scope_of
from authotron.model.authentication import Authentication, Login
from authotron.model.identity import Identity
from authotron.testing.worlds import NOW, clock_at
from tests.jose.test_minter import ALICE, config

PROFILE = {"profile": "at+jwt", "aud": "api", "emit_aud": True}


class ProfileTests(SynchronousTestCase):
    """The header and the claims of a minted JWT."""

    def minted(self, found: Authentication) -> tuple[dict[str, Any], dict[str, Any]]:
        token = minter.make(config(**PROFILE), clock_at(NOW)).mint(found)
        unchecked: Any = {"verify_signature": False}
        return jwt.get_unverified_header(token), jwt.decode(token, options=unchecked)

    def test_required_claims(self) -> None:
        """Type and claims are those that section 2 of the RFC requires, with a list of scopes."""
        header, claims = self.minted(ALICE)
        self.assertEqual(header["typ"], "at+jwt")
        required = {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"}
        self.assertLessEqual(required, claims.keys())
        self.assertEqual((claims["aud"], claims["client_id"]), ("api", "internal-alice"))
        self.assertEqual((claims["scope"], claims["roles"]), ("read", ["reader"]))

    def test_client(self) -> None:
        """The client is the one to which an identity provider issued the token."""
        for attributes, client in (
            ({"azp": "portal"}, "portal"),
            ({"client_id": "app", "azp": "portal"}, "app"),
            ({"client_id": ""}, "internal-alice"),
        ):
            _, claims = self.minted(Authentication(Identity("internal", "alice", (), attributes)))
            self.assertEqual(claims["client_id"], client)

    def test_login(self) -> None:
        """What is known of the login is stated, and nothing else."""
        found = Authentication(Identity("internal", "alice"), login=Login("gold", NOW - 60.5))
        _, claims = self.minted(found)
        self.assertEqual((claims["acr"], claims["auth_time"]), ("gold", int(NOW - 60.5)))
        _, claims = self.minted(ALICE)
        self.assertTrue({"acr", "auth_time"}.isdisjoint(claims))

    def test_no_scopes(self) -> None:
        """Without scopes there is no list of scopes."""
        _, claims = self.minted(Authentication(Identity("internal", "alice")))
        self.assertNotIn("scope", claims)

    def test_off(self) -> None:
        """Without the profile JWTs are those of auth-o-tron."""
        token = minter.make(config(), clock_at(NOW)).mint(ALICE)
        unchecked: Any = {"verify_signature": False}
        self.assertEqual(jwt.get_unverified_header(token)["typ"], "JWT")
        self.assertNotIn("client_id", jwt.decode(token, options=unchecked))


class ScopeTests(SynchronousTestCase):
    """Scopes in one string."""

    def test_scope_of(self) -> None:
        """Each scope stands once; a scope that has a blank cannot be in the list."""
        scopes = [("read", "write"), ("read", "two words", 'quo"te', "")]
        self.assertEqual(scope_of(scopes), "read write")
