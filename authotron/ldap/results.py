"""LDAP result codes, and the exceptions for servers that fail."""

from __future__ import annotations

from authotron.ldap.decoding import Result
from authotron.model.errors import TimedOut, Unavailable

SUCCESS, SIZE_LIMIT, NO_SUCH_OBJECT, INVALID_CREDENTIALS, UNWILLING = 0, 4, 32, 49, 53
"""Result codes of RFC 4511 that the client treats specially."""

BUSY = (51, 52)
"""The LDAP result codes C{busy} and C{unavailable}: another server may still answer."""

STALE = (1, 8, 50, UNWILLING, 80)
"""
Result codes of a search whose cause may be merely that the bind of the connection is no longer
valid, so that a new connection may work.

Active Directory answers C{operationsError} on a connection whose bind is no longer valid.
"""

_DESCRIPTIONS = {
    1: "operations error", 2: "protocol error", 3: "time limit exceeded", 4: "size limit exceeded",
    7: "method not supported", 8: "stronger authentication required", 10: "referral",
    11: "limit exceeded", 13: "confidentiality required", 19: "constraint violation",
    32: "no such object", 34: "invalid DN", 48: "inappropriate authentication",
    49: "invalid credentials", 50: "insufficient rights", 51: "busy", 52: "unavailable",
    53: "unwilling to perform",
}  # fmt: skip


class ServerFault(Unavailable):
    """One LDAP server of a directory failed; another server may still answer."""


class Disconnected(ServerFault):
    """The connection to the LDAP server is closed."""


class AnswerTimeout(ServerFault, TimedOut):
    """The LDAP server did not answer a request within the timeout."""


class AnswerTooLarge(ServerFault):
    """
    An answer of an LDAP server exceeds a limit of size; the server stays in use, because other
    answers may fit.
    """


class ServerBusy(ServerFault):
    """
    The LDAP server says that it is busy or unavailable; another server or connection
    may work.
    """


class ConnectionStale(Unavailable):
    """The LDAP server refuses a search, perhaps because the connection was bound too long ago."""


class NoVerdict(ServerFault):
    """
    The LDAP server could not decide about one bind; the server stays in use, because other binds
    may work.
    """


class BindRefused(ServerFault):
    """The LDAP server refuses the password of the service account (C{bind_dn})."""


def describe(result: Result) -> str:
    """Describe an LDAP result for the log: the name of its code, and the server's message."""
    name = _DESCRIPTIONS.get(result.code, f"result {result.code}")
    return f"{name} ({result.message})" if result.message else name
