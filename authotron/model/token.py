"""
API tokens: their format, their grants and restrictions, and the form in which stores
keep them.
"""

from __future__ import annotations

import json
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from sys import getsizeof
from typing import Any

from attrs import define, field, frozen

from authotron.model.binding import Binding, from_confirmation
from authotron.model.errors import Rejected
from authotron.model.hosts import any_host_fits, any_network_fits
from authotron.model.identity import Identity
from authotron.model.naming import normalize
from authotron.model.request import Facts

PREFIX = "aot_"
REFRESH_PREFIX = "aotr_"
"""The prefix of refresh tokens, which are not credentials, and which no provider may see."""

PATTERN = r"aot_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}"
"""A regular expression of API tokens, for scanners that look for leaked secrets."""

_OUR_PREFIXES = (PREFIX, REFRESH_PREFIX)

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = "".join(first + second for first in _DIGITS for second in _DIGITS)
"""
All pairs of base62 digits in order, joined to one string: the pair for a number begins at twice the
number, so that one division yields two digits. A list of the pairs would take 200 kB more.
"""
_PAIR_COUNT = len(_DIGITS) ** 2
_ID = re.compile(r"[0-9A-Za-z]{12}")
_FORM = re.compile(PATTERN)
_SECRET_DIGITS = 43  # 43 digits of base 62 hold 256 bits, because 62 ** 43 is just above 2 ** 256.
_CHECK_DIGITS = 6
_SECONDS_DIGITS = 6
_CHANCE_DIGITS = 6
_MARK_DIGITS = 8

HTTP, TERMINAL, IMPORT = ("http", "terminal", "import")
"""
How an API token was created: over HTTP, at a terminal, or by an import; earlier versions did not
store the way.
"""

IMPORTED = "imported:"
"""
The prefix in the C{provider} of an imported API token, before the name of the service that issued
the token.
"""

Row = Mapping[str, Any]
"""
An API token as token stores keep it: strings and numbers only, never objects
or query operators.
"""


@define(unsafe_hash=True)
class PlainToken:
    """
    An API token in plain text, as its owner holds it.

    L{PlainToken}, L{Grant} and L{Token} never change, but are not frozen, because objects are made
    for each request whose decision is not cached, and creating a frozen object takes three times as
    long.
    """

    id: str
    text: str = field(repr=False)


def generate(now: float) -> PlainToken:
    """
    Make a new API token with a secret of 256 random bits.

    The id of an API token begins with the time of creation in seconds, so that ids sort by age.
    """
    id_ = _base62(int(now), _SECONDS_DIGITS) + _chance(_CHANCE_DIGITS)
    text = f"{PREFIX}{id_}_{_base62(secrets.randbits(256), _SECRET_DIGITS)}"
    return PlainToken(id_, text + checksum(text))


def looks_like_ours(text: str) -> bool:
    """
    Whether a bearer token has the prefix of API tokens or refresh tokens, so that no provider may
    verify it.
    """
    return text.startswith(_OUR_PREFIXES)


def parse(text: str) -> PlainToken:
    """
    Parse an API token, and verify its checksum.

    @raise Rejected: the format or the checksum of the API token is wrong, so the token store need
        not be asked.
    """
    if text.startswith(REFRESH_PREFIX):
        raise Rejected(
            "a refresh token is not a credential; POST /token/refresh exchanges it for one"
        )
    if not _FORM.fullmatch(text):
        raise Rejected("the token does not have the form of an API token")
    if checksum(text[:-_CHECK_DIGITS]) != text[-_CHECK_DIGITS:]:
        raise Rejected("the checksum of the API token is wrong")
    return PlainToken(text[len(PREFIX) :].partition("_")[0], text)


def id_of(text: str) -> str | None:
    """
    Return the id of an API token from the id, from C{aot_} with the id, or from the whole API
    token, or C{None} if the string is none of these.
    """
    id_ = text.removeprefix(PREFIX).partition("_")[0]
    return id_ if _ID.fullmatch(id_) else None


def checksum(text: str) -> str:
    """Compute the checksum at the end of an API token, a CRC-32 that detects typos."""
    return _base62(zlib.crc32(text.encode()), _CHECK_DIGITS)


def _base62(number: int, digits: int) -> str:
    found = ""
    for _ in range(0, digits, 2):
        number, pair = divmod(number, _PAIR_COUNT)
        found = _PAIRS[2 * pair : 2 * pair + 2] + found
    return found[-digits:]


def _chance(digits: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(digits))


_GRANT, _ID_BYTES = 200, 70
"""Estimated bytes in memory of an empty grant, and of each id in the lineage of a grant."""


