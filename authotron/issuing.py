"""Tokens of our own: who gets which, how they are found again, and how they end."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from attrs import define, evolve, field, frozen
from pydantic import Field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from authotron import imported
from authotron.errors import NoSuchToken, Problem, Rejected, Taken, TooBroad, Unavailable
from authotron.hosts import host_fits, network_fits
from authotron.identity import Identity, earliest
from authotron.racing import within
from authotron.settings import Seconds, Section, WholeSeconds
from authotron.stores import ITokenStore, StoreConfig, Wanted
from authotron.tokens import Grant, Peppers, Presented, Token, generate, id_of, parse

T = TypeVar("T")
P = ParamSpec("P")

_DAY = 86_400
_FOR_EVER = 10_000 * 366 * _DAY
_USED_WITHIN = 60
_MOST_USED = 10_000
_TRIES = 3


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


@frozen
class Copied:
    """What another service says of a token of its own."""

    owner: Identity
    grant: Grant = field(factory=Grant)
    created: float | None = None
    name: str = ""
    comment: str = ""
    email: str = ""


@define(eq=False)
class _Opening:
    """An attempt to open the store, and those who wait for its end, whatever that is."""

    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    def joined(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def over(self) -> None:
        while self._waiting:
            self._waiting.pop(0).callback(None)


@define(eq=False)
class Tokens:
    """
    The tokens of our own, under the rules of one configuration.

    @ivar store: what keeps them.
    """

    store: ITokenStore
    config: Config
    _rules: StoreConfig
    _clock: IReactorTime
    _spare_pepper: bytes | None = field(default=None, repr=False)
    _used: dict[str, float] = field(factory=dict, init=False)
    _opening: _Opening | None = field(default=None, init=False)

    @property
    def compat(self) -> bool:
        """Whether C{GET /token} makes a token."""
        return self._rules.compat

    async def open(self) -> None:
        """
        Make the store ready. It may be tried again.

        @raise Unavailable: not now.
        @raise ConfigError: never; somebody must change something.
        """
        opening = self._opening = _Opening()
        try:
            await within(self._clock, self._rules.timeout, self.store.open())
        finally:
            self._opening = None
            opening.over()

    async def reach(self) -> None:
        """
        Try whether the store is there.

        @raise Unavailable: it is not.
        """
        await self._ask(self.store.reach)

    async def make(self, maker: Identity, wish: Wish, *, checked: bool) -> tuple[Presented, Token]:
        """
        A new token for who asks.

        @param checked: whether somebody can say later if the maker is still known.

        @raise TooBroad: it would do more than its maker may, or live too long.
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
        await within(self._clock, self._rules.timeout, self._opened())
        for _ in range(_TRIES):
            fresh = generate(now)
            hashed = self._peppers().hash(fresh.text)
            token = Token(fresh.id, hashed, kept, now, grant, wish.name, wish.comment, wish.email)
            try:
                await self._ask(self.store.add, token)
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
            token = await self._ask(self.store.get, presented.id)
            fits = self._peppers().fits(token.hashed if token else "", presented.text)
            if token is not None and fits:
                break
        else:
            raise Rejected("there is no such token")
        if token.grant.expires is not None and token.grant.expires <= self._clock.seconds():
            raise Rejected("the token has expired")
        return token

    def may_know(self, text: str) -> bool:
        """Whether a token of another form may be one that was imported."""
        return self._rules.imported and imported.may_be(text)

    async def _meanings(self, text: str) -> Iterable[Presented]:
        if self.may_know(text):
            await within(self._clock, self._rules.timeout, self._opened())  # the pepper is there
            known = imported.meanings(text, self._rules.acl_proxy_peppers())
            return [named for each in known for named in self._peppers().named(each)]
        return [parse(text)]

    async def _ids(self, text: str) -> list[str]:
        """What a text may mean in the place of an id: one, or a whole token."""
        meant = await self._meanings(text) if self.may_know(text) else ()
        id_ = id_of(text)
        return [*([id_] if id_ else []), *(presented.id for presented in meant)]

    async def has(self, known_as: str) -> bool:
        """
        Whether a token was copied already.

        @param known_as: see L{imported.meanings}.

        @raise Unavailable: the store does not answer.
        """
        await within(self._clock, self._rules.timeout, self._opened())
        for presented in self._peppers().named(known_as):
            if await self._ask(self.store.get, presented.id) is not None:
                return True
        return False

    async def copy(self, known_as: str, source: Copied) -> bool:
        """
        Keep a token that another service gave out; say whether it was not here already.

        @raise Unavailable: the store does not answer.
        """
        if await self.has(known_as):
            return False
        now, grant = self._clock.seconds(), source.grant
        grant = evolve(grant, expires=earliest(grant.expires, now + self.config.max_ttl))
        presented = next(self._peppers().named(known_as))
        hashed = self._peppers().hash(known_as)
        token = Token(
            presented.id, hashed, source.owner, source.created or now, grant,
            source.name, source.comment, source.email,
        )  # fmt: skip
        try:
            await self._ask(self.store.add, token)
        except Taken:
            return False
        return True

    def used(self, id_: str) -> None:
        """Take a note; it is written with many others, later."""
        if id_ in self._used or len(self._used) < _MOST_USED:
            self._used[id_] = self._clock.seconds()

    async def listed(self, asks: Identity, wanted: Wanted) -> Sequence[Token]:
        """The tokens of who asks; those of others if an administrator wants them."""
        own = evolve(wanted, realm=asks.realm, username=asks.username)
        return await self._ask(self.store.listed, wanted if self.rules_over(asks) else own)

    async def show(self, asks: Identity, id_: str) -> Token:
        """
        A token that is one's own, or anyone's for an administrator.

        @raise NoSuchToken: there is none, or it is somebody else's, which sounds the same.
        """
        rules = self.rules_over(asks)
        for each in await self._ids(id_):
            token = await self._ask(self.store.get, each)
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
        if changes and not await self._ask(self.store.change, token.id, changes):
            raise NoSuchToken
        return await self.show(asks, token.id)

    async def revoke(self, asks: Identity, id_: str) -> None:
        """
        End a token.

        @raise NoSuchToken: there is none, or it is somebody else's.
        """
        token = await self.show(asks, id_)
        if not await self._ask(self.store.remove, token.id):
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
        await self._ask(self.store.remove, token.id)

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
                await self._ask(self.store.change, id_, {"used": moment})
        finally:
            self._used = {**used, **self._used}
        await self._ask(self.store.sweep, self._clock.seconds())

    async def _ask(
        self, ask: Callable[P, Coroutine[Any, Any, T]], *given: P.args, **named: P.kwargs
    ) -> T:
        """Wait while the store is being opened, but neither for that nor for it without end."""

        async def asked() -> T:
            await self._opened()
            return await ask(*given, **named)

        return await within(self._clock, self._rules.timeout, asked())

    async def _opened(self) -> None:
        if self._opening is not None:
            await self._opening.joined()

    def _peppers(self) -> Peppers:
        """Configured ones first, then the one beside what is stored."""
        spare = self.store.pepper or self._spare_pepper
        keys = [*self._rules.peppers(), *([spare] if spare else [])]
        if not keys:
            raise Unavailable("the token store is not open yet")
        return Peppers(keys)

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


def derived_pepper(secret: str) -> bytes:
    """A key that follows from a secret, and from which the secret does not follow."""
    return hmac.digest(secret.encode(), b"authotron: pepper of the token store", "sha256")


def _owns(asks: Identity, token: Token) -> bool:
    return (asks.realm, asks.username) == (token.owner.realm, token.owner.username)


def _beyond(maker: Identity, outer: Grant, wish: Wish) -> list[Problem]:
    """Where a wish goes beyond what its maker may do, with the credential that was used."""
    problems = [
        Problem(f"roles[{place}]", "is no role of yours")
        for place, role in enumerate(wish.roles or ())
        if role not in maker.roles
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
        if outer.networks and not any(network_fits(each, network) for each in outer.networks)
    ]
    return problems
