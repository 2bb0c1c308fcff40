"""Receive security events and logout tokens, and revoke the credentials that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.gateway.gateway import LiveGateway
from authotron.gateway.revoking import revoke
from authotron.gateway.transmitters import REPLAY, Transmitter, is_revoking, receipt_id
from authotron.jose import unverified
from authotron.jose.security_events import InvalidEvent, SecurityEvent
from authotron.model.errors import ExceedsGrant, Unavailable
from authotron.model.revocation import Revocation
from authotron.telemetry.audit import Actor


def _actor(transmitter: Transmitter) -> Actor:
    """Return the actor that the audit log names for revocations by an identity provider."""
    return Actor(username=transmitter.issuer, credential="a security event token")


_LONGEST_SHOWN = 300
"""Maximum number of characters of the types of events that are logged for one token."""


class Unauthorized(Exception):
    """A pushed security event lacks the agreed value of the header C{Authorization}."""


@frozen
class EventReceiver:
    """
    Receives the tokens of all configured identity providers.

    A token takes effect once, on whichever gateway it arrives: the gateways that share a token
    store remember its id there. The id of a token is remembered only after the revocations that
    follow from the token are in force everywhere on this machine, so a token whose processing
    failed is processed when the sender repeats it.
    """

    _serving: LiveGateway[Any]
    _clock: IReactorTime
    _log = Logger()

    async def push(self, token: str, authorization: str | None) -> None:
        """
        Receive a security event token that an identity provider has pushed (RFC 8935).

        @raise Unauthorized: the request does not have the agreed value of C{Authorization}.
        @raise InvalidEvent: the token is not valid.
        @raise Unavailable: keys or token store cannot be reached; the sender should repeat.
        """
        transmitter = self._transmitter_of(token)
        if not transmitter.is_authorized(authorization):
            raise Unauthorized
        await self.receive(token, transmitter)

    async def receive(self, token: str, transmitter: Transmitter) -> None:
        """
        Receive a security event token of an identity provider.

        @raise InvalidEvent: the token is not valid.
        @raise Unavailable: keys or token store cannot be reached.
        """
        await self._act(await transmitter.verifier.security_events(token), transmitter)

    async def logout(self, token: str) -> None:
        """
        Receive a logout token (OpenID Connect Back-Channel Logout 1.0).

        @raise InvalidEvent: the token is not valid.
        @raise Unavailable: keys or token store cannot be reached.
        """
        transmitter = self._transmitter_of(token)
        await self._act([await transmitter.verifier.logout(token)], transmitter)

    def _transmitter_of(self, token: str) -> Transmitter:
        """
        Return the identity provider that a token names as its issuer.

        @raise InvalidEvent: the token is malformed, or names another issuer than those configured.
        """
        seen = unverified.parse(token)
        if seen is None or not seen.readable:
            raise InvalidEvent("invalid_request", "not a signed JWT")
        issuer = seen.claims.get("iss")
        found = self._serving.gateway.transmitters
        if not isinstance(issuer, str) or issuer not in found:
            raise InvalidEvent("invalid_issuer", "iss is not an issuer that is configured")
        return found[issuer]

    async def _act(self, events: Sequence[SecurityEvent], transmitter: Transmitter) -> None:
        now, records = self._clock.seconds(), self._serving.records
        if records is None:
            raise Unavailable("revocations are not configured")
        id_ = receipt_id(events[0])
        if await records.store.record(REPLAY, id_, now) is not None:
            return
        found = await self._revoke(events, transmitter)
        self._report(events, found, transmitter)
        if found:
            await records.store.add_record(transmitter.receipt(events, now), now)

    async def _revoke(
        self, events: Sequence[SecurityEvent], transmitter: Transmitter
    ) -> Sequence[Revocation]:
        """
        Revoke what events are about, and return the revocations.

        The number of revocations by a claim, such as the session of a user, is limited. If there
        are too many revocations by a claim, all tokens of the user are revoked instead.

        @raise Unavailable: the token store cannot be reached, or there are too many revocations.
        """
        now, by = self._clock.seconds(), _actor(transmitter)
        found = transmitter.revocations(events, now)
        try:
            for each in found:
                await revoke(self._serving, each, by)
        except ExceedsGrant as error:
            whole = evolve(transmitter, session_claim=None).revocations(events, now)
            found = [each for each in whole if each.claims is None]
            if not found:
                raise Unavailable(str(error)) from None
            for each in found:
                await revoke(self._serving, each, by)
        return found

    def _report(
        self, events: Sequence[SecurityEvent], found: Sequence[Revocation], transmitter: Transmitter
    ) -> None:
        """Log which security events were received, without the names of users."""
        kinds = ", ".join(sorted({each.type for each in events}))
        if found:
            self._log.info(
                "{issuer} reported {kinds}: {count} revocations",
                issuer=transmitter.issuer,
                kinds=kinds[:_LONGEST_SHOWN],
                count=len(found),
                event="events.received",
            )
        elif any(map(is_revoking, events)):
            self._log.warn(
                "{issuer} reported {kinds} about a subject that names no user of realm {realm}, so "
                "nothing is revoked; see events.transmitters.users and session_claim",
                issuer=transmitter.issuer,
                kinds=kinds[:_LONGEST_SHOWN],
                realm=transmitter.realm,
                event="events.subject.unknown",
            )
        else:
            self._log.info(
                "{issuer} reported {kinds}, which revokes nothing",
                issuer=transmitter.issuer,
                kinds=kinds[:_LONGEST_SHOWN],
                event="events.ignored",
            )
