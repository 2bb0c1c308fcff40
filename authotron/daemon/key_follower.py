"""
Follow the signing keys in the token store, and rotate them.

Every process of every gateway follows the signing keys by itself; no process leads the others. The
token store lets only one of several simultaneous changes through, see
L{authotron.tokens.shared_keys}.
"""

from __future__ import annotations

from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import was_cancelled
from authotron.concurrency.waiters import Waiters
from authotron.gateway.decisions import DecisionCache
from authotron.gateway.gateway import Gateway
from authotron.gateway.key_status import KeyStatus, moment
from authotron.jose import key_ring, ring_keys
from authotron.jose.key_ring import KeyPair, KeyRing, RefusedTransition, UnreadableRing
from authotron.jose.ring_keys import RingKeys
from authotron.model.errors import ConfigError, Problem, Unavailable
from authotron.net.world import World
from authotron.tokens import shared_keys
from authotron.tokens.shared_keys import SharedKeys, StoredRing
from authotron.web.replies import Reply

_SHORTEST, _LONGEST = 0.25, 10.0
"""Minimum and maximum number of seconds between two looks at the keys in the token store."""

_LOOKS = 4
"""Number of looks at the keys in the token store within C{jwt.key_spread}."""

_RETRY = 1.0
"""
Maximum number of seconds between two attempts to read the keys in the token store while they are
not known.
"""

_TRIES = 10
"""Maximum number of attempts to change the ring of signing keys while other processes change it."""

_UNREACHABLE, _UNREADABLE = "jwt.keys.unreachable", "jwt.keys.unreadable"
"""The names of the log events that state why the keys in the token store cannot be used."""


