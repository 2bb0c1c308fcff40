"""The sections C{server} and C{metrics}: sockets, trusted proxies and limits of connections."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from twisted.internet.endpoints import serverFromString

from authotron.config.answers import AnswersConfig
from authotron.config.endpoint import HTTP, missing_packages, protocol_of, without_protocol
from authotron.config.problems import of_key
from authotron.config.section import HeaderName, NonEmptyStr, Port, Seconds, Section
from authotron.model import hosts
from authotron.model.hosts import check_network, check_proxy

METRICS_PORT = 9090
"""The port of metrics and readiness, unless another is configured."""

SYSTEMD = "systemd"
"""The value of C{listen} for the sockets that systemd opens for this service."""

Network = Annotated[NonEmptyStr, AfterValidator(check_network)]
"""A network in the notation of RFC 4632, such as C{10.0.0.0/8}."""

Networks = Annotated[tuple[Network, ...], Field(strict=False)]

Proxy = Annotated[NonEmptyStr, AfterValidator(check_proxy)]
"""A network, or C{unix} for proxies that connect to a UNIX socket."""

Proxies = Annotated[tuple[Proxy, ...], Field(strict=False)]

_INTERFACES = Path("/proc/self/net/if_inet6")
"""
A file that lists the IPv6 addresses of this machine; it is empty or missing if there
are none.
"""

_EVERY_IPV4 = "0.0.0.0"  # noqa: S104 - as documented

_NEARLY_ALL = 3 / 4
"""
If C{trusted_proxies} contains this share of all addresses or more, the configuration is rejected,
unless C{insecure} is set.
"""

VERY_MANY = 1 / 4
"""The share of all addresses in C{trusted_proxies} from which on a warning is given."""

_SOCKETS = ("tcp:", "tcp6:", "unix:")
"""The kinds of endpoints that are plain sockets, which several workers can share."""

Workers = Annotated[int, Field(ge=1, le=256)] | Literal["auto"]


def _endpoint(text: str) -> str:
    """Check that a string is C{systemd} or an endpoint of Twisted; nothing is opened."""
    if text == SYSTEMD:
        return text
    # The check also rejects the null byte of an abstract UNIX socket, which has no file and so no
    # mode.
    if not text.isprintable():
        raise ValueError("has a character that is not printable")
    try:
        serverFromString(object(), text)
    except (ValueError, TypeError):
        raise ValueError(
            "is not an endpoint that Twisted knows, such as unix:/run/a.sock"
        ) from None
    except (LookupError, OSError):
        pass  # The endpoint string is valid, but names a file or a socket that does not exist now.
    except Exception:  # noqa: BLE001 - OpenSSL raises errors of its own for other file contents
        why = "names a file that does not contain a certificate and its key (PEM)"
        raise ValueError(why) from None
    kind, _, rest = text.partition(":")
    port = re.search(r"(?:^|:port=)([0-9]+)(?=:|$)", rest)
    if kind in _WITH_PORT and port is not None and int(port[1]) > _HIGHEST_PORT:
        raise ValueError(f"names a port above {_HIGHEST_PORT}")
    return text


_WITH_PORT = ("tcp", "tcp6", "ssl", "tls")
_HIGHEST_PORT = 65_535


def _endpoint_of_any_protocol(text: str) -> str:
    """Check an endpoint string that may begin with a protocol, as in C{fastcgi:tcp:9001}."""
    rest = without_protocol(text)
    if rest == text:
        return _endpoint(text)
    if rest == SYSTEMD or rest != without_protocol(rest):
        raise ValueError(
            f"needs an endpoint of Twisted behind {protocol_of(text)}:, such as "
            f"{protocol_of(text)}:unix:/run/a.sock"
        )
    _endpoint(rest)
    if missing := missing_packages(protocol_of(text)):
        extra = f"authotron[{protocol_of(text)}]"
        raise ValueError(
            f"needs the Python packages {' and '.join(missing)}, which are not installed; they "
            f"belong to the extra {extra} (pip install '{extra}')"
        )
    return text


EndpointsOrSystemd = Annotated[
    tuple[Annotated[NonEmptyStr, AfterValidator(_endpoint)], ...], Field(strict=False)
]

EndpointsOfAnyProtocol = Annotated[
    tuple[Annotated[NonEmptyStr, AfterValidator(_endpoint_of_any_protocol)], ...],
    Field(strict=False),
]


def _is_ipv6_only() -> bool:
    """
    Return whether IPv6 sockets of this machine do not accept IPv4, by C{bindv6only}
    (ipv6(7)).
    """
    with socket.socket(socket.AF_INET6) as unused:
        return bool(unused.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


def every_address(
    interfaces: Path = _INTERFACES, is_ipv6_only: Callable[[], bool] = _is_ipv6_only
) -> str:
    """
    Return the address by which a socket listens on every address of this machine.

    A socket at C{::} accepts IPv4, too, unless the machine has no IPv6 address or its IPv6 sockets
    do not accept IPv4.
    """
    try:
        is_shared = bool(interfaces.read_text()) and not is_ipv6_only()
    except OSError:
        return _EVERY_IPV4
    return "::" if is_shared else _EVERY_IPV4


class Forwarded(Section):
    """The headers in which trusted proxies forward the host and the client's address."""

    host: HeaderName = Field(
        default="X-Forwarded-Host",
        description="the header with the host; `Forwarded` to read its parameter `host` (RFC 7239)",
    )
    address: HeaderName = Field(
        default="X-Forwarded-For",
        description="the header with the addresses of the client and of the proxies in between; "
        "`Forwarded` to read its parameter `for` (RFC 7239)",
    )


