"""Tokens for calls to other services, renewed before they expire, one renewal at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from authotron.client import waiting
from authotron.client.errors import Unavailable
from authotron.client.flights import Flights, Spawn, in_a_thread
from authotron.client.gateway import Client

if TYPE_CHECKING:  # Twisted is optional: services without it have no Deferred.
    from twisted.internet.defer import Deferred

_TIMEOUT = 10.0


@dataclass(frozen=True)
class Token:
    """
    A token for calls to other services, and the time when it expires.

    @ivar expires: the time at which the token expires, in seconds since the epoch.
    """

    value: str = field(repr=False)
    expires: float


class TokenSource:
    """
    A source of the token with which this service calls other services.

    A token is renewed once half of its life is over. If renewing a token fails, the token is used
    until it expires. Threads and event loops may share one source of tokens.

    @param fetch: returns a new token; called in a thread, never twice at the same time.
    """

    def __init__(
        self,
        fetch: Callable[[], Token],
        *,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - only the gateway has a World, with a clock of its own
        spawn: Spawn = in_a_thread,
    ) -> None:
        self._fetch, self._clock = fetch, clock
        self._flights: Flights[Token] = Flights(spawn)
        self._token: Token | None = None
        self._due = 0.0
        self._lock = threading.Lock()

    def get(self) -> str:
        """
        Return the token; if there is no valid token, wait in the calling thread until one is
        fetched.

        @raise AuthotronError: there is no valid token, and no new token can be fetched.
        """
        return self._current() or waiting.run(self._wait(waiting.blocking))

    async def get_async(self) -> str:
        """Do the same as L{get}, but wait in a coroutine of asyncio."""
        return self._current() or await self._wait(waiting.in_asyncio)

    def get_deferred(self) -> Deferred[str]:
        """Do the same as L{get}, but return a Deferred of Twisted."""
        return waiting.deferred(self._get_in_twisted())

    def refused(self, token: str) -> None:
        """
        Drop a cached token that another service has refused, so that the next call fetches a new
        token.
        """
        with self._lock:
            if self._token is not None and self._token.value == token:
                self._token = None

    async def _get_in_twisted(self) -> str:
        return self._current() or await self._wait(waiting.in_twisted)

    def _current(self) -> str | None:
        token, now = self._token, self._clock()
        if token is None or now >= token.expires:
            return None
        if now >= self._due:
            # If this renewal of the token fails, the next one is tried after half of the remaining
            # time.
            self._due = now + max(1.0, (token.expires - now) / 2)
            self._flights.start("token", self._renew)
        return token.value

    async def _wait(self, wait: waiting.Wait) -> str:
        return (await wait(self._flights, "token", self._renew, _TIMEOUT)).value

    def _renew(self) -> Token:
        found = self._fetch()
        now = self._clock()
        if now >= found.expires:
            raise Unavailable("the new token has expired already")
        with self._lock:
            self._token, self._due = found, now + (found.expires - now) / 2
        return found


def of_gateway(client: Client, authorization: str, *, realm: str | None = None) -> TokenSource:
    """
    Return a source of JWTs that the gateway mints for credentials of this service.

    @param authorization: the credentials, such as C{Bearer aot_...}.
    """

    def fetch() -> Token:
        found = client.authenticate_anew(authorization, realm=realm)
        return Token(found.token, float(found.user.claims["exp"]))

    return TokenSource(fetch)


def fixed(token: str) -> TokenSource:
    """Return a source of one API token, which is never renewed."""
    return TokenSource(lambda: Token(token, float("inf")))
