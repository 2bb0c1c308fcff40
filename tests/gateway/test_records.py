"""Records that gateways share: published, withdrawn, followed, and stored again if lost."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.records import (
    WITHDRAWN,
    KindChanges,
    SharedRecords,
    from_message,
)
from authotron.model.errors import Unavailable
from authotron.model.records import Changes, Record
from authotron.stores.memory import MemoryStore
from authotron.testing.worlds import NOW, clock_at

T = TypeVar("T")

KIND = "revocation"
ONE = Record(KIND, "1", '{"token": "t"}', NOW + 100)
TWO = Record(KIND, "2", '{"token": "u"}')
KEY = Record("signing-key", "k", "sealed")


class RecordsCase(SynchronousTestCase):
    """The records of a process, and a token store in memory."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.store = MemoryStore(self.clock)
        self.shared: list[tuple[str, Any]] = []
        self.share_error: Exception | None = None
        self.records = SharedRecords(self.store, self.clock.seconds, self.share)
        self.seen: list[KindChanges] = []
        self.records.subscribe(KIND, self.seen.append)
        self.seen.clear()

    async def share(self, word: str, content: object) -> None:
        if self.share_error is not None:
            raise self.share_error
        self.shared.append((word, json.loads(json.dumps(content))))

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def known(self) -> list[str]:
        """Return the ids that a late subscriber gets."""
        late: list[KindChanges] = []
        self.records.subscribe(KIND, late.append)()
        return sorted(each.id for each in late[0].records)

    def stored(self) -> dict[str, str]:
        found = self.now(self.store.records(KIND, self.clock.seconds()))
        return {each.id: each.content for each in found}

    def lose(self) -> None:
        """Replace the store by one that has lost all its records."""
        self.records.store = self.store = MemoryStore(self.clock)

    def follow(self) -> None:
        """Read all records of the store, as a follower without a cursor does."""
        self.records.adopt(self.now(self.store.changes(None)))
        self.now(self.records.restore())


class PublishTests(RecordsCase):
    """What has happened when a record is acknowledged."""

    def test_stored_applied_and_shared_T42(self) -> None:
        """A published record is stored, applied here, and sent to the other workers."""
        self.assertTrue(self.now(self.records.publish(ONE)))
        self.assertEqual(self.stored(), {"1": ONE.content})
        self.assertEqual(self.seen, [KindChanges([ONE], ())])
        [(word, message)] = self.shared
        self.assertEqual((word, from_message(message)), ("records", ([ONE], [])))

    def test_unconfirmed_T42(self) -> None:
        """If another worker does not confirm, the record is not acknowledged, but applied here."""
        self.share_error = Unavailable("a worker has not confirmed")
        self.failureResultOf(Deferred.fromCoroutine(self.records.publish(ONE)), Unavailable)
        self.assertEqual(self.known(), ["1"])

    def test_known_already(self) -> None:
        """A record that another gateway has stored is applied here, and is not new."""
        self.now(self.store.add_record(ONE, NOW))
        other = Record(KIND, "1", "{}")
        self.assertFalse(self.now(self.records.publish(other)))
        self.assertEqual(self.seen, [KindChanges([ONE], ())])

    def test_received(self) -> None:
        """A worker applies what another worker has published; odd messages are refused."""
        self.records.received({"records": [[KIND, "1", "{}", None]], "removed": []})
        self.assertEqual(self.known(), ["1"])
        odd: list[Any] = [None, [], {}, {"records": 1, "removed": []}]
        odd += [{"records": [[1]], "removed": []}, {"records": [], "removed": [1]}]
        for message in odd:
            self.assertRaises(ValueError, self.records.received, message)

    def test_replaced(self) -> None:
        """A record is replaced only if its content is still the earlier one."""
        self.now(self.records.publish(ONE))
        newer = Record(KIND, "1", '{"token": "v"}')
        self.assertTrue(self.now(self.records.replace(newer, ONE)))
        self.assertFalse(self.now(self.records.replace(TWO, TWO)))
        self.assertEqual(self.seen[1:], [KindChanges([newer], ())])

    def test_defective_subscriber(self) -> None:
        """A defect in one subscriber does not keep changes from the others."""

        def defective(changes: KindChanges) -> None:
            if changes.records:
                raise ZeroDivisionError

        self.records._subscribers[KIND].insert(0, defective)
        self.now(self.records.publish(ONE))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.seen, [KindChanges([ONE], ())])


