"""The provider of tokens of our own: the only judge of whatever begins like one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.concurrency.single_flight import DEFAULT_BYTES, Identities
from authotron.model.errors import Rejected
from authotron.model.identity import Credential, Identity, earliest
from authotron.model.token import IMPORTED, Token, looks_like_ours
from authotron.plugin.interfaces import Affinity, IJudge, IKnowsUsers, IProvider, IReachable
from authotron.tokens.service import Tokens

_OWN, _FOREIGN = Affinity.OWN, Affinity.FOREIGN  # found at once, unlike in the C{Enum}


@define(eq=False)
class Owners:
    """What is true now of those who own tokens."""

    _providers: Sequence[IProvider]
    _clock: IReactorTime
    _seconds: float
    _max_bytes: int = DEFAULT_BYTES
    _known: Identities = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._known = Identities(self._clock, self._max_bytes)

    def can_be_asked(self, owner: Identity) -> bool:
        """Whether anybody can say later if this user is still known."""
        return any(IKnowsUsers.providedBy(provider) for provider in self._sayers(owner))

    async def now(self, owner: Identity) -> tuple[Identity, float | None]:
        """
        The owner as known now, and until when that may be believed.

        Where nobody can be asked, it is what was said when the token was made, or imported.

        @raise Rejected: the user is gone.
        @raise Unavailable: nobody can say.
        """
        sayers = self._sayers(owner)
        if not sayers and not owner.provider.startswith(IMPORTED):
            raise Rejected("nobody judges users of the owner's realm any more")
        for provider in sayers:
            if IKnowsUsers.providedBy(provider):
                question = f"{len(provider.name)}:{provider.name}{owner.username}"
                ask = partial(self._ask, provider, owner.username)
                known = await self._known.get(question, ask)
                return known, known.fresh_until
        return owner, None

    async def _ask(self, provider: IProvider, username: str) -> Identity:
        until = self._clock.seconds() + self._seconds
        found = await IKnowsUsers(provider).still_known(username)
        return found._replace(
            provider=provider.name, fresh_until=earliest(until, found.fresh_until)
        )

    def _sayers(self, owner: Identity) -> list[IProvider]:
        """The provider that knew the owner; if it is gone, the others of the realm."""
        mine = [provider for provider in self._providers if provider.realm == owner.realm]
        return [provider for provider in mine if provider.name == owner.provider] or mine


@implementer(IJudge, IReachable)
@define(eq=False)
class TokenProvider:
    """
    Judges Bearer credentials that are tokens of our own, in the realms of their owners.

    It is not an L{IProvider}: each of these has one realm.

    Imported ones have no form of their own, so others may judge them, too.
    """

    _tokens: Tokens | None
    _owners: Owners
    _clock: IReactorTime
    name: str = field(default="token-store", init=False)
    type: str = field(default="token-store", init=False)
    realm: str = field(default="unknown", init=False)
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        if credential.scheme != self.scheme:
            return _FOREIGN
        if looks_like_ours(credential.value):
            return _OWN
        known = self._tokens is not None and self._tokens.imported.may_know(credential.value)
        return Affinity.POSSIBLE if known else _FOREIGN

    async def reach(self) -> None:
        if self._tokens is not None:
            await self._tokens.store.reach()

    async def authenticate(self, credential: Credential) -> Identity:
        if self._tokens is None:
            raise Rejected("there is no token store")
        token = await self._tokens.find(credential.value, lambda: credential.client)
        owner, until = await self._owners.now(token.owner)
        self._tokens.used(token.id)
        return self._identity(self._tokens, token, owner, until)

    def _identity(
        self, tokens: Tokens, token: Token, owner: Identity, until: float | None
    ) -> Identity:
        """What is minted for it ends soon, so that revoking it means something."""
        now, grant = self._clock.seconds(), token.grant
        return Identity(  # C{_replace} takes twice as long, for each token
            owner.realm,
            owner.username,
            owner.roles,
            owner.attributes,
            owner.scopes,
            earliest(grant.expires, now + tokens.config.jwt_exp),
            earliest(until, now + tokens.config.recheck),
            (grant,) if grant.is_limited else (),
            grant.used((*token.lineage, token.id)),
            owner.provider,
            owner.bare,
        )
