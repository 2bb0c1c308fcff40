"""The claims of a token become an identity."""

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
_CONSUMED = frozenset({"sub", "scope", *_KEYCLOAK_ROLES})
_CONTROL = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])


class Attributes(Section):
    """Which claims become attributes."""

    include: NonEmptyStrs = Field(
        default=(),
        strict=False,
        description="beginnings of the names to take; all, if none are given",
    )
    ignore: NonEmptyStrs = Field(
        default=(), strict=False, description="beginnings of the names to leave out"
    )

    def wants(self, name: str) -> bool:
        """Whether a claim of this name becomes an attribute."""
        wanted = not self.include or name.startswith(self.include)
        return wanted and not name.startswith(self.ignore)


class ClaimsConfig(Section):
    """What a token must claim, and what is taken from it."""

    issuer: NonEmptyStr | None = Field(
        default=None, description="the `iss` that a token must have, exactly"
    )
    audience: NonEmptyStr | NonEmptyStrs | None = Field(
        default=None, description="one of these must be in `aud`; not looked at if not set"
    )
    leeway: Seconds = Field(default=60, description="seconds by which clocks may differ")
    username_claim: NonEmptyStr | None = Field(
        default=None, description="the user name; `preferred_username`, else `sub`, if not set"
    )
    roles_claims: NonEmptyStrs | None = Field(
        default=None,
        description="claims that hold roles, as paths like `realm_access.roles`; those of Keycloak "
        "and `entitlements` if not set",
    )
    attributes: Attributes = Field(
        default_factory=Attributes, description="which claims become attributes"
    )
    required_scopes: NonEmptyStrs = Field(
        default=(), strict=False, description="scopes without which a token is refused"
    )
    typ: NonEmptyStr | None = Field(
        default=None,
        description="the type a token must have, such as `at+jwt`; by default every token passes "
        "that does not say it is for something else than access, such as ID, refresh and logout "
        "tokens",
    )


_KEYCLOAK = "/protocol/openid-connect/certs"


def missing_checks(config: ClaimsConfig, cert_uri: str | None) -> Iterator[str]:
    """
    Name what is not checked about a token although it could be, with the line to add.

    @param cert_uri: the address of the key set, which may tell the issuer.
    """
    if config.issuer is None:
        known = cert_uri is not None and cert_uri.endswith(_KEYCLOAK)
        issuer = str(cert_uri).removesuffix(_KEYCLOAK) if known else "... (the iss of its tokens)"
        yield (
            "issuer: not set, so tokens count whatever issuer they name, if a key fits; add "
            f"`issuer: {issuer}`"
        )
    if config.audience is None:
        yield (
            "audience: not set, so tokens count that were made for other services; add "
            "`audience: [...]` with the name that the tokens for this gateway have in aud"
        )
    if config.typ is not None and purposes.as_word(config.typ) == "jwt":
        yield (
            "typ: JWT is what ID and refresh tokens say, too, so these are accepted; remove it "
            "to accept access tokens alone"
        )


