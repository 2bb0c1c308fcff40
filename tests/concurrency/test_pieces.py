"""Long work is divided into pieces, between which other requests are served."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.pieces import PIECE, Pieces, exempt_from_collection


class PiecesTests(SynchronousTestCase):
    """When work lets other requests be served."""

    def test_turn_after_each_piece_T84b(self) -> None:
        """Small pieces are done at once; each complete piece is followed by a reactor turn."""
        clock = Clock()
        pieces = Pieces(clock)
        for turn in range(3):
            self.successResultOf(Deferred.fromCoroutine(pieces.add(PIECE - 1)))
            waiting = Deferred.fromCoroutine(pieces.add(1))
            self.assertNoResult(waiting)
            clock.advance(0)
            self.assertIsNone(self.successResultOf(waiting), turn)

    def test_exempt_from_collection_T84a(self) -> None:
        """
        Objects that exist when the reactor starts are exempt from garbage collection, and no
        collection delays the first answer.
        """
        done: list[str] = []
        self.patch(gc, "collect", lambda: done.append("collect"))
        self.patch(gc, "freeze", lambda: done.append("freeze"))
        reactor: Any = MemoryReactor()
        exempt_from_collection(reactor)
        self.assertEqual(done, [])
        reactor.run()
        self.assertEqual(done, ["freeze"])

    def test_cancelled_work_leaves_no_timer_T84a(self) -> None:
        """Work that is cancelled leaves no timer in the reactor."""
        clock = Clock()
        waiting = Deferred.fromCoroutine(Pieces(clock).add(PIECE))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])
