"""Contract tests of token stores that keep records."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from authotron.model.records import Changes, Record
from authotron.plugin import record_changes
from authotron.plugin.interfaces import IKeepsRecords, TokenQuery
from authotron.plugin.record_changes import is_followed
from authotron.testing.contracts import EmptyStoreContract
from authotron.testing.worlds import NOW

KINDS = ("revocation", "refresh")
"""A kind of records that gateways follow, and a kind that they do not follow."""


def make_record(id_: str = "one", kind: str = "revocation", **over: Any) -> Record:
    """Build a record, which expires a minute after L{NOW}."""
    return evolve(Record(kind, id_, f"content of {id_}", NOW + 60.0), **over)


class RecordStoreContract(EmptyStoreContract):
    """Contract tests of token stores that keep records, for test cases that override L{make}."""

    async def keeping(self) -> Any:
        """Return an open token store without records."""
        store = await self.opened()
        verifyObject(IKeepsRecords, store)
        return store

    async def at_once(self, *calls: Coroutine[Any, Any, Any]) -> list[Any]:
        """Start several calls at the same time, and return their results."""
        return await gatherResults([Deferred.fromCoroutine(each) for each in calls])

    async def test_no_records(self) -> None:
        """A new token store contains no records, and there is nothing to replace or to remove."""
        store = await self.keeping()
        for kind in KINDS:
            missing = make_record(kind=kind)
            self.assertIsNone(await store.record(kind, "one", NOW))
            self.assertEqual([*await store.records(kind, NOW)], [])
            self.assertFalse(await store.replace_record(missing, missing))
            self.assertFalse(await store.remove_record(kind, "one"))
        found = await store.changes(None)
        self.assertEqual((found.records, found.removed, found.is_complete), ((), (), True))

    async def test_records(self) -> None:
        """
        A token store returns a record unchanged, whatever its id and content contain, and the
        records of one kind sorted by id.
        """
        store = await self.keeping()
        texts = ("", "\u2603\n'\"$1{}", "a/b", "a/b/000000000001", "a-b", "a", "x" * 200, "*:[")
        for kind in KINDS:
            stored = [make_record(f"{at}{text}", kind) for at, text in enumerate(texts)]
            stored += [make_record("9", kind, content="x" * 65_536, until=None)]
            for each in reversed(stored):
                self.assertTrue(await store.add_record(each, NOW))
            for each in stored:
                self.assertEqual(await store.record(kind, each.id, NOW), each)
            self.assertEqual([*await store.records(kind, NOW)], stored)

    async def test_same_id_of_two_kinds(self) -> None:
        """Ids are unique only within a kind."""
        store = await self.keeping()
        for kind in KINDS:
            self.assertTrue(await store.add_record(make_record(kind=kind), NOW))
        self.assertTrue(await store.remove_record(KINDS[0], "one"))
        self.assertEqual(await store.record(KINDS[1], "one", NOW), make_record(kind=KINDS[1]))

    async def test_long_records(self) -> None:
        """A record whose content is too long is refused, and nothing is stored."""
        store = await self.keeping()
        first = make_record()
        self.assertTrue(await store.add_record(first, NOW))
        long = evolve(first, content="\u2603" * 21_846)
        for work in (
            store.add_record(evolve(long, id="long"), NOW),
            store.replace_record(long, first),
        ):
            await self.assertFailure(Deferred.fromCoroutine(work), ValueError)
        self.assertEqual([*await store.records("revocation", NOW)], [first])

    async def test_add_once(self) -> None:
        """An unexpired record is not overwritten; an expired one is."""
        store = await self.keeping()
        for kind in KINDS:
            first = make_record(kind=kind)
            other = evolve(first, content="other", until=NOW + 90.0)
            self.assertTrue(await store.add_record(first, NOW))
            self.assertFalse(await store.add_record(other, NOW + 59))
            self.assertEqual(await store.record(kind, "one", NOW), first)
            self.assertTrue(await store.add_record(other, NOW + 60))
            self.assertEqual(await store.record(kind, "one", NOW + 60), other)

    async def test_expired_records(self) -> None:
        """An expired record counts as missing, whether it is deleted yet or not."""
        store = await self.keeping()
        for kind in KINDS:
            stored = [make_record("a", kind), make_record("b", kind, until=None)]
            for each in stored:
                self.assertTrue(await store.add_record(each, NOW))
            for moment in (NOW + 60, NOW + 10**8):
                self.assertIsNone(await store.record(kind, "a", moment))
                self.assertEqual([*await store.records(kind, moment)], stored[1:])
            await store.delete_expired(NOW + 60)
            # A store may keep expired records of the other kind among its newest changes.
            moment = NOW + 60 if is_followed(kind) else NOW
            self.assertIsNone(await store.record(kind, "a", moment))
            self.assertEqual([*await store.records(kind, moment)], stored[1:])
            again = evolve(stored[0], until=NOW + 90.0)
            self.assertTrue(await store.add_record(again, moment))
            self.assertEqual([*await store.records(kind, moment)], [again, stored[1]])

    async def test_replace(self) -> None:
        """A record is replaced only if its content is still the expected one."""
        store = await self.keeping()
        for kind in KINDS:
            first = make_record(kind=kind)
            second = evolve(first, content="second", until=NOW + 90.0)
            third = evolve(first, content="third", until=None)
            self.assertTrue(await store.add_record(first, NOW))
            self.assertFalse(await store.replace_record(third, second))
            self.assertEqual(await store.record(kind, "one", NOW), first)
            for new, earlier in ((second, first), (third, second)):
                self.assertTrue(await store.replace_record(new, earlier))
                self.assertFalse(await store.replace_record(new, earlier))
                self.assertEqual(await store.record(kind, "one", NOW), new)
            self.assertTrue(await store.remove_record(kind, "one"))
            self.assertFalse(await store.replace_record(first, third))
            self.assertIsNone(await store.record(kind, "one", NOW))

    async def test_remove(self) -> None:
        """A removed record is missing, and can be added again."""
        store = await self.keeping()
        for kind in KINDS:
            for _ in range(3):
                self.assertTrue(await store.add_record(make_record(kind=kind), NOW))
                self.assertTrue(await store.remove_record(kind, "one"))
                self.assertFalse(await store.remove_record(kind, "one"))
                self.assertIsNone(await store.record(kind, "one", NOW))
                self.assertEqual([*await store.records(kind, NOW)], [])

    async def test_one_of_several_succeeds_R_FEED(self) -> None:
        """If several callers add, replace or remove one record at once, one of them succeeds."""
        store = await self.keeping()
        for kind in KINDS:
            variants = [make_record(kind=kind, content=f"{number}") for number in range(6)]
            outcomes = await self.at_once(*(store.add_record(each, NOW) for each in variants))
            self.assertEqual(sorted(outcomes), [False] * 5 + [True])
            first = variants[outcomes.index(True)]
            self.assertEqual(await store.record(kind, "one", NOW), first)
            variants = [evolve(each, content=f"new {each.content}") for each in variants]
            outcomes = await self.at_once(*(store.replace_record(each, first) for each in variants))
            self.assertEqual(sorted(outcomes), [False] * 5 + [True])
            second = variants[outcomes.index(True)]
            self.assertEqual(await store.record(kind, "one", NOW), second)
            outcomes = await self.at_once(*(store.remove_record(kind, "one") for _ in range(6)))
            self.assertEqual(sorted(outcomes), [False] * 5 + [True])

    async def test_changes_R_FEED(self) -> None:
        """
        Changes after a cursor are complete, each record in its newest form, and only records of the
        kinds that gateways follow.
        """
        store = await self.keeping()
        one, two, three = (make_record(each) for each in ("1", "2", "3"))
        key = make_record("1", "signing-key", until=None)
        for each in (one, two, key, make_record("1", "refresh")):
            await store.add_record(each, NOW)
        begin = await store.changes(None)
        self.assert_changes(begin, [one, two, key], complete=True)
        self.assert_changes(await store.changes(begin.cursor), [])
        newer = evolve(two, content="newer")
        await store.replace_record(newer, two)
        await store.remove_record("revocation", "1")
        await store.add_record(three, NOW)
        await store.remove_record("refresh", "1")
        later = await store.changes(begin.cursor)
        self.assert_changes(later, [newer, three], [("revocation", "1")])
        self.assert_changes(await store.changes(later.cursor), [])
        await store.add_record(one, NOW)
        self.assert_changes(await store.changes(begin.cursor), [one, newer, three])
        self.assert_changes(await store.changes(later.cursor), [one])

    async def test_unknown_cursor_R_FEED(self) -> None:
        """
        For a cursor that the store does not know, all records are returned, and those that were
        removed lately.
        """
        store, other = await self.keeping(), await self.keeping()
        one, two, away = (make_record(each) for each in ("1", "2", "3"))
        for each in (one, two, away):
            await store.add_record(each, NOW)
            await other.add_record(each, NOW)
        await store.remove_record("revocation", "3")
        theirs = (await other.changes(None)).cursor
        for cursor in (None, "", "0", theirs, "9" * 20 + ":" + "0" * 16, "x:y", "\u2603", "-1:0"):
            found = await store.changes(cursor)
            self.assert_changes(found, [one, two], [("revocation", "3")], complete=True)

    async def test_cursor_of_the_distant_past_R_FEED(self) -> None:
        """
        For a cursor before changes that the store no longer has in its list, all records are
        returned.
        """
        self.patch(record_changes, "KEPT_CHANGES", 2)
        store = await self.keeping()
        stored = [make_record(f"{number}") for number in range(8)]
        cursors = []
        for each in stored:
            await store.add_record(each, NOW)
            cursors.append((await store.changes(None)).cursor)
        await store.remove_record("revocation", "0")
        await store.delete_expired(NOW)
        old = await store.changes(cursors[0])
        self.assertTrue(old.is_complete)
        self.assertEqual({each.id for each in old.records}, set("1234567"))
        self.assert_changes(await store.changes(cursors[-1]), [], [("revocation", "0")])

    async def test_changes_at_once_R_FEED(self) -> None:
        """A caller that reads the changes while others make changes misses none of them."""
        store = await self.keeping()
        seen: dict[str, Record] = {}
        cursor = None

        async def follow() -> None:
            nonlocal cursor
            for _ in range(10):
                found = await store.changes(cursor)
                cursor = found.cursor
                seen.update((each.id, each) for each in found.records)

        added = [make_record(f"{number}") for number in range(20)]
        await self.at_once(follow(), *(store.add_record(each, NOW) for each in added))
        await follow()
        self.assertEqual(sorted(seen), sorted(each.id for each in added))

    async def test_on_change_R_FEED(self) -> None:
        """A caller is notified of each change of a followed kind of records, until it ends that."""
        store = await self.keeping()
        calls: list[None] = []
        end = store.on_change(lambda: calls.append(None))
        one = make_record()
        for change in (
            lambda: store.add_record(one, NOW),
            lambda: store.replace_record(evolve(one, content="new"), one),
            lambda: store.remove_record("revocation", "one"),
        ):
            calls.clear()
            self.assertTrue(await change())
            await self.happens(lambda: bool(calls))
        end()
        await store.add_record(one, NOW)
        end()

    async def happens(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition is true; a subclass may let the reactor run meanwhile."""
        self.assertTrue(condition())

    async def test_records_are_not_tokens(self) -> None:
        """Records do not count as API tokens, policies or revoked API tokens."""
        store = await self.keeping()
        for kind in KINDS:
            await store.add_record(make_record(kind=kind), NOW)
        self.assertEqual([*await store.list_tokens(TokenQuery())], [])
        self.assertIsNone(await store.get("one"))
        self.assertIsNone(await store.find_revoked("one"))
        self.assertEqual(await store.delete_expired(NOW * 2), 0)

    async def test_no_contents_in_representation(self) -> None:
        """The representation of a token store does not contain its records."""
        store = await self.keeping()
        await store.add_record(make_record(), NOW)
        self.assertNotIn("content of", repr(store))

    def assert_changes(
        self,
        found: Changes,
        records: list[Record],
        removed: list[tuple[str, str]] | None = None,
        *,
        complete: bool = False,
    ) -> None:
        """Check what a call of C{changes} returned, in any order."""
        self.assertEqual(
            sorted((each.kind, each.id, each.content, each.until) for each in found.records),
            sorted((each.kind, each.id, each.content, each.until) for each in records),
        )
        self.assertEqual(sorted(found.removed), sorted(removed or []))
        self.assertEqual(found.is_complete, complete)
