"""Revocations: entries which state that some credentials no longer count."""

from __future__ import annotations

import json
import secrets
from collections.abc import Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import asdict, frozen

from authotron.model import strict_json
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.records import Record
from authotron.model.token import Token

KIND = "revocation"
"""The kind of the records that contain revocations."""

KEPT_AFTER_END = 86_400.0
"""
Seconds for which the token store keeps a revocation after its end, so that a clock which was wrong
by up to a day, and is set right again, does not make revoked credentials valid.
"""

UNKNOWN_EXPIRY = 366 * 86_400.0
"""Seconds for which a token stays revoked if the gateway does not know when the token expires."""

AFTER_EXPIRY = 60.0
"""Seconds for which a token stays revoked after its expiry, because clocks may differ."""

_MOST_BRACKETS = 4_000
"""Maximum number of opening brackets in the JSON of a revocation, those in its texts included."""


@frozen
class Revocation:
    """
    An entry which states that some credentials no longer count.

    A revocation names a token, or the owner of credentials, or has an expression over the claims of
    identities. A revocation that names both a token and an owner counts for this token only if its
    owner, or the identity that acts in the name of its owner, is the named one: another identity
    provider may have issued a token with the same id to another user.

    @ivar id: the id of the revocation itself.
    @ivar token: the id of the revoked token: the C{jti} of a JWT, the id of an API token, or the
        hash of a token without an id (L{authotron.gateway.token_ids}).
    @ivar realm: the realm of the owner, whose user name is C{username}.
    @ivar claims: an expression in the Common Expression Language over the variable C{claims}.
    @ivar created: when the revocation was made, in seconds since the epoch, as all other times.
    @ivar issued_before: only tokens that were issued before this time are revoked. A token whose
        time of issue is not known counts as issued before. Passwords and certificates are not
        issued at a known time, and are not revoked by a revocation with this time.
    @ivar active_from: the time from which the revocation counts, or C{None} for at once.
    @ivar until: the time from which the revocation does not count any more, or C{None} for never.
    @ivar reason: why the credentials were revoked, for operators.
    @ivar by: the actor that made the revocation, for operators.
    """

    id: str
    token: str | None = None
    realm: str | None = None
    username: str | None = None
    claims: str | None = None
    created: float = 0.0
    issued_before: float | None = None
    active_from: float | None = None
    until: float | None = None
    reason: str = ""
    by: str = ""

    @property
    def owner(self) -> tuple[str, str] | None:
        """The realm and the user name of the owner, or C{None} if the revocation names no owner."""
        if self.realm is None or self.username is None:
            return None
        return self.realm, self.username

    @property
    def about(self) -> str:
        """The credentials that the revocation concerns, in words, for logs."""
        whose = "" if self.owner is None else f" of {self.username} in realm {self.realm}"
        if self.token is not None:
            return f"token {self.token}{whose}"
        if self.owner is not None:
            return f"the {'tokens' if self.issued_before is not None else 'credentials'}{whose}"
        return f"credentials of identities for which {self.claims}"

    def counts(self, now: float) -> bool:
        """Return whether the revocation counts at a time, given in seconds since the epoch."""
        if self.active_from is not None and now < self.active_from:
            return False
        return not self.has_ended(now)

    def has_ended(self, now: float) -> bool:
        """Return whether the revocation does not count any more at a time."""
        return self.until is not None and now >= self.until

    def concerns_issue(self, token: PresentedToken | None) -> bool:
        """
        Return whether the time of issue of a presented token is one that the revocation concerns.

        @param token: what is known of the token, or C{None} for a credential that is not a token,
            such as a password.
        """
        if self.issued_before is None:
            return True
        return token is not None and (token.issued is None or token.issued < self.issued_before)

    def concerns_owner(self, found: Authentication) -> bool:
        """Return whether the owner of a credential is the one that the revocation may name."""
        owner = self.owner
        if owner is None or found.identity[:2] == owner:
            return True
        actors = () if found.token is None else found.token.actors
        return any(each.identity[:2] == owner for each in actors)

    def record(self) -> Record:
        """Return the record in which the token store keeps the revocation."""
        until = None if self.until is None else self.until + KEPT_AFTER_END
        return Record(KIND, self.id, json.dumps(_given(asdict(self))), until)


