"""
gRPC over HTTP/2: which method a call asks for, its one message, and the status of its answer.

See the document PROTOCOL-HTTP2 of gRPC. Only calls with one message and one answer are served, and
messages are not compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from http import HTTPStatus
from typing import NamedTuple

from twisted.internet.defer import Deferred

PREFIX = 5
"""
Number of bytes before a gRPC message: one that says whether the message is compressed, and four
with its length.
"""

LARGEST_MESSAGE = 262_144
"""
Maximum number of bytes in the message of a call, which contains all headers of the client's
request, and the beginning of its body if Envoy is configured to send it.
"""


class Status(IntEnum):
    """The gRPC status of an answer (C{grpc-status})."""

    OK = 0
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class Answer(NamedTuple):
    """
    The answer to a gRPC call.

    @ivar message: the message of the answer, which is sent only if the gRPC status is C{OK}.
    @ivar text: why the call has failed, in ASCII, for the log of the peer.
    @ivar http: the status of the HTTP response; a call with any status but 200 has no gRPC status.
    """

    message: bytes = b""
    status: Status = Status.OK
    text: str = ""
    http: HTTPStatus = HTTPStatus.OK


class Caller(NamedTuple):
    """The sender of a gRPC call whose client is not known, for the access log."""

    sender: str
    authorization: bytes | None = None


def failed(status: Status, text: str) -> Answer:
    """Return the answer to a gRPC call that has failed."""
    return Answer(b"", status, text)


Method = Callable[[bytes, str | None], Answer | Deferred[Answer]]
"""
A method of gRPC: answers a call, whose message and peer it gets; a peer at a UNIX socket is
C{None}. A returned Deferred does not fail, unless it is cancelled because the caller has closed the
call.
"""

Header = tuple[bytes, bytes]


def find_method(methods: Mapping[bytes, Method], headers: Sequence[Header]) -> Method | Answer:
    """
    Return the gRPC method that a call names in its headers, or the answer if there is no such
    method.
    """
    fields = dict(headers)
    if fields.get(b":method") != b"POST":
        return Answer(http=HTTPStatus.METHOD_NOT_ALLOWED)
    content_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type not in (b"application/grpc", b"application/grpc+proto"):
        return Answer(http=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    method = methods.get(fields.get(b":path", b""))
    return method or failed(Status.UNIMPLEMENTED, "this method is not served here")


def check_prefix(received: bytearray) -> Answer | None:
    """
    Return the answer to a call whose message cannot be accepted (compressed, too long, or more than
    one), or C{None} if nothing is wrong so far.

    @param received: the bytes of the message that were received so far, with their prefix.
    """
    if received and received[0]:
        return failed(Status.UNIMPLEMENTED, "compressed messages are not supported")
    if len(received) < PREFIX:
        return None
    length = int.from_bytes(received[1:PREFIX], "big")
    if length > LARGEST_MESSAGE:
        return failed(Status.RESOURCE_EXHAUSTED, f"the message is larger than {LARGEST_MESSAGE}")
    if len(received) > PREFIX + length:
        return failed(Status.INTERNAL, "the call has more than one message")
    return None


def message_of(received: bytearray) -> bytes | Answer:
    """
    Return the message of a gRPC call that was received completely, or the answer if the message is
    cut off.
    """
    length = int.from_bytes(received[1:PREFIX], "big")
    if len(received) < PREFIX or len(received) != PREFIX + length:
        return failed(Status.INTERNAL, "the call ends before its message does")
    return bytes(received[PREFIX:])


def with_prefix(message: bytes) -> bytes:
    """Return a gRPC message with its prefix, not compressed."""
    return b"\x00" + len(message).to_bytes(4, "big") + message
