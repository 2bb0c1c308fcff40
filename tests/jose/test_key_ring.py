"""The states of signing keys, and how a ring of them changes."""

from __future__ import annotations

from math import inf

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import key_ring
from authotron.jose.key_ring import KeyRing, Plan, RefusedTransition
from authotron.testing.worlds import NOW
from tests.jose.rings import BY_HAND, DAY, PLAN, pair, ring

LEAD, GRACE = 360.0, 3660.0
"""Seconds for which a key is published before it signs, and after it has ceased to sign."""


def states(found: KeyRing, now: float, plan: Plan = PLAN) -> str:
    """Return the ids of all keys of a ring with the first letters of their states."""
    return " ".join(f"{key.kid}:{found.state(key, now, plan)}" for key in found.keys)


class StateTests(SynchronousTestCase):
    """The states of keys, which follow from the time alone."""

    def test_life_of_a_key(self) -> None:
        """A key is next, active, retiring until its last JWT has expired, and then gone."""
        found = ring("a", "b")
        change = NOW + 30 * DAY
        for moment, wanted in (
            (NOW - DAY, "a:active b:next"),
            (NOW, "a:active b:next"),
            (change - 1, "a:active b:next"),
            (change, "a:retiring b:active"),
            (change + GRACE - 1, "a:retiring b:active"),
            (change + GRACE, "a:gone b:active"),
            (change + 900 * DAY, "a:gone b:active"),
        ):
            self.assertEqual(states(found, moment), wanted)

    def test_published(self) -> None:
        """All keys but those that are gone are published, the active key first."""
        found = ring("a", "b")
        change = NOW + 30 * DAY
        for moment, wanted in ((NOW, "ab"), (change, "ba"), (change + GRACE, "b")):
            self.assertEqual("".join(key.kid for key in found.published(moment, PLAN)), wanted)

    def test_no_key_of_the_present(self) -> None:
        """If a clock is so far behind that no key is active yet, the first key signs."""
        self.assertEqual(ring("a", "b").active(NOW - 900 * DAY).kid, "a")

    def test_unchanged(self) -> None:
        """Between two changes of states a view of the ring stays right."""
        found = ring("a", "b")
        change = NOW + 30 * DAY
        self.assertEqual(found.unchanged(NOW + 5, PLAN), (NOW, change))
        self.assertEqual(found.unchanged(NOW - 5, PLAN), (-inf, NOW))
        self.assertEqual(found.unchanged(change, PLAN), (change, change + GRACE))
        self.assertEqual(found.unchanged(change + GRACE, PLAN), (change + GRACE, inf))

    def test_longer_jwts(self) -> None:
        """A key is published for the longest lifetime that any gateway has used with it."""
        longer = evolve(PLAN, lifetime=DAY)
        found = ring("a", "b").arranged(NOW, longer)
        self.assertEqual(found.arranged(NOW, PLAN), found)
        self.assertEqual(states(found, NOW + 30 * DAY + GRACE), "a:retiring b:active")
        self.assertEqual(states(found, NOW + 31 * DAY + 60), "a:gone b:active")

    def test_known_until(self) -> None:
        """A gateway knows all signing keys until a key that it does not know could sign."""
        found = ring("a", "b")
        self.assertEqual(found.known_until(NOW, PLAN), NOW + 60 * DAY)
        self.assertEqual(found.known_until(NOW + 90 * DAY, PLAN), NOW + 90 * DAY + LEAD)
        self.assertEqual(ring("a", plan=BY_HAND).known_until(NOW, BY_HAND), NOW + LEAD)


