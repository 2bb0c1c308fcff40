"""Tokens of our own: what they look like, how they are hashed, what they are restricted to."""

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
from authotron.model.hosts import any_network_fits, host_fits
from authotron.model.identity import Identity
from authotron.model.naming import normalized
from authotron.model.request import RequestContext

PREFIX = "aot_"
PATTERN = r"aot_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}"
"""What scanners for leaked secrets may look for."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
"""Two digits by their number: half as many divisions as with one digit each."""
_ID = re.compile(r"[0-9A-Za-z]{12}")
_FORM = re.compile(PATTERN)
_SECRET_DIGITS = 43  # 62 ** 43 is just above 2 ** 256
_CHECK_DIGITS = 6
_SECONDS_DIGITS = 6
_CHANCE_DIGITS = 6
_MARK_DIGITS = 8

HTTP, TERMINAL, IMPORT = ("http", "terminal", "import")
"""How a token came into the store. Of those stored by earlier versions it is not known."""

IMPORTED = "imported:"
"""With a service behind it this stands for the provider of an owner; no provider is called so."""

Row = Mapping[str, Any]
"""A token as stores keep it: texts and numbers only, so that nothing in it can act."""


@define(unsafe_hash=True)
class PlainToken:
    """
    A token as its owner holds it.

    It is a value, as L{Grant} and L{Token} are. They are not frozen because one of each is made for
    each token that is not remembered: that takes a third of the time.
    """

    id: str
    text: str = field(repr=False)


def generate(now: float) -> PlainToken:
    """
    A new token, whose secret has 256 bits.

    Its id begins with the second in which it was made, so ids sort by age.
    """
    id_ = _base62(int(now), _SECONDS_DIGITS) + _chance(_CHANCE_DIGITS)
    text = f"{PREFIX}{id_}_{_base62(secrets.randbits(256), _SECRET_DIGITS)}"
    return PlainToken(id_, text + checksum(text))


def looks_like_ours(text: str) -> bool:
    """Whether nobody else may judge it, good or bad."""
    return text.startswith(PREFIX)


def parse(text: str) -> PlainToken:
    """
    Read a token.

    @raise Rejected: it is none, or a character of it is wrong; no store need be asked.
    """
    if not _FORM.fullmatch(text):
        raise Rejected("not the form of a token")
    if checksum(text[:-_CHECK_DIGITS]) != text[-_CHECK_DIGITS:]:
        raise Rejected("the checksum of the token is wrong")
    return PlainToken(text[len(PREFIX) :].partition("_")[0], text)


def id_of(text: str) -> str | None:
    """The id that is meant by an id, by C{aot_} and an id, or by a whole token."""
    id_ = text.removeprefix(PREFIX).partition("_")[0]
    return id_ if _ID.fullmatch(id_) else None


def checksum(text: str) -> str:
    """The last characters of a token, by which a typo is known (CRC-32)."""
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
"""Bytes of a grant in memory without what is in it, and of an id in its lineage."""


@define(unsafe_hash=True)
class Grant:
    """
    What a token may do, of what its owner may.

    @ivar roles: the only roles left; C{None} leaves all. So with C{scopes}, by service.
    @ivar hosts: patterns of which one must fit the host asked for, if there are any.
    @ivar networks: of which one must hold the client's address, if there are any.
    @ivar expires: seconds since the epoch; C{None} is never.
    @ivar lineage: what is made with this grant descends from the tokens of these ids; the last one
        is the token in use. Empty for a grant that no token in use has.
    """

    roles: tuple[str, ...] | None = None
    scopes: Mapping[str, tuple[str, ...]] | None = None
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    expires: float | None = None
    lineage: tuple[str, ...] = field(default=(), eq=False, kw_only=True)

    def __sizeof__(self) -> int:
        """Bytes of the grant with all that is in it, for memories that have a budget of these."""
        size = _GRANT + _ID_BYTES * len(self.lineage)
        if not (self.roles or self.scopes or self.hosts or self.networks):
            return size
        scopes = self.scopes or {}
        lists = (self.roles or (), self.hosts, self.networks, *scopes.values())
        texts = (text for each in (scopes, *lists) for text in each)
        return size + sum(map(getsizeof, (scopes, *lists, *texts)))

    @property
    def is_restricted(self) -> bool:
        """Whether it allows less than its owner may do, apart from its expiry."""
        return self.roles is not None or self.scopes is not None or self.is_limited

    @property
    def is_limited(self) -> bool:
        """Whether it depends on the request what it is good for."""
        return bool(self.hosts or self.networks)

    def used(self, lineage: tuple[str, ...]) -> Grant:
        """The grant of a token in use: what is made with it descends from these tokens."""
        return Grant(  # C{evolve} takes three times as long, for each token
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
        return self._host_fits(context.host) and self._network_fits(context.address)

    def _host_fits(self, host: str | None) -> bool:
        if not self.hosts:
            return True
        if host is None:
            raise MissingContext("the requested host")
        return any(host_fits(pattern, host) for pattern in self.hosts)

    def _network_fits(self, address: str | None) -> bool:
        if not self.networks:
            return True
        if address is None:
            raise MissingContext("the address of the client")
        return any_network_fits(self.networks, address)


_EVERYTHING = Grant()
"""All that an owner may do, for ever."""


@define(unsafe_hash=True)
class Token:
    """
    A stored token.

    @ivar hashed: what is kept of its secret.
    @ivar owner: the identity of its owner at C{created}, before any augmenter.
    @ivar provider: the name of the provider that knew the owner.
    @ivar used: about when it was last used.
    @ivar lineage: the ids of the tokens that it descends from, the oldest first. It ends when one
        of them does.
    @ivar origin: L{HTTP}, L{TERMINAL} or L{IMPORT}; empty if an earlier version stored it.
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
        """The bytes that a store keeps of the texts of the token."""
        return sum(len(text.encode()) for text in self.row().values() if isinstance(text, str))

    def row(self) -> dict[str, Any]:
        """The same as stores keep it."""
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
"""The names in a L{Row}."""

