"""`type: redis`: API tokens in Redis, shared by all gateways that use the same database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import define, field, frozen
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from authotron.config.plugins import StoreConfig
from authotron.config.problems import require_none
from authotron.config.section import (
    NonEmptyStr,
    NonEmptyStrs,
    Port,
    Secret,
)
from authotron.limits.descriptors import LimitConnections
from authotron.model.errors import TokenExists, TooMany, Unavailable
from authotron.model.policy_document import PolicyDocument
from authotron.model.token import (
    AT_ONCE,
    CHANGEABLE,
    COLUMNS,
    Revoked,
    Row,
    Token,
)
from authotron.net import redis_addresses
from authotron.net.redis import Login, Redis, Word
from authotron.net.sentinel import SentinelEndpoint
from authotron.net.tls import DatabaseTlsConfig
from authotron.net.tls_gates import wrap_tls
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
    IMPORTED_REVOKED_FOR,
    MOST_REVOKED,
    MOST_REVOKED_OF_OWNER,
    REVOKED_FOR,
    tokens_of,
)
from authotron.stores.redis_scripts import (
    ADD,
    CHANGE,
    REMOVE,
    REPLACE_POLICIES,
    SET_PEPPER_CHECK,
)

_PAGE = 500
"""Number of API token ids that are requested from Redis in one command."""

_WAIT_SHARE = 0.5
"""Share of C{store.timeout} within which Redis replicas must confirm a change."""

_ADDED = 1
_NUMBERS = frozenset({"created", "expires", "used"})


class Config(StoreConfig, DatabaseTlsConfig):
    """`type: redis`: API tokens in Redis, which must be persistent (`appendonly yes`)."""

    type: Literal["redis"]
    host: NonEmptyStr = Field(
        default="127.0.0.1",
        description="host of the Redis server, or the absolute path of its UNIX socket",
    )
    port: Port = Field(default=6379, description="port of the Redis server")
    sentinels: NonEmptyStrs = Field(
        default=(),
        description="addresses of Redis Sentinels as `host:port`, which name the primary; they "
        "replace `host` and `port`",
    )
    sentinel_service: NonEmptyStr | None = Field(
        default=None, description="name under which the Sentinels monitor the primary"
    )
    sentinel_username: NonEmptyStr | None = Field(
        default=None, description="user name for the Sentinels"
    )
    sentinel_password: Secret | None = Field(
        default=None, validate_default=True, description="password for the Sentinels"
    )
    database: int = Field(default=0, ge=0, description="number of the Redis database")
    username: NonEmptyStr | None = Field(
        default=None, description="user name for Redis ACLs; default: the user `default`"
    )
    password: Secret | None = Field(
        default=None, validate_default=True, description="password for Redis"
    )
    prefix: NonEmptyStr = Field(default="authotron:", description="prefix of all keys in Redis")
    replicas: int = Field(
        default=0,
        ge=0,
        le=10,
        description="number of replicas that must confirm a change before it is acknowledged",
    )

    def count_connections(self, _limit_connections: LimitConnections) -> int:
        """
        Return how many connections the store needs beyond one, which is already reserved for every
        token store: one to subscribe to changes of records, and one that waits for replicas.
        """
        return 2 if self.replicas else 1

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        return redis_addresses.check_host(host)

    @field_validator("sentinels")
    @classmethod
    def _check_sentinels(cls, sentinels: Sequence[str]) -> Sequence[str]:
        for each in sentinels:
            redis_addresses.split(each)
        return sentinels

    @field_validator("password", "sentinel_password")
    @classmethod
    def _check_password(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        user = str(info.field_name).replace("password", "username")
        if password is None and info.data.get(user) is not None:
            raise ValueError(f"is missing, but {user} has no effect without a password")
        return password

    @model_validator(mode="after")
    def _check_address(self) -> Config:
        require_none(self._problems_of_address())
        return self

    def _problems_of_address(self) -> Iterator[tuple[str, str]]:
        given = self.model_fields_set
        if self.sentinels and self.sentinel_service is None:
            yield "", "sentinels need sentinel_service, the name of the monitored primary"
        if self.sentinels and given & {"host", "port"}:
            yield "", "host and port have no effect with sentinels, which name the primary"
        for key in ("sentinel_service", "sentinel_username", "sentinel_password"):
            if getattr(self, key) is not None and not self.sentinels:
                yield key, "has no effect without sentinels"
        if self.host.startswith("/") and "port" in given:
            yield "port", "has no effect with a UNIX socket (host)"
        if self.host.startswith("/") and self.tls:
            yield "tls", "has no effect with a UNIX socket (host)"


@implementer(IChecksPepper, IKeepsPolicies, IKeepsRecords)
@define(eq=False)
class RedisStore(RecordsOnDemand):
    """
    Keeps each API token in a Redis hash, and the ids of API tokens in sorted sets: of all, of one
    owner, by expiry, of one parent.

    Redis deletes an API token one hour after its expiry. The gateway rejects an expired token by
    the field C{expires}, whether Redis has deleted it or not.
    """

    _config: Config
    _world: World
    type: str = field(default="redis", init=False)
    pepper: bytes | None = field(default=None, init=False)
    _redis: Redis | None = field(default=None, init=False)
    _writer: Redis | None = field(default=None, init=False)

    async def open(self) -> None:
        if self._redis is None:
            self._redis = client(self._config, self._world)
            self._writer = self._redis
            # Changes have a connection of their own, on which the command WAIT waits for replicas:
            # on a shared connection all commands after WAIT would have to wait as well.
            if self._config.replicas:
                self._writer = client(self._config, self._world)
        await self._connected().ask("PING")

    def _make_keeper(self) -> RecordKeeper:
        from authotron.net.redis_subscription import Subscription  # noqa: PLC0415 - only needed for records
        from authotron.stores.redis_records import (  # noqa: PLC0415 - only needed for records
            RedisRecords,
            changes_key,
        )

        prefix, clock = self._config.prefix, self._world.clock
        server = _server(self._config, self._world)
        subscription = Subscription(
            server.endpoint, server.login, clock, changes_key(prefix), server.name
        )
        return RedisRecords(prefix, clock, self._connected, self._run, subscription)

    async def close(self) -> None:
        await self._close_records()
        clients, self._redis, self._writer = {self._redis, self._writer}, None, None
        for each in clients:
            if each is not None:
                await each.stop()

    async def check_reachable(self) -> None:
        """
        Write a value to Redis, since a server that can be reached may still accept no changes.

        Replicas, and servers whose disk or memory is full, accept no changes.
        """
        await self._connected().ask("HSET", self._about, "checked", "1")

    async def pepper_check(self) -> str | None:
        found = await self._connected().ask("HGET", self._about, "pepper")
        return None if found is None else str(found.decode())

    async def set_pepper_check(self, value: str, earlier: str | None) -> None:
        await self._run(SET_PEPPER_CHECK, (self._about,), earlier or "", value)

    async def policy_state(self) -> str | None:
        found = await self._connected().ask("HGET", self._policies, "state")
        return None if found is None else str(found.decode())

    async def policies(self) -> PolicyDocument | None:
        asked = ("HMGET", self._policies, "state", "content")
        state, content = await self._connected().ask(*asked)
        return None if state is None else PolicyDocument(state.decode(), content or b"")

    async def replace_policies(self, new: PolicyDocument, earlier: str | None) -> bool:
        content = (earlier or "", new.state, new.content)
        return bool(await self._run(REPLACE_POLICIES, (self._policies,), *content))

    async def add(self, token: Token, most: int | None = None) -> None:
        row, owner = token.row(), token.owner
        index = self._owner_key(owner.realm, owner.username)
        fields = _fields_and_values({**row, "owner": index})
        keys = (self._key(token.id), self._all_ids, index, self._by_expiry)
        limit = "" if most is None else str(most)
        end, now = _text(row["expires"]), _text(token.created)
        about = (token.id, end, self._config.prefix, row["parent"], limit, now)
        added = await self._run(ADD, keys, *about, *fields)
        if added != _ADDED:
            raise TooMany if added else TokenExists

    async def get(self, id_: str) -> Token | None:
        found = await self._read([id_])
        return found[0] if found else None

    async def list_tokens(self, wanted: TokenQuery) -> Sequence[Token]:
        if wanted.below is not None:
            return await self._list_tree(wanted, wanted.below)
        found: list[Token] = []
        index = self._all_ids
        if wanted.realm is not None and wanted.username is not None:
            index = self._owner_key(wanted.realm, wanted.username)
        after = wanted.after
        while len(found) < wanted.most:
            start = f"({after}" if after else "-"
            ids = await self._connected().ask("ZRANGEBYLEX", index, start, "+", "LIMIT", 0, _PAGE)
            if not ids:
                break
            after = ids[-1].decode()
            matching = ids if index != self._all_ids else await self._matching(ids, wanted)
            for first in range(0, len(matching), AT_ONCE):
                if len(found) < wanted.most:
                    found += await self._read([id_.decode() for id_ in matching[first:][:AT_ONCE]])
        return found[: wanted.most]

    async def _list_tree(self, wanted: TokenQuery, root: str) -> Sequence[Token]:
        ids, level = {root}, [root]
        while level:
            asked = [("ZRANGE", self._children(id_), 0, -1) for id_ in level]
            answers = await self._connected().ask_all(asked)
            level = [
                id_.decode() for answer in answers for id_ in answer if id_.decode() not in ids
            ]
            ids.update(level)
        found: list[Token] = []
        remaining = sorted(id_ for id_ in ids if id_ > wanted.after)
        for first in range(0, len(remaining), AT_ONCE):
            if len(found) < wanted.most:
                found += await self._read(remaining[first:][:AT_ONCE])
        return found[: wanted.most]

    async def _matching(self, ids: Sequence[bytes], wanted: TokenQuery) -> list[bytes]:
        """Return the ids of the API tokens whose owner has the requested realm and user name."""
        owner = (wanted.realm, wanted.username)
        if owner == (None, None):
            return [*ids]
        asked = [("HMGET", self._key(id_.decode()), "realm", "username") for id_ in ids]
        answers = await self._connected().ask_all(asked)
        return [id_ for id_, found in zip(ids, answers, strict=True) if _matches(found, owner)]

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        assert changes.keys() <= CHANGEABLE
        end = _text(changes.get("expires"))
        keys = (self._key(id_), self._by_expiry)
        return bool(await self._run(CHANGE, keys, id_, end, *_fields_and_values(changes)))

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        until = (_text(now + REVOKED_FOR), _text(now + IMPORTED_REVOKED_FOR))
        return await self._remove_tree(id_, *until)

    async def _remove_tree(self, id_: str, usual: str = "", of_imported: str = "") -> list[str]:
        """
        Remove an API token and all its descendants.

        @param usual: the time until which the records of revoked tokens are kept, except for
            imported tokens; an empty string means that expired tokens are deleted and no revocation
            is recorded.
        @param of_imported: the time until which the records of revoked imported tokens are kept.
        """
        keys, prefix = (self._all_ids, self._by_expiry, self._revocations), self._config.prefix
        bounds = (str(MOST_REVOKED), str(MOST_REVOKED_OF_OWNER))
        removed = await self._run(REMOVE, keys, id_, prefix, usual, of_imported, *bounds)
        return [each.decode() for each in removed]

    async def find_revoked(self, id_: str) -> Revoked | None:
        key = f"{self._config.prefix}revoked:{id_}"
        answer = await self._connected().ask("HMGET", key, "realm", "username", "mark", "until")
        if answer[0] is None:
            return None
        realm, username, mark, until = (each.decode() for each in answer)
        return Revoked(id_, realm, username, mark, float(until))

    async def delete_expired(self, now: float) -> int:
        ids = await self._connected().ask(
            "ZRANGEBYSCORE", self._by_expiry, "-inf", _text(now), "LIMIT", 0, _PAGE
        )
        await self._purge_revocations(now)
        await self._delete_expired_records(now)
        return sum([len(await self._remove_tree(id_.decode())) for id_ in ids])

    async def _purge_revocations(self, now: float) -> None:
        """
        Delete expired records of revoked tokens that Redis still has, because the clock of Redis is
        slow.
        """
        expired = ("-inf", _text(now), "LIMIT", 0, _PAGE)
        ids = await self._connected().ask("ZRANGEBYSCORE", self._revocations, *expired)
        for id_ in ids:
            note = f"{self._config.prefix}revoked:{id_.decode()}"
            await self._connected().ask_all([("DEL", note), ("ZREM", self._revocations, id_)])

    async def _read(self, ids: Sequence[str]) -> list[Token]:
        """Return the API tokens with the given ids, and nothing for an id without an API token."""
        asked = [("HMGET", self._key(id_), *COLUMNS) for id_ in ids]
        answers = await self._connected().ask_all(asked)
        rows = (_row(answer) for answer in answers if answer[0] is not None)
        return await tokens_of(rows, self._world.clock)

    async def _run(self, script: str, keys: Sequence[str], *arguments: Word) -> Any:
        """
        Run a Lua script, which Redis executes as one atomic operation.

        @raise Unavailable: the script failed, or too few replicas confirmed its changes in time.
        """
        if self._writer is None:
            raise Unavailable("the Redis store is not open")
        command: Sequence[Word] = ("EVAL", script, len(keys), *keys, *arguments)
        wanted = self._config.replicas
        if not wanted:
            [answer] = await self._writer.ask_all([command], repeatable=False)
            return answer
        milliseconds = int(self._config.timeout * _WAIT_SHARE * 1000)
        answer, confirmed = await self._writer.ask_all(
            [command, ("WAIT", wanted, milliseconds)], repeatable=False
        )
        if confirmed < wanted:
            raise Unavailable(
                f"only {confirmed} Redis replicas confirmed a change in time, but store.replicas "
                f"demands {wanted}"
            )
        return answer

    def _connected(self) -> Redis:
        if self._redis is None:
            raise Unavailable("the Redis store is not open")
        return self._redis

    def _key(self, id_: str) -> str:
        return f"{self._config.prefix}token:{id_}"

    def _owner_key(self, realm: str, username: str) -> str:
        return f"{self._config.prefix}owner:{len(realm)}:{realm}:{username}"

    def _children(self, id_: str) -> str:
        return f"{self._config.prefix}children:{id_}"

    @property
    def _about(self) -> str:
        return f"{self._config.prefix}about"

    @property
    def _policies(self) -> str:
        return f"{self._config.prefix}policies"

    @property
    def _revocations(self) -> str:
        return f"{self._config.prefix}revocations"

    @property
    def _all_ids(self) -> str:
        return f"{self._config.prefix}tokens"

    @property
    def _by_expiry(self) -> str:
        return f"{self._config.prefix}ends"


@frozen
class _Server:
    """
    The Redis server of a configuration section.

    @ivar name: the server with its address, for messages.
    """

    endpoint: IStreamClientEndpoint
    login: Login
    name: str


def client(config: Config, world: World) -> Redis:
    """Build the Redis client of a configuration section, which connects at the first command."""
    server = _server(config, world)
    return Redis(server.endpoint, server.login, world.clock, server.name)


def _server(config: Config, world: World) -> _Server:
    verifier = config.verifier()

    def connect(host: str, port: int, /) -> IStreamClientEndpoint:
        endpoint = world.connect(host, port)
        return wrap_tls(verifier, endpoint, host, world.clock) if verifier else endpoint

    password = _secret(config.password)
    login = Login(config.username, password, config.database, bool(config.sentinels))
    if not config.sentinels:
        at = config.host if config.host.startswith("/") else f"{config.host}:{config.port}"
        return _Server(connect(config.host, config.port), login, f"Redis at {at}")
    sentinels = [redis_addresses.split(each) for each in config.sentinels]
    to_sentinels = Login(config.sentinel_username, _secret(config.sentinel_password), None)
    service = config.sentinel_service or ""
    endpoint = SentinelEndpoint(connect, sentinels, service, to_sentinels, world.clock)
    return _Server(endpoint, login, f"the Redis primary of {service}")


def _secret(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _matches(found: Sequence[bytes | None], wanted: Sequence[str | None]) -> bool:
    return all(
        each is None or value == each.encode() for value, each in zip(found, wanted, strict=True)
    )


def _text(value: str | float | None) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(float(value))


def _fields_and_values(row: Mapping[str, Any]) -> list[str]:
    return [each for name, value in row.items() for each in (name, _text(value))]


def _row(values: Sequence[bytes | None]) -> Row:
    row: dict[str, Any] = {}
    for name, value in zip(COLUMNS, values, strict=True):
        text = (value or b"").decode()
        row[name] = (float(text) if text else None) if name in _NUMBERS else text
    return row


def make(config: Config, world: World) -> ITokenStore:
    """Build the token store from the section C{store} of the configuration."""
    return RedisStore(config, world)
