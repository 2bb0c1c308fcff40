"""Providers: who judges credentials."""

from __future__ import annotations

from enum import Enum

from zope.interface import Attribute, Interface

from authotron.concurrency.racing import Answer
from authotron.model.identity import Credential, Identity


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

    def authenticate(credential: Credential) -> Answer[Identity]:
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


class IKnowsUsers(Interface):
    """What a provider provides that can say of a user, without a password, what is true now."""

    async def still_known(username: str) -> Identity:
        """
        The user as known now.

        @raise Rejected: there is no such user any more.
        @raise Unavailable: nobody can say.
        """
