"""
Ask the gateway who sent a request, for services that have no proxy in front which
asks the gateway.
"""

from __future__ import annotations

import hmac
import os
import random
import re
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from authotron.client import waiting
from authotron.client.bearer import bearer_token
from authotron.client.errors import (
    Forbidden,
    InvalidToken,
    NoToken,
    Unauthenticated,
    Unavailable,
)
from authotron.client.flights import Flights, Spawn
from authotron.client.http import Answer, Http
from authotron.client.user import User
from authotron.client.verifier import Verifier

if TYPE_CHECKING:  # Twisted is optional: services without it have no Deferred.
    from twisted.internet.defer import Deferred

_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_TRANSIENT = frozenset({502, 503, 504})
"""Statuses after which the same request may succeed."""

_BACK_OFF = 0.1
"""Seconds before the second attempt; each further attempt waits twice as long, with jitter."""

_MAX_THREADS = 16
_PRINTABLE = re.compile(r"[\t -~]*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True)
class Authenticated:
    """
    A user, and the JWT that the gateway minted for them.

    @ivar token: the JWT, to be sent to other services in the name of the user.
    """

    user: User
    token: str = field(repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """The request headers that tell another service who the user is."""
        return {"Authorization": f"Bearer {self.token}"}


class Client:
    """
    Asks the gateway who sent a request, and caches the gateway's answers.

    If several callers ask the gateway with the same credentials at the same time, only one request
    is sent. A user is remembered for C{ttl} seconds, and never longer than the user's JWT is valid;
    a refusal or an outage is not remembered. A request to the gateway that fails because of an
    outage is repeated, with growing pauses, as long as the caller's time allows.

    A service should create one client at its start, and use it as long as it runs. Threads and
    event loops may share one client.

    @param url: the URL of the gateway.
    @param verifier: verifies the JWT that the gateway answers with.
    @param ttl: seconds for which a user is remembered; 0 asks the gateway every time.
    @param max_users: the maximum number of users that are remembered.
    @param timeout: seconds for one request to the gateway, with all its attempts.
    @param attempts: how many times a request to the gateway is sent at most.
    """

    def __init__(
        self,
        url: str,
        verifier: Verifier,
        *,
        ttl: float = 60.0,
        max_users: int = 10_000,
        timeout: float = 5.0,
        attempts: int = 3,
        tls: ssl.SSLContext | None = None,
        ask: Callable[[str, Mapping[str, str], float], Answer] | None = None,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - only the gateway has a World, with a clock of its own
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,  # noqa: TID251 - in a thread of its own
        jitter: Callable[[], float] = random.random,
        spawn: Spawn | None = None,
    ) -> None:
        parts = urlsplit(url.rstrip("/"))
        self._path = f"{parts.path}/authenticate"
        self._ask = ask or Http(f"{parts.scheme}://{parts.netloc}", tls).get
        self._verifier, self._timeout, self._attempts = verifier, timeout, attempts
        self._clock, self._monotonic = clock, monotonic
        self._sleep, self._jitter = sleep, jitter
        self._users = _Users(ttl, max_users)
        self._flights: Flights[Authenticated] = Flights(spawn or _Pool().submit)
        self._secret = os.urandom(32)

    def authenticate(
        self,
        authorization: str | None,
        *,
        realm: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Authenticated:
        """
        Return the user whom the gateway recognises by a value of the header C{Authorization}.

        @param authorization: the value of the header C{Authorization}, with any scheme that the
            gateway accepts.
        @param realm: the realm whose providers the gateway should ask, instead of all.
        @param headers: further headers for the gateway, such as C{X-Forwarded-For}.

        @raise NoToken: there is no C{Authorization} header.
        @raise InvalidToken: the gateway refuses the credentials.
        @raise Forbidden: the credentials are valid, but do not allow this request.
        @raise Unavailable: the gateway could not decide about the credentials.
        """
        return waiting.run(self._find(authorization, realm, headers, waiting.blocking))

    async def authenticate_async(
        self,
        authorization: str | None,
        *,
        realm: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Authenticated:
        """Do the same as L{authenticate}, but wait in a coroutine of asyncio."""
        return await self._find(authorization, realm, headers, waiting.in_asyncio)

    def authenticate_deferred(
        self,
        authorization: str | None,
        *,
        realm: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Deferred[Authenticated]:
        """Do as L{authenticate}, and return a Deferred of Twisted."""
        return waiting.deferred(self._find(authorization, realm, headers, waiting.in_twisted))

    def authenticate_anew(self, authorization: str, *, realm: str | None = None) -> Authenticated:
        """Do the same as L{authenticate}, but ask the gateway even if the user is cached."""
        sent = _question(authorization, realm, {})
        return self._answer(self._digest(sent), sent, self._monotonic() + self._timeout)

    async def _find(
        self,
        authorization: str | None,
        realm: str | None,
        headers: Mapping[str, str] | None,
        wait: waiting.Wait,
    ) -> Authenticated:
        if not authorization:
            raise NoToken("the request has no credentials")
        sent = _question(authorization, realm, headers or {})
        key = self._digest(sent)
        known = self._users.get(key, self._monotonic(), self._clock())
        if known is not None:
            return known
        # The time limit also covers work that still waits for a free thread.
        ends = self._monotonic() + self._timeout
        work = partial(self._answer, key, sent, ends)
        return await wait(self._flights, key, work, self._timeout + 1)

    def _digest(self, sent: Mapping[str, str]) -> bytes:
        """
        Return the key under which the answer to a request is cached: a hash, so that the secret
        credentials are not kept.
        """
        texts = [text.encode("utf-8", "surrogatepass") for each in sent.items() for text in each]
        prefixed = b"".join(b"%d:%b" % (len(text), text) for text in texts)
        return hmac.digest(self._secret, prefixed, "sha256")

    def _answer(self, key: bytes, sent: Mapping[str, str], ends: float) -> Authenticated:
        """Ask the gateway until it decides, or no time is left for a further attempt."""
        attempt = 1
        while True:
            left = ends - self._monotonic()
            if left <= 0:
                raise Unavailable("no thread was free to ask the gateway in time")
            try:
                found = self._outcome(self._ask(self._path, sent, left))
            except Unavailable as outage:
                pause = self._pause(attempt, outage)
                is_last = isinstance(outage, _Final) or attempt >= self._attempts
                if is_last or self._monotonic() + pause >= ends:
                    raise
            else:
                self._users.put(key, found, self._monotonic())
                return found
            self._sleep(pause)
            attempt += 1

    def _pause(self, attempt: int, outage: Unavailable) -> float:
        """
        Return how many seconds to wait before the next attempt, a random number, so that services
        do not all ask the gateway at the same time.
        """
        longest: float = _BACK_OFF * 2**attempt
        asked = outage.retry_after if isinstance(outage, _Busy) else 0
        return max(longest * (0.5 + self._jitter() / 2), asked)

    def _outcome(self, answer: Answer) -> Authenticated:
        if answer.status == _OK:
            return self._authenticated(answer)
        if answer.status == _UNAUTHORIZED:
            challenge = ", ".join(answer.headers.get_all("WWW-Authenticate", ())) or "Bearer"
            raise InvalidToken("refused", challenge=challenge)
        if answer.status == _FORBIDDEN:
            raise Forbidden("the gateway does not allow the request with these credentials")
        message = f"the gateway answers with status {answer.status}"
        if answer.status in _TRANSIENT:
            raise _Busy(message, max(1, _seconds(answer.headers.get("Retry-After"))))
        raise _Final(message)

    def _authenticated(self, answer: Answer) -> Authenticated:
        """
        Verify the JWT in the gateway's answer; if it is not valid, the gateway or this service is
        misconfigured, and the client is not to blame.
        """
        try:
            token = bearer_token(answer.headers.get_all("Authorization", ()))
            return Authenticated(self._verifier.verify(token), token)
        except Unauthenticated as error:
            raise Unavailable(f"the JWT of the gateway is not accepted: {error}") from None


def _question(
    authorization: str, realm: str | None, headers: Mapping[str, str]
) -> Mapping[str, str]:
    """
    Return the headers that are sent to the gateway.

    @raise InvalidToken: a client sent a value that cannot be a header.
    """
    if not _PRINTABLE.fullmatch(authorization):
        raise InvalidToken("malformed", "the credentials have a character that is not printable")
    sent = {"Authorization": authorization, **headers}
    if realm is not None:
        sent["X-Auth-Realm"] = realm.encode("utf-8", "surrogateescape").decode("latin-1")
    if any(_CONTROL.search(value) for value in sent.values()):
        raise InvalidToken("malformed", "a header for the gateway has a control character")
    return sent


class _Busy(Unavailable):
    """The gateway answers that it cannot decide, and when the request may be repeated."""


class _Final(Unavailable):
    """The gateway answers with an error that would be the same if the request were sent again."""


class _Users:
    """A bounded cache of users, each kept until its time to live or the JWT of the user ends."""

    def __init__(self, ttl: float, size: int) -> None:
        self._ttl, self._size = ttl, size
        self._known: OrderedDict[bytes, tuple[float, Authenticated]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes, monotonic: float, now: float) -> Authenticated | None:
        with self._lock:
            if key not in self._known:
                return None
            ends, found = self._known[key]
            if monotonic < ends and now < found.user.claims.get("exp", 0):
                self._known.move_to_end(key)
                return found
            del self._known[key]
            return None

    def put(self, key: bytes, found: Authenticated, monotonic: float) -> None:
        if self._ttl <= 0:
            return
        with self._lock:
            self._known[key] = (monotonic + self._ttl, found)
            while len(self._known) > self._size:
                self._known.popitem(last=False)


class _Pool:
    """A thread pool of limited size; after a fork, the child process starts its own threads."""

    def __init__(self) -> None:
        self._lock, self._process = threading.Lock(), 0
        self._threads: ThreadPoolExecutor | None = None

    def submit(self, function: Callable[[], Any]) -> None:
        with self._lock:
            if self._threads is None or self._process != os.getpid():
                self._process = os.getpid()
                self._threads = ThreadPoolExecutor(_MAX_THREADS, "authotron-client")
            self._threads.submit(function)


def _seconds(value: str | None) -> int:
    """
    Return the number of seconds in a C{Retry-After} header, or 0 if the header is missing, is a
    date or is malformed.
    """
    return int(value) if value is not None and value.isascii() and value.isdigit() else 0