def new_id(now: float) -> str:
    """Return the id of a new revocation; ids sort by age."""
    return f"{int(now * 1_000):012x}{secrets.token_hex(8)}"


def of_token(
    id_: str, owner: tuple[str, str], now: float, expires: float | None, reason: str, by: str
) -> Revocation:
    """
    Return the revocation of one token of an owner until the token has expired.

    @param expires: when the token expires, in seconds since the epoch, or C{None} if this is not
        known.
    """
    realm, username = owner
    return Revocation(
        new_id(now),
        id_,
        realm,
        username,
        created=now,
        until=_end_of_token(now, expires),
        reason=reason,
        by=by,
    )


def _end_of_token(now: float, expires: float | None) -> float:
    """Return when the revocation of a token may end, because the token has expired by then."""
    return now + UNKNOWN_EXPIRY if expires is None else expires + AFTER_EXPIRY


def of_api_token(token: Token, now: float, by: str) -> Revocation:
    """
    Return the revocation of an API token that is about to be deleted, so that other machines
    discard their decisions about it at once.

    The revocation also covers the API tokens that were created with the deleted API token. The
    revocation names no owner, because providers may spell the name of the owner in another way than
    the token store.
    """
    until = _end_of_token(now, token.grant.expires)
    return Revocation(
        new_id(now), token.id, created=now, until=until, reason="API token deleted", by=by
    )


@frozen
class Concern:
    """
    The tokens and the owners that some revocations name; whether a revocation really concerns a
    credential may depend on more.
    """

    tokens: AbstractSet[str] = frozenset()
    owners: AbstractSet[Hashable] = frozenset()

    def may_include(self, token: PresentedToken) -> bool:
        """Return whether a token, an ancestor of it, or one of its actors may be concerned."""
        if token.id in self.tokens or not self.tokens.isdisjoint(token.ancestors):
            return True
        return any(each.identity[:2] in self.owners for each in token.actors)


def concern_of(revocations: Iterable[Revocation]) -> Concern | None:
    """
    Return the tokens and the owners that some revocations name, or C{None} if a revocation has an
    expression, so that it may concern every identity.
    """
    tokens, owners = set[str](), set[Hashable]()
    for each in revocations:
        if each.token is not None:
            tokens.add(each.token)
        elif each.owner is not None:
            owners.add(each.owner)
        else:
            return None
    return Concern(tokens, owners)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: value for name, value in fields.items() if name != "id"}
    return {name: value for name, value in named.items() if value not in (None, "")}


_TEXTS = ("token", "realm", "username", "claims", "reason", "by")
_TIMES = ("created", "issued_before", "active_from", "until")


def of_record(record: Record) -> Revocation:
    """
    Return the revocation in a record.

    @raise ValueError: the record contains no revocation that this version understands.
    """
    given = strict_json.loads(record.content.encode(), most=_MOST_BRACKETS)
    if not isinstance(given, dict):
        raise ValueError("the record is not a JSON object")  # noqa: TRY004 - as for other odd records
    texts = {name: given[name] for name in _TEXTS if name in given}
    times = {name: given[name] for name in _TIMES if name in given}
    if not all(isinstance(text, str) and text for text in texts.values()):
        raise ValueError("the record has an empty text, or a text of another type")
    if any(type(time) not in (int, float) for time in times.values()):
        raise ValueError("the record has a time of another type")
    found = Revocation(record.id, **texts, **times)
    if found.token is None and found.owner is None and found.claims is None:
        raise ValueError("the record names no credentials")
    return found
