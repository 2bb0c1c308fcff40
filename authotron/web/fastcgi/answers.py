"""
The answers to the authentication requests that proxies make by FastCGI.

In an answer that lets the request pass (200), each header becomes C{Variable-NAME}, which Apache
takes as a variable of the request; a refusal has the headers and the body of the HTTP reply, which
Apache sends to the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from authotron.web import replies
from authotron.web.fastcgi import records
from authotron.web.replies import Header, Reply

LONGEST_LINE = 8_000
"""
Maximum number of bytes of a line in an answer by FastCGI.

Apache reads lines of up to 8,190 bytes: the rest of a longer line, which would be part of the JWT,
would reach the client as the body of an error.
"""


def longest_line(content: bytes) -> int:
    """Return the number of bytes of the longest line of the head of an answer."""
    head = content.partition(b"\r\n\r\n")[0]
    return max(map(len, head.split(b"\r\n")))


def content(reply: Reply, identity: Sequence[Header] = ()) -> bytes:
    """
    Return the content of an answer by FastCGI.

    @param identity: the headers by which a 200 names the identity.
    """
    if reply.status == HTTPStatus.OK and not identity:
        reply = replies.BROKEN  # Only a decision with an identity may let a request pass.
    status = HTTPStatus(reply.status)
    head = b"Status: %d %b\r\n" % (status.value, status.phrase.encode())
    is_admitted = status is HTTPStatus.OK
    headers = map(_variable, identity) if is_admitted else reply.headers
    lines = [b"%b: %b\r\n" % each for each in headers]
    return b"".join([head, *lines, b"\r\n", b"" if is_admitted else reply.body])


def _variable(header: Header) -> Header:
    name, value = header
    return b"Variable-" + name.replace(b"-", b"_"), value


def encode(request: int, answer: bytes) -> bytes:
    """Return the bytes that answer and end a FastCGI request."""
    return records.encode_stream(records.STDOUT, request, answer) + records.end(request)
