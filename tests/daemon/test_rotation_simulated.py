"""
Rotations of signing keys on several gateways whose clocks differ, which lose their connections to
the token store, and start again at random moments.
"""

from __future__ import annotations

import os
from random import Random

from attrs import define, field
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.key_ring import Plan, RefusedTransition
from authotron.model.errors import Unavailable
from tests.daemon.following import Node
from tests.jose.rings import Shelf

PLAN = Plan("ES256", 20.0, 5.0, 4.0, 6.0)
"""
A rotation every 20 s; backends cache the published keys for 5 s, a change of the ring spreads
within 4 s, and JWTs are valid for 6 s.
"""

STEPS = 300
EXAMPLES = max(10, int(os.environ.get("AUTHOTRON_STREAMS", "200")) // 20)


@define
class Backend:
    """A service that caches the published keys as long as it may, and never fetches them sooner."""

    kids: frozenset[str] = frozenset()
    until: float = -1.0

    def accepts(self, kid: str, now: float, node: Node) -> bool:
        """Verify a JWT; if the cached keys have expired, fetch them from a gateway."""
        if now >= self.until:
            keys = node.keys.jwks(node.now)["keys"]
            self.kids = frozenset(key["kid"] for key in keys)
            self.until = now + node.keys.max_age(node.now)
        return kid in self.kids


@define(eq=False)
class Simulation:
    """Gateways and backends, over some minutes."""

    random: Random
    shelf: Shelf = field(factory=Shelf)
    now: float = 0.0
    nodes: list[Node] = field(init=False)
    backends: list[Backend] = field(factory=lambda: [Backend() for _ in range(3)])
    cut: dict[int, float] = field(factory=dict)
    issued: list[tuple[str, float]] = field(factory=list)
    refused: list[str] = field(factory=list)
    verified: int = 0
    kids: set[str] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        skews = [self.random.uniform(-1.0, 1.0) for _ in range(3)]
        self.nodes = [Node(self.shelf, PLAN, ahead) for ahead in skews]

    def step(self) -> None:
        """Let one second pass."""
        self.now += 1
        for node in self.nodes:
            node.clock.advance(1)
        self._disturb()
        for place in self.random.sample(range(3), 3):
            node = self.nodes[place]
            self.shelf.is_down = self.cut.get(place, 0) > self.now
            node.look()
            self._issue(node)
            self.shelf.is_down = False
        self._verify()

    def _issue(self, node: Node) -> None:
        try:
            kid = node.keys.signer(node.now).kid
        except Unavailable:
            return
        assert kid is not None
        self.kids.add(kid)
        self.issued.append((kid, self.now + PLAN.lifetime))

    def _verify(self) -> None:
        known = [node for node in self.nodes if _publishes(node)]
        self.issued = [each for each in self.issued if self.now < each[1]]
        for backend in self.backends:
            if not known:
                return
            node = self.random.choice(known)
            for kid, _ in self.issued:
                self.verified += 1
                if not backend.accepts(kid, self.now, node):
                    self.refused.append(f"{kid} at {self.now:g}")

    @property
    def _is_cut(self) -> bool:
        return max(self.cut.values(), default=0) > self.now

    def _disturb(self) -> None:
        """
        Cut a gateway off, or start it again; if no gateway was cut off lately, promote the next
        key, or let the store lose the last change.
        """
        chance, place = self.random.random(), self.random.randrange(3)
        if chance < 0.02:
            self.cut[place] = self.now + self.random.choice([2, 10, 60])
        elif chance < 0.04 and self.cut.get(place, 0) <= self.now:
            self.nodes[place].restart()
        elif chance < 0.05 and max(self.cut.values(), default=0) + PLAN.caching < self.now:
            self._promote(self.nodes[place])
        elif chance < 0.06 and len(self.shelf.kept) > 1 and not self._is_cut:
            self.shelf.kept.pop()

    def _promote(self, node: Node) -> None:
        change = node.follower._shared.change(lambda ring: ring.promoted(node.now, PLAN))
        try:
            change.send(None)
        except StopIteration:
            pass
        except (Unavailable, RefusedTransition):
            pass


def _publishes(node: Node) -> bool:
    try:
        node.keys.jwks(node.now)
    except Unavailable:
        return False
    return True


class SimulatedTests(SynchronousTestCase):
    """Rotations, for many courses of events."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
    )
    @given(some.integers(0, 2**32))
    def test_no_jwt_is_refused_T48(self, seed: int) -> None:
        """No backend refuses a JWT of any gateway, whatever happens to gateways and store."""
        simulation = Simulation(Random(seed))
        for _ in range(STEPS):
            simulation.step()
        self.assertEqual(simulation.refused, [])
        self.assertGreater(simulation.verified, STEPS)
        self.assertGreater(len(simulation.kids), 5)
