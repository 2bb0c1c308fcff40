"""Create, find, list, change and revoke API tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime

from authotron.config.plugins import StoreConfig
from authotron.config.schema import _DAY, TokensConfig
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    ExceedsGrant,
    NoSuchToken,
    Problem,
    Rejected,
    TokenExists,
    Unavailable,
)
from authotron.model.identity import Identity, earliest
from authotron.model.revocation import of_api_token
from authotron.model.token import AT_ONCE, HTTP, PlainToken, Token, generate, id_of, parse
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor
from authotron.tokens.bounded_store import StoreClient, derive_pepper
from authotron.tokens.grants import (
    TokenRequest,
    binding_of_new,
    grant_in_use,
    new_grant,
    restricted_token_id,
)
from authotron.tokens.imported import ImportedTokens
from authotron.tokens.size import check_growth, shorten
from authotron.tokens.usage import LastUses, RevokedUses

T = TypeVar("T")

_LONGEST_TTL = 10_000 * 366 * _DAY
"""
Maximum lifetime of an API token in seconds, so that adding the lifetime to the current time cannot
overflow.
"""

_MAX_ANCESTORS = 16
"""
Maximum number of ancestors of an API token: the token with which it was created, the token with
which that token was created, and so on.
"""

_TRIES = 3
"""
Number of random ids to try for a new API token, if the store already contains
a token with the id.
"""

_UNKNOWN = Identity("unknown", "unknown")
"""
The owner that the audit log names for a revoked API token whose owner is not known, because the
token was created while its parent was being revoked.
"""


def _unknown_client() -> None:
    """Return C{None} in place of the client's address, for callers that do not know the client."""


