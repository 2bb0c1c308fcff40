"""What may stand in a configuration file, section by section."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from twisted.internet.endpoints import serverFromString

from authotron import __version__
from authotron.config.section import (
    NonEmptyStr,
    NonEmptyStrs,
    Port,
    Seconds,
    Secret,
    Section,
    WholeSeconds,
)
from authotron.model import hosts
from authotron.model.hosts import checked_network, checked_proxy

SYSTEMD = "systemd"
"""In a configuration: the sockets that systemd holds for this service."""


SHORTEST = 16


RECOMMENDED = 32


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
"""What people forget to replace, in lower case."""


class JwtConfig(Section):
    """How the minted tokens are signed and what is in them."""

    iss: NonEmptyStr = Field(description="the issuer claim")
    aud: NonEmptyStr | NonEmptyStrs | None = Field(
        default=None, description="the audience; minted only with `emit_aud`"
    )
    emit_aud: bool = Field(
        default=False, description="put `aud` into the tokens; consumers must then expect it"
    )
    exp: WholeSeconds = Field(default=3600, description="the longest life of a token")
    alg: Algorithm = Field(default="HS256", description="the signature algorithm")
    secret: Secret | None = Field(default=None, description="the shared secret of HS256")
    allow_weak_secret: bool = Field(
        default=False, description="accept a secret that is a placeholder or below 16 bytes"
    )
    key_file: NonEmptyStr | None = Field(
        default=None, description="the private key of RS256, ES256 or EdDSA, in PEM"
    )
    kid: NonEmptyStr | None = Field(
        default=None, description="the name of the key; its RFC 7638 thumbprint if not set"
    )
    previous_key_files: NonEmptyStrs = Field(
        default=(),
        strict=False,
        description="earlier keys (PEM, public or private) still published",
    )

    @field_validator("aud", mode="before")
    @classmethod
    def _no_audience(cls, aud: object) -> object:
        """Take an empty audience, as a template leaves it, for none."""
        return None if aud == "" else aud

    @model_validator(mode="after")
    def _one_key(self) -> JwtConfig:
        if self.alg == "HS256":
            _check_secret(self.secret.get_secret_value() if self.secret else None, self)
        elif self.key_file is None:
            raise ValueError(f"alg {self.alg} needs key_file")
        return self

    def warnings(self) -> tuple[str, ...]:
        """What an operator should hear about."""
        found = []
        if self.secret and len(self.secret.get_secret_value().encode()) < RECOMMENDED:
            found.append(f"jwt.secret: shorter than {RECOMMENDED} bytes (RFC 7518 section 3.2)")
        if self.aud is not None and not self.emit_aud:
            found.append("jwt.aud: not minted; set jwt.emit_aud once all consumers expect it")
        return tuple(found)


def _check_secret(secret: str | None, config: JwtConfig) -> None:
    if secret is None:
        raise ValueError("secret is missing (or choose another alg)")
    if config.allow_weak_secret:
        return
    if secret.lower() in PLACEHOLDERS:
        raise ValueError("secret is a well-known placeholder; try `authotron generate-secret`")
    if len(secret.encode()) < SHORTEST:
        raise ValueError(
            f"secret is shorter than {SHORTEST} bytes; try `authotron generate-secret`"
        )


Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]


Network = Annotated[NonEmptyStr, AfterValidator(checked_network)]


Networks = Annotated[tuple[Network, ...], Field(strict=False)]
"""Networks in the notation of RFC 4632."""


Proxy = Annotated[NonEmptyStr, AfterValidator(checked_proxy)]


Proxies = Annotated[tuple[Proxy, ...], Field(strict=False)]
"""Networks, and C{unix} for peers at a UNIX socket."""


_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"


Header = Annotated[str, Field(pattern=_HEADER, max_length=256)]


class Forwarded(Section):
    """The headers in which trusted proxies name what they were asked for, and by whom."""

    host: Header = Field(default="X-Forwarded-Host", description="the header with the host")
    address: Header = Field(
        default="X-Forwarded-For", description="the header with the addresses on the way"
    )


Level = Literal["trace", "debug", "info", "warn", "error"]


Access = Literal["none", "failures", "all"]


class LoggingConfig(Section):
    """What is logged, and how."""

    level: Level = Field(default="info", description="the least important level that is written")
    format: Literal["console", "json"] = Field(
        default="console", description="lines for people, or OpenTelemetry-shaped JSON"
    )
    service_name: str = Field(default="authotron", description="`service.name` of JSON lines")
    service_version: str = Field(default=__version__, description="`service.version` of JSON lines")
    access: Access = Field(
        default="failures", description="which requests are logged: none, failures or all"
    )


_DAY = 86_400


class TokensConfig(Section):
    """How long tokens of our own live, and how long is believed what is known of them."""

    ttl: WholeSeconds = Field(
        default=90 * _DAY, description="the life of a token whose maker does not say"
    )
    max_ttl: WholeSeconds = Field(default=366 * _DAY, description="the longest life of a token")
    max_ttl_unchecked: WholeSeconds = Field(
        default=30 * _DAY,
        description="the longest life of a token whose owner's provider cannot say later whether "
        "the user is still known",
    )
    jwt_exp: WholeSeconds = Field(
        default=300, description="the longest life of a JWT minted for such a token"
    )
    recheck: Seconds = Field(
        default=5,
        description="seconds after which the store is asked again; so long may a token live on "
        "that was revoked by another process",
    )
    users: Seconds = Field(
        default=60, description="seconds a provider's word that a user is known is believed"
    )
    max_per_owner: int = Field(
        default=100,
        ge=1,
        description="tokens made over HTTP that one owner may have; imported ones and those made "
        "at a terminal are not counted",
    )


class IdentityConfig(Section):
    """How large an identity may be. A larger one gets a 403."""

    max_roles: int = Field(default=5_000, ge=1, description="roles of one identity")
    max_attributes: int = Field(default=1_000, ge=1, description="attributes of one identity")
    max_scopes: int = Field(
        default=5_000, ge=1, description="scopes of one identity, over all services"
    )
    max_bytes: int = Field(
        default=262_144,
        ge=1_024,
        description="bytes of one identity: its names, roles, attributes and scopes in UTF-8",
    )


class CacheConfig(Section):
    """How long verdicts are remembered."""

    ttl: Seconds = Field(default=60, description="seconds a verdict lives at most; 0: no cache")
    size: int = Field(default=10_000, ge=1, description="verdicts remembered at most")
    max_bytes: int = Field(
        default=64 * 2**20,
        ge=2**20,
        description="bytes that the memories of one process take at most: one half for verdicts, "
        "the other for the answers that providers and augmenters got",
    )
    refusals: Seconds = Field(default=5, le=5, description="seconds a refusal is repeated")
    reuse: Seconds | None = Field(
        default=None,
        description="seconds one minted token is handed out; 30 or a tenth of `jwt.exp`",
    )


Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]


def _host(text: str) -> str:
    """An address, or a name that could be one."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        label = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
        if not re.fullmatch(rf"{label}(\.{label})*\.?", text):
            raise ValueError("is no host: neither an IP address nor a name") from None
    return text


