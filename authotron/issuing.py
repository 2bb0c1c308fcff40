"""Tokens of our own: who gets which, how they are found again, and how they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, evolve, field, frozen
from pydantic import Field
from twisted.internet.interfaces import IReactorTime

from authotron.errors import NoSuchToken, Problem, Rejected, Taken, TooBroad
from authotron.hosts import any_network_fits, host_fits
from authotron.identity import Identity, earliest
from authotron.imported import ImportedTokens
from authotron.settings import Seconds, Section, WholeSeconds
from authotron.store_client import StoreClient
from authotron.stores import ITokenStore, StoreConfig, Wanted
from authotron.tokens import Grant, Presented, Token, generate, id_of, parse

_DAY = 86_400
_FOR_EVER = 10_000 * 366 * _DAY
"""A life in seconds that a number of any size is cut down to."""

_MOST_USED = 10_000
"""Tokens of which a use is noted until the next tidying."""

MOST_BYTES = 4096
"""Bytes that a store keeps at most of a token that was made over HTTP."""

_TRIES = 3
"""Ids that are tried until one is free."""


class Config(Section):
    """How long tokens of our own live, and how long is believed what is known of them."""

    ttl: WholeSeconds = Field(
        default=90 * _DAY, description="the life of a token whose maker does not say"
    )
    max_ttl: WholeSeconds = Field(default=366 * _DAY, description="the longest life of a token")
    max_ttl_unchecked: WholeSeconds = Field(
        default=30 * _DAY,
        description="the longest life of a token whose owner's provider cannot say later whether "
        "the user is still known",
    )
    jwt_exp: WholeSeconds = Field(
        default=300, description="the longest life of a JWT minted for such a token"
    )
    recheck: Seconds = Field(
        default=5,
        description="seconds after which the store is asked again; so long may a token live on "
        "that was revoked by another process",
    )
    users: Seconds = Field(
        default=60, description="seconds a provider's word that a user is known is believed"
    )


@frozen
class Wish:
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
class Tokens:
    """
    The tokens of our own, under the rules of one configuration.

    @ivar store: what keeps them.
    @ivar imported: those of them that other services gave out.
    """

    store: StoreClient
    imported: ImportedTokens
    config: Config
    _rules: StoreConfig
    _clock: IReactorTime
    _used: dict[str, float] = field(factory=dict, init=False)

    @property
    def compat(self) -> bool:
        """Whether C{GET /token} makes a token."""
        return self._rules.compat

    async def make(self, maker: Identity, wish: Wish, *, checked: bool) -> tuple[Presented, Token]:
        """
        A new token for who asks.

        @param checked: whether somebody can say later if the maker is still known.

        @raise TooBroad: it would do more than its maker may, or live too long.
        @raise Taken: no free id was found, which chance does not bring about.
        @raise Unavailable: the store does not answer.
        """
        now = self._clock.seconds()
        grant = self._granted(maker, wish, now, checked=checked)
        owner = maker.bare or maker
        kept = Identity(
            owner.realm,
            owner.username,
            owner.roles,
            {name: value for name, value in owner.attributes.items() if name != "exp"},
            owner.scopes,
            provider=owner.provider,
        )
        await self.store.opened()
        for _ in range(_TRIES):
            fresh = generate(now)
            hashed = self.store.peppers().hash(fresh.text)
            token = Token(fresh.id, hashed, kept, now, grant, wish.name, wish.comment, wish.email)
            token = _small_enough(token, checked=checked)
            try:
                await self.store.add(token)
            except Taken:
                continue
            return fresh, token
        raise Taken

    async def find(self, text: str) -> Token:
        """
        The token that somebody presents.

        @raise Rejected: there is none such, or it is over.
        @raise Unavailable: the store does not answer.
        """
        for presented in await self._meanings(text):
            token = await self.store.get(presented.id)
            fits = self.store.peppers().fits(token.hashed if token else "", presented.text)
            if token is not None and fits:
                return self._unexpired(token)
        raise Rejected("there is no such token")

    def _unexpired(self, token: Token) -> Token:
        if token.grant.expires is not None and token.grant.expires <= self._clock.seconds():
            raise Rejected("the token has expired")
        return token

    async def _meanings(self, text: str) -> Sequence[Presented]:
        if self.imported.may_know(text):
            return await self.imported.meanings(text)
        return [parse(text)]

    async def _ids(self, text: str) -> list[str]:
        """What a text may mean in the place of an id: one, or a whole token."""
        meant = await self.imported.meanings(text) if self.imported.may_know(text) else ()
        id_ = id_of(text)
        return [*([id_] if id_ else []), *(presented.id for presented in meant)]

    def used(self, id_: str) -> None:
        """Take a note; it is written with many others, later."""
        if id_ in self._used or len(self._used) < _MOST_USED:
            self._used[id_] = self._clock.seconds()

    async def listed(self, asks: Identity, wanted: Wanted) -> Sequence[Token]:
        """The tokens of who asks; those of others if an administrator wants them."""
        own = evolve(wanted, realm=asks.realm, username=asks.username)
        return await self.store.listed(wanted if self.rules_over(asks) else own)

    async def show(self, asks: Identity, id_: str) -> Token:
        """
        A token that is one's own, or anyone's for an administrator.

        @raise NoSuchToken: there is none, or it is somebody else's, which sounds the same.
        """
        rules = self.rules_over(asks)
        for each in await self._ids(id_):
            token = await self.store.get(each)
            if token is not None and (rules or _owns(asks, token)):
                return token
        raise NoSuchToken

    async def change(
        self,
        asks: Identity,
        id_: str,
        *,
        name: str | None = None,
        comment: str | None = None,
        ttl: int | None = None,
    ) -> Token:
        """
        Call a token something else, or shorten its life.

        @raise NoSuchToken: there is none, or it is somebody else's.
        @raise TooBroad: it would live longer.
        """
        token = await self.show(asks, id_)
        changes: dict[str, str | float | None] = {}
        if name is not None:
            changes["name"] = name
        if comment is not None:
            changes["comment"] = comment
        if ttl is not None:
            changes["expires"] = end = self._clock.seconds() + min(ttl, _FOR_EVER)
            if token.grant.expires is not None and end > token.grant.expires:
                raise TooBroad([Problem("ttl", "a life can only be shortened")])
        if changes and not await self.store.change(token.id, changes):
            raise NoSuchToken
        return await self.show(asks, token.id)

    async def revoke(self, asks: Identity, id_: str) -> None:
        """
        End a token.

        @raise NoSuchToken: there is none, or it is somebody else's.
        """
        token = await self.show(asks, id_)
        if not await self.store.remove(token.id):
            raise NoSuchToken

    async def held(self, text: str) -> bool:
        """Whether a token that somebody holds in hand is good."""
        try:
            await self.find(text)
        except Rejected:
            return False
        return True

    async def surrender(self, text: str) -> None:
        """End the token that somebody holds in hand, whoever it is. One that is no good is over."""
        try:
            token = await self.find(text)
        except Rejected:
            return
        await self.store.remove(token.id)

    def rules_over(self, asks: Identity) -> bool:
        """Whether somebody is an administrator: a role counts only in the realm named for it."""
        roles = self._rules.admins.get(asks.realm, ())
        return any(role in roles for role in asks.roles)

    async def tidy(self) -> None:
        """Write down which tokens were used, and forget those that are over."""
        used, self._used = self._used, {}
        try:
            while used:
                id_, moment = used.popitem()
                await self.store.change(id_, {"used": moment})
        finally:
            self._used = {**used, **self._used}
        await self.store.sweep(self._clock.seconds())

    def _granted(self, maker: Identity, wish: Wish, now: float, *, checked: bool) -> Grant:
        outer = maker.narrowing if isinstance(maker.narrowing, Grant) else Grant()
        problems = [*_beyond(maker, outer, wish)]
        longest = self.config.max_ttl if checked else self.config.max_ttl_unchecked
        if wish.ttl is not None and wish.ttl > longest:
            problems.append(Problem("ttl", f"is more than {longest} s"))
        expires = now + min(wish.ttl or self.config.ttl, longest)
        if wish.ttl is not None and outer.expires is not None and expires > outer.expires:
            problems.append(Problem("ttl", "is more than the token in use has left"))
        if problems:
            raise TooBroad(problems)
        return Grant(
            outer.roles if wish.roles is None else wish.roles,
            outer.scopes if wish.scopes is None else wish.scopes,
            wish.hosts or outer.hosts,
            wish.networks or outer.networks,
            earliest(expires, outer.expires),
        )


def make(
    backend: ITokenStore,
    config: Config,
    rules: StoreConfig,
    clock: IReactorTime,
    spare_pepper: bytes | None = None,
) -> Tokens:
    """
    Build what issues tokens that C{backend} keeps under C{rules}.

    @param spare_pepper: used where neither of the two has one.
    """
    store = StoreClient(backend, rules, clock, spare_pepper)
    imported = ImportedTokens(store, rules, clock, config.max_ttl)
    return Tokens(store, imported, config, rules, clock)


def _small_enough(token: Token, *, checked: bool) -> Token:
    """
    Keep no more of an owner than fits into L{MOST_BYTES}.

    A provider that can be asked later says anew which roles there are. Of other owners the roles
    and scopes that the token leaves are enough.

    @raise TooBroad: even that is too large.
    """
    if token.size <= MOST_BYTES:
        return token
    owner = token.owner
    if checked:
        owner = Identity(owner.realm, owner.username, provider=owner.provider)
    smaller = evolve(token, owner=token.grant.cut(owner))
    if smaller.size > MOST_BYTES:
        told = f"needs {smaller.size} bytes, of {MOST_BYTES}; name fewer roles, scopes or hosts"
        raise TooBroad([Problem("", told)])
    return smaller


def _owns(asks: Identity, token: Token) -> bool:
    return (asks.realm, asks.username) == (token.owner.realm, token.owner.username)


def _beyond(maker: Identity, outer: Grant, wish: Wish) -> list[Problem]:
    """Where a wish goes beyond what its maker may do, with the credential that was used."""
    roles = frozenset(maker.roles) if wish.roles else frozenset()
    problems = [
        Problem(f"roles[{place}]", "is no role of yours")
        for place, role in enumerate(wish.roles or ())
        if role not in roles
    ]
    problems += [
        Problem(f"scopes.{service}", "is more than your scopes")
        for service, scopes in (wish.scopes or {}).items()
        if not set(scopes) <= set(maker.scopes.get(service, ()))
    ]
    problems += [
        Problem(f"hosts[{place}]", "is beyond the hosts of the token in use")
        for place, host in enumerate(wish.hosts)
        if outer.hosts and not any(host_fits(pattern, host) for pattern in outer.hosts)
    ]
    problems += [
        Problem(f"networks[{place}]", "is beyond the networks of the token in use")
        for place, network in enumerate(wish.networks)
        if outer.networks and not any_network_fits(outer.networks, network)
    ]
    return problems
