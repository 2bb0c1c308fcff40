"""
Read roles and scopes as auth-o-tron does: a JWT with a claim of an unexpected shape is refused.

The key C{strict_claims} of the C{jwt} provider enables this module; the default is true only in
configurations that were written for auth-o-tron.
"""

from __future__ import annotations

from collections.abc import Sequence

from authotron.jose.claim_values import value_at
from authotron.jose.purposes import Claims
from authotron.model.errors import Rejected


def scopes(claims: Claims) -> tuple[str, ...]:
    """
    Return the words of the claim C{scope}.

    @raise Rejected: the claim is not a string.
    """
    scope = claims.get("scope")
    if scope is not None and not isinstance(scope, str):
        raise Rejected("scope is not a string; `strict_claims: false` accepts a list")
    return tuple((scope or "").split())


def roles(claims: Claims, paths: Sequence[str] | None) -> tuple[str, ...]:
    """
    Return the roles in the claims at C{paths}; if C{paths} is C{None}, read the claims of Keycloak
    and the claim C{entitlements}.

    @raise Rejected: a claim with roles has an unexpected shape.
    """
    if paths is None:
        return _keycloak_roles(claims)
    found = (value_at(claims, path) for path in paths)
    return tuple(role for each in found if each is not None for role in _strings(each))


def _keycloak_roles(claims: Claims) -> tuple[str, ...]:
    realm = claims.get("realm_access")
    entitlements = claims.get("entitlements")
    clients = claims.get("resource_access")
    return (
        *(_inner_roles(realm) if realm is not None else ()),
        *(_strings(entitlements) if entitlements is not None else ()),
        *(role for client in _values(clients) for role in _inner_roles(client)),
    )


def _values(mapping: object) -> Sequence[object]:
    if mapping is None:
        return ()
    if not isinstance(mapping, dict):
        raise Rejected("resource_access is not an object")
    return tuple(mapping.values())


def _inner_roles(value: object) -> tuple[str, ...]:
    if not isinstance(value, dict):
        raise Rejected("a claim with roles is not an object")
    return _strings(value.get("roles"))


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Rejected("a claim with roles is not a list of strings")
    return tuple(value)
