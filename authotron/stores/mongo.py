"""Tokens kept in a MongoDB, shared by all gateways that use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from uuid import uuid4

from attrs import define, field
from pydantic import Field, SecretStr, field_validator
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime
from txmongo import filter as sorting
from txmongo.connection import ConnectionPool
from txmongo.errors import TimeExceeded
from zope.interface import implementer

from authotron.config.plugins import StoreConfig
from authotron.config.section import FilePath, NonEmptyStr, Secret
from authotron.limits.descriptors import Narrow
from authotron.model.errors import (
    ConfigError,
    Problem,
    TokenExists,
    TooMany,
    Unavailable,
)
from authotron.model.token import (
    CHANGEABLE,
    IMPORT,
    IMPORTED,
    TERMINAL,
    Revoked,
    Row,
    Token,
    from_row,
    mark_of,
)
from authotron.net import tls
from authotron.net.tls_gates import GatedConnections
from authotron.net.world import World
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.plugin.token_rows import (
    MOST_REVOKED,
    MOST_REVOKED_OF_OWNER,
    REVOKED_FOR,
    remembered_until,
    tokens_of,
)

T = TypeVar("T")

_FORM = 1
_GRACE = 3600
_BATCH = 500
_OF_REVOKED = {"_id": 1, "realm": 1, "username": 1, "token": 1, "origin": 1, "fixed": 1}
_TAKEN = frozenset({1, 11000})
_UNSUPPORTED = frozenset({67, 115, 238})
"""Codes of servers that have no such kind of index."""

_MECHANISMS = frozenset({"DEFAULT", "SCRAM-SHA-1", "MONGODB-X509"})
_FAILURES = (PyMongoError, TimeExceeded, ConnectionClosed, ConnectError)


class Config(StoreConfig):
    """`type: mongo`: tokens in a MongoDB database of our own."""

    type: Literal["mongo"]
    uri: Secret = Field(description="where it is: mongodb://user:password@host:port/database")
    database: NonEmptyStr = Field(description="the database; never one of the original's tokens")
    tokens_collection: NonEmptyStr = Field(default="tokens", description="the collection of tokens")
    users_collection: NonEmptyStr = Field(
        default="users", description="the collection of their owners"
    )
    connections: int = Field(default=4, ge=1, le=100, description="connections kept open")
    tls: bool = Field(default=False, description="whether to use TLS, and check who answers")
    tls_ca_file: FilePath | None = Field(
        default=None, description="certificates (PEM) that are trusted instead of the system's"
    )

    def outward(self, narrow: Narrow) -> int:
        """How many connections to the database there may be: a few more watch its servers."""
        return self.connections + 4

    @field_validator("uri")
    @classmethod
    def _that_takes_effect(cls, uri: SecretStr) -> SecretStr:
        """The library overlooks some of what may stand in a URI; better to say so."""
        text = uri.get_secret_value()
        if not text.startswith("mongodb://"):
            raise ValueError("must begin with mongodb://")
        try:
            parsed = parse_uri(text)
        except (PyMongoError, ValueError):
            raise ValueError("is no URI of a MongoDB") from None
        options = {name.lower(): value for name, value in parsed["options"].items()}
        if parsed["username"] and not parsed["database"]:
            raise ValueError("has a user but no /database; the user would not be used")
        if options.keys() & {"tls", "ssl"}:
            raise ValueError("asks for TLS, which takes effect only as store.tls")
        if options.get("authmechanism", "DEFAULT") not in _MECHANISMS:
            raise ValueError(f"authMechanism can be {', '.join(sorted(_MECHANISMS))}")
        return uri


@implementer(ITokenStore)
@define(eq=False)
class MongoStore:
    """
    Keeps each token in a document.

    C{token.token_string}, the unique key of the documents, holds the keyed hash. Every document
    has a C{form}; a database with tokens of another form is not ours and is left alone.
    """

    _config: Config
    _clock: IReactorTime
    type: str = field(default="mongo", init=False)
    pepper: bytes | None = field(default=None, init=False)
    _pool: ConnectionPool | None = field(default=None, init=False)
    _peer: GatedConnections | None = field(default=None, init=False)
    _open: bool = field(default=False, init=False)

    async def open(self) -> None:
        if self._pool is None:
            self._peer = peer(self._config)
            self._pool = connections(self._config, self._peer)
            if self._peer is not None:
                await self._peer.settled()
        stranger = await said(self._tokens.find_one({"form": {"$ne": _FORM}}))
        if stranger is not None:
            theirs = (
                f"{self._config.database}.{self._config.tokens_collection} holds tokens that are "
                "not ours; choose another database (`authotron tokens import` copies from it)"
            )
            raise ConfigError([Problem("store.database", theirs)])
        await self._make_indexes()
        self._open = True

    async def close(self) -> None:
        self._open = False
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.disconnect()

    async def reach(self) -> None:
        await said(self._ready().find_one({"_id": ""}))

    async def add(self, token: Token, most: int | None = None) -> None:
        """
        The interface of L{ITokenStore}.

        Of several gateways that add the last token of an owner at once none may succeed: each
        takes its own back if there are too many.
        """
        if most is not None and await self._has(token, most):
            raise TooMany
        await self._insert(token)
        if most is not None and await self._has(token, most + 1):
            await said(self._tokens.delete_one({"_id": token.id}))
            raise TooMany

    async def _has(self, token: Token, most: int) -> bool:
        """
        Whether an owner has C{most} tokens that count when a new one is created.

        Imported tokens of earlier versions are known by the name of their provider only.
        """
        count, live = self._ready().count_documents, {"$gt": token.created}
        mine = {
            "realm": token.owner.realm,
            "username": token.owner.username,
            "$or": [{"expires": None}, {"expires": live}],
        }
        found = await said(count({**mine, "origin": {"$nin": [TERMINAL, IMPORT]}}))
        if found < most:
            return False
        old = {"origin": {"$exists": False}, "fixed": {"$regex": f'"provider": "{IMPORTED}'}}
        return bool(found - await said(count({**mine, **old})) >= most)

    async def _insert(self, token: Token) -> None:
        tokens, row = self._ready(), token.row()
        document = {
            "_id": row.pop("id"),
            "form": _FORM,
            "token": {"token_string": row.pop("hashed"), "scopes": {}},
            "user_id": await self._user_id(token.owner.realm, token.owner.username),
            "ends": _date(row["expires"]),
            "lineage": list(token.lineage),
            **row,
        }
        try:
            await said(tokens.insert_one(document))
        except DuplicateKeyError:
            raise TokenExists from None

    async def get(self, id_: str) -> Token | None:
        document = await said(self._ready().find_one({"_id": id_}))
        return None if document is None else from_row(_row(document))

    async def listed(self, wanted: TokenQuery) -> Sequence[Token]:
        where: dict[str, Any] = {"_id": {"$gt": wanted.after}}
        owner = {"realm": wanted.realm, "username": wanted.username}
        where |= {name: value for name, value in owner.items() if value is not None}
        if wanted.below is not None:
            where["$or"] = _tree(wanted.below)
        documents = await said(
            self._ready().find(
                where, limit=wanted.most, sort=sorting.sort(sorting.ASCENDING("_id"))
            )
        )
        return await tokens_of(map(_row, documents), self._clock)

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        assert changes.keys() <= CHANGEABLE
        setting: dict[str, Any] = dict(changes)
        if "expires" in changes:
            setting["ends"] = _date(setting["expires"])
        outcome = await said(self._ready().update_one({"_id": id_}, {"$set": setting}))
        return bool(outcome.matched_count)

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        """
        The interface of L{ITokenStore}.

        What descends from the token is searched for until nothing is found: another gateway may
        be adding some meanwhile.
        """
        ended: list[str] = []
        while documents := await said(self._ready().find({"$or": _tree(id_)}, _OF_REVOKED)):
            for document in sorted(documents, key=lambda each: each["_id"] != id_):
                await self._remember(document, now)
                outcome = await said(self._tokens.delete_one({"_id": document["_id"]}))
                if outcome.deleted_count:
                    ended.append(document["_id"])
        return ended

    async def _remember(self, document: Mapping[str, Any], now: float) -> None:
        """Note that a token was revoked, before it is gone."""
        until = remembered_until(document, now)
        noted = {
            "realm": document["realm"],
            "username": document["username"],
            "mark": mark_of(document["token"]["token_string"]),
            "until": until,
            "ends": _date(until),
        }
        which = {"_id": document["_id"]}
        with suppress(DuplicateKeyError):  # another gateway notes it at this moment
            await said(self._revoked.update_one(which, {"$set": noted}, upsert=True))
        mine = {"realm": document["realm"], "username": document["username"]}
        await self._forget_revoked(mine, MOST_REVOKED_OF_OWNER, now)

    async def _forget_revoked(self, owner: Mapping[str, str], most: int, now: float) -> None:
        """Of these revoked tokens remember the last ones, and those that are imported."""
        which = {**owner, "until": {"$lte": now + REVOKED_FOR}}
        excess = await said(self._revoked.count_documents(which)) - most
        if excess > 0:
            order = sorting.sort(sorting.ASCENDING("until"))
            for each in await said(self._revoked.find(which, {"_id": 1}, limit=excess, sort=order)):
                await said(self._revoked.delete_one({"_id": each["_id"]}))

    async def revoked(self, id_: str) -> Revoked | None:
        self._ready()
        found = await said(self._revoked.find_one({"_id": id_}))
        if found is None:
            return None
        return Revoked(id_, found["realm"], found["username"], found["mark"], found["until"])

    async def delete_expired(self, now: float) -> int:
        outcome = await said(self._ready().delete_many({"expires": {"$lte": now}}))
        await said(self._revoked.delete_many({"until": {"$lte": now}}))
        await self._forget_revoked({}, MOST_REVOKED, now)
        return int(outcome.deleted_count)

    @property
    def _revoked(self) -> Any:
        return self._collection(f"{self._config.tokens_collection}_revoked")

    @property
    def _tokens(self) -> Any:
        return self._collection(self._config.tokens_collection)

    def _collection(self, name: str) -> Any:
        """
        A collection.

        @raise Untrusted: the server is not the one that it should be.
        """
        assert self._pool is not None
        if self._peer is not None and not any(each.instance for each in self._pool.getprotocols()):
            self._peer.demand()
        return self._pool[self._config.database][name]

    def _ready(self) -> Any:
        """
        The tokens.

        @raise Unavailable: it is not known yet whether they are ours.
        """
        if not self._open:
            raise Unavailable("the database is not open")
        return self._tokens

    async def _user_id(self, realm: str, username: str) -> str:
        """What the owner is called in C{users}; two who write it at once may collide once."""
        users = self._collection(self._config.users_collection)
        who = {"realm": realm, "username": username}
        for _ in range(2):
            try:
                await said(
                    users.update_one(who, {"$setOnInsert": {"user_id": str(uuid4())}}, upsert=True)
                )
            except DuplicateKeyError:
                continue
            break
        found = await said(users.find_one(who))
        return str(found["user_id"]) if found else ""

    async def _make_indexes(self) -> None:
        users = self._collection(self._config.users_collection)
        ascending = sorting.ASCENDING
        wanted: tuple[tuple[Any, Any, dict[str, Any]], ...] = (
            (self._tokens, ascending("token.token_string"), {"unique": True}),
            (self._tokens, ascending(["realm", "username", "_id"]), {}),
            (self._tokens, ascending("ends"), {"expireAfterSeconds": _GRACE}),
            (self._tokens, ascending("lineage"), {}),
            (self._revoked, ascending("ends"), {"expireAfterSeconds": _GRACE}),
            (self._revoked, ascending(["realm", "username", "until"]), {}),
            (users, ascending(["username", "realm"]), {"unique": True}),
            (users, ascending("user_id"), {"unique": True}),
        )
        for collection, fields, options in wanted:
            try:
                await _raw(collection.create_index(sorting.sort(fields), **options))
            except OperationFailure as error:
                if error.code not in _UNSUPPORTED:
                    raise _unavailable(error) from None


def connections(config: Config, peer: GatedConnections | None) -> ConnectionPool:
    """The way to the database of a section."""
    return ConnectionPool(
        config.uri.get_secret_value(),
        pool_size=config.connections,
        ssl_context_factory=peer,
        retry_delay=1.0,
        max_delay=2.0,
        ping_interval=2,
        ping_timeout=2,
    )


def peer(config: Config) -> GatedConnections | None:
    """
    Prepare the check that the server is the configured host, if TLS is used.

    One name is checked for all hosts, as the library has one connection creator for all of them.

    @raise Unavailable: the certificates to trust cannot be read.
    """
    if not config.tls:
        return None
    [(host, _), *_] = parse_uri(config.uri.get_secret_value())["nodelist"]
    return GatedConnections(tls.of_file(config.tls_ca_file), host)


async def documents(collection: Any) -> AsyncIterator[Mapping[str, Any]]:
    """
    All of a collection.

    By a cursor: whoever asks for ids above the last one seen hears only of those of its type.

    @raise Unavailable: the database does not answer.
    """
    batches = collection.find(batch_size=_BATCH).batches()
    while some := await said(anext(batches, None)):
        for document in some:
            yield document


async def said(asked: Awaitable[T]) -> T:
    """
    What the database says.

    @raise Unavailable: nothing, or that it does not want to.
    @raise DuplicateKeyError: a unique key is taken.
    """
    try:
        return await _raw(asked)
    except DuplicateKeyError:
        raise
    except OperationFailure as error:
        if error.code in _TAKEN and "duplicate" in str(error).lower():
            raise DuplicateKeyError("taken", error.code) from None
        raise _unavailable(error) from None


async def _raw(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except OperationFailure:
        raise
    except _FAILURES as error:
        raise Unavailable(f"the database cannot be reached ({type(error).__name__})") from None


def _unavailable(error: OperationFailure) -> Unavailable:
    """Its text repeats the command, so only its number is told."""
    return Unavailable(f"the database refuses (code {error.code})")


def _tree(id_: str) -> list[dict[str, Any]]:
    """Terms of which one holds for a token and for all that descend from it."""
    return [{"_id": id_}, {"lineage": id_}]


def _row(document: Mapping[str, Any]) -> Row:
    return {**document, "id": document["_id"], "hashed": document["token"]["token_string"]}


def _date(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def make(config: Config, world: World) -> ITokenStore:
    """Build the store from its section."""
    return MongoStore(config, world.clock)
