"""
Security event tokens (RFC 8417) and logout tokens: verify what an identity provider says about its
users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from authotron.jose import claim_values, subject_identifiers, unverified
from authotron.jose.subject_identifiers import Subject, UnusableSubject
from authotron.jose.verifier import Verifier
from authotron.model.errors import Rejected

LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
"""The event of a logout token."""

_MOST_EVENTS = 10
"""Maximum number of events in one token; the Shared Signals Framework allows one."""

_LONGEST_ID = 256
"""Maximum number of characters of C{jti}."""

_MEDIA = "application/"

Code = Literal["invalid_request", "invalid_key", "invalid_issuer", "invalid_audience"]
"""An error of RFC 8935 section 2.4 that concerns the token."""


class InvalidEvent(Exception):
    """
    A security event token or a logout token is not valid.

    @ivar code: the error of RFC 8935 section 2.4.
    @ivar description: the reason, which the sender gets.
    """

    def __init__(self, code: Code, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


@frozen
class SecurityEvent:
    """
    One event of a verified token.

    @ivar issuer: the identity provider that sent the token.
    @ivar token: the C{jti} of the token, which is unique for the issuer.
    @ivar type: the URI that names what happened.
    @ivar at: when the event happened, in seconds since the epoch, which is never in the future.
    @ivar content: the members of the event.
    """

    issuer: str
    token: str
    type: str
    subject: Subject | None
    at: float
    content: Mapping[str, Any] = field(repr=False)


@frozen
class EventVerifier:
    """
    Verifies the security event tokens and the logout tokens of one identity provider.

    The verifier uses only keys that the configuration names. Members of the JWT header that name a
    key or a place (C{jwk}, C{jku}, C{x5u}) are never used.

    @ivar audience: the accepted audiences, one of which a token must name.
    @ivar leeway: seconds by which the clocks of identity provider and gateway may differ.
    """

    issuer: str
    audience: Sequence[str]
    leeway: float
    _verifier: Verifier = field(repr=False)
    _now: Callable[[], float] = field(repr=False)

    async def security_events(self, token: str) -> Sequence[SecurityEvent]:
        """
        Verify a security event token, and return its events.

        @raise InvalidEvent: the token is not valid.
        @raise Unavailable: the keys of the identity provider cannot be fetched.
        """
        header, claims = await self._verified(token)
        if _type(header) != "secevent+jwt":
            raise InvalidEvent("invalid_request", "the header typ is not secevent+jwt")
        events = [*self._events(claims)]
        if any(each.type == LOGOUT for each in events):
            raise InvalidEvent("invalid_request", "a logout token belongs to another address")
        return events

    async def logout(self, token: str) -> SecurityEvent:
        """
        Verify a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6), and return its
        event.

        @raise InvalidEvent: the token is not valid.
        @raise Unavailable: the keys of the identity provider cannot be fetched.
        """
        header, claims = await self._verified(token)
        if _type(header) not in ("logout+jwt", "jwt", ""):
            raise InvalidEvent("invalid_request", "the header typ is not logout+jwt")
        if "nonce" in claims:
            raise InvalidEvent("invalid_request", "a logout token must not have a nonce")
        if LOGOUT not in _object(claims.get("events"), "events"):
            raise InvalidEvent("invalid_request", f"the token has no event {LOGOUT}")
        try:
            subject = subject_identifiers.of_logout(claims)
        except UnusableSubject as error:
            raise InvalidEvent("invalid_request", str(error)) from None
        id_, issued = _id(claims), self._issued(claims)
        return SecurityEvent(self.issuer, id_, LOGOUT, subject, issued, {})

    async def _verified(self, token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the header and the claims of a token of this issuer, for this audience."""
        seen = unverified.parse(token)
        if seen is None or not seen.readable:
            raise InvalidEvent("invalid_request", "not a signed JWT")
        # Issuer and audience are checked before the signature, so that no keys are fetched in vain.
        self._check_recipient(seen.claims)
        try:
            header, claims = await self._verifier.verify(token, seen)
            self._check_times(claims)
        except Rejected as why:
            raise InvalidEvent("invalid_key", str(why)) from None
        return header, claims

    def _check_recipient(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") != self.issuer:
            raise InvalidEvent("invalid_issuer", "iss is not the issuer that is configured")
        named = claim_values.strings(claims.get("aud"))
        if named is None or set(named).isdisjoint(self.audience):
            raise InvalidEvent("invalid_audience", "aud does not name this gateway")

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        """Refuse a token from the future, and one that has expired if it states its expiry."""
        now = self._now()
        expires = _time(claims, "exp")
        if expires is not None and now >= expires + self.leeway:
            raise InvalidEvent("invalid_request", "the token has expired (exp)")
        if self._issued(claims) > now + self.leeway:
            raise InvalidEvent("invalid_request", "the token is from the future (iat)")

    def _issued(self, claims: Mapping[str, Any]) -> float:
        issued = _time(claims, "iat")
        if issued is None:
            raise InvalidEvent("invalid_request", "iat is missing")
        return issued

    def _events(self, claims: Mapping[str, Any]) -> Iterator[SecurityEvent]:
        listed = _object(claims.get("events"), "events")
        if not 0 < len(listed) <= _MOST_EVENTS:
            raise InvalidEvent("invalid_request", f"events has not 1 to {_MOST_EVENTS} members")
        id_, issued = _id(claims), self._issued(claims)
        for type_, content in listed.items():
            event = _object(content, "an event")
            at = _moment(event, claims, issued)
            yield SecurityEvent(
                self.issuer, id_, type_, _subject(event, claims), min(at, self._now()), event
            )


def _subject(event: Mapping[str, Any], claims: Mapping[str, Any]) -> Subject | None:
    """
    Return the subject of an event: C{sub_id} of the token or, as in earlier drafts, C{subject} of
    the event, or the claim C{sub}.
    """
    given = claims.get("sub_id", event.get("subject", event.get("sub_id")))
    try:
        if given is not None:
            return subject_identifiers.read(given)
        return None if claims.get("sub") is None else subject_identifiers.of_logout(claims)
    except UnusableSubject as error:
        raise InvalidEvent("invalid_request", str(error)) from None


def _moment(event: Mapping[str, Any], claims: Mapping[str, Any], issued: float) -> float:
    """
    Return when an event happened: C{event_timestamp} of CAEP, C{toe} of RFC 8417, or else C{iat}.

    A value that lies after the time of issue is not a time in seconds; drafts of CAEP counted
    milliseconds.
    """
    for members, name in ((event, "event_timestamp"), (claims, "toe")):
        found = _time(members, name)
        if found is not None and found <= issued:
            return found
    return issued


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    try:
        return claim_values.timestamp(claims, name)
    except Rejected as why:
        raise InvalidEvent("invalid_request", str(why)) from None


def _id(claims: Mapping[str, Any]) -> str:
    found = claims.get("jti")
    if not isinstance(found, str) or not 0 < len(found) <= _LONGEST_ID:
        raise InvalidEvent(
            "invalid_request", f"jti is not a string of 1 to {_LONGEST_ID} characters"
        )
    return found


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidEvent("invalid_request", f"{what} is not an object")
    return value


def _type(header: Mapping[str, Any]) -> str:
    typ = header.get("typ")
    return typ.lower().removeprefix(_MEDIA) if isinstance(typ, str) else ""
