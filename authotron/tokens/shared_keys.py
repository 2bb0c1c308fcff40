"""The ring of signing keys that gateways share; the token store contains the ring sealed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from authotron.config.schema import JwtConfig
from authotron.jose import key_ring_json, sealing
from authotron.jose.key_ring import KeyRing
from authotron.jose.sealing import Sealer
from authotron.model.errors import Unavailable
from authotron.model.records import SIGNING_KEY, Record

ID = "ring"
"""
The id of the record that contains the ring of signing keys.

All keys are in one record, so that each change of the ring is one atomic operation of the token
store: if two gateways rotate at the same moment, one of them succeeds, and the other one reads what
the first one has written.
"""

NO_RING = (
    "the token store has no signing keys; the first gateway that starts with jwt.sealing_key "
    "creates them"
)
"""Why the ring in a token store cannot be listed or changed before a gateway has started."""

_TRIES = 20
"""Maximum number of attempts to change the ring of signing keys while other processes change it."""


class RecordStore(Protocol):
    """The methods of a token store by which a process reads and writes the ring of signing keys."""

    async def add_record(self, record: Record, now: float) -> bool:
        """Add a record; return false if the store has a record of this kind and id already."""

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        """Return a record, or C{None} if it is missing."""

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        """Replace a record, if its content is still that of C{earlier}."""


@frozen
class StoredRing:
    """
    The ring of signing keys as a token store has it.

    @ivar record: the record with the sealed key ring, or C{None} if the token store has no ring.
    @ivar ring: the ring of signing keys in the record.
    """

    record: Record | None = None
    ring: KeyRing | None = None


@frozen
class SharedKeys:
    """Reads and writes the ring of signing keys in a token store."""

    store: RecordStore
    _sealer: Sealer
    _clock: IReactorTime

    async def read(self) -> StoredRing:
        """
        Read the ring.

        @raise UnreadableRing: the ring is sealed under another key, or damaged.
        @raise Unavailable: the token store cannot be reached.
        """
        record = await self.store.record(SIGNING_KEY, ID, self._clock.seconds())
        if record is None:
            return StoredRing()
        return StoredRing(record, key_ring_json.decode(self._sealer.open(record.content, ID)))

    async def write(self, ring: KeyRing, earlier: StoredRing) -> bool:
        """
        Replace the ring of signing keys, if the token store still has the ring C{earlier}.

        @return: whether the token store has the new key ring.

        @raise Unavailable: the token store cannot be reached; perhaps it has the new ring.
        """
        record = Record(SIGNING_KEY, ID, self._sealer.seal(key_ring_json.encode(ring), ID))
        if earlier.record is None:
            return await self.store.add_record(record, self._clock.seconds())
        return await self.store.replace_record(record, earlier.record)

    async def change(self, change: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """
        Change the ring of signing keys, and return the ring that the token store has after the
        change.

        @param change: a function that returns the changed key ring; the function is called again if
            another process has changed the ring meanwhile.

        @raise RefusedTransition: the states of the signing keys do not allow the change.
        @raise UnreadableRing: the ring is sealed under another key, or damaged.
        @raise Unavailable: the token store cannot be reached, or it has no ring.
        """
        for _ in range(_TRIES):
            stored = await self.read()
            if stored.ring is None:
                raise Unavailable(NO_RING)
            ring = change(stored.ring)
            if await self.write(ring, stored):
                return ring
        raise Unavailable("nothing changed: other processes change the signing keys all the time")


def make(config: JwtConfig, store: RecordStore, clock: IReactorTime) -> SharedKeys:
    """
    Build the object that reads and writes the ring of signing keys, with the sealing keys of a
    configuration.
    """
    found = config.sealing_key, config.previous_sealing_key
    secrets = [each.get_secret_value() for each in found if each is not None]
    return SharedKeys(store, sealing.sealer(secrets), clock)
