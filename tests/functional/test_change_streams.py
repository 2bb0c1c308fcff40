"""Change streams tell a gateway about records: those of a script, see L{ScriptedStreams}."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.trial.unittest import TestCase

from authotron.stores import mongo_records
from authotron.testing.record_contract import make_record
from authotron.testing.worlds import NOW
from tests.functional.change_streams import ScriptedStreams
from tests.functional.databases import shared
from tests.functional.test_stores import closed, store_of
from tests.waiting import TEST_TIMEOUT, eventually

CLOCK: Any = reactor


async def never(*_: object) -> None:
    """Wait without end, in place of the polls of a store without a change stream."""
    await Deferred()


class ChangeStreamTests(TestCase):
    """Two stores on a scripted server with change streams."""

    timeout = TEST_TIMEOUT

    async def opened(self) -> Any:
        uri = f"mongodb://127.0.0.1:{self.number}"
        store = store_of({**self.section, "uri": uri})
        self.addCleanup(closed, store)
        await store.open()
        return store

    async def following(self) -> tuple[Any, list[None]]:
        """Return a store that others change, and the list of the calls for one that follows it."""
        self.section = shared("mongo").section
        self.script = ScriptedStreams(shared("mongo").port)
        port: IListeningPort = CLOCK.listenTCP(0, self.script, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.number: int = port.getHost().port  # type: ignore[attr-defined] # of TCP
        self.patch(mongo_records, "poll", never)
        store, follower = await self.opened(), await self.opened()
        calls: list[None] = []
        follower.on_change(lambda: calls.append(None))
        await self.streams(calls, 1)
        return store, calls

    async def streams(self, calls: list[None], number: int) -> None:
        """Wait until so many change streams were opened, and the last one waits for changes."""
        await eventually(lambda: self.script.opened >= number and calls, "opened")
        polls = self.script.polls
        await eventually(lambda: self.script.polls > polls, "waits")
        calls.clear()

    async def test_change_R_FEED(self) -> None:
        """Each change is reported by the stream; no other query looks for changes meanwhile."""
        store, calls = await self.following()
        for number in range(5):
            await store.add_record(make_record(f"{number}"), NOW)
            await eventually(lambda: calls, "told")
            calls.clear()
        self.assertEqual(self.script.opened, 1)

    async def test_stream_is_lost_R_FEED(self) -> None:
        """A stream that the server does not know any more is opened again, and that is reported."""
        store, calls = await self.following()
        self.script.end_streams()
        await self.streams(calls, 2)
        await store.add_record(make_record(), NOW)
        await eventually(lambda: calls, "told")

    async def test_connection_is_lost_R_FEED(self) -> None:
        """After a lost connection the stream is opened again, over a new one."""
        store, calls = await self.following()
        for each in [*self.script.clients]:
            each.transport.abortConnection()
        await self.streams(calls, 2)
        await store.add_record(make_record(), NOW)
        await eventually(lambda: calls, "told")

    async def test_silence_R_FEED(self) -> None:
        """A stream that answers nothing is given up, and opened again."""
        store, calls = await self.following()
        self.script.is_silent = True
        await eventually(lambda: self.script.opened >= 2, "opened again")
        self.script.is_silent = False
        await self.streams(calls, 3)
        await store.add_record(make_record(), NOW)
        await eventually(lambda: calls, "told")
