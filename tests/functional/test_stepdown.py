"""The MongoDB store when the primary steps down or the server is restarted."""

from __future__ import annotations

import signal
import struct
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from bson import encode
from twisted.internet import reactor  # noqa: TID251 - real sockets
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from txmongo.protocol import MongoDecoder, Msg

from authotron.plugin.interfaces import TokenQuery
from authotron.testing.contracts import make_token
from authotron.testing.record_contract import make_record
from authotron.testing.worlds import NOW
from tests.functional.databases import Database, shared
from tests.functional.test_failover import ENOUGH, Load
from tests.functional.test_stores import closed, outcome, store_of
from tests.waiting import TEST_TIMEOUT

CLOCK: Any = reactor

_HEAD = struct.Struct("<iiii")
_COMMANDS = 2013
"""The kind of message in which the store sends its commands."""


@define(eq=False)
class Script(Factory):
    """
    A server in front of a real one, whose open connections can be made those of a former primary.

    @ivar code: the error of the former primary.
    @ivar refused: how many commands it has refused.
    """

    port: int
    noisy = False
    code: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    open_connections: list[Former] = field(factory=list, init=False)

    def buildProtocol(self, addr: object) -> Former:
        return Former(self)

    def step_down(self, code: int) -> None:
        """From now on each open connection answers with an error; new connections do not."""
        self.code = code
        for each in self.open_connections:
            each.is_former = True


class Former(Protocol):
    """One connection of a client; it leads to the real server until the step-down."""

    transport: Any

    def __init__(self, script: Script) -> None:
        self._script = script
        self._received = b""
        self._server: Any = None
        self.is_former = False

    def connectionMade(self) -> None:
        self._script.open_connections.append(self)
        endpoint = TCP4ClientEndpoint(CLOCK, "127.0.0.1", self._script.port)
        connectProtocol(endpoint, Answers(self)).addCallbacks(self._connected, self._lost)

    def _connected(self, server: Any) -> None:
        self._server = server
        self.dataReceived(b"")

    def _lost(self, _: Failure) -> None:
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        while self._server is not None and len(self._received) >= _HEAD.size:
            length, number, _, kind = _HEAD.unpack(self._received[: _HEAD.size])
            if len(self._received) < length:
                return
            message, self._received = self._received[:length], self._received[length:]
            if self.is_former and kind == _COMMANDS:
                self._refuse(message, number)
            else:
                self._server.transport.write(message)

    def _refuse(self, message: bytes, number: int) -> None:
        assert isinstance(MongoDecoder.decode(message), Msg)
        self._script.refused += 1
        answer = {"ok": 0.0, "errmsg": "not the primary", "code": self._script.code}
        body = struct.pack("<iB", 0, 0) + encode(answer)
        head = _HEAD.pack(_HEAD.size + len(body), 0, number, _COMMANDS)
        self.transport.write(head + body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._script.open_connections.remove(self)
        if self._server is not None:
            self._server.transport.loseConnection()


class Answers(Protocol):
    """The connection to the real server."""

    transport: Any

    def __init__(self, client: Former) -> None:
        self._client = client

    def dataReceived(self, data: bytes) -> None:
        self._client.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._client.transport.loseConnection()


class StepDownTests(TestCase):
    """A server that answers like a former primary, on connections that stay open."""

    timeout = TEST_TIMEOUT

    def setUp(self) -> None:
        self.section = shared("mongo").section
        self.script = Script(shared("mongo").port)
        port: IListeningPort = CLOCK.listenTCP(0, self.script, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.number: int = port.getHost().port  # type: ignore[attr-defined] # of TCP

    async def opened(self) -> Any:
        uri = f"mongodb://127.0.0.1:{self.number}"
        store = store_of({**self.section, "uri": uri})
        self.addCleanup(closed, store)
        await store.open()
        return store

    async def test_step_down_R_FAIL(self) -> None:
        """
        If the server is not the primary any more, the store connects anew and repeats the
        operation, within the same request.
        """
        store = await self.opened()
        kept = make_token()
        await store.add(kept)
        for age, code in enumerate((10107, 13435, 91, 189, 11600)):
            fresh, record = make_token(age=age), make_record(f"{age}")
            cursor = (await store.changes(None)).cursor
            for work in (
                store.get(kept.id),
                store.add(fresh, 100),
                store.change(kept.id, {"name": f"of {code}"}),
                store.list_tokens(TokenQuery()),
                store.remove(fresh.id, NOW),
                store.check_reachable(),
                store.add_record(record, NOW),
                store.replace_record(evolve(record, content="new"), record),
                store.changes(cursor),
                store.records("revocation", NOW),
                store.remove_record("revocation", record.id),
            ):
                self.script.step_down(code)
                found = await outcome(work)
                self.assertNotIsInstance(found, Exception)
            self.assertIsNone(await store.get(fresh.id))
            found = await store.changes(cursor)
            self.assertEqual((found.records, found.removed), ((), (("revocation", record.id),)))
            self.assertGreater(self.script.refused, 0)
            self.script.refused = 0
        self.assertEqual(len(await store.list_tokens(TokenQuery())), 1)


class RestartTests(TestCase):
    """The real server is killed and started again under load."""

    timeout = TEST_TIMEOUT

    async def test_restart_R_FAIL(self) -> None:
        """No acknowledged token is lost, and the store goes on without a restart."""
        database = Database("mongo", Path(self.mktemp())).start()
        self.addCleanup(database.stop)
        store = store_of(database.section)
        self.addCleanup(closed, store)
        await store.open()
        load = Load(store).start()
        await load.reaches(ENOUGH)
        load.outage()
        database.tell(signal.SIGKILL)
        database.stop()
        database.start()
        await load.reaches(ENOUGH)
        load.recovered()
        await load.stop()
        self.assertEqual(load.failures, [])
        self.assertEqual(await load.lost(), 0)
