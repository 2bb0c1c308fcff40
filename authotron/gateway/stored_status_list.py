"""
A Token Status List in the token store, by which every gateway can publish the lists of all
processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from authotron.jose.status_list import encoded
from authotron.model import strict_json
from authotron.model.records import Record
from authotron.model.revocation import Revocation

KIND = "status-list"
"""The kind of the records in which the token store keeps the lists."""

LEASE = 30.0
"""Seconds after which a process stores its lists again, to show that it applies revocations."""

_ABANDONED = 3 * LEASE
"""Seconds after which a status list counts as abandoned if its process has not stored it again."""

_SKEW = 60.0
"""Seconds by which the clocks of two gateways may differ."""


@frozen
class StoredStatusList:
    """
    A Token Status List as a process has stored it in the token store.

    @ivar seen: the time up to which all revocations are applied to the list.
    @ivar size: the number of statuses.
    """

    id: str
    status_list: Mapping[str, Any]
    seen: float
    size: int

    def record(self, ends: float) -> Record:
        """Return the record that keeps the list until the last JWT that refers to it expires."""
        content = {"status_list": self.status_list, "seen": self.seen, "size": self.size}
        return Record(KIND, self.id, json.dumps(content), ends)

    def published(self, known: Iterable[Revocation], now: float) -> Mapping[str, Any]:
        """
        Return the claim C{status_list} to publish.

        A process that has ended applies no further revocations to its list, and no other process
        knows the credentials in it. So after any further revocation no credential in an abandoned
        list counts as valid; clients get new JWTs from the gateway.
        """
        if now < self.seen + _ABANDONED:
            return self.status_list
        limit = self.seen - _SKEW
        if any(each.created > limit or (each.active_from or 0.0) > limit for each in known):
            return encoded(b"\xff" * -(-self.size // 8))
        return self.status_list


def of_record(record: Record) -> StoredStatusList:
    """
    Return the list in a record.

    @raise ValueError: the record contains no list.
    """
    found = strict_json.loads(record.content.encode())
    try:
        status_list, seen, size = found["status_list"], float(found["seen"]), int(found["size"])
    except (TypeError, LookupError) as error:
        raise ValueError("the record is malformed") from error
    return StoredStatusList(record.id, status_list, seen, size)
