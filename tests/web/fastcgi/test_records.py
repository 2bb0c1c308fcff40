"""The records of FastCGI are read and written as the specification says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.web.fastcgi import records
from authotron.web.fastcgi.records import MalformedRecord, Record


class RecordTests(SynchronousTestCase):
    """One record after the other."""

    def test_record_is_read_without_its_padding(self) -> None:
        """The padding behind the content of a record is skipped (section 3.3)."""
        data = bytes([1, 4, 0, 7, 0, 2, 3, 0]) + b"ab" + b"xyz" + b"next"
        self.assertEqual(records.first(data), (Record(4, 7, b"ab"), 13))

    def test_record_may_arrive_in_pieces(self) -> None:
        """A record is incomplete until its last byte of padding has arrived."""
        data = bytes([1, 4, 0, 7, 0, 2, 3, 0]) + b"abxyz"
        for size in range(len(data)):
            self.assertIsNone(records.first(data[:size]))

    def test_other_version_is_malformed(self) -> None:
        """A first byte other than 1 is another protocol, which is noticed at once."""
        self.assertRaises(MalformedRecord, records.first, b"G")

    def test_long_stream_is_divided(self) -> None:
        """A stream longer than a record can be is divided, and an empty record ends it."""
        written = records.encode_stream(records.STDOUT, 1, bytes(65_536))
        sizes: list[int] = []
        while written:
            found = records.first(written)
            assert found is not None
            sizes.append(len(found[0].content))
            written = written[found[1] :]
        self.assertEqual(sizes, [65_535, 1, 0])

    @given(some.lists(some.tuples(some.binary(max_size=300), some.binary(max_size=300))))
    def test_pairs_are_read_as_written(self, given: list[tuple[bytes, bytes]]) -> None:
        """Names and values of any bytes and lengths are read as they were written."""
        stream = b"".join([records.encode_pair(*each) for each in given])
        self.assertEqual([*records.pairs(stream)], given)

    @given(some.binary(max_size=200))
    def test_any_stream_of_pairs(self, stream: bytes) -> None:
        """Any bytes are either malformed, or pairs that have no more bytes than the stream."""
        try:
            found = [*records.pairs(stream)]
        except MalformedRecord:
            return
        size = sum(2 + len(name) + len(value) for name, value in found)
        self.assertLessEqual(size, len(stream))

    def test_parameter_beyond_its_stream_is_malformed(self) -> None:
        """A name or a value that claims more bytes than the stream has is malformed."""
        for stream in (
            b"\x05\x00abc",
            b"\x01\x09a",
            b"\x01",
            b"\x80\x00",
            b"\xff\xff\xff\xff\x01a",
            b"\x01\xff\xff\xff\xff",
        ):
            self.assertRaises(MalformedRecord, list, records.pairs(stream))
