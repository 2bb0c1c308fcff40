"""Cached decisions: authenticates a client once, and repeats the decision while it is fresh."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from contextvars import Context
from hashlib import blake2b
from os import urandom
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from authotron.concurrency.racing import Awaited, Started, start
from authotron.concurrency.reactor_time import METER, Meter
from authotron.concurrency.single_flight import SingleFlight
from authotron.concurrency.waiters import Waiters
from authotron.config.schema import CacheConfig
from authotron.gateway import credentials
from authotron.gateway.authentication import Authenticator
from authotron.gateway.carriers import NO_CARRIERS, Carriers
from authotron.gateway.decision_log import DecisionLog
from authotron.gateway.outcomes import (
    BAD_HEADER,
    BROKEN,
    FORBIDDEN,
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    INVALID_UNDER_DPOP,
    NO_HEADER,
    REFUSED,
    RESULTS,
    SUCCESS,
    TOKEN_ERRORS,
    UNAVAILABLE,
    Decision,
    Outcome,
    R,
)
from authotron.limits.lru_cache import ENTRY, NAME, Entry, LruCache
from authotron.limits.slots import CLIENT
from authotron.model.authentication import Authentication, Restriction
from authotron.model.errors import (
    BadCredentials,
    BadIdentity,
    InsufficientScope,
    NotConfigured,
    Rejected,
    Unavailable,
)
from authotron.model.identity import Client, Credential, earliest
from authotron.model.request import Presented
from authotron.plugin.cache import authentication_bytes

if TYPE_CHECKING:  # imported only if policies or revocation are configured
    from authotron.gateway.policy import PolicyAccess
    from authotron.model.revocation import Concern

R_co = TypeVar("R_co", covariant=True)

_MAX_CHANGED = 1_000
"""
Maximum number of changed API tokens whose ids are remembered. If more than 1,000 API tokens change,
all ids are forgotten, and no result of a lookup under way is cached.
"""

_DECISION_BYTES = ENTRY + 150
"""
Number of bytes of memory that a cached decision takes up in addition to its authentication and its
reply.
"""

_MOST_APPLIED = 20_000
"""
Maximum number of cached decisions to which changed policies are applied; each decision takes about
2 us.
"""

_UNKNOWN_TOKEN = ""
"""Tag of a cached decision that depends on an API token whose id is not known."""


class TokenMinter(Protocol):
    """Mints the JWT that tells backends about an authenticated client."""

    @property
    def max_lifetime(self) -> float:
        """Maximum lifetime of a minted JWT, in seconds."""

    @property
    def signs_until(self) -> float:
        """
        The moment from which JWTs are signed by another key, in seconds since the epoch; it may be
        infinite.
        """

    @property
    def first_read(self) -> Waiters[None] | None:
        """
        The requests that wait until the signing keys have been read for the first time, or C{None}
        if no request has to wait.
        """

    def mint(self, authentication: Authentication, /) -> str:
        """
        Return a new signed JWT for an authentication.

        @raise Rejected: the authentication has expired.
        @raise Unavailable: the minter does not know which key signs.
        """


class ReplyMaker(Protocol[R_co]):
    """Makes the reply to a proxy from the outcome of an authentication."""

    def authenticate(self, outcome: Outcome, token: str | None, /) -> R_co:
        """
        Return the reply to a proxy that requests C{/authenticate}.

        @param token: the minted JWT, if the outcome is a success.
        """


class AccessMaker(Protocol):
    """
    The interface of the object that applies policies to authenticated clients.

    @ivar first_read: the requests that wait until the policies in the token store have been read
        for the first time, or C{None} if no request has to wait.
    """

    first_read: Waiters[None] | None

    async def until_read(self) -> None:
        """Wait until the first attempt to read the policies in the token store has ended."""

    def access(self, authentication: Authentication, /) -> PolicyAccess:
        """
        Return an object that says what the policies allow to an authenticated client.

        @raise BadIdentity: the identity has a claim that only the gateway may set.
        """

    def later_access(self, authentication: Authentication, /) -> PolicyAccess:
        """
        Return an object that applies the policies in use to an authenticated client when it is
        first asked about a request.
        """


class RevocationCheck(Protocol):
    """Checks whether the credentials of authenticated clients are revoked."""

    async def until_read(self) -> None:
        """Wait until the first attempt to read the revocations in the token store has ended."""

    def check(self, found: Authentication, /) -> None:
        """
        Check that the credential of an authenticated client is not revoked.

        @raise Rejected: the credential is revoked.
        @raise Unavailable: it is not known which credentials are revoked.
        """


class _CachedDecision(Entry, Generic[R]):
    """
    A decision in the cache.

    @ivar again: the time, in seconds since the epoch, until which this decision may be used for
        further requests.
    @ivar until: the time, in seconds since the epoch, until which new JWTs may be minted for the
        cached authentication.
    """

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
        # C{super().__init__} is not called, because the call would slow down each cache miss.
        self.key = key
        self.size = size
        self.subject = subject
        self.tags = tags
        self.names = None
        self.decision = decision
        self.again = again
        self.until = until


_Epoch = tuple[int, int]
"""
The state when a lookup of a decision began: how often all decisions had been invalidated, and how
many changes of API tokens had been counted.
"""


def _unknown() -> None:
    """Return C{None} as the address, because the address of the client is not known."""


@define(eq=False)
class DecisionCache(Generic[R]):
    """
    Returns a cached decision at once, or else authenticates the client, once for each cache key.

    Authentications and minted JWTs are cached under a keyed hash of the credentials and the realm
    that the client presented; different spellings of the same credentials and realm share one
    entry. The decisions about one user may take up only a tenth of the cache. Refusals have a cache
    of their own, so that many wrong passwords do not displace accepted credentials. Not cached are
    decisions about several credentials at once, decisions to which an augmenter should have
    contributed but failed, and outages.
    """

    _clock: IReactorTime
    _authenticator: Authenticator
    _minter: TokenMinter
    _replies: ReplyMaker[R]
    _ttl: float = 60
    _size: int = 10_000
    _max_bytes: int = 32 * 2**20
    _reuse: float = 30
    _refusals: float = 5
    _meter: Meter | None = None
    _policies: AccessMaker | None = None
    _carriers: Carriers = NO_CARRIERS
    _revocations: RevocationCheck | None = None
    _context: Context = field(factory=Context, init=False, repr=False)
    _epoch: int = field(default=0, init=False)
    _changes: int = field(default=0, init=False)
    _changed: dict[str, int] = field(factory=dict, init=False)
    _hash: blake2b = field(
        factory=lambda: blake2b(urandom(32), digest_size=16), init=False, repr=False
    )
    """
    A BLAKE2 hash object that has read a secret first, so that it works as a keyed hash. The
    argument C{key} of BLAKE2 would have the same effect, but would pad the secret to a block of 128
    bytes, which costs time for each cache key.
    """
    _good: LruCache[_CachedDecision[R]] = field(init=False, repr=False)
    _bad: LruCache[_CachedDecision[R]] = field(init=False, repr=False)
    _flights: SingleFlight[Decision[R]] = field(factory=SingleFlight, init=False, repr=False)
    _fixed: dict[str, Decision[R]] = field(init=False, repr=False)
    _token_refused: dict[str, Decision[R]] = field(init=False, repr=False)
    _log: DecisionLog = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._context.run(METER.set, self._meter)
        self._log = DecisionLog(self._clock)
        refusals = self._max_bytes // 16
        self._good = LruCache(self._max_bytes - refusals, self._size)
        self._bad = LruCache(refusals, max(1, self._size // 10))
        self._fixed = {
            result: Decision(outcome, self._replies.authenticate(outcome, None))
            for result in RESULTS
            if result != SUCCESS
            for outcome in [Outcome(result)]
        }
        self._token_refused = {
            error: Decision(outcome, self._replies.authenticate(outcome, None))
            for error in (*TOKEN_ERRORS, INVALID_UNDER_DPOP)
            for outcome in [Outcome(REFUSED, error=error)]
        }

    def decide(
        self, presented: Presented, client: Callable[[], Client] = _unknown
    ) -> Decision[R] | Deferred[Decision[R]]:
        """
        Decide what to reply to a client.

        A Deferred is returned only if a provider or augmenter does not answer at once; the Deferred
        fails only if the caller cancels it. The caller must
        L{authorize<authotron.gateway.authorization.authorize>} the request if the authentication
        has conditions.

        @param client: returns the L{Client} of the request: an address, or a function that finds
            the address. The function C{client} is called before C{decide} returns, and only if no
            decision is cached.
        """
        key = self.key(presented)
        now = self._clock.seconds()
        cached = self._good.get(key) or self._bad.get(key)
        if cached is not None and now < cached.again:
            return cached.decision
        return self._look_up(key, presented, cached, client)

    def repeat(self, key: bytes, now: float) -> Decision[R] | None:
        """
        Return the decision that is cached under a key, or C{None} if no such decision is cached.

        @param key: the L{key} of what a client presented.
        @param now: the current time, in seconds since the epoch.
        """
        cached = self._good.get(key) or self._bad.get(key)
        return cached.decision if cached is not None and now < cached.again else None

    def invalidate(self, tokens: Iterable[str] | None = None) -> None:
        """
        Discard cached decisions, and do not cache the results of lookups that are under way.

        @param tokens: the ids of API tokens that were revoked or changed; only the decisions that
            depend on one of these API tokens are discarded. If C{tokens} is C{None}, all decisions
            are discarded.
        """
        self._flights.running.clear()
        if tokens is None:
            self._epoch += 1
            self._good.clear()
            self._bad.clear()
            return
        self._changes += 1
        changed = (*tokens, _UNKNOWN_TOKEN)
        self._good.drop_tagged(changed)
        self._changed.update(dict.fromkeys(changed, self._changes))
        if len(self._changed) > _MAX_CHANGED:
            self._changed.clear()
            self._epoch += 1  # Results of lookups that began before an invalidation are not cached.

    def apply_policies(self) -> None:
        """
        Apply the policies in use to all cached decisions, because the policies have changed.

        The clients of the cached decisions do not have to be authenticated again. If more than
        20,000 decisions are cached, all of them are discarded instead, so that the reactor is not
        blocked for long.
        """
        if self._policies is None:
            return
        if len(self._good) > _MOST_APPLIED:
            self.invalidate()
            return
        later = self._policies.later_access
        for each in self._good.entries():
            old = each.decision
            found = old.outcome.authentication
            if found is not None:
                each.decision = Decision(old.outcome, old.reply, later(found))

    def recheck(self, concern: Concern | None) -> None:
        """
        Have cached decisions checked again before they are used for further requests, because
        revocations have changed, or another key signs.

        The clients are not authenticated again: when a client sends its next request, the gateway
        checks whether its authentication is revoked, and mints a new JWT if it is not.

        @param concern: the tokens and owners that the change may concern, or C{None} if it may
            concern all clients, and credentials that were revoked may count again.
        """
        if concern is None:
            self._bad.clear()
            for each in self._good.entries():
                each.again = 0.0
            return
        tokens, owners = concern.tokens, concern.owners
        for each in self._good.entries():
            if owners and each.subject in owners:
                each.again = 0.0
                continue
            found = each.decision.outcome.authentication
            if found is None or (token := found.token) is None:
                continue
            # Most tokens have neither ancestors nor actors; then a call would take longest.
            is_derived = token.ancestors or token.actors
            if token.id in tokens or (is_derived and concern.may_include(token)):
                each.again = 0.0

    def remembered(self) -> int:
        """Return the number of cached decisions."""
        return len(self._good) + len(self._bad)

    def remembered_bytes(self) -> int:
        """Return the bytes that the cached decisions take, approximately."""
        return self._good.size + self._bad.size

    def key(self, presented: Presented) -> bytes:
        """
        Return the keyed hash over all that a client presented.

        The hash also covers the lengths of all values, so that different values never have the same
        cache key; a missing value has another hash than an empty one.
        """
        # A loop would take three times as long as this one expression.
        authorization, realm, others = presented
        text = b"%d %d %b%b" % (
            -1 if authorization is None else len(authorization),
            -1 if realm is None else len(realm),
            authorization or b"",
            realm or b"",
        )
        if others:
            lengths = [-1 if each is None else len(each) for each in others]
            text += b"%a%b" % (lengths, b"".join([each or b"" for each in others]))
        hashed = self._hash.copy()
        hashed.update(text)
        return hashed.digest()

    def _look_up(
        self,
        key: bytes,
        presented: Presented,
        cached: _CachedDecision[R] | None,
        client: Callable[[], Client],
    ) -> Decision[R] | Deferred[Decision[R]]:
        """
        Find the decision that is cached for the canonical spelling of the credentials, or
        authenticate the client if no such decision is cached.

        @param cached: a cached decision that may no longer be used.
        """
        text = credentials.header_text(presented)
        if not (text or presented.others):
            return self._fixed[NO_HEADER]
        sender = client()
        try:
            if presented.others:
                canonical, found = self._carriers.read(presented, sender)
            else:
                found = credentials.parse(text, sender)
                canonical = credentials.canonical(presented, found)
        except BadCredentials as bad:
            self._log.malformed(bad)
            return self._fixed[BAD_HEADER]
        if not found:
            return self._fixed[NO_HEADER]
        if canonical is not presented:
            name, key = key, self.key(canonical)
            cached = self._good.get(key) or self._bad.get(key)
            if cached is not None and self._clock.seconds() < cached.again:
                if name != key:
                    self._good.alias(name, key)
                    self._bad.alias(name, key)
                return cached.decision
        flight = self._flights.running.get(key)
        if flight is not None:
            return flight.join()
        return self._authenticate(key, found, credentials.realm_filter(presented), cached, sender)

    def _authenticate(
        self,
        key: bytes,
        found: tuple[Credential, ...],
        realm: str | None,
        cached: _CachedDecision[R] | None,
        sender: Client,
    ) -> Decision[R] | Deferred[Decision[R]]:
        epoch = (self._epoch, self._changes)
        work = self._judge(key, found, realm, cached, epoch)
        if self._meter is not None and METER.get() is None:
            # On the fast path one shared meter measures the work, because setting and resetting the
            # context variable METER for each request would take longer.
            started = self._context.run(_start_for, sender, work)
        else:  # Klein answers this request, and the meter of the route measures the work.
            before = CLIENT.set(sender)
            try:
                started = start(work)
            finally:
                CLIENT.reset(before)
        if isinstance(started, Decision):
            return started
        if isinstance(started, Failure):
            return self._broken(started)
        # If decisions were invalidated after this lookup began, later requests must not share its
        # result, so the lookup is registered under a new object instead of under the key of the
        # request.
        name = key if epoch == (self._epoch, self._changes) else object()
        return self._flights.share(name, started, recover=self._broken)

    async def _judge(
        self,
        key: bytes,
        found: tuple[Credential, ...],
        realm: str | None,
        cached: _CachedDecision[R] | None,
        epoch: _Epoch,
    ) -> Decision[R]:
        """
        Authenticate a client, mint a JWT, and cache the decision.

        @param cached: a cached decision for whose authentication a new JWT may be minted.
        """
        cacheable = len(found) == 1
        try:
            is_informed = self._policies is None and self._revocations is None
            if not is_informed or self._minter.first_read is not None:
                await self._until_informed()
            if cached is not None and (now := self._clock.seconds()) < cached.until:
                known = cached.decision.outcome.authentication
                assert known is not None
                return self._accept(key, known, epoch, now, cached.until)
            authentication = await self._authenticator.identify(found, realm)
            now = self._clock.seconds()
            until = now + self._ttl if cacheable else now
            fresh_until, expires = authentication.fresh_until, authentication.expires_at()
            if not (fresh_until is None and expires is None):
                until = earliest(until, fresh_until, _whole(expires)) or 0
            decision = self._accept(key, authentication, epoch, now, until)
        except Rejected as rejected:
            self._log.rejected(found, rejected)
            refusal = self._refusal(found, rejected)
            if cacheable:
                self._cache_refusal(key, epoch, refusal)
            return refusal
        except BadIdentity as bad:
            self._log.refused(bad)
            if cacheable:
                self._cache_refusal(key, epoch, self._fixed[FORBIDDEN])
            return self._fixed[FORBIDDEN]
        except Unavailable:
            return self._fixed[UNAVAILABLE]
        except NotConfigured:
            return self._fixed[BROKEN]
        self._log.authenticated(authentication)
        return decision

    async def _until_informed(self) -> None:
        """
        Wait until the first attempts to read the policies, the revocations and the signing keys in
        the token store have ended, if they have not ended yet.
        """
        if self._policies is not None and self._policies.first_read is not None:
            await self._policies.until_read()
        if self._revocations is not None:
            await self._revocations.until_read()
        if (unread := self._minter.first_read) is not None:
            await unread.join()

    def _refusal(self, found: tuple[Credential, ...], rejected: Rejected) -> Decision[R]:
        schemes = [each.scheme for each in found if each.carrier is None]
        if "bearer" not in schemes and "dpop" not in schemes:
            return self._fixed[REFUSED]
        has_no_scope = isinstance(rejected, InsufficientScope)
        if "dpop" in schemes and not has_no_scope:
            return self._token_refused[INVALID_UNDER_DPOP]
        return self._token_refused[INSUFFICIENT_SCOPE if has_no_scope else INVALID_TOKEN]

    def _accept(
        self, key: bytes, found: Authentication, epoch: _Epoch, now: float, until: float
    ) -> Decision[R]:
        """
        Mint a JWT for an authentication, and cache the decision.

        @param now: the time at which the client was authenticated, in seconds since the epoch.
        @param until: the time until which the authentication may be cached.

        @raise Rejected: the authentication has expired or is revoked, so no JWT is minted.
        @raise BadIdentity: the identity has a claim that only the gateway may set.
        @raise Unavailable: it is not known which credentials are revoked, or which key signs.
        """
        if self._revocations is not None:
            self._revocations.check(found)
        access = None if self._policies is None else self._policies.access(found)
        try:
            token = self._minter.mint(found)
        except Rejected as rejected:
            self._log.expired(found.identity, rejected)
            raise
        outcome = Outcome(SUCCESS, found)
        decision = Decision(outcome, self._replies.authenticate(outcome, token), access)
        tokens = () if found.restriction is None else _tokens(found.restriction)
        if now < until and epoch[0] == self._epoch and not (tokens and self._voids(tokens, epoch)):
            size = _DECISION_BYTES + authentication_bytes(found) + decision.reply.__sizeof__()
            if access is not None:
                size += access.__sizeof__()
            if tokens:
                size += NAME * len(tokens)
            self._good.put(
                _CachedDecision(
                    decision,
                    min(now + self._reuse, until, self._minter.signs_until),
                    until,
                    key,
                    size,
                    found.identity[:2],
                    tokens,
                )
            )
        return decision

    def _voids(self, tokens: tuple[str, ...], epoch: _Epoch) -> bool:
        """
        Return whether one of the API tokens on which a decision depends was changed after the
        lookup of the decision began.
        """
        changed = self._changed
        return bool(changed) and any(changed.get(each, 0) > epoch[1] for each in tokens)

    def _cache_refusal(self, key: bytes, epoch: _Epoch, refusal: Decision[R]) -> None:
        """
        Cache a refusal, and remove the accepted decision that is cached for the client, because a
        lookup would find the accepted decision first.
        """
        self._good.drop(key)
        until = self._clock.seconds() + min(self._refusals, self._ttl)
        if epoch == (self._epoch, self._changes) and self._clock.seconds() < until:
            self._bad.put(_CachedDecision(refusal, until, until, key, _DECISION_BYTES))

    def _broken(self, failure: Failure) -> Decision[R]:
        """Log an unexpected failure, and return the decision to answer 500; it is not cached."""
        self._log.broken(failure)
        return self._fixed[BROKEN]


def _start_for(sender: Client, work: Awaited[Decision[R]]) -> Started[Decision[R]]:
    """
    Start work in the context of the fast path, in which the context variable L{CLIENT} is set to
    the client of the request first.
    """
    CLIENT.set(sender)
    return start(work)


def _whole(moment: float | None) -> int | None:
    """
    Return the expiry of a lifetime rounded down to a whole second, because the C{exp} of a JWT is a
    whole number.
    """
    return None if moment is None else int(moment)


def _tokens(restriction: Restriction) -> tuple[str, ...]:
    """
    Return the ids of the API tokens that a decision depends on: the used token and
    its ancestors.
    """
    # A restriction that a plugin defines may lack the attribute C{lineage}.
    lineage: tuple[str, ...] = getattr(restriction, "lineage", ())
    return lineage or (_UNKNOWN_TOKEN,)


def make(
    config: CacheConfig,
    clock: IReactorTime,
    authenticator: Authenticator,
    minter: TokenMinter,
    replies: ReplyMaker[R],
    meter: Meter | None = None,
    policies: AccessMaker | None = None,
    carriers: Carriers = NO_CARRIERS,
    revocations: RevocationCheck | None = None,
) -> DecisionCache[R]:
    """
    Build the cache of the decisions of C{authenticator}.

    @param meter: measures how long the work for requests blocks the reactor, if they are answered
        on the fast path, without Klein.
    @param policies: applies the policies to clients, if policies are configured.
    @param revocations: checks whether credentials are revoked, if revocation is configured.
    """
    reuse = config.reuse if config.reuse is not None else 30.0
    return DecisionCache(
        clock,
        authenticator,
        minter,
        replies,
        ttl=config.ttl,
        size=config.size,
        max_bytes=config.max_bytes // 2,
        reuse=min(reuse, minter.max_lifetime / 10),
        refusals=config.refusals,
        meter=meter,
        policies=policies,
        carriers=carriers,
        revocations=revocations,
    )
