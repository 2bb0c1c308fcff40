"""Tokens kept in a Redis, shared by all gateways that use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import define, field
from pydantic import Field
from zope.interface import implementer

from authotron.config.plugins import StoreConfig
from authotron.config.section import (
    FilePath,
    NonEmptyStr,
    Port,
    Secret,
)
from authotron.model.errors import TokenExists, TooMany, Unavailable
from authotron.model.token import (
    AT_ONCE,
    CHANGEABLE,
    COLUMNS,
    Revoked,
    Row,
    Token,
)
from authotron.net import tls
from authotron.net.redis import Login, Redis
from authotron.net.tls_gates import secured
from authotron.net.world import World
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.plugin.token_rows import (
    IMPORTED_REVOKED_FOR,
    MOST_REVOKED,
    MOST_REVOKED_OF_OWNER,
    REVOKED_FOR,
    tokens_of,
)

_PAGE = 500
_ADDED = 1
_NUMBERS = frozenset({"created", "expires", "used"})

_ADD = """
local id, prefix, parent = ARGV[1], ARGV[3], ARGV[4]
local most, now = tonumber(ARGV[5]), tonumber(ARGV[6])
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local count = 0
for _, each in ipairs(most and redis.call('ZRANGE', KEYS[3], 0, -1) or {}) do
    local key = prefix .. 'token:' .. each
    local origin, expires = unpack(redis.call('HMGET', key, 'origin', 'expires'))
    if not expires then
        redis.call('ZREM', KEYS[3], each)
    elseif expires == '' or tonumber(expires) > now then
        if not origin then
            local fixed = redis.call('HGET', key, 'fixed') or ''
            origin = string.find(fixed, '"provider": "imported:', 1, true) and 'import' or ''
        end
        if origin == '' or origin == 'http' then count = count + 1 end
        if count >= most then return 2 end
    end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('ZADD', KEYS[2], 0, id)
redis.call('ZADD', KEYS[3], 0, id)
if parent ~= '' then redis.call('ZADD', prefix .. 'children:' .. parent, 0, id) end
if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[4], ARGV[2], id)
    redis.call('EXPIREAT', KEYS[1], math.floor(ARGV[2]) + 3600)
end
return 1
"""
_CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
    redis.call('EXPIREAT', KEYS[1], math.floor(ARGV[2]) + 3600)
end
return 1
"""
_REMOVE = """
local prefix, most, share = ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
local usual, of_imported = ARGV[3], ARGV[4]
local function excess(set, bound)
    local count = redis.call('ZCOUNT', set, '-inf', usual)
    return count > bound and redis.call('ZRANGE', set, 0, count - bound - 1) or {}
end
local tree, known, ended = {ARGV[1]}, {[ARGV[1]] = true}, {}
local at = 1
while at <= #tree do
    local id = tree[at]
    local key, children = prefix .. 'token:' .. id, prefix .. 'children:' .. id
    for _, child in ipairs(redis.call('ZRANGE', children, 0, -1)) do
        if not known[child] then
            known[child] = true
            tree[#tree + 1] = child
        end
    end
    local owner, realm, username, hashed, parent, origin = unpack(
        redis.call('HMGET', key, 'owner', 'realm', 'username', 'hashed', 'parent', 'origin'))
    if owner then
        ended[#ended + 1] = id
        redis.call('ZREM', owner, id)
        if parent and parent ~= '' then redis.call('ZREM', prefix .. 'children:' .. parent, id) end
        if usual ~= '' then
            if not origin then
                local fixed = redis.call('HGET', key, 'fixed') or ''
                origin = string.find(fixed, '"provider": "imported:', 1, true) and 'import' or ''
            end
            local until_ = origin == 'import' and of_imported or usual
            local note = prefix .. 'revoked:' .. id
            local mark = string.sub(hashed, -8)
            redis.call('HSET', note, 'realm', realm, 'username', username)
            redis.call('HSET', note, 'mark', mark, 'until', until_)
            redis.call('EXPIREAT', note, math.floor(until_))
            redis.call('ZADD', KEYS[3], until_, id)
            local mine = prefix .. 'revocations:' .. owner
            redis.call('ZADD', mine, until_, id)
            redis.call('EXPIREAT', mine, math.floor(until_))
            for _, old in ipairs(excess(mine, share)) do
                redis.call('DEL', prefix .. 'revoked:' .. old)
                redis.call('ZREM', mine, old)
                redis.call('ZREM', KEYS[3], old)
            end
        end
    end
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
    redis.call('DEL', key, children)
    at = at + 1
end
for _, id in ipairs(usual ~= '' and excess(KEYS[3], most) or {}) do
    redis.call('DEL', prefix .. 'revoked:' .. id)
    redis.call('ZREM', KEYS[3], id)
end
return ended
"""
"""Keys that are not named belong to what is found on the way; a Redis Cluster is not supported."""


