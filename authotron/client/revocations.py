"""
What the gateway has revoked, for backends with connections that stay open longer than a request,
such as WebSockets.

::

    revocations = Revocations(verifier)
    listener = EventListener("https://auth.example.org", source.authorization, revocations.apply)
    listener.start()
    ...
    user = verifier.authenticate(fields)
    watch = revocations.watch(user, close_the_socket)
    ...
    watch.end()
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authotron.client.event_parser import ServerEvent
from authotron.client.user import User

_MAX_REVOCATIONS = 100_000
_SKEW = 5.0
"""Seconds by which the clocks of two gateways may differ."""

_log = logging.getLogger("authotron.client")

Verdict = bool | None
"""Whether a revocation concerns a user; C{None} if only the gateway can decide this."""


@dataclass(eq=False)
class Watch:
    """
    A function that is called once if a user is revoked.

    @ivar user: the user to whom an open connection belongs.
    """

    user: User
    on_revoked: Callable[[], object] = field(repr=False)
    _owner: Revocations = field(repr=False)

    def end(self) -> None:
        """Stop watching the user, because the connection of the user is closed."""
        self._owner.end(self)


class Revocations:
    """
    Follows the revocations of the gateway, and ends the connections of revoked users.

    A JWT does not contain everything that a revocation may name: it lacks the id of the token by
    which its user has authenticated, and some of the claims. If a revocation may concern a user,
    but only the gateway can decide this, the connection of the user is ended as well, unless
    C{when_unsure} is C{"keep"}: the client connects again, and the gateway decides.

    @param when_unsure: C{"end"} or C{"keep"}: what happens to a connection if only the gateway can
        decide whether its user is revoked.
    @param call: calls a function in the thread of the service, such as
        C{loop.call_soon_threadsafe} of asyncio or C{reactor.callFromThread} of Twisted; by default
        functions are called in the thread of the listener.
    """

    def __init__(
        self,
        *,
        when_unsure: str = "end",
        call: Callable[[Callable[[], object]], object] | None = None,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - only the gateway has a World, with a clock of its own
    ) -> None:
        if when_unsure not in ("end", "keep"):
            raise ValueError('when_unsure is "end" or "keep"')
        self._ends_unsure = when_unsure == "end"
        self._call, self._clock = call, clock
        self._known: dict[str, Mapping[str, Any]] = {}
        self._stale: set[str] = set()
        self._watches: dict[Watch, None] = {}
        self._lock = threading.Lock()

    def watch(self, user: User, on_revoked: Callable[[], object]) -> Watch:
        """
        Call a function as soon as a user is revoked, and at once if the user is revoked already.

        @param user: the user whom a C{Verifier} has returned.
        """
        found = Watch(user, on_revoked, self)
        with self._lock:
            is_revoked = any(self._concerns(each, user) for each in self._known.values())
            if not is_revoked:
                self._watches[found] = None
        if is_revoked:
            self._notify([found])
        return found

    def end(self, watch: Watch) -> None:
        """Stop watching a user."""
        with self._lock:
            self._watches.pop(watch, None)

    def is_revoked(self, user: User) -> bool:
        """Return whether a known revocation concerns a user, or may concern the user."""
        with self._lock:
            return any(self._concerns(each, user) for each in self._known.values())

    def apply(self, event: ServerEvent) -> None:
        """Apply one event of the gateway; the listener to the events calls this method."""
        if event.name == "reset":
            self._stale = set(self._known)
        elif event.name == "ready":
            with self._lock:
                for id_ in self._stale:
                    self._known.pop(id_, None)
            self._stale = set()
        elif event.name in ("revocation", "revocation-withdrawn"):
            content = _content(event.data)
            if content is None:
                _log.warning("the gateway sent an event that is not understood: %s", event.name)
                return
            id_ = content["id"]
            self._stale.discard(id_)
            if event.name == "revocation":
                self._add(id_, content)
            else:
                with self._lock:
                    self._known.pop(id_, None)

    def begin_due(self) -> None:
        """End the connections of users whose revocation counts from a time that has come."""
        now = self._clock()
        with self._lock:
            due = [each for each in self._known.values() if 0 < each.get("active_from", 0) <= now]
        for each in due:
            self._end_concerned(each)

    def _add(self, id_: str, revocation: Mapping[str, Any]) -> None:
        with self._lock:
            is_known = self._known.get(id_) == revocation
            self._prune()
            self._known[id_] = revocation
        if not is_known:
            self._end_concerned(revocation)

    def _prune(self) -> None:
        """Drop revocations that have ended, if there are very many."""
        if len(self._known) >= _MAX_REVOCATIONS:
            now = self._clock()
            left = {id_: each for id_, each in self._known.items() if each.get("until", now) >= now}
            self._known = dict([*left.items()][-_MAX_REVOCATIONS + 1 :])

    def _end_concerned(self, revocation: Mapping[str, Any]) -> None:
        with self._lock:
            concerned = [each for each in self._watches if self._concerns(revocation, each.user)]
            for each in concerned:
                del self._watches[each]
        self._notify(concerned)

    def _notify(self, watches: list[Watch]) -> None:
        for each in watches:
            if self._call is not None:
                self._call(each.on_revoked)
                continue
            try:
                each.on_revoked()
            except Exception:  # noqa: BLE001 - the function of the service may raise anything
                _log.exception("ending the connection of a revoked user failed")

    def _concerns(self, revocation: Mapping[str, Any], user: User) -> bool:
        found = concerns(revocation, user, self._clock())
        return self._ends_unsure if found is None else found


def _content(data: str) -> Mapping[str, Any] | None:
    """Return the content of an event about a revocation, or C{None} if it is malformed."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        return None
    times = (content.get(name, 0) for name in ("created", "active_from", "until"))
    return content if all(isinstance(each, (int, float)) for each in times) else None


def concerns(revocation: Mapping[str, Any], user: User, now: float) -> Verdict:
    """
    Return whether a revocation concerns a user, or C{None} if only the gateway can decide this.

    The gateway mints no JWT for a user who is revoked. So a revocation does not concern a JWT that
    was minted after the revocation was made.
    """
    begins = max(revocation.get("created", 0), revocation.get("active_from", 0))
    if now < revocation.get("active_from", 0) or now >= revocation.get("until", now + 1):
        return False
    minted = user.claims.get("iat", 0)
    if minted > begins + _SKEW:
        return False
    realm, username = revocation.get("realm"), revocation.get("username")
    if realm is not None and username is not None:
        if (realm, username) != (user.realm, user.username):
            return None if "act" in user.claims else False
        if "token" not in revocation:
            return True
    token = revocation.get("token")
    if token is not None:
        named = (user.claims.get("jti"), user.claims.get("parent"))
        return True if token in named else None
    return None
