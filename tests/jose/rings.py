"""Rings of signing keys, and the place where several gateways keep one."""

from __future__ import annotations

from functools import cache

from attrs import define, field

from authotron.jose import ring_keys
from authotron.jose.key_ring import KeyPair, KeyRing, Plan, first
from authotron.model.errors import Unavailable
from authotron.model.records import Record
from authotron.testing.worlds import NOW

DAY = 86_400.0
PLAN = Plan("ES256", 30 * DAY, 300.0, 60.0, 3600.0)
BY_HAND = Plan("ES256", None, 300.0, 60.0, 3600.0)


@cache
def real_pair(name: str = "") -> KeyPair:
    """Return a key pair that can sign, always the same one for a name."""
    assert isinstance(name, str)
    return ring_keys.new_pair(PLAN)


def pair(name: str) -> KeyPair:
    """Return a key pair without a private key."""
    return KeyPair(name, "ES256", f"the private key {name}")


def ring(*names: str, plan: Plan = PLAN, now: float = NOW) -> KeyRing:
    """Return a ring whose first key became active at a moment, with further keys."""
    found = first(pair(names[0]), now, plan)
    for name in names[1:]:
        found = found.with_next(pair(name), now, plan)
    return found


@define(eq=False, slots=False)
class Shelf:
    """
    A store of records that several gateways share, and that a test can damage.

    @ivar kept: the records, and all their earlier states, the newest one last.
    @ivar before_write: called before each change, as another gateway may be faster.
    """

    kept: list[Record] = field(factory=list)
    is_down: bool = False
    is_read_only: bool = False
    writes: int = 0

    def before_write(self) -> None:
        """Do nothing; a test replaces this method."""

    async def record(self, kind: str, id_: str, _now: float) -> Record | None:
        self._check()
        [*_, last] = [None, *self.kept]
        assert last is None or (last.kind, last.id) == (kind, id_)
        return last

    async def add_record(self, record: Record, _now: float) -> bool:
        self.before_write()
        self._check(writes=True)
        if self.kept:
            return False
        self.kept.append(record)
        self.writes += 1
        return True

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        self.before_write()
        self._check(writes=True)
        if not self.kept or self.kept[-1].content != earlier.content:
            return False
        self.kept.append(record)
        self.writes += 1
        return True

    def _check(self, *, writes: bool = False) -> None:
        if self.is_down or (writes and self.is_read_only):
            raise Unavailable("the cable is cut")
