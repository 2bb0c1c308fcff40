"""Replacement of lost workers, without workers."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.daemon.workers.respawn import Respawn


class RespawnTests(SynchronousTestCase):
    """When the workers that are missing are started."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.missing = 1
        self.is_full = False
        self.respawn = Respawn(self.clock, lambda: self.missing, self.start)

    def start(self) -> None:
        if self.is_full:
            raise OSError("no room")
        self.missing -= 1

    def test_missing_worker_is_started_after_the_first_delay(self) -> None:
        """A missing worker is started after 0.1 s, not at once."""
        self.respawn.fill()
        self.assertEqual(self.missing, 1)
        self.clock.advance(0.1)
        self.assertEqual(self.missing, 0)

    def test_second_call_schedules_no_second_start(self) -> None:
        """A worker whose start is scheduled is not scheduled again."""
        self.respawn.fill()
        self.respawn.fill()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_delay_doubles_up_to_ten_seconds(self) -> None:
        """The delay doubles with each loss in a row, up to 10 s."""
        delays = []
        for _ in range(12):
            self.missing = 1
            self.respawn.fill()
            [call] = self.clock.getDelayedCalls()
            delays.append(call.getTime() - self.clock.seconds())
            self.clock.advance(10)
        self.assertEqual([round(each, 1) for each in delays[:4]], [0.1, 0.2, 0.4, 0.8])
        self.assertEqual([round(each, 1) for each in delays[-2:]], [10.0, 10.0])

    def test_reset_delay(self) -> None:
        """After a reset the next lost worker is started after 0.1 s again."""
        self.respawn.fill()
        self.clock.advance(0.1)
        self.respawn.reset_delay()
        self.missing = 1
        self.respawn.fill()
        self.clock.advance(0.1)
        self.assertEqual(self.missing, 0)

    def test_nothing_starts_while_paused(self) -> None:
        """While paused no worker is started; resuming starts those that are missing."""
        self.respawn.fill()
        self.respawn.pause()
        self.respawn.fill()
        self.clock.advance(60)
        self.assertEqual(self.missing, 1)
        self.respawn.resume()
        self.clock.advance(0.2)
        self.assertEqual(self.missing, 0)

    def test_failed_start_is_retried(self) -> None:
        """If the system cannot start a process, the start is retried."""
        self.is_full = True
        self.respawn.fill()
        self.clock.advance(0.1)
        self.is_full = False
        self.clock.advance(0.2)
        self.assertEqual(self.missing, 0)
