"""The section C{server.answers}: how the answers of the gateway to proxies look."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from authotron.config.endpoint import PREFIXES
from authotron.config.problems import of_key, require_none
from authotron.config.section import HeaderName, Section
from authotron.model.header_templates import IDENTITY_HEADERS, Encoding, check_template

ProfileName = Literal["legacy", "remote-user", "auth-request", "jwt", "custom"]
"""The name of a header profile, which is a set of headers that name the user to backends."""

_MOST_CUSTOM = 32
"""Maximum number of headers of the profile C{custom}."""

_TAKEN = frozenset(
    {
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-location",
        "content-type",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "host",
        "keep-alive",
        "location",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "retry-after",
        "server",
        "set-cookie",
        "status",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "www-authenticate",
        "x-error-body",
        "x-error-status",
    }
)
"""Headers, in lower case, that have a meaning of their own and so cannot name an identity."""

_TAKEN_PREFIXES = ("x-envoy-", "x-accel-", "access-control-", "variable-", ":")
"""Prefixes, in lower case, of headers by which an answer controls a proxy."""

Template = Annotated[str, AfterValidator(check_template)]
"""The template of the value of a header."""


class ContractAnswers(Section):
    """The settings for the answers of the gateway to one proxy."""

    profile: ProfileName | None = Field(
        default=None, description="the headers that name an identity; `profile` of all if not set"
    )
    max_head_bytes: int | None = Field(
        default=None,
        ge=1_024,
        le=1_048_576,
        description="maximum bytes of the head of a 200, from the status line to the empty line; "
        "an identity that does not fit gets a 403. If not set, what the proxy accepts by default",
    )
    error_headers: bool = Field(
        default=False,
        description="answer every refusal with 401 or 403, and state its status and body in "
        "`X-Error-Status` and `X-Error-Body`, for proxies that pass on no other status (nginx)",
    )


class AnswersConfig(Section):
    """The settings for the answers of the gateway to all proxies."""

    profile: ProfileName | None = Field(
        default=None,
        description="the headers that name an identity beside `Authorization`; if not set, "
        "`legacy` with `include_legacy_headers`, else `jwt`",
    )
    custom: dict[HeaderName, Template] = Field(
        default_factory=dict,
        description="the headers of the profile `custom`: for each name a template with "
        "{username}, {realm}, {sub}, {roles}, {attributes.NAME}, {scopes.SERVICE} or {jwt}",
    )
    encoding: Encoding = Field(
        default="percent",
        description="how all profiles but `legacy` write what is not ASCII: percent-encoded, or "
        "as it is, in UTF-8",
    )
    path_header: HeaderName | None = Field(
        default=None,
        description="the header of a 200 that states the path on which the answer is based, for "
        "backends that compare it with their own; a request whose path cannot be used gets a 400",
    )
    contracts: dict[str, ContractAnswers] = Field(
        default_factory=dict,
        description="for some proxies other answers: by the name of the contract, or `fastcgi` or "
        "`grpc`",
    )

    @field_validator("custom")
    @classmethod
    def _checked_names(cls, custom: Mapping[str, str]) -> Mapping[str, str]:
        require_none(_problems_of_names(custom))
        return custom

    @model_validator(mode="after")
    def _check_path_header(self) -> AnswersConfig:
        name = self.path_header
        if name is not None:
            names = [*IDENTITY_HEADERS, *self.custom]
            if name.lower() in map(str.lower, names):
                raise of_key("path_header", "is an identity header; choose another name")
            require_none(("path_header", why) for _, why in _problems_of_names([name]))
        return self

    @model_validator(mode="after")
    def _check_custom(self) -> AnswersConfig:
        used = "custom" in self.profiles
        if used and not self.custom:
            raise of_key("custom", "is missing; the profile custom needs it")
        if self.custom and not used:
            raise of_key("custom", "is used by no proxy; set profile: custom")
        for name in PREFIXES:
            if name in self.contracts and self.contracts[name].error_headers:
                why = f"has no effect for {name}, which passes on every status"
                raise of_key(f"contracts.{name}.error_headers", why)
        return self

    @property
    def profiles(self) -> set[ProfileName]:
        """The header profiles that the section C{server.answers} names."""
        named = (self.profile, *(each.profile for each in self.contracts.values()))
        return {each for each in named if each is not None}

    def of_contract(self, name: str) -> ContractAnswers:
        """Return the settings for the answers to the proxy with a given contract."""
        return self.contracts.get(name) or ContractAnswers()


def _problems_of_names(custom: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the problems of the names of custom headers."""
    if len(custom) > _MOST_CUSTOM:
        yield "", f"has more than {_MOST_CUSTOM} headers"
    seen: dict[str, str] = {}
    for name in custom:
        lower_case = name.lower().replace("_", "-")
        first = seen.setdefault(lower_case, name)
        if first != name:
            yield name, f"is the same header as {first} to many backends; remove one"
        elif "_" in name:
            yield name, "has an underscore; nginx drops such headers, so write hyphens"
        elif lower_case in _TAKEN or lower_case.startswith(_TAKEN_PREFIXES):
            yield name, "has a meaning of its own in answers; choose another name"
