"""The ring of signing keys in the token store, where it is sealed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from authotron.config.schema import JwtConfig
from authotron.jose import key_ring, sealing
from authotron.jose.key_ring import KeyRing
from authotron.jose.sealing import Sealer
from authotron.model.errors import Unavailable
from authotron.model.records import SIGNING_KEY, Record

ID = "ring"
"""
The id of the record that contains the ring.

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
"""Maximum number of attempts to change the ring while other processes change it too."""


class RecordStore(Protocol):
    """The methods of a token store by which the ring is read and written."""

    async def add_record(self, record: Record, now: float) -> bool:
        """Add a record; return false if the store has a record of this kind and id already."""

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        """Return a record, or C{None} if it is missing."""

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        """Replace a record, if its content is still that of C{earlier}."""


@frozen
class StoredRing:
    """
    The ring as the token store has it.

    @ivar record: the record with the sealed ring, or C{None} if the store has no ring.
    @ivar ring: the ring in the record.
    """

    record: Record | None = None
    ring: KeyRing | None = None


@frozen
class SharedKeys:
    """Reads and writes the ring in a token store."""

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
        return StoredRing(record, key_ring.decode(self._sealer.open(record.content, ID)))

    async def write(self, ring: KeyRing, earlier: StoredRing) -> bool:
        """
        Replace the ring, if the token store still has the ring C{earlier}.

        @return: whether the token store has the new ring.

        @raise Unavailable: the token store cannot be reached; perhaps it has the new ring.
        """
        record = Record(SIGNING_KEY, ID, self._sealer.seal(key_ring.encode(ring), ID))
        if earlier.record is None:
            return await self.store.add_record(record, self._clock.seconds())
        return await self.store.replace_record(record, earlier.record)

    async def change(self, change: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """
        Change the ring, and return the ring that the token store has then.

        @param change: returns the changed ring; it is called again if another process has changed
            the ring meanwhile.

        @raise RefusedTransition: the ring does not allow the change.
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
    """Build what reads and writes the ring, with the sealing keys of a configuration."""
    found = config.sealing_key, config.previous_sealing_key
    secrets = [each.get_secret_value() for each in found if each is not None]
    return SharedKeys(store, sealing.sealer(secrets), clock)