@define(eq=False)
class TokenService:
    """
    Creates, finds, changes and revokes the API tokens in a token store, with the settings of one
    configuration.

    @ivar store: the token store, with a timeout for every call.
    @ivar imported: the API tokens in the token store that other services issued.
    @ivar announces: whether a revocation informs the gateways with the same token store of each
        deleted API token; if not, these gateways notice the deletion after C{tokens.recheck}.
    """

    store: StoreClient
    imported: ImportedTokens
    config: TokensConfig
    _rules: StoreConfig
    _clock: IReactorTime
    announces: bool = False
    _last_uses: LastUses = field(init=False)
    _revoked_uses: RevokedUses = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._last_uses = LastUses(self.store, self._clock)
        self._revoked_uses = RevokedUses(self.store, self._clock)

    @property
    def compat(self) -> bool:
        """Whether the route C{GET /token} creates an API token, as in auth-o-tron."""
        return self._rules.compat

    async def make(
        self,
        requester: Authentication,
        requested: TokenRequest,
        *,
        can_look_up: bool,
        origin: str = HTTP,
        by: Actor | None = None,
    ) -> tuple[PlainToken, Token]:
        """
        Create an API token for a requester.

        If the requester uses an API token, the new token is a descendant of the token in use, and
        becomes invalid when the token in use is revoked or expires.

        @param can_look_up: whether a provider can later confirm that the owner still exists.
        @param origin: how the API token is created; only those created over HTTP count towards
            C{max_per_owner}.
        @param by: the actor that the audit log names, by default the requester.

        @return: the API token in plain text, for the client, and the API token as it is stored.

        @raise ExceedsGrant: the request asks for more than the credential in use allows.
        @raise TooMany: the owner has C{max_per_owner} API tokens already.
        @raise TokenExists: the store contains tokens with each of three random ids, which is
            practically impossible.
        @raise Unavailable: the store does not answer.
        """
        now = self._clock.seconds()
        grant = new_grant(requester, requested, self.config, now, can_look_up=can_look_up)
        owner = requester.unaugmented or requester.identity
        stored_owner = Identity(
            owner.realm,
            owner.username,
            owner.roles,
            {name: value for name, value in owner.attributes.items() if name != "exp"},
            owner.scopes,
        )
        await self.store.wait_until_open()
        lineage = await self._lineage(requester)
        limit = self.config.max_per_owner if origin == HTTP else None
        for _ in range(_TRIES):
            plain, left_out = generate(now), set[str]()
            token = Token(
                plain.id,
                self.store.peppers().hash(plain.text),
                stored_owner,
                now,
                grant,
                requested.name,
                requested.comment,
                requested.email,
                lineage=lineage,
                origin=origin,
                provider=requester.provider,
                binding=binding_of_new(requester, requested.binding),
            )
            if origin == HTTP:
                token = shorten(token, can_look_up=can_look_up)
                left_out = owner.attributes.keys() - token.owner.attributes.keys() - {"exp"}
            by = by or audit.identified(requester)
            try:
                await self._await_confirmation(self.store.add(token, limit), token, "created", by)
            except TokenExists:
                continue
            audit.created(token, by)
            if left_out and not can_look_up:
                audit.left_out(token, sorted(left_out))
            return plain, token
        raise TokenExists

    async def _await_confirmation(
        self, work: Awaitable[T], token: Token, what: str, by: Actor
    ) -> T:
        """
        Wait for a change in the token store; if the store does not confirm the change, write this
        to the audit log.

        @raise Unavailable: the store does not answer.
        """
        try:
            return await work
        except Unavailable:
            audit.unconfirmed(token, what, by)
            raise

    async def _lineage(self, requester: Authentication) -> tuple[str, ...]:
        """
        Return the ids of the API tokens that will be the ancestors of a new API token of a
        requester.

        @raise ExceedsGrant: the API token in use was revoked while the request was processed, or
            has too many ancestors.
        """
        lineage = grant_in_use(requester).lineage
        if len(lineage) > _MAX_ANCESTORS:
            reason = (
                f"the API token in use has {_MAX_ANCESTORS} ancestors; use another credential to "
                "create API tokens"
            )
            raise ExceedsGrant([Problem("", reason)])
        if lineage and not await self.store.get(lineage[-1]):
            raise ExceedsGrant([Problem("", "the API token in use was revoked or has expired")])
        return lineage

    async def find(self, text: str, client: Callable[[], str | None] = _unknown_client) -> Token:
        """
        Return the API token from the store that matches the token which a client presents.

        @param client: a function that returns the address of the client, for the log.

        @raise Rejected: no such API token is stored, or it has expired.
        @raise Unavailable: the store does not answer.
        """
        for presented in await self._candidates(text):
            token = await self.store.get(presented.id)
            fits = self.store.peppers().fits(token.hashed if token else "", presented.text)
            if token is not None and fits:
                return await self._with_earliest_expiry(token)
            if token is None:
                await self._revoked_uses.log(presented, client)
        raise Rejected("the API token does not exist")

    async def check_valid(self, id_: str) -> None:
        """
        Check that an API token from which another token was derived is still valid.

        @raise Rejected: the API token, or an ancestor of it, was revoked or has expired.
        @raise Unavailable: the store does not answer.
        """
        token = await self.store.get(id_)
        if token is None:
            raise Rejected("the API token that was exchanged was revoked or has expired")
        await self._with_earliest_expiry(token)

    async def _with_earliest_expiry(self, token: Token) -> Token:
        """
        Return an API token that expires as soon as the first of the token itself and its ancestors
        expires.

        @raise Rejected: the API token or an ancestor has expired, or an ancestor was revoked.
        @raise Unavailable: the store does not answer.
        """
        expires = token.grant.expires
        for id_ in reversed(token.lineage):
            ancestor = await self.store.get(id_)
            if ancestor is None:
                raise Rejected("an ancestor of the API token was revoked or has expired")
            expires = earliest(expires, ancestor.grant.expires)
        if expires is not None and expires <= self._clock.seconds():
            raise Rejected("the API token has expired")
        if expires != token.grant.expires:
            return evolve(token, grant=evolve(token.grant, expires=expires))
        return token

    async def _candidates(self, text: str) -> Sequence[PlainToken]:
        if self.imported.may_know(text):
            return await self.imported.candidates(text)
        return [parse(text)]

    async def _candidate_ids(self, text: str) -> list[str]:
        """
        Return the possible ids of the API token that a client names in a URL, by an id or by a
        whole API token.
        """
        imported = await self.imported.candidates(text) if self.imported.may_know(text) else ()
        id_ = id_of(text)
        return [*([id_] if id_ else []), *(candidate.id for candidate in imported)]

    def note_use(self, id_: str) -> None:
        """
        Remember in memory when an API token was used; L{flush} writes the time to the token store
        later.
        """
        self._last_uses.note(id_)

    async def list_tokens(self, requester: Authentication, query: TokenQuery) -> Sequence[Token]:
        """
        List the API tokens that belong to the requester, or for an administrator, those that match
        the query.

        If the requester uses a restricted API token, only this token and its descendants are
        listed.
        """
        restricted = restricted_token_id(requester)
        if restricted is not None:
            query = evolve(query, realm=None, username=None, below=restricted)
        elif not self.is_admin(requester):
            owner = requester.identity
            query = evolve(query, realm=owner.realm, username=owner.username)
        return await self.store.list_tokens(query)

    async def show(self, requester: Authentication, id_: str) -> Token:
        """
        Return the API token, if the requester may see this token.

        Owners may see their own API tokens, and administrators all API tokens. If the requester
        uses a restricted API token, only this token and its descendants may be seen.

        @raise NoSuchToken: the API token does not exist, or the requester may not see it.
        """
        for each in await self._candidate_ids(id_):
            token = await self.store.get(each)
            if token is not None and self._may_manage(requester, token):
                return token
        raise NoSuchToken

    def _may_manage(self, requester: Authentication, token: Token) -> bool:
        restricted = restricted_token_id(requester)
        if restricted is not None:
            return restricted in (token.id, *token.lineage)
        return self.is_admin(requester) or _owns(requester, token)

    async def change(
        self,
        requester: Authentication,
        id_: str,
        *,
        name: str | None = None,
        comment: str | None = None,
        ttl: int | None = None,
        by: Actor | None = None,
    ) -> Token:
        """
        Change the name, comment or lifetime of an API token.

        The lifetime of an API token can only be shortened, which shortens the lifetime of its
        descendants as well.

        @raise NoSuchToken: the API token does not exist, or the requester may not see it.
        @raise ExceedsGrant: the new expiry is later than the present one, or the API token would be
            too large.
        """
        token = await self.show(requester, id_)
        renamed = evolve(
            token,
            name=token.name if name is None else name,
            comment=token.comment if comment is None else comment,
        )
        check_growth(token, renamed)
        changes = self._changes(token, name, comment, ttl)
        by = by or audit.identified(requester)
        if not changes:
            return token
        changing = self._await_confirmation(
            self.store.change(token.id, changes), token, "changed", by
        )
        if not await changing:
            raise NoSuchToken
        changed = await self.show(requester, token.id)
        audit.changed(changed, [*changes], by)
        if changed.grant.expires is not None and ttl is not None:
            await self._shorten_descendants(changed, changed.grant.expires, by)
        return changed

    def _changes(
        self, token: Token, name: str | None, comment: str | None, ttl: int | None
    ) -> Mapping[str, str | float | None]:
        """
        Return the columns of an API token to change in the store, with their new values.

        @raise ExceedsGrant: the new expiry is later than the present one.
        """
        changes: dict[str, str | float | None] = {}
        if name is not None:
            changes["name"] = name
        if comment is not None:
            changes["comment"] = comment
        if ttl is not None:
            changes["expires"] = expires = self._clock.seconds() + min(ttl, _LONGEST_TTL)
            if token.grant.expires is not None and expires > token.grant.expires:
                raise ExceedsGrant([Problem("ttl", "a lifetime can only be shortened")])
        return changes

    async def shorten(self, token: Token, expires: float, by: Actor) -> None:
        """
        Shorten the lifetime of an API token and of its descendants.

        @raise NoSuchToken: the API token does not exist.
        @raise Unavailable: the store does not answer.
        """
        expires = earliest(expires, token.grant.expires) or expires
        changing = self.store.change(token.id, {"expires": expires})
        if not await self._await_confirmation(changing, token, "changed", by):
            raise NoSuchToken
        shortened = evolve(token, grant=evolve(token.grant, expires=expires))
        audit.changed(shortened, ["expires"], by)
        await self._shorten_descendants(shortened, expires, by)

    async def _shorten_descendants(self, token: Token, expires: float, by: Actor) -> None:
        """
        Store the shortened expiry of an API token for all its descendants, so that lists of API
        tokens show the right expiry.

        Even if the new expiry of the descendants cannot be stored, the descendants expire, because
        L{find} checks all ancestors of an API token.
        """
        for each in await self._tree(token.id):
            before = each.grant.expires
            if each.id != token.id and (before is None or before > expires):
                changing = self.store.change(each.id, {"expires": expires})
                await self._await_confirmation(changing, each, "changed", by)
                shortened_grant = evolve(each.grant, expires=expires)
                audit.changed(evolve(each, grant=shortened_grant), ["expires"], by)

    async def _tree(self, id_: str) -> list[Token]:
        """Return an API token and all its descendants."""
        found: list[Token] = []
        query = TokenQuery(below=id_, most=AT_ONCE)
        while page := await self.store.list_tokens(query):
            found += page
            query = evolve(query, after=page[-1].id)
        return found

    async def revoke(self, requester: Authentication, id_: str, by: Actor | None = None) -> None:
        """
        Revoke an API token and all its descendants.

        @raise NoSuchToken: the API token does not exist, or the requester may not see it.
        """
        token = await self.show(requester, id_)
        await self.end(token.id, by or audit.identified(requester))

    async def end(self, id_: str, by: Actor) -> Sequence[str]:
        """
        Revoke an API token of any owner, and all its descendants.

        @return: the ids of the revoked API token and its descendants.
        @raise NoSuchToken: the API token does not exist.
        """
        tree = {token.id: token for token in await self._tree(id_)}
        root = tree.get(id_) or Token(id_, "", _UNKNOWN, 0)
        if self.announces and id_ in tree:
            await self._await_confirmation(self._announce(root, by), root, "revoked", by)
        removing = self.store.remove(id_, self._clock.seconds())
        ended = await self._await_confirmation(removing, root, "revoked", by)
        for each in ended:
            audit.revoked(tree.get(each) or Token(each, "", _UNKNOWN, 0), id_, by)
        if not ended:
            raise NoSuchToken
        return ended

    async def _announce(self, token: Token, by: Actor) -> None:
        """
        Store the revocation of an API token that is about to be deleted.

        The revocation stays in force if the token store loses the deletion.

        @raise Unavailable: the store does not answer.
        """
        now = self._clock.seconds()
        await self.store.add_record(of_api_token(token, now, str(by)).record(), now)

    async def valid_id(self, text: str, client: str) -> str | None:
        """
        Return the id of the API token that a client presents, or C{None} if the
        token is not valid.
        """
        try:
            return (await self.find(text, lambda: client)).id
        except Rejected:
            return None

    async def revoke_presented(self, text: str, by: Actor | None = None) -> None:
        """
        Revoke the API token that a client presents, without asking who the client is; do nothing if
        the token is not valid.
        """
        with suppress(Rejected, NoSuchToken):
            token = await self.find(text)
            await self.end(token.id, by or audit.holder())

    def is_admin(self, requester: Authentication) -> bool:
        """
        Whether a requester may manage the API tokens of all owners.

        C{store.admins} names the administrator roles of each realm. An administrator role of a
        realm counts only for users of the realm, and never for a user of a restricted API token.
        """
        if restricted_token_id(requester) is not None:
            return False
        roles = self._rules.admins.get(requester.identity.realm, ())
        return any(role in roles for role in requester.identity.roles)

    async def flush(self) -> int:
        """
        Write to the store when each API token was last used, and delete expired API tokens.

        @return: the number of API tokens that were deleted.

        @raise Unavailable: the store does not answer.
        """
        await self._last_uses.write()
        return await self.store.delete_expired(self._clock.seconds())


def make(
    backend: ITokenStore,
    config: TokensConfig,
    rules: StoreConfig,
    clock: IReactorTime,
    secret: str | None = None,
) -> TokenService:
    """
    Build the L{TokenService} for the API tokens in a store.

    @param config: the C{tokens} section of the configuration.
    @param rules: the keys of the section C{store} that all types of token stores have in common.
    @param secret: the secret from which the key to hash API tokens with is derived, if neither the
        configuration nor the store has a key.
    """
    spare_pepper = None if secret is None else derive_pepper(secret)
    store = StoreClient(backend, rules, clock, spare_pepper)
    imported = ImportedTokens(store, rules, clock, config.max_ttl)
    return TokenService(store, imported, config, rules, clock)


def _owns(requester: Authentication, token: Token) -> bool:
    mine, owner = requester.identity, token.owner
    return (mine.realm, mine.username) == (owner.realm, owner.username)
