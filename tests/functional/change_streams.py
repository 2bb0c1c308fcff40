"""
A script that adds change streams to a server of the MongoDB protocol that has none.

It stands in front of the real server, passes on every command but those of change streams, and
reports each document that a client inserts through it, as the change streams of MongoDB do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from attrs import define, field
from bson import CodecOptions, encode
from bson.int64 import Int64
from twisted.internet import reactor  # noqa: TID251 - real sockets
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from txmongo.protocol import MongoDecoder

CLOCK: Any = reactor

_HEAD = struct.Struct("<iiii")
_COMMANDS = 2013
"""The kind of message in which the store sends its commands."""

_CURSOR = 4711


@define(eq=False)
class ScriptedStreams(Factory):
    """
    The script, as a server.

    @ivar port: of the real server.
    @ivar opened: how many change streams were opened.
    @ivar polls: how often a client has asked an open change stream for more.
    @ivar is_silent: whether open change streams answer nothing any more.
    """

    port: int
    noisy = False
    opened: int = field(default=0, init=False)
    polls: int = field(default=0, init=False)
    is_silent: bool = field(default=False, init=False)
    clients: list[Client] = field(factory=list, init=False)

    def buildProtocol(self, addr: object) -> Client:
        return Client(self)

    def inserted(self) -> None:
        """Report an inserted document on every change stream."""
        for each in [*self.clients]:
            each.stream.report()

    def end_streams(self) -> None:
        """Answer that no change stream is known any more, as after a restart of the server."""
        for each in self.clients:
            each.stream.is_open = False


@define(eq=False)
class Stream:
    """
    The change stream of one connection.

    @ivar number: of the command that waits for a change, or 0.
    """

    answer: Callable[[int, dict[str, Any]], None]
    is_open: bool = field(default=False, init=False)
    _number: int = field(default=0, init=False)
    _events: int = field(default=0, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def open(self, number: int) -> None:
        self.is_open, self._events = True, 0
        self.answer(number, {"cursor": {"id": Int64(_CURSOR), "ns": "x", "firstBatch": []}})

    def wait(self, number: int, milliseconds: int) -> None:
        """Answer with the changes so far, or with the next one, or after a time with none."""
        if not self.is_open:
            error = {"ok": 0.0, "errmsg": "cursor not found", "code": 43}
            self.answer(number, error)
            return
        self._number = number
        if self._events:
            self._flush()
        else:
            self._timer = CLOCK.callLater(milliseconds / 1000, self._flush)

    def report(self) -> None:
        if self.is_open:
            self._events += 1
            if self._number:
                self._flush()

    def _flush(self) -> None:
        self.stop()
        events = [{"operationType": "insert"}] * self._events
        number, self._number, self._events = self._number, 0, 0
        self.answer(number, {"cursor": {"id": Int64(_CURSOR), "ns": "x", "nextBatch": events}})

    def stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


class Messages(Protocol):
    """A connection that carries messages of the MongoDB protocol."""

    transport: Any

    def __init__(self) -> None:
        self._received = b""

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _HEAD.size:
            length, *_ = _HEAD.unpack(self._received[: _HEAD.size])
            if len(self._received) < length:
                return
            message, self._received = self._received[:length], self._received[length:]
            self.messageReceived(message)

    def messageReceived(self, message: bytes) -> None:
        raise NotImplementedError


class Client(Messages):
    """One connection of a client, with a connection of its own to the real server."""

    def __init__(self, script: ScriptedStreams) -> None:
        super().__init__()
        self.script = script
        self.stream = Stream(self._answer)
        self.inserting: set[int] = set()
        self._server: Any = None

    def connectionMade(self) -> None:
        self.script.clients.append(self)
        endpoint = TCP4ClientEndpoint(CLOCK, "127.0.0.1", self.script.port)
        connectProtocol(endpoint, Server(self)).addCallbacks(self._connected, self._failed)

    def _connected(self, server: Any) -> None:
        self._server = server
        super().dataReceived(b"")

    def _failed(self, _: Failure) -> None:
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._server is None:
            self._received += data
        else:
            super().dataReceived(data)

    def messageReceived(self, message: bytes) -> None:
        _, number, _, kind = _HEAD.unpack(message[: _HEAD.size])
        command: Any = {}
        if kind == _COMMANDS:
            command = MongoDecoder.decode(message).to_dict(CodecOptions())
        if "$changeStream" in str(command.get("pipeline", "")):
            self.script.opened += 1
            self.stream.open(number)
        elif command.get("getMore") == _CURSOR:
            self.script.polls += 1
            if not self.script.is_silent:
                self.stream.wait(number, command["maxTimeMS"])
        else:
            if str(command.get("insert", "")).endswith("_records"):
                self.inserting.add(number)
            self._server.transport.write(message)

    def _answer(self, number: int, document: dict[str, Any]) -> None:
        body = struct.pack("<iB", 0, 0) + encode({"ok": 1.0, **document})
        self.transport.write(_HEAD.pack(_HEAD.size + len(body), 0, number, _COMMANDS) + body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.script.clients.remove(self)
        self.stream.stop()
        if self._server is not None:
            self._server.transport.loseConnection()


class Server(Messages):
    """A connection to the real server, for one client."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def messageReceived(self, message: bytes) -> None:
        _, _, number, _ = _HEAD.unpack(message[: _HEAD.size])
        self._client.transport.write(message)
        if number in self._client.inserting:
            self._client.inserting.remove(number)
            self._client.script.inserted()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._client.transport.loseConnection()
