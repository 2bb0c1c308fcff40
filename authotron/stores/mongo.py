"""`type: mongo`: API tokens in MongoDB, shared by all gateways that use the same database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar
from uuid import uuid4

from attrs import define, field
from pydantic import Field, SecretStr, field_validator
from pymongo.errors import DuplicateKeyError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from txmongo import filter as sorting
from zope.interface import implementer

from authotron.config.plugins import StoreConfig
from authotron.config.section import NonEmptyStr, Secret
from authotron.limits.descriptors import LimitConnections
from authotron.model.errors import (
    ConfigError,
    Problem,
    TokenExists,
    TooMany,
    Unavailable,
)
from authotron.model.policy_document import PolicyDocument
from authotron.model.token import (
    CHANGEABLE,
    IMPORT,
    IMPORTED,
    TERMINAL,
    Revoked,
    Token,
    from_row,
)
from authotron.net.tls import DatabaseTlsConfig
from authotron.net.world import World
from authotron.plugin.interfaces import (
    IChecksPepper,
    IKeepsPolicies,
    IKeepsRecords,
    ITokenStore,
    TokenQuery,
)
from authotron.plugin.records_on_demand import RecordKeeper, RecordsOnDemand
from authotron.plugin.token_rows import (
    MOST_REVOKED,
    MOST_REVOKED_OF_OWNER,
    REVOKED_FOR,
    tokens_of,
)
from authotron.stores.mongo_connections import MongoConnections
from authotron.stores.mongo_documents import (
    EVERY_POLICIES,
    FORM,
    REVOCATION_FIELDS,
    create_indexes,
    date,
    number_of_policies,
    policies_id,
    revocation_document,
    row_of,
    token_document,
    tree_terms,
)
from authotron.stores.mongo_errors import NotAllowed
from authotron.stores.mongo_uri import check_uri

_PEPPER_CHECK, _CHECKED = "pepper", "checked"
"""
The ids of two documents: one contains the check value of the pepper, one is written to test that
MongoDB accepts changes.

