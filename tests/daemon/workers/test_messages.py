"""Words and questions between two processes, without the processes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.daemon.workers import messages
from authotron.daemon.workers.messages import Action, MessageChannel, PeerError


class PipeCase(SynchronousTestCase):
    """One end, and the other."""

    def setUp(self) -> None:
        self.heard: list[Any] = []
        self.broken = 0
        self.later: Deferred[Any] = Deferred()
        answers: dict[str, Action] = {
            "note": self.heard.append,
            "count": lambda _: 7,
            "later": lambda _: self.later,
            "fail": lambda _: 1 / 0,
        }
        self.other: MessageChannel = MessageChannel(self.receive, answers, self.breaks)
        self.one: MessageChannel = MessageChannel(self.other.received, {}, self.breaks)

    def receive(self, data: bytes) -> None:
        self.one.received(data)

    def breaks(self) -> None:
        self.broken += 1


class SayingTests(PipeCase):
    """What goes well."""

    def test_tell(self) -> None:
        """A word arrives with what comes with it."""
        self.one.notify("note", {"a": [1, 2.5, "ü\n"]})
        self.assertEqual(self.heard, [{"a": [1, 2.5, "ü\n"]}])

    def test_ask(self) -> None:
        """A question is answered."""
        self.assertEqual(self.successResultOf(self.one.ask("count")), 7)

    def test_in_turns(self) -> None:
        """Answers find those who asked, in whatever order they come."""
        first = self.one.ask("later")
        self.assertEqual(self.successResultOf(self.one.ask("count")), 7)
        self.assertNoResult(first)
        self.later.callback("at last")
        self.assertEqual(self.successResultOf(first), "at last")

    def test_in_pieces(self) -> None:
        """Lines come in whatever pieces they like."""
        for byte in b'{"say":"note","with":1}\n{"say":"note","with":2}\n':
            self.other.received(bytes([byte]))
        self.assertEqual(self.heard, [1, 2])


class TroubleTests(PipeCase):
    """What does not."""

    def test_failed(self) -> None:
        """Who cannot do what it is asked for says so, and logs why."""
        self.failureResultOf(self.one.ask("fail"), PeerError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lost(self) -> None:
        """Once the other side is gone nothing is waited for, now or later."""
        waiting = self.one.ask("later")
        self.one.lost()
        self.failureResultOf(waiting, PeerError)
        self.failureResultOf(self.one.ask("count"), PeerError)
        self.one.notify("note")
        self.assertEqual(self.heard, [])

    def test_left(self) -> None:
        """An answer for which nobody waits any more is dropped."""
        waiting = self.one.ask("later")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.later.callback(1)
        self.assertEqual(self.broken, 0)

    def test_nonsense(self) -> None:
        """What keeps not to the form is told, and not guessed at."""
        deep, unhashable = b"[" * 100_000, b'{"to":[]}'
        unheard, listed = b'{"say":"unheard of"}', b'{"say":["count"]}'
        for line in (b"{", b"[]", b"7", unheard, listed, b"\xff", deep, unhashable):
            with self.subTest(line):
                before = self.broken
                self.other.received(line + b"\n")
                self.assertEqual(self.broken, before + 1)

    def test_too_long(self) -> None:
        """A line without end is not kept without end."""
        self.patch(messages, "MAX_LINE", 100)
        self.other.received(b"x" * 101)
        self.assertEqual(self.broken, 1)
