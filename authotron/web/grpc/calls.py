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
"""Number of bytes before a message: whether it is compressed, and its length."""

LARGEST_MESSAGE = 262_144
"""
Maximum number of bytes in the message of a call, which contains all headers of the client's
request, and the beginning of its body if Envoy is configured to send it.
"""


class Status(IntEnum):
    """The status of an answer, C{grpc-status}."""

    OK = 0
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class Answer(NamedTuple):
    """
    The answer to a call.

    @ivar message: the message; it is sent only if the status is C{OK}.
    @ivar text: why the call has failed, in ASCII, for the log of the peer.
    @ivar http: the status of the HTTP response; all but 200 end the call without a gRPC status.
    """

    message: bytes = b""
    status: Status = Status.OK
    text: str = ""
    http: HTTPStatus = HTTPStatus.OK


class Caller(NamedTuple):
    """The sender of a call about which no client is known, as the access log knows it."""

    sender: str
    authorization: bytes | None = None


def failed(status: Status, text: str) -> Answer:
    """Return the answer to a call that has failed."""
    return Answer(b"", status, text)


Method = Callable[[bytes, str | None], Answer | Deferred[Answer]]
"""
Answers a call, whose message and peer it gets; C{None} is a peer at a UNIX socket. A Deferred does
not fail, unless it is cancelled because the caller has left.
"""

Header = tuple[bytes, bytes]


def find_method(methods: Mapping[bytes, Method], headers: Sequence[Header]) -> Method | Answer:
    """Return the method that a call asks for by its headers, or the answer if there is none."""
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
    Return the answer to a call whose message cannot be accepted, however it goes on.

    @param received: what was received of the message so far, with its prefix.
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
    """Return the message of a call that was received completely, or the answer if it is cut."""
    length = int.from_bytes(received[1:PREFIX], "big")
    if len(received) < PREFIX or len(received) != PREFIX + length:
        return failed(Status.INTERNAL, "the call ends before its message does")
    return bytes(received[PREFIX:])


def with_prefix(message: bytes) -> bytes:
    """Return a message as it is sent, not compressed."""
    return b"\x00" + len(message).to_bytes(4, "big") + message
