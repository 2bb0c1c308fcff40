"""
Decode LDAP messages (RFC 4511) from bytes that an untrusted server sent.

ldaptor's decoder is not used: it uses assertions and prints for unexpected input, and its time for
an entry grows with the square of the number of values. The decoder of this module never recurses:
it reads nested elements only to a fixed depth, and rejects elements that are too large or too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, field, frozen

BIND, ENTRY, DONE, REFERENCE, EXTENDED, INTERMEDIATE = 0x61, 0x64, 0x65, 0x73, 0x78, 0x79
"""BER tags of the LDAP responses (RFC 4511 section 4.2 ff.)."""

PAGED_RESULTS = "1.2.840.113556.1.4.319"
"""OID of the control for paged results (RFC 2696)."""

PASSWORD_POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"  # noqa: S105 - the OID of an LDAP control
"""OID of the password policy control (draft-behera-ldap-password-policy)."""

_MAX_BYTES, _MAX_VALUES, _MAX_ELEMENTS = 4 * 2**20, 20_000, 50
"""Limits of LDAP messages: bytes, values of an entry, and elements of any other sequence."""

_SEQUENCE, _CONTROLS = 0x30, 0xA0
_INTEGERS, _OCTETS = (0x02, 0x0A), 0x04
_POLICY_ERROR, _RESPONSE_VALUE = 0x81, 0x8B


class DecodingError(Exception):
    """The received bytes are not a valid LDAP message."""


class TooLarge(DecodingError):
    """An LDAP message exceeds a limit of size, though the server itself may be healthy."""


@frozen
class Message:
    """
    One LDAP message from a server.

    @ivar message_id: the id of the request that the message answers; 0 for a notification.
    @ivar kind: the BER tag of the response, such as L{ENTRY}.
    @ivar body: the undecoded content of the response.
    """

    message_id: int
    kind: int
    body: bytes
    controls: Mapping[str, bytes]


@frozen
class Result:
    """
    The result of an LDAP operation: result code, the server's message, and response controls.

    @ivar value: the value of the response to an extended operation.
    """

    code: int
    message: str = ""
    controls: Mapping[str, bytes] = field(factory=dict)
    value: bytes = b""


@frozen
class Entry:
    """
    An entry of a directory.

    @ivar attributes: the values of each attribute, by the attribute's name in lower case.
    """

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]] = field(factory=dict)

    def strings(self, attribute: str) -> tuple[str, ...]:
        """Return the values of an attribute as strings; values that are not UTF-8 are left out."""
        decoded = (_text_or_none(raw) for raw in self.attributes.get(attribute.lower(), ()))
        return tuple(text for text in decoded if text is not None)


@define(eq=False)
class Reader:
    """Splits the bytes received on one connection into LDAP messages."""

    _buffer: bytearray = field(factory=bytearray, init=False, repr=False)

    def feed(self, data: bytes) -> Iterator[Message]:
        """
        Add received bytes and yield the messages that are complete.

        @raise DecodingError: the bytes are not LDAP, or exceed a limit.
        """
        self._buffer += data
        while (size := _message_size(self._buffer)) is not None:
            raw = bytes(self._buffer[:size])
            del self._buffer[:size]
            yield _message(raw)

    def has_data(self) -> bool:
        """Return whether bytes remain behind the last complete message."""
        return bool(self._buffer)


def result(answer: Message) -> Result:
    """
    Decode the result of an LDAP operation.

    @raise DecodingError: the message is not a valid result.
    """
    code, _, text, *rest = _at_least(3, answer.body, exactly=False)
    values = [value for tag, value in rest if tag == _RESPONSE_VALUE]
    found = values[0] if values and answer.kind == EXTENDED else b""
    return Result(_integer(*code), _printable(text[1]), answer.controls, found)


def entry(answer: Message) -> Entry:
    """
    Decode an entry that a search has found.

    @raise DecodingError: the message is not a valid entry, or the entry has too many values.
    """
    dn, attributes = _at_least(2, answer.body)
    decoded: dict[str, tuple[bytes, ...]] = {}
    left = _MAX_VALUES
    for _, attribute in elements(attributes[1], left):
        name, values = _at_least(2, attribute, most=2)
        some = tuple(value for _, value in elements(values[1], left))
        decoded[_text(name[1]).lower()] = some
        left -= len(some) + 1
    return Entry(_text(dn[1]), decoded)


def page_cookie(controls: Mapping[str, bytes]) -> bytes:
    """
    Return the cookie that requests the next page of results; empty if there are no more pages.

    @raise DecodingError: the control for paged results is not valid.
    """
    if not controls.get(PAGED_RESULTS):
        return b""
    [(_, value)] = _at_least(1, controls[PAGED_RESULTS])
    _, cookie = _at_least(2, value)
    return cookie[1]


def password_policy_error(controls: Mapping[str, bytes]) -> int | None:
    """
    Return the error number in a password policy control, or C{None} if the control reports no
    error.

    @raise DecodingError: the password policy control is not valid.
    """
    if not controls.get(PASSWORD_POLICY):
        return None
    [(_, value)] = _at_least(1, controls[PASSWORD_POLICY])
    errors = [error for tag, error in elements(value) if tag == _POLICY_ERROR]
    return int.from_bytes(errors[0][-4:], "big") if errors else None


def elements(content: bytes, most: int = _MAX_ELEMENTS) -> list[tuple[int, bytes]]:
    """
    Split the content of a BER sequence into its elements, each with its tag.

    @raise DecodingError: the last BER element is incomplete, or there are more than C{most}
        elements.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(content):
        if len(found) >= most:
            raise TooLarge(f"the answer of the LDAP server has more than {most} elements")
        begin, end = _extent(content, at)
        if begin is None or end > len(content):
            raise DecodingError("invalid LDAP message: truncated element")
        found.append((content[at], content[begin:end]))
        at = end
    return found


