"""Signing keys in the token store: how gateways create, follow and rotate them."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.key_ring import KeyRing
from authotron.model.errors import ConfigError, Unavailable
from authotron.model.records import Record
from tests.daemon.following import SECRET, Node
from tests.jose.rings import BY_HAND, DAY, PLAN, Shelf, real_pair

OTHER = "t" * 32


class FollowerCase(SynchronousTestCase):
    """Gateways on one store."""

    def setUp(self) -> None:
        self.shelf = Shelf()
        self.one, self.two = Node(self.shelf), Node(self.shelf)

    def ring(self, node: Node) -> KeyRing:
        assert node.keys.ring is not None
        return node.keys.ring

    def pass_(self, seconds: float, *nodes: Node) -> None:
        """Let time pass for both gateways, and let some of them look at the store."""
        for node in (self.one, self.two):
            node.clock.advance(seconds)
        for node in nodes:
            node.look()

    def logged(self, node: Node) -> list[str]:
        with capturedLogs() as events:
            node.look()
        return [_text(each) for each in events]


def _text(event: LogEvent) -> str:
    return f"{event['event']}: {formatEvent(event)}"


class CreatedTests(FollowerCase):
    """The first keys of an empty store."""

    def test_first_keys(self) -> None:
        """The first gateway creates a key that signs at once, and a key that is next."""
        logged = self.logged(self.one)
        self.assertEqual(self.one.states(), "active next")
        first, second, active = logged
        self.assertIn("jwt.keys.added", first)
        self.assertIn("(ES256) was added to the token store, and signs from 2027-01-15", first)
        self.assertIn("2027-02-14", second)
        self.assertIn("jwt.keys.active", active)
        self.two.look()
        self.assertEqual(self.ring(self.two), self.ring(self.one))
        self.assertEqual(self.shelf.writes, 1)

    def test_by_hand(self) -> None:
        """Without a rotation no next key is created."""
        node = Node(self.shelf, BY_HAND)
        logged = self.logged(node)
        self.assertEqual(node.states(), "active")
        self.assertIn("is active until another one is promoted", logged[-1])

    def test_configured(self) -> None:
        """The key of the configuration becomes the first key, so its JWTs stay valid."""
        node = Node(self.shelf, configured=real_pair("one"))
        node.look()
        self.assertEqual(self.ring(node).keys[0].pair, real_pair("one"))
        other = Node(self.shelf, configured=real_pair("two"))
        other.look()
        self.assertEqual(self.ring(other), self.ring(node))

    def test_both_at_once(self) -> None:
        """If two gateways start at the same moment, both use the ring of the faster one."""
        self.shelf.before_write = self._faster  # type: ignore[method-assign] # as it is meant
        self.one.look()
        self.assertEqual(self.ring(self.one), self.ring(self.two))
        self.assertEqual(self.shelf.writes, 1)

    def _faster(self) -> None:
        self.shelf.before_write = lambda: None  # type: ignore[method-assign] # as it is meant
        self.two.look()


class RotatedTests(FollowerCase):
    """How the next key becomes active, and a further one is created."""

    def setUp(self) -> None:
        super().setUp()
        self.one.look()
        self.two.look()

    def test_rotation(self) -> None:
        """When the next key becomes active, one of the gateways creates a further next key."""
        self.pass_(30 * DAY - 1, self.one, self.two)
        self.assertEqual((self.one.states(), self.shelf.writes), ("active next", 1))
        self.pass_(1, self.one, self.two)
        for node in (self.one, self.two):
            self.assertEqual(node.states(), "retiring active next")
        self.assertEqual(self.shelf.writes, 2)

    def test_rotation_of_two_at_once(self) -> None:
        """Two gateways that rotate at the same moment end with one further key."""
        self.pass_(30 * DAY)

        def faster() -> None:
            self.shelf.before_write = lambda: None  # type: ignore[method-assign] # as it is meant
            self.two.look()

        self.shelf.before_write = faster  # type: ignore[method-assign] # as it is meant
        self.one.look()
        self.assertEqual(self.ring(self.one), self.ring(self.two))
        self.assertEqual(self.one.states(), "retiring active next")

    def test_outage_at_the_moment_of_rotation(self) -> None:
        """If the store is unreachable at the planned moment, the next key signs nevertheless."""
        self.shelf.is_down = True
        self.pass_(30 * DAY, self.one, self.two)
        self.assertEqual((self.one.states(), self.two.states()), ("retiring active",) * 2)
        self.shelf.is_down = False
        self.pass_(100, self.one, self.two)
        self.assertEqual((self.one.states(), self.two.states()), ("retiring active next",) * 2)

    def test_long_outage(self) -> None:
        """A gateway that does not know whether its last key is in use says so once."""
        self.shelf.is_down = True
        self.pass_(60 * DAY - 1)
        self.assertIn("jwt.keys.unreachable", self.logged(self.one)[0])
        self.pass_(1)
        [message] = self.logged(self.one)
        self.assertIn("jwt.keys.outdated: no JWT can be signed until the token store", message)
        self.assertIn("5184000 s after the keys were read", message)
        self.assertEqual(self.logged(self.one), [])
        self.shelf.is_down = False
        self.assertIn("jwt.keys.reached", " ".join(self.logged(self.one)))
        self.assertTrue(self.one.follower.status.is_usable)

    def test_read_only_store(self) -> None:
        """If the store accepts no changes, its ring is followed, and a warning is logged once."""
        self.shelf.is_read_only = True
        self.pass_(30 * DAY)
        logged = self.logged(self.one)
        self.assertIn(
            "jwt.keys.unreachable: the signing keys that the token store had 0 s", logged[0]
        )
        self.assertEqual(self.logged(self.one), [])
        self.assertEqual(self.one.keys.confirmed, self.one.now)

    def test_away_for_a_week(self) -> None:
        """A gateway that comes back after a rotation knows all keys when it has looked once."""
        self.two.follower.stop()
        self.pass_(31 * DAY, self.one)
        self.two.restart()
        self.two.look()
        self.assertEqual(self.ring(self.two), self.ring(self.one))

    def test_all_were_away(self) -> None:
        """If no gateway ran for months, the next key signs, and a further key is published."""
        self.pass_(100 * DAY)
        self.one.restart()
        self.one.look()
        self.assertEqual(self.one.states(), "active next")
        self.assertEqual(self.ring(self.one).keys[1].active_from, self.one.now + PLAN.lead)

    def test_promoted_key_T48(self) -> None:
        """If another key signs earlier than planned, cached JWTs are replaced by new ones."""
        self.pass_(DAY, self.one)
        self.assertEqual(self.one.renewed, 0)
        ring = self.ring(self.one).promoted(self.one.now, PLAN)
        stored = self.successResultOf(Deferred.fromCoroutine(self.one.follower._shared.read()))
        shared = self.two.follower._shared
        self.successResultOf(Deferred.fromCoroutine(shared.write(ring, stored)))
        logged = self.logged(self.one)
        self.assertEqual((self.one.renewed, self.one.states()), (1, "retiring active next"))
        self.assertIn(f"jwt.keys.active: signing key {ring.keys[1].kid}", logged[-1])

    def test_retired_key_T48(self) -> None:
        """If a key is retired, clients authenticate again: perhaps by a JWT that the key signed."""
        ring = self.ring(self.one)
        stored = self.successResultOf(Deferred.fromCoroutine(self.one.follower._shared.read()))
        without = ring.without(ring.keys[1].kid, self.one.now, PLAN)
        write = self.two.follower._shared.write(without, stored)
        self.successResultOf(Deferred.fromCoroutine(write))
        self.pass_(1, self.one)
        self.assertEqual((self.one.invalidated, self.one.renewed), (1, 0))
        self.assertEqual(self.one.states(), "active next")
        self.pass_(1, self.one, self.two)
        self.assertEqual((self.one.invalidated, self.two.invalidated), (1, 1))

    def test_unused_store(self) -> None:
        """As long as nothing is due, gateways only read."""
        for _ in range(5):
            self.pass_(10, self.one, self.two)
        self.assertEqual((self.shelf.writes, self.one.renewed), (1, 0))


class DamagedTests(FollowerCase):
    """Stores that lose or change the ring, and wrong sealing keys."""

    def setUp(self) -> None:
        super().setUp()
        self.one.look()
        self.two.look()

    def test_lost_store(self) -> None:
        """If the store has lost the ring, a gateway that knows the ring stores it again."""
        before = self.ring(self.one)
        self.shelf.kept.clear()
        self.pass_(10)
        [message] = self.logged(self.two)
        self.assertIn("jwt.keys.restored: the token store had lost signing keys", message)
        self.assertEqual(self.ring(self.two), before)
        self.one.restart()
        self.one.look()
        self.assertEqual(self.ring(self.one), before)

    def test_lost_minute(self) -> None:
        """If the store has lost the last change, the change is made again with the same keys."""
        self.pass_(30 * DAY, self.one)
        self.shelf.kept.pop()
        self.pass_(10, self.two)
        self.assertEqual(self.two.states(), "retiring active next")
        ours = self.ring(self.one).keys[2]
        self.pass_(10, self.one, self.two)
        for node in (self.one, self.two):
            kids = [key.kid for key in self.ring(node).keys]
            self.assertIn(ours.kid, kids)
            self.assertEqual(kids.index(ours.kid), 0)
        self.assertEqual(self.ring(self.one), self.ring(self.two))
        self.assertEqual(self.one.states(), "retiring retiring active next")

    def test_wrong_sealing_key(self) -> None:
        """With a wrong sealing key a gateway signs nothing, and changes nothing in the store."""
        node = Node(self.shelf, secrets=(OTHER,))
        [message] = self.logged(node)
        self.assertIn(
            "jwt.keys.unreadable: the signing keys in the token store are not known", message
        )
        self.assertIn("another key than jwt.sealing_key", message)
        self.assertFalse(node.follower.status.is_usable)
        self.assertIn("jwt.sealing_key", str(node.follower.status.as_json()["problem"]))
        self.assertRaises(Unavailable, node.keys.signer, node.now)
        self.assertEqual(self.shelf.writes, 1)

    def test_changed_sealing_key(self) -> None:
        """Gateways with both sealing keys understand each other, whichever one seals."""
        new, old = (
            Node(self.shelf, secrets=(OTHER, SECRET)),
            Node(self.shelf, secrets=(SECRET, OTHER)),
        )
        self.pass_(30 * DAY)
        for node in (new, old):
            node.clock.advance(30 * DAY)
        new.look()
        self.assertEqual(self.ring(new).version, self.ring(self.one).version + 1)
        old.look()
        self.assertEqual(self.ring(old), self.ring(new))
        self.assertIn("jwt.keys.unreadable", self.logged(self.one)[0])
        self.assertEqual(self.one.states(), "retiring active")

    def test_takes_over(self) -> None:
        """A reload keeps known keys during an outage, and is refused with a wrong sealing key."""
        self.shelf.is_down = True
        self.two.restart()
        self.assertIn("the cable is cut", self._refusal(self.two, None))
        self.take_over(self.two, self.one)
        self.assertEqual(self.ring(self.two), self.ring(self.one))
        self.shelf.is_down = False
        node = Node(self.shelf, secrets=(OTHER,))
        self.assertIn("another key than jwt.sealing_key", self._refusal(node, self.one))

    def take_over(self, node: Node, earlier: Node | None) -> None:
        follower = None if earlier is None else earlier.follower
        self.successResultOf(Deferred.fromCoroutine(node.follower.take_over(follower)))

    def _refusal(self, node: Node, earlier: Node | None) -> str:
        follower = None if earlier is None else earlier.follower
        started = Deferred.fromCoroutine(node.follower.take_over(follower))
        [problem] = self.failureResultOf(started, ConfigError).value.problems
        return str(problem)


class ClockTests(FollowerCase):
    """Gateways whose clocks differ."""

    def test_far_ahead(self) -> None:
        """A gateway whose clock is months ahead takes no key from the others, which warn."""
        self.one.look()
        wrong = Node(self.shelf, ahead=100 * DAY)
        wrong.look()
        self.assertEqual(wrong.states(), "active next")
        message = self.logged(self.one)[0]
        self.assertIn("jwt.keys.clock", message)
        self.assertIn("8640000 s after the present time", message)
        self.assertEqual(self.one.states(), "active next next")
        self.assertEqual(self.logged(self.one), [])

    def test_far_behind(self) -> None:
        """A gateway whose clock is months behind changes nothing, and signs with a known key."""
        self.one.look()
        behind = Node(self.shelf, ahead=-100 * DAY)
        behind.look()
        self.assertEqual((behind.states(), self.shelf.writes), ("active next", 1))

    def test_step(self) -> None:
        """After a step of the clock, forth and back, the keys are those of the right time."""
        self.one.look()
        self.pass_(40 * DAY, self.one)
        self.one.clock.rightNow -= 40 * DAY
        self.one.look()
        self.assertEqual(self.one.states(), "active next next")


class LoopTests(FollowerCase):
    """When a gateway looks at the store."""

    def test_regularly(self) -> None:
        """A gateway looks several times within the time that a change may take to spread."""
        self.one.follower.start()
        self.addCleanup(self.one.follower.stop)
        self.assertEqual(self.one.states(), "active next")
        self.one.clock.advance(9)
        confirmed = self.one.keys.confirmed
        self.one.clock.advance(1)
        self.assertEqual(self.one.keys.confirmed, confirmed + 10)

    def test_woken(self) -> None:
        """A gateway that hears of a change looks at once, also if it is looking just now."""
        held: Deferred[None] = Deferred()
        slow = _Slow(self.shelf, held)
        self.one.follower._shared = evolve(self.one.follower._shared, store=slow)
        self.one.follower.start()
        self.addCleanup(self.one.follower.stop)
        self.one.follower.wake()
        self.assertEqual(slow.reads, 1)
        held.callback(None)
        self.assertEqual(slow.reads, 2)
        self.one.follower.wake()
        self.assertEqual(slow.reads, 3)
        self.one.clock.advance(9)
        self.assertEqual(slow.reads, 3)
        self.one.clock.advance(1)
        self.assertEqual(slow.reads, 4)
        self.one.follower.stop()
        self.one.follower.wake()
        self.one.clock.advance(20)
        self.assertEqual((slow.reads, self.one.clock.getDelayedCalls()), (4, []))

    def test_requests_wait_for_the_first_attempt(self) -> None:
        """Requests wait until the first attempt has ended, whether it succeeds or not."""
        for self.shelf.is_down in (False, True):
            node = Node(self.shelf)
            held: Deferred[None] = Deferred()
            node.follower._shared = evolve(node.follower._shared, store=_Slow(self.shelf, held))
            node.follower.start()
            self.addCleanup(node.follower.stop)
            assert node.keys.first_read is not None
            waiting = node.keys.first_read.join()
            self.assertNoResult(waiting)
            held.callback(None)
            self.successResultOf(waiting)
            self.assertIsNone(node.keys.first_read)

    def test_tries_again_after_a_second(self) -> None:
        """While the keys are not known, the store is tried again after a second."""
        self.shelf.is_down = True
        self.one.follower.start()
        self.addCleanup(self.one.follower.stop)
        self.shelf.is_down = False
        self.one.clock.advance(1)
        self.assertEqual(self.one.states(), "active next")

    def test_defect(self) -> None:
        """After an unexpected exception the gateway goes on looking."""
        self.shelf.before_write = lambda: 1 / 0  # type: ignore[method-assign,assignment] # a defect
        self.one.follower.start()
        self.addCleanup(self.one.follower.stop)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(self.one.keys.first_read)
        self.shelf.before_write = lambda: None  # type: ignore[method-assign] # as it is meant
        self.one.clock.advance(1)
        self.assertEqual(self.one.states(), "active next")


class _Slow:
    """A store that answers when a Deferred has fired."""

    def __init__(self, shelf: Shelf, held: Deferred[None]) -> None:
        self.shelf, self.held, self.reads = shelf, held, 0
        self.add_record, self.replace_record = shelf.add_record, shelf.replace_record

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        self.reads += 1
        await self.held
        return await self.shelf.record(kind, id_, now)
