"""Interfaces of providers, augmenters and token stores, and of what they may offer."""

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
    """What the shape of a credential tells about who may know it."""

    OWN = "nobody else may judge it"
    LIKELY = "it names this provider, which is asked instead of those that merely may know it"
    POSSIBLE = "this provider may know it"
    FOREIGN = "this provider cannot know it"


class IJudge(Interface):
    """Judges credentials of one scheme, for one realm or for several."""

    name: str = Attribute("unique among the configured providers")
    type: str = Attribute("the documented type, as in the configuration")
    realm: str = Attribute("the realm under which it is counted; C{unknown} if there are several")
    scheme: str = Attribute("the only scheme worth offering, lower case")
    local: bool = Attribute("whether it judges without a remote just now; such are asked first")

    def affinity(credential: Credential) -> Affinity:
        """Say from its shape alone whether a credential of C{scheme} may be one of ours."""

    def authenticate(credential: Credential) -> MaybeAwaited[Authentication]:
        """
        Say who sent C{credential}; a coroutine where that must be waited for.

        @raise Rejected: the credential is not good.
        @raise Unavailable: no verdict could be reached.
        """


class IProvider(IJudge):
    """Judges credentials of one scheme, for one realm. All that is configured are such."""

    realm: str = Attribute("the realm of every identity returned")


class IMayAskRemotes(Interface):
    """What a provider provides that needs a remote for some credentials only."""

    def is_local(credential: Credential) -> bool:
        """Whether this credential can be judged without a remote; it counts instead of C{local}."""


class IUserLookup(Interface):
    """What a provider provides that can say of a user, without a password, what is true now."""

    async def look_up(username: str) -> Authentication:
        """
        The user as known now.

        @raise Rejected: there is no such user any more.
        @raise Unavailable: nobody can say.
        """


class IAugmenter(Interface):
    """Knows more about the identities of one realm. It adds and never takes away."""

    name: str = Attribute("unique among the configured augmenters")
    type: str = Attribute("the documented type, as in the configuration")
    realm: str = Attribute("the realm whose identities it is asked about, case-sensitive")
    runs_last: bool = Attribute("whether it must see what the others added")
    required: bool = Attribute("whether nobody may pass while it fails")
    timeout: float = Attribute("seconds it may take; None for the common limit")

    def augment(identity: Identity) -> MaybeAwaited[Addition]:
        """
        Say what is known about C{identity}; a coroutine where that must be waited for.

        @raise Unavailable: it cannot be said now.
        """


@frozen
class TokenQuery:
    """
    Which tokens to list.

    @ivar realm: of their owners; C{None} is any. So with C{username}.
    @ivar after: the id behind which to begin; ids sort by age.
    @ivar below: if not C{None}, only the token of this id and those that descend from it.
    """

    realm: str | None = None
    username: str | None = None
    after: str = ""
    most: int = 100
    below: str | None = None


class ITokenStore(Interface):
    """
    Keeps tokens.

    It knows nothing of what is good or bad; it only keeps. Everything but C{close} raises
    L{Unavailable} while the store cannot be used.
    """

    type: str = Attribute("the documented type, as in the configuration")
    pepper: bytes | None = Attribute(
        "a key that lies beside what is kept; None: the configuration has to say. Set once open"
    )

    async def open() -> None:
        """
        Connect, or create what is missing. It may be tried again.

        @raise Unavailable: not now.
        @raise ConfigError: never; somebody must change something.
        """

    async def close() -> None:
        """Let go of everything; what waits is given up."""

    async def check_reachable() -> None:
        """
        Try whether it is there.

        @raise Unavailable: it is not.
        """

    async def add(token: Token, most: int | None = None) -> None:
        """
        Keep a new token.

        @param most: how many tokens its owner may have that count and have not expired when the
            new one is created, with it; C{None} for any number.

        @raise TokenExists: there is one of its id.
        @raise TooMany: its owner has C{most} of them.
        """

    async def get(id_: str) -> Token | None:
        """The token of this id, expired or not."""

    async def listed(wanted: TokenQuery) -> Sequence[Token]:
        """Those that are wanted, in the order of their ids."""

    async def change(id_: str, changes: Mapping[str, str | float | None]) -> bool:
        """Change some of L{CHANGEABLE}; say whether there was such a token."""

    async def remove(id_: str, now: float) -> Sequence[str]:
        """
        Forget a token with all that descend from it, and remember that they were revoked.

        @return: the ids of those that were removed, its own first. If several callers remove a
            token at once, each id is returned to one of them only.
        """

    async def revoked(id_: str) -> Revoked | None:
        """
        Say whether a token of this id was removed.

        The last L{MOST_REVOKED} are remembered, for L{REVOKED_FOR} seconds each, and of one owner
        the last L{MOST_REVOKED_OF_OWNER}: no owner pushes out what others have revoked. Imported
        ones, of which no client can make any, are remembered beside these for
        L{IMPORTED_REVOKED_FOR} seconds. What ends later than L{REVOKED_FOR} seconds from now is
        imported.
        """

    async def delete_expired(now: float) -> int:
        """Forget those that have expired; say how many there were."""


@frozen
class CheckResult:
    """
    One thing that was tried, and what came of it.

    A section whose part can be tried in detail has a method C{examine(world, username)}, which
    gives such.
    """

    what: str
    good: bool
    told: str = ""


class IReachable(Interface):
    """What a part provides that depends on something out there."""

    async def check_reachable() -> None:
        """
        Try whether it is there.

        @raise Unavailable: it is not.
        """


class IConnected(Interface):
    """What a part provides that keeps connections open between requests."""

    def close() -> None:
        """Give them up, and keep none from now on. Requests may still be under way."""
