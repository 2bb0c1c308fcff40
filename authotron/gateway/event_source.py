"""The events of one process, as they happen: revocations, and changes of policies and keys."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from authotron.gateway.event_log import Event, EventLog
from authotron.gateway.gateway import LiveGateway
from authotron.gateway.records import KindChanges, SharedRecords
from authotron.model.authentication import Authentication
from authotron.model.records import Record
from authotron.model.revocation import KIND, Revocation, of_record

LOOK = 0.5
"""Seconds between two looks whether the policies or the published keys have changed."""

_SHOWN = (
    "id",
    "token",
    "realm",
    "username",
    "claims",
    "created",
    "issued_before",
    "active_from",
    "until",
)
"""
The parts of a revocation that an event contains; the reason and the name of the operator who
revoked are left out.
"""


def revocation_event(revocation: Revocation) -> Event:
    """Return the event of a new revocation."""
    shown = {name: getattr(revocation, name) for name in _SHOWN}
    content = {name: value for name, value in shown.items() if value is not None}
    return _event("revocation", content, partial(is_concerned, revocation))


def is_concerned(revocation: Revocation, client: Authentication) -> bool:
    """
    Return whether a revocation names a client as the owner, or the token of the client or a token
    that it was derived from.
    """
    if revocation.owner == client.identity[:2]:
        return True
    token = client.token
    if token is None or revocation.token is None:
        return False
    return revocation.token == token.id or revocation.token in token.ancestors


def _readable(record: Record) -> Revocation | None:
    """Return the revocation in a record, or C{None} if a newer version has written the record."""
    try:
        return of_record(record)
    except ValueError:
        return None


def _event(
    name: str, content: Mapping[str, Any], concerns: Callable[[Authentication], bool] | None = None
) -> Event:
    text = json.dumps(content, separators=(",", ":"))
    return Event(name, text) if concerns is None else Event(name, text, concerns)


def _do_nothing() -> None:
    """Do nothing, as the gateway follows no revocations."""


@define(eq=False)
class EventSource:
    """
    Adds revocations, and changes of policies and keys, to the log of events for the streams of
    C{GET /events}.

    @ivar log: the latest events.
    @ivar listeners: functions that are called after events were added to the log.
    @ivar revocations: the revocations that this process knows, by id.
    """

    _serving: LiveGateway[Any]
    _clock: IReactorTime
    log: EventLog = field(factory=lambda: EventLog(secrets.token_urlsafe(9)), init=False)
    listeners: dict[Callable[[], object], None] = field(factory=dict, init=False)
    revocations: dict[str, Revocation] = field(factory=dict, init=False, repr=False)
    _gateway: object = field(init=False)
    _records: SharedRecords | None = field(default=None, init=False)
    _end_following: Callable[[], None] = field(default=_do_nothing, init=False)
    _policy: Event = field(init=False)
    _keys: Event = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._gateway = self._serving.gateway
        self._policy, self._keys = self._policy_event(), self._keys_event()

    def start(self) -> None:
        """Follow the revocations, and look regularly at the policies and the published keys."""
        self._follow_records()
        self._clock.callLater(LOOK, self._look_again)

    def _follow_records(self) -> None:
        """Follow the revocations in the token store in use, which a reload may have replaced."""
        records = self._serving.records
        if records is self._records:
            return
        self._end_following()
        self._records, self._end_following = records, _do_nothing
        self.apply(KindChanges(removed=[*self.revocations]))
        if records is not None:
            self._end_following = records.subscribe(KIND, self.apply)

    def _look_again(self) -> None:
        self.look()
        self._clock.callLater(LOOK, self._look_again)

    def look(self) -> None:
        """Add events if the policies or the published keys have changed since the last look."""
        self._follow_records()
        found = []
        policy, keys = self._policy_event(), self._keys_event()
        is_reloaded = self._gateway is not self._serving.gateway
        if policy != self._policy or (is_reloaded and self._serving.gateway.enforcement):
            found.append(policy)
        if keys != self._keys:
            found.append(keys)
        self._gateway, self._policy, self._keys = self._serving.gateway, policy, keys
        self._add(found)

    def apply(self, changes: KindChanges) -> None:
        """Add events for revocations that were added, replaced or withdrawn, or have ended."""
        found = [self._withdraw(id_) for id_ in changes.removed if id_ in self.revocations]
        for record in changes.records:
            each = _readable(record)
            if each is not None and self.revocations.get(each.id) != each:
                self.revocations[each.id] = each
                found.append(revocation_event(each))
        self._add(found)

    def _withdraw(self, id_: str) -> Event:
        known = self.revocations.pop(id_)
        return _event("revocation-withdrawn", {"id": id_}, partial(is_concerned, known))

    def state(self) -> Iterator[Event]:
        """
        Yield events that describe the present state, for a client that cannot resume: all
        revocations, the policies and the keys.
        """
        now = self._clock.seconds()
        for each in [*self.revocations.values()]:
            if each.until is None or now < each.until:
                yield revocation_event(each)
        yield self._policy
        yield self._keys

    def _add(self, events: Iterable[Event]) -> None:
        """Add events to the log, and then call the listeners once."""
        newest = self.log.newest
        for each in events:
            self.log.append(each)
        if self.log.newest != newest:
            for listener in [*self.listeners]:
                listener()

    def _policy_event(self) -> Event:
        status = self._serving.policy_status
        return _event("policy", {"version": None if status is None else status.version})

    def _keys_event(self) -> Event:
        published = self._serving.gateway.minter.jwks["keys"]
        return _event("keys", {"kids": [each["kid"] for each in published]})