class WithdrawTests(RecordsCase):
    """Withdrawn records."""

    def test_withdrawn_for_all(self) -> None:
        """A withdrawn revocation stays in the store, marked, and counts nowhere."""
        self.now(self.records.publish(ONE))
        self.assertTrue(self.now(self.records.withdraw(KIND, "1")))
        self.assertEqual(self.stored(), {"1": WITHDRAWN})
        self.assertEqual(self.seen[-1], KindChanges((), ["1"]))
        self.assertEqual(self.known(), [])
        self.assertFalse(self.now(self.records.withdraw(KIND, "1")))
        self.assertFalse(self.now(self.records.withdraw(KIND, "unknown")))

    def test_final(self) -> None:
        """An older state of the store does not make a withdrawn revocation count again."""
        self.now(self.records.publish(ONE))
        before = self.now(self.store.changes(None))
        self.now(self.records.withdraw(KIND, "1"))
        self.records.adopt(before)
        self.now(self.records.restore())
        self.assertEqual((self.known(), self.stored()), ([], {"1": WITHDRAWN}))

    def test_store_that_lost_the_withdrawal(self) -> None:
        """If the store loses a withdrawal, the revocation is withdrawn again."""
        self.now(self.records.publish(TWO))
        self.now(self.records.withdraw(KIND, "2"))
        marked = self.now(self.store.record(KIND, "2", NOW))
        assert marked is not None
        self.now(self.store.replace_record(TWO, marked))
        self.follow()
        self.assertEqual((self.known(), self.stored()), ([], {"2": WITHDRAWN}))

    def test_other_kinds_are_removed(self) -> None:
        """A record of a kind that is not restored is removed from the store."""
        self.now(self.records.publish(KEY))
        self.assertTrue(self.now(self.records.withdraw(KEY.kind, KEY.id)))
        self.assertIsNone(self.now(self.store.record(KEY.kind, KEY.id, NOW)))
        self.assertEqual(self.shared[-1][1]["removed"], [["signing-key", "k"]])


class FollowTests(RecordsCase):
    """What the token store says, and what it has lost."""

    def test_age(self) -> None:
        """The age is that of the last reading."""
        self.assertIsNone(self.records.age)
        self.follow()
        self.clock.advance(3)
        self.assertEqual(self.records.age, 3)

    def test_changes_of_others(self) -> None:
        """Records of other gateways are applied, and those they have withdrawn are not."""
        self.now(self.store.add_record(ONE, NOW))
        self.follow()
        self.follow()
        self.assertEqual(self.seen, [KindChanges([ONE], ())])
        self.now(self.store.replace_record(Record(KIND, "1", WITHDRAWN), ONE))
        self.follow()
        self.assertEqual(self.seen[1:], [KindChanges((), ["1"])])

    def test_store_that_lost_a_minute(self) -> None:
        """A revocation that the store has lost stays in force, and is stored again."""
        self.now(self.records.publish(ONE))
        self.lose()
        self.follow()
        self.assertEqual((self.known(), self.stored()), (["1"], {"1": ONE.content}))
        self.assertEqual(len(self.seen), 1)

    def test_removed(self) -> None:
        """A record that the store names as removed is not stored again."""
        self.now(self.records.publish(ONE))
        self.now(self.store.remove_record(KIND, "1"))
        self.follow()
        self.assertEqual((self.known(), self.stored()), ([], {}))
        self.now(self.records.publish(TWO))
        self.records.adopt(Changes("c", removed=((KIND, "2"),)))
        self.assertEqual(self.known(), [])

    def test_outage_while_storing_again(self) -> None:
        """If the store fails while a revocation is stored again, the next time does it."""
        self.now(self.records.publish(ONE))
        self.lose()
        self.records.adopt(self.now(self.store.changes(None)))
        self.patch(MemoryStore, "add_record", self.unavailable)
        self.failureResultOf(Deferred.fromCoroutine(self.records.restore()), Unavailable)
        self.doCleanups()
        self.now(self.records.restore())
        self.assertEqual(self.stored(), {"1": ONE.content})

    async def unavailable(self, _record: Record, _now: float) -> bool:
        raise Unavailable("the cable is cut")

    def test_ended(self) -> None:
        """A record that has ended is forgotten, and not stored again."""
        self.now(self.records.publish(ONE))
        self.clock.advance(100)
        self.lose()
        self.follow()
        self.assertEqual((self.known(), self.stored()), ([], {}))
        self.assertEqual(self.seen[-1], KindChanges((), ["1"]))

    def test_ended_without_a_change(self) -> None:
        """A record that has ended is forgotten, also if the store does not report its end."""
        self.follow()
        self.now(self.records.publish(ONE))
        self.clock.advance(160)
        self.records.adopt(Changes("c"))
        self.assertEqual(self.known(), [])

    def test_late_subscriber(self) -> None:
        """A subscriber gets all that is known, and after its end nothing more."""
        self.now(self.records.publish(ONE))
        late: list[KindChanges] = []
        end = self.records.subscribe(KIND, late.append)
        end()
        self.now(self.records.publish(TWO))
        self.assertEqual(late, [KindChanges([ONE])])
