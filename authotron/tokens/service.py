"""Tokens of our own: who gets which, how they are found again, and how they end."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from attrs import define, evolve, field, frozen
from cachetools import TTLCache
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
from authotron.model.hosts import any_network_fits, host_fits
from authotron.model.identity import Identity, earliest
from authotron.model.token import (
    AT_ONCE,
    HTTP,
    Grant,
    PlainToken,
    Token,
    generate,
    id_of,
    parse,
)
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor
from authotron.tokens.bounded_store import StoreClient
from authotron.tokens.imported import ImportedTokens

T = TypeVar("T")

_FOR_EVER = 10_000 * 366 * _DAY
"""A life in seconds that a number of any size is cut down to."""

_MOST_USED = 10_000
"""Tokens of which a use is noted until the next tidying."""

MOST_BYTES = 4096
"""Bytes that a store keeps at most of a token that was made over HTTP."""

_DEEPEST = 16
"""Generations of tokens that were made with tokens."""

_TOLD, _TOLD_AGAIN = 1_000, 60.0
"""Revoked tokens whose use was logged lately, and the seconds until it is logged again."""

_TRIES = 3
"""Ids that are tried until one is free."""


def _unknown_client() -> None:
    """The address of a client of which nothing is known."""


@frozen
class TokenRequest:
    """What somebody wants of a new token."""

    name: str = ""
    comment: str = ""
    email: str = ""
    ttl: int | None = None
    roles: tuple[str, ...] | None = None
    scopes: Mapping[str, tuple[str, ...]] | None = None
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


@define(eq=False)
class TokenService:
    """
    The tokens of our own, under the rules of one configuration.

    @ivar store: what keeps them.
    @ivar imported: those of them that other services gave out.
    """

    store: StoreClient
    imported: ImportedTokens
    config: TokensConfig
    _rules: StoreConfig
    _clock: IReactorTime
    _used: dict[str, float] = field(factory=dict, init=False)
    _told: TTLCache[str, None] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._told = TTLCache(_TOLD, _TOLD_AGAIN, self._clock.seconds)

    @property
    def compat(self) -> bool:
        """Whether C{GET /token} makes a token."""
        return self._rules.compat

    async def make(
        self,
        requester: Authentication,
        wanted: TokenRequest,
        *,
        checked: bool,
        origin: str = HTTP,
        by: Actor | None = None,
    ) -> tuple[PlainToken, Token]:
        """
        A new token for who asks.

        A token that is made with another one descends from it, and ends with it.

        @param checked: whether somebody can say later if the maker is still known.
        @param origin: only of those made over HTTP an owner has a limited number.
        @param by: for the log; if not the maker.

        @raise TooBroad: it would do more than its maker may, or live too long.
        @raise TooMany: the owner has as many as C{max_per_owner}.
        @raise Taken: no free id was found, which chance does not bring about.
        @raise Unavailable: the store does not answer.
        """
        now = self._clock.seconds()
        grant = self._granted(requester, wanted, now, checked=checked)
        owner = requester.unaugmented or requester.identity
        kept = Identity(
            owner.realm,
            owner.username,
            owner.roles,
            {name: value for name, value in owner.attributes.items() if name != "exp"},
            owner.scopes,
        )
        await self.store.opened()
        lineage = await self._lineage(requester)
        most = self.config.max_per_owner if origin == HTTP else None
        for _ in range(_TRIES):
            fresh, left_out = generate(now), set[str]()
            hashed = self.store.peppers().hash(fresh.text)
            token = Token(
                fresh.id,
                hashed,
                kept,
                now,
                grant,
                wanted.name,
                wanted.comment,
                wanted.email,
                lineage=lineage,
                origin=origin,
                provider=requester.provider,
            )
            if origin == HTTP:
                token = _small_enough(token, checked=checked)
                left_out = owner.attributes.keys() - token.owner.attributes.keys() - {"exp"}
            by = by or audit.identified(requester)
            try:
                await self._confirmed(self.store.add(token, most), token, "created", by)
            except TokenExists:
                continue
            audit.created(token, by)
            if left_out and not checked:
                audit.left_out(token, sorted(left_out))
            return fresh, token
        raise TokenExists

    async def _confirmed(self, work: Awaitable[T], token: Token, what: str, by: Actor) -> T:
        """
        Ask the store for a change, and log it if the store does not say whether it was made.

        @raise Unavailable: the store does not answer.
        """
        try:
            return await work
        except Unavailable:
            audit.unconfirmed(token, what, by)
            raise

    async def _lineage(self, requester: Authentication) -> tuple[str, ...]:
        """
        Return what a token descends from that is made with the credential in use.

        @raise TooBroad: one of them was revoked meanwhile, or there are too many.
        """
        lineage = _grant(requester).lineage
        if len(lineage) > _DEEPEST:
            told = f"has {_DEEPEST} ancestors; use another credential to make tokens"
            raise ExceedsGrant([Problem("", f"the API token in use {told}")])
        if lineage and not await self.store.get(lineage[-1]):
            raise ExceedsGrant([Problem("", "the API token in use was revoked or has expired")])
        return lineage

    async def find(self, text: str, client: Callable[[], str | None] = _unknown_client) -> Token:
        """
        The token that somebody presents.

        @param client: tells the address of the client, for the log.

        @raise Rejected: there is none such, or it is over.
        @raise Unavailable: the store does not answer.
        """
        for presented in await self._candidates(text):
            token = await self.store.get(presented.id)
            fits = self.store.peppers().fits(token.hashed if token else "", presented.text)
            if token is not None and fits:
                return await self._unexpired(token)
            if token is None:
                await self._note_use(presented, client)
        raise Rejected("there is no such token")

    async def _unexpired(self, token: Token) -> Token:
        """
        A token with the earliest expiry of its own and of all that it descends from.

        @raise Rejected: that expiry has passed, or one of those was revoked.
        @raise Unavailable: the store does not answer.
        """
        expires = token.grant.expires
        for id_ in reversed(token.lineage):
            ancestor = await self.store.get(id_)
            if ancestor is None:
                raise Rejected("a token that it was made with was revoked or has expired")
            expires = earliest(expires, ancestor.grant.expires)
        if expires is not None and expires <= self._clock.seconds():
            raise Rejected("the token has expired")
        if expires != token.grant.expires:
            return evolve(token, grant=evolve(token.grant, expires=expires))
        return token

    async def _note_use(self, presented: PlainToken, client: Callable[[], str | None]) -> None:
        """Log that a client presents a token that was revoked, once in a minute."""
        if presented.id in self._told:
            return
        revoked = await self.store.revoked(presented.id)
        if revoked is not None and self.store.peppers().has_mark(revoked.mark, presented.text):
            self._told[presented.id] = None
            audit.used_after_revocation(revoked, client() or "")

    async def _candidates(self, text: str) -> Sequence[PlainToken]:
        if self.imported.may_know(text):
            return await self.imported.candidates(text)
        return [parse(text)]

    async def candidate_ids(self, text: str) -> list[str]:
        """What a text may mean in the place of an id: one, or a whole token."""
        meant = await self.imported.candidates(text) if self.imported.may_know(text) else ()
        id_ = id_of(text)
        return [*([id_] if id_ else []), *(presented.id for presented in meant)]

    def used(self, id_: str) -> None:
        """Take a note; it is written with many others, later."""
        if id_ in self._used or len(self._used) < _MOST_USED:
            self._used[id_] = self._clock.seconds()

    async def listed(self, requester: Authentication, wanted: TokenQuery) -> Sequence[Token]:
        """
        List the tokens of the identity that asks, or those that an administrator asks for.

        A restricted token sees itself and what descends from it.
        """
        restricted = _restricted_token(requester)
        if restricted is not None:
            wanted = evolve(wanted, realm=None, username=None, below=restricted)
        elif not self.is_admin(requester):
            mine = requester.identity
            wanted = evolve(wanted, realm=mine.realm, username=mine.username)
        return await self.store.listed(wanted)

    async def show(self, requester: Authentication, id_: str) -> Token:
        """
        A token that is one's own, or anyone's for an administrator.

        A restricted token may know itself and what descends from it.

        @raise NoSuchToken: there is none, or it is somebody else's, which sounds the same.
        """
        for each in await self.candidate_ids(id_):
            token = await self.store.get(each)
            if token is not None and self._may_manage(requester, token):
                return token
        raise NoSuchToken

    def _may_manage(self, requester: Authentication, token: Token) -> bool:
        restricted = _restricted_token(requester)
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
        Call a token something else, or shorten its life and that of all that descend from it.

        @raise NoSuchToken: there is none, or it is somebody else's.
        @raise TooBroad: it would live longer, or take up more than L{MOST_BYTES}.
        """
        token = await self.show(requester, id_)
        renamed = evolve(
            token,
            name=token.name if name is None else name,
            comment=token.comment if comment is None else comment,
        )
        if token.size <= MOST_BYTES < renamed.size:
            told = f"the token would need {renamed.size} bytes, of {MOST_BYTES}"
            raise ExceedsGrant([Problem("", told)])
        changes: dict[str, str | float | None] = {}
        if name is not None:
            changes["name"] = name
        if comment is not None:
            changes["comment"] = comment
        if ttl is not None:
            changes["expires"] = end = self._clock.seconds() + min(ttl, _FOR_EVER)
            if token.grant.expires is not None and end > token.grant.expires:
                raise ExceedsGrant([Problem("ttl", "a life can only be shortened")])
        by = by or audit.identified(requester)
        if not changes:
            return token
        changing = self._confirmed(self.store.change(token.id, changes), token, "changed", by)
        if not await changing:
            raise NoSuchToken
        changed = await self.show(requester, token.id)
        audit.changed(changed, [*changes], by)
        if changed.grant.expires is not None and ttl is not None:
            await self._shorten_descendants(changed, changed.grant.expires, by)
        return changed

    async def _shorten_descendants(self, token: Token, end: float, by: Actor) -> None:
        """
        Store the earlier expiry of a token with all tokens that descend from it, too.

        It is only for show: whenever a token is used, those that it descends from are checked.
        """
        for each in await self._tree(token.id):
            expires = each.grant.expires
            if each.id != token.id and (expires is None or expires > end):
                changing = self.store.change(each.id, {"expires": end})
                await self._confirmed(changing, each, "changed", by)
                audit.changed(evolve(each, grant=evolve(each.grant, expires=end)), ["expires"], by)

    async def _tree(self, id_: str) -> list[Token]:
        """A token and all that descend from it."""
        found: list[Token] = []
        wanted = TokenQuery(below=id_, most=AT_ONCE)
        while some := await self.store.listed(wanted):
            found += some
            wanted = evolve(wanted, after=some[-1].id)
        return found

    async def revoke(self, requester: Authentication, id_: str, by: Actor | None = None) -> None:
        """
        End a token and all that descend from it.

        @raise NoSuchToken: there is none, or it is somebody else's.
        """
        token = await self.show(requester, id_)
        await self.end(token.id, by or audit.identified(requester))

    async def end(self, id_: str, by: Actor) -> Sequence[str]:
        """
        End a token of any owner, and all that descend from it.

        @return: the ids of all that ended.
        @raise NoSuchToken: there is none.
        """
        tree = {token.id: token for token in await self._tree(id_)}
        root = tree.get(id_) or Token(id_, "", _UNKNOWN, 0)
        removing = self.store.remove(id_, self._clock.seconds())
        ended = await self._confirmed(removing, root, "revoked", by)
        for each in ended:
            audit.revoked(tree.get(each) or Token(each, "", _UNKNOWN, 0), id_, by)
        if not ended:
            raise NoSuchToken
        return ended

    async def valid_id(self, text: str, client: str) -> str | None:
        """Return the id of a presented token, if the token is good."""
        try:
            return (await self.find(text, lambda: client)).id
        except Rejected:
            return None

    async def revoke_presented(self, text: str, by: Actor | None = None) -> None:
        """End a presented token, whichever client presents it; do nothing if it is not good."""
        with suppress(Rejected, NoSuchToken):
            token = await self.find(text)
            await self.end(token.id, by or audit.holder())

    def is_admin(self, requester: Authentication) -> bool:
        """
        Whether an identity is an administrator: a role counts only in the realm named for it.

        With a restricted token an administrator is like every other owner.
        """
        if _restricted_token(requester) is not None:
            return False
        roles = self._rules.admins.get(requester.identity.realm, ())
        return any(role in roles for role in requester.identity.roles)

    async def flush(self) -> None:
        """Write down which tokens were used, and forget those that are over."""
        for id_, moment in [*self._used.items()]:
            await self.store.change(id_, {"used": moment})
            if self._used.get(id_) == moment:
                del self._used[id_]  # not before it is written: the store may fail
        await self.store.delete_expired(self._clock.seconds())

    def _granted(
        self, requester: Authentication, wanted: TokenRequest, now: float, *, checked: bool
    ) -> Grant:
        outer = _grant(requester)
        problems = [*_beyond(requester, outer, wanted)]
        longest = self.config.max_ttl if checked else self.config.max_ttl_unchecked
        if wanted.ttl is not None and wanted.ttl > longest:
            problems.append(Problem("ttl", f"is more than {longest} s"))
        expires = now + min(wanted.ttl or self.config.ttl, longest)
        if wanted.ttl is not None and outer.expires is not None and expires > outer.expires:
            problems.append(Problem("ttl", "is more than the token in use has left"))
        if problems:
            raise ExceedsGrant(problems)
        return Grant(
            outer.roles if wanted.roles is None else wanted.roles,
            outer.scopes if wanted.scopes is None else wanted.scopes,
            wanted.hosts or outer.hosts,
            wanted.networks or outer.networks,
            earliest(expires, outer.expires),
        )


