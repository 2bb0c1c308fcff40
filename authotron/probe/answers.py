"""
Parse the answers of a proxy, however odd: no answer that the proxy may send raises an
exception.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from attrs import frozen

from authotron.probe.echo import PROOF, proof

_HEAD = re.compile(rb"HTTP/\d\.\d (\d{3})[^\n]*\n((?:[^\r\n][^\n]*\n)*)\r?\n")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[^\n]*\n")
_LINE = re.compile(r"\r\n|\n|\r")
_INFORMATIONAL = range(100, 200)
_SUCCESS = range(200, 300)
_WITHOUT_BODY = {204, 304}

_MOST_ANSWERS = 32
"""Maximum number of answers on one connection that are read, informational ones included."""


@frozen
class Field:
    """One header line of an HTTP head, with the name in lower case."""

    name: str
    value: str


def fields_of(head: str) -> tuple[Field, ...]:
    """Return the header lines of an HTTP head, which follow its first line."""
    lines = [each for each in _LINE.split(head)[1:] if each]
    pairs = [each.partition(":") for each in lines]
    return tuple(Field(name.strip().lower(), value.strip()) for name, _, value in pairs)


@frozen
class Answer:
    """
    An answer of the proxy to the client.

    @ivar complete: whether the whole answer has arrived.
    """

    status: int
    fields: tuple[Field, ...]
    body: bytes
    complete: bool

    @property
    def is_success(self) -> bool:
        """Return whether the status is one of success (RFC 9110 section 15.3)."""
        return self.status in _SUCCESS

    @property
    def is_last(self) -> bool:
        """Return whether the proxy says that it closes the connection behind the answer."""
        return "close" in " ".join(self.values("connection")).lower()

    def values(self, name: str) -> list[str]:
        """Return the values of a header, whose name is in lower case."""
        return [each.value for each in self.fields if each.name == name]


@frozen
class Echo:
    """
    A request in the form in which the echo backend received it.

    @ivar head: the bytes of the head of the request, decoded as latin-1.
    @ivar after: the bytes that the backend received after the request.
    """

    nonce: str
    head: str = ""
    body: str = ""
    after: str = ""

    @property
    def target(self) -> str:
        """Return the target of the request line."""
        words = _LINE.split(self.head, maxsplit=1)[0].split(" ")
        return " ".join(words[1:-1])

    @property
    def fields(self) -> tuple[Field, ...]:
        """Return the headers."""
        return fields_of(self.head)

    def values(self, name: str) -> list[str]:
        """Return the values of a header, whose name is in lower case."""
        return [each.value for each in self.fields if each.name == name]


def parse(received: bytes, method: bytes = b"GET", *, ended: bool) -> list[Answer]:
    """
    Return the final answers in the bytes that a connection has received; the list ends before bytes
    that are not an answer.

    @param ended: whether the proxy has closed the connection.
    """
    found: list[Answer] = []
    for _ in range(_MOST_ANSWERS):
        if not (head := _HEAD.match(received)):
            break
        answer, received = _next(head, received[head.end() :], method, ended=ended)
        if answer.status not in _INFORMATIONAL:
            found.append(answer)
            method = b"GET"
        if not answer.complete:
            break
    return found


def echo_of(answer: Answer, nonce: str) -> Echo | None:
    """Return the request that an answer of the echo backend shows, or C{None} for other answers."""
    try:
        content = json.loads(answer.body)
        texts = {name: str(content[name]) for name in ("nonce", "head", "body", "after")}
        if content["proof"] == proof(texts["nonce"]):
            return Echo(**texts)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return Echo(nonce) if proof(nonce) in answer.values(PROOF.lower()) else None


def _next(
    head: re.Match[bytes], rest: bytes, method: bytes, *, ended: bool
) -> tuple[Answer, bytes]:
    """
    Return an answer, parsed from its head and the bytes after it, and the bytes that remain after
    the answer.
    """
    status = int(head[1])
    fields = fields_of("\n" + head[2].decode("latin-1"))
    values = {each.name: each.value for each in fields}
    body, complete, behind = rest, ended, b""
    if method == b"HEAD" or status in _WITHOUT_BODY or status in _INFORMATIONAL:
        body, complete, behind = b"", True, rest
    elif "chunked" in values.get("transfer-encoding", "").lower():
        chunks = [*_chunks(rest)]
        body = b"".join(chunk for chunk, _ in chunks)
        complete = bool(chunks) and not chunks[-1][0]
        behind = rest[chunks[-1][1] :] if complete else b""
    elif re.fullmatch("[0-9]{1,9}", length := values.get("content-length", "")):
        body, behind = rest[: int(length)], rest[int(length) :]
        complete = len(body) == int(length)
    return Answer(status, fields, body, complete), behind


def _chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """
    Yield each complete chunk of a body, the last of which is empty, and the position
    where it ends.
    """
    position = 0
    while size := _SIZE.match(data, position):
        length = int(size[1], 16)
        end = size.end() + length
        line_end = data.find(b"\n", end)
        if line_end < 0:
            return
        yield data[size.end() : end], line_end + 1
        if not length:
            return
        position = line_end + 1