class TransitionTests(SynchronousTestCase):
    """Changes of a ring."""

    def test_next_is_published_before_it_signs(self) -> None:
        """A new key signs no sooner than all gateways publish it and no cache lacks it."""
        found = ring("a").with_next(pair("b"), NOW + 90 * DAY, PLAN)
        self.assertEqual(found.keys[1].active_from, NOW + 90 * DAY + LEAD)
        found = ring("a").with_next(pair("b"), NOW + DAY, PLAN)
        self.assertEqual(found.keys[1].active_from, NOW + 30 * DAY)

    def test_by_hand(self) -> None:
        """Without a rotation a key stays next until it is promoted."""
        found = ring("a", "b", plan=BY_HAND)
        self.assertEqual(states(found, NOW + 900 * DAY, BY_HAND), "a:active b:next")
        found = found.promoted(NOW + DAY, BY_HAND)
        self.assertEqual(found.keys[1].active_from, NOW + DAY)

    def test_promoted_early(self) -> None:
        """A promoted key signs from when all backends know it."""
        found = ring("a", "b").promoted(NOW + 5, PLAN)
        self.assertEqual(found.keys[1].active_from, NOW + LEAD)
        error = self.assertRaises(RefusedTransition, found.promoted, NOW + 5, PLAN)
        self.assertIn("as early as possible already", str(error))
        self.assertRaises(RefusedTransition, ring("a").promoted, NOW, PLAN)

    def test_promise_is_kept(self) -> None:
        """
        A key that signs for a shorter time than planned is published for as long as planned,
        because a gateway without a connection to the token store keeps to the plan.
        """
        found = ring("a", "b").promoted(NOW + DAY, PLAN)
        change = NOW + 30 * DAY
        self.assertEqual(states(found, NOW + DAY), "a:retiring b:active")
        self.assertEqual(states(found, change + GRACE - 1), "a:retiring b:active")
        self.assertEqual(states(found, change + GRACE), "a:gone b:active")
        later = found.with_next(pair("c"), NOW + DAY, PLAN)
        self.assertEqual(later.keys[2].active_from, NOW + 31 * DAY)
        self.assertEqual(states(later, NOW + 31 * DAY + GRACE - 1), "a:gone b:retiring c:active")

    def test_other_rotation(self) -> None:
        """Another rotation applies to the keys after those that are planned already."""
        shorter, longer = evolve(PLAN, rotation=7 * DAY), evolve(PLAN, rotation=90 * DAY)
        found = ring("a", "b")
        for plan in (shorter, longer):
            self.assertIs(found.arranged(NOW, plan), found)
        change = NOW + 30 * DAY
        for plan, begin in ((shorter, 30 * DAY), (longer, 90 * DAY)):
            later = found.with_next(pair("c"), change, plan)
            self.assertEqual(later.keys[2].active_from, change + begin)
        later = found.with_next(pair("c"), change, shorter).with_next(pair("d"), change, shorter)
        self.assertEqual(later.keys[3].active_from - later.keys[2].active_from, 7 * DAY)

    def test_rotation_begins(self) -> None:
        """If a rotation is configured, a next key that was not planned gets its moment."""
        found = ring("a", "b", plan=BY_HAND).arranged(NOW + DAY, PLAN)
        self.assertEqual(found.keys[1].active_from, NOW + 30 * DAY)
        late = NOW + 40 * DAY
        found = ring("a", "b", plan=BY_HAND).arranged(late, PLAN)
        self.assertEqual((found.active(late).kid, found.keys[1].active_from), ("b", late))

    def test_retired(self) -> None:
        """A retired key is in no later ring; the next key replaces an active one at once."""
        found = ring("a", "b").without("a", NOW + DAY, PLAN)
        self.assertEqual(states(found, NOW + DAY), "b:active")
        self.assertEqual(found.retired, ("a",))
        self.assertEqual(states(ring("a", "b").without("b", NOW, PLAN), NOW), "a:active")

    def test_not_retired(self) -> None:
        """An active key is not retired while backends may not know the next one."""
        for found, kid, why in (
            (ring("a"), "a", "no key is next"),
            (ring("a", "b"), "a", "next key b for 360 s more; repeat the command then"),
            (ring("a", "b"), "c", "there is no signing key c; see `authotron keys list`"),
        ):
            error = self.assertRaises(RefusedTransition, found.without, kid, NOW, PLAN)
            self.assertIn(why, str(error))

    def test_old_keys_leave_the_ring(self) -> None:
        """Keys that have been gone for some time leave the ring when a key is added."""
        found, now = ring("a", "b"), float(NOW)
        for name in "cdefghijklmnopqrstuvwxyz":
            now += 30 * DAY
            found = found.with_next(pair(name), now, PLAN)
        self.assertEqual(states(found, now), "w:gone x:retiring y:active z:next")

    def test_full(self) -> None:
        """A ring has at most 12 keys."""
        found = ring(*"abcdefghijkl")
        error = self.assertRaises(RefusedTransition, found.with_next, pair("m"), NOW, PLAN)
        self.assertIn("the ring has 12 keys", str(error))

    def test_nearly_full(self) -> None:
        """Keys that are gone make room for a new key."""
        quick = evolve(PLAN, rotation=DAY)
        found, now = ring("a", "b", plan=quick), float(NOW)
        for name in "cdefghijklm":
            found = found.with_next(pair(name), now, quick)
            now += 2 * DAY
        self.assertLessEqual(len(found.keys), key_ring.MOST_KEYS)

    def test_version(self) -> None:
        """Each change raises the version."""
        found = ring("a", "b")
        self.assertEqual((found.version, found.promoted(NOW, PLAN).version), (2, 3))
        self.assertEqual(found.without("b", NOW, PLAN).version, 3)


