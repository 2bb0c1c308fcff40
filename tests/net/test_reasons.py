"""Failures of remotes, files and sockets are described by one vocabulary of reasons."""

from __future__ import annotations

import errno
import socket

from OpenSSL import SSL
from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import TimedOut, Unavailable
from authotron.net.certificates import Untrusted
from authotron.net.reasons import Reason, describe, reason_of

CASES: tuple[tuple[BaseException, str], ...] = (
    (error.ConnectionRefusedError("111"), "connection refused"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
    (OSError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
    (error.DNSLookupError("no results for hostname lookup"), "host name not found"),
    (error.UnknownHostError(), "host name not found"),
    (socket.gaierror(-2, "Name or service not known"), "host name not found"),
    (error.TCPTimedOutError(), "timed out"),
    (error.TimeoutError(), "timed out"),
    (TimeoutError(), "timed out"),
    (error.NoRouteError(), "unreachable"),
    (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable"),
    (error.ConnectError(errno.ENETUNREACH), "unreachable"),
    (error.ConnectError(errno.EACCES), "not allowed"),
    (error.ConnectionDone(), "the server closed the connection"),
    (error.ConnectionLost(), "connection lost"),
    (error.ConnectionAborted(), "connection lost"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), "connection lost"),
    (SSL.Error([("SSL routines", "", "wrong version number")]), "TLS failed"),
    (PermissionError(errno.EACCES, "Permission denied"), "not allowed"),
    (FileNotFoundError(errno.ENOENT, "No such file"), "not found"),
    (OSError(errno.EROFS, "Read-only file system"), "read-only"),
    (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
    (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
    (OSError(errno.EISDIR, "Is a directory"), "is a directory"),
    (
        error.CannotListenError("::1", 80, OSError(errno.EADDRINUSE, "taken")),
        "address already in use",
    ),
    (
        error.CannotListenError("", 80, PermissionError(errno.EACCES, "denied")),
        "not allowed",
    ),
    (Unavailable("the key set is empty"), "the key set is empty"),
    (TimedOut("no answer within 3 s"), "no answer within 3 s"),
    (Untrusted("certificate expired: on 2026-01-31"), "certificate expired: on 2026-01-31"),
)
"""Exceptions of Python, Twisted, OpenSSL and authotron, and their description."""


class ReasonTests(SynchronousTestCase):
    """The words for failures."""

    def test_every_failure_is_described_in_words(self) -> None:
        """Failures of the same kind are described by the same words, whatever library raised."""
        for problem, words in CASES:
            with self.subTest(repr(problem)):
                self.assertEqual(describe(problem), words)

    def test_no_name_of_a_class(self) -> None:
        """The description of a known failure never contains the name of a Python class."""
        for problem, _ in CASES:
            self.assertNotIn(type(problem).__name__, describe(problem))

    def test_unknown_exceptions_do_not_show_their_text(self) -> None:
        """The text of an unknown exception may hold a secret, so only its class is named."""
        self.assertEqual(describe(KeyError("s3cret")), "internal error (KeyError)")
        self.assertIsNone(reason_of(KeyError("s3cret")))

    def test_empty_text(self) -> None:
        """An exception without any text is described, too."""
        for problem in (Unavailable(), OSError(), error.ConnectError()):
            self.assertNotEqual(describe(problem).strip(), "")

    def test_vocabulary_is_plain(self) -> None:
        """A reason begins in lower case or with a name, has no full stop and stands once."""
        words = [str(reason) for reason in Reason]
        self.assertEqual(len(words), len(set(words)))
        for each in words:
            self.assertFalse(each.endswith("."), each)
