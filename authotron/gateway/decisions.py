"""Remembered verdicts: what was said about a credential, and until when it may be said again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from contextvars import Context
from hashlib import blake2b
from os import urandom
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import (
    Awaited,
    Started,
    start,
    was_cancelled,
)
from authotron.concurrency.reactor_time import METER, Meter
from authotron.config.schema import CacheConfig
from authotron.gateway import credentials
from authotron.gateway.authentication import Authenticator
from authotron.limits.lru_cache import (
    ENTRY,
    NAME,
    Entry,
    LruCache,
)
from authotron.limits.slots import CLIENT
from authotron.model.authentication import Authentication, Restriction
from authotron.model.errors import (
    BadCredentials,
    BadIdentity,
    NotConfigured,
    Rejected,
    Unavailable,
)
from authotron.model.identity import (
    Client,
    Credential,
    earliest,
)
from authotron.model.naming import folded
from authotron.plugin.cache import authentication_bytes

R = TypeVar("R")

_MOST_CHANGED = 1_000
"""Changed API tokens that are noted; beyond them no lookup in flight is remembered."""

_REMEMBERED = ENTRY + 150
"""Bytes of a remembered verdict without its identity and its reply."""

_COMMON = {len(each): each for each in ("Basic ", "Bearer ")}
"""How most clients begin a header, by the number of bytes before the credential."""

_UNKNOWN_TOKEN = ""
"""Tag of a verdict that depends on an API token whose id is not known here."""

SUCCESS = "success"
NO_HEADER = "no_auth_header"
BAD_HEADER = "invalid_header"
REFUSED = "all_failed"
UNAVAILABLE = "unavailable"
FORBIDDEN = "forbidden"
BROKEN = "error"
REFUSALS = (NO_HEADER, BAD_HEADER, REFUSED)
RESULTS = (SUCCESS, *REFUSALS, FORBIDDEN, UNAVAILABLE, BROKEN)
"""What can come of a request; the label C{result} of C{auth_requests_total}."""


@define
class Outcome:
    """
    What came of a request.

    A value, never changed. It is not frozen because one is made for each request that is not
    remembered: that takes half as long, and a tuple takes longer to read.

    @ivar result: one of L{RESULTS}.
    @ivar realm: of the identity; C{unknown} without one.
    """

    result: str
    authentication: Authentication | None = None

    @property
    def realm(self) -> str:
        found = self.authentication
        return "unknown" if found is None else found.identity.realm


@define
class Decision(Generic[R]):
    """An outcome, and the reply made of it once, ready to be repeated; a value like that."""

    outcome: Outcome
    reply: R = field(repr=False)


class _Memory(Entry, Generic[R]):
    """A verdict good until C{again}, whose identity is good for further ones until C{until}."""

    __slots__ = ("again", "decision", "until")

    def __init__(
        self,
        decision: Decision[R],
        again: float,
        until: float,
        key: bytes,
        size: int,
        subject: Hashable = None,
        tags: tuple[str, ...] = (),
    ) -> None:
        self.key = key  # not by a call: there is one for each request that is not remembered
        self.size = size
        self.subject = subject
        self.tags = tags
        self.names = None
        self.decision = decision
        self.again = again
        self.until = until


_Epoch = tuple[int, int]
"""When a lookup began, by the counts of full invalidations and of changed API tokens."""


def _unknown() -> None:
    """Return no address: nothing is known of the client."""


@define(eq=False)
class _Flight(Generic[R]):
    """One question to the authority, and everybody who waits for the answer."""

    asked: Deferred[Decision[R]]
    abandon: Callable[[_Flight[R]], None]
    decision: Decision[R] | None = None
    abandoned: bool = False
    waiting: list[Deferred[Decision[R]]] = field(factory=list)

    def join(self) -> Deferred[Decision[R]]:
        waiter: Deferred[Decision[R]] = Deferred(self._leave)
        self.waiting.append(waiter)
        return waiter

    def land(self, decision: Decision[R]) -> None:
        self.decision = decision
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            if not waiter.called:  # one may leave because of what another got
                waiter.callback(decision)

    def _leave(self, waiter: Deferred[Decision[R]]) -> None:
        if self.decision is not None:
            return
        self.waiting.remove(waiter)
        if not self.waiting:
            self.abandoned = True
            self.abandon(self)


@define(eq=False)
class DecisionCache(Generic[R]):
    """
    Answers at once what is remembered; asks the authority, once per key, what is not.

    Kept are identities and tokens that were minted, under keyed hashes of the credentials and the
    realm that the client sent: all spellings of these are one entry. Each user has a share.
    Refusals have a memory of their own, so that a flood of wrong passwords pushes no good verdict
    out. Not remembered: what came of several credentials, of a failed augmenter, of an outage.
    """

    _clock: IReactorTime
    _authenticator: Authenticator
    _mint: Callable[[Authentication], str]
    _prepare: Callable[[Outcome, str | None], R]
    _ttl: float = 60
    _size: int = 10_000
    _max_bytes: int = 32 * 2**20
    _reuse: float = 30
    _refusals: float = 5
    _meter: Meter | None = None
    _context: Context = field(factory=Context, init=False, repr=False)
    _epoch: int = field(default=0, init=False)
    _changes: int = field(default=0, init=False)
    _changed: dict[str, int] = field(factory=dict, init=False)
    _secret: bytes = field(factory=lambda: urandom(32), init=False, repr=False)
    _good: LruCache[_Memory[R]] = field(init=False, repr=False)
    _bad: LruCache[_Memory[R]] = field(init=False, repr=False)
    _flights: dict[bytes, _Flight[R]] = field(factory=dict, init=False, repr=False)
    _fixed: dict[str, Decision[R]] = field(init=False, repr=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._context.run(METER.set, self._meter)
        refusals = self._max_bytes // 16
        self._good = LruCache(self._max_bytes - refusals, self._size)
        self._bad = LruCache(refusals, max(1, self._size // 10))
        self._fixed = {
            result: self._decision(Outcome(result), None) for result in RESULTS if result != SUCCESS
        }

    def decide(
        self,
        authorization: bytes | None,
        realm: bytes | None,
        client: Callable[[], Client] = _unknown,
    ) -> Decision[R] | Deferred[Decision[R]]:
        """
        Say what to answer to the two headers, C{Authorization} and C{X-Auth-Realm}.

        A Deferred is returned only if a provider takes time; nothing but its own
        cancellation makes it fail. The conditions of the identity are for the caller to hold
        against the request.

        @param client: gives the address of the client, or what finds it out; it is called at once,
            and only if nothing is remembered.
        """
        key = self._key(authorization, realm)
        now = self._clock.seconds()
        memory = self._good.get(key) or self._bad.get(key)
        if memory is not None and now < memory.again:
            return memory.decision
        return self._ask(key, authorization, realm, memory, client)

    def invalidate(self, tokens: Iterable[str] | None = None) -> None:
        """
        Void what is remembered, or being found out, since API tokens were revoked or changed.

        @param tokens: their ids; with C{None} everything is void.
        """
        self._flights.clear()
        if tokens is None:
            self._epoch += 1
            self._good.clear()
            self._bad.clear()
            return
        self._changes += 1
        changed = (*tokens, _UNKNOWN_TOKEN)
        self._good.drop_tagged(changed)
        self._changed.update(dict.fromkeys(changed, self._changes))
        if len(self._changed) > _MOST_CHANGED:
            self._changed.clear()
            self._epoch += 1  # no lookup in flight is remembered

    def remembered(self) -> int:
        """How many verdicts are kept."""
        return len(self._good) + len(self._bad)

    def remembered_bytes(self) -> int:
        """Bytes that the verdicts take which are kept, about."""
        return self._good.size + self._bad.size

    def _key(self, authorization: bytes | None, realm: bytes | None) -> bytes:
        """Lengths stand first, so that no two pairs share a text; absent and empty differ."""
        a = -1 if authorization is None else len(authorization)
        r = -1 if realm is None else len(realm)
        return blake2b(
            b"%d %d %b%b" % (a, r, authorization or b"", realm or b""),
            key=self._secret,
            digest_size=16,
        ).digest()

    def _canonical_key(self, found: tuple[Credential, ...], realm: str | None) -> bytes:
        """
        The key of all headers that mean the same credentials and the same realm.

        It is the key of their common spelling, see C{_COMMON}.
        """
        text = ", ".join([f"{each.scheme.capitalize()} {each.value}" for each in found])
        return self._key(text.encode(), None if realm is None else folded(realm))

    def _ask(
        self,
        key: bytes,
        authorization: bytes | None,
        realm: bytes | None,
        memory: _Memory[R] | None,
        client: Callable[[], Client],
    ) -> Decision[R] | Deferred[Decision[R]]:
        if authorization is None or not authorization.isascii():  # which is as good as missing
            return self._fixed[NO_HEADER]
        text = authorization.decode("ascii").strip(" \t")
        if not text:
            return self._fixed[NO_HEADER]
        wanted = None if realm is None else _utf8(realm)
        asks = client()
        try:
            found = credentials.parse(text, asks)
        except BadCredentials:
            return self._fixed[BAD_HEADER]
        length = len(authorization) - len(found[0].value)
        if wanted is not None or not text.startswith(_COMMON.get(length, "\n")):
            name, key = key, self._canonical_key(found, wanted)
            memory = self._good.get(key) or self._bad.get(key)
            if memory is not None and self._clock.seconds() < memory.again:
                if name != key:
                    self._good.alias(name, key)
                    self._bad.alias(name, key)
                return memory.decision
        if key in self._flights:
            return self._flights[key].join()
        return self._find_out(key, found, wanted, memory, asks)

    def _find_out(
        self,
        key: bytes,
        found: tuple[Credential, ...],
        wanted: str | None,
        memory: _Memory[R] | None,
        asks: Client,
    ) -> Decision[R] | Deferred[Decision[R]]:
        epoch = (self._epoch, self._changes)
        work = self._judge(key, found, wanted, memory, epoch)
        if self._meter is not None and METER.get() is None:
            # Timed as the front's. Faster than setting the meter and resetting it.
            judged = self._context.run(_begin_for, asks, work)
        else:  # timed as the route that asked, the site's
            before = CLIENT.set(asks)
            try:
                judged = start(work)
            finally:
                CLIENT.reset(before)
        if isinstance(judged, Decision):
            return judged
        if isinstance(judged, Failure):
            return self._broken(judged)
        return self._waited_for(key, judged, epoch)

    def _waited_for(
        self, key: bytes, asked: Deferred[Decision[R]], epoch: _Epoch
    ) -> Decision[R] | Deferred[Decision[R]]:
        """Keep a question that takes time, so that requests with the same key wait for it, too."""
        flight = _Flight(asked, lambda flight: self._abandon(key, flight))
        if epoch == (self._epoch, self._changes):
            self._flights[key] = flight
        asked.addErrback(self._broken, flight).addCallback(self._landed, key, flight)
        return flight.decision or flight.join()

    async def _judge(
        self,
        key: bytes,
        found: tuple[Credential, ...],
        realm: str | None,
        memory: _Memory[R] | None,
        epoch: _Epoch,
    ) -> Decision[R]:
        """
        Find out what to answer, and remember it.

        @param memory: what is remembered, whose token is not handed out any more.
        """
        lasting = len(found) == 1
        try:
            if memory is not None and (now := self._clock.seconds()) < memory.until:
                remembered = memory.decision.outcome.authentication
                assert remembered is not None
                return self._accept(key, remembered, epoch, now, memory.until)
            authentication = await self._authenticator.identify(found, realm)
            now = self._clock.seconds()
            until = now + self._ttl if lasting else now
            fresh_until, ends = authentication.fresh_until, authentication.expires_at()
            if not (fresh_until is None and ends is None):
                until = earliest(until, fresh_until, _whole(ends)) or 0
            return self._accept(key, authentication, epoch, now, until)
        except Rejected:
            if lasting:
                self._remember_refusal(key, epoch, REFUSED)
            return self._fixed[REFUSED]
        except BadIdentity as bad:
            self._log.warn(
                "identity refused: {reason}", reason=str(bad), event="auth.identity.refused"
            )
            if lasting:
                self._remember_refusal(key, epoch, FORBIDDEN)
            return self._fixed[FORBIDDEN]
        except Unavailable:
            return self._fixed[UNAVAILABLE]
        except NotConfigured:
            return self._fixed[BROKEN]

    def _accept(
        self, key: bytes, found: Authentication, epoch: _Epoch, now: float, until: float
    ) -> Decision[R]:
        """
        A new token for an identity that was found at C{now} and is good until C{until}.

        @raise Rejected: the identity has expired, so no token is minted for it.
        """
        try:
            token = self._mint(found)
        except Rejected as rejected:
            self._log.debug(
                "no token minted for {username} of realm {realm}: {reason}",
                username=found.identity.username,
                realm=found.identity.realm,
                reason=str(rejected),
                event="auth.identity.expired",
            )
            raise
        outcome = Outcome(SUCCESS, found)
        decision = Decision(outcome, self._prepare(outcome, token))
        tokens = () if found.restriction is None else _tokens(found.restriction)
        if now < until and epoch[0] == self._epoch and not (tokens and self._voids(tokens, epoch)):
            size = _REMEMBERED + authentication_bytes(found) + decision.reply.__sizeof__()
            if tokens:
                size += NAME * len(tokens)
            self._good.put(
                _Memory(
                    decision,
                    min(now + self._reuse, until),
                    until,
                    key,
                    size,
                    found.identity[:2],
                    tokens,
                )
            )
        return decision

    def _voids(self, tokens: tuple[str, ...], epoch: _Epoch) -> bool:
        """Whether one of these API tokens was changed after a lookup began."""
        changed = self._changed
        return bool(changed) and any(changed.get(each, 0) > epoch[1] for each in tokens)

    def _remember_refusal(self, key: bytes, epoch: _Epoch, result: str) -> None:
        """In the place of a good verdict that is over, which would hide it."""
        self._good.drop(key)
        until = self._clock.seconds() + min(self._refusals, self._ttl)
        if epoch == (self._epoch, self._changes) and self._clock.seconds() < until:
            self._bad.put(_Memory(self._fixed[result], until, until, key, _REMEMBERED))

    def _decision(self, outcome: Outcome, token: str | None) -> Decision[R]:
        return Decision(outcome, self._prepare(outcome, token))

    def _landed(self, decision: Decision[R], key: bytes, flight: _Flight[R]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.land(decision)

    def _abandon(self, key: bytes, flight: _Flight[R]) -> None:
        # Removed before it is cancelled: no request may join a question that gets no answer.
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.asked.cancel()

    def _broken(self, failure: Failure, flight: _Flight[R] | None = None) -> Decision[R]:
        """A part failed as it never should: no identity, no memory, a loud word in the log."""
        if flight is None or not (flight.abandoned and was_cancelled(failure)):
            self._log.failure("the authority is broken", failure, event="auth.authority.broken")
        return self._fixed[BROKEN]


def _begin_for(asks: Client, work: Awaited[Decision[R]]) -> Started[Decision[R]]:
    """Begin to judge in a context of its own, which knows the last client that asked."""
    CLIENT.set(asks)
    return start(work)


def _whole(moment: float | None) -> int | None:
    """The last whole second of a life: a token ends with it, and so does what is remembered."""
    return None if moment is None else int(moment)


def _tokens(restriction: Restriction) -> tuple[str, ...]:
    """The ids of the API tokens on which an identity depends: the one in use, and its ancestors."""
    lineage: tuple[str, ...] = getattr(restriction, "lineage", ())  # that of a plugin has none
    return lineage or (_UNKNOWN_TOKEN,)


def _utf8(header: bytes) -> str:
    """A filter that cannot be read fits no realm."""
    return header.decode("utf-8", "surrogateescape").strip(" \t")


def make(
    config: CacheConfig,
    clock: IReactorTime,
    authenticator: Authenticator,
    mint: Callable[[Authentication], str],
    life: float,
    prepare: Callable[[Outcome, str | None], R],
    meter: Meter | None = None,
) -> DecisionCache[R]:
    """
    Build the memory in front of C{authenticator}.

    @param life: the longest life of a minted token, in seconds.
    @param meter: times the work for requests that no other route has.
    """
    reuse = config.reuse if config.reuse is not None else 30.0
    return DecisionCache(
        clock,
        authenticator,
        mint,
        prepare,
        ttl=config.ttl,
        size=config.size,
        max_bytes=config.max_bytes // 2,
        reuse=min(reuse, life / 10),
        refusals=config.refusals,
        meter=meter,
    )
