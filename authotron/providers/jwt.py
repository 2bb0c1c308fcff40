"""Verify JSON Web Tokens of an identity provider with its published keys or a shared secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from attrs import define, field
from pydantic import Field, model_validator
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.config.plugins import PluginConfig
from authotron.config.section import NonEmptyStr, NonEmptyStrs, Secret
from authotron.jose import (
    jwk,
    jwks,
    purposes,
    unverified,
    verifier,
)
from authotron.jose.claims import ClaimRules
from authotron.jose.claims_config import ClaimsConfig, missing_checks
from authotron.model.authentication import Authentication
from authotron.model.identity import Credential
from authotron.net import http, urls
from authotron.net.http import RemoteConfig
from authotron.net.urls import Url
from authotron.net.world import World
from authotron.plugin import token_routing
from authotron.plugin.interfaces import (
    Affinity,
    IMayAskRemotes,
    IOfIssuer,
    IProvider,
    IReachable,
)

_SHARED = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Least length of a shared secret in bytes: that of the hash (RFC 7518 section 3.2)."""


class Config(PluginConfig, RemoteConfig, ClaimsConfig):
    """`type: jwt`: JSON Web Tokens, verified with a published key set."""

    type: Literal["jwt"]
    cert_uri: Url | None = Field(
        default=None, description="URL of the key set; if not set, it is discovered from `issuer`"
    )
    iam_realm: NonEmptyStr | None = Field(
        default=None,
        description="marks a configuration of auth-o-tron, see `strict_claims`; `issuer` is "
        "checked, not this",
    )
    strict_claims: bool | None = Field(
        default=None,
        description="reject a JWT whose roles or scopes have an unexpected shape, or without "
        "`sub`, as auth-o-tron does; by default only if `iam_realm` is set",
    )
    algorithms: NonEmptyStrs = Field(
        default=(),
        strict=False,
        description="accepted signature algorithms; by default all asymmetric ones, and the HMAC "
        "ones for which `secret` is long enough",
    )
    secret: Secret | None = Field(
        default=None,
        description="secret shared with the issuer, at least as long as the hash: 32 bytes for "
        "HS256, 48 for HS384, 64 for HS512",
    )
    connections: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="most connections to the issuer, which are used to fetch its key set",
    )
    accepts: token_routing.Rule = Field(
        default="jwt", description="which tokens the provider is asked about; `any` for all"
    )

    @property
    def is_strict(self) -> bool:
        return self.iam_realm is not None if self.strict_claims is None else self.strict_claims

    def warnings(self) -> tuple[str, ...]:
        return (
            *super().warnings(),
            *missing_checks(self, self.cert_uri),
            *self._warn_of_short_secret(),
        )

    def _warn_of_short_secret(self) -> Iterator[str]:
        """Warn of HMAC algorithms that are refused because the secret is too short for them."""
        if self.secret is not None and not self.algorithms:
            size = len(self.secret.get_secret_value().encode())
            if refused := [each for each, least in _SHARED.items() if size < least]:
                yield (
                    f"secret: too short for {' and '.join(refused)}, whose tokens are refused; add "
                    f"`algorithms: [HS256]`, or agree on {max(_SHARED.values())} bytes with the "
                    "issuer"
                )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.cert_uri is None and self.issuer is None and self.secret is None:
            raise ValueError("cert_uri is missing (or issuer, or secret)")
        known = (*jwk.ALGORITHMS, *(_SHARED if self.secret else ()))
        for place, each in enumerate(self.algorithms):
            if each not in known:
                raise ValueError(f"algorithms[{place}] is not one of {', '.join(known)}")
        if self.secret is not None:
            size = len(self.secret.get_secret_value().encode())
            for each in _SHARED.keys() & self.algorithms or ("HS256",):
                if size < _SHARED[each]:
                    raise ValueError(
                        f"secret is shorter than the {_SHARED[each]} bytes of {each} (RFC 7518)"
                    )
        if self.cert_uri is None and self.issuer is not None and self.secret is None:
            urls.check_url(self.issuer)
        return self


@implementer(IProvider, IReachable, IMayAskRemotes, IOfIssuer)
@define(eq=False)
class Jwt:
    """Verifies signature and claims of tokens; asks a remote only if keys must be fetched."""

    name: str
    realm: str
    _clock: IReactorTime
    _verifier: verifier.Verifier = field(repr=False)
    _rules: ClaimRules = field(repr=False)
    _accepts: token_routing.Rule
    type: str = field(default="jwt", init=False)
    scheme: str = field(default="bearer", init=False)

    @property
    def local(self) -> bool:
        """Whether tokens can be verified without a remote, with the secret or the fetched keys."""
        return self._verifier.keys is None or self._verifier.keys.is_at_hand

    @property
    def issuer(self) -> str | None:
        return self._rules.config.issuer

    def affinity(self, credential: Credential) -> Affinity:
        if self._accepts == "any":
            return Affinity.POSSIBLE
        seen = unverified.parse_once(credential)
        affinity = token_routing.match(self._accepts, credential)
        if affinity is Affinity.FOREIGN or seen is None:
            return affinity
        config = self._rules.config
        if config.typ is None and purposes.other_purpose(seen.header, seen.claims) is not None:
            return Affinity.FOREIGN
        issuer = config.issuer
        if issuer is None:
            return affinity
        return Affinity.LIKELY if seen.claims.get("iss") == issuer else Affinity.FOREIGN

    def is_local(self, credential: Credential) -> bool:
        return self._verifier.is_local(unverified.parse_once(credential))

    async def authenticate(self, credential: Credential) -> Authentication:
        header, claims = await self._verifier.verify(
            credential.value, unverified.parse_once(credential)
        )
        self._rules.check_type(header, claims)
        return self._rules.authentication(claims, self._clock.seconds())

    async def check_reachable(self) -> None:
        if self._verifier.keys is not None:
            await self._verifier.keys.check_reachable()


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    web = http.make(config, world)
    keys = None
    if config.cert_uri is not None or (config.issuer is not None and config.secret is None):
        keys = jwks.key_set(config, world, web, url=config.cert_uri, issuer=config.issuer or "")
    secret = config.secret.get_secret_value().encode() if config.secret else None
    long_enough = (each for each, size in _SHARED.items() if secret and len(secret) >= size)
    algorithms = jwk.with_other_names(config.algorithms) or (*jwk.ALGORITHMS, *long_enough)
    return Jwt(
        config.name,
        config.realm,
        world.clock,
        verifier.Verifier(algorithms, keys, secret),
        ClaimRules(config.name, config.realm, config),
        config.accepts,
    )
