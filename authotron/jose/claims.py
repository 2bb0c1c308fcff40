"""Check the claims of a JWT, and map them to an identity."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen
from pydantic import Field

from authotron.config.section import (
    NonEmptyStr,
    NonEmptyStrs,
    Seconds,
    Section,
)
from authotron.jose import purposes
from authotron.jose.purposes import Claims
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Identity

_KEYCLOAK_ROLES = ("realm_access", "entitlements", "resource_access")
"""Claims in which Keycloak puts roles."""

_CONSUMED = frozenset({"sub", "scope", *_KEYCLOAK_ROLES})
"""Claims that do not become attributes."""

_CONTROL = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])


class Attributes(Section):
    """The rules by which claims become attributes."""

    include: NonEmptyStrs = Field(
        default=(),
        strict=False,
        description="prefixes of the claim names that become attributes; all names if empty",
    )
    ignore: NonEmptyStrs = Field(
        default=(),
        strict=False,
        description="prefixes of the claim names that do not become attributes",
    )

    def includes(self, name: str) -> bool:
        """Whether a claim of this name becomes an attribute."""
        included = not self.include or name.startswith(self.include)
        return included and not name.startswith(self.ignore)


class ClaimsConfig(Section):
    """The claims that a JWT must have, and the claims that become parts of the identity."""

    issuer: NonEmptyStr | None = Field(
        default=None, description="the `iss` that a JWT must have, exactly"
    )
    audience: NonEmptyStr | NonEmptyStrs | None = Field(
        default=None, description="one of these must be in `aud`; `aud` is not checked if not set"
    )
    leeway: Seconds = Field(
        default=60, description="seconds by which the clocks of issuer and gateway may differ"
    )
    username_claim: NonEmptyStr | None = Field(
        default=None,
        description="the claim with the user name; `preferred_username`, else `sub`, if not set",
    )
    roles_claims: NonEmptyStrs | None = Field(
        default=None,
        description="paths of the claims with roles, such as `realm_access.roles`; those of "
        "Keycloak and `entitlements` if not set",
    )
    attributes: Attributes = Field(
        default_factory=Attributes, description="which claims become attributes"
    )
    required_scopes: NonEmptyStrs = Field(
        default=(), strict=False, description="scopes that a JWT must have"
    )
    typ: NonEmptyStr | None = Field(
        default=None,
        description="the type a JWT must have, such as `at+jwt`; by default every JWT is accepted "
        "unless it declares another purpose than access, as ID, refresh and logout tokens do",
    )


_KEYCLOAK = "/protocol/openid-connect/certs"
"""The end of the URL of a key set of Keycloak; the issuer is the part before it."""


def missing_checks(config: ClaimsConfig, cert_uri: str | None) -> Iterator[str]:
    """
    Yield a warning for each check of a JWT that is not configured, with the line to add.

    @param cert_uri: the URL of the key set, from which the issuer can be derived for Keycloak.
    """
    if config.issuer is None:
        known = cert_uri is not None and cert_uri.endswith(_KEYCLOAK)
        issuer = str(cert_uri).removesuffix(_KEYCLOAK) if known else "... (the iss of its tokens)"
        yield (
            "issuer: not set, so JWTs of any issuer are accepted if a key verifies them; add "
            f"`issuer: {issuer}`"
        )
    if config.audience is None:
        yield (
            "audience: not set, so JWTs issued for other services are accepted; add "
            "`audience: [...]` with the name that JWTs for this gateway have in aud"
        )
    if config.typ is not None and purposes.as_word(config.typ) == "jwt":
        yield (
            "typ: JWT is the type of ID and refresh tokens, too, so these are accepted; remove "
            "`typ` to accept access tokens only"
        )


@frozen
class ClaimRules:
    """The checks that a provider makes of the claims of a JWT, and how it reads an identity."""

    name: str
    realm: str
    config: ClaimsConfig

    def authentication(
        self, claims: Claims, now: float, *, lasting: bool = False
    ) -> Authentication:
        """
        Map the claims of a verified JWT to an identity and its expiry.

        @param lasting: whether a JWT without C{exp} is accepted.

        @raise Rejected: the JWT is for another audience, not valid now, or lacks a claim.
        """
        claimed, expires = self._check_times(claims, now, lasting=lasting)
        self._check_issuer_and_audience(claims)
        scopes = _scopes(claims)
        if not set(self.config.required_scopes) <= set(scopes):
            raise Rejected("a required scope is missing")
        attributes = self._attributes(claims)
        if expires != claimed and "exp" in attributes:
            attributes["exp"] = str(int(expires or 0))
        identity = Identity(
            self.realm,
            self._username(claims),
            self._roles(claims),
            attributes,
            {self.name: scopes},
        )
        return Authentication(identity, expires=expires, fresh_until=expires)

    def check_type(self, header: Claims, claims: Claims) -> None:
        """
        Check that a JWT is an access token, or of the configured type.

        @raise Rejected: the JWT is of another type.
        """
        if self.config.typ is not None:
            if not purposes.has_kind(self.config.typ, header, claims):
                raise Rejected(f"the JWT is not of the type {self.config.typ}")
        elif (purpose := purposes.other_purpose(header, claims)) is not None:
            raise Rejected(f"not an access token but {purpose}; `typ` would accept it")

    def _check_times(
        self, claims: Claims, now: float, *, lasting: bool
    ) -> tuple[float | None, float | None]:
        """Return the C{exp} of a JWT, and the expiry that applies now, see L{effective_expiry}."""
        claimed = _timestamp(claims, "exp")
        if claimed is None and not lasting:
            raise Rejected("exp is missing")
        expires = effective_expiry(claimed, now, self.config.leeway)
        not_before = _timestamp(claims, "nbf")
        if not_before is not None and now + self.config.leeway < not_before:
            raise Rejected("not valid yet (nbf)")
        return claimed, expires

    def _check_issuer_and_audience(self, claims: Claims) -> None:
        if self.config.issuer is not None and claims.get("iss") != self.config.issuer:
            raise Rejected("another issuer (iss) than the configured one")
        audience = self.config.audience
        if audience is not None:
            accepted = {audience} if isinstance(audience, str) else set(audience)
            if accepted.isdisjoint(_strings_in(claims.get("aud"))):
                raise Rejected("none of the configured audiences is in aud")

    def _username(self, claims: Claims) -> str:
        subject = claims.get("sub")
        if self.config.username_claim is not None:
            name = _claim(claims, self.config.username_claim)
        elif not (isinstance(subject, str) and subject):
            raise Rejected("the claim sub is missing")
        else:
            preferred = claims.get("preferred_username")
            name = preferred if isinstance(preferred, str) and preferred else subject
        if not (isinstance(name, str) and name):
            raise Rejected("the claim with the user name is missing or empty")
        return name

    def _roles(self, claims: Claims) -> tuple[str, ...]:
        paths = self.config.roles_claims
        _refuse_distributed(claims, paths or _KEYCLOAK_ROLES)
        if paths is None:
            return _keycloak_roles(claims)
        found = (_claim(claims, path) for path in paths)
        return tuple(role for each in found if each is not None for role in _strings(each))

    def _attributes(self, claims: Claims) -> dict[str, str]:
        includes = self.config.attributes.includes
        return {
            name: _as_text(value)
            for name, value in claims.items()
            if name not in _CONSUMED and includes(name)
        }


def effective_expiry(claimed: float | None, now: float, leeway: float) -> float | None:
    """
    Return the time at which a credential expires, if clocks may differ by C{leeway} seconds.

    Until the second of the claimed expiry a credential expires as claimed. Then it is accepted
    for the leeway, and expires at the end of the leeway: a JWT minted for the credential must not
    have expired already, and must not outlive the leeway.

    @param claimed: the expiry that the credential claims, in seconds since the epoch.

    @raise Rejected: the credential has expired.
    """
    if claimed is None or int(now) < int(claimed):
        return claimed
    if now >= claimed + leeway:
        raise Rejected("expired")
    return claimed + leeway


def _timestamp(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejected(f"{name} is not a number")
    try:
        seconds = float(value)
    except OverflowError:
        raise Rejected(f"{name} is not a timestamp") from None
    if not (math.isfinite(seconds) and seconds >= 0):
        raise Rejected(f"{name} is not a timestamp")
    return seconds


def _scopes(claims: Claims) -> tuple[str, ...]:
    scope = claims.get("scope")
    if scope is not None and not isinstance(scope, str):
        raise Rejected("scope is not a string")
    return tuple((scope or "").split())


def _refuse_distributed(claims: Claims, paths: Sequence[str]) -> None:
    """
    Refuse a JWT that only refers to its roles (OpenID Connect Core, section 5.6.2).

    Microsoft Entra issues such JWTs to users with many groups. Accepting the JWT would let the user
    pass as a user without roles.

    @raise Rejected: a role claim is a distributed claim.
    """
    names = claims.get("_claim_names")
    if isinstance(names, dict) and any(path.split(".")[0] in names for path in paths):
        raise Rejected("the JWT only refers to its roles (_claim_names)")


def _keycloak_roles(claims: Claims) -> tuple[str, ...]:
    """Return the roles of the realm, then the entitlements, then the roles of each client."""
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


def _strings_in(value: object) -> set[str]:
    several = value if isinstance(value, list) else [value]
    return {each for each in several if isinstance(each, str)}


def _claim(claims: Claims, path: str) -> Any:
    """Return the value at the end of a dotted path, or of the claim whose name is the path."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return found


def _as_text(value: object) -> str:
    """Return a string as it is, and any other claim as JSON, without control characters."""
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value.translate(_CONTROL)
