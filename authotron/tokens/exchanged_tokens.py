"""Issues exchanged tokens, and verifies them when clients present them as bearer tokens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.jose import own_tokens
from authotron.jose.hidden_claims import HiddenClaims
from authotron.jose.own_tokens import Verifies
from authotron.model.authentication import Acting, Authentication
from authotron.model.errors import ExceedsGrant, Problem, Rejected
from authotron.model.identity import Credential, Identity, earliest
from authotron.plugin.interfaces import Affinity, IJudge
from authotron.tokens import exchanged_token
from authotron.tokens.delegates import may_act_in
from authotron.tokens.exchange import Bounds, ExchangeRequest, narrowed
from authotron.tokens.exchanged_token import TYPE, ExchangedToken
from authotron.tokens.owners import Owners

if TYPE_CHECKING:  # compose() loads this module if a token store is configured
    from authotron.tokens.service import TokenService

_ID_BYTES = 16
"""Number of random bytes in the id of an exchanged token."""

_LONGEST = 16_384
"""
Maximum number of characters of an exchanged token: proxies accept no larger header field, and many
of them accept only half as much.
"""

_OWN, _FOREIGN = Affinity.OWN, Affinity.FOREIGN


class Keys(Verifies, Protocol):
    """The keys with which the gateway signs JWTs, and verifies the JWTs that it has signed."""

    def sign(self, claims: Mapping[str, Any], typ: str, /) -> str:
        """Return a signed JWT with the given claims, and with C{typ} in its header."""


@frozen
class Exchanged:
    """
    A token that was issued to a client in exchange for its credential.

    @ivar text: the token, as the client presents it.
    @ivar token: what the token grants.
    @ivar claims: the claims of the token.
    @ivar identity: the user as backends would see it if the client used the token at once.
    @ivar refresh: the refresh token that was issued with the token, or C{None}.
    """

    text: str = field(repr=False)
    token: ExchangedToken
    claims: Mapping[str, Any] = field(repr=False)
    identity: Identity
    refresh: str | None = field(default=None, repr=False)

    @property
    def expires(self) -> int:
        """When the token expires, in seconds since the epoch."""
        return self.token.expires


@implementer(IJudge)
@define(eq=False)
class ExchangedTokens:
    """
    The exchanged tokens of a gateway: issues them, and verifies them.

    An exchanged token stands for a user of any realm, so L{ExchangedTokens} implements L{IJudge}
    and not L{IProvider}. At each use of an exchanged token the gateway asks the provider that
    identified the user about the user again, if the provider can look users up.

    @ivar bounds: the limits that the configuration sets for exchanged tokens.
    """

    bounds: Bounds
    _keys: Keys
    _issuer: str
    _hidden: HiddenClaims
    _owners: Owners
    _clock: IReactorTime
    _jwt_exp: int
    _recheck: float
    _tokens: TokenService | None = None
    _delegates: Mapping[str, Sequence[str]] = field(factory=dict)
    name: str = field(default="exchanged-tokens", init=False)
    type: str = field(default="exchange", init=False)
    realm: str = field(default="unknown", init=False)
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        if credential.scheme != self.scheme:
            return _FOREIGN
        is_ours = own_tokens.claims_if(credential, TYPE, self._issuer) is not None
        return _OWN if is_ours else _FOREIGN

    async def authenticate(self, credential: Credential) -> Authentication:
        token = self.read(credential.value)
        audience = self._audience(token)
        # Another provider of the realm could give the user more than the exchanged credential.
        if not self._owners.is_configured(token.owner, token.provider):
            raise Rejected("the provider that identified the user is not configured any more")
        now, recheck = self._clock.seconds(), None
        for each in token.api_tokens:
            await self._check_api_token(each)
            recheck = now + self._recheck
        actors = []
        for acting in token.actors:
            current, until = await self._current(acting, token.owner.realm)
            actors.append(current)
            recheck = earliest(recheck, until)
        owner = await self._owners.now(token.owner, token.provider)
        return Authentication(
            owner.identity,
            owner.provider,
            earliest(token.expires, now + self._jwt_exp, owner.expires),
            earliest(owner.fresh_until, recheck),
            conditions=(*owner.conditions, *token.restrictions),
            restriction=token,
            login=token.login,
            token=token.presented()._replace(audience=audience, actors=tuple(actors)),
        )

    def read(self, text: str) -> ExchangedToken:
        """
        Verify the signature, the type and the expiry of an exchanged token, and return what it
        stands for.

        @raise Rejected: the text is not an exchanged token of this gateway, or the token has
            expired.
        """
        claims = own_tokens.verified(self._keys, text, (TYPE,))
        if claims.get("aud") != self._issuer:
            raise Rejected("the token is for another gateway (aud)")
        return self.of_claims(claims)

    def _audience(self, token: ExchangedToken) -> tuple[str, ...] | None:
        """
        Return the audiences that JWTs may name for a token.

        @raise Rejected: none of the audiences of the token is configured any more.
        """
        if token.audience is None:
            return None
        left = tuple(each for each in token.audience if each in self.bounds.audience)
        if not left:
            raise Rejected("none of the audiences of the token is configured any more")
        return left

    async def _current(self, acting: Acting, realm: str) -> tuple[Acting, float | None]:
        """
        Return what is known now of an identity that acts in the name of a user, and the time until
        which the gateway may rely on it, or C{None} for no limit.

        @param realm: the realm of the user.

        @raise Rejected: the identity does not exist any more, has lost a role, or may not act for
            users of the realm any more.
        @raise Unavailable: the provider of the identity does not answer.
        """
        identity = acting.identity
        if not self._owners.is_configured(identity, acting.provider):
            raise Rejected("the provider that identified the actor is not configured any more")
        if not may_act_in(realm, acting.left or identity, self._delegates):
            raise Rejected("the actor may not act for users of the realm any more")
        found = await self._owners.now(identity, acting.provider)
        if not self._owners.can_look_up(identity, acting.provider):
            return acting, found.fresh_until
        if not set(acting.known_roles) <= set(found.identity.roles):
            raise Rejected("the actor has lost a role")
        new = tuple(role for role in found.identity.roles if role not in identity.roles)
        whole = identity.enriched(new, found.identity.attributes)
        left = identity if acting.left is None and whole != identity else acting.left
        return acting._replace(identity=whole, left=left), found.fresh_until

    async def _check_api_token(self, id_: str) -> None:
        """
        Check that the API token from which an exchanged token was derived is still valid.

        @raise Rejected: the API token was revoked or has expired.
        @raise Unavailable: the token store does not answer.
        """
        if self._tokens is None:
            raise Rejected(
                "the token was derived from an API token, and the token store is disabled"
            )
        await self._tokens.check_valid(id_)

    def now(self) -> float:
        """Return the current time, in seconds since the epoch."""
        return self._clock.seconds()

    def can_look_up(self, requester: Authentication) -> bool:
        """Return whether a provider can look up the user of a credential again."""
        return self._owners.can_look_up(requester.identity, requester.provider)

    async def grant(
        self,
        requester: Authentication,
        requested: ExchangeRequest,
        actor: Authentication | None = None,
    ) -> ExchangedToken:
        """
        Return what a new token grants: a part of what the credential of a client grants.

        The caller checks whether rules that deny name an attribute that the client wants to cloak,
        and whether C{actor} may act in the name of the user.

        @param actor: the identity that shall act in the name of the user, or C{None} for the user.

        @raise ExceedsGrant: the request asks for more than the credential allows.
        @raise Unavailable: the token store does not answer.
        """
        if not self._owners.is_configured(requester.identity, requester.provider):
            why = (
                f"the provider {requester.provider!a}, which identified the user, is not "
                "configured any more, so no token could be accepted; use another credential"
            )
            raise ExceedsGrant([Problem("", why)])
        token = narrowed(
            requester,
            requested,
            self.bounds,
            new_id(),
            self._clock.seconds(),
            can_look_up=self.can_look_up(requester),
            actor=actor,
            can_look_up_actor=actor is None or self.can_look_up(actor),
        )
        for each in token.api_tokens:
            try:
                await self._check_api_token(each)
            except Rejected as rejected:
                raise ExceedsGrant([Problem("", str(rejected))]) from None
        return token if actor is None else await self._with_known_roles(token)

    async def _with_known_roles(self, token: ExchangedToken) -> ExchangedToken:
        """
        Return a new token with the roles that the provider of the newest actor states now, without
        those that augmenters add.

        @raise ExceedsGrant: the actor does not exist any more.
        @raise Unavailable: the provider of the actor does not answer.
        """
        newest, *earlier = token.actors
        try:
            found = await self._owners.now(newest.identity, newest.provider)
        except Rejected as rejected:
            raise ExceedsGrant([Problem("", f"the actor: {rejected}")]) from None
        newest = newest._replace(known_roles=found.identity.roles)
        return evolve(token, actors=(newest, *earlier))

    async def issue(
        self,
        requester: Authentication,
        requested: ExchangeRequest,
        actor: Authentication | None = None,
    ) -> Exchanged:
        """
        Issue a token that grants a part of what the credential of a client grants; see L{grant}.

        @raise ExceedsGrant: the request asks for more than the credential allows.
        @raise Unavailable: the token store does not answer.
        """
        return self.sign(await self.grant(requester, requested, actor), requester.identity)

    def sign(self, token: ExchangedToken, identity: Identity) -> Exchanged:
        """
        Issue a token that grants what C{token} states.

        @param identity: the user; the client is informed of those parts of the identity that the
            token grants and does not cloak.

        @raise ExceedsGrant: the text of the token would be too long.
        """
        claims = self.as_claims(token)
        text = self._keys.sign(claims, TYPE)
        if len(text) > _LONGEST:
            why = (
                f"the token would have {len(text)} characters, more than {_LONGEST}; exchange the "
                "credential of a user with fewer roles and attributes"
            )
            raise ExceedsGrant([Problem("", why)])
        return Exchanged(text, token, claims, token.restrict(identity))

    def as_claims(self, token: ExchangedToken) -> dict[str, Any]:
        """Return the claims of an exchanged token that is issued now."""
        return token.claims(self._issuer, int(self._clock.seconds()), self._hidden.hide)

    def of_claims(self, claims: Mapping[str, Any]) -> ExchangedToken:
        """
        Return the exchanged token that claims state, which this gateway has signed or stored.

        @raise Rejected: another version of the gateway has made the claims.
        """
        try:
            return exchanged_token.from_claims(claims, self._hidden.show, self.bounds.namespace)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Rejected("the token was issued by another version of this gateway") from None


def new_id() -> str:
    """Return the id of a new exchanged token, or of a family of refresh tokens."""
    return secrets.token_urlsafe(_ID_BYTES)
