"""The log of the latest events."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.event_log import Event, EventLog


class EventLogTests(SynchronousTestCase):
    """From which events a client can resume."""

    def log(self, events: int, most: int = 4, most_bytes: int = 10**6) -> EventLog:
        log = EventLog("log", most, most_bytes)
        for number in range(1, events + 1):
            log.append(Event("x", str(number)))
        return log

    def after(self, log: EventLog, number: int) -> list[str]:
        return [event.text for _, event in log.after(number)]

    def test_resume(self) -> None:
        """A client gets exactly the events after the one that it names."""
        log = self.log(6)
        number = log.number_of(log.id_of(4))
        assert number is not None
        self.assertEqual(self.after(log, number), ["5", "6"])
        self.assertEqual([*log.after(6)], [])
        self.assertEqual([at for at, _ in log.after(2)], [3, 4, 5, 6])

    def test_cannot_resume(self) -> None:
        """A client cannot resume at an event that has left the log, or of another log."""
        log = self.log(6)
        for id_ in (
            "log-1",
            "other-4",
            "log-7",
            "log--4",
            "log-x",
            "log-",
            "4",
            "",
            "log-" + "9" * 99,
        ):
            self.assertIs(log.number_of(id_), None, id_)
        self.assertEqual(log.number_of("log-2"), 2)
        self.assertEqual(EventLog("log").number_of("log-0"), 0)

    def test_bounds_S_STREAM(self) -> None:
        """A log is bounded in its number of events, and in bytes."""
        log = EventLog("log", 1000, 5000)
        for _ in range(100):
            log.append(Event("x", "y" * 800))
        self.assertTrue(log.has_all_after(95))
        self.assertFalse(log.has_all_after(94))
        log.append(Event("x", "y" * 10_000))
        self.assertTrue(log.has_all_after(101))
        self.assertFalse(log.has_all_after(100))
