"""The section C{events}: how clients learn of revocations, and which services may revoke."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from authotron.config.problems import of_key
from authotron.config.section import (
    FilePath,
    NonEmptyStr,
    NonEmptyStrs,
    Seconds,
    Secret,
    Section,
    WholeSeconds,
)

SubjectFormat = Literal["account", "email", "iss_sub", "opaque", "phone_number", "did", "uri"]
"""The formats of subject identifiers (RFC 9493) that name one user."""

_USUAL_USERS: dict[SubjectFormat, str] = {"iss_sub": "username"}


def _https(text: str) -> str:
    """
    Check the URL of another service.

    @raise ValueError: the string is not an http or https URL, or has a user, a query or a fragment.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not a URL that begins with https://")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must not have a user, a query or a fragment")
    return text


HttpsUrl = Annotated[NonEmptyStr, AfterValidator(_https)]
"""The URL of a service, without user, query and fragment."""


class StatusListConfig(Section):
    """The Token Status List, in which backends look up whether a minted JWT still counts."""

    url: HttpsUrl = Field(
        description="the URL of the gateway for backends, such as `https://auth.example.org`; the "
        "lists are below it, at `/statuslists`"
    )
    ttl: WholeSeconds = Field(
        default=60, description="seconds for which a backend may use a list before it fetches anew"
    )
    size: int = Field(
        default=16_384,
        ge=1_024,
        le=262_144,
        description="number of credentials in one list, and so the most that a process keeps",
    )


class Polling(Section):
    """Where the gateway fetches security events from, if the identity provider does not push."""

    url: HttpsUrl = Field(description="the poll endpoint of the stream (RFC 8936)")
    token: Secret | None = Field(
        default=None, description="the bearer token for requests to the poll endpoint"
    )
    interval: Seconds = Field(
        default=5, ge=1, le=3600, description="seconds between two polls of an empty stream"
    )


class TransmitterConfig(Section):
    """One identity provider whose security events and logout tokens revoke credentials."""

    provider: NonEmptyStr = Field(
        description="the name of the provider, of type `jwt`, whose users the events are about; "
        "issuer, key set and realm are those of this provider"
    )
    audience: NonEmptyStrs = Field(
        min_length=1, description="the audiences, one of which an event must name in `aud`"
    )
    issuer: NonEmptyStr | None = Field(
        default=None, description="the `iss` of events, if it is not that of the provider"
    )
    jwks_uri: HttpsUrl | None = Field(
        default=None,
        description="the URL of the keys that sign events, if they are not those of the provider",
    )
    jwks_file: FilePath | None = Field(
        default=None, description="a file with the keys that sign events, instead of `jwks_uri`"
    )
    authorization: Secret | None = Field(
        default=None,
        description="the value that the header `Authorization` of pushed events must have, as "
        "agreed with the identity provider",
    )
    users: dict[SubjectFormat, NonEmptyStr] = Field(
        default_factory=lambda: dict(_USUAL_USERS),
        description="what a subject of an event names, by its format: `username`, or the key of a "
        "claim of the user; other formats are ignored",
    )
    session_claim: NonEmptyStr | None = Field(
        default=None,
        description="the claim of users that names their session, such as `sid`; if it is set, the "
        "end of a session revokes only the tokens of this session, otherwise all of the user",
    )
    lifetime: WholeSeconds = Field(
        default=86_400,
        description="the longest lifetime of tokens of the identity provider, in seconds: for so "
        "long a revocation is kept",
    )
    leeway: Seconds = Field(
        default=60, description="seconds by which the clocks of both sides may differ"
    )
    poll: Polling | None = Field(
        default=None, description="how to fetch the events, if they are not pushed"
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.jwks_file is not None and self.jwks_uri is not None:
            raise of_key("jwks_file", "is set beside jwks_uri; remove one of them")
        return self


class EventsConfig(Section):
    """How clients learn of revocations, and which identity providers may revoke."""

    max_streams: int = Field(
        default=200, ge=1, description="maximum open streams (`GET /events`) of one process"
    )
    max_streams_per_user: int = Field(
        default=10, ge=1, description="maximum open streams of one user in one process"
    )
    heartbeat: Seconds = Field(
        default=15, ge=1, le=30, description="seconds between two heartbeats in a stream"
    )
    status_list: StatusListConfig | None = Field(
        default=None, description="the Token Status List; minted JWTs then refer to it (`status`)"
    )
    transmitters: tuple[TransmitterConfig, ...] = Field(
        default=(),
        strict=False,
        max_length=32,
        description="identity providers whose security events and logout tokens revoke credentials",
    )
