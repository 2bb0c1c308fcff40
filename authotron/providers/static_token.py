"""A provider that verifies bearer tokens by a list in the configuration, for a few machines."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from typing import Literal

from attrs import define, field, frozen
from pydantic import Field, SecretStr, field_validator
from zope.interface import implementer

from authotron.config.placeholders import is_unfilled
from authotron.config.plugins import ProviderConfig
from authotron.config.section import (
    Name,
    Names,
    NonEmptyStr,
    Secret,
    Section,
)
from authotron.config.sources import without_line_end
from authotron.model.authentication import Authentication
from authotron.model.errors import NotConfigured, Rejected
from authotron.model.identity import Credential, Identity
from authotron.model.token import PREFIX, looks_like_ours
from authotron.net.world import World
from authotron.plugin.interfaces import Affinity, IProvider

SHORTEST = 32
"""Minimum length of a token in the configured list, in characters."""


def flaw(token: str, shortest: int = SHORTEST) -> str:
    """
    Return why a token must not be listed in the configuration, or an empty string if the token may
    be listed.
    """
    if len(token) < shortest:
        return f"is shorter than {shortest} characters"
    if not token.isascii() or not token.isprintable() or set(token) & {" ", ","}:
        return "has characters that are not allowed in an Authorization header"
    if is_unfilled(token):
        return "is a placeholder that was not replaced"
    if looks_like_ours(token):
        return f"begins with {PREFIX} like the API tokens of the token store"
    return ""


class Entry(Section):
    """A bearer token in the configured list, and the user whom the token authenticates."""

    token: Secret = Field(description="the token, 32 characters or more")
    username: Name = Field(description="the user whom the token authenticates")
    roles: Names = Field(default=(), strict=False, description="roles of this user")
    attributes: dict[NonEmptyStr, str] = Field(
        default_factory=dict, description="further attributes"
    )

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: Secret) -> Secret:
        text = without_line_end(token.get_secret_value())
        if problem := flaw(text):
            raise ValueError(problem)
        return SecretStr(text)


class Config(ProviderConfig):
    """`type: static-token`: Bearer tokens that are listed here."""

    type: Literal["static-token"]
    tokens: tuple[Entry, ...] = Field(
        strict=False, min_length=1, description="the tokens, and the users whom they authenticate"
    )


@frozen
class _StoredToken:
    """The digest of a bearer token, and the user whom the token authenticates."""

    digest: bytes = field(repr=False)
    authentication: Authentication


@implementer(IProvider)
@define(eq=False)
class StaticToken:
    """
    Verifies bearer tokens by a list of tokens.

    Only keyed digests of the listed tokens are kept in memory, with a random key of the process.
    """

    name: str
    realm: str
    _key: bytes = field(repr=False)
    _stored: Sequence[_StoredToken] = field(repr=False)
    type: str = field(default="static-token", init=False)
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=True, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    def authenticate(self, credential: Credential) -> Authentication:
        if not self._stored:
            raise NotConfigured("no usable token is configured")
        digest = _digest(self._key, credential.value)
        found = [known for known in self._stored if hmac.compare_digest(known.digest, digest)]
        if not found:
            raise Rejected("the token is not in the configured list")
        return found[0].authentication


def _digest(key: bytes, token: str) -> bytes:
    return hmac.digest(key, token.encode("utf-8", "surrogatepass"), "sha256")


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    key = os.urandom(32)
    known = [
        _StoredToken(
            _digest(key, entry.token.get_secret_value()),
            Authentication(
                Identity(config.realm, entry.username, entry.roles, entry.attributes), config.name
            ),
        )
        for entry in config.tokens
    ]
    return StaticToken(config.name, config.realm, key, known)