class Config(StoreConfig):
    """`type: redis`: tokens in a Redis that keeps what it is told (`appendonly yes`)."""

    type: Literal["redis"]
    host: NonEmptyStr = Field(default="127.0.0.1", description="its host")
    port: Port = Field(default=6379, description="its port")
    database: int = Field(default=0, ge=0, description="the number of the database")
    username: NonEmptyStr | None = Field(
        default=None, description="the user, where Redis has users"
    )
    password: Secret | None = Field(default=None, description="the password")
    tls: bool = Field(default=False, description="whether to use TLS, and check who answers")
    tls_ca_file: FilePath | None = Field(
        default=None, description="certificates (PEM) that are trusted instead of the system's"
    )
    prefix: NonEmptyStr = Field(
        default="authotron:", description="what the names of all keys begin with"
    )


@implementer(ITokenStore)
@define(eq=False)
class RedisStore:
    """
    Keeps each token in a hash, and ids in sorted sets: all, by owner, by end, by parent.

    Redis forgets a token itself, an hour after its end; whether it is over is not left to that.
    """

    _config: Config
    _world: World
    type: str = field(default="redis", init=False)
    pepper: bytes | None = field(default=None, init=False)
    _redis: Redis | None = field(default=None, init=False)

    async def open(self) -> None:
        if self._redis is None:
            self._redis = client(self._config, self._world)
        await self.reach()

    async def close(self) -> None:
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.stop()

    async def reach(self) -> None:
        await self._connected().ask("PING")

    async def add(self, token: Token, most: int | None = None) -> None:
        row, owner = token.row(), token.owner
        index = self._of_owner(owner.realm, owner.username)
        words = _words({**row, "owner": index})
        keys = (self._key(token.id), self._all, index, self._ends)
        limit = "" if most is None else str(most)
        end, now = _text(row["expires"]), _text(token.created)
        about = (token.id, end, self._config.prefix, row["parent"], limit, now)
        added = await self._run(_ADD, keys, *about, *words)
        if added != _ADDED:
            raise TooMany if added else TokenExists

    async def get(self, id_: str) -> Token | None:
        found = await self._read([id_])
        return found[0] if found else None

    async def listed(self, wanted: TokenQuery) -> Sequence[Token]:
        if wanted.below is not None:
            return await self._listed_tree(wanted, wanted.below)
        found: list[Token] = []
        index = self._all
        if wanted.realm is not None and wanted.username is not None:
            index = self._of_owner(wanted.realm, wanted.username)
        after = wanted.after
        while len(found) < wanted.most:
            start = f"({after}" if after else "-"
            ids = await self._connected().ask("ZRANGEBYLEX", index, start, "+", "LIMIT", 0, _PAGE)
            if not ids:
                break
            after = ids[-1].decode()
            fitting = ids if index != self._all else await self._fitting(ids, wanted)
            for first in range(0, len(fitting), AT_ONCE):
                if len(found) < wanted.most:
                    found += await self._read([id_.decode() for id_ in fitting[first:][:AT_ONCE]])
        return found[: wanted.most]

    async def _listed_tree(self, wanted: TokenQuery, root: str) -> Sequence[Token]:
        ids, level = {root}, [root]
        while level:
            asked = [("ZRANGE", self._children(id_), 0, -1) for id_ in level]
            answers = await self._connected().ask_all(asked)
            level = [
                id_.decode() for answer in answers for id_ in answer if id_.decode() not in ids
            ]
            ids.update(level)
        found: list[Token] = []
        behind = sorted(id_ for id_ in ids if id_ > wanted.after)
        for first in range(0, len(behind), AT_ONCE):
            if len(found) < wanted.most:
                found += await self._read(behind[first:][:AT_ONCE])
        return found[: wanted.most]

    async def _fitting(self, ids: Sequence[bytes], wanted: TokenQuery) -> list[bytes]:
        """The ids of tokens whose owners are wanted; nothing else of the tokens is read."""
        owner = (wanted.realm, wanted.username)
        if owner == (None, None):
            return [*ids]
        asked = [("HMGET", self._key(id_.decode()), "realm", "username") for id_ in ids]
        answers = await self._connected().ask_all(asked)
        return [id_ for id_, found in zip(ids, answers, strict=True) if _fits(found, owner)]

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        assert changes.keys() <= CHANGEABLE
        end = _text(changes.get("expires"))
        keys = (self._key(id_), self._ends)
        return bool(await self._run(_CHANGE, keys, id_, end, *_words(changes)))

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        until = (_text(now + REVOKED_FOR), _text(now + IMPORTED_REVOKED_FOR))
        return await self._ended(id_, *until)

    async def _ended(self, id_: str, usual: str = "", of_imported: str = "") -> list[str]:
        """
        Forget a token and its descendants.

        @param usual: until when it is remembered that they were revoked, if they were.
        @param of_imported: the same for imported ones.
        """
        keys, prefix = (self._all, self._ends, self._revocations), self._config.prefix
        bounds = (str(MOST_REVOKED), str(MOST_REVOKED_OF_OWNER))
        ended = await self._run(_REMOVE, keys, id_, prefix, usual, of_imported, *bounds)
        return [each.decode() for each in ended]

    async def revoked(self, id_: str) -> Revoked | None:
        key = f"{self._config.prefix}revoked:{id_}"
        answer = await self._connected().ask("HMGET", key, "realm", "username", "mark", "until")
        if answer[0] is None:
            return None
        realm, username, mark, until = (each.decode() for each in answer)
        return Revoked(id_, realm, username, mark, float(until))

    async def delete_expired(self, now: float) -> int:
        ids = await self._connected().ask(
            "ZRANGEBYSCORE", self._ends, "-inf", _text(now), "LIMIT", 0, _PAGE
        )
        await self._forget_revoked(now)
        return sum([len(await self._ended(id_.decode())) for id_ in ids])

    async def _forget_revoked(self, now: float) -> None:
        """Redis does so itself; this is for clocks that differ."""
        over = ("-inf", _text(now), "LIMIT", 0, _PAGE)
        ids = await self._connected().ask("ZRANGEBYSCORE", self._revocations, *over)
        for id_ in ids:
            note = f"{self._config.prefix}revoked:{id_.decode()}"
            await self._connected().ask_all([("DEL", note), ("ZREM", self._revocations, id_)])

    async def _read(self, ids: Sequence[str]) -> list[Token]:
        """The tokens of these ids, without those that are gone."""
        asked = [("HMGET", self._key(id_), *COLUMNS) for id_ in ids]
        answers = await self._connected().ask_all(asked)
        rows = (_row(answer) for answer in answers if answer[0] is not None)
        return await tokens_of(rows, self._world.clock)

    async def _run(self, script: str, keys: Sequence[str], *arguments: str) -> Any:
        """Scripts run as one: nobody sees half of what they do."""
        return await self._connected().ask("EVAL", script, len(keys), *keys, *arguments)

    def _connected(self) -> Redis:
        if self._redis is None:
            raise Unavailable("Redis is not connected")
        return self._redis

    def _key(self, id_: str) -> str:
        return f"{self._config.prefix}token:{id_}"

    def _of_owner(self, realm: str, username: str) -> str:
        return f"{self._config.prefix}owner:{len(realm)}:{realm}:{username}"

    def _children(self, id_: str) -> str:
        return f"{self._config.prefix}children:{id_}"

    @property
    def _revocations(self) -> str:
        return f"{self._config.prefix}revocations"

    @property
    def _all(self) -> str:
        return f"{self._config.prefix}tokens"

    @property
    def _ends(self) -> str:
        return f"{self._config.prefix}ends"


