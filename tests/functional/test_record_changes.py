"""How gateways learn of changed records from a Redis that restarts, hangs or changes its role."""

from __future__ import annotations

from typing import Any, cast

from attrs import evolve

from authotron.model.errors import Unavailable
from authotron.testing.record_contract import make_record
from authotron.testing.worlds import NOW
from tests.functional.test_failover import FailoverCase, pause
from tests.functional.test_stores import outcome, reachable
from tests.waiting import eventually


class RecordChangesTests(FailoverCase):
    """Two stores on one Redis, of which one follows what the other changes."""

    async def following(self, **keys: Any) -> None:
        """Open a store that changes records, and a store that follows them."""
        self.store = cast(Any, await self.opened(**keys))
        self.follower = cast(Any, await self.opened(**keys))
        self.calls: list[None] = []
        self.follower.on_change(lambda: self.calls.append(None))
        await eventually(lambda: self.calls, "subscribed")
        self.number = 0

    async def follows(self) -> None:
        """Wait until the follower is told of a change, whose subscription may be under way."""

        async def is_told() -> Any:
            self.calls.clear()
            self.number += 1
            await self.store.add_record(make_record(f"{self.number}"), NOW)
            await pause(0.1)
            return bool(self.calls)

        await eventually(is_told, "told")

    async def test_connection_is_closed_R_FEED(self) -> None:
        """A subscriber whose connection Redis closes subscribes again."""
        self.first = self.server().start()
        await self.following(port=self.first.port)
        administrator = self.administrator(self.first)
        for _ in range(3):
            await self.follows()
            self.calls.clear()
            await administrator.ask("CLIENT", "KILL", "TYPE", "pubsub")
            await eventually(lambda: self.calls, "subscribed again")
        await self.follows()

    async def test_server_hangs_R_FEED(self) -> None:
        """A subscriber notices that Redis does not answer, and subscribes again when it does."""
        self.first = self.server().start()
        await self.following(port=self.first.port)
        subscribers = await self.subscribers()
        self.first.freeze()
        self.assertIsInstance(await outcome(self.follower.changes(None)), Exception)
        self.first.thaw()
        await eventually(self.subscribers, "new", wanted=lambda ids: ids not in ([], subscribers))
        await reachable(self.store)
        await self.follows()

    async def subscribers(self) -> Any:
        """Return the ids of the connections that subscribe."""
        listed = await self.administrator(self.first).ask("CLIENT", "LIST", "TYPE", "pubsub")
        return [line.split()[0] for line in listed.splitlines()]

    async def test_server_restarts_R_FEED(self) -> None:
        """After a restart the cursor is still known, and no change is missed or told twice."""
        self.first = self.server().start()
        await self.following(port=self.first.port)
        one, two = make_record("a"), make_record("b")
        await self.store.add_record(one, NOW)
        cursor = (await self.follower.changes(None)).cursor
        await self.store.add_record(two, NOW)
        self.first.stop()
        self.assertIsInstance(await outcome(self.follower.changes(cursor)), Unavailable)
        self.first.start()
        await reachable(self.store)
        found = await self.follower.changes(cursor)
        self.assertEqual((found.records, found.is_complete), ((two,), False))
        await self.follows()

    async def test_lost_changes_R_FEED(self) -> None:
        """If Redis has lost its last changes, all records are returned, and what is lost is not."""
        self.first = self.server().start()
        await self.following(port=self.first.port)
        kept, lost = make_record("kept"), make_record("lost")
        await self.store.add_record(kept, NOW)
        await self.store.add_record(lost, NOW)
        cursor = (await self.follower.changes(None)).cursor
        administrator = self.administrator(self.first)
        [[place, _]] = await administrator.ask("XREVRANGE", "mine:changes", "+", "-", "COUNT", 1)
        await administrator.ask("XDEL", "mine:changes", place)
        await administrator.ask("DEL", "mine:record:revocation:lost")
        await administrator.ask("ZREM", "mine:records:revocation", "lost")
        found = await self.follower.changes(cursor)
        self.assertEqual((found.records, found.removed, found.is_complete), ((kept,), (), True))
        await administrator.ask("FLUSHALL")
        found = await self.follower.changes(found.cursor)
        self.assertEqual((found.records, found.removed, found.is_complete), ((), (), True))
        await self.follows()

    async def test_many_R_FEED(self) -> None:
        """Many changes are returned in full, after a cursor and without one."""
        self.first = self.server().start()
        await self.following(port=self.first.port)
        start = (await self.store.changes(None)).cursor
        await self.store.add_record(make_record("first"), NOW)
        cursor = (await self.store.changes(start)).cursor
        for number in range(1000):
            await self.store.add_record(make_record(f"{number}", content="x" * 1000), NOW)
        for after, count in ((cursor, 1000), (None, 1001)):
            found = await self.store.changes(after)
            self.assertEqual((len(found.records), found.is_complete), (count, after is None))
        self.assertEqual(len(await self.store.records("revocation", NOW)), 1001)

    async def test_replica_R_FEED(self) -> None:
        """A former primary does not say that nothing has changed: it cannot know that."""
        await self.pair()
        await self.following(port=self.addressed())
        cursor = (await self.follower.changes(None)).cursor
        old, new = self.administrator(self.first), self.administrator(self.second)
        await old.ask("FAILOVER", "TO", "127.0.0.1", self.second.port, "TIMEOUT", 5000)
        await self.in_step(new)
        self.assertIsInstance(await outcome(self.follower.changes(cursor)), Unavailable)
        self.lead_to(self.second)
        await reachable(self.store)
        found = await self.follower.changes(cursor)
        self.assertEqual(found.records, ())
        await self.follows()

    async def test_lost_replicas_R_FEED(self) -> None:
        """A primary that has lost its replicas, as in a split network, does not say so either."""
        await self.pair()
        await self.administrator(self.first).ask("CONFIG", "SET", "min-replicas-to-write", 1)
        await self.following(port=self.first.port)
        cursor = (await self.follower.changes(None)).cursor
        self.second.stop()

        async def changes() -> Any:
            return await outcome(self.follower.changes(cursor))

        refused = await eventually(
            changes, "refused", wanted=lambda found: isinstance(found, Unavailable)
        )
        self.assertIn("NOREPLICAS", str(refused))

    async def test_sentinel_R_FEED(self) -> None:
        """The follower subscribes to the server that Sentinel appoints."""
        await self.pair()
        sentinel = self.server()
        sentinel.folder.mkdir(parents=True)
        (sentinel.folder / "sentinel.conf").write_text(
            f"sentinel monitor mine 127.0.0.1 {self.first.port} 1\n"
            "sentinel down-after-milliseconds mine 500\nsentinel failover-timeout mine 5000\n"
        )
        sentinel.start()
        await self.following(sentinels=[f"127.0.0.1:{sentinel.port}"], sentinel_service="mine")
        await self.follows()
        cursor = (await self.follower.changes(None)).cursor
        self.first.stop()
        await reachable(self.store)
        await self.follows()
        found = await self.follower.changes(cursor)
        newest = make_record(f"{self.number}")
        self.assertIn(newest, found.records)
        replaced = evolve(newest, content="new")
        self.assertTrue(await self.store.replace_record(replaced, newest))
