"""
Strict checks of HTTP response heads (RFC 9112).

Twisted's client accepts HTTP versions other than 1.0 and 1.1, status codes such as C{+200} or
C{0200}, and responses that declare the length of their body in two ways, so responses are checked
before. An ambiguous response is rejected, because a proxy between the server and the gateway may
have read it differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.model.http_grammar import LONGEST_FIELD_NAME, TOKEN

_LONGEST = 65_536
"""Maximum number of bytes in a response head."""

_MOST_INTERIM = 8
"""Maximum number of interim responses (1xx) before the final response."""

_BEGINNINGS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELD = re.compile(rb"(%b):([\t\x20-\x7e\x80-\xff]*)" % TOKEN)
_LENGTH = re.compile(rb"[0-9]{1,15}")
_SWITCHING = b"101"
_CONNECTION = re.compile(rb"\r\nconnection:([^\r]*)", re.IGNORECASE)


class MalformedResponse(Exception):
    """A response of a server violates HTTP; the message of the exception says how."""


_UNUSED = 1.0
"""
Seconds without a request after which a server may have closed a kept connection because it was
unused. If a server closes a connection right after a request, it has not answered the request.
"""


class KeptConnectionLost(ConnectionLost):
    """
    A connection that was kept open was lost before the first byte of the response to its next
    request.

    @ivar is_unread: whether the server had closed the connection before it read the request: the
        connection was unused for a second or more, or the server reset the connection, as systems
        do for data that no program reads.
    """

    def __init__(self, *, is_unread: bool) -> None:
        super().__init__()
        self.is_unread = is_unread


def check(head: bytes) -> bytes:
    """
    Check a complete response head, which ends with an empty line; return its status code.

    @raise MalformedResponse: the head violates RFC 9112, or the length of the body is ambiguous.
    """
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    status = _STATUS.fullmatch(line)
    if status is None:
        raise MalformedResponse("began its response with a malformed status line")
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for each in fields:
        field = _FIELD.fullmatch(each)
        if field is None or field.end(1) > LONGEST_FIELD_NAME:
            raise MalformedResponse("sent a malformed header field")
        name, value = field[1].lower(), field[2].strip(b" \t")
        if name == b"content-length":
            lengths += value.split(b",")
        elif name == b"transfer-encoding":
            codings.append(value.lower())
    _check_length(line, lengths, codings)
    return status[1]


def _check_length(line: bytes, lengths: list[bytes], codings: list[bytes]) -> None:
    """
    Check that a response declares the length of its body in at most one way (RFC 9112 section 6).

    @raise MalformedResponse: the length of the body is declared in an unknown way, or in several
        ways.
    """
    if codings:
        if lengths or codings != [b"chunked"] or not line.startswith(_BEGINNINGS[0]):
            raise MalformedResponse("gave the length of its response in an ambiguous way")
    elif lengths:
        values = {each.strip(b" \t") for each in lengths}
        if len(values) != 1 or _LENGTH.fullmatch(values.pop()) is None:
            raise MalformedResponse("gave the length of its response in an ambiguous way")


def _is_last(head: bytes) -> bool:
    """
    Return whether the server closes the connection after a response with a given valid head (RFC
    9112 section 9.3).
    """
    values = b",".join(_CONNECTION.findall(head)).lower()
    options = {each.strip(b" \t") for each in values.split(b",")}
    return b"close" in options or (head.startswith(_BEGINNINGS[1]) and b"keep-alive" not in options)


@implementer(IStreamClientEndpoint)
class StrictEndpoint:
    """
    An endpoint whose connections pass a response head on to the HTTP client only if the head is
    well-formed.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._clock = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's interface gives the argument this name
        """Implement L{IStreamClientEndpoint.connect}."""
        connecting: Deferred[IProtocol] = self._endpoint.connect(
            _Checks(protocolFactory, self._clock)
        )
        return connecting.addCallback(_client)


def _client(check: IProtocol) -> IProtocol:
    assert isinstance(check, _Check)
    client: IProtocol = check.wrappedProtocol
    return client


