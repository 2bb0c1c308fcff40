"""The words by which log and error messages name failures of remote services, files and sockets."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from enum import StrEnum

from OpenSSL import SSL
from twisted.internet import error as twisted_error

from authotron.model.errors import Unavailable


class Reason(StrEnum):
    """
    The kinds of failures, as the log, C{/ready}, C{doctor}, C{explain} and error messages name
    them.

    An error message consists of the name of what failed, the reason, which is a member of this
    class, and details, separated by colons, as in C{ldaps://directory.example.org: certificate
    expired: on 2026-01-31}.
    """

    UNREACHABLE = "unreachable"
    CONNECTION_REFUSED = "connection refused"
    HOST_NOT_FOUND = "host name not found"
    CONNECTION_LOST = "connection lost"
    CONNECTION_CLOSED = "the server closed the connection"
    TIMED_OUT = "timed out"
    CERTIFICATE_EXPIRED = "certificate expired"
    CERTIFICATE_NOT_YET_VALID = "certificate not valid yet"
    CERTIFICATE_OF_ANOTHER_NAME = "certificate of another name"
    CERTIFICATE_OF_UNKNOWN_ISSUER = "certificate of an unknown issuer"
    CERTIFICATE_SELF_SIGNED = "certificate is self-signed"
    CERTIFICATE_UNUSABLE = "unusable certificate"
    TLS_FAILED = "TLS failed"
    NOT_ALLOWED = "not allowed"
    WRONG_LOGIN = "wrong user name or password"
    BAD_ANSWER = "bad answer"
    READ_ONLY = "read-only"
    NOT_PRIMARY = "not the primary"
    STARTING = "still starting"
    NOT_FOUND = "not found"
    ADDRESS_TAKEN = "address already in use"
    NO_SUCH_ADDRESS = "not an address of this machine"
    NO_SPACE = "no space left"
    TOO_MANY_FILES = "too many open files"
    DEFECT = "internal error"


NOT_CONNECTED = (
    twisted_error.ConnectError,
    twisted_error.ConnectionClosed,
    OSError,
    SSL.Error,
)
"""The types of exceptions that are raised when connecting fails, or a connection ends."""

_BY_TYPE: tuple[tuple[type[BaseException], Reason], ...] = (
    (twisted_error.ConnectionRefusedError, Reason.CONNECTION_REFUSED),
    (ConnectionRefusedError, Reason.CONNECTION_REFUSED),
    (twisted_error.DNSLookupError, Reason.HOST_NOT_FOUND),
    (twisted_error.UnknownHostError, Reason.HOST_NOT_FOUND),
    (socket.gaierror, Reason.HOST_NOT_FOUND),
    (twisted_error.TCPTimedOutError, Reason.TIMED_OUT),
    (twisted_error.TimeoutError, Reason.TIMED_OUT),
    (TimeoutError, Reason.TIMED_OUT),
    (twisted_error.ConnectionDone, Reason.CONNECTION_CLOSED),
    (twisted_error.ConnectionClosed, Reason.CONNECTION_LOST),
    (ConnectionError, Reason.CONNECTION_LOST),
    (SSL.Error, Reason.TLS_FAILED),
    (PermissionError, Reason.NOT_ALLOWED),
    (FileNotFoundError, Reason.NOT_FOUND),
)
"""
The reason for each type of exception; of several types that match an exception, the first one
counts.
"""

_BY_ERRNO = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ETIMEDOUT: Reason.TIMED_OUT,
    errno.ENETUNREACH: Reason.UNREACHABLE,
    errno.EHOSTUNREACH: Reason.UNREACHABLE,
    errno.ECONNRESET: Reason.CONNECTION_LOST,
    errno.EPIPE: Reason.CONNECTION_LOST,
    errno.EACCES: Reason.NOT_ALLOWED,
    errno.EPERM: Reason.NOT_ALLOWED,
    errno.EROFS: Reason.READ_ONLY,
    errno.ENOENT: Reason.NOT_FOUND,
    errno.EADDRINUSE: Reason.ADDRESS_TAKEN,
    errno.EADDRNOTAVAIL: Reason.NO_SUCH_ADDRESS,
    errno.ENOSPC: Reason.NO_SPACE,
    errno.EDQUOT: Reason.NO_SPACE,
    errno.EMFILE: Reason.TOO_MANY_FILES,
    errno.ENFILE: Reason.TOO_MANY_FILES,
}
"""
The text that error messages show as the reason, for each error number of the
operating system.
"""


def reason_of(error: BaseException) -> Reason | None:
    """
    Return the reason for an exception of a socket, a DNS lookup or a file, or C{None} if the reason
    is unknown.
    """
    for cause in _causes(error):
        for kind, reason in _BY_TYPE:
            if isinstance(cause, kind):
                return reason
        if _number(cause) in _BY_ERRNO:
            return _BY_ERRNO[_number(cause)]
        if isinstance(cause, twisted_error.ConnectError):
            return Reason.UNREACHABLE
    return None


def describe(error: BaseException) -> str:
    """
    Describe a failure in words, without repeating a secret.

    The message of C{Unavailable}, which authotron wrote itself, is returned unchanged. The message
    of any other exception may contain secrets, so only the reason for the exception, the text of
    the operating system, or for a defect the name of its class is returned.
    """
    if isinstance(error, Unavailable) and str(error):
        return str(error)
    reason = reason_of(error)
    if reason is not None:
        return str(reason)
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        return error.strerror[:1].lower() + error.strerror[1:]
    return f"{Reason.DEFECT} ({type(error).__name__})"


def _number(error: BaseException) -> int:
    """
    Return the operating system's error number in an exception of Python or Twisted, or 0 if there
    is none.
    """
    for name in ("errno", "osError"):
        number = getattr(error, name, None)
        if isinstance(number, int):
            return number
    return 0


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and the socket error inside C{CannotListenError}, if there is one."""
    yield error
    if isinstance(error, twisted_error.CannotListenError) and isinstance(
        error.socketError, BaseException
    ):
        yield error.socketError