@define(unsafe_hash=True)
class Grant:
    """
    The part of the permissions of its owner that an API token grants.

    @ivar roles: the only roles of the owner that the API token grants, or C{None} for all roles.
    @ivar scopes: the only scopes of the owner that the API token grants, by service, or C{None} for
        all scopes.
    @ivar hosts: host patterns, one of which must match the requested host; empty for all hosts.
    @ivar networks: networks, one of which must contain the address of the client; empty for all
        clients.
    @ivar expires: when the API token expires, in seconds since the epoch, or C{None} for never.
    @ivar lineage: if the credential in use is an API token, the ids of its ancestors and, last, its
        own id; every API token created with it descends from all of these.
    """

    roles: tuple[str, ...] | None = None
    scopes: Mapping[str, tuple[str, ...]] | None = None
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    expires: float | None = None
    lineage: tuple[str, ...] = field(default=(), eq=False, kw_only=True)

    def __sizeof__(self) -> int:
        """
        Return how many bytes the grant and its contents take up in memory, for caches with a budget
        in bytes.
        """
        size = _GRANT + _ID_BYTES * len(self.lineage)
        if not (self.roles or self.scopes or self.hosts or self.networks):
            return size
        scopes = self.scopes or {}
        lists = (self.roles or (), self.hosts, self.networks, *scopes.values())
        texts = (text for each in (scopes, *lists) for text in each)
        return size + sum(map(getsizeof, (scopes, *lists, *texts)))

    def __str__(self) -> str:
        """Describe, in words for people, the requests for which the API token is valid."""
        limits = (("for hosts", self.hosts), ("from networks", self.networks))
        return " and ".join(f"only {what} {', '.join(names)}" for what, names in limits if names)

    @property
    def is_restricted(self) -> bool:
        """
        Whether an API token with this grant has fewer permissions than its owner; the expiry of the
        API token does not matter.
        """
        return self.roles is not None or self.scopes is not None or self.is_limited

    @property
    def is_limited(self) -> bool:
        """Whether the grant is limited to certain hosts, or to certain networks of clients."""
        return bool(self.hosts or self.networks)

    def used(self, lineage: tuple[str, ...]) -> Grant:
        """
        Return the grant of an API token in use, with the ids of this API token
        and its ancestors.
        """
        return Grant(  # The function C{attrs.evolve} takes three times as long as the constructor.
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

    def holds(self, facts: Facts) -> bool:
        """
        Return whether a request is for one of the hosts, and from one of the networks, of the
        grant.

        @raise UnusableFact: no trusted proxy states clearly the requested host, or the address of
            the client, on which the grant depends.
        """
        # Only the facts that the grant depends on are read, because reading takes time.
        if self.hosts and not any_host_fits(self.hosts, facts.authority):
            return False
        return not self.networks or any_network_fits(self.networks, facts.address)


_EVERYTHING = Grant()
"""A grant of all permissions of the owner, without expiry."""


@define(unsafe_hash=True)
class Token:
    """
    An API token as a token store keeps it.

    @ivar hashed: the keyed hash of the API token, which itself is not stored.
    @ivar owner: the identity of the owner when the token was created, before augmenters added
        anything.
    @ivar provider: the name of the provider that identified the owner.
    @ivar used: approximately when the API token was last used, in seconds since the epoch.
    @ivar lineage: the ids of the ancestors of this API token, that is, of the API tokens with which
        it was created; the oldest ancestor comes first. If an ancestor of an API token is revoked
        or expires, the API token is invalid, too.
    @ivar origin: how the token was created: the way is L{HTTP}, L{TERMINAL} or L{IMPORT}; empty if
        an earlier version stored the token.
    @ivar binding: the key or certificate that each user of the token must prove to have, or C{None}
        if the token may be used by every client that holds it.
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
    binding: Binding | None = None

    @property
    def size(self) -> int:
        """The number of bytes in all strings that a token store keeps of the API token."""
        return sum(len(text.encode()) for text in self.row().values() if isinstance(text, str))

    def row(self) -> dict[str, Any]:
        """Convert the API token to a row for a token store."""
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
            **({"cnf": self.binding.confirmation} if self.binding else {}),
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
"""The names of the columns in the L{Row} of an API token."""

CHANGEABLE = frozenset({"name", "comment", "expires", "used"})
"""The columns of the row of an API token that may be changed."""


def counts_towards_limit(row: Row) -> bool:
    """
    Whether an API token counts towards C{tokens.max_per_owner}.

    Earlier versions did not store how an API token was created, but an imported API token can be
    recognised by the prefix in its C{provider}.
    """
    return row.get("origin") in (None, "", HTTP) and not is_imported(row)


def is_imported(row: Row) -> bool:
    """Whether an API token was imported from another service."""
    origin = row.get("origin")
    return origin == IMPORT if origin else f'"provider": "{IMPORTED}' in row["fixed"]


def from_row(row: Row) -> Token:
    """
    Convert a row of a token store to an API token.

    Earlier versions stored user names, roles and scopes without Unicode normalization, so this
    function normalizes them.
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
        from_confirmation(fixed["cnf"]) if "cnf" in fixed else None,
    )


@frozen
class Revoked:
    """
    A record that a token store keeps of an API token that was revoked.

    @ivar mark: the last 32 bits of the hash of the API token, which are not secret, and distinguish
        two API tokens with the same id.
    @ivar until: when a token store deletes the record, in seconds since the epoch.
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
    """
    Convert the lists of scopes of each service to tuples of normalized names, as L{Identity} stores
    them.
    """
    return {normalize(name): tuple(map(normalize, each)) for name, each in lists.items()}


AT_ONCE = 16
"""
Number of API tokens of a list that are read in one go, which is small, because API tokens of
earlier versions may have 60 kB each.
"""
