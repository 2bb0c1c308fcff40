"""What errors of MongoDB and of its driver mean to an operator."""

from __future__ import annotations

from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    NotPrimaryError,
    OperationFailure,
    WriteConcernError,
)

from authotron.model.errors import Unavailable
from authotron.net import reasons
from authotron.net.reasons import Reason

MOVED = frozenset({91, 189, 10058, 10107, 11600, 11602, 13435, 13436})
"""Error codes of MongoDB if the server is not the primary, or is shutting down, and did nothing."""

_UNAUTHORIZED = 13

_REASONS = {
    11: (Reason.WRONG_LOGIN, "the server does not know the user"),
    13: (Reason.NOT_ALLOWED, "the user needs the role readWrite on store.database"),
    18: (Reason.WRONG_LOGIN, "the user must have the mechanism SCRAM-SHA-1"),
    50: (Reason.TIMED_OUT, "the server did not finish the operation in time"),
    64: (Reason.TIMED_OUT, "too few members confirmed the change (w)"),
    91: (Reason.NOT_PRIMARY, "the server is shutting down"),
    100: (Reason.BAD_ANSWER, "the replica set has too few members (w)"),
    189: (Reason.NOT_PRIMARY, "the server stepped down"),
    10058: (Reason.NOT_PRIMARY, "the server accepts no changes"),
    10107: (Reason.NOT_PRIMARY, "the server accepts no changes"),
    11600: (Reason.NOT_PRIMARY, "the server is shutting down"),
    11602: (Reason.NOT_PRIMARY, "the server stepped down"),
    13435: (Reason.NOT_PRIMARY, "the server is a secondary member of the replica set"),
    13436: (Reason.NOT_PRIMARY, "the server is no member of the replica set yet"),
    14031: (Reason.NO_SPACE, "the disk of the server is full"),
}
"""The reason and a detail for each error code of MongoDB servers."""


class NotPrimary(Unavailable):
    """Raised if a MongoDB server executed nothing, because it is not the primary any more."""


class Disconnected(Unavailable):
    """Raised if the connection was lost; whether the operation was executed is unknown."""


class NotAllowed(Unavailable):
    """Raised if the database user may not run an operation, or is not logged in."""


def of_answer(error: OperationFailure) -> Unavailable:
    """
    Convert an error response of MongoDB to L{Unavailable}, without its text, which may contain
    secrets.
    """
    code = error.code or 0
    reason, detail = _REASONS.get(code, (Reason.BAD_ANSWER, "the operation was refused"))
    # After a WriteConcernError the change is on the primary, but MongoDB may still roll it back.
    if isinstance(error, WriteConcernError):
        return Unavailable(f"MongoDB: {reason}: too few members confirmed the change (code {code})")
    kind = NotPrimary if code in MOVED else NotAllowed if code == _UNAUTHORIZED else Unavailable
    return kind(f"MongoDB: {reason}: {detail} (code {code})")


def of_connection(error: BaseException) -> Unavailable:
    """
    Convert an exception because of which a connection or an operation failed to
    L{Unavailable}.
    """
    if isinstance(error, NotPrimaryError):
        return NotPrimary(f"MongoDB: {Reason.NOT_PRIMARY}: the server accepts no changes")
    kind = Disconnected if isinstance(error, AutoReconnect) else Unavailable
    return kind(f"MongoDB cannot be reached: {describe(error)}")


def describe(error: BaseException) -> str:
    """Describe why a connection cannot be used, without texts that may hold secrets."""
    if isinstance(error, OperationFailure):
        return str(of_answer(error)).removeprefix("MongoDB: ")
    if isinstance(error, ConfigurationError):
        return "the server is too old, or is not in the replica set that store.uri names"
    if reasons.reason_of(error) is None and "not master" in str(error):
        return f"{Reason.NOT_PRIMARY}"
    if reasons.reason_of(error) is None and not isinstance(error, Unavailable):
        return str(Reason.CONNECTION_LOST)
    return reasons.describe(error)
