"""
The ring of signing keys that gateways share: each key is first next, then active, then retiring,
and then gone.

The state of a key follows from the moments in the ring and from the time alone, so a gateway that
knows the ring needs no message to change from one signing key to the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Literal

from attrs import evolve, field, frozen

from authotron.config.schema import Algorithm

State = Literal["next", "active", "retiring", "gone"]
"""
The states of a signing key: C{next} is published and does not sign yet, C{active} signs,
C{retiring} is published and no longer signs, and C{gone} is not published any more.
"""

MOST_KEYS = 12
"""Maximum number of signing keys in a key ring."""

_MOST_RETIRED = 50
"""
Maximum number of retired signing keys whose ids a key ring remembers, so that no gateway restores
these keys.
"""

ALGORITHMS = ("ES256", "RS256", "EdDSA")
"""The signature algorithms of the keys in a key ring."""


class UnreadableRing(Exception):
    """
    The ring of signing keys in the token store cannot be read: the ring is sealed under another
    key, damaged, or written by a later version of authotron.
    """


class RefusedTransition(Exception):
    """A signing key of the key ring cannot be brought into the requested state."""


@frozen
class Plan:
    """
    How the signing keys are rotated; all durations are in seconds.

    @ivar algorithm: the signature algorithm of new keys.
    @ivar rotation: how long a key signs before the next key replaces it, or C{None} if only an
        operator promotes keys.
    @ivar caching: the maximum time for which backends cache the published keys.
    @ivar spread: the maximum time until all gateways have learned of a change of the ring, with the
        difference of their clocks.
    @ivar lifetime: the maximum lifetime of a JWT.
    """

    algorithm: Algorithm
    rotation: float | None
    caching: float
    spread: float
    lifetime: float

    @property
    def lead(self) -> float:
        """
        Seconds for which a key is published before a gateway may sign with it: after this time
        every gateway publishes the key, and no backend has a cached key set without the key.
        """
        return self.caching + self.spread

    @property
    def most_skew(self) -> float:
        """The seconds by which the clocks of the gateways may differ: half of C{spread}."""
        return self.spread / 2


@frozen
class KeyPair:
    """A private signing key in PEM, the id of the key, and its signature algorithm."""

    kid: str
    algorithm: Algorithm
    pem: str = field(repr=False)


@frozen
class SigningKey:
    """
    A signing key of the key ring, and the moments at which its state changes, in seconds since the
    epoch.

    @ivar created: the time from which gateways publish the key.
    @ivar active_from: the time from which gateways sign with the key, until the following key of
        the ring becomes active; infinite if this time is not planned yet.
    @ivar promised: the time until which a gateway may sign with the key that cannot reach the token
        store, and so knows only an earlier version of the ring; 0 if no such time was ever planned.
    @ivar lifetime: the maximum lifetime of the JWTs that are signed with the key, in seconds.
    """

    pair: KeyPair
    created: float
    active_from: float
    promised: float
    lifetime: float

    @property
    def kid(self) -> str:
        """The id of the signing key."""
        return self.pair.kid


@frozen
class KeyRing:
    """
    The ring of signing keys that gateways share.

    @ivar version: a number that grows with each change of the key ring.
    @ivar keys: the keys, at least one, in the order in which they become active.
    @ivar retired: the ids of keys that an operator has retired, or that were replaced before they
        became active; the keys are not in the ring any more.
    """

    version: int
    keys: tuple[SigningKey, ...]
    retired: tuple[str, ...] = ()

    # The states of the keys

    def active(self, now: float) -> SigningKey:
        """
        Return the key that signs: the last one that has become active, or the first key of the
        ring if the clock of this gateway is so far behind that no key has become active yet.
        """
        begun = [key for key in self.keys if key.active_from <= now]
        return begun[-1] if begun else self.keys[0]

    def following(self, now: float) -> SigningKey | None:
        """Return the key that becomes active next, or C{None} if the ring has no further key."""
        active = self.active(now)
        later = self.keys[self.keys.index(active) + 1 :]
        return later[0] if later else None

    def ends(self, key: SigningKey) -> float:
        """
        Return the moment at which a key ceases to sign, which is infinite for the last key of the
        ring.
        """
        place = self.keys.index(key) + 1
        return self.keys[place].active_from if place < len(self.keys) else inf

    def gone_from(self, key: SigningKey, plan: Plan) -> float:
        """
        Return the moment from which a key is not published any more: when the last JWT that any
        gateway may have signed with the key has expired.
        """
        lifetime = max(key.lifetime, plan.lifetime)
        return max(self.ends(key), key.promised) + lifetime + plan.spread

    def state(self, key: SigningKey, now: float, plan: Plan) -> State:
        """Return the state of a key of this ring at a moment."""
        active = self.active(now)
        if key is active:
            return "active"
        if self.keys.index(key) > self.keys.index(active):
            return "next"
        return "retiring" if now < self.gone_from(key, plan) else "gone"

    def published(self, now: float, plan: Plan) -> list[SigningKey]:
        """Return the keys that gateways publish at a moment; the active key is the first."""
        active = self.active(now)
        others = [key for key in self.keys if key is not active]
        return [active, *(key for key in others if self.state(key, now, plan) != "gone")]

    def unchanged(self, now: float, plan: Plan) -> tuple[float, float]:
        """
        Return the moments around C{now} between which no key changes its state: the last change
        before, and the first change after.
        """
        moments = [
            moment for key in self.keys for moment in (key.active_from, self.gone_from(key, plan))
        ]
        before = max((each for each in moments if each <= now), default=-inf)
        return before, min((each for each in moments if each > now), default=inf)

    def known_until(self, confirmed: float, plan: Plan) -> float:
        """
        Return until when a gateway that has last seen this ring in the token store at C{confirmed}
        knows all keys that any gateway may sign with.

        A key that another gateway creates later is published for L{Plan.lead} seconds before it
        signs, and the last key of this ring signs for as long as it was promised.
        """
        return max(confirmed + plan.lead, self.keys[-1].promised)

    # Changes of the ring

    def with_next(self, pair: KeyPair, now: float, plan: Plan) -> KeyRing:
        """
        Return the ring with a new key at its end, which becomes active when the key before it has
        signed for the planned time, also according to earlier versions of the ring; without a
        planned rotation the new key becomes active when an operator promotes it.

        @raise RefusedTransition: the key ring has the maximum number of keys.
        """
        ready = now + plan.lead
        last = self.keys[-1]
        begin = inf
        if plan.rotation is not None:
            begin = max(last.active_from + plan.rotation, last.promised, ready)
        new = _beginning(SigningKey(pair, now, inf, 0.0, plan.lifetime), begin, plan)
        kept = [key for key in self.keys if self._is_kept(key, now, plan)]
        if len(kept) >= MOST_KEYS:
            kept = [key for key in kept if self.state(key, now, plan) != "gone"]
        if len(kept) >= MOST_KEYS:
            raise RefusedTransition(f"the ring has {len(kept)} keys, which is the maximum")
        return self._changed([*kept, new])

    def _is_kept(self, key: SigningKey, now: float, plan: Plan) -> bool:
        """
        Return whether a key stays in the ring: until the key has been gone for a whole rotation, so
        that a gateway whose clock is weeks ahead does not remove a key that other gateways use.
        """
        return now < self.gone_from(key, plan) + max(plan.rotation or 0.0, key.lifetime, plan.lead)

    def promoted(self, now: float, plan: Plan) -> KeyRing:
        """
        Return the ring with an earlier moment for the following key, which becomes active as soon
        as all backends know this key.

        @raise RefusedTransition: the ring has no following key.
        """
        key = self.following(now)
        if key is None:
            raise RefusedTransition("no key is next; generate one first")
        moment = max(now, key.created + plan.lead)
        if moment >= key.active_from:
            raise RefusedTransition(f"key {key.kid} becomes active as early as possible already")
        return self._with(_beginning(key, moment, plan))

    def without(self, kid: str, now: float, plan: Plan) -> KeyRing:
        """
        Return the ring without a key, which no gateway restores, publishes or accepts any more.

        If the removed key is active, the following key becomes active at once.

        @raise RefusedTransition: the ring has no such key, or no following key that all backends
            know.
        """
        key = self.find(kid)
        kept = [each for each in self.keys if each is not key]
        if key is self.active(now):
            after = self.following(now)
            if after is None:
                raise RefusedTransition(
                    f"key {kid} is active, and no key is next; generate one first"
                )
            if now < after.created + plan.lead:
                left = after.created + plan.lead - now
                raise RefusedTransition(
                    f"key {kid} is active, and backends may not know the next key {after.kid} for "
                    f"{left:.0f} s more; repeat the command then"
                )
            kept = [evolve(each, active_from=min(now, each.active_from)) if each is after else each
                    for each in kept]  # fmt: skip
        ring = evolve(self, retired=(*self.retired, kid)[-_MOST_RETIRED:])
        return ring._changed(kept)  # noqa: SLF001 - another ring

    def find(self, kid: str) -> SigningKey:
        """
        Return the signing key with the given id.

        @raise RefusedTransition: the ring has no such key.
        """
        for key in self.keys:
            if key.kid == kid:
                return key
        raise RefusedTransition(f"there is no signing key {kid}; see `authotron keys list`")

    def arranged(self, now: float, plan: Plan) -> KeyRing:
        """
        Return the ring with moments that fit a plan: the following key becomes active at some time,
        if the plan has a rotation, and all keys are published for the lifetime of the JWTs.
        """
        ring, active, after = self, self.active(now), self.following(now)
        if plan.rotation is not None and after is not None and after.active_from == inf:
            begin = max(active.active_from + plan.rotation, after.created + plan.lead, now)
            ring = ring._with(_beginning(after, begin, plan))
        signing = ring.keys[ring.keys.index(ring.active(now)) :]
        if all(key.lifetime >= plan.lifetime for key in signing):
            return ring
        raised = [
            evolve(key, lifetime=max(key.lifetime, plan.lifetime)) if key in signing else key
            for key in ring.keys
        ]
        return ring._changed(raised)  # noqa: SLF001 - another ring

    def _with(self, changed: SigningKey) -> KeyRing:
        return self._changed(changed if key.kid == changed.kid else key for key in self.keys)

    def _changed(self, keys: Iterable[SigningKey]) -> KeyRing:
        """
        Return the following version of this ring, with other keys; each key is published for as
        long as a gateway that knows only this version may sign with it.
        """
        ends = {key.kid: self.ends(key) for key in self.keys}
        kept = [
            evolve(key, promised=max(key.promised, end))
            if (end := ends.get(key.kid, inf)) < inf
            else key
            for key in keys
        ]
        return KeyRing(self.version + 1, in_order(kept), self.retired)

    def merged(self, known: KeyRing, now: float, plan: Plan) -> KeyRing:
        """
        Return this ring, which the token store has, with the keys that it lacks and that a gateway
        knows, because the store has lost a change or was restored from a backup.

        Of two rings the one with the higher version counts. The keys that only the other ring has
        never sign again; they are published, because a gateway may have signed with them. Keys
        whose state is C{gone}, or that an operator has retired, are not added.
        """
        if known == self:
            return self
        base, other = (known, self) if known.version > self.version else (self, known)
        retired = tuple(dict.fromkeys((*other.retired, *base.retired)))[-_MOST_RETIRED:]
        kids, begin = {key.kid for key in base.keys}, base.keys[0].active_from - 1
        added = [
            evolve(
                key,
                active_from=min(key.active_from, begin),
                promised=max(key.promised, now + plan.spread),
            )
            for key in other.keys
            if key.kid not in kids and other.state(key, now, plan) != "gone"
        ]
        keys = [key for key in in_order([*base.keys, *added]) if key.kid not in retired]
        found = KeyRing(self.version, tuple(keys or base.keys), retired)
        if found == self:
            return self
        return evolve(found, version=max(self.version, known.version) + 1)


def first(pair: KeyPair, now: float, plan: Plan) -> KeyRing:
    """Return a key ring with one key, which is active at once."""
    return KeyRing(1, (_beginning(SigningKey(pair, now, now, 0.0, plan.lifetime), now, plan),))


def _beginning(key: SigningKey, moment: float, plan: Plan) -> SigningKey:
    """Return a key that becomes active at a moment, and signs for a whole rotation at least."""
    promised = 0.0 if plan.rotation is None or moment == inf else moment + plan.rotation
    return evolve(key, active_from=moment, promised=promised)


def in_order(keys: Iterable[SigningKey]) -> tuple[SigningKey, ...]:
    """Return signing keys in the order in which they become active."""
    return tuple(sorted(keys, key=lambda key: (key.active_from, key.created, key.kid)))
