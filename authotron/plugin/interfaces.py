"""Interfaces of providers, augmenters and token stores, and interfaces that they may add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from attrs import frozen
from zope.interface import Attribute, Interface

from authotron.concurrency.racing import MaybeAwaited
from authotron.model.authentication import Authentication
from authotron.model.identity import Addition, Credential, Identity
from authotron.model.token import Revoked, Token


class Affinity(Enum):
    """How likely a credential belongs to a provider, by the shape of the credential alone."""

    OWN = "no other provider may be asked"
    LIKELY = "it names this provider, which is asked instead of those that only may know it"
    POSSIBLE = "this provider may know it"
    FOREIGN = "this provider cannot know it"


class IJudge(Interface):
    """Verifies credentials of one scheme, for one realm or for several."""

    name: str = Attribute("unique among the configured providers")
    type: str = Attribute("the documented type, as in the configuration")
    realm: str = Attribute("the realm for metrics; C{unknown} if there are several")
    scheme: str = Attribute("the only scheme that it is asked about, lower case")
    local: bool = Attribute("whether it needs no remote at the moment; if so it is asked first")

    def affinity(credential: Credential) -> Affinity:
        """Return, from its shape alone, how likely a credential belongs to this provider."""

    def authenticate(credential: Credential) -> MaybeAwaited[Authentication]:
        """
        Verify C{credential}; return a coroutine if that has to wait.

        @raise Rejected: the credential is not good.
        @raise Unavailable: no verdict could be reached.
        """


class IProvider(IJudge):
    """Verifies credentials of one scheme, for one realm: what C{providers:} configures."""

    realm: str = Attribute("the realm of every identity returned")


class IMayAskRemotes(Interface):
    """A provider that needs a remote for some credentials only."""

    def is_local(credential: Credential) -> bool:
        """Whether the provider can verify C{credential} without a remote; replaces C{local}."""


class IOfIssuer(Interface):
    """A provider that may be configured for the tokens of one issuer; named in messages."""

    issuer: str | None = Attribute("the C{iss} that its tokens must have; None for any")


class IUserLookup(Interface):
    """A provider that can look up a user without a credential, for the owners of API tokens."""

    async def look_up(username: str) -> Authentication:
        """
        Return the current state of a user.

        @raise Rejected: the user does not exist any more.
        @raise Unavailable: the user cannot be looked up now.
        """


class IAugmenter(Interface):
    """Adds roles and attributes to the identities of one realm; never removes any."""

    name: str = Attribute("unique among the configured augmenters")
    type: str = Attribute("the documented type, as in the configuration")
    realm: str = Attribute("the realm whose identities it is called with, case-sensitive")
    runs_last: bool = Attribute("whether it runs after the others, and sees what these added")
    required: bool = Attribute("whether its failure is answered by a 503")
    timeout: float | None = Attribute("seconds one call may take; None for auth.timeout_in_ms")

    def augment(identity: Identity) -> MaybeAwaited[Addition]:
        """
        Return what is known about C{identity}, or a coroutine if that has to wait.

        @raise Unavailable: the augmenter cannot answer now.
        """


@frozen
class TokenQuery:
    """
    A query for API tokens.

    @ivar realm: the realm of the owners; C{None} for all realms.
    @ivar username: the user name of the owners; C{None} for all users.
    @ivar after: list the tokens after this id; ids sort by age.
    @ivar most: the maximum number of tokens.
    @ivar below: list only the token with this id and its descendants; C{None} for all tokens.
    """

    realm: str | None = None
    username: str | None = None
    after: str = ""
    most: int = 100
    below: str | None = None


class ITokenStore(Interface):
    """
    Stores API tokens.

    A store decides nothing about tokens. All methods except C{close} raise L{Unavailable} while
    the database cannot be used.
    """

    type: str = Attribute("the documented type, as in the configuration")
    pepper: bytes | None = Attribute(
        "a key stored beside the tokens, set by open(); None if the configuration has to give it"
    )

    async def open() -> None:
        """
        Connect to the database, and create missing tables. After a failure it may be called again.

        @raise Unavailable: the database cannot be used now; a later attempt may succeed.
        @raise ConfigError: the store cannot work before the operator changes something.
        """

    async def close() -> None:
        """Close all connections; calls that still wait fail."""

    async def check_reachable() -> None:
        """
        Check that the database can be reached.

        @raise Unavailable: the database cannot be reached.
        """

    async def add(token: Token, most: int | None = None) -> None:
        """
        Store a new token.

        @param most: the maximum number of unexpired tokens of the owner for which
            L{counts_towards_limit} is true, the new one included; C{None} for any number.

        @raise TokenExists: a token with this id is stored already.
        @raise TooMany: the owner has C{most} tokens.
        """

    async def get(id_: str) -> Token | None:
        """Return the token with this id, even if it has expired; C{None} if there is none."""

    async def list_tokens(wanted: TokenQuery) -> Sequence[Token]:
        """Return the tokens that fit a query, in the order of their ids."""

    async def change(id_: str, changes: Mapping[str, str | float | None]) -> bool:
        """Change columns that L{CHANGEABLE} names; return whether the token exists."""

    async def remove(id_: str, now: float) -> Sequence[str]:
        """
        Remove a token and all its descendants, and remember that they were revoked.

        @return: the ids of the removed tokens, that of the token itself first. If several callers
            remove a token at once, each id is returned to one of them only.
        """

    async def find_revoked(id_: str) -> Revoked | None:
        """
        Return what is remembered of a revoked token with this id; C{None} if nothing is.

        A store remembers the last L{MOST_REVOKED} revoked tokens for L{REVOKED_FOR} seconds each,
        and of one owner the last L{MOST_REVOKED_OF_OWNER}, so that no owner displaces those of
        others. Revoked imported tokens are remembered for L{IMPORTED_REVOKED_FOR} seconds, whatever
        their number, because no client can create imported tokens.
        """

    async def delete_expired(now: float) -> int:
        """Delete expired tokens; return their number."""


@frozen
class CheckResult:
    """
    One check of C{authotron doctor}, and its result.

    The C{Config} of a plugin with checks of its own has a method C{run_checks(world, username)},
    which returns these results.
    """

    what: str
    good: bool
    detail: str = ""


class IReachable(Interface):
    """A plugin that depends on a remote; C{/ready} and C{authotron doctor} call it."""

    async def check_reachable() -> None:
        """
        Check that the remote can be reached.

        @raise Unavailable: the remote cannot be reached.
        """


class IConnected(Interface):
    """A plugin that keeps connections open between requests."""

    def close() -> None:
        """Close idle connections, and keep none from now on; requests may still be in flight."""
