"""Find the end of each HTTP request strictly by RFC 9112, and refuse ambiguous requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import NamedTuple

from authotron.model.hosts import HOST_FIELD
from authotron.model.http_grammar import TOKEN

_REQUEST_LINE = re.compile(rb"%b [!-~\x80-\xff]+ HTTP/1\.[01]" % TOKEN)
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?]*)([^\x00]*)")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_FIELD = re.compile(rb"(%b):([^\x00\r\n]*)" % TOKEN)
_LENGTHS = (b"content-length", b"transfer-encoding")
_ABOUT_BODY = (*_LENGTHS, b"expect")

_MOST_DIGITS = 19
"""Maximum number of digits in C{Content-Length}."""

_LONGEST_LINE = 1024
"""Maximum number of bytes in the line that contains the size of a chunk."""

_MAX_AROUND = 8 * 1024
"""
Maximum number of bytes that chunk extensions and trailers of one chunked
body may have together.
"""

_COST = 8
"""
Number of bytes that each chunk counts as, in addition to its extensions, towards the limit of bytes
in chunk extensions and trailers. Each chunk counts towards the limit, so that a body has at most
1024 chunks, enough for the largest body; more, smaller chunks cost processor time.
"""

_BWS = rb"[ \t]*"
_VALUE = rb"(?:%b|\"[\t !#-\[\]-~\x80-\xff]*\")" % TOKEN
_EXTENSION = rb";%b%b(?:%b=%b%b)?" % (_BWS, TOKEN, _BWS, _BWS, _VALUE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})((?:%b)*)" % _EXTENSION)
"""
A regular expression of the line with the size of a chunk (RFC 9112 section 7.1). Blanks before a
semicolon, and quoted pairs, are refused, because servers parse them differently.
"""


class MalformedRequest(Exception):
    """
    A request cannot be parsed, or is too large.

    @ivar status: the status code of the reply, after which the connection is closed.
    """

    def __init__(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__()
        self.status = status


def is_request_line(line: bytes | bytearray) -> bool:
    """Whether a line is a request line of HTTP/1.0 or HTTP/1.1 (RFC 9112 section 3)."""
    return _REQUEST_LINE.fullmatch(line) is not None


def in_origin_form(line: bytes, fields: list[bytes]) -> tuple[bytes, list[bytes]]:
    """
    Convert the target in a request line to origin form (a path with a query) in ASCII; return the
    line, and the headers.

    A request target in absolute form is a whole URL, as clients send it to proxies; the host in the
    URL replaces the header C{Host}, if there is one (RFC 9112 section 3.2.2). Bytes beyond ASCII in
    the request target, which browsers send in queries, are percent-encoded.

    @raise MalformedRequest: the path is not UTF-8, or the URL lacks a host or has a user.
    """
    method, target, version = line.split(b" ")
    if not target.isascii():
        target = in_ascii(target)
    absolute = None if target.startswith(b"/") else _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        host, rest = absolute.groups()
        if not HOST_FIELD.fullmatch(host):
            raise MalformedRequest
        target = rest if rest.startswith(b"/") else b"/" + rest
        fields = [b"Host: " + host if _name(each) == b"host" else each for each in fields]
    return b" ".join([method, target, version]), fields


def in_ascii(target: bytes) -> bytes:
    """
    Percent-encode the bytes beyond ASCII of a request target.

    @raise MalformedRequest: the path is not UTF-8.
    """
    try:
        target.partition(b"?")[0].decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest from None
    return _BEYOND_ASCII.sub(lambda found: b"%%%02X" % found[0][0], target)


class Body(NamedTuple):
    """
    The length of a request body, as the headers announce it.

    @ivar length: the number of bytes in the body, or 0 if it is chunked.
    """

    length: int
    is_chunked: bool

    def is_announced(self) -> bool:
        return self.is_chunked or self.length > 0


def without_body(fields: Sequence[bytes]) -> list[bytes]:
    """Return the headers except C{Content-Length}, C{Transfer-Encoding} and C{Expect}."""
    return [field for field in fields if _name(field) not in _ABOUT_BODY]


def _name(field: bytes) -> bytes:
    return field.partition(b":")[0].lower()


def announced_body(line: bytes, fields: Iterable[bytes]) -> Body:
    """
    Return the length of the request body that the headers announce (RFC 9112 section 6).

    @param line: the request line.
    @param fields: the lines of the headers.

    @raise MalformedRequest: a line is not a header, or the length of the body is malformed,
        ambiguous or too large.
    """
    found = dict.fromkeys(_LENGTHS, b"")
    for each in fields:
        field = _FIELD.fullmatch(each)
        if field is None:
            raise MalformedRequest
        name = field[1].lower()
        if name in found:
            value = field[2].strip(b" \t")
            if found[name] or not value:
                raise MalformedRequest
            found[name] = value
    length, coding = found.values()
    if length and (coding or not length.isdigit()):
        raise MalformedRequest
    if coding and (coding.lower() != b"chunked" or line.endswith(b"1.0")):
        raise MalformedRequest
    if len(length) > _MOST_DIGITS:
        raise MalformedRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return Body(int(length or 0), bool(coding))


class Chunks:
    """
    Finds the end of a chunked request body, so that bytes of the next request are not taken for the
    body.

    @ivar ended: whether the empty line at the end of the chunked body was received.
    """

    def __init__(self, largest: int) -> None:
        """@param largest: maximum number of bytes in all chunks together."""
        self.ended = False
        self._largest = largest
        self._size = self._around = 0
        # Number of bytes of the current chunk, and of the line end after it, that have not arrived
        # yet; -1 while the line with the size of a chunk, or a trailer, is read.
        self._rest = -1
        self._in_trailers = False

    def accept(self, data: bytes | bytearray) -> int:
        """
        Return how many bytes at the beginning of C{data} belong to the chunked body.

        @raise MalformedRequest: the bytes are not chunks, or the body is larger than allowed.
        """
        at = 0
        while at < len(data) and not self.ended:
            step = self._skip(data, at) if self._rest >= 0 else self._read_line(data, at)
            if not step:
                break
            at += step
        return at

    def _skip(self, data: bytes | bytearray, at: int) -> int:
        """
        Skip the received bytes of a chunk and the line end after it; return the number of skipped
        bytes.
        """
        content = max(0, self._rest - len(_END))
        if content:
            step = min(content, len(data) - at)
        else:
            step = min(self._rest, len(data) - at)
            if data[at : at + step] != _END[-self._rest :][:step]:
                raise MalformedRequest
        self._rest -= step
        if self._rest == 0:
            self._rest = -1
        return step

    def _read_line(self, data: bytes | bytearray, at: int) -> int:
        """
        Parse the line with the size of a chunk, or a trailer; return the length of the line, or 0
        if it is incomplete.
        """
        end = data.find(_END, at)
        line = bytes(data[at:] if end < 0 else data[at:end])
        longest = _MAX_AROUND if self._in_trailers else _LONGEST_LINE
        if len(line.removesuffix(b"\r") if end < 0 else line) > longest or b"\n" in line:
            raise MalformedRequest
        if end < 0:
            return 0
        if self._in_trailers:
            self._read_trailer(line)
        else:
            self._read_size(line)
        if self._around > _MAX_AROUND:
            raise MalformedRequest
        return len(line) + len(_END)

    def _read_trailer(self, line: bytes) -> None:
        if line and not _FIELD.fullmatch(line):
            # A malformed trailer may be the next request, sent without the empty line that must end
            # the chunked body.
            raise MalformedRequest
        self.ended = not line
        self._around += len(line)

    def _read_size(self, line: bytes) -> None:
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise MalformedRequest
        size = int(found[1], 16)
        self._size += size
        self._around += len(found[2]) + _COST
        if self._size > self._largest:
            raise MalformedRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._in_trailers = size == 0
        if size:
            self._rest = size + len(_END)


_END = b"\r\n"