class MergedTests(SynchronousTestCase):
    """A store that has lost a change, and gateways that know it."""

    def test_equal(self) -> None:
        """A ring that lacks nothing is not changed."""
        found = ring("a", "b")
        self.assertIs(found.merged(ring("a", "b"), NOW, PLAN), found)
        self.assertIs(found.merged(ring("a"), NOW, PLAN), found)

    def test_lost_change(self) -> None:
        """If the store has an older version, the known version is restored."""
        known = ring("a", "b").promoted(NOW, PLAN)
        found = ring("a", "b").merged(known, NOW, PLAN)
        self.assertEqual((found.keys, found.version), (known.keys, known.version + 1))

    def test_lost_key(self) -> None:
        """A key that another gateway has replaced by its own is published, and never signs."""
        one, other = (ring("a").with_next(pair(name), NOW, PLAN) for name in "bc")
        found = one.merged(other, NOW + 1, PLAN)
        self.assertEqual(states(found, NOW + 1), "c:retiring a:active b:next")
        self.assertEqual(states(found, NOW + 30 * DAY), "c:retiring a:retiring b:active")
        self.assertEqual(states(found, NOW + 60 * DAY + GRACE), "c:gone a:gone b:active")
        self.assertIs(found.merged(other, NOW + 2, PLAN), found)
        self.assertIs(found.merged(one, NOW + 2, PLAN), found)

    def test_foreign_ring(self) -> None:
        """A ring that a gateway has created in an emptied store does not sign any more."""
        known = ring("a", "b").with_next(pair("c"), NOW, PLAN)
        found = ring("x", now=NOW + 5).merged(known, NOW + 9, PLAN)
        self.assertEqual(states(found, NOW + 9), "x:retiring a:active b:next c:next")

    def test_gone_and_retired(self) -> None:
        """Neither keys that are gone nor retired ones come back."""
        late, fresh = NOW + 30 * DAY + GRACE, evolve(ring("b", now=NOW + 30 * DAY), version=9)
        self.assertEqual(
            states(fresh.merged(ring("a", "b"), late - 1, PLAN), late), "a:retiring b:active"
        )
        self.assertIs(fresh.merged(ring("a", "b"), late, PLAN), fresh)
        retired = ring("a", "b").without("a", NOW + DAY, PLAN)
        for one, other in ((ring("a", "b"), retired), (retired, ring("a", "b"))):
            found = one.merged(other, NOW + DAY, PLAN)
            self.assertEqual(states(found, NOW + DAY), "b:active")
