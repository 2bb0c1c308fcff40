"""
Answers of LDAP (RFC 4511), out of bytes that may come from anybody.

ldaptor's decoder is not used: it asserts and prints where a server says what it does not expect,
and the time it takes over an entry grows with the square of its values. This one goes to a fixed
depth, and refuses what would take long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, field, frozen

BIND, ENTRY, DONE, REFERENCE, EXTENDED, INTERMEDIATE = 0x61, 0x64, 0x65, 0x73, 0x78, 0x79

PAGED_RESULTS = "1.2.840.113556.1.4.319"
"""The control of paged results (RFC 2696)."""

PASSWORD_POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"  # noqa: S105 - the name of a control

_LIMIT, _MANY, _FEW = 4 * 2**20, 20_000, 50
"""Bytes of a message, elements of an entry, and of anything else: what takes long is refused."""

_SEQUENCE, _CONTROLS = 0x30, 0xA0
_INTEGERS, _OCTETS = (0x02, 0x0A), 0x04
_POLICY_ERROR = 0x81


class DecodingError(Exception):
    """What came is no LDAP."""


class TooLarge(DecodingError):
    """What came is more than anybody wants. That is about the answer, and not about the server."""


@frozen
class Message:
    """One message from a server."""

    message_id: int
    kind: int
    body: bytes
    controls: Mapping[str, bytes]


@frozen
class Result:
    """How an operation ended."""

    code: int
    message: str = ""
    controls: Mapping[str, bytes] = field(factory=dict)


@frozen
class Entry:
    """
    Something in a directory.

    @ivar attributes: values by the name of their attribute, which is in lower case.
    """

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]] = field(factory=dict)

    def strings(self, attribute: str) -> tuple[str, ...]:
        """The values of an attribute that are UTF-8."""
        found = (_text_or_none(raw) for raw in self.attributes.get(attribute.lower(), ()))
        return tuple(text for text in found if text is not None)


@define(eq=False)
class Reader:
    """Bytes as they come in, until they are messages."""

    _buffer: bytearray = field(factory=bytearray, init=False, repr=False)

    def feed(self, some: bytes) -> Iterator[Message]:
        """
        The messages that are complete now.

        @raise Garbled: no message can come of it.
        """
        self._buffer += some
        while (size := _size(self._buffer)) is not None:
            raw = bytes(self._buffer[:size])
            del self._buffer[:size]
            yield _message(raw)

    def has_data(self) -> bool:
        """Whether something came behind the last message."""
        return bool(self._buffer)


def result(answer: Message) -> Result:
    """
    How an operation ended.

    @raise Garbled: that cannot be read.
    """
    code, _, text = _at_least(3, answer.body)
    return Result(_integer(*code), _printable(text[1]), answer.controls)


def entry(answer: Message) -> Entry:
    """
    What a search has found.

    @raise Garbled: that cannot be read.
    """
    dn, attributes = _at_least(2, answer.body)
    found: dict[str, tuple[bytes, ...]] = {}
    left = _MANY
    for _, attribute in elements(attributes[1], left):
        name, values = _at_least(2, attribute, most=2)
        some = tuple(value for _, value in elements(values[1], left))
        found[_text(name[1]).lower()] = some
        left -= len(some) + 1
    return Entry(_text(dn[1]), found)


def page_cookie(controls: Mapping[str, bytes]) -> bytes:
    """
    The cookie of the next page; empty if there is none.

    @raise Garbled: that cannot be read.
    """
    if not controls.get(PAGED_RESULTS):
        return b""
    [(_, value)] = _at_least(1, controls[PAGED_RESULTS])
    _, cookie = _at_least(2, value)
    return cookie[1]


def password_policy_error(controls: Mapping[str, bytes]) -> int | None:
    """
    Which error of the password policy came with an answer.

    @raise Garbled: that cannot be read.
    """
    if not controls.get(PASSWORD_POLICY):
        return None
    [(_, value)] = _at_least(1, controls[PASSWORD_POLICY])
    errors = [error for tag, error in elements(value) if tag == _POLICY_ERROR]
    return int.from_bytes(errors[0][-4:], "big") if errors else None


def elements(content: bytes, most: int = _FEW) -> list[tuple[int, bytes]]:
    """
    The BER elements that stand one behind the other.

    @raise Garbled: the last one is not whole, or there are too many.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(content):
        if len(found) >= most:
            raise TooLarge("there are too many elements")
        begin, end = _extent(content, at)
        if begin is None or end > len(content):
            raise DecodingError("an element ends early")
        found.append((content[at], content[begin:end]))
        at = end
    return found


def _extent(content: bytes | bytearray, at: int) -> tuple[int | None, int]:
    """Where the content of an element begins and ends; no beginning if that is not there yet."""
    if len(content) < at + 2:
        return None, 0
    size, begin = content[at + 1], at + 2
    if size & 0x80:
        more = size & 0x7F
        if not 0 < more <= 4:  # noqa: PLR2004 - bytes of a length
            raise DecodingError("a length that cannot be")
        if len(content) < begin + more:
            return None, 0
        size, begin = int.from_bytes(content[begin : begin + more], "big"), begin + more
    return begin, begin + size


def _size(buffer: bytearray) -> int | None:
    """How long the first message is, if it is all there."""
    if buffer and buffer[0] != _SEQUENCE:
        raise DecodingError("it does not speak LDAP")
    begin, end = _extent(buffer, 0)
    if end > _LIMIT:
        raise TooLarge("an answer is too long")
    return end if begin is not None and end <= len(buffer) else None


def _message(raw: bytes) -> Message:
    [(_, content)] = elements(raw)
    message_id, (kind, body), *rest = _at_least(2, content, exactly=False)
    controls = [inner for tag, inner in rest if tag == _CONTROLS]
    return Message(_integer(*message_id), kind, body, _controls(controls[0]) if controls else {})


def _controls(content: bytes) -> dict[str, bytes]:
    found = {}
    for _, control in elements(content):
        (_, oid), *rest = _at_least(1, control, exactly=False)
        values = [value for tag, value in rest if tag == _OCTETS]
        found[_text(oid)] = values[0] if values else b""
    return found


def _at_least(
    count: int, content: bytes, *, exactly: bool = True, most: int = _FEW
) -> list[tuple[int, bytes]]:
    """The first elements, so that they can be unpacked; or all."""
    found = elements(content, most)
    if len(found) < count:
        raise DecodingError("an element is missing")
    return found[:count] if exactly else found


def _integer(tag: int, content: bytes) -> int:
    if tag not in _INTEGERS or not 0 < len(content) <= 4:  # noqa: PLR2004 - 31 bits
        raise DecodingError("something else where a number should be")
    return int.from_bytes(content, "big", signed=True)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise DecodingError("a name that is not UTF-8") from None


def _text_or_none(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _printable(raw: bytes) -> str:
    """A short text for the log."""
    text = raw[:1000].decode("utf-8", "replace")
    return "".join(c for c in text if c.isprintable())[:200]
