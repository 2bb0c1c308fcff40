"""Long work in pieces."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.pieces import PIECE, Pieces


class PiecesTests(SynchronousTestCase):
    """When work gives way to other requests."""

    def test_give_way_T84b(self) -> None:
        """Small pieces are done at once; each complete one is followed by a reactor turn."""
        clock = Clock()
        pieces = Pieces(clock)
        for turn in range(3):
            self.successResultOf(Deferred.fromCoroutine(pieces.add(PIECE - 1)))
            waiting = Deferred.fromCoroutine(pieces.add(1))
            self.assertNoResult(waiting)
            clock.advance(0)
            self.assertIsNone(self.successResultOf(waiting), turn)

    def test_cancel_T84a(self) -> None:
        """Work whose client has left leaves nothing behind in the reactor."""
        clock = Clock()
        waiting = Deferred.fromCoroutine(Pieces(clock).add(PIECE))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])
