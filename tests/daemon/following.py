"""Gateways in memory that follow one ring of signing keys, each with a clock of its own."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from authotron.daemon.key_follower import KeyFollower
from authotron.gateway.key_status import KeyStatus
from authotron.jose.key_ring import KeyPair, Plan
from authotron.jose.ring_keys import RingKeys
from authotron.jose.sealing import sealer
from authotron.net.world import World
from authotron.testing.worlds import NOW, clock_at, run_at_once
from authotron.tokens.shared_keys import SharedKeys
from tests.jose.rings import PLAN, Shelf

SECRET = "s" * 32


@define(eq=False)
class Node:
    """
    One gateway that follows the ring.

    @ivar ahead: by how many seconds its clock is ahead.
    @ivar renewed: how often cached JWTs were discarded.
    @ivar invalidated: how often all cached decisions were discarded.
    """

    shelf: Shelf
    plan: Plan = PLAN
    ahead: float = 0.0
    secrets: tuple[str, ...] = (SECRET,)
    configured: KeyPair | None = None
    clock: Clock = field(init=False)
    keys: RingKeys = field(init=False)
    follower: KeyFollower = field(init=False)
    renewed: int = field(default=0, init=False)
    invalidated: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.clock = clock_at(NOW + self.ahead)
        self.restart()

    def restart(self) -> None:
        """Forget the ring, as a new process does."""
        self.keys = RingKeys(self.plan)
        shared = SharedKeys(self.shelf, sealer(self.secrets), self.clock)
        decisions: Any = self
        self.follower = KeyFollower(
            shared,
            self.keys,
            decisions,
            World(self.clock, run_at_once),
            KeyStatus(self.keys, self.clock.seconds),
            self.configured,
        )

    def recheck(self, _concern: None) -> None:
        self.renewed += 1

    def invalidate(self) -> None:
        self.invalidated += 1

    def look(self) -> None:
        """Look at the ring in the store once."""
        done: list[object] = []
        Deferred.fromCoroutine(self.follower.look()).addCallback(done.append)
        assert done

    @property
    def now(self) -> float:
        return self.clock.seconds()

    def states(self) -> str:
        """Return the states of the keys that this gateway knows, in their order."""
        ring = self.keys.ring
        assert ring is not None
        return " ".join(ring.state(key, self.now, self.plan) for key in ring.keys)
