"""An OAuth 2.0 authorization server for tests, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authotron.testing.issuers import IDP, key_set
from authotron.testing.remotes import Action, FakeRemote, ReceivedRequest, Respond


class OAuthServer(FakeRemote):
    """
    An OAuth 2.0 server for tests, with token introspection (RFC 7662), exchange of tokens, and a
    key set.

    Each endpoint accepts forms and JSON objects, since real OAuth servers differ. The client id and
    client secret in a request are not verified; a test can check them in C{requests}.

    @ivar tokens: the introspection response for each active token.
    @ivar access_token: the access token that the server returns for every exchange.
    @ivar keys: the key set that the server publishes.
    @ivar instead: for the address of an endpoint, the action that replaces the usual response of
        that endpoint.
    """

    def __init__(
        self,
        *,
        introspection: str = "oauth.example/introspect",
        exchange: str = "oauth.example/token",
        keys: str = "oauth.example/keys",
    ) -> None:
        super().__init__(self._answer)
        self._introspection, self._exchange, self._key_set = introspection, exchange, keys
        self.tokens: dict[str, Mapping[str, Any]] = {"good": {"active": True, "sub": "u-1"}}
        self.access_token = IDP.sign(typ="Bearer")
        self.keys = key_set(IDP)
        self.instead: dict[str, Action] = {}

    def _answer(self, request: ReceivedRequest) -> Action:
        if request.address in self.instead:
            return self.instead[request.address]
        if request.address == self._introspection:
            return Respond(self.tokens.get(request.parameters["token"], {"active": False}))
        if request.address == self._exchange:
            return Respond({"access_token": self.access_token})
        if request.address == self._key_set:
            return Respond(self.keys)
        return Respond({"error": "not_found"}, 404)

    def count(self, address: str) -> int:
        """Return the number of requests to an address."""
        return self.addresses().count(address)