def make(
    backend: ITokenStore,
    config: TokensConfig,
    rules: StoreConfig,
    clock: IReactorTime,
    spare_pepper: bytes | None = None,
) -> TokenService:
    """
    Build what issues tokens that C{backend} keeps under C{rules}.

    @param spare_pepper: used where neither of the two has one.
    """
    store = StoreClient(backend, rules, clock, spare_pepper)
    imported = ImportedTokens(store, rules, clock, config.max_ttl)
    return TokenService(store, imported, config, rules, clock)


_UNKNOWN = Identity("unknown", "unknown")
"""The owner of a token that was made and revoked at the same moment."""


def _grant(requester: Authentication) -> Grant:
    """What the token in use grants; everything if another credential is in use."""
    return requester.restriction if isinstance(requester.restriction, Grant) else Grant()


def _restricted_token(requester: Authentication) -> str | None:
    """The id of the token in use if it is restricted."""
    grant = _grant(requester)
    if not grant.is_restricted:
        return None
    return grant.lineage[-1] if grant.lineage else ""


def _small_enough(token: Token, *, checked: bool) -> Token:
    """
    Keep no more of an owner than fits into L{MOST_BYTES}.

    A provider that can be asked later says anew which roles there are. Of other owners the roles
    and scopes that the token leaves are enough, with the attributes that there is room for.

    @raise TooBroad: even that is too large.
    """
    if token.size <= MOST_BYTES:
        return token
    owner = token.owner
    if checked:
        owner = Identity(owner.realm, owner.username)
    smaller = _with_fewer_attributes(evolve(token, owner=token.grant.restrict(owner)))
    if smaller.size > MOST_BYTES:
        told = f"needs {smaller.size} bytes, of {MOST_BYTES}; name fewer roles, scopes or hosts"
        raise ExceedsGrant([Problem("", told)])
    return smaller


