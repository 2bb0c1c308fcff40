"""
What other services have stored of their tokens, read to be copied. Nothing is written there.

An acl-proxy keeps in Redis, for each token, a hash C{tokens:<SHA-256>} with C{hosts}, C{email} and
C{comment}. An auth-o-tron keeps documents in MongoDB: tokens as they are in C{tokens}, with a
C{user_id} that leads to a document in C{users}.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Annotated, Any

from attrs import field, frozen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from authotron.model import hosts
from authotron.model.identity import Identity
from authotron.model.token import IMPORTED, Grant, tuples
from authotron.net.redis import Redis
from authotron.stores import mongo_client
from authotron.tokens import imported
from authotron.tokens.imported import ForeignToken

_PAGE = 500
_SHOWN = 64
_HASH = re.compile(r"[0-9a-f]{64}")
_OF_TOKENS = ("token_string", "user_id", "scopes")
_NAMES = ("realm", "username", "user_id")
_OF_USERS = (*_NAMES, "id", "roles", "attributes", "scopes")
"""Keys of an auth-o-tron that must not have two values."""

_DEEPEST = 4
"""Levels of C{user} within C{user} that are looked at."""

_PLACES = re.compile(r"\{(email|comment|hash)\}")


@frozen
class Found:
    """
    A token that can be copied.

    @ivar known_as: see L{imported.candidate_names}.
    """

    known_as: str = field(repr=False)
    token: ForeignToken


@frozen
class LeftOut:
    """
    A token that cannot.

    @ivar which: what to call it, without giving it away.
    """

    which: str
    why: str


@frozen
class OwnerRule:
    """
    Who shall own tokens that have no owner.

    @ivar username: with C{{email}}, C{{comment}} and C{{hash}} (the first of it) as places.
    """

    realm: str
    username: str
    roles: tuple[str, ...] = ()

    def of(self, fields: Mapping[str, str]) -> Identity:
        """
        The owner of one.

        @raise ValueError: a field that the name is made of is empty, or no name comes of it.
        """
        missing = [name for name in _PLACES.findall(self.username) if not fields.get(name)]
        if missing:
            raise ValueError(f"has no {missing[0]}")
        name = _PLACES.sub(lambda found: fields[found[1]], self.username).strip()
        if not name or not name.isprintable():
            raise ValueError("has an owner with no good name")
        return Identity(self.realm, name, self.roles)


# --- acl-proxy ---


async def of_acl_proxy(redis: Redis, rule: OwnerRule, now: float) -> AsyncIterator[Found | LeftOut]:
    """
    The tokens of an acl-proxy, each once.

    @raise Unavailable: its Redis does not answer.
    """
    cursor, seen = b"0", set[bytes]()
    while True:
        cursor, keys = await redis.ask("SCAN", cursor, "MATCH", "tokens:*", "COUNT", _PAGE)
        for key in keys:
            if key not in seen:  # a scan may give one twice
                seen.add(key)
                hashed = key.decode("utf-8", "replace").removeprefix("tokens:")
                item = await _acl_proxy_token(redis, key, hashed, rule, now)
                if item is not None:
                    yield item
        if cursor == b"0":
            break


async def _acl_proxy_token(
    redis: Redis, key: bytes, hashed: str, rule: OwnerRule, now: float
) -> Found | LeftOut | None:
    """One token, unless it has ended since it was listed."""
    which = f"tokens:{ascii(hashed[:8])[1:-1]}"
    kind, left = await redis.ask_all([("TYPE", key), ("PTTL", key)])
    if kind == b"none":
        return None
    if kind != b"hash" or not _HASH.fullmatch(hashed):
        return LeftOut(which, "is no token of an acl-proxy")
    flat = await redis.ask("HGETALL", key)
    if not flat:
        return None
    try:
        texts = [each.decode("utf-8") for each in flat]
    except UnicodeDecodeError:
        return LeftOut(which, "is not UTF-8")
    fields = dict(zip(texts[::2], texts[1::2], strict=True))
    try:
        owner = rule.of({**fields, "hash": hashed[:8]})
        patterns = _hosts(fields.get("hosts", ""))
    except ValueError as error:
        return LeftOut(which, str(error))
    grant = Grant(hosts=patterns, expires=now + left / 1000 if left >= 0 else None)
    email, comment = fields.get("email", ""), fields.get("comment", "")
    created = _moment(fields.get("created_at"))
    service = imported.ACL_PROXY
    token = ForeignToken(owner, grant, created, service, comment, email, IMPORTED + service)
    return Found(imported.of_acl_proxy(hashed), token)


def _hosts(text: str) -> tuple[str, ...]:
    """A token without hosts is good for none there; here it would be good for all."""
    found = tuple(
        hosts.check_host_pattern(each.strip()) for each in text.split(",") if each.strip()
    )
    if not found:
        raise ValueError("has no hosts, so that it is good for none")
    return found


def _moment(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d{1,11}(\.\d+)?", text) else None


# --- auth-o-tron ---


class _Lenient(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)


class _Stored(_Lenient):
    """A document in C{tokens}."""

    class Token(_Lenient):
        """The token itself."""

        token_string: str = Field(min_length=8, max_length=512)
        scopes: dict[str, list[str]] = Field(default_factory=dict)

    token: Token
    user_id: str = Field(min_length=1)


def _named(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("is no good name")
    return text


Name = Annotated[str, AfterValidator(_named)]


class _User(_Lenient):
    """What C{users} tells of somebody."""

    realm: Name
    username: Name
    roles: list[str] = Field(default_factory=list)
    attributes: dict[str, str] = Field(default_factory=dict)
    scopes: dict[str, list[str]] | None = None


async def of_auth_o_tron(
    tokens: Any, users: Any, realm: str | None = None
) -> AsyncIterator[Found | LeftOut]:
    """
    The tokens of an auth-o-tron.

    @param tokens: its collection of tokens, C{users} that of their owners.
    @param realm: what the realm of all of them is called here, if it has another name.

    @raise Unavailable: its database does not answer.
    """
    async for document in mongo_client.all_documents(tokens):
        yield await _auth_o_tron_token(document, users, realm)


async def _auth_o_tron_token(
    document: Mapping[str, Any], users: Any, realm: str | None
) -> Found | LeftOut:
    which = f"document {str(document['_id'])[:_SHOWN]!a}"
    try:
        stored = _Stored.model_validate(document)
    except ValidationError:
        return LeftOut(which, "is no token of an auth-o-tron")
    if (objection := _objection(document, stored.token.token_string)) is not None:
        return LeftOut(which, objection)
    told = await mongo_client.call(users.find({"user_id": stored.user_id}, limit=2))
    owners = [level for each in told for level in _levels(each)]
    named = [*owners, *_levels(document), *_levels(document["token"])]
    contradiction = _contradiction(owners, _OF_USERS) or _contradiction(named, _NAMES)
    if contradiction:
        return LeftOut(which, f"has an owner with {contradiction}")
    try:
        user = _User.model_validate(_flat(told[0] if told else {}))
    except ValidationError:
        return LeftOut(which, "has an owner of whom nothing is known")
    attributes = {name: text for name, text in user.attributes.items() if name != "exp"}
    owner = Identity(
        realm or user.realm,
        user.username,
        tuple(user.roles),
        attributes,
        tuples(user.scopes or {}),
    )
    only = tuples(stored.token.scopes) if stored.token.scopes else None
    service = imported.AUTH_O_TRON
    token = ForeignToken(owner, Grant(scopes=only), name=service, provider=IMPORTED + service)
    return Found(imported.of_auth_o_tron(stored.token.token_string), token)


def _objection(document: Mapping[str, Any], token: str) -> str | None:
    """Why a token must not be copied, apart from its owner."""
    if token.startswith("hs256:"):
        return "is a token of an authotron"
    if not imported.may_be(token):
        return "is a token that no client could present, or that other providers would judge"
    contradiction = _contradiction([document, document["token"]], _OF_TOKENS)
    return contradiction and f"has {contradiction}"


def _levels(told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """
    A document, its C{user}, the C{user} of that one, and so on.

    A C{user} that is no mapping, or lies too deep, counts as a name.
    """
    for _ in range(_DEEPEST):
        yield told
        below = told.get("user")
        if below is None:
            return
        told = below if isinstance(below, Mapping) else {"username": below}
    yield {"username": told}


def _contradiction(levels: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str | None:
    """
    Name a key that has different values in several places, if there is one.

    Which of them the other service would have read is not known, so none is taken.
    """
    for key in keys:
        values = [level[key] for level in levels if level.get(key) is not None]
        if any(value != values[0] for value in values[1:]):
            return f"different values of {key} in several places"
    return None


def _flat(told: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of an owner, in the document itself or one step below."""
    below = told.get("user")
    return {**told, **(below if isinstance(below, Mapping) else {})}
