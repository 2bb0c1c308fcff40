"""Several gateways change records of one store at the same time."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from authotron.model.errors import Unavailable
from authotron.model.records import Record
from authotron.testing.record_contract import KINDS, make_record
from authotron.testing.worlds import NOW
from tests.functional.databases import shared
from tests.functional.test_stores import closed, store_of
from tests.waiting import TEST_TIMEOUT

GATEWAYS, RECORDS = 4, 20


class SeveralGateways:
    """
    Gateways with one store, which is of the kind that a subclass names.

    @ivar most_refused: how many reads the server may refuse, which are repeated as gateways do.
    """

    kind: str
    most_refused = 0
    timeout = TEST_TIMEOUT

    async def opened(self: Any) -> list[Any]:
        section, stores = shared(self.kind).section, []
        for _ in range(GATEWAYS + 1):
            store = store_of(section, timeout=60)
            self.addCleanup(closed, store)
            await store.open()
            stores.append(store)
        return stores

    async def at_once(self, *calls: Any) -> list[Any]:
        return await gatherResults([Deferred.fromCoroutine(each) for each in calls])

    async def test_one_succeeds_R_FEED(self: Any) -> None:
        """If each gateway adds, replaces or removes the same record, one of them succeeds."""
        _, *stores = await self.opened()
        for kind in KINDS:
            for number in range(5):
                first = make_record(f"{number}", kind)
                added = await self.at_once(*(each.add_record(first, NOW) for each in stores))
                new = [evolve(first, content=f"new {place}") for place in range(GATEWAYS)]
                replacing = zip(stores, new, strict=True)
                replaced = await self.at_once(
                    *(store.replace_record(each, first) for store, each in replacing)
                )
                winner = new[replaced.index(True)]
                self.assertEqual(await stores[0].record(kind, first.id, NOW), winner)
                removed = await self.at_once(
                    *(each.remove_record(kind, first.id) for each in stores)
                )
                for outcomes in (added, replaced, removed):
                    self.assertEqual(sorted(outcomes), [False] * (GATEWAYS - 1) + [True])

    async def test_no_change_is_missed_R_FEED(self: Any) -> None:
        """A gateway that reads the changes all the while gets every one of them."""
        reader, *stores = await self.opened()
        seen: dict[str, Record] = {}
        gone: set[str] = set()
        cursor = (await reader.changes(None)).cursor
        is_over = False

        async def follow() -> None:
            nonlocal cursor
            refused = 0
            while True:
                was_over = is_over
                try:
                    found = await reader.changes(cursor)
                except Unavailable:
                    refused += 1
                    if refused > self.most_refused:
                        raise
                    continue
                cursor = found.cursor
                seen.update((each.id, each) for each in found.records)
                gone.update(id_ for _, id_ in found.removed)
                if was_over:
                    return

        async def write(place: int, store: Any) -> None:
            for number in range(RECORDS):
                record = make_record(f"{place}-{number}")
                self.assertTrue(await store.add_record(record, NOW))
                if number % 4 == 0:
                    self.assertTrue(await store.remove_record("revocation", record.id))

        following = Deferred.fromCoroutine(follow())
        await self.at_once(*(write(place, store) for place, store in enumerate(stores)))
        is_over = True
        await following
        added = {f"{place}-{number}" for place in range(GATEWAYS) for number in range(RECORDS)}
        removed = {id_ for id_ in added if int(id_.partition("-")[2]) % 4 == 0}
        self.assertEqual((added - seen.keys() - gone, gone), (set(), removed))
        everything = await reader.changes(None)
        self.assertEqual({each.id for each in everything.records}, added - removed)
        self.assertEqual({id_ for _, id_ in everything.removed}, removed)


class RedisWritersTests(SeveralGateways, TestCase):
    """Redis."""

    kind = "redis"


class MongoWritersTests(SeveralGateways, TestCase):
    """A server of the MongoDB protocol, whose updates are not atomic."""

    kind = "mongo"


class MongoJavaWritersTests(SeveralGateways, TestCase):
    """Another server of the MongoDB protocol, which fails if a write interrupts a long read."""

    kind = "mongo-java"
    most_refused = 5
