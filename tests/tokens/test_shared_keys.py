"""The ring of signing keys in a store of records."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.key_ring import KeyRing, RefusedTransition, UnreadableRing
from authotron.jose.sealing import sealer
from authotron.model.errors import Unavailable
from authotron.testing.worlds import NOW, clock_at
from authotron.tokens.shared_keys import SharedKeys, StoredRing
from tests.jose.rings import PLAN, Shelf, ring

T = TypeVar("T")
SECRET = "s" * 32


class SharedKeysTests(SynchronousTestCase):
    """Reading, writing and changing the ring."""

    def setUp(self) -> None:
        self.shelf = Shelf()
        self.shared = self.with_secret(SECRET)

    def with_secret(self, secret: str) -> SharedKeys:
        return SharedKeys(self.shelf, sealer([secret]), clock_at(NOW))

    def done(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def failed(self, work: Coroutine[Any, Any, object], kind: type[Exception]) -> str:
        return str(self.failureResultOf(Deferred.fromCoroutine(work), kind).value)

    def test_empty(self) -> None:
        """A store without a ring has none, and no command can change it."""
        self.assertEqual(self.done(self.shared.read()), StoredRing())
        self.assertIn("has no signing keys", self.failed(self.shared.change(_same), Unavailable))

    def test_sealed(self) -> None:
        """What is written can be read, but not by the store."""
        self.assertTrue(self.done(self.shared.write(ring("a", "b"), StoredRing())))
        self.assertEqual(self.done(self.shared.read()).ring, ring("a", "b"))
        self.assertNotIn("private key", self.shelf.kept[-1].content)
        self.assertIn("another key", self.failed(self.with_secret("t" * 32).read(), UnreadableRing))

    def test_only_one_writes(self) -> None:
        """Of two gateways that change the same ring one succeeds, and the ring stays whole."""
        stored = self.done(self.shared.read())
        self.assertTrue(self.done(self.shared.write(ring("a"), stored)))
        self.assertFalse(self.done(self.shared.write(ring("b"), stored)))
        stored = self.done(self.shared.read())
        self.assertTrue(self.done(self.shared.write(ring("a", "b"), stored)))
        self.assertFalse(self.done(self.shared.write(ring("a", "c"), stored)))
        self.assertEqual(self.done(self.shared.read()).ring, ring("a", "b"))

    def test_change(self) -> None:
        """A change is made to the newest ring, even if another process changes it meanwhile."""
        self.done(self.shared.write(ring("a", "b"), StoredRing()))
        names = ["c"]

        def faster() -> None:
            if names:
                stored = self.done(self.shared.read())
                self.done(self.shared.write(ring("a", "b", names.pop()), stored))

        self.shelf.before_write = faster  # type: ignore[method-assign] # as it is meant
        found = self.done(self.shared.change(_without_last))
        self.assertEqual(([key.kid for key in found.keys], found.version), (["a", "b"], 4))

    def test_refused(self) -> None:
        """A refused change writes nothing."""
        self.done(self.shared.write(ring("a"), StoredRing()))
        change = self.shared.change(lambda old: old.promoted(NOW, PLAN))
        self.assertIn("generate one first", self.failed(change, RefusedTransition))
        self.assertEqual(self.shelf.writes, 1)

    def test_contested(self) -> None:
        """A command gives up if other processes change the ring all the time."""
        self.done(self.shared.write(ring("a"), StoredRing()))
        self.shelf.before_write = lambda: self.shelf.kept.append(  # type: ignore[method-assign] # as it is meant
            self.done(_sealed(self.shared))
        )
        why = self.failed(self.shared.change(_same), Unavailable)
        self.assertIn("change the signing keys all the time", why)


def _without_last(found: KeyRing) -> KeyRing:
    return found.without(found.keys[-1].kid, NOW, PLAN)


def _same(found: KeyRing) -> KeyRing:
    return found


async def _sealed(shared: SharedKeys) -> Any:
    """Return the record with the present ring, sealed once more."""
    other = Shelf()
    found = await shared.read()
    assert found.ring is not None
    await SharedKeys(other, sealer([SECRET]), clock_at(NOW)).write(found.ring, StoredRing())
    return other.kept[-1]
