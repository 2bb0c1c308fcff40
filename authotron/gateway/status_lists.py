"""
The Token Status Lists of one process: each minted JWT refers to a place in a list, which says
whether the JWT still counts.

This module is imported only if C{events.status_list} is configured.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator
from random import SystemRandom
from typing import Any

from attrs import define, field

from authotron.jose.status_list import INVALID, VALID, Statuses
from authotron.model.authentication import Authentication, PresentedToken

_MOST_LISTS = 2
"""Maximum number of open Token Status Lists of one process, which then closes the oldest."""

_LEEWAY = 120.0
"""Seconds after the end of a JWT before its place in the list is given to another credential."""

_MOST_JTIS = 128
"""
Maximum number of JWTs of one credential that are remembered by their C{jti}; with the defaults 120
are minted in an hour.
"""

_random = SystemRandom()


@define
class _Place:
    """
    The credential to which a place (an index) in a Token Status List belongs.

    @ivar since: when the first JWT was minted that refers to the place.
    @ivar expires: when the last JWT that refers to the place expires.
    @ivar _jtis: the ids of the latest JWTs that refer to the place, in one string to save memory;
        if one of these JWTs is revoked, all of them are.
    """

    key: object = field(repr=False)
    _authentication: Authentication = field(repr=False)
    since: float
    expires: float
    _jtis: str = field(default="", init=False, repr=False)

    @property
    def authentication(self) -> Authentication:
        """The authentication of the credential, of whose token all its JWTs count as ancestors."""
        found = self._authentication
        token = found.token or PresentedToken(issued=self.since)
        return found._replace(
            token=token._replace(ancestors=(*token.ancestors, *self._jtis.split()))
        )

    def remember(self, jti: str) -> None:
        """Remember the id of a JWT that refers to the place."""
        self._jtis = " ".join([*self._jtis.split()[1 - _MOST_JTIS :], jti])


@define(eq=False)
class StatusList:
    """
    One Token Status List, whose places (indices) are given to credentials in random order.

    All JWTs that are minted for one credential refer to the same place. A place is given to another
    credential after the last of these JWTs has expired, so one list is enough for as many
    credentials as are in use at the same time.

    @ivar id: the random name of the Token Status List.
    @ivar ends: when the last JWT expires that refers to the list.
    """

    size: int
    id: str = field(factory=lambda: secrets.token_urlsafe(12), init=False)
    statuses: Statuses = field(init=False, repr=False)
    ends: float = field(default=0.0, init=False)
    _free: list[int] = field(init=False, repr=False)
    _places: dict[int, _Place] = field(factory=dict, init=False, repr=False)
    _known: dict[object, int] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.statuses = Statuses(self.size)
        self._free = _random.sample(range(self.size), self.size)

    def place_of(self, found: Authentication, jti: str, now: float, expires: float) -> int | None:
        """
        Return the place of a credential for which a JWT is minted, or C{None} if all places are
        taken by others.
        """
        key = _key(found)
        index = self._known.get(key)
        if index is None or self.statuses[index] != VALID:
            if not self._free:
                return None
            index = self._free.pop()
            self._known[key] = index
            self._places[index] = _Place(key, found, now, expires)
        place = self._places[index]
        place.expires = max(place.expires, expires)
        place.remember(jti)
        self.ends = max(self.ends, place.expires)
        return index

    def release(self, now: float) -> None:
        """Make the places free again that belong to credentials whose JWTs have all expired."""
        over = [at for at, each in self._places.items() if each.expires + _LEEWAY < now]
        _random.shuffle(over)
        for index in over:
            place = self._places.pop(index)
            if self._known.get(place.key) == index:
                del self._known[place.key]
            self.statuses[index] = VALID
        self._free[:0] = over

    def places(self) -> Iterator[tuple[int, Authentication]]:
        """
        Yield each place that belongs to a credential, and the credential; the gateway may give a
        place to another credential meanwhile.
        """
        for index, place in [*self._places.items()]:
            if self._places.get(index) is place:
                yield index, place.authentication


def _key(found: Authentication) -> object:
    """
    Return a key that is equal for authentications of one credential.

    Roles and attributes are part of the key, because a revocation may depend on them.
    """
    identity = found.identity
    attributes = frozenset(identity.attributes.items()) if identity.attributes else None
    token = found.token and (found.token.id, found.token.issued)
    return identity[:3], attributes, found.provider, token


@define(eq=False)
class StatusLists:
    """
    The Token Status Lists of this process.

    @ivar url: the URL below which the gateway publishes the Token Status Lists.
    @ivar closed: lists that are full, or whose process will not follow revocations any more; they
        are stored once more, and then forgotten.
    """

    url: str
    size: int
    _now: Callable[[], float]
    lists: list[StatusList] = field(init=False)
    closed: list[StatusList] = field(factory=list, init=False)
    _next_release: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.lists = [StatusList(self.size)]

    def uri(self, id_: str) -> str:
        """Return the URL of a Token Status List."""
        return f"{self.url}/statuslists/{id_}"

    def reference(self, found: Authentication, jti: str, expires: float) -> dict[str, Any]:
        """Return the claim C{status} of a JWT that is minted for an authenticated client."""
        index = self._place_of(found, jti, expires)
        current = self.lists[-1]
        return {"status_list": {"idx": index, "uri": self.uri(current.id)}}

    def _place_of(self, found: Authentication, jti: str, expires: float) -> int:
        now = self._now()
        index = self.lists[-1].place_of(found, jti, now, expires)
        if index is None:
            if now >= self._next_release:
                self._next_release = now + 1
                self.lists[-1].release(now)
            index = self.lists[-1].place_of(found, jti, now, expires)
        if index is None:
            self.lists.append(StatusList(self.size))
            while len(self.lists) > _MOST_LISTS:
                self.closed.append(self.lists.pop(0))
            index = self.lists[-1].place_of(found, jti, now, expires)
            assert index is not None
        return index

    def of_id(self, id_: str) -> StatusList | None:
        """
        Return the Token Status List of this process with an id, or C{None} if this process has no
        such list.
        """
        return next((each for each in self.lists if each.id == id_), None)

    def sweep(self, revoked: Callable[[Authentication], bool]) -> Generator[None, None, None]:
        """
        Mark the credentials that new revocations concern; the iterator yields after each
        credential, so that the work can be divided into pieces.
        """
        for each in [*self.lists]:
            for index, found in each.places():
                if each.statuses[index] == VALID and revoked(found):
                    each.statuses[index] = INVALID
                yield

    def sweep_anew(self, revoked: Callable[[Authentication], bool]) -> Generator[None, None, None]:
        """
        Mark all credentials anew, because revocations were withdrawn; the iterator yields after
        each credential.
        """
        for each in [*self.lists]:
            for index, found in each.places():
                each.statuses[index] = INVALID if revoked(found) else VALID
                yield
