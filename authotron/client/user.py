"""The user who sent a request, as the gateway describes them in its JWT."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from authotron.client.errors import Forbidden, InvalidToken

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    """Return an empty mapping that cannot be changed, so that all users may share it."""
    return _NOTHING


@dataclass(frozen=True)
class User:
    """
    The user who sent a request.

    @ivar realm: the realm whose provider authenticated the user.
    @ivar username: the name of the user, which is unique inside the realm.
    @ivar scopes: the scopes of the user, by the service that they are for.
    @ivar claims: all claims of the JWT.
    """

    realm: str
    username: str
    roles: tuple[str, ...] = ()
    scopes: Mapping[str, Sequence[str]] = field(default_factory=_nothing, hash=False)
    attributes: Mapping[str, Any] = field(default_factory=_nothing, hash=False)
    claims: Mapping[str, Any] = field(
        default_factory=_nothing, hash=False, compare=False, repr=False
    )

    def __reduce__(self) -> tuple[Any, ...]:
        """Let users be pickled and copied, which read-only mappings cannot be."""
        mappings = (self.scopes, self.attributes, self.claims)
        return _user, (self.realm, self.username, self.roles, *map(dict, mappings))

    @property
    def subject(self) -> str:
        """The claim C{sub} of the JWT: realm and name, joined by a hyphen."""
        return f"{self.realm}-{self.username}"

    @property
    def is_authenticated(self) -> bool:
        """Always true; Django and Starlette require a user object to have this attribute."""
        return True

    @property
    def display_name(self) -> str:
        """The name of the user; Starlette requires this attribute."""
        return self.username

    @property
    def identity(self) -> str:
        """A string that identifies the user in all realms; Starlette requires this attribute."""
        return self.subject

    def has_role(self, *roles: str) -> bool:
        """Whether the user has one of the roles."""
        return not set(roles).isdisjoint(self.roles)

    def has_scope(self, scope: str, service: str | None = None) -> bool:
        """
        Whether the user has a scope, either for the given service or, if none is given, for any
        service.
        """
        listed = self.scopes.values() if service is None else [self.scopes.get(service, ())]
        return any(scope in scopes for scopes in listed)

    @property
    def all_scopes(self) -> tuple[str, ...]:
        """The scopes of the user for any service, each once."""
        return tuple(dict.fromkeys(each for scopes in self.scopes.values() for each in scopes))

    def require(self, *roles: str, scopes: str | Iterable[str] = ()) -> None:
        """
        Check that the user has one of the roles, and all of the scopes.

        @raise Forbidden: the user has none of the roles, or a scope is missing.
        """
        missing = [each for each in as_names(scopes) if not self.has_scope(each)]
        if missing or (roles and not self.has_role(*roles)):
            raise Forbidden(roles=roles if not self.has_role(*roles) else (), scopes=missing)


def as_names(given: str | Iterable[str]) -> tuple[str, ...]:
    """
    Return roles, scopes or paths as a tuple; a single string becomes a tuple that contains only
    this string.

    Without this conversion to a tuple, C{exclude="/health"} would be read as single characters and
    exclude C{/}, and an iterator would be used up after the first request.

    @raise TypeError: one of the given values is not a string.
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(each, str) for each in names):
        raise TypeError(f"not a list of strings (or a decorator lacks its parentheses): {names}")
    return names


def user_from_claims(claims: Mapping[str, Any], *, original_rules: bool = False) -> User:
    """
    Return the user whom the claims of a JWT describe.

    @param original_rules: apply the two rules of the client library of auth-o-tron: each user has
        the role C{default}, and each attribute that is not a string becomes its JSON text.

    @raise InvalidToken: the claims do not describe a user.
    """
    realm, username = claims.get("realm"), claims.get("username")
    if not (isinstance(realm, str) and realm and isinstance(username, str) and username):
        raise InvalidToken("claims", "the JWT has no realm or no user name")
    roles = _strings(claims.get("roles"), "roles")
    attributes = _mapping(claims.get("attributes"), "attributes")
    scopes = _mapping(claims.get("scopes"), "scopes")
    if scopes:
        scopes = {name: _strings(each, "scopes") for name, each in scopes.items()}
    if original_rules:
        roles = tuple(dict.fromkeys((*roles, "default")))
        attributes = {name: _as_text(value) for name, value in attributes.items()}
    return _user(realm, username, roles, scopes, attributes, claims)


def _user(
    realm: str,
    username: str,
    roles: tuple[str, ...],
    scopes: Mapping[str, Any],
    attributes: Mapping[str, Any],
    claims: Mapping[str, Any],
) -> User:
    return User(realm, username, roles, *map(MappingProxyType, (scopes, attributes, claims)))


def _strings(value: object, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise InvalidToken("claims", f"the claim {name} of the JWT is not a list of strings")
    return tuple(value)


def _mapping(value: object, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidToken("claims", f"the claim {name} of the JWT is not a mapping")
    return value


def _as_text(value: object) -> str:
    """Return a string as it is, and any other value as compact JSON with sorted keys."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