def _extent(content: bytes | bytearray, at: int) -> tuple[int | None, int]:
    """
    Return where the content of the BER element at an offset begins and ends.

    If the tag and length of the BER element are incomplete, C{None} is returned as the beginning.
    """
    if len(content) < at + 2:
        return None, 0
    size, begin = content[at + 1], at + 2
    if size & 0x80:
        more = size & 0x7F
        if not 0 < more <= 4:  # noqa: PLR2004 - the number of bytes that encode a length
            raise DecodingError("invalid LDAP message: unsupported BER length")
        if len(content) < begin + more:
            return None, 0
        size, begin = int.from_bytes(content[begin : begin + more], "big"), begin + more
    return begin, begin + size


def _message_size(buffer: bytearray) -> int | None:
    """Return the size of the first message in the buffer, or C{None} while it is incomplete."""
    if buffer and buffer[0] != _SEQUENCE:
        raise DecodingError("the server does not speak LDAP")
    begin, end = _extent(buffer, 0)
    if end > _MAX_BYTES:
        raise TooLarge(f"the answer of the LDAP server has more than {_MAX_BYTES} bytes")
    return end if begin is not None and end <= len(buffer) else None


def _message(raw: bytes) -> Message:
    [(_, content)] = elements(raw)
    message_id, (kind, body), *rest = _at_least(2, content, exactly=False)
    controls = [inner for tag, inner in rest if tag == _CONTROLS]
    return Message(_integer(*message_id), kind, body, _controls(controls[0]) if controls else {})


def _controls(content: bytes) -> dict[str, bytes]:
    decoded = {}
    for _, control in elements(content):
        (_, oid), *rest = _at_least(1, control, exactly=False)
        values = [value for tag, value in rest if tag == _OCTETS]
        decoded[_text(oid)] = values[0] if values else b""
    return decoded


def _at_least(
    count: int, content: bytes, *, exactly: bool = True, most: int = _MAX_ELEMENTS
) -> list[tuple[int, bytes]]:
    """
    Return the first C{count} BER elements, or all of them if C{exactly} is false.

    @raise DecodingError: there are fewer than C{count} elements.
    """
    found = elements(content, most)
    if len(found) < count:
        raise DecodingError("invalid LDAP message: missing element")
    return found[:count] if exactly else found


def _integer(tag: int, content: bytes) -> int:
    if tag not in _INTEGERS or not 0 < len(content) <= 4:  # noqa: PLR2004 - 31 bits
        raise DecodingError("invalid LDAP message: expected an integer of 31 bits")
    return int.from_bytes(content, "big", signed=True)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise DecodingError("invalid LDAP message: a name is not UTF-8") from None


def _text_or_none(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _printable(raw: bytes) -> str:
    """Return the first 200 printable characters of a server's message, for the log."""
    text = raw[:1000].decode("utf-8", "replace")
    return "".join(c for c in text if c.isprintable())[:200]
