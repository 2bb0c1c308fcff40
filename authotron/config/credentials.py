"""The key C{credentials}: in which part of a request clients present a credential."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from authotron.config.section import Section
from authotron.model.carriers import CERTIFICATE, Carrier

AUTHORIZATION = "authorization"
"""
The header, in lower case, in which a credential is looked for if no other part of a request is
configured.
"""

_RESERVED = frozenset(
    {
        *("connection", "content-length", "content-type", "cookie", "date", "expect", "forwarded"),
        *("host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "via"),
        *(
            "x-auth-realm",
            "x-auth-roles",
            "x-auth-username",
            "x-request-id",
            "x-real-ip",
            "traceparent",
            "tracestate",
        ),
    }
)
"""Headers, in lower case, that have another meaning and so cannot carry a credential."""

_RESERVED_PREFIXES = ("x-forwarded-", "x-original-", "x-authotron-", "x-envoy-")

_SAFE_COOKIES = ("__Host-", "__Secure-", "__Http-", "__Host-Http-")
"""Prefixes of cookies that browsers accept only by TLS (RFC 6265bis section 4.1.3)."""


def _header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,256}", name):
        raise ValueError(
            "must consist of letters, digits and hyphens, because proxies drop or rename others"
        )
    lower_case = name.lower()
    if lower_case in _RESERVED or lower_case.startswith(_RESERVED_PREFIXES):
        raise ValueError("has another meaning; choose another header")
    return name


def _word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", text):
        raise ValueError("must be one word, such as Bearer")
    return text


def _cookie(name: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", name):
        raise ValueError("is not the name of a cookie")
    return name


def _parameter(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~-]{1,256}", name):
        raise ValueError("must consist of letters, digits and the characters . _ ~ -")
    return name


class CarrierConfig(Section):
    """A part of a request that carries a credential: exactly one of the keys but `scheme`."""

    header: Annotated[str, AfterValidator(_header)] | None = Field(
        default=None, description="a header; `Authorization` is the usual one"
    )
    scheme: Annotated[str, AfterValidator(_word)] | None = Field(
        default=None,
        description="the word with which the value of `header` begins, such as Bearer; without it "
        "the whole value is the credential",
    )
    cookie: Annotated[str, AfterValidator(_cookie)] | None = Field(
        default=None, description="a cookie, which counts only for requests behind a proxy"
    )
    basic: Literal["username", "password"] | None = Field(
        default=None, description="the user name or the password of a Basic credential"
    )
    query: Annotated[str, AfterValidator(_parameter)] | None = Field(
        default=None,
        description="a parameter of the query of the client's request, as the proxy states it; "
        "unsafe, because URLs are logged",
    )

    @model_validator(mode="after")
    def _check_one(self) -> CarrierConfig:
        given = [each for each in (self.header, self.cookie, self.basic, self.query) if each]
        if len(given) != 1:
            raise ValueError("must have exactly one of header, cookie, basic and query")
        if self.scheme and (self.header is None or self.is_authorization):
            raise ValueError("scheme belongs to a header other than Authorization")
        return self

    @property
    def is_authorization(self) -> bool:
        """Whether the credential is in the header C{Authorization}, as is usual."""
        return (self.header or "").lower() == AUTHORIZATION

    @property
    def carrier(self) -> Carrier | None:
        """
        The part of a request that carries the credential, or C{None} for the header
        C{Authorization}.
        """
        if self.is_authorization:
            return None
        if self.header is not None:
            return Carrier("header", self.header.lower(), (self.scheme or "").lower())
        if self.cookie is not None:
            return Carrier("cookie", self.cookie)
        if self.query is not None:
            return Carrier("query", self.query)
        assert self.basic is not None
        return Carrier("basic", self.basic)

    def warnings(self) -> Iterator[str]:
        """Yield the warnings about others than the client who may read, or set, the credential."""
        if self.query is not None:
            yield (
                f"query {self.query}: URLs are written to logs and histories and sent to other "
                "sites, and so is the credential; use a header unless clients cannot set one"
            )
        if self.cookie is not None and not self.cookie.startswith(_SAFE_COOKIES):
            yield (
                f"cookie {self.cookie}: browsers accept it from other hosts of the domain and "
                f"without TLS; name it __Host-{self.cookie}"
            )


def _as_list(given: object) -> object:
    if given == []:
        raise ValueError("must not be empty")
    return [given] if isinstance(given, dict) else given


Carriers = Annotated[
    tuple[CarrierConfig, ...],
    Field(strict=False),
    BeforeValidator(_as_list, json_schema_input_type=CarrierConfig | list[CarrierConfig]),
]
"""
The value of the key C{credentials}: one part of a request, or several, each of which clients may
use.
"""


def carriers(given: Sequence[CarrierConfig] | None) -> Sequence[Carrier | None]:
    """
    Return the parts of a request that carry credentials, each part once, with C{None} for the
    header C{Authorization}.
    """
    return tuple(dict.fromkeys(each.carrier for each in given or ())) or (None,)


def looked_at(section: object) -> Sequence[Carrier | None]:
    """
    Return the parts of a request in which the provider or token store of a configuration section
    looks for credentials; the value C{None} stands for the header C{Authorization}.
    """
    if reads_certificates(section):
        return (CERTIFICATE,)
    # The Config of a plugin in another package may derive from PluginConfig, which lacks the key
    # C{credentials}.
    return carriers(getattr(section, "credentials", None))


def reads_certificates(section: object) -> bool:
    """
    Return whether the provider of a configuration section verifies the TLS certificates
    of clients.
    """
    return bool(getattr(section, "reads_certificates", False))


def warnings(given: Sequence[CarrierConfig] | None) -> Iterator[str]:
    """Yield the warnings about the key C{credentials} of a section."""
    for each in given or ():
        yield from each.warnings()
