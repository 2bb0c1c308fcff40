"""
The records of FastCGI, as bytes (the FastCGI Specification, version 1.0, sections 3 and 8).

A FastCGI record is a head of eight bytes, its content, and padding. The parameters of a FastCGI
request are one stream of names and values, which its records may divide anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, pack, unpack_from
from typing import NamedTuple

VERSION = 1

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST = 1, 2, 3
PARAMS, STDIN, STDOUT, STDERR, DATA = 4, 5, 6, 7, 8
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
"""The types of FastCGI records."""

MANAGEMENT = 0
"""The request id of FastCGI records that belong to the connection and to no request."""

AUTHORIZER = 2
"""The FastCGI role of the gateway: authorizer (section 6.3)."""

KEEP_CONNECTION = 1
"""The flag of a request after whose answer the connection stays open."""

COMPLETE, CANNOT_MULTIPLEX, OVERLOADED, UNKNOWN_ROLE = 0, 1, 2, 3
"""How a FastCGI request ended, in the content of the record C{END_REQUEST}."""

_HEAD = Struct(">BBHHBx")
_LONGEST_CONTENT = 65_535
_LONG = 0x80
"""
The bit by which the first byte of a FastCGI length says that the length has four bytes instead of
one.
"""


class MalformedRecord(ValueError):
    """The bytes that a connection has received are not FastCGI."""


class Record(NamedTuple):
    """One FastCGI record; never log a record, because its content may contain credentials."""

    type: int
    request: int
    content: bytes


def first(data: bytes) -> tuple[Record, int] | None:
    """
    Return the first FastCGI record of C{data} and the number of its bytes, or C{None} if the record
    is incomplete.

    @raise MalformedRecord: the record has another version of FastCGI.
    """
    if data and data[0] != VERSION:
        raise MalformedRecord("the version of FastCGI is unknown")
    if len(data) < _HEAD.size:
        return None
    _, kind, request, length, padding = _HEAD.unpack_from(data)
    size = _HEAD.size + length + padding
    if len(data) < size:
        return None
    return Record(kind, request, bytes(data[_HEAD.size : _HEAD.size + length])), size


def encode(kind: int, request: int, content: bytes = b"") -> bytes:
    """Return a FastCGI record as bytes."""
    return _HEAD.pack(VERSION, kind, request, len(content), 0) + content


def encode_stream(kind: int, request: int, content: bytes) -> bytes:
    """
    Return the bytes of a FastCGI stream: records with the given content, and an empty record that
    ends the stream.
    """
    starts = range(0, len(content), _LONGEST_CONTENT)
    parts = [content[start : start + _LONGEST_CONTENT] for start in starts]
    return b"".join([encode(kind, request, part) for part in (*parts, b"")])


def end(request: int, how: int = COMPLETE) -> bytes:
    """Return the record C{END_REQUEST}, which ends a FastCGI request."""
    return encode(END_REQUEST, request, pack(">IB3x", 0, how))


def unknown_type(kind: int) -> bytes:
    """Return the answer to a record of an unknown type that belongs to the connection."""
    return encode(UNKNOWN_TYPE, MANAGEMENT, pack(">B7x", kind))


def role_and_flags(content: bytes) -> tuple[int, int]:
    """
    Return the role and the flags in the content of the FastCGI record C{BEGIN_REQUEST}.

    @raise MalformedRecord: the content of the record is too short.
    """
    if len(content) < 3:  # noqa: PLR2004 - the format of BEGIN_REQUEST: two bytes for the role, one for the flags
        raise MalformedRecord("the beginning of a request is too short")
    role, flags = unpack_from(">HB", content)
    return role, flags


def pairs(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """
    Yield the names and values of a complete stream of FastCGI parameters (section 3.4).

    @raise MalformedRecord: the stream ends within a length, a name or a value.
    """
    position, size = 0, len(stream)
    while position < size:
        lengths: list[int] = []
        for _ in range(2):
            wide = 4 if position < size and stream[position] & _LONG else 1
            number = stream[position : position + wide]
            if len(number) < wide:
                raise MalformedRecord("a parameter ends within its length")
            lengths.append(int.from_bytes(number, "big") & (0x7FFF_FFFF if wide > 1 else 0x7F))
            position += wide
        name, value = position + lengths[0], position + sum(lengths)
        if value > size:
            raise MalformedRecord("a parameter is longer than its stream")
        yield stream[position:name], stream[name:value]
        position = value


def encode_pair(name: bytes, value: bytes) -> bytes:
    """Return the name and value of one FastCGI parameter as bytes."""
    lengths = (
        bytes([len(each)]) if len(each) < _LONG else pack(">I", len(each) | 0x8000_0000)
        for each in (name, value)
    )
    return b"".join([*lengths, name, value])
