"""
The provider that verifies API tokens; a token that begins with C{aot_} is shown to no other
provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.errors import Rejected
from authotron.model.identity import Credential, earliest
from authotron.model.token import Token, looks_like_ours
from authotron.plugin.interfaces import Affinity, IJudge, IReachable
from authotron.tokens.owners import Owners

if TYPE_CHECKING:  # compose() loads this module if a token store is configured
    from authotron.tokens.service import TokenService

# The members of the enumeration are copied into module variables, because these are read faster
# than a member of an C{Enum}.
_OWN, _FOREIGN = Affinity.OWN, Affinity.FOREIGN


@implementer(IJudge, IReachable)
@define(eq=False)
class TokenProvider:
    """
    Verifies bearer tokens that are API tokens, and authenticates their owners, who may be of any
    realm.

    L{TokenProvider} implements L{IJudge} and not L{IProvider}, because an L{IProvider} has only one
    realm. The format of imported API tokens cannot be recognized, so an imported token may also be
    sent to other providers.
    """

    _tokens: TokenService | None
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
        possible = self._tokens is not None and self._tokens.imported.may_know(credential.value)
        return Affinity.POSSIBLE if possible else _FOREIGN

    def is_unknown(self, credential: Credential) -> bool:
        """
        Whether an opaque bearer token may be an imported token, while this cannot be checked
        because the token store has not been opened since the start.

        While the gateway cannot look an opaque bearer token up in the token store, it answers 503
        instead of rejecting the token.
        """
        tokens = self._tokens
        if tokens is None or tokens.store.was_reached is not False:
            return False
        return credential.scheme == self.scheme and tokens.imported.may_be(credential.value)

    async def check_reachable(self) -> None:
        if self._tokens is not None:
            await self._tokens.store.check_reachable()

    async def authenticate(self, credential: Credential) -> Authentication:
        if self._tokens is None:
            raise Rejected("the token store is disabled")
        token = await self._tokens.find(credential.value, lambda: credential.client)
        owner = await self._owners.now(token.owner, token.provider)
        self._tokens.note_use(token.id)
        return self._authentication(self._tokens, token, owner)

    def _authentication(
        self, tokens: TokenService, token: Token, owner: Authentication
    ) -> Authentication:
        """
        Build the result of an authentication, from which a JWT is issued that expires after
        C{tokens.jwt_exp} seconds at most, because a JWT cannot be revoked.
        """
        now, grant = self._clock.seconds(), token.grant
        return Authentication(
            owner.identity,
            owner.provider,
            earliest(grant.expires, now + tokens.config.jwt_exp),
            earliest(owner.fresh_until, now + tokens.config.recheck),
            conditions=(grant,) if grant.is_limited else (),
            restriction=grant.used((*token.lineage, token.id)),
            token=PresentedToken(token.id, token.created, token.lineage, binding=token.binding),
        )
