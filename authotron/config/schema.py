"""The sections of a configuration file, and all their keys but those of plugins."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from authotron import __version__
from authotron.config.answers import ProfileName
from authotron.config.bound_tokens import BoundTokensConfig
from authotron.config.cors import Cors
from authotron.config.events import EventsConfig
from authotron.config.exchange import ExchangeConfig
from authotron.config.oauth import OAuthConfig, flaw_of_url
from authotron.config.page import Page
from authotron.config.problems import of_key, require_none
from authotron.config.refresh import RefreshConfig
from authotron.config.revocation import RevocationConfig
from authotron.config.section import (
    FilePaths,
    Name,
    Names,
    NonEmptyStr,
    NonEmptyStrs,
    Seconds,
    Secret,
    Section,
    WholeSeconds,
)
from authotron.config.server import Operations, Server
from authotron.config.sources import unreadable

EXTENSION = "x-"
"""The prefix of ignored top-level keys, whose values may hold anchors for other keys."""

SHORTEST = 16
"""Minimum length of C{jwt.secret}, in bytes, unless C{allow_weak_secret} is set."""

RECOMMENDED = 32
"""
Recommended length of C{jwt.secret}, in bytes (RFC 7518 section 3.2); a shorter one causes a
warning.
"""

MOST_ROTATIONS = 8
"""Maximum number of rotations of the signing keys within the lifetime of a JWT."""

PLACEHOLDERS = frozenset(
    {
        "changeme",
        "change-me",
        "changemechangeme",
        "change-me-change-me",
        "your-secret-key",
        "your-secret-key-here",
        "your-256-bit-secret",
        "super-secret-value",
        "secretsecretsecret",
        "secret",
        "password",
        "0123456789abcdef",
        "1234567890123456",
    }
)
"""Secrets of examples, in lower case, which operators forget to replace."""

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]


class JwtConfig(Section):
    """How minted JWTs are signed, and which claims they contain."""

    iss: NonEmptyStr = Field(description="the issuer claim")
    aud: NonEmptyStr | NonEmptyStrs | None = Field(
        default=None,
        description="the audience of minted JWTs (`aud`); in the JWTs only with `emit_aud`",
    )
    emit_aud: bool = Field(
        default=False, description="put `aud` into the JWTs; backends must then expect it"
    )
    profile: Literal["at+jwt"] | None = Field(
        default=None,
        description="`at+jwt`: minted JWTs follow the profile of OAuth access tokens (RFC 9068), "
        "with this value as `typ`; backends must accept it",
    )
    emit_claims: bool = Field(
        default=False,
        description="put the claims of the identity into the JWTs (`identity`), as policies know "
        "them: a sorted list of `key=value`",
    )
    exp: WholeSeconds = Field(
        default=3600, description="maximum lifetime of a minted JWT, in seconds"
    )
    warn_bytes: int = Field(
        default=8_192,
        ge=1_024,
        description="length of a minted JWT above which the log warns, once an hour for each user; "
        "many backends and proxies refuse larger headers",
    )
    alg: Algorithm = Field(default="HS256", description="the signature algorithm")
    secret: Secret | None = Field(default=None, description="the shared secret of HS256")
    allow_weak_secret: bool = Field(
        default=False, description="accept a secret that is a placeholder or below 16 bytes"
    )
    key: Secret | None = Field(
        default=None, description="the private key of RS256, ES256 or EdDSA, in PEM"
    )
    kid: NonEmptyStr | None = Field(
        default=None,
        description="the ID of the signing key (`kid`); its RFC 7638 thumbprint if not set",
    )
    previous_key_files: FilePaths = Field(
        default=(),
        strict=False,
        description="earlier signing keys (PEM, public or private) that are still published",
    )
    key_set_lifetime: WholeSeconds = Field(
        default=300,
        description="seconds for which backends may cache the published keys "
        "(`/.well-known/jwks.json`)",
    )
    sealing_key: Secret | None = Field(
        default=None,
        description="a secret of at least 32 bytes, under which the signing keys are sealed; with "
        "it the signing keys are in the token store, and shared by all gateways that use the store",
    )
    previous_sealing_key: Secret | None = Field(
        default=None,
        description="an earlier or a later `sealing_key`, which opens the signing keys in the "
        "token store, and never seals them",
    )
    rotation: WholeSeconds | None = Field(
        default=None,
        description="seconds after which the next signing key replaces the active one; if not "
        "set, only `authotron keys promote` replaces it; needs `sealing_key`",
    )
    key_spread: WholeSeconds = Field(
        default=60,
        description="seconds within which all gateways learn of a change of the signing keys in "
        "the token store; their clocks may differ by half of it",
    )

    @field_validator("aud", mode="before")
    @classmethod
    def _no_audience(cls, aud: object) -> object:
        """Treat an empty audience, which templates of configurations produce, as no audience."""
        return None if isinstance(aud, str) and not aud.strip() else aud

    @model_validator(mode="after")
    def _check_key(self) -> JwtConfig:
        if self.alg == "HS256":
            _check_secret(self.secret.get_secret_value() if self.secret else None, self)
        elif self.key is None and self.sealing_key is None:
            raise of_key("key_file", f"is missing; alg {self.alg} needs it")
        return self

    @model_validator(mode="after")
    def _check_audience(self) -> JwtConfig:
        if self.profile is not None and (self.aud is None or not self.emit_aud):
            why = "needs aud and emit_aud: true, because the claim aud is required (RFC 9068)"
            raise of_key("profile", why)
        return self

    @model_validator(mode="after")
    def _check_sealing_keys(self) -> JwtConfig:
        for key in ("sealing_key", "previous_sealing_key"):
            secret: Secret | None = getattr(self, key)
            if secret is not None and len(secret.get_secret_value().encode()) < RECOMMENDED:
                raise of_key(key, f"is shorter than {RECOMMENDED} bytes; use `{_GENERATE}`")
        if self.sealing_key is not None:
            if self.alg == "HS256":
                raise of_key("sealing_key", "needs jwt.alg ES256, RS256 or EdDSA, not HS256")
        elif self.rotation is not None:
            raise of_key("rotation", "needs jwt.sealing_key, which keeps keys in the token store")
        elif self.previous_sealing_key is not None:
            raise of_key("previous_sealing_key", "needs jwt.sealing_key")
        return self

    @model_validator(mode="after")
    def _check_rotation(self) -> JwtConfig:
        shortest = self.key_set_lifetime + self.key_spread
        if self.rotation is not None and self.rotation < shortest:
            why = (
                f"is shorter than {shortest} s, which is jwt.key_set_lifetime and jwt.key_spread "
                "together: a key must be published for so long before it signs"
            )
            raise of_key("rotation", why)
        return self

    @model_validator(mode="after")
    def _check_key_files(self) -> JwtConfig:
        found = map(unreadable, self.previous_key_files)
        require_none(("previous_key_files", why) for why in found if why)
        return self

    def warnings(self) -> tuple[str, ...]:
        """Return warnings about keys of this section that probably should be changed."""
        found = []
        if self.secret and len(self.secret.get_secret_value().encode()) < RECOMMENDED:
            found.append(f"jwt.secret: shorter than {RECOMMENDED} bytes (RFC 7518 section 3.2)")
        if self.aud is not None and not self.emit_aud:
            found.append(
                "jwt.aud: not put into JWTs; set jwt.emit_aud once all backends expect aud"
            )
        return tuple(found)


_GENERATE = "authotron generate-secret"

_BETTER = f"use `{_GENERATE}`, or accept a weak secret by jwt.allow_weak_secret: true"


def _check_secret(secret: str | None, config: JwtConfig) -> None:
    if secret is None:
        raise of_key("secret", "is missing; set it, or choose another value of jwt.alg")
    if config.allow_weak_secret:
        return
    if secret.lower() in PLACEHOLDERS:
        raise of_key("secret", f"is a well-known placeholder; {_BETTER}")
    if len(secret.encode()) < SHORTEST:
        raise of_key("secret", f"is shorter than {SHORTEST} bytes; {_BETTER}")


def _as_level(level: object) -> object:
    """
    Read a log level as auth-o-tron does: upper and lower case are equal, and surrounding blanks are
    ignored.
    """
    return level.strip().lower() if isinstance(level, str) else level


def _as_format(form: object) -> object:
    """Read a log format as auth-o-tron does: in any case; an unknown one counts as C{console}."""
    if not isinstance(form, str):
        return form
    return "json" if form.lower() == "json" else "console"


Level = Annotated[Literal["trace", "debug", "info", "warn", "error"], BeforeValidator(_as_level)]
"""The severities that a log event may have, from the lowest to the highest."""

Format = Annotated[Literal["console", "json"], BeforeValidator(_as_format)]
"""The format of a log line."""

Access = Literal["none", "failures", "all"]
"""The values of the key that selects which requests are logged."""


class LoggingConfig(Section):
    """The section `logging`: what is logged, and in which format."""

    level: Level = Field(default="info", description="the lowest severity that is logged")
    format: Format = Field(
        default="console",
        description="`console`: lines for people; `json`: OpenTelemetry-shaped JSON",
    )
    service_name: str = Field(
        default="authotron", description="the value of `service.name` in JSON log lines"
    )
    service_version: str = Field(
        default=__version__, description="the value of `service.version` in JSON log lines"
    )
    access: Access = Field(
        default="failures", description="which requests are logged: none, failures or all"
    )
    tried_names: bool = Field(
        default=False,
        description="whether the user names of refused requests are logged; people who type into "
        "the wrong field put passwords there",
    )


_DAY = 86_400


class TokensConfig(Section):
    """Lifetimes and limits of API tokens."""

    ttl: WholeSeconds = Field(
        default=90 * _DAY,
        description="lifetime in seconds of an API token for which no lifetime is requested",
    )
    max_ttl: WholeSeconds = Field(
        default=366 * _DAY, description="maximum lifetime of an API token, in seconds"
    )
    max_ttl_unchecked: WholeSeconds = Field(
        default=30 * _DAY,
        description="maximum lifetime of an API token, in seconds, if no provider can look up "
        "later whether its owner still exists",
    )
    jwt_exp: WholeSeconds = Field(
        default=300, description="maximum lifetime of a JWT minted for an API token, in seconds"
    )
    recheck: Seconds = Field(
        default=5,
        description="seconds after which an API token is looked up in the store again; for so long "
        "it may still be accepted after another process revoked it",
    )
    users: Seconds = Field(
        default=60, description="seconds for which the look-up of an owner is cached"
    )
    max_per_owner: int = Field(
        default=100,
        ge=1,
        description="maximum API tokens of one owner that were created over HTTP; imported ones "
        "and those created at a terminal are not counted",
    )
    exchange: ExchangeConfig | None = Field(
        default=None,
        description="how long exchanged tokens are valid; without this section no client can "
        "exchange its credential for a narrower token",
    )
    introspectors: Names = Field(
        default=(),
        strict=False,
        description="the roles that may introspect the tokens of all owners (`oauth`), and get the "
        "revocations of all in `GET /events`; other clients see only their own",
    )
    bound: BoundTokensConfig | None = Field(
        default=None,
        description="tokens that count only together with a proof: of a key (DPoP), or of the TLS "
        "certificate of the client",
    )
    delegates: dict[Name, Names] = Field(
        default_factory=dict,
        description="roles whose bearers may act in the name of users (RFC 8693), each with the "
        "realms of these users; without this key no identity may",
    )
    refresh: RefreshConfig | None = Field(
        default=None,
        description="how long refresh tokens are valid; without this section there are none",
    )


class IdentityConfig(Section):
    """
    The maximum size of an identity, by its numbers of roles, attributes and scopes and by its
    bytes. A client whose identity exceeds one of these limits gets a 403.
    """

    max_roles: int = Field(default=5_000, ge=1, description="maximum roles of one identity")
    max_attributes: int = Field(
        default=1_000, ge=1, description="maximum attributes of one identity"
    )
    max_scopes: int = Field(
        default=5_000, ge=1, description="maximum scopes of one identity, over all services"
    )
    max_bytes: int = Field(
        default=262_144,
        ge=1_024,
        description="maximum bytes of one identity: its names, roles, attributes and scopes in "
        "UTF-8",
    )


class CacheConfig(Section):
    """The cache of decisions."""

    ttl: Seconds = Field(
        default=60, description="seconds for which a decision is cached at most; 0: no cache"
    )
    size: int = Field(default=10_000, ge=1, description="maximum cached decisions")
    max_bytes: int = Field(
        default=64 * 2**20,
        ge=2**20,
        description="maximum bytes of the caches of one process: one half for decisions, the other "
        "for the results of providers and augmenters",
    )
    refusals: Seconds = Field(
        default=5, le=5, description="seconds for which a refusal is cached at most"
    )
    reuse: Seconds | None = Field(
        default=None,
        description="seconds for which a minted JWT is returned again instead of a new one; "
        "30 or a tenth of `jwt.exp` if not set",
    )


NEEDS_KEY_PAIR = (
    "needs a key pair, because with jwt.alg HS256 every backend that knows jwt.secret could forge "
    "tokens that the gateway accepts; choose jwt.alg ES256, EdDSA or RS256, and set jwt.key_file"
)
"""Why tokens that the gateway has signed are not accepted as credentials if C{jwt.alg} is HS256."""

MOST_MILLISECONDS = 3_600_000
"""The longest timeout: one hour, as proxies and clients do not wait for longer."""


def _at_most_an_hour(milliseconds: object) -> object:
    """Shorten a timeout of more than an hour to an hour."""
    is_long = type(milliseconds) is int and MOST_MILLISECONDS < milliseconds < 2**64
    return MOST_MILLISECONDS if is_long else milliseconds


Milliseconds = Annotated[int, Field(ge=0, le=MOST_MILLISECONDS), BeforeValidator(_at_most_an_hour)]


class Auth(Section):
    """The section `auth`: how providers and augmenters are called, and what is cached."""

    timeout_in_ms: Milliseconds = Field(
        default=5000, description="milliseconds that a call of a provider or augmenter may take"
    )
    prefer: Literal["first", "order"] = Field(
        default="first",
        description="which provider wins if several accept: `first` to answer, or first in the "
        "`order` of the configuration",
    )
    challenge_charset: bool = Field(
        default=False,
        description="whether Basic challenges say that names and passwords are UTF-8 (RFC 7617)",
    )
    challenge_order: Literal["configured", "basic-first"] = Field(
        default="configured",
        description="the order of the challenges: as `providers`, or Basic first, as browsers ask "
        "for a password only if the first challenge is Basic",
    )
    challenge_errors: bool = Field(
        default=False,
        description="whether Bearer challenges say `invalid_token` for a refused token, and "
        "`insufficient_scope`, with a 403, for a token that lacks a required scope (RFC 6750)",
    )
    cache: CacheConfig = Field(default_factory=CacheConfig, description="the cache of decisions")
    identity: IdentityConfig = Field(
        default_factory=IdentityConfig, description="the largest identity that is accepted"
    )


class Service(Section):
    """
    Scopes of a service in a file of auth-o-tron. The section is accepted for compatibility with
    auth-o-tron, and ignored.
    """

    name: str
    scopes: tuple[str, ...] = Field(default=(), strict=False)


class NoStore(Section):
    """A token store that is disabled; its other keys are ignored."""

    model_config = ConfigDict(extra="allow")

    enabled: Literal[False] = Field(default=False, description="whether API tokens can be used")


class File(Section):
    """A configuration file of version 2.0.0."""

    version: Literal["2.0.0"] = Field(description="the version of the format of this file")
    server: Server = Field(description="the main port, which answers the proxy")
    metrics: Operations = Field(
        default_factory=Operations, description="the second port, for metrics and readiness"
    )
    auth: Auth = Field(
        default_factory=Auth,
        description="how providers and augmenters are called, and what is cached",
    )
    jwt: JwtConfig = Field(description="how minted JWTs are signed, and what they contain")
    providers: list[Any] = Field(
        default_factory=list, repr=False, description="what verifies credentials"
    )
    augmenters: list[Any] = Field(
        default_factory=list,
        repr=False,
        description="the augmenters, which add roles and attributes",
    )
    store: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="the store of API tokens"
    )
    tokens: TokensConfig = Field(
        default_factory=TokensConfig, description="lifetimes and limits of API tokens"
    )
    policy: Any = Field(
        default=None,
        repr=False,
        description="which identities may make which requests; without this section all may make "
        "any request",
    )
    authorizer: Any = Field(
        default=None,
        repr=False,
        description="another service that must also allow each request, such as a policy decision "
        "point with the AuthZEN API",
    )
    revocation: RevocationConfig | None = Field(
        default=None,
        description="whether credentials can be revoked before they expire; needs a token store",
    )
    events: EventsConfig | None = Field(
        default=None,
        description="how clients learn of revocations, and which identity providers may revoke",
    )
    services: tuple[Service, ...] = Field(
        default=(), strict=False, description="accepted as in auth-o-tron, and ignored"
    )
    logging: LoggingConfig = Field(
        default_factory=LoggingConfig, description="what is logged, and in which format"
    )
    cors: Cors = Field(
        default_factory=Cors,
        description="web pages of other origins that may use the service (CORS), for the "
        "configuration of the proxy",
    )
    oauth: OAuthConfig | None = Field(
        default=None,
        description="the endpoints and metadata of OAuth 2.0; without this section there are none",
    )
    page: Page = Field(default_factory=Page, description="what the pages for people say")
    include_legacy_headers: bool = Field(
        default=False,
        description="also answer with X-Auth-Username, X-Auth-Realm and X-Auth-Roles, as with "
        "`server.answers.profile: legacy`",
    )

    @model_validator(mode="after")
    def _check_profile(self) -> File:
        profile = self.server.answers.profile
        if self.include_legacy_headers and profile not in (None, "legacy"):
            why = f"is true, but server.answers.profile is {profile}; remove one of them"
            raise of_key("include_legacy_headers", why)
        return self

    @model_validator(mode="after")
    def _check_number_of_keys(self) -> File:
        """Limit the number of keys that are published until the JWTs of earlier keys expire."""
        longest, rotation = self.longest_lifetime, self.jwt.rotation
        if rotation is not None and longest > rotation * MOST_ROTATIONS:
            why = (
                f"is shorter than a part in {MOST_ROTATIONS} of the longest lifetime of a JWT, "
                f"{longest} s (jwt.exp or tokens.exchange.max_validity), for which each key stays "
                "published"
            )
            raise of_key("jwt.rotation", why)
        return self

    @property
    def longest_lifetime(self) -> int:
        """The maximum lifetime of any JWT that the gateway signs, in seconds."""
        exchange = self.tokens.exchange
        return self.jwt.exp if exchange is None else max(self.jwt.exp, exchange.max_validity)

    @model_validator(mode="after")
    def _check_exchange(self) -> File:
        if self.tokens.exchange is not None and self.jwt.alg == "HS256":
            raise of_key("tokens.exchange", NEEDS_KEY_PAIR)
        if self.tokens.refresh is not None and self.tokens.exchange is None:
            why = "needs the section tokens.exchange, because refresh tokens yield exchanged tokens"
            raise of_key("tokens.refresh", why)
        if self.tokens.delegates and self.tokens.exchange is None:
            raise of_key("tokens.delegates", "needs the section tokens.exchange")
        return self

    @model_validator(mode="after")
    def _check_issuer(self) -> File:
        if self.oauth is not None and self.oauth.server:
            flaw = flaw_of_url(self.jwt.iss)
            if flaw is not None:
                why = f"{flaw}; the section oauth needs such an issuer, or server: false"
                raise of_key("jwt.iss", why)
        return self

    @property
    def profile(self) -> ProfileName:
        """The header profile for the proxies that have no header profile of their own."""
        return self.server.answers.profile or ("legacy" if self.include_legacy_headers else "jwt")