class _Check(ProtocolWrapper):
    """
    Checks the response heads on one connection for its HTTP client, which sends one request at a
    time.

    The first bytes that arrive on a connection after a request was sent are the beginning of the
    response head. The bytes of a response head are held back until the head is complete and found
    to be well-formed. Twisted's client keeps connections of HTTP/1.0, and those whose header
    C{Connection} is C{Close} or a list; so C{Connection: close} is added to the head of a response
    after which the server closes the connection.
    """

    def __init__(self, factory: _Checks, protocol: IProtocol) -> None:
        super().__init__(factory, protocol)
        self._expects = False
        self._head = bytearray()
        self._interim = 0
        self._clock = factory.clock
        self._unused_since: float | None = None
        self._is_kept = self._was_unused = False
        self._fault: Failure | None = None

    def write(self, data: bytes) -> None:
        self._expect_response()
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._expect_response()
        super().writeSequence(data)

    def _expect_response(self) -> None:
        """
        Record that a request begins, and whether the connection is a kept one that was unused until
        now.
        """
        if not self._expects:
            self._expects = True
            since = self._unused_since
            self._is_kept = since is not None
            self._was_unused = since is not None and self._clock.seconds() - since >= _UNUSED

    def dataReceived(self, data: bytes) -> None:
        if self._fault is not None:
            return
        if not self._expects:
            super().dataReceived(data)
            return
        known = len(self._head)
        self._head += data
        try:
            self._read(known)
        except MalformedResponse:
            self._fault = Failure()
            self._head.clear()
            self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        is_unanswered = self._expects and not (self._head or self._interim or self._fault)
        if is_unanswered and self._is_kept and reason.check(ConnectionDone, ConnectionLost):
            is_unread = self._was_unused or reason.check(ConnectionDone) is None
            reason = Failure(KeptConnectionLost(is_unread=is_unread))
        super().connectionLost(self._fault or reason)

    def _read(self, known: int) -> None:
        """
        Check the response heads that have arrived so far; the last of them may be incomplete.

        @param known: the number of bytes in the response head that were checked before.

        @raise MalformedResponse: a response head violates HTTP.
        """
        while self._expects:
            _check_beginning(self._head)
            place = self._head.find(b"\r\n\r\n", max(0, known - 3))
            if place < 0:
                _check_unfinished(self._head, known)
                return
            self._complete(place + 4)
            known = 0

    def _complete(self, end: int) -> None:
        if end > _LONGEST:
            raise MalformedResponse("sent a head that is too long")
        status = check(bytes(self._head[:end]))
        if status.startswith(b"1"):
            self._interim += 1
            if status == _SWITCHING or self._interim > _MOST_INTERIM:
                raise MalformedResponse("sent interim responses that were not requested")
            del self._head[:end]
            return
        data = bytes(self._head)
        if _is_last(data[:end]):
            data = data[: end - 2] + b"Connection: close\r\n\r\n" + data[end:]
        self._head.clear()
        self._interim, self._expects, self._unused_since = 0, False, self._clock.seconds()
        super().dataReceived(data)


def _check_beginning(head: bytearray) -> None:
    """
    Check the first bytes of a response head, which may be incomplete.

    @raise MalformedResponse: the response does not use HTTP/1.0 or HTTP/1.1.
    """
    begun = bytes(head[: len(_BEGINNINGS[0])])
    if not any(each.startswith(begun) for each in _BEGINNINGS):
        raise MalformedResponse("does not answer by HTTP/1.0 or HTTP/1.1")


def _check_unfinished(head: bytearray, known: int) -> None:
    """
    Check an incomplete response head from position C{known} on, up to which it was checked before.

    @raise MalformedResponse: the response head cannot become valid, whatever bytes follow.
    """
    new = head[max(0, known - 1) :]
    seen = known > 0 and new.startswith(b"\n")
    if new.count(b"\n") > new.count(b"\r\n") + seen:
        raise MalformedResponse("ended a line of its response with a line feed alone")
    if len(head) > _LONGEST:
        raise MalformedResponse("sent a head that is too long")


class _Checks(WrappingFactory[_Check]):
    """A factory that wraps the protocol of each HTTP client in a L{_Check}."""

    noisy = False
    protocol = _Check

    def __init__(self, factory: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(factory)
        self.clock = clock