@define(eq=False)
class KeyFollower:
    """
    Keeps the signing keys of one gateway equal to those in its token store, and creates the first
    key, and the next key, if the token store lacks them.

    If the token store is unreachable, the known keys change their states as planned. If the sealing
    key does not fit, the follower changes nothing in the token store.

    @ivar keys: the keys of the gateway.
    @ivar status: the state of the keys, for operators.
    @ivar _configured: the key that the configuration names, which becomes the first key of an empty
        token store.
    """

    _shared: SharedKeys
    keys: RingKeys
    _decisions: DecisionCache[Reply]
    _world: World
    status: KeyStatus
    _configured: KeyPair | None = None
    _active: str | None = field(default=None, init=False)
    _trouble: str | None = field(default=None, init=False)
    _is_outdated: bool = field(default=False, init=False)
    _warned: set[str] = field(factory=set, init=False)
    _following: Deferred[None] | None = field(default=None, init=False)
    _waiting: Deferred[None] | None = field(default=None, init=False)
    _is_due: bool = field(default=False, init=False)
    _log = Logger()

    def start(self) -> None:
        """Read the keys in the token store now, and then look for changes regularly."""
        if self.keys.ring is None:
            self.keys.first_read = Waiters()
        self._begin(0.0)

    def stop(self) -> None:
        """Stop looking for changed keys; requests no longer wait for the keys."""
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
        self._end_first_read()

    def _begin(self, delay: float) -> None:
        self._following = Deferred.fromCoroutine(self._follow(delay))
        self._following.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        """Log an unexpected exception, and continue to look for changed keys."""
        if was_cancelled(failure):
            return
        self._end_first_read()
        self._log.failure(
            "looking for changed signing keys failed because of an internal error, trying again",
            failure,
            event="jwt.keys.broken",
        )
        self._begin(_RETRY)

    def wake(self) -> None:
        """Look at the keys in the token store without delay, because they have changed."""
        self._is_due = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def _follow(self, delay: float) -> None:
        while True:
            await self._wait(delay)
            self._is_due = False
            await self.look()
            self._end_first_read()
            delay = self._pause()

    async def _wait(self, delay: float) -> None:
        """Wait until the next look is due, or until L{wake} is called."""
        if not delay or self._is_due:
            return
        self._waiting = Deferred()
        call = self._world.clock.callLater(delay, self.wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if call.active():
                call.cancel()

    def _pause(self) -> float:
        pause = max(_SHORTEST, min(_LONGEST, self.keys.plan.spread / _LOOKS))
        return min(pause, _RETRY) if self.keys.ring is None else pause

    def _end_first_read(self) -> None:
        waiting, self.keys.first_read = self.keys.first_read, None
        if waiting is not None:
            waiting.succeed(None)

    # Looking at the keys in the token store once

    async def look(self) -> None:
        """
        Use the keys in the token store, and change them if a change is due. If the keys in the
        token store cannot be used, log the reason, and show the reason in the status.
        """
        try:
            await self.synchronize()
        except Unavailable as error:
            self._note(_UNREACHABLE, str(error) or "no answer in time")
        except (UnreadableRing, RefusedTransition) as error:
            self._note(_UNREADABLE, str(error))
        else:
            self._end_trouble()
        self._note_active()
        self._note_outdated()

    async def synchronize(self) -> None:
        """
        Use the signing keys in the token store, after this process has made a change of the keys
        that is due.

        @raise UnreadableRing: the keys are sealed under another key, or damaged.
        @raise RefusedTransition: the ring of signing keys has the maximum number of keys.
        @raise Unavailable: the token store cannot be reached, or other processes change the signing
            keys all the time.
        """
        for _ in range(_TRIES):
            stored = await self._shared.read()
            ring = self._use_stored(stored)
            wanted = await self._wanted(ring)
            if wanted == stored.ring:
                return
            if await self._write(wanted, stored):
                if ring != stored.ring:
                    self._log.warn(
                        "the token store had lost signing keys, or a change of them, which is "
                        "stored again",
                        event="jwt.keys.restored",
                    )
                return
        raise Unavailable("other processes change the signing keys all the time")

    def _use_stored(self, stored: StoredRing) -> KeyRing | None:
        """
        Use the key ring that the token store has, with the keys that the store has lost; return the
        ring.
        """
        known = self.keys.ring
        if stored.ring is None:
            return known
        now, ring = self._now(), stored.ring
        if known is not None:
            ring = ring.merged(known, now, self.keys.plan)
        self._use(ring)
        return ring

    async def _wanted(self, ring: KeyRing | None) -> KeyRing:
        """Return the key ring that the token store should have, with a first and a next key."""
        plan = self.keys.plan
        if ring is None:
            pair = self._configured or await self._new_pair()
            ring = key_ring.first(pair, self._now(), plan)
        ring = ring.arranged(self._now(), plan)
        if plan.rotation is not None and ring.following(self._now()) is None:
            ring = ring.with_next(await self._new_pair(), self._now(), plan)
        return ring

    async def _new_pair(self) -> KeyPair:
        return await self._world.threads(partial(ring_keys.new_pair, self.keys.plan))

    async def _write(self, ring: KeyRing, earlier: StoredRing) -> bool:
        """Store a changed key ring; return whether no other process has changed it meanwhile."""
        if not await self._shared.write(ring, earlier):
            return False
        rings = [each for each in (earlier.ring, self.keys.ring) if each is not None]
        known = {key.kid for each in rings for key in each.keys}
        for key in ring.keys:
            if key.kid not in known:
                self._log.info(
                    "signing key {kid} ({algorithm}) was added to the token store, and signs from "
                    "{begin}",
                    kid=key.kid,
                    algorithm=key.pair.algorithm,
                    begin=moment(key.active_from) or "its promotion",
                    event="jwt.keys.added",
                )
        self._use(ring)
        return True

    def _use(self, ring: KeyRing) -> None:
        """
        Use a key ring that the token store has; if another key signs now, no JWT that the earlier
        key signed is handed out again.
        """
        now, before = self._now(), self.keys.ring
        self.keys.use(ring, now)
        if before is not None:
            if {*ring.retired} - {*before.retired}:
                # clients may have authenticated by JWTs that a retired key has signed
                self._decisions.invalidate()
            elif before.active(now).kid != ring.active(now).kid:
                self._decisions.recheck(None)
        for key in ring.keys:
            if key.created > now + self.keys.plan.spread and key.kid not in self._warned:
                self._warned.add(key.kid)
                self._log.warn(
                    "signing key {kid} was created {seconds:.0f} s after the present time of this "
                    "machine, which is more than jwt.key_spread; compare the clocks of the "
                    "gateways",
                    kid=key.kid,
                    seconds=key.created - now,
                    event="jwt.keys.clock",
                )

    def _now(self) -> float:
        return self._world.clock.seconds()

    async def take_over(self, earlier: KeyFollower | None) -> None:
        """
        Read the keys for a gateway that is not in use yet. If the token store cannot be reached,
        use the keys that the gateway in use has.

        @param earlier: the key follower of the gateway in use, if that gateway has one.

        @raise ConfigError: the keys cannot be read, or the token store cannot be reached and no
            keys are known.
        """
        self.remember(earlier)
        try:
            await self.synchronize()
        except (UnreadableRing, RefusedTransition) as error:
            raise ConfigError([Problem("jwt.sealing_key", str(error))]) from None
        except Unavailable as error:
            if self.keys.ring is None:
                raise ConfigError([Problem("jwt.sealing_key", str(error))]) from None

    def remember(self, earlier: KeyFollower | None) -> None:
        """Use the keys that the gateway in use has until the token store has been read."""
        if earlier is not None and earlier.keys.ring is not None:
            self.keys.use(earlier.keys.ring, earlier.keys.confirmed)
            self._active = earlier._active  # noqa: SLF001 - of the same class

    # What the log and the status say

    def _note_active(self) -> None:
        """Log when another key has become active."""
        ring, now = self.keys.ring, self._now()
        if ring is None:
            return
        active = ring.active(now)
        if active.kid != self._active:
            self._active = active.kid
            self._log.info(
                "signing key {kid} ({algorithm}) is active until {end}",
                kid=active.kid,
                algorithm=active.pair.algorithm,
                end=moment(ring.ends(active)) or "another one is promoted",
                event="jwt.keys.active",
            )

    def _note_outdated(self) -> None:
        """Log once when the known keys have become too old to sign with."""
        was_outdated = self._is_outdated
        self._is_outdated = self.keys.ring is not None and not self.status.is_usable
        if self._is_outdated and not was_outdated:
            self._log.error(
                "no JWT can be signed until the token store can be read: the last known signing "
                "key was due to be replaced, {age:.0f} s after the keys were read",
                age=self.status.age,
                event="jwt.keys.outdated",
            )

    def _end_trouble(self) -> None:
        trouble, self._trouble = self._trouble, None
        self.status.problem = None
        if trouble is not None:
            self._log.info(
                "the signing keys in the token store can be read again", event="jwt.keys.reached"
            )

    def _note(self, trouble: str, reason: str) -> None:
        """Show in the status why the keys in the token store cannot be used, and log it once."""
        self.status.problem = reason
        if self._trouble == trouble:
            return
        self._trouble = trouble
        log = self._log.warn if trouble == _UNREACHABLE else self._log.error
        if self.keys.ring is None:
            log(
                "the signing keys in the token store are not known, so no JWT can be signed: "
                "{reason}",
                reason=reason,
                event=trouble,
            )
        else:
            log(
                "the signing keys that the token store had {age:.0f} s ago stay in use: {reason}",
                age=self.status.age,
                reason=reason,
                event=trouble,
            )


def make(gateway: Gateway[Reply], world: World) -> KeyFollower:
    """Build the follower of a gateway whose configuration has C{jwt.sealing_key}."""
    keys, config, tokens = gateway.minter.keys, gateway.config.file.jwt, gateway.tokens
    assert isinstance(keys, RingKeys)
    assert tokens is not None
    shared = shared_keys.make(config, tokens.store, world.clock)
    status = KeyStatus(keys, world.clock.seconds)
    configured = ring_keys.configured_pair(config)
    return KeyFollower(shared, keys, gateway.decisions, world, status, configured)
