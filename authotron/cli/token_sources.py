"""
Read the API tokens that other gateways have stored, without writing to their databases.

The gateway acl-proxy stores in Redis, for each token, a hash C{tokens:<SHA-256>} with C{hosts},
C{email} and C{comment}. The gateway auth-o-tron stores documents in MongoDB: plain tokens in
C{tokens}, each with the C{user_id} of a document in C{users}.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Annotated, Any

from attrs import field, frozen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from authotron.model import hosts
from authotron.model.identity import Identity
from authotron.model.token import IMPORTED, Grant, scope_tuples
from authotron.net.redis import Redis
from authotron.stores import mongo_client
from authotron.tokens import imported
from authotron.tokens.imported import ForeignToken

_PAGE = 500
"""Number of keys that one C{SCAN} command of Redis examines."""

_SHOWN = 64
"""Maximum number of characters of a document's id that are printed."""

_HASH = re.compile(r"[0-9a-f]{64}")
_OF_TOKENS = ("token_string", "user_id", "scopes")
_NAMES = ("realm", "username", "user_id")
_OF_USERS = (*_NAMES, "id", "roles", "attributes", "scopes")
"""
The keys of a token's document in the database of auth-o-tron. A token with two different values for
one key is skipped.
"""

_DEEPEST = 4
"""Maximum depth of nested C{user} mappings that are read from a document."""

_PLACES = re.compile(r"\{(email|comment|hash)\}")


@frozen
class ImportableToken:
    """
    A token of another gateway that can be copied into the token store.

    @ivar known_as: the name under which the imported token is stored (see
        L{imported.candidate_names}).
    """

    known_as: str = field(repr=False)
    token: ForeignToken


@frozen
class SkippedToken:
    """
    A token of another gateway that cannot be copied into the token store.

    @ivar which: a description that identifies the token without revealing its secret.
    @ivar why: why the import skips the token, as a sentence without a full stop.
    """

    which: str
    why: str


SourceToken = ImportableToken | SkippedToken
"""A token that was read from the database of another gateway."""


@frozen
class OwnerRule:
    """
    The rule that gives an owner to imported tokens without an owner, such as those of the gateway
    acl-proxy.

    @ivar username: a user name in which C{{email}} and C{{comment}} are replaced by these fields of
        the imported token, and C{{hash}} by the first characters of its hash.
    """

    realm: str
    username: str
    roles: tuple[str, ...] = ()

    def of(self, fields: Mapping[str, str]) -> Identity:
        """
        Return the owner that this rule gives to a token of the gateway acl-proxy.

        @raise ValueError: a field that occurs in C{username} is empty, or the resulting user name
            is not printable.
        """
        missing = [name for name in _PLACES.findall(self.username) if not fields.get(name)]
        if missing:
            raise ValueError(f"the token has no field {missing[0]}, which the user name contains")
        name = _PLACES.sub(lambda found: fields[found[1]], self.username).strip()
        if not name or not name.isprintable():
            raise ValueError("the name of the owner of the token is empty or not printable")
        return Identity(self.realm, name, self.roles)


# --- acl-proxy ---


async def acl_proxy_tokens(redis: Redis, rule: OwnerRule, now: float) -> AsyncIterator[SourceToken]:
    """
    Yield the tokens in the Redis of the gateway acl-proxy, each token once.

    @raise Unavailable: the Redis server with the tokens is unreachable.
    """
    cursor, seen = b"0", set[bytes]()
    while True:
        cursor, keys = await redis.ask("SCAN", cursor, "MATCH", "tokens:*", "COUNT", _PAGE)
        for key in keys:
            if key not in seen:  # the Redis command SCAN may return a key twice
                seen.add(key)
                hashed = key.decode("utf-8", "replace").removeprefix("tokens:")
                item = await _acl_proxy_token(redis, key, hashed, rule, now)
                if item is not None:
                    yield item
        if cursor == b"0":
            break


async def _acl_proxy_token(
    redis: Redis, key: bytes, hashed: str, rule: OwnerRule, now: float
) -> SourceToken | None:
    """
    Read one token from Redis; return C{None} if the token expired after SCAN returned
    its key.
    """
    which = f"tokens:{ascii(hashed[:8])[1:-1]}"
    kind, left = await redis.ask_all([("TYPE", key), ("PTTL", key)])
    if kind == b"none":
        return None
    if kind != b"hash" or not _HASH.fullmatch(hashed):
        return SkippedToken(which, "the key does not hold a token of an acl-proxy")
    flat = await redis.ask("HGETALL", key)
    if not flat:
        return None
    try:
        texts = [each.decode("utf-8") for each in flat]
    except UnicodeDecodeError:
        return SkippedToken(which, "the token has a field that is not UTF-8")
    fields = dict(zip(texts[::2], texts[1::2], strict=True))
    try:
        owner = rule.of({**fields, "hash": hashed[:8]})
        patterns = _hosts(fields.get("hosts", ""))
    except ValueError as error:
        return SkippedToken(which, str(error))
    grant = Grant(hosts=patterns, expires=now + left / 1000 if left >= 0 else None)
    email, comment = fields.get("email", ""), fields.get("comment", "")
    created = _moment(fields.get("created_at"))
    service = imported.ACL_PROXY
    token = ForeignToken(owner, grant, created, service, comment, email, IMPORTED + service)
    return ImportableToken(imported.of_acl_proxy(hashed), token)


