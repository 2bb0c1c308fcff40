"""The change stream of MongoDB that tells a gateway about changed records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define, field
from pydantic import SecretStr
from pymongo.errors import OperationFailure
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.model.errors import Unavailable
from authotron.net import tls
from authotron.stores.mongo_connections import MongoConnections

_WAIT = 1.0
"""Maximum number of seconds for which MongoDB waits for a change before it answers."""

_WAIT_SHARE = 0.5
"""Maximum share of C{store.timeout} for which MongoDB waits for a change before it answers."""


class NoStream(Unavailable):
    """The server refuses to open a change stream, as a MongoDB server without replica set does."""


class Config(Protocol):
    """The configuration keys of the MongoDB store that its change stream needs."""

    uri: SecretStr
    database: str
    timeout: float

    def verifier(self) -> tls.Verifier | None:
        """Build the verifier of the server's certificate, or return C{None} if TLS is off."""


@define(eq=False)
class _Target:
    """The configuration of a pool with one connection."""

    uri: SecretStr
    timeout: float
    verifier: Callable[[], tls.Verifier | None]
    connections: int = 1


@define(eq=False)
class MongoStream:
    """
    Follows the change stream of a MongoDB collection, over a connection of its own, because MongoDB
    answers other commands on the connection only after it has waited for a change.

    @ivar _name: a function that returns the name of the MongoDB collection.
    @ivar _was_refused: whether the log says already that the server refuses change streams.
    """

    _config: Config
    _clock: IReactorTime
    _name: Callable[[], str]
    _was_refused: bool = field(default=False, init=False)
    _log = Logger()

    async def follow(self, notify: Callable[[], object]) -> None:
        """
        Call C{notify} after each inserted document, and once the stream is open, since earlier
        changes are not in the stream; this goes on until the stream ends.

        @raise NoStream: the server refuses to open a change stream.
        @raise Unavailable: the connection was lost, or the server has closed the stream.
        """
        config = self._config
        target = _Target(config.uri, config.timeout, config.verifier)
        connections = MongoConnections.of(target, self._clock)
        try:
            await connections.wait()
            await self._follow(connections, notify)
        finally:
            await connections.pool.disconnect()

    async def _follow(self, connections: MongoConnections, notify: Callable[[], object]) -> None:
        name, database = self._name(), connections.pool[self._config.database]

        async def open_stream() -> Mapping[str, Any]:
            stages = [{"$changeStream": {}}, {"$match": {"operationType": "insert"}}]
            try:
                return await self._cursor(
                    database, {"aggregate": name, "pipeline": stages, "cursor": {}}
                )
            except OperationFailure as error:
                self._report_refusal(error.code)
                raise NoStream("MongoDB refuses to open a change stream") from None

        cursor = await connections.read(open_stream)
        notify()
        milliseconds = int(min(_WAIT, self._config.timeout * _WAIT_SHARE) * 1000)
        more = {"collection": name, "maxTimeMS": milliseconds}
        while cursor["id"]:
            command = {"getMore": cursor["id"], **more}
            cursor = await connections.call(lambda: self._cursor(database, {**command}))  # noqa: B023 - called at once
            if cursor["nextBatch"]:
                notify()
        raise Unavailable("MongoDB has closed the change stream")

    async def _cursor(self, database: Any, command: dict[str, Any]) -> Mapping[str, Any]:
        answer = await database.command(command)
        cursor: Mapping[str, Any] = answer["cursor"]
        return cursor

    def _report_refusal(self, code: int | None) -> None:
        if not self._was_refused:
            self._was_refused = True
            self._log.info(
                "MongoDB refuses to open a change stream (code {code}), so the gateway looks for "
                "changed records four times a second",
                code=code,
                event="store.stream.refused",
            )
