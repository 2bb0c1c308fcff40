"""Verify JSON Web Tokens of an identity provider with its published keys or a shared secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Self

from attrs import define, field
from pydantic import Field, model_validator
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.config.plugins import ProviderConfig
from authotron.config.problems import require_none
from authotron.config.section import FilePath, NonEmptyStrs, Secret
from authotron.jose import (
    jwk,
    jwks,
    purposes,
    unverified,
    verifier,
)
from authotron.jose.claims import ClaimRules
from authotron.jose.claims_config import ClaimsConfig, missing_checks
from authotron.jose.jwks import KeySet
from authotron.jose.key_set_files import KeySetFile, RequestHeaders
from authotron.model.authentication import Authentication
from authotron.model.errors import Unavailable
from authotron.model.identity import Credential, earliest
from authotron.net import http, urls
from authotron.net.http import RemoteConfig
from authotron.net.urls import Url
from authotron.net.world import World
from authotron.plugin import token_routing
from authotron.plugin.interfaces import (
    Affinity,
    IDescribesRemote,
    IMayAskRemotes,
    IOfIssuer,
    IProvider,
)

_SHARED = {"HS256": 32, "HS384": 48, "HS512": 64}
"""
Minimum length of a shared secret in bytes, which is the length of the hash
(RFC 7518 section 3.2).
"""


class Config(ProviderConfig, RemoteConfig, ClaimsConfig):
    """`type: jwt`: JSON Web Tokens, verified with a published key set."""

    type: Literal["jwt"]
    cert_uri: Url | None = Field(
        default=None, description="URL of the key set; if not set, it is discovered from `issuer`"
    )
    jwks_file: FilePath | None = Field(
        default=None,
        description="a file with the key set, instead of `cert_uri`; read anew every 600 s, and "
        "for an unknown key",
    )
    token_file: FilePath | None = Field(
        default=None,
        description="a file with a bearer token for requests to the issuer, such as the token of a "
        "Kubernetes service account; read anew for each request",
    )
    headers_file: FilePath | None = Field(
        default=None,
        description="a file with headers for requests to the issuer, one `Name: value` a line; "
        "read anew for each request",
    )
    iam_realm: str | None = Field(
        default=None,
        description="a key of auth-o-tron that turns on `strict_claims`; tokens are not compared "
        "with it, but with `issuer`",
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
        description="maximum number of connections to the issuer, to fetch its key set",
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
        """
        Warn of HMAC algorithms that are not accepted because the configured
        secret is too short.
        """
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
        require_none((*self._problems_of_sources(), *self._problems_of_algorithms()))
        return self

    @model_validator(mode="after")
    def _check_key_files(self) -> Self:
        require_none(self._problems_of_files())
        return self

    def _problems_of_sources(self) -> Iterator[tuple[str, str]]:
        places = (self.cert_uri, self.jwks_file, self.issuer, self.secret)
        if all(each is None for each in places):
            yield "", "cert_uri is missing (or issuer, jwks_file or secret)"
        if self.jwks_file is not None and self.cert_uri is not None:
            yield "", "give one of cert_uri and jwks_file, not both"
        fetches = self.cert_uri is not None or self._discovers_keys
        if not fetches and (self.token_file or self.headers_file):
            yield "", "token_file and headers_file have no effect without a key set URL"
        if self._discovers_keys:
            try:
                urls.check_url(str(self.issuer))
            except ValueError as error:
                yield "issuer", str(error)

    def _problems_of_algorithms(self) -> Iterator[tuple[str, str]]:
        known = (*jwk.ALGORITHMS, *(_SHARED if self.secret else ()))
        for place, each in enumerate(self.algorithms):
            if each not in known:
                yield "", f"algorithms[{place}] is not one of {', '.join(known)}"
        if self.secret is not None:
            size = len(self.secret.get_secret_value().encode())
            for each in sorted(_SHARED.keys() & self.algorithms) or ("HS256",):
                if size < _SHARED[each]:
                    why = f"is shorter than the {_SHARED[each]} bytes of {each} (RFC 7518)"
                    yield "secret", why

    def _problems_of_files(self) -> Iterator[tuple[str, str]]:
        """
        Read the configured files at once, to report mistakes early; the files are
        read again later.
        """
        loads: list[tuple[str, Callable[[], object]]] = []
        if self.jwks_file is not None:
            loads.append(("jwks_file", KeySetFile(self.jwks_file).load))
        loads.append(("token_file", RequestHeaders(self.token_file, None).load))
        loads.append(("headers_file", RequestHeaders(None, self.headers_file).load))
        for key, load in loads:
            try:
                load()
            except Unavailable as problem:
                yield key, str(problem)

    @property
    def _discovers_keys(self) -> bool:
        named = (self.cert_uri, self.jwks_file, self.secret)
        return self.issuer is not None and all(each is None for each in named)

    def remote_urls(self) -> list[str]:
        return [str(self.issuer)] if self._discovers_keys else super().remote_urls()

    def request_headers(self) -> RequestHeaders:
        """Return the source of the additional headers in requests to the issuer."""
        return RequestHeaders(self.token_file, self.headers_file)

    def key_set(self, world: World) -> KeySet | None:
        """Return the key set of the issuer, or C{None} if only a shared secret is configured."""
        if self.jwks_file is not None:
            return jwks.key_set_in_file(world, self.jwks_file)
        if self.cert_uri is None and not self._discovers_keys:
            return None
        web, headers = http.make(self, world), self.request_headers()
        issuer = self.issuer or ""
        return jwks.key_set(self, world, web, url=self.cert_uri, issuer=issuer, headers=headers)


@implementer(IProvider, IDescribesRemote, IMayAskRemotes, IOfIssuer)
@define(eq=False)
class Jwt:
    """Verifies signature and claims of JWTs, and contacts the issuer only to fetch its keys."""

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
        """
        Whether JWTs can be verified without contacting the issuer, with the secret or with fetched
        keys.
        """
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
        until = self._verifier.decides_until(header)
        self._rules.check_type(header, claims)
        found = self._rules.authentication(claims, self._clock.seconds())
        return (
            found if until is None else found._replace(fresh_until=earliest(found.expires, until))
        )

    async def check_reachable(self) -> None:
        if self._verifier.keys is not None:
            await self._verifier.keys.check_reachable()

    def describe_remote(self) -> str:
        return self._verifier.describe_keys()


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    secret = config.secret.get_secret_value().encode() if config.secret else None
    long_enough = (each for each, size in _SHARED.items() if secret and len(secret) >= size)
    algorithms = jwk.with_other_names(config.algorithms) or (*jwk.ALGORITHMS, *long_enough)
    return Jwt(
        config.name,
        config.realm,
        world.clock,
        verifier.Verifier(algorithms, config.key_set(world), secret),
        ClaimRules(config.name, config.realm, config),
        config.accepts,
    )