CHANGEABLE = frozenset({"name", "comment", "expires", "used"})
"""What of a row may change."""


def counts(row: Row) -> bool:
    """
    Whether a token counts towards the number of tokens that its owner may make over HTTP.

    Earlier versions did not store how a token was made, but the provider that an import names.
    """
    return row.get("origin") in (None, "", HTTP) and not is_imported(row)


def is_imported(row: Row) -> bool:
    """Whether a token was copied from another service."""
    origin = row.get("origin")
    return origin == IMPORT if origin else f'"provider": "{IMPORTED}' in row["fixed"]


def from_row(row: Row) -> Token:
    """
    The token that a store kept as C{row}.

    Names that were stored before they had one spelling only are given it here.
    """
    fixed = json.loads(row["fixed"])
    only_roles, only_scopes = fixed["only_roles"], fixed["only_scopes"]
    return Token(
        row["id"],
        row["hashed"],
        Identity(
            normalized(row["realm"]),
            normalized(row["username"]),
            tuple(fixed["roles"]),
            fixed["attributes"],
            tuples(fixed["scopes"]),
        ),
        row["created"],
        Grant(
            None if only_roles is None else tuple(map(normalized, only_roles)),
            None if only_scopes is None else tuples(only_scopes),
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
    What a store remembers of a token that was revoked.

    @ivar mark: tells a token from others that have its id; nothing follows from it.
    @ivar until: seconds since the epoch until which it is remembered.
    """

    id: str
    realm: str
    username: str
    mark: str
    until: float


def mark_of(hashed: str) -> str:
    """The last 32 bits of what was stored of a token."""
    return hashed[-_MARK_DIGITS:]


def tuples(lists: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Lists as an identity has them."""
    return {normalized(name): tuple(map(normalized, each)) for name, each in lists.items()}


AT_ONCE = 16
"""Tokens of a list that are read together: those of earlier versions may have 60 kB each."""