The document with the check value, the test document and the documents with policies are in the
collection of revocations, because the database user may lack rights on further collections. No API
token has an id like the ids of these documents, so the gateway never takes such a document for a
revocation.
"""


_TOKENS, _USERS = "tokens", "users"
"""The collections of auth-o-tron, whose names earlier versions of authotron used as well."""

_PREFIX = "authotron_"
"""
The prefix by which the names of the collections of authotron differ from those
of auth-o-tron.
"""


class Config(StoreConfig, DatabaseTlsConfig):
    """`type: mongo`: API tokens in a MongoDB database, which may be the database of auth-o-tron."""

    type: Literal["mongo"]
    uri: Secret = Field(
        description="address of MongoDB: mongodb://user:password@host:port/database"
    )
    database: NonEmptyStr = Field(description="name of the database")
    tokens_collection: NonEmptyStr | None = Field(
        default=None,
        description="collection of the API tokens; by default authotron_tokens, or tokens if an "
        "earlier version of authotron stored them there",
    )
    users_collection: NonEmptyStr | None = Field(
        default=None,
        description="collection of the owners of API tokens; by default authotron_users, or users "
        "if an earlier version of authotron stored them there",
    )
    connections: int = Field(
        default=4, ge=1, le=100, description="number of connections to MongoDB that are kept open"
    )

    def count_connections(self, limit_connections: LimitConnections) -> int:
        """
        Return the maximum number of connections to MongoDB: the pool, and 4
        that monitor servers; and as many as 3 for the change stream of records.
        """
        return self.connections + 7

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: SecretStr) -> SecretStr:
        check_uri(uri.get_secret_value())
        return uri


T = TypeVar("T")


@implementer(IChecksPepper, IKeepsPolicies, IKeepsRecords)
@define(eq=False)
class MongoStore(RecordsOnDemand):
    """
    Keeps each API token in a document of a MongoDB collection.

    The unique key of a document is its field C{token.token_string}, the keyed hash of the API
    token. The field C{form} of every document is the version of the document format. The store
    refuses a collection that contains documents whose field C{form}, the version of the document
    format, has another value.

    auth-o-tron stores its tokens and users in the collections C{tokens} and C{users} of the same
    database, with indexes that documents of authotron would violate. Because authotron has
    collections of its own, authotron and auth-o-tron can each be started on a database that the
    other one has used.
    """

    _log = Logger()

    _config: Config
    _clock: IReactorTime
    type: str = field(default="mongo", init=False)
    pepper: bytes | None = field(default=None, init=False)
    _connections: MongoConnections | None = field(default=None, init=False)
    _open: bool = field(default=False, init=False)
    _prefix: str = field(default="", init=False)

    async def open(self) -> None:
        if self._connections is None:
            self._connections = MongoConnections.of(self._config, self._clock)
        await self._connections.wait()
        self._prefix = await self._choose_prefix()
        if await self._has_foreign(self._tokens_name):
            problem = (
                f"{self._config.database}.{self._tokens_name} holds tokens that authotron did not "
                "write; choose another store.tokens_collection and store.users_collection "
                "(`authotron tokens import` copies tokens from such a database)"
            )
            raise ConfigError([Problem("store.database", problem)])
        await create_indexes(self._tokens, self._revoked, self._users)
        self._open = True

    async def _choose_prefix(self) -> str:
        """
        Return the prefix of the names of collections: an empty string if an earlier version of
        authotron stored its collections in this database under the names that auth-o-tron uses.
        """
        if self._config.tokens_collection is not None:
            return ""
        tokens, revoked = self._collection(_TOKENS), self._collection(f"{_TOKENS}_revoked")
        for collection, which in ((tokens, {"form": FORM}), (revoked, {})):
            found = await self._allowed(partial(collection.find_one, which))
            if found is not None:
                return ""
        if await self._has_foreign(_TOKENS):
            self._log.warn(
                "{database}.{collection} holds API tokens of auth-o-tron, which are not accepted; "
                "copy them with `authotron tokens import auth-o-tron`, or delete them",
                database=self._config.database,
                collection=_TOKENS,
                event="store.foreign",
            )
        return _PREFIX

    async def _has_foreign(self, name: str) -> bool:
        collection = self._collection(name)
        found = await self._allowed(lambda: collection.find_one({"form": {"$ne": FORM}}))
        return found is not None

    def _make_keeper(self) -> RecordKeeper:
        from authotron.stores.mongo_records import MongoRecords  # noqa: PLC0415 - only needed for records
        from authotron.stores.mongo_stream import MongoStream  # noqa: PLC0415 - only needed for records

        stream = MongoStream(self._config, self._clock, self._records_name)
        return MongoRecords(self._record_documents, self._call, self._read, self._clock, stream)

    async def close(self) -> None:
        await self._close_records()
        self._open = False
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.pool.disconnect()

    async def check_reachable(self) -> None:
        """
        Write a value to MongoDB, since a server that can be reached may still
        accept no changes.
        """
        self._ready()
        self._connected().check()
        checked = {"$set": {"checked": True}}
        with suppress(DuplicateKeyError):  # another gateway has added the test document meanwhile
            await self._allowed(
                lambda: self._revoked.update_one({"_id": _CHECKED}, checked, upsert=True)
            )

    async def pepper_check(self) -> str | None:
        found = await self._call(lambda: self._revoked.find_one({"_id": _PEPPER_CHECK}))
        return None if found is None else str(found["value"])

    async def set_pepper_check(self, value: str, earlier: str | None) -> None:
        # Another gateway may have stored a check value meanwhile, which is verified later.
        with suppress(DuplicateKeyError):
            if earlier is None:
                await self._call(
                    lambda: self._revoked.insert_one({"_id": _PEPPER_CHECK, "value": value})
                )
            else:
                which = {"_id": _PEPPER_CHECK, "value": earlier}
                await self._call(
                    lambda: self._revoked.update_one(which, {"$set": {"value": value}})
                )

    async def policy_state(self) -> str | None:
        found = await self._newest_policies({"state": 1})
        return None if found is None else str(found["state"])

    async def policies(self) -> PolicyDocument | None:
        found = await self._newest_policies()
        if found is None:
            return None
        return PolicyDocument(found["state"], bytes(found.get("content", b"")))

    async def _newest_policies(self, fields: Mapping[str, int] | None = None) -> Any:
        """Return the document with the policies that were stored last, or C{None}."""
        self._ready()
        newest_first = sorting.sort(sorting.DESCENDING("_id"))
        found = await self._read(
            lambda: self._revoked.find(EVERY_POLICIES, fields, limit=1, sort=newest_first)
        )
        return found[0] if found else None

    async def replace_policies(self, new: PolicyDocument, earlier: str | None) -> bool:
        """
        Implement L{IKeepsPolicies.replace_policies}.

        Each state of the policies is a separate document, whose id contains the next number. Not
        every server with the MongoDB protocol updates a document atomically, but every server
        rejects a second document with the same id. Documents with earlier policies keep their ids,
        but their content is deleted.
        """
        found = await self._newest_policies({"state": 1})
        if (None if found is None else found["state"]) != earlier:
            return False
        number = 1 if found is None else number_of_policies(found["_id"]) + 1
        document = {"_id": policies_id(number), "state": new.state, "content": new.content}
        try:
            await self._call(lambda: self._revoked.insert_one(document))
        except DuplicateKeyError:
            return False
        # The content of the previous state of the policies is kept, because another gateway may be
        # reading it.
        which = {"_id": policies_id(number - 2)}
        with suppress(Unavailable):  # the policies are stored already
            await self._call(lambda: self._revoked.update_one(which, {"$unset": {"content": 1}}))
        return True

    async def add(self, token: Token, most: int | None = None) -> None:
        """
        Implement L{ITokenStore.add}.

        If an owner may have one more token and several gateways add one at the same time, each
        gateway then finds too many tokens and deletes its own; so it can happen that none of the
        gateways succeeds.
        """
        if most is not None and await self._has(token, most):
            raise TooMany
        await self._insert(token)
        if most is not None and await self._has(token, most + 1):
            await self._call(lambda: self._tokens.delete_one({"_id": token.id}))
            raise TooMany

    async def _has(self, token: Token, most: int) -> bool:
        """
        Return whether the owner of a new API token already has C{most} or more API tokens that
        count towards the limit per owner.

        Only API tokens that were created over HTTP count towards C{tokens.max_per_owner}. Imported
        tokens that an earlier version stored have no C{origin}, and are recognised by the name of
        their provider.
        """
        count, live = self._ready().count_documents, {"$gt": token.created}
        mine = {
            "realm": token.owner.realm,
            "username": token.owner.username,
            "$or": [{"expires": None}, {"expires": live}],
        }
        found = await self._call(lambda: count({**mine, "origin": {"$nin": [TERMINAL, IMPORT]}}))
        if found < most:
            return False
        old = {"origin": {"$exists": False}, "fixed": {"$regex": f'"provider": "{IMPORTED}'}}
        return bool(found - await self._call(lambda: count({**mine, **old})) >= most)

    async def _insert(self, token: Token) -> None:
        tokens = self._ready()
        owner_id = await self._user_id(token.owner.realm, token.owner.username)
        document, attempts = token_document(token, owner_id), 0

        def insert() -> Any:
            nonlocal attempts
            attempts += 1
            return tokens.insert_one(document)

        try:
            await self._call(insert)
        except DuplicateKeyError:
            if attempts == 1 or not await self._has_document(document):
                raise TokenExists from None

    async def _has_document(self, document: Mapping[str, Any]) -> bool:
        """Return whether a token is stored, after an attempt to store it had no clear answer."""
        which = {"_id": document["_id"], "token.token_string": document["token"]["token_string"]}
        return await self._call(lambda: self._tokens.find_one(which)) is not None

    async def get(self, id_: str) -> Token | None:
        document = await self._read(lambda: self._ready().find_one({"_id": id_}))
        return None if document is None else from_row(row_of(document))

    async def list_tokens(self, wanted: TokenQuery) -> Sequence[Token]:
        where: dict[str, Any] = {"_id": {"$gt": wanted.after}}
        owner = {"realm": wanted.realm, "username": wanted.username}
        where |= {name: value for name, value in owner.items() if value is not None}
        if wanted.below is not None:
            where["$or"] = tree_terms(wanted.below)
        documents = await self._read(
            lambda: self._ready().find(
                where, limit=wanted.most, sort=sorting.sort(sorting.ASCENDING("_id"))
            )
        )
        return await tokens_of(map(row_of, documents), self._clock)

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        assert changes.keys() <= CHANGEABLE
        setting: dict[str, Any] = dict(changes)
        if "expires" in changes:
            setting["ends"] = date(setting["expires"])
        outcome = await self._call(
            lambda: self._ready().update_one({"_id": id_}, {"$set": setting})
        )
        return bool(outcome.matched_count)

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        """
        Implement L{ITokenStore.remove}.

        The search for descendants of the removed token is repeated until it finds none, since
        another gateway may add descendants at the same time.
        """
        removed: list[str] = []
        while documents := await self._call(
            lambda: self._ready().find({"$or": tree_terms(id_)}, REVOCATION_FIELDS)
        ):
            for document in sorted(documents, key=lambda each: each["_id"] != id_):
                await self._store_revocation(document, now)
                deletion = partial(self._tokens.delete_one, {"_id": document["_id"]})
                outcome = await self._call(deletion)
                if outcome.deleted_count:
                    removed.append(document["_id"])
        return removed

    async def _store_revocation(self, document: Mapping[str, Any], now: float) -> None:
        """Store the record that an API token is revoked, before the token is deleted."""
        revocation = revocation_document(document, now)
        which = {"_id": document["_id"]}
        with suppress(DuplicateKeyError):  # another gateway stored the same revocation meanwhile
            await self._call(
                lambda: self._revoked.update_one(which, {"$set": revocation}, upsert=True)
            )
        mine = {"realm": document["realm"], "username": document["username"]}
        await self._purge_revocations(mine, MOST_REVOKED_OF_OWNER, now)

    async def _purge_revocations(self, owner: Mapping[str, str], most: int, now: float) -> None:
        """
        Delete all records of revoked tokens except the newest C{most}; spared are records that are
        kept for more than C{REVOKED_FOR} seconds from now, such as those of imported tokens.
        """
        which = {**owner, "until": {"$lte": now + REVOKED_FOR}}
        excess = await self._call(lambda: self._revoked.count_documents(which)) - most
        if excess > 0:
            order = sorting.sort(sorting.ASCENDING("until"))
            for each in await self._call(
                lambda: self._revoked.find(which, {"_id": 1}, limit=excess, sort=order)
            ):
                await self._call(partial(self._revoked.delete_one, {"_id": each["_id"]}))

    async def find_revoked(self, id_: str) -> Revoked | None:
        self._ready()
        which = {"_id": id_, "mark": {"$exists": True}}
        found = await self._read(lambda: self._revoked.find_one(which))
        if found is None:
            return None
        return Revoked(id_, found["realm"], found["username"], found["mark"], found["until"])

    async def delete_expired(self, now: float) -> int:
        outcome = await self._call(lambda: self._ready().delete_many({"expires": {"$lte": now}}))
        await self._call(lambda: self._revoked.delete_many({"until": {"$lte": now}}))
        await self._purge_revocations({}, MOST_REVOKED, now)
        await self._delete_expired_records(now)
        return int(outcome.deleted_count)

    @property
    def _tokens_name(self) -> str:
        return self._config.tokens_collection or f"{self._prefix}{_TOKENS}"

    @property
    def _revoked(self) -> Any:
        return self._collection(f"{self._tokens_name}_revoked")

    def _records_name(self) -> str:
        return f"{self._tokens_name}_records"

    def _record_documents(self) -> Any:
        """Return the MongoDB collection of records."""
        self._ready()
        return self._collection(self._records_name())

    @property
    def _tokens(self) -> Any:
        return self._collection(self._tokens_name)

    @property
    def _users(self) -> Any:
        return self._collection(self._config.users_collection or f"{self._prefix}{_USERS}")

    def _collection(self, name: str) -> Any:
        return self._connected().pool[self._config.database][name]

    def _connected(self) -> MongoConnections:
        if self._connections is None:
            raise Unavailable("the MongoDB store is not open")
        return self._connections

    async def _call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """
        Run an operation, and repeat it on the new primary if the old primary
        has stepped down.
        """
        return await self._connected().call(operation)

    async def _read(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation that changes nothing, once more if the connection is lost."""
        return await self._connected().read(operation)

    async def _allowed(self, operation: Callable[[], Awaitable[T]]) -> T:
        """
        Run an operation of MongoDB; if the database user may not run the operation, check whether
        the reason is a rejected login.

        @raise Unavailable: the operation failed.
        """
        try:
            return await self._call(operation)
        except NotAllowed:
            await self._connected().check_login()
            raise

    def _ready(self) -> Any:
        """
        Return the MongoDB collection of API tokens.

        @raise Unavailable: C{open} has not succeeded yet, so it was not verified that the
            collection belongs to authotron.
        """
        if not self._open:
            raise Unavailable("the MongoDB store is not open")
        return self._tokens

    async def _user_id(self, realm: str, username: str) -> str:
        """
        Return the id of an owner in the MongoDB collection of users, to which a
        new owner is added.
        """
        users = self._users
        owner = {"realm": realm, "username": username}
        # If another gateway adds the same owner meanwhile, the first attempt to add the owner
        # fails, and the second attempt finds the owner.
        for _ in range(2):
            try:
                await self._call(
                    lambda: users.update_one(
                        owner, {"$setOnInsert": {"user_id": str(uuid4())}}, upsert=True
                    )
                )
            except DuplicateKeyError:
                continue
            break
        found = await self._call(lambda: users.find_one(owner))
        return str(found["user_id"]) if found else ""


def make(config: Config, world: World) -> ITokenStore:
    """Build the token store from the section C{store} of the configuration."""
    return MongoStore(config, world.clock)
