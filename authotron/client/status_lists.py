"""
Token Status Lists of the gateway: whether a JWT still counts, without a request for each JWT
(draft-ietf-oauth-status-list).
"""

from __future__ import annotations

import threading
import time
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authotron.client import waiting
from authotron.client.errors import InvalidToken, Unavailable
from authotron.client.flights import Flights, Spawn, in_a_thread

_VALID = 0
_MAX_LISTS = 64
_MAX_BYTES = 4 * 1024 * 1024
_TIMEOUT = 5.0

Fetch = Callable[[str], Mapping[str, Any]]
"""
A function that fetches the status list at a URL, and returns the claims of the JWT of the list
after it has verified the signature.

@raise Unavailable: the status list cannot be fetched, or its JWT is not valid.
"""


@dataclass(frozen=True)
class _List:
    """
    A fetched list.

    @ivar due: when the status list is fetched again.
    @ivar ends: when the status list must not be used any more.
    """

    bits: int
    packed: bytes = field(repr=False)
    due: float
    ends: float

    def status(self, index: int) -> int:
        place, shift = divmod(index * self.bits, 8)
        if place >= len(self.packed):
            raise InvalidToken("revoked", "the JWT refers to a place behind the end of the list")
        return (self.packed[place] >> shift) & ((1 << self.bits) - 1)


class StatusLists:
    """
    A cache of the Token Status Lists to which JWTs refer.

    A status list is used for as many seconds as its C{ttl} says; after that the next JWT that
    refers to the list waits until the list is fetched again. If fetching fails, the known status
    list is used until its C{exp}.

    @param prefix: the beginning of the URLs of all lists; a JWT that refers to another place is
        refused.
    """

    def __init__(
        self,
        prefix: str,
        fetch: Fetch,
        *,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - only the gateway has a World, with a clock of its own
        spawn: Spawn = in_a_thread,
    ) -> None:
        self._prefix, self._fetch, self._clock = prefix.rstrip("/") + "/", fetch, clock
        self._flights: Flights[_List] = Flights(spawn)
        self._lists: dict[str, _List] = {}
        self._lock = threading.Lock()

    def check_cached(self, claims: Mapping[str, Any]) -> bool:
        """
        Check a JWT without waiting, if its status list is cached.

        @return: whether the JWT was checked.

        @raise InvalidToken: the JWT has been revoked, or refers to no list of the gateway.
        """
        uri, index = self._reference(claims)
        known = self._lists.get(uri)
        if uri and (known is None or self._clock() >= known.due):
            return False
        if known is not None:
            _check(known.status(index))
        return True

    async def check(self, claims: Mapping[str, Any], wait: waiting.Wait) -> None:
        """
        Check a JWT, and wait for its status list if necessary.

        @raise InvalidToken: the JWT has been revoked, or refers to no list of the gateway.
        @raise Unavailable: the list cannot be fetched.
        """
        uri, index = self._reference(claims)
        if uri:
            found = await wait(self._flights, uri, lambda: self._refreshed(uri), _TIMEOUT)
            _check(found.status(index))

    def forget(self) -> None:
        """Fetch each status list again when it is needed next, because credentials were revoked."""
        with self._lock:
            self._lists = {}

    def _reference(self, claims: Mapping[str, Any]) -> tuple[str, int]:
        """
        Return the URL of the status list, and the index in the list, to which a JWT refers; the URL
        may be empty.
        """
        status = claims.get("status")
        if status is None:
            return "", 0
        found = status.get("status_list") if isinstance(status, dict) else None
        uri, index = (found.get("uri"), found.get("idx")) if isinstance(found, dict) else ("", 0)
        is_place = isinstance(index, int) and index >= 0
        if is_place and isinstance(uri, str) and uri.startswith(self._prefix):
            return uri, int(index or 0)
        raise InvalidToken("claims", "the claim status of the JWT names no list of the gateway")

    def _refreshed(self, uri: str) -> _List:
        now, known = self._clock(), self._lists.get(uri)
        if known is not None and now < known.due:
            return known
        try:
            found = _read(self._fetch(uri), uri, now)
        except Unavailable:
            if known is None or now >= known.ends:
                raise
            return known
        with self._lock:
            while len(self._lists) >= _MAX_LISTS:
                self._lists.pop(next(iter(self._lists)))
            self._lists[uri] = found
        return found


def _check(status: int) -> None:
    if status != _VALID:
        raise InvalidToken("revoked")


def _read(claims: Mapping[str, Any], uri: str, now: float) -> _List:
    """
    Read the claims of the JWT that contains a list.

    @raise Unavailable: the JWT is not the list at this URL, has expired, or is malformed.
    """
    expires, issued = claims.get("exp"), claims.get("iat")
    try:
        content = claims["status_list"]
        bits, packed = content["bits"], _unpacked(content["lst"])
        due = now + float(claims.get("ttl", 0))
        ends = due if expires is None else float(expires)
    except (LookupError, TypeError, ValueError, zlib.error):
        raise Unavailable(f"the status list at {uri} is malformed") from None
    if claims.get("sub") != uri or bits not in (1, 2, 4, 8) or not isinstance(issued, (int, float)):
        raise Unavailable(f"the status list at {uri} is malformed")
    if now >= ends:
        raise Unavailable(f"the status list at {uri} has expired")
    return _List(bits, packed, min(due, ends), ends)


def _unpacked(text: str) -> bytes:
    """Decompress a status list, up to a limit of its size."""
    unpacking = zlib.decompressobj()
    packed = unpacking.decompress(urlsafe_b64decode(text + "=" * (-len(text) % 4)), _MAX_BYTES)
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise ValueError("the list is too long, or incomplete")
    return packed