def _endpoint(text: str) -> str:
    """A description that Twisted can read; its reactor is asked for nothing yet."""
    if (
        not text.isprintable()
    ):  # such as the null byte of a socket without a file, and so without a mode
        raise ValueError("has a character that is not printable")
    try:
        serverFromString(object(), text)
    except (ValueError, TypeError):
        raise ValueError("is no endpoint that Twisted knows, such as unix:/run/a.sock") from None
    except (LookupError, OSError):
        return text  # of files or sockets that are not here now
    return text


def _endpoint_or_systemd(text: str) -> str:
    return text if text == SYSTEMD else _endpoint(text)


EndpointsOrSystemd = Annotated[
    tuple[Annotated[NonEmptyStr, AfterValidator(_endpoint_or_systemd)], ...], Field(strict=False)
]
Workers = Annotated[int, Field(ge=1, le=256)] | Literal["auto"]

_NEARLY_ALL, VERY_MANY = 3 / 4, 1 / 4
"""Shares of all addresses that are refused, and warned of, as trusted proxies."""

_SOCKETS = ("tcp:", "tcp6:", "unix:")
"""The kinds of endpoints that are a socket and nothing else."""


class Server(Section):
    """Where the gateway is served."""

    host: str = Field(default="0.0.0.0", description="the address to bind")  # noqa: S104 - as documented
    port: Port | None = Field(default=None, description="the port to listen on")
    listen: EndpointsOrSystemd = Field(
        default=(),
        strict=False,
        description="Twisted endpoint strings instead of host and port, such as "
        "`unix:/run/a.sock`; `systemd` for the sockets that systemd holds",
    )
    workers: Workers = Field(
        default=1,
        description="processes that serve; `auto`: as many as processors may be used",
    )
    idle_timeout: Seconds = Field(
        default=60, gt=0, description="seconds after which an idle or slow client is disconnected"
    )
    grace: Seconds = Field(
        default=10, description="seconds that requests in flight may take when stopping"
    )
    max_header_bytes: int = Field(
        default=16_384, ge=1_024, le=1_048_576, description="a larger header block gets a 431"
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="a further one gets a 503; as many as the process may have open if not set",
    )
    trusted_proxies: Proxies = Field(
        default=("127.0.0.0/8", "::1/128", hosts.UNIX),
        strict=False,
        description="networks of proxies whose word about the client is believed, and `unix` for "
        "peers at a UNIX socket",
    )
    forwarded: Forwarded = Field(
        default_factory=Forwarded, description="the headers in which they say it"
    )
    insecure: bool = Field(
        default=False, description="accept that `trusted_proxies` contains nearly all addresses"
    )

    _checked_host = field_validator("host")(_host)

    @model_validator(mode="after")
    def _somewhere(self) -> Server:
        if self.port is None and not self.listen:
            raise ValueError("port is missing (or listen)")
        if self.port is not None and self.listen:
            raise ValueError("give port or listen, not both")
        share = hosts.share_of_addresses(self.trusted_proxies)
        if share >= _NEARLY_ALL and not self.insecure:
            raise ValueError(
                f"trusted_proxies contains {share:.0%} of all addresses, so clients could claim "
                "any host and address; set insecure if that is meant"
            )
        for text in self.listen if self.processes > 1 else ():
            if text != SYSTEMD and not text.startswith(_SOCKETS):
                raise ValueError(
                    f"several workers cannot share {text.partition(':')[0]}: in listen"
                )
        return self

    @property
    def processes(self) -> int:
        """How many processes serve."""
        if self.workers == "auto":
            return min(len(os.sched_getaffinity(0)), 256)
        return self.workers


