"""Decoding of LDAP messages from an untrusted server."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from ldaptor.protocols import pureldap
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap import decoding
from authotron.ldap.decoding import (
    DecodingError,
    Entry,
    Message,
    Reader,
    TooLarge,
)


def entry(values: int) -> bytes:
    attributes = [("memberOf", [f"cn=group-{n},dc=org" for n in range(values)])]
    answer = pureldap.LDAPSearchResultEntry("cn=a", attributes)
    encoded: bytes = pureldap.LDAPMessage(answer, None, 7).toWire()
    return encoded


def element(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


class ReaderTests(SynchronousTestCase):
    """Messages from a stream of bytes."""

    def test_split_and_joined_messages(self) -> None:
        """Messages may arrive byte by byte, or several at once."""
        stream = entry(3) + entry(0)
        reader, found = Reader(), list[Message]()
        for place in range(len(stream)):
            found += reader.feed(stream[place : place + 1])
        self.assertEqual(found, list(Reader().feed(stream)))
        self.assertEqual([message.message_id for message in found], [7, 7])

    def test_entry_attributes(self) -> None:
        """Attribute names are in lower case, and values are bytes."""
        [message] = Reader().feed(entry(2))
        values = (b"cn=group-0,dc=org", b"cn=group-1,dc=org")
        self.assertEqual(decoding.entry(message), Entry("cn=a", {"memberof": values}))
        self.assertEqual(decoding.entry(message).strings("memberOf")[0], "cn=group-0,dc=org")

    @given(some.binary())
    def test_any_bytes_are_messages_or_an_error(self, some_bytes: bytes) -> None:
        """Any bytes yield messages or a DecodingError, never another exception."""
        try:
            for message in Reader().feed(some_bytes):
                decoding.entry(message)
        except DecodingError:
            pass

    def test_many_tiny_elements_T67(self) -> None:
        """An entry with very many tiny elements is rejected before the elements are decoded."""
        tiny = b"\x04\x00" * 100_000
        one_by_one = element(0x30, b"\x04\x01a" + element(0x31, tiny))
        spread = element(0x30, b"\x04\x01a" + element(0x31, b"\x04\x00" * 5_000)) * 10
        hollow = element(0x30, b"\x04\x00" * 40) * 10
        for attributes in (tiny, one_by_one, spread, hollow):
            body = b"\x04\x00" + element(0x30, attributes)
            with self.subTest(size=len(body)):
                self.assertRaises(
                    DecodingError, decoding.entry, Message(1, decoding.ENTRY, body, {})
                )

    def test_many_controls_T67(self) -> None:
        """An answer with very many controls is rejected."""
        controls = element(0xA0, element(0x30, b"\x04\x00" * 10_000) * 10)
        message = element(0x30, b"\x02\x01\x07\x65\x00" + controls)
        self.assertRaises(TooLarge, list, Reader().feed(message))

    def test_announced_size_T67(self) -> None:
        """A message that announces more than 4 MiB is rejected before it has arrived."""
        self.assertRaises(DecodingError, list, Reader().feed(b"\x30\x84\x00\x80\x00\x00"))

    @given(some.integers(0, 60), some.binary(min_size=1, max_size=3))
    def test_damaged_message(self, place: int, damage: bytes) -> None:
        """A message with a damaged element is rejected."""
        good = entry(2)
        stream = good[:place] + damage + good[place + len(damage) :]
        try:
            for message in Reader().feed(stream):
                decoding.entry(message)
                decoding.result(message)
        except DecodingError:
            pass

    def test_endless_message(self) -> None:
        """A message that announces an unlimited length is rejected at once."""
        endless = b"\x30\x84\x7f\xff\xff\xff"
        self.assertRaises(DecodingError, list, Reader().feed(endless))