class Server(Section):
    """The section `server`, about the main port: sockets, workers, limits and trusted proxies."""

    host: str = Field(
        default_factory=every_address,
        description="the address to bind; every address if not set: `::` if the machine has IPv6 "
        "and its IPv6 sockets accept IPv4, too, else `0.0.0.0`",
    )
    port: Port | None = Field(default=None, description="the port to listen on")
    listen: EndpointsOfAnyProtocol = Field(
        default=(),
        strict=False,
        description="Twisted endpoint strings instead of host and port, such as "
        "`unix:/run/a.sock`; `systemd` for the sockets that systemd opens; `fastcgi:` before an "
        "endpoint for Apache, `grpc:` for Envoy, to which only `trusted_proxies` may connect",
    )
    workers: Workers = Field(
        default=1,
        description="number of worker processes; `auto`: one for each processor that the service "
        "may use",
    )
    idle_timeout: Seconds = Field(
        default=60, gt=0, description="seconds after which an idle or slow client is disconnected"
    )
    grace: Seconds = Field(
        default=10, description="seconds for which requests in flight may continue on shutdown"
    )
    max_header_bytes: int = Field(
        default=65_536,
        ge=1_024,
        le=1_048_576,
        description="maximum bytes of a request line and of a request head; a longer line gets "
        "a 414, a larger head a 431",
    )
    max_unfinished_bytes: int = Field(
        default=16_777_216,
        ge=1_048_576,
        le=1_073_741_824,
        description="maximum bytes of partly received request heads in a process; one peer that is "
        "not a trusted proxy may take a quarter; if exceeded, the client gets a 503",
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="maximum open connections; a further one gets a 503; if not set, as many as "
        "the process may have open files",
    )
    trusted_proxies: Proxies = Field(
        default=("127.0.0.0/8", "::1/128", hosts.UNIX),
        strict=False,
        description="networks of proxies whose forwarded host and client address are trusted, and "
        "`unix` for peers at a UNIX socket",
    )
    forwarded: Forwarded = Field(
        default_factory=Forwarded,
        description="the headers in which trusted proxies forward host and client address",
    )
    contracts: tuple[Any, ...] | None = Field(
        default=None,
        strict=False,
        description="the proxies that may ask: names such as `traefik`, or sections with the "
        "`type` of the proxy; every proxy with a contract if not set",
    )
    answers: AnswersConfig = Field(
        default_factory=AnswersConfig, description="how the answers to proxies look"
    )
    insecure: bool = Field(
        default=False, description="accept that `trusted_proxies` contains nearly all addresses"
    )

    _checked_host = field_validator("host")(hosts.check_bind_host)

    @model_validator(mode="after")
    def _check_sockets(self) -> Server:
        if self.port is None and not self.listen:
            raise of_key("port", "is missing (or listen)")
        if self.port is not None and any(protocol_of(each) == HTTP for each in self.listen):
            raise of_key("listen", "give port or listen, not both")
        share = hosts.share_of_addresses(self.trusted_proxies)
        if share >= _NEARLY_ALL and not self.insecure:
            raise of_key(
                "trusted_proxies",
                f"contains {share:.0%} of all addresses, so clients could claim any host and "
                "address; set insecure if that is intended",
            )
        for text in self.listen if self.processes > 1 else ():
            endpoint = without_protocol(text)
            if endpoint != SYSTEMD and not endpoint.startswith(_SOCKETS):
                kind = endpoint.partition(":")[0]
                raise of_key("listen", f"several workers cannot share an endpoint of type {kind}")
        return self

    @property
    def processes(self) -> int:
        """The number of worker processes."""
        if self.workers == "auto":
            return min(len(os.sched_getaffinity(0)), 256)
        return self.workers


class Operations(Section):
    """The section `metrics`: the second port, which serves metrics and readiness."""

    enabled: bool = Field(default=True, description="whether the metrics port is opened")
    host: str | None = Field(
        default=None, description="the address to bind; `server.host` if not set"
    )
    port: int = Field(
        default=METRICS_PORT,
        ge=0,
        le=65535,
        description="the port to listen on; 0 only if the metrics port is not opened",
    )
    listen: EndpointsOrSystemd = Field(
        default=(),
        strict=False,
        description="Twisted endpoint strings instead of host and port; `systemd` for the socket "
        "that systemd opens under the name `metrics`",
    )
    max_connections: int = Field(
        default=64,
        ge=1,
        description="maximum open connections, at most an eighth of the files that the process may "
        "have open; a further one gets a 503, unless an unused one can be closed",
    )

    @model_validator(mode="after")
    def _check_port(self) -> Operations:
        if self.enabled and self.port == 0 and not self.listen:
            raise of_key("port", "must be at least 1")
        return self

    @field_validator("host")
    @classmethod
    def _checked_host(cls, host: str | None) -> str | None:
        return host if host is None else hosts.check_bind_host(host)