def _hosts(text: str) -> tuple[str, ...]:
    """Read the hosts for which a token is valid; the gateway acl-proxy requires at least one."""
    found = tuple(
        hosts.check_host_pattern(each.strip()) for each in text.split(",") if each.strip()
    )
    if not found:
        raise ValueError("the token has no hosts, so an acl-proxy accepts it for no host")
    return found


def _moment(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d{1,11}(\.\d+)?", text) else None


# --- auth-o-tron ---


class _Lenient(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)


class _Stored(_Lenient):
    """A document in the MongoDB collection C{tokens} of auth-o-tron."""

    class Token(_Lenient):
        """
        The value of the key C{token} of a document: a token in plain text, and the scopes of the
        token.
        """

        token_string: str = Field(min_length=8, max_length=512)
        scopes: dict[str, list[str]] = Field(default_factory=dict)

    token: Token
    user_id: str = Field(min_length=1)


def _named(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("the name is empty or not printable")
    return text


Name = Annotated[str, AfterValidator(_named)]


class _User(_Lenient):
    """A document in the MongoDB collection C{users} of auth-o-tron."""

    realm: Name
    username: Name
    roles: list[str] = Field(default_factory=list)
    attributes: dict[str, str] = Field(default_factory=dict)
    scopes: dict[str, list[str]] | None = None


async def auth_o_tron_tokens(
    tokens: Any, users: Any, realm: str | None = None
) -> AsyncIterator[SourceToken]:
    """
    Yield the tokens in the database of auth-o-tron, the gateway that authotron replaces.

    @param tokens: the MongoDB collection C{tokens}.
    @param users: the MongoDB collection C{users}, with the owners of the tokens.
    @param realm: the realm of all owners, if its name in authotron differs from its name in the
        other gateway.

    @raise Unavailable: the MongoDB server with the tokens is unreachable.
    """
    async for document in mongo_client.all_documents(tokens):
        yield await _auth_o_tron_token(document, users, realm)


async def _auth_o_tron_token(
    document: Mapping[str, Any], users: Any, realm: str | None
) -> SourceToken:
    which = f"document {str(document['_id'])[:_SHOWN]!a}"
    try:
        stored = _Stored.model_validate(document)
    except ValidationError:
        return SkippedToken(which, "the document does not hold a token of an auth-o-tron")
    if (objection := _reason_to_skip(document, stored.token.token_string)) is not None:
        return SkippedToken(which, objection)
    found = await mongo_client.call(users.find({"user_id": stored.user_id}, limit=2))
    owners = [level for each in found for level in _levels(each)]
    named = [*owners, *_levels(document), *_levels(document["token"])]
    contradiction = _conflict(owners, _OF_USERS) or _conflict(named, _NAMES)
    if contradiction:
        return SkippedToken(which, f"the document of the owner has {contradiction}")
    try:
        user = _User.model_validate(_merged(found[0] if found else {}))
    except ValidationError:
        return SkippedToken(which, "the owner of the token in the database is missing or invalid")
    attributes = {name: text for name, text in user.attributes.items() if name != "exp"}
    owner = Identity(
        realm or user.realm,
        user.username,
        tuple(user.roles),
        attributes,
        scope_tuples(user.scopes or {}),
    )
    only = scope_tuples(stored.token.scopes) if stored.token.scopes else None
    service = imported.AUTH_O_TRON
    token = ForeignToken(owner, Grant(scopes=only), name=service, provider=IMPORTED + service)
    return ImportableToken(imported.of_auth_o_tron(stored.token.token_string), token)


def _reason_to_skip(document: Mapping[str, Any], token: str) -> str | None:
    """Return why a token must not be copied, or C{None}; the owner of the token is not checked."""
    if token.startswith("hs256:"):
        return "the token is an API token of authotron"
    if not imported.may_be(token):
        return "the token cannot be sent in a header, or another provider would verify it"
    contradiction = _conflict([document, document["token"]], _OF_TOKENS)
    return contradiction and f"the document of the token has {contradiction}"


def _levels(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """
    Yield a document, then the mapping in its key C{user}, then the mapping in the key C{user} of
    that mapping, and so on.

    A key C{user} whose value is not a mapping, or is nested too deeply, is read as a user name.
    """
    for _ in range(_DEEPEST):
        yield found
        below = found.get("user")
        if below is None:
            return
        found = below if isinstance(below, Mapping) else {"username": below}
    yield {"username": found}


def _conflict(levels: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str | None:
    """
    Describe a key that has different values in several places of a document, or return C{None}.

    A token with two values for a key is not copied, because it is unknown which value is right.
    """
    for key in keys:
        values = [level[key] for level in levels if level.get(key) is not None]
        if any(value != values[0] for value in values[1:]):
            return f"several places with different values of {key}"
    return None


def _merged(found: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the fields of an owner's document, overridden by the fields of the mapping in its key
    C{user}.
    """
    below = found.get("user")
    return {**found, **(below if isinstance(below, Mapping) else {})}