def _with_fewer_attributes(token: Token) -> Token:
    """
    Leave out the largest attributes of an owner as far as there is no room for them.

    Most often these repeat the roles or groups, and a client cannot ask for fewer of them.
    """
    attributes = dict(token.owner.attributes)
    excess = token.size - MOST_BYTES
    sizes = {
        name: len(json.dumps({name: value}, ensure_ascii=False).encode()) - len("{}")
        for name, value in attributes.items()
    }
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if excess <= 0:
            break
        excess -= sizes[name]
        del attributes[name]
    return evolve(token, owner=token.owner._replace(attributes=attributes))


def _owns(requester: Authentication, token: Token) -> bool:
    return requester.identity[:2] == token.owner[:2]


def _beyond(requester: Authentication, outer: Grant, wanted: TokenRequest) -> list[Problem]:
    """Where a wish goes beyond what its maker may do, with the credential that was used."""
    roles = frozenset(requester.identity.roles) if wanted.roles else frozenset()
    problems = [
        Problem(f"roles[{place}]", "is no role of yours")
        for place, role in enumerate(wanted.roles or ())
        if role not in roles
    ]
    problems += [
        Problem(f"scopes.{service}", "is more than your scopes")
        for service, scopes in (wanted.scopes or {}).items()
        if not set(scopes) <= set(requester.identity.scopes.get(service, ()))
    ]
    problems += [
        Problem(f"hosts[{place}]", "is beyond the hosts of the token in use")
        for place, host in enumerate(wanted.hosts)
        if outer.hosts and not any(host_fits(pattern, host) for pattern in outer.hosts)
    ]
    problems += [
        Problem(f"networks[{place}]", "is beyond the networks of the token in use")
        for place, network in enumerate(wanted.networks)
        if outer.networks and not any_network_fits(outer.networks, network)
    ]
    return problems
