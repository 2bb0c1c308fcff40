"""
Fetch security events from identity providers that do not push them.

This module is imported only if a transmitter is configured with C{poll}.
"""

from __future__ import annotations

import secrets
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import was_cancelled
from authotron.gateway.event_receiver import EventReceiver
from authotron.gateway.gateway import LiveGateway
from authotron.gateway.transmitters import PollClient, Transmitter
from authotron.jose.security_events import InvalidEvent
from authotron.model.errors import Unavailable
from authotron.model.records import Record

_LEASE = "poll-lease"
"""The kind of the records that say which process polls an identity provider."""

_LEASE_INTERVALS = 4
"""Number of poll intervals after which another process polls, if the present one has ended."""

_MOST_ROUNDS = 20
"""
Maximum number of requests in a row to a poll endpoint, if each answer says that the endpoint has
more events.
"""

_LONGEST_DELAY = 60.0
"""Maximum number of seconds between two polls while the endpoint fails."""


@define(eq=False)
class EventPoller:
    """
    Polls one identity provider.

    Of all processes that share a token store, only the process with a lease in the token store
    polls. A security event token that is fetched twice takes effect once. A security event token is
    acknowledged after its revocations are in force; if acknowledging fails, the identity provider
    sends the token again.
    """

    _serving: LiveGateway[Any]
    _clock: IReactorTime
    _transmitter: Transmitter
    _poll: PollClient
    _name: str = field(factory=lambda: secrets.token_urlsafe(12), init=False)
    _trouble: str | None = field(default=None, init=False)
    _polling: Deferred[None] | None = field(default=None, init=False)
    _log = Logger()

    def start(self) -> None:
        """Begin to poll."""
        self._polling = Deferred.fromCoroutine(self._poll_forever())
        self._polling.addErrback(self._failed)

    def stop(self) -> None:
        """Stop polling, and cancel a request to the identity provider that is under way."""
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()

    def _failed(self, failure: Failure) -> None:
        if was_cancelled(failure):
            return
        self._log.failure(
            "polling {issuer} failed because of an internal error, trying again",
            failure,
            issuer=self._transmitter.issuer,
            event="events.poll.broken",
        )
        self._clock.callLater(_LONGEST_DELAY, self._start_again)

    def _start_again(self) -> None:
        if self._polling is not None:
            self.start()

    async def _poll_forever(self) -> None:
        delay = self._poll.interval
        while True:
            try:
                if await self._holds_lease():
                    await self.poll()
                self._note(None)
                delay = self._poll.interval
            except Unavailable as why:
                self._note(str(why))
                delay = min(_LONGEST_DELAY, delay * 2)
            await deferLater(self._clock, delay, lambda: None)

    def _note(self, trouble: str | None) -> None:
        """Log once that polling fails, and once that polling works again."""
        if trouble is not None and self._trouble is None:
            self._log.warn(
                "polling {issuer} for security events failed, trying again: {reason}",
                issuer=self._transmitter.issuer,
                reason=trouble,
                event="events.poll.failed",
            )
        elif trouble is None and self._trouble is not None:
            self._log.info(
                "polling {issuer} for security events works again",
                issuer=self._transmitter.issuer,
                event="events.poll.works",
            )
        self._trouble = trouble

    async def _holds_lease(self) -> bool:
        """
        Return whether this process has the lease to poll the identity provider.

        @raise Unavailable: the token store cannot be reached.
        """
        records = self._serving.records
        if records is None:
            raise Unavailable("revocations are not configured")
        now, id_ = self._clock.seconds(), self._transmitter.issuer
        lease = Record(_LEASE, id_, self._name, now + _LEASE_INTERVALS * self._poll.interval)
        if await records.store.add_record(lease, now):
            return True
        found = await records.store.record(_LEASE, id_, now)
        return (
            found is not None
            and found.content == self._name
            and await records.store.replace_record(lease, found)
        )

    async def poll(self) -> None:
        """
        Fetch tokens until the identity provider has no more, and acknowledge each token after its
        revocations are in force.

        @raise Unavailable: the identity provider, its keys or the token store cannot be reached.
        """
        acknowledged: list[str] = []
        errors: dict[str, dict[str, str]] = {}
        for _ in range(_MOST_ROUNDS):
            tokens, has_more = await self._poll.ask(acknowledged, errors)
            acknowledged, errors = [], {}
            for id_, token in tokens.items():
                error = await self._receive(token)
                if error is None:
                    acknowledged.append(id_)
                else:
                    errors[id_] = {"err": error.code, "description": error.description}
            if not (has_more or acknowledged or errors):
                return

    async def _receive(self, token: str) -> InvalidEvent | None:
        receiver = EventReceiver(self._serving, self._clock)
        try:
            await receiver.receive(token, self._transmitter)
        except InvalidEvent as error:
            self._log.warn(
                "{issuer} sent a security event token that is not valid: {reason}",
                issuer=self._transmitter.issuer,
                reason=str(error),
                event="events.poll.invalid",
            )
            return error
        return None