def client(config: Config, world: World) -> Redis:
    """
    Who talks to the Redis of a section; it connects when it is asked.

    @raise Unavailable: the certificates to trust cannot be read.
    """
    password = config.password.get_secret_value() if config.password else None
    login = Login(config.username, password, config.database)
    endpoint = world.connect(config.host, config.port)
    if config.tls:
        verifier = tls.of_file(config.tls_ca_file)
        endpoint = secured(verifier, endpoint, config.host, world.clock)
    return Redis(endpoint, login, world.clock)


def _fits(found: Sequence[bytes | None], wanted: Sequence[str | None]) -> bool:
    return all(
        each is None or value == each.encode() for value, each in zip(found, wanted, strict=True)
    )


def _text(value: str | float | None) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(float(value))


def _words(row: Mapping[str, Any]) -> list[str]:
    return [word for name, value in row.items() for word in (name, _text(value))]


def _row(values: Sequence[bytes | None]) -> Row:
    row: dict[str, Any] = {}
    for name, value in zip(COLUMNS, values, strict=True):
        text = (value or b"").decode()
        row[name] = (float(text) if text else None) if name in _NUMBERS else text
    return row


def make(config: Config, world: World) -> ITokenStore:
    """Build the store from its section."""
    return RedisStore(config, world)
