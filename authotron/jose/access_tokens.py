"""
The claims that the profile of OAuth access tokens (RFC 9068) requires of a minted JWT, in addition
to those of every minted JWT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from authotron.model.authentication import Authentication

_SCOPE = re.compile(r"[!#-\[\]-~]+")
"""A scope of OAuth (RFC 6749 section 3.3); a scope of another form cannot be in a list."""

_CLIENT = ("client_id", "azp")
"""The attributes that name the client for which an identity provider issued a token."""


def profile_claims(authentication: Authentication, subject: str) -> dict[str, Any]:
    """
    Return the claims that the profile of access tokens adds to a JWT.

    The client is the one to which an identity provider issued the token of the user. For all other
    credentials the user counts as the client, because the gateway registers no clients.

    @param subject: the claim C{sub} of the JWT.
    """
    identity, login = authentication.identity, authentication.login
    named = (identity.attributes.get(name) for name in _CLIENT)
    claims: dict[str, Any] = {"client_id": next(filter(None, named), subject)}
    if scopes := scope_of(identity.scopes.values()):
        claims["scope"] = scopes
    if login is not None and login.acr is not None:
        claims["acr"] = login.acr
    if login is not None and login.at is not None:
        claims["auth_time"] = int(login.at)
    return claims


def scope_of(scopes: Iterable[Iterable[str]]) -> str:
    """
    Return scopes of several services as the value of C{scope} (RFC 6749 section 3.3): each scope
    once, separated by blanks.
    """
    names = dict.fromkeys(name for each in scopes for name in each)
    return " ".join(name for name in names if _SCOPE.fullmatch(name))
