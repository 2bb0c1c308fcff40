"""Long work is divided into pieces, between which other requests are served."""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.pieces import (
    LONGEST_PIECE,
    PIECE,
    Pieces,
    in_pieces,
)


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

    def test_turn_after_slow_bytes_T84b(self) -> None:
        """Bytes that take long are followed by a reactor turn, however few they are."""
        clock = Clock()
        pieces = Pieces(clock)
        for turn in range(3):
            self.successResultOf(Deferred.fromCoroutine(pieces.add(1)))
            clock.rightNow += 2 * LONGEST_PIECE
            waiting = Deferred.fromCoroutine(pieces.add(1))
            self.assertNoResult(waiting)
            clock.advance(0)
            self.assertIsNone(self.successResultOf(waiting), turn)

    def test_cancelled_work_leaves_no_timer_T84a(self) -> None:
        """Work that is cancelled leaves no timer in the reactor."""
        clock = Clock()
        waiting = Deferred.fromCoroutine(Pieces(clock).add(PIECE))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])


class InPiecesTests(SynchronousTestCase):
    """Long work that consists of steps."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.done: list[int] = []

    def steps(self, seconds: float) -> Generator[None, None, str]:
        """Work in six steps that take some seconds each."""
        for number in range(6):
            self.clock.rightNow += seconds
            self.done.append(number)
            yield
        return "the result"

    def test_short_work(self) -> None:
        """Short work is done at once, and changes nothing in the garbage collector."""
        self.patch(gc, "freeze", lambda: self.fail("objects became exempt"))
        before = gc.get_threshold()
        done = Deferred.fromCoroutine(in_pieces(self.clock, self.steps(0)))
        self.assertEqual(self.successResultOf(done), "the result")
        self.assertEqual(gc.get_threshold(), before)

    def test_long_work(self) -> None:
        """Long work lets the reactor run other work, and no full collection interrupts it."""
        frozen: list[int] = []
        turns: list[int] = []
        self.patch(gc, "freeze", lambda: frozen.append(len(self.done)))
        later = self.clock.callLater

        def count(seconds: float, call: Any, *arguments: Any) -> Any:
            turns.append(len(self.done))
            self.assertGreater(gc.get_threshold()[2], before[2])
            return later(seconds, call, *arguments)

        self.patch(self.clock, "callLater", count)
        before = gc.get_threshold()
        done = Deferred.fromCoroutine(in_pieces(self.clock, self.steps(LONGEST_PIECE / 2)))
        self.assertNoResult(done)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(done), "the result")
        self.assertEqual((turns, frozen, gc.get_threshold()), ([2, 4, 6], [6], before))