class Operations(Section):
    """Where metrics and readiness are served."""

    enabled: bool = Field(default=True, description="whether the second port is served")
    host: str | None = Field(
        default=None, description="the address to bind; `server.host` if not set"
    )
    port: Port = Field(default=9090, description="the port to listen on")
    listen: EndpointsOrSystemd = Field(
        default=(),
        strict=False,
        description="Twisted endpoint strings instead of host and port; `systemd` for the socket "
        "that systemd holds under the name `metrics`",
    )
    max_connections: int = Field(
        default=64,
        ge=1,
        description="a further one gets a 503, unless an unused one can be closed; at most an "
        "eighth of the files that the process may have open",
    )

    @field_validator("host")
    @classmethod
    def _checked_host(cls, host: str | None) -> str | None:
        return host if host is None else _host(host)


class Auth(Section):
    """How providers are asked."""

    timeout_in_ms: Milliseconds = Field(
        default=5000, description="milliseconds a provider or augmenter may take"
    )
    prefer: Literal["first", "order"] = Field(
        default="first",
        description="which of several good answers counts: the first to come, or that of the "
        "provider that is configured first",
    )
    cache: CacheConfig = Field(default_factory=CacheConfig, description="remembered verdicts")
    identity: IdentityConfig = Field(
        default_factory=IdentityConfig, description="how large an identity may be"
    )


class Service(Section):
    """A service and its scopes. Accepted for compatibility; nothing reads it yet."""

    name: NonEmptyStr
    scopes: NonEmptyStrs = Field(default=(), strict=False)


class NoStore(Section):
    """A store that is switched off; nothing else in it matters."""

    model_config = ConfigDict(extra="allow")

    enabled: Literal[False] = Field(default=False, description="whether there are tokens of ours")


class File(Section):
    """A configuration file of version 2.0.0."""

    version: Literal["2.0.0"] = Field(description="the format of this file")
    server: Server = Field(description="where the gateway is served")
    metrics: Operations = Field(default_factory=Operations, description="where metrics are served")
    auth: Auth = Field(default_factory=Auth, description="how providers are asked")
    jwt: JwtConfig = Field(description="the tokens that are minted")
    providers: list[Any] = Field(
        default_factory=list, repr=False, description="who judges credentials"
    )
    augmenters: list[Any] = Field(
        default_factory=list, repr=False, description="who adds roles and attributes"
    )
    store: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="where tokens of our own are kept"
    )
    tokens: TokensConfig = Field(
        default_factory=TokensConfig, description="how long tokens of our own live"
    )
    services: tuple[Service, ...] = Field(
        default=(), strict=False, description="accepted for compatibility"
    )
    logging: LoggingConfig = Field(
        default_factory=LoggingConfig, description="what is logged, and how"
    )
    include_legacy_headers: bool = Field(
        default=False, description="answer with X-Auth-Username, X-Auth-Realm and X-Auth-Roles, too"
    )

    @model_validator(mode="after")
    def _two_ports(self) -> File:
        if (
            self.metrics.enabled
            and not self.metrics.listen
            and self.server.port == self.metrics.port
        ):
            raise ValueError(f"server.port and metrics.port are the same port, {self.server.port}")
        return self
