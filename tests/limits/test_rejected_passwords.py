"""Passwords that a remote has rejected are not sent to it again."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.limits.rejected_passwords import PasswordGuard, RejectedPasswords
from authotron.model.errors import Rejected, Unavailable
from authotron.testing.worlds import NOW, clock_at

KEY = b"k" * 32


class Remote:
    """A remote that knows one password, and counts how often it is asked."""

    def __init__(self, right: str = "right") -> None:
        self.right = right
        self.asked: list[tuple[str, str]] = []
        self.is_down = False
        self.waiting: Deferred[None] | None = None

    async def ask(self, user: str, password: str) -> str:
        self.asked.append((user, password))
        if self.waiting is not None:
            await self.waiting
        if self.is_down:
            raise Unavailable("down")
        if password != self.right:
            raise Rejected("wrong")
        return user


class RejectedPasswordsTests(SynchronousTestCase):
    """One worker and its remote."""

    def setUp(self) -> None:
        self.clock: Clock = clock_at(NOW)
        self.sent: list[tuple[str, Any]] = []
        self.pairs = RejectedPasswords(
            self.clock, KEY, lambda word, given: self.sent.append((word, given))
        )
        self.guard = self.pairs.guard("ldap", 60)
        self.remote = Remote()

    def start(self, password: str, user: str = "alice", guard: PasswordGuard | None = None) -> Any:
        judged = (guard or self.guard).judge(
            user, password, lambda: self.remote.ask(user, password)
        )
        return Deferred.fromCoroutine(judged)

    def refused(self, password: str, **which: Any) -> None:
        self.failureResultOf(self.start(password, **which), Rejected)

    def test_not_sent_again_S_LOCK(self) -> None:
        """The same wrong pair reaches the remote once a minute, however often it is tried."""
        for _ in range(120):
            self.refused("wrong")
            self.clock.advance(0.499)
        self.assertEqual(len(self.remote.asked), 1)
        self.clock.advance(1)
        self.refused("wrong")
        self.assertEqual(len(self.remote.asked), 2)

    def test_other_pairs_are_sent_S_LOCK(self) -> None:
        """Another password, user or provider is sent to the remote."""
        self.refused("wrong")
        self.refused("other")
        self.refused("wrong", user="bob")
        self.refused("wrong", guard=self.pairs.guard("other", 60))
        self.refused("x:wrong", user="l", guard=self.pairs.guard("dap", 60))
        self.assertEqual(len(self.remote.asked), 5)

    def test_outage_is_not_remembered_S_LOCK(self) -> None:
        """An outage is not remembered: the next try is sent."""
        self.remote.is_down = True
        for _ in range(3):
            self.failureResultOf(self.start("right"), Unavailable)
        self.remote.is_down = False
        self.assertEqual(self.successResultOf(self.start("right")), "alice")
        self.assertEqual((len(self.remote.asked), self.pairs.size(), self.sent), (4, 0, []))

    def test_success_clears_the_user_S_LOCK(self) -> None:
        """The wrong passwords of a user who is accepted are dropped; those of other users stay."""
        self.refused("new")
        self.refused("new", user="bob")
        self.successResultOf(self.start("right"))
        self.remote.right = "new"
        self.successResultOf(self.start("new"))
        self.refused("new", user="bob")

    def test_equal_pairs_are_sent_once_S_LOCK(self) -> None:
        """
        Equal pairs at the same time are sent once; a client that is cancelled affects no
        other.
        """
        self.remote.waiting = Deferred()
        asked = [self.start("wrong") for _ in range(5)]
        asked[0].cancel()
        self.failureResultOf(asked[0])
        self.remote.waiting.callback(None)
        for each in asked[1:]:
            self.failureResultOf(each, Rejected)
        self.assertEqual(len(self.remote.asked), 1)

    def test_cancelled_question_S_LOCK(self) -> None:
        """A question whose client was cancelled is cancelled, and nothing is remembered."""
        self.remote.waiting = Deferred()
        asked = self.start("wrong")
        asked.cancel()
        self.failureResultOf(asked)
        self.assertEqual((self.pairs.size(), self.sent), (0, []))

    def test_reload_S_LOCK(self) -> None:
        """A reload drops all pairs."""
        self.refused("wrong")
        self.pairs.clear()
        self.assertEqual(self.pairs.size(), 0)
        self.refused("wrong")
        self.assertEqual(len(self.remote.asked), 2)

    def test_bounded_S_LOCK(self) -> None:
        """Guesses at one user displace no other user, and all pairs take at most 4 MiB."""
        self.refused("wrong")
        for number in range(1000):
            self.refused(f"guess-{number}", user="bob")
        self.refused("wrong")
        self.assertEqual(len(self.remote.asked), 1001)
        for number in range(6000):
            self.refused("wrong", user=f"user-{number}")
        self.assertLessEqual(self.pairs.size(), 4 * 2**20)
        self.assertLessEqual(len(self.pairs._users), 4 * 2**20 // 900)
        self.refused("wrong", user="user-5999")
        self.assertEqual(len(self.remote.asked), 7001)

    def test_no_secrets_S_LOCK(self) -> None:
        """Neither user nor password is kept, sent to other workers or printed."""
        self.refused("CANARY", user="SOMEBODY")
        shown = repr((self.pairs, self.guard, self.sent, self.pairs._users))
        self.assertNotIn("CANARY", shown)
        self.assertNotIn("SOMEBODY", shown)
        self.assertNotIn(repr(KEY), shown)


class SharedTests(SynchronousTestCase):
    """Several workers with one key."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.one = RejectedPasswords(
            self.clock, KEY, lambda *message: self.deliver(self.other, *message)
        )
        self.other = RejectedPasswords(
            self.clock, KEY, lambda *message: self.deliver(self.one, *message)
        )
        self.remote = Remote()

    def deliver(self, to: RejectedPasswords, word: str, content: Any) -> None:
        {"wrong_pair": to.on_rejected, "right_pair": to.on_accepted}[word](content)

    def start(self, pairs: RejectedPasswords, password: str) -> Any:
        judged = pairs.guard("ldap", 60).judge(
            "alice", password, lambda: self.remote.ask("alice", password)
        )
        return Deferred.fromCoroutine(judged)

    def test_shared_S_LOCK(self) -> None:
        """
        A pair that one worker saw rejected is sent by no worker; an acceptance is shared,
        too.
        """
        self.failureResultOf(self.start(self.one, "wrong"), Rejected)
        self.failureResultOf(self.start(self.other, "wrong"), Rejected)
        self.assertEqual(len(self.remote.asked), 1)
        self.successResultOf(self.start(self.other, "right"))
        self.failureResultOf(self.start(self.one, "wrong"), Rejected)
        self.assertEqual(len(self.remote.asked), 3)

    def test_malformed_messages_S_LOCK(self) -> None:
        """A malformed message is ignored, and no pair is kept for more than ten minutes."""
        good = {"user": "0" * 32, "pair": "1" * 32, "seconds": 1e9}
        odd: list[Any] = [None, 1, [], "x", {}, {**good, "user": "x" * 32}, {**good, "pair": 1}]
        odd += [{**good, "seconds": None}, {**good, "seconds": "1"}, {**good, "seconds": []}]
        for each in odd:
            self.one.on_rejected(each)
            self.one.on_accepted(each)
        self.assertEqual(self.one.size(), 0)
        self.one.on_rejected(good)
        self.assertTrue(self.one.holds(bytes(16), b"\x11" * 16))
        self.clock.advance(600)
        self.assertFalse(self.one.holds(bytes(16), b"\x11" * 16))
