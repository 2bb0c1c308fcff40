"""
Identity providers that report what happens to their users, and the revocations that follow from
their reports.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol

from attrs import evolve, field, frozen

from authotron.jose.security_events import LOGOUT, EventVerifier, SecurityEvent
from authotron.jose.subject_identifiers import Name
from authotron.model.records import Record
from authotron.model.revocation import Revocation

_CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
_RISC = "https://schemas.openid.net/secevent/risc/event-type/"

REVOKING = frozenset(
    {
        LOGOUT,
        f"{_CAEP}session-revoked",
        f"{_CAEP}credential-change",
        f"{_CAEP}token-claims-change",
        f"{_CAEP}assurance-level-change",
        f"{_CAEP}device-compliance-change",
        f"{_RISC}account-credential-change-required",
        f"{_RISC}account-disabled",
        f"{_RISC}account-purged",
        f"{_RISC}credential-compromise",
        f"{_RISC}identifier-changed",
        f"{_RISC}identifier-recycled",
        f"{_RISC}sessions-revoked",
    }
)
"""The events after which tokens that were issued earlier do not count any more."""

_HARMLESS: Mapping[str, tuple[str, str]] = {
    f"{_CAEP}credential-change": ("change_type", "create"),
    f"{_CAEP}assurance-level-change": ("change_direction", "increase"),
    f"{_CAEP}device-compliance-change": ("current_status", "compliant"),
}
"""Events in L{REVOKING} that revoke nothing if a member of the event has a certain value."""

USERNAME = "username"
"""The word that stands for the user name in the key C{users} of a transmitter."""

REPLAY = "replay"
"""The kind of the records that contain which security event tokens were received before."""

_REMEMBERED = 7 * 86_400.0
"""
Seconds for which gateways remember a received security event token. A security event token that a
sender repeats after this time only revokes again what was issued before its event.
"""


_LONGEST_REASON = 200
"""Maximum number of characters of the reason of a revocation."""


class PollClient(Protocol):
    """
    Asks one identity provider for its security events (RFC 8936).

    @ivar interval: seconds between two requests while there are no events.
    """

    @property
    def interval(self) -> float: ...

    async def ask(
        self, acknowledged: Sequence[str], errors: Mapping[str, Mapping[str, str]]
    ) -> tuple[Mapping[str, str], bool]:
        """
        Acknowledge tokens, and return further tokens by their C{jti}, and whether there are more.

        @raise Unavailable: the identity provider does not answer, or its answer is malformed.
        """


@frozen
class Transmitter:
    """
    One identity provider whose events revoke credentials.

    @ivar realm: the realm of the users whom the events are about.
    @ivar users: what a subject names, by its format: the user name, or the key of a claim.
    @ivar session_claim: the key of the claim that names the session of a user, or C{None} if
        tokens do not name their session.
    @ivar lifetime: seconds for which revocations are kept.
    @ivar poll: asks the identity provider for events, or C{None} if they are pushed.
    """

    verifier: EventVerifier
    realm: str
    users: Mapping[Any, str]
    session_claim: str | None
    lifetime: float
    poll: PollClient | None = None
    _authorization: str | None = field(default=None, repr=False)

    @property
    def issuer(self) -> str:
        return self.verifier.issuer

    def is_authorized(self, given: str | None) -> bool:
        """Return whether a request with a pushed event has the agreed C{Authorization}."""
        if self._authorization is None:
            return True
        return given is not None and hmac.compare_digest(
            given.encode(), self._authorization.encode()
        )

    def revocations(self, events: Sequence[SecurityEvent], now: float) -> Sequence[Revocation]:
        """
        Return the revocations that follow from events.

        The id of a revocation is derived from the token that contained the event, so a token that
        is received twice, or by two gateways, revokes once.
        """
        return [
            each
            for place, event in enumerate(events)
            if is_revoking(event)
            for each in self._revocations(event, place, now)
        ]

    def _revocations(self, event: SecurityEvent, place: int, now: float) -> Iterator[Revocation]:
        kind = event.type.rpartition("/")[2]
        for number, target in enumerate(self._targets(event)):
            yield evolve(
                target,
                id=_id(event, f"{place}.{number}"),
                created=now,
                # Times of events and of issue are mostly whole seconds: a token of the same second
                # as an event may be older than the event.
                issued_before=math.floor(event.at) + 1,
                until=now + self.lifetime,
                reason=f"{kind} from {self.issuer}"[:_LONGEST_REASON],
                by=f"transmitter {self.issuer}"[:_LONGEST_REASON],
            )

    def _targets(self, event: SecurityEvent) -> Iterator[Revocation]:
        """Yield revocations without times, one for each name of a user or of a session."""
        subject = event.subject
        if subject is None:
            return
        if subject.sessions and self.session_claim is not None:
            for name in subject.sessions:
                yield self._having(self.session_claim, name.value)
            return
        for name in subject.users:
            known_as = self.users.get(name.form)
            if known_as is None or not self._is_own(name):
                continue
            if known_as == USERNAME:
                yield Revocation("", realm=self.realm, username=name.value)
            else:
                yield self._having(known_as, name.value)

    def _having(self, key: str, value: str) -> Revocation:
        """Return a revocation of all users of the realm who have a claim."""
        name = _text(key)
        realm, claim = f"{_text(self.realm)} in claims.realm", f"{_text(value)} in claims[{name}]"
        return Revocation("", claims=f"{realm} && {name} in claims && {claim}")

    def _is_own(self, name: Name) -> bool:
        """Return whether a name is one that this identity provider has given."""
        return name.issuer is None or name.issuer == self.issuer

    def receipt(self, events: Sequence[SecurityEvent], now: float) -> Record:
        """Return the record by which all gateways remember that a token was received."""
        return Record(REPLAY, receipt_id(events[0]), "", now + _REMEMBERED)


def is_revoking(event: SecurityEvent) -> bool:
    """Return whether credentials do not count any more after an event."""
    member, value = _HARMLESS.get(event.type, ("", ""))
    return event.type in REVOKING and not (member and event.content.get(member) == value)


def receipt_id(event: SecurityEvent) -> str:
    """Return the id of the record that remembers the token of an event."""
    return _id(event, "")


def _id(event: SecurityEvent, part: str) -> str:
    """Return an id that is the same whenever any gateway receives the same token."""
    named = json.dumps([event.issuer, event.token, part]).encode()
    return "set-" + sha256(named).hexdigest()[:32]


def _text(value: str) -> str:
    """Write a printable string as a literal of the Common Expression Language."""
    return json.dumps(value, ensure_ascii=False)