@frozen
class Rules:
    """What a provider demands of the claims of a token, and what it takes from them."""

    name: str
    realm: str
    config: ClaimsConfig

    def authentication(
        self, claims: Claims, now: float, *, lasting: bool = False
    ) -> Authentication:
        """
        Map the claims of a verified token to an identity, and to its expiry.

        @param lasting: a token without an end is good, too.

        @raise Rejected: it is not for us, not now, or does not say what it should.
        """
        said, expires = self._in_time(claims, now, lasting=lasting)
        self._for_us(claims)
        scopes = _scopes(claims)
        if not set(self.config.required_scopes) <= set(scopes):
            raise Rejected("a scope is missing")
        attributes = self._attributes(claims)
        if expires != said and "exp" in attributes:
            attributes["exp"] = str(int(expires or 0))
        identity = Identity(
            self.realm,
            self._username(claims),
            self._roles(claims),
            attributes,
            {self.name: scopes},
        )
        return Authentication(identity, expires=expires, fresh_until=expires)

    def right_kind(self, header: Claims, claims: Claims) -> None:
        """
        Check what a token is made for; a configured type is all that counts then.

        @raise Rejected: for something else than access.
        """
        if self.config.typ is not None:
            if not purposes.has_kind(self.config.typ, header, claims):
                raise Rejected(f"a token of another type than {self.config.typ}")
        elif (purpose := purposes.other_purpose(header, claims)) is not None:
            raise Rejected(f"not an access token but {purpose}; `typ` would accept it")

    def _in_time(
        self, claims: Claims, now: float, *, lasting: bool
    ) -> tuple[float | None, float | None]:
        """The end that a token claims, and the end that counts for it now; see L{end}."""
        said = _moment(claims, "exp")
        if said is None and not lasting:
            raise Rejected("a token without an end")
        expires = end(said, now, self.config.leeway)
        begins = _moment(claims, "nbf")
        if begins is not None and now + self.config.leeway < begins:
            raise Rejected("not valid yet")
        return said, expires

    def _for_us(self, claims: Claims) -> None:
        if self.config.issuer is not None and claims.get("iss") != self.config.issuer:
            raise Rejected("another issuer")
        wanted = self.config.audience
        if wanted is not None:
            ours = {wanted} if isinstance(wanted, str) else set(wanted)
            if ours.isdisjoint(_one_or_several(claims.get("aud"))):
                raise Rejected("another audience")

    def _username(self, claims: Claims) -> str:
        subject = claims.get("sub")
        if self.config.username_claim is not None:
            name = _at(claims, self.config.username_claim)
        elif not (isinstance(subject, str) and subject):
            raise Rejected("no subject")
        else:
            preferred = claims.get("preferred_username")
            name = preferred if isinstance(preferred, str) and preferred else subject
        if not (isinstance(name, str) and name):
            raise Rejected("no user name")
        return name

    def _roles(self, claims: Claims) -> tuple[str, ...]:
        paths = self.config.roles_claims
        _none_elsewhere(claims, paths or _KEYCLOAK_ROLES)
        if paths is None:
            return _keycloak_roles(claims)
        found = (_at(claims, path) for path in paths)
        return tuple(role for each in found if each is not None for role in _texts(each))

    def _attributes(self, claims: Claims) -> dict[str, str]:
        wants = self.config.attributes.wants
        return {
            name: _text(value)
            for name, value in claims.items()
            if name not in _CONSUMED and wants(name)
        }


def end(said: float | None, now: float, leeway: float) -> float | None:
    """
    Return the end that counts for a credential, if clocks may differ by C{leeway} seconds.

    Before the second of C{said}, which is its own end, it ends then. After that it is good for the
    leeway, and the end of that counts: what is minted for it ends at a whole second, must not have
    expired already, and must not live longer either.

    @raise Rejected: it has expired.
    """
    if said is None or int(now) < int(said):
        return said
    if now >= said + leeway:
        raise Rejected("expired")
    return said + leeway


def _moment(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejected(f"{name} is no number")
    try:
        moment = float(value)
    except OverflowError:
        raise Rejected(f"{name} is no moment") from None
    if not (math.isfinite(moment) and moment >= 0):
        raise Rejected(f"{name} is no moment")
    return moment


def _scopes(claims: Claims) -> tuple[str, ...]:
    scope = claims.get("scope")
    if scope is not None and not isinstance(scope, str):
        raise Rejected("scope is no text")
    return tuple((scope or "").split())


def _none_elsewhere(claims: Claims, paths: Sequence[str]) -> None:
    """
    Refuse a token whose roles are kept elsewhere, as those of Microsoft Entra with many groups.

    It must not pass for one of somebody without roles.
    """
    names = claims.get("_claim_names")
    if isinstance(names, dict) and any(path.split(".")[0] in names for path in paths):
        raise Rejected("the roles are not in the token")


def _keycloak_roles(claims: Claims) -> tuple[str, ...]:
    """Those of the realm, then entitlements, then those of each client."""
    realm = claims.get("realm_access")
    entitlements = claims.get("entitlements")
    clients = claims.get("resource_access")
    return (
        *(_inner_roles(realm) if realm is not None else ()),
        *(_texts(entitlements) if entitlements is not None else ()),
        *(role for client in _values(clients) for role in _inner_roles(client)),
    )


def _values(mapping: object) -> Sequence[object]:
    if mapping is None:
        return ()
    if not isinstance(mapping, dict):
        raise Rejected("roles of clients are no mapping")
    return tuple(mapping.values())


def _inner_roles(value: object) -> tuple[str, ...]:
    if not isinstance(value, dict):
        raise Rejected("roles are no mapping")
    return _texts(value.get("roles"))


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Rejected("roles are no list of texts")
    return tuple(value)


def _one_or_several(value: object) -> set[str]:
    several = value if isinstance(value, list) else [value]
    return {each for each in several if isinstance(each, str)}


def _at(claims: Claims, path: str) -> Any:
    """What is at the end of a path; a claim whose name holds dots is found, too."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return found


def _text(value: object) -> str:
    """A claim as text: as it is, or as JSON, without control characters."""
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value.translate(_CONTROL)
