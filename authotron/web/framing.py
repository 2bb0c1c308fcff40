"""Where a request ends, by the letter of RFC 9112; what is ambiguous is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

from authotron.model.http_grammar import TOKEN

_REQUEST_LINE = re.compile(rb"%b [!-~]+ HTTP/1\.[01]" % TOKEN)
_FIELD = re.compile(rb"(%b):([^\x00\r\n]*)" % TOKEN)
_LENGTHS = (b"content-length", b"transfer-encoding")

_LONGEST_LINE = 1024
"""Bytes of a line with the size of a chunk."""

_MOST_AROUND = 8 * 1024
"""Bytes that chunk extensions, and the trailer section, may have in one body."""

_COST = 8
"""Bytes that a chunk without extensions counts as: 1024 chunks are enough for the largest body, and
very many tiny ones take processor time."""

_BWS = rb"[ \t]*"
_VALUE = rb"(?:%b|\"[\t !#-\[\]-~\x80-\xff]*\")" % TOKEN
_EXTENSION = rb";%b%b(?:%b=%b%b)?" % (_BWS, TOKEN, _BWS, _BWS, _VALUE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})((?:%b)*)" % _EXTENSION)
"""RFC 9112 section 7.1, without what recipients differ about: blanks before a semicolon, and
quoted pairs."""


class MalformedRequest(Exception):
    """
    A request cannot be read, or is too large.

    @ivar status: what to answer before the connection is closed.
    """

    def __init__(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__()
        self.status = status


def is_request_line(line: bytes | bytearray) -> bool:
    """Whether C{line} is one of RFC 9112 section 3, of HTTP/1.0 or HTTP/1.1."""
    return _REQUEST_LINE.fullmatch(line) is not None


def is_chunked(line: bytes, fields: Iterable[bytes]) -> bool:
    """
    Read how long the body of a request is, by RFC 9112 section 6.

    @param line: the request line.
    @param fields: the lines of the head that follow it.

    @return: whether the body comes in chunks.

    @raise MalformedRequest: a line is not a field, or the length is missing, duplicate or
        ambiguous.
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
    return bool(coding)


class Chunks:
    """
    Follows a chunked body, so that no byte behind its end is taken for a part of it.

    @ivar ended: whether the empty line behind the last chunk has come.
    """

    def __init__(self, largest: int) -> None:
        """@param largest: bytes that all chunks may have together."""
        self.ended = False
        self._largest = largest
        self._size = self._around = 0
        self._rest = -1  # of the chunk with its line end; below zero where a line is read
        self._in_trailers = False

    def accept(self, data: bytes | bytearray) -> int:
        """
        Count the bytes at the beginning of C{data} that surely belong to the body.

        @raise MalformedRequest: it is not a chunked body, or a larger one than is allowed.
        """
        at = 0
        while at < len(data) and not self.ended:
            step = self._skip(data, at) if self._rest >= 0 else self._read_line(data, at)
            if not step:
                break
            at += step
        return at

    def _skip(self, data: bytes | bytearray, at: int) -> int:
        """Pass over what is there of a chunk, and over the line end behind it."""
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
        """Read a line with a size, or one of the trailer section; none if it is not whole yet."""
        end = data.find(_END, at)
        line = bytes(data[at:] if end < 0 else data[at:end])
        longest = _MOST_AROUND if self._in_trailers else _LONGEST_LINE
        if len(line.removesuffix(b"\r") if end < 0 else line) > longest or b"\n" in line:
            raise MalformedRequest
        if end < 0:
            return 0
        if self._in_trailers:
            self._read_trailer(line)
        else:
            self._read_size(line)
        if self._around > _MOST_AROUND:
            raise MalformedRequest
        return len(line) + len(_END)

    def _read_trailer(self, line: bytes) -> None:
        if line and not _FIELD.fullmatch(line):
            # Such as the line of the next request, if the empty line is missing.
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
