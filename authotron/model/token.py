"""API tokens: their format, their grants and restrictions, and how stores keep them."""

from __future__ import annotations

import json
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from sys import getsizeof
from typing import Any

from attrs import define, field, frozen

from authotron.model.errors import MissingContext, Rejected
from authotron.model.hosts import any_host_fits, any_network_fits
from authotron.model.identity import Identity
from authotron.model.naming import normalize
from authotron.model.request import RequestContext

PREFIX = "aot_"
PATTERN = r"aot_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}"
"""A regular expression of API tokens, for scanners that look for leaked secrets."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
"""All pairs of base62 digits, by their value: two digits cost one division."""
_ID = re.compile(r"[0-9A-Za-z]{12}")
_FORM = re.compile(PATTERN)
_SECRET_DIGITS = 43  # 62 ** 43 is just above 2 ** 256
_CHECK_DIGITS = 6
_SECONDS_DIGITS = 6
_CHANCE_DIGITS = 6
_MARK_DIGITS = 8

HTTP, TERMINAL, IMPORT = ("http", "terminal", "import")
"""The origins of API tokens; earlier versions did not store the origin."""

IMPORTED = "imported:"
"""Prefix of the provider of an imported owner, before the name of the service."""

Row = Mapping[str, Any]
"""An API token as stores keep it: strings and numbers only, never objects or operators."""


@define(unsafe_hash=True)
class PlainToken:
    """
    An API token in plain text, as its owner holds it.

    L{PlainToken}, L{Grant} and L{Token} are values that never change. The classes are not frozen,
    because they are made for each request that is not remembered, and a frozen class takes three
    times as long.
    """

    id: str
    text: str = field(repr=False)


def generate(now: float) -> PlainToken:
    """
    Make a new API token with a secret of 256 random bits.

    The id begins with the second of creation, so that ids sort by age.
    """
    id_ = _base62(int(now), _SECONDS_DIGITS) + _chance(_CHANCE_DIGITS)
    text = f"{PREFIX}{id_}_{_base62(secrets.randbits(256), _SECRET_DIGITS)}"
    return PlainToken(id_, text + checksum(text))


def looks_like_ours(text: str) -> bool:
    """Whether a bearer token has the prefix of API tokens, so that only the store may judge it."""
    return text.startswith(PREFIX)


def parse(text: str) -> PlainToken:
    """
    Parse an API token, and verify its checksum.

    @raise Rejected: the form or the checksum is wrong, so that no store need be asked.
    """
    if not _FORM.fullmatch(text):
        raise Rejected("the token does not have the form of an API token")
    if checksum(text[:-_CHECK_DIGITS]) != text[-_CHECK_DIGITS:]:
        raise Rejected("the checksum of the API token is wrong")
    return PlainToken(text[len(PREFIX) :].partition("_")[0], text)


def id_of(text: str) -> str | None:
    """Return the id in an id, in C{aot_} and an id, or in a whole API token; C{None} if invalid."""
    id_ = text.removeprefix(PREFIX).partition("_")[0]
    return id_ if _ID.fullmatch(id_) else None


def checksum(text: str) -> str:
    """Compute the last characters of an API token, a CRC-32 that detects typos."""
    return _base62(zlib.crc32(text.encode()), _CHECK_DIGITS)


def _base62(number: int, digits: int) -> str:
    found = ""
    for _ in range(0, digits, 2):
        number, pair = divmod(number, len(_PAIRS))
        found = _PAIRS[pair] + found
    return found[-digits:]


def _chance(digits: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(digits))


_GRANT, _ID_BYTES = 200, 70
"""Bytes in memory of an empty grant, and of each id in its lineage."""


@define(unsafe_hash=True)
class Grant:
    """
    The part of its owner's permissions that an API token has.

    @ivar roles: the only roles left; C{None} leaves all roles.
    @ivar scopes: the only scopes left, by service; C{None} leaves all scopes.
    @ivar hosts: patterns; unless empty, one must fit the requested host.
    @ivar networks: unless empty, one must contain the address of the client.
    @ivar expires: seconds since the epoch; C{None} for a token that does not expire.
    @ivar lineage: the ids of the tokens from which every token made with this grant descends; the
        last one is the token in use. Empty if no token is in use.
    """

    roles: tuple[str, ...] | None = None
    scopes: Mapping[str, tuple[str, ...]] | None = None
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    expires: float | None = None
    lineage: tuple[str, ...] = field(default=(), eq=False, kw_only=True)

    def __sizeof__(self) -> int:
        """Bytes in memory of the grant and all its contents, for caches with a budget in bytes."""
        size = _GRANT + _ID_BYTES * len(self.lineage)
        if not (self.roles or self.scopes or self.hosts or self.networks):
            return size
        scopes = self.scopes or {}
        lists = (self.roles or (), self.hosts, self.networks, *scopes.values())
        texts = (text for each in (scopes, *lists) for text in each)
        return size + sum(map(getsizeof, (scopes, *lists, *texts)))

    @property
    def is_restricted(self) -> bool:
        """Whether the grant allows less than its owner may do, apart from its expiry."""
        return self.roles is not None or self.scopes is not None or self.is_limited

    @property
    def is_limited(self) -> bool:
        """Whether the grant depends on the host or the client of a request."""
        return bool(self.hosts or self.networks)

    def used(self, lineage: tuple[str, ...]) -> Grant:
        """Return the grant of a token in use, with the ids of that token and its ancestors."""
        return Grant(  # C{attrs.evolve} takes three times as long
            self.roles, self.scopes, self.hosts, self.networks, self.expires, lineage=lineage
        )

    def restrict(self, identity: Identity) -> Identity:
        if self.roles is None and self.scopes is None:
            return identity
        roles, scopes = identity.roles, identity.scopes
        if self.roles is not None:
            left_roles = frozenset(self.roles)
            roles = tuple(role for role in roles if role in left_roles)
        if self.scopes is not None:
            left_scopes = {service: frozenset(self.scopes.get(service, ())) for service in scopes}
            left = {
                service: tuple(each for each in mine if each in left_scopes[service])
                for service, mine in scopes.items()
            }
            scopes = {service: mine for service, mine in left.items() if mine}
        return identity._replace(roles=roles, scopes=scopes)

    def holds(self, context: RequestContext) -> bool:
        """
        Return whether a request is for one of the hosts, and from one of the networks.

        @raise MissingContext: the request does not state its host, or its client's address.
        """
        # Only the facts that the grant depends on are asked for: to find one takes time.
        if self.hosts:
            host = context.host
            if host is None:
                raise MissingContext("the requested host")
            if not any_host_fits(self.hosts, host):
                return False
        if self.networks:
            address = context.address
            if address is None:
                raise MissingContext("the address of the client")
            return any_network_fits(self.networks, address)
        return True


_EVERYTHING = Grant()
"""A grant of all permissions of the owner, without expiry."""


@define(unsafe_hash=True)
class Token:
    """
    An API token as it is stored.

    @ivar hashed: the hash of the secret.
    @ivar owner: the identity of the owner at C{created}, before any augmenter.
    @ivar provider: the name of the provider that knew the owner.
    @ivar used: about when the token was last used.
    @ivar lineage: the ids of the tokens that the token descends from, the oldest first. If one of
        them is revoked or expires, so does the token.
    @ivar origin: L{HTTP}, L{TERMINAL} or L{IMPORT}; empty if an earlier version stored the token.
    """

    id: str
    hashed: str = field(repr=False)
    owner: Identity
    created: float
    grant: Grant = _EVERYTHING
    name: str = ""
    comment: str = ""
    email: str = ""
    used: float | None = None
    lineage: tuple[str, ...] = ()
    origin: str = ""
    provider: str = ""

    @property
    def size(self) -> int:
        """Bytes of the strings that a store keeps of the token."""
        return sum(len(text.encode()) for text in self.row().values() if isinstance(text, str))

    def row(self) -> dict[str, Any]:
        """Convert the token to a row for a store."""
        owner, grant = self.owner, self.grant
        fixed = {
            "roles": owner.roles,
            "attributes": dict(owner.attributes),
            "scopes": dict(owner.scopes),
            "provider": self.provider,
            "email": self.email,
            "only_roles": grant.roles,
            "only_scopes": None if grant.scopes is None else dict(grant.scopes),
            "hosts": grant.hosts,
            "networks": grant.networks,
            **({"lineage": self.lineage} if self.lineage else {}),
        }
        return {
            "id": self.id,
            "hashed": self.hashed,
            "realm": owner.realm,
            "username": owner.username,
            "name": self.name,
            "comment": self.comment,
            "created": self.created,
            "expires": grant.expires,
            "used": self.used,
            "fixed": json.dumps(fixed, ensure_ascii=False, sort_keys=True),
            "parent": self.lineage[-1] if self.lineage else "",
            "origin": self.origin,
        }


COLUMNS = (
    "id", "hashed", "realm", "username", "name", "comment", "created", "expires", "used", "fixed",
    "parent", "origin",
)  # fmt: skip
"""The names of the columns of a L{Row}."""

CHANGEABLE = frozenset({"name", "comment", "expires", "used"})
"""The columns of a row that may change."""


def counts_towards_limit(row: Row) -> bool:
    """
    Whether an API token counts towards C{tokens.max_per_owner}.

    Earlier versions did not store the origin, but an import names a provider of its own.
    """
    return row.get("origin") in (None, "", HTTP) and not is_imported(row)


def is_imported(row: Row) -> bool:
    """Whether an API token was imported from another service."""
    origin = row.get("origin")
    return origin == IMPORT if origin else f'"provider": "{IMPORTED}' in row["fixed"]


def from_row(row: Row) -> Token:
    """
    Convert a row of a store to a token.

    Earlier versions stored names without normalization, so names are normalized here.
    """
    fixed = json.loads(row["fixed"])
    only_roles, only_scopes = fixed["only_roles"], fixed["only_scopes"]
    return Token(
        row["id"],
        row["hashed"],
        Identity(
            normalize(row["realm"]),
            normalize(row["username"]),
            tuple(fixed["roles"]),
            fixed["attributes"],
            scope_tuples(fixed["scopes"]),
        ),
        row["created"],
        Grant(
            None if only_roles is None else tuple(map(normalize, only_roles)),
            None if only_scopes is None else scope_tuples(only_scopes),
            tuple(fixed["hosts"]),
            tuple(fixed["networks"]),
            row["expires"],
        ),
        row["name"],
        row["comment"],
        fixed["email"],
        row["used"],
        tuple(fixed.get("lineage", ())),
        row.get("origin") or "",
        fixed["provider"],
    )


@frozen
class Revoked:
    """
    A record of an API token that was revoked.

    @ivar mark: a few bits of the hash, which tell apart tokens of the same id; no secret.
    @ivar until: seconds since the epoch until which a store keeps the record.
    """

    id: str
    realm: str
    username: str
    mark: str
    until: float


def mark_of(hashed: str) -> str:
    """Return the last 32 bits of the hash of an API token, in hexadecimal."""
    return hashed[-_MARK_DIGITS:]


def scope_tuples(lists: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Convert lists of scopes, by service, to normalized tuples as identities have them."""
    return {normalize(name): tuple(map(normalize, each)) for name, each in lists.items()}


AT_ONCE = 16
"""API tokens of a list that are read at once: those of earlier versions may have 60 kB each."""
