"""
What a hostile peer may do to an HTTP/2 server, by the names under which it became known.

Only trusted proxies get as far as this; a proxy with a defect, or another program on the machine of
a proxy, must not stop the gateway either.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack.hpack import Encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.web.channel import LAST_CALL
from authotron.web.grpc import connection, frames
from authotron.web.grpc.calls import LARGEST_MESSAGE, Status, with_prefix
from tests import STREAMS
from tests.web.conversations import InMemoryGateway, Replaced
from tests.web.grpc.dialogue import GOOD, HEADERS, Proxy, Response, grpc_factory

DATA, HEADER, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MANY = frames.MOST_FRAMES + 100


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBL", kind, flags, stream) + payload


@cache
def headers(*more: tuple[str, str]) -> bytes:
    """Return the compressed headers of a call."""
    return bytes(Encoder().encode([*HEADERS.items(), *more]))


@cache
def call(stream: int) -> bytes:
    """Return the frames of a whole call."""
    begun = frame(HEADER, headers(), END_HEADERS, stream)
    return begun + frame(DATA, with_prefix(GOOD), END_STREAM, stream)


class HostileCase(SynchronousTestCase):
    """A peer that has sent its preface, and now sends bytes of its own."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()
        self.proxy = Proxy(self.gateway)

    def wait_for_decisions(self) -> None:
        """Let all decisions wait for ever."""
        good = self.gateway.serving.gateway
        self.gateway.serving.gateway = Replaced(good, lambda *_: Deferred())  # type: ignore[assignment] # stands in for it

    def send(self, *sent: bytes) -> None:
        """Send frames as a stream of bytes, with turns of the reactor in between."""
        stream = b"".join(sent)
        for at in range(0, len(stream), 65_536):
            self.proxy.connection.dataReceived(stream[at : at + 65_536])
            for _ in range(200):
                if self.proxy.connection._batch is None:
                    break
                self.gateway.clock.advance(0)

    def assert_closed(self, code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM) -> None:
        """The connection is closed, all its memory is free, and the peer is told why."""
        self.assertTrue(self.proxy.wire.disconnecting)
        self.assertEqual(self.proxy.connection.calls, {})
        self.proxy._without_goaway(self.proxy.wire.value()[self.proxy._read :])
        self.assertEqual(self.proxy.ended, code)
        self.proxy.lose()
        self.assertEqual(self.gateway.public.unfinished.size, 0)
        counted = self.gateway.metrics.text()[0].decode()
        self.assertIn("authotron_grpc_connections_closed_total 1.0", counted.splitlines())

    def assert_serves(self) -> None:
        """The connection still answers calls."""
        self.assertEqual(self.proxy.call(GOOD).says, 200)


class FloodTests(HostileCase):
    """More frames than any proxy needs."""

    def test_rapid_reset_CVE_2023_44487_S_RESET(self) -> None:
        """A peer that begins calls and gives them up at once is disconnected."""
        self.wait_for_decisions()
        for stream in range(1, 2 * frames.MOST_RESETS + 3, 2):
            self.send(call(stream), frame(RST, bytes(4), 0, stream))
        self.assert_closed()

    def test_many_resets_S_RESET(self) -> None:
        """
        A proxy whose clients leave more often than usual is asked for another connection, and the
        other calls of the connection are answered.
        """
        asked = self.gateway.hold()
        self.proxy.call(GOOD)
        self.wait_for_decisions()
        for stream in range(3, 2 * frames.MANY_RESETS + 5, 2):
            self.send(call(stream), frame(RST, bytes(4), 0, stream))
        self.proxy.read()
        self.assertEqual((self.proxy.ended, self.proxy.last_stream), (0, 2**31 - 1))
        asked.callback(self.gateway.good(Authentication(Identity("internal", "alice"))))
        self.proxy.read()
        self.assertEqual(self.proxy.responses[1].says, 200)
        self.proxy.advance(LAST_CALL)
        self.assertTrue(self.proxy.is_closed)

    def test_given_up_at_the_usual_rate_S_RESET(self) -> None:
        """
        If the gateway is slow, Envoy gives up all calls of a connection after 200 ms; that goes on
        for as long as the gateway is slow.
        """
        self.wait_for_decisions()
        for _ in range(12):
            streams = [self.proxy.begin() for _ in range(connection.MOST_CALLS)]
            for stream in streams:
                self.proxy.http2.send_data(stream, with_prefix(GOOD), end_stream=True)
            self.proxy.flush()
            self.proxy.advance(0, 0, 0, 0, 0.2)
            for stream in streams:
                self.proxy.http2.reset_stream(stream)
            self.proxy.flush()
            self.proxy.advance(0, 0)
        self.assertFalse(self.proxy.is_closed)

    def test_made_you_reset_CVE_2025_8671_S_RESET(self) -> None:
        """A peer that makes the gateway give up calls, by wrong frames, is disconnected."""
        self.wait_for_decisions()
        for stream in range(1, 2 * MANY, 2):
            self.send(call(stream), frame(WINDOW, (2**31 - 1).to_bytes(4, "big"), 0, stream))
            if self.proxy.wire.disconnecting:
                break
        self.assert_closed()

    def test_continuation_flood_CVE_2024_27316_S_CONTINUATION(self) -> None:
        """Headers that never end are refused after a few frames."""
        self.send(frame(HEADER, headers(), 0, 1))
        self.send(*[frame(CONTINUATION, b"x" * 8_000, 0, 1)] * 20)
        self.assert_closed()

    def test_empty_continuations_CVE_2024_27316_S_CONTINUATION(self) -> None:
        """Frames that continue the headers without a byte are limited, too."""
        self.send(frame(HEADER, headers(), 0, 1), *[frame(CONTINUATION, b"", 0, 1)] * MANY)
        self.assert_closed(ErrorCodes.PROTOCOL_ERROR)

    def test_ping_flood_CVE_2019_9512_S_FRAMES(self) -> None:
        """A peer that sends nothing but PING is disconnected."""
        self.send(*[frame(PING, bytes(8))] * MANY)
        self.assert_closed()

    def test_settings_flood_CVE_2019_9515_S_FRAMES(self) -> None:
        """A peer that sends nothing but SETTINGS is disconnected."""
        for payload, flags in ((b"", 0), (b"\x00\x04\x00\x00\xff\xff", 0), (b"", ACK)):
            self.setUp()
            self.send(*[frame(SETTINGS, payload, flags)] * MANY)
            self.assert_closed()

    def test_resource_loop_CVE_2019_9513_S_FRAMES(self) -> None:
        """A peer that changes priorities again and again is disconnected."""
        self.send(*[frame(PRIORITY, b"\x00\x00\x00\x07\x10", 0, 5)] * MANY)
        self.assert_closed()

    def test_empty_frames_CVE_2019_9518_S_FRAMES(self) -> None:
        """A peer that sends DATA frames without a byte is disconnected."""
        self.send(frame(HEADER, headers(), END_HEADERS, 1), *[frame(DATA, b"", 0, 1)] * MANY)
        self.assert_closed()

    def test_dribble_CVE_2019_9511_S_FRAMES(self) -> None:
        """A peer that sends a message byte by byte, or widens its window so, is disconnected."""
        begun = frame(HEADER, headers(), END_HEADERS, 1)
        self.send(begun, *[frame(DATA, b"\x00", 0, 1)] * 5, *[frame(DATA, b"x", 0, 1)] * MANY)
        self.assertTrue(self.proxy.wire.disconnecting or not self.proxy.connection.calls)
        self.setUp()
        self.send(begun, *[frame(WINDOW, b"\x00\x00\x00\x01", 0, 1)] * MANY)
        self.assert_closed()

    def test_unknown_frames_S_FRAMES(self) -> None:
        """Frames of unknown types are ignored, but not without end."""
        self.send(*[frame(0xFA, b"x")] * 100)
        self.assert_serves()
        self.send(*[frame(0xFA, b"x")] * MANY)
        self.assert_closed()

    def test_allowance_S_FRAMES(self) -> None:
        """A proxy that sends PING now and then, or between calls, is never disconnected."""
        for _ in range(30):
            self.send(*[frame(PING, bytes(8))] * (frames.MOST_FRAMES // 2))
            self.gateway.clock.advance(0.6)
        for _ in range(MANY):
            self.proxy.send(frame(PING, bytes(8)))
            self.assert_serves()

    def test_turns_S_FRAMES(self) -> None:
        """Of many frames that arrive at once only some are acted on in one turn of the reactor."""
        self.proxy.connection.dataReceived(frame(PING, bytes(8)) * 300)
        replies = len(self.proxy.wire.value()) - self.proxy._read
        self.assertLess(replies, 300 * 17)
        self.assertEqual(self.proxy.wire.producerState, "paused")
        for _ in range(6):
            self.gateway.clock.advance(0)
        self.assertEqual(len(self.proxy.wire.value()) - self.proxy._read, 300 * 17)
        self.assertEqual(self.proxy.wire.producerState, "producing")


class MemoryTests(HostileCase):
    """What would fill the memory."""

    def test_hpack_bomb_CVE_2016_6581_S_HPACK(self) -> None:
        """Headers that are short on the wire, but long when they are decoded, are refused."""
        bomb = [("x-bomb", "b" * 4_000)] * 300
        block = bytes(Encoder().encode([*HEADERS.items(), *bomb]))
        self.assertLess(len(block), frames.LONGEST_BLOCK)
        self.send(frame(HEADER, block, END_HEADERS, 1))
        self.assert_closed()

    def test_long_headers_S_HPACK(self) -> None:
        """Headers that are too long as they stand are refused."""
        block = headers(*[(f"x-{n}", "v" * 1_000) for n in range(70)])
        first, *rest = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
        self.send(frame(HEADER, first, 0, 1), *[frame(CONTINUATION, each, 0, 1) for each in rest])
        self.send(frame(CONTINUATION, b"", END_HEADERS, 1))
        self.assert_closed()

    def test_nameless_headers_CVE_2019_9516_S_HPACK(self) -> None:
        """A header without a name is refused."""
        self.send(frame(HEADER, headers(("", "")), END_HEADERS, 1))
        self.assert_closed(ErrorCodes.PROTOCOL_ERROR)

    def test_large_frame_S_FRAMES(self) -> None:
        """A frame that announces more bytes than allowed is refused before they arrive."""
        self.send(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
        self.assert_closed(ErrorCodes.FRAME_SIZE_ERROR)

    def test_unread_answers_CVE_2019_9517_S_WINDOW(self) -> None:
        """
        A peer that opens the window of the connection, but accepts no answer, gets no further calls
        answered, and its calls are given up in time.
        """
        proxy = Proxy(self.gateway, settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
        proxy.http2.increment_flow_control_window(2**30)
        for _ in range(connection.MOST_CALLS):
            proxy.call(GOOD)
        proxy.http2.remote_settings.max_concurrent_streams = 1_000
        proxy.http2.remote_settings.acknowledge()
        self.assertEqual(proxy.call(GOOD).reset, ErrorCodes.REFUSED_STREAM)
        written = len(proxy.wire.value())
        proxy.advance(*[1] * 13)
        self.assertEqual(proxy.connection.calls, {})
        self.assertLess(len(proxy.wire.value()) - written, 10_000)

    def test_unread_replies_S_WINDOW(self) -> None:
        """While a peer does not read what the gateway writes, its frames are not read."""
        self.proxy.connection.pauseProducing()
        self.assertEqual(self.proxy.wire.producerState, "paused")
        self.proxy.connection.resumeProducing()
        self.assertEqual(self.proxy.wire.producerState, "producing")

    def test_unfinished_messages_S_MEMORY(self) -> None:
        """Messages that do not end share the memory budget of unfinished requests."""
        gateway = InMemoryGateway({"server": {"max_unfinished_bytes": 1_048_576}})
        factory = grpc_factory(gateway)
        proxies = [Proxy(gateway, factory) for _ in range(2)]
        answered = []
        for proxy in proxies:
            for _ in range(3):
                stream = proxy.begin()
                message = with_prefix(b"x" * (LARGEST_MESSAGE - 1))[:-1]
                for at in range(0, len(message), 16_000):
                    proxy.http2.send_data(stream, message[at : at + 16_000])
                    proxy.flush()
                    proxy.responses.setdefault(stream, Response())
                    if proxy.responses[stream].headers:
                        answered.append(proxy.responses[stream].grpc_status)
                        break
        self.assertLess(gateway.public.unfinished.size, 1_048_576)
        self.assertEqual(answered, [Status.RESOURCE_EXHAUSTED] * len(answered))
        self.assertGreaterEqual(len(answered), 2)
        for proxy in proxies:
            proxy.lose()
        self.assertEqual(gateway.public.unfinished.size, 0)

    def test_closed_streams_S_MEMORY(self) -> None:
        """The state of calls that have ended is forgotten."""
        for _ in range(50):
            self.assert_serves()
        http2: Any = self.proxy.connection._http2
        self.assertLess(len(http2.streams), 3)
        self.assertLessEqual(http2.MAX_CLOSED_STREAMS, 1_000)


class TimeTests(HostileCase):
    """A peer that sends slowly, or not at all."""

    def late(self, seconds: int = 14) -> None:
        for _ in range(seconds):
            self.gateway.clock.advance(1)

    def test_no_preface_S_SLOW(self) -> None:
        """A peer that connects and sends nothing is disconnected."""
        self.proxy = Proxy(self.gateway, begins=False)
        self.late()
        self.assertTrue(self.proxy.wire.disconnected)
        self.assertEqual(self.proxy.wire.value(), b"")

    def test_slow_preface_S_SLOW(self) -> None:
        """A peer that sends its preface byte by byte is disconnected, however it goes on."""
        self.proxy = Proxy(self.gateway, begins=False)
        for byte in frames.PREFACE[:14]:
            self.proxy.connection.dataReceived(bytes([byte]))
            self.late(1)
        self.assert_closed(ErrorCodes.PROTOCOL_ERROR)

    def test_slow_frame_S_SLOW(self) -> None:
        """A frame that does not end is given up with its connection."""
        for byte in frame(PING, bytes(8))[:14]:
            self.proxy.connection.dataReceived(bytes([byte]))
            self.late(1)
        self.assert_closed(ErrorCodes.PROTOCOL_ERROR)

    def test_slow_headers_S_SLOW(self) -> None:
        """Headers that do not end are given up with their connection."""
        self.send(frame(HEADER, headers(), 0, 1))
        for _ in range(14):
            self.send(frame(CONTINUATION, b"", 0, 1))
            self.late(1)
        self.assert_closed(ErrorCodes.PROTOCOL_ERROR)

    def test_slow_message_S_SLOW(self) -> None:
        """A message that does not end is given up, and the other calls of its connection go on."""
        stream = self.proxy.begin()
        for byte in with_prefix(GOOD)[:14]:
            if stream in self.proxy.responses:
                break
            self.proxy.http2.send_data(stream, bytes([byte]))
            self.proxy.flush()
            self.proxy.advance(1)
        self.assertEqual(self.proxy.responses[stream].reset, ErrorCodes.CANCEL)
        self.assert_serves()


class BytesTests(HostileCase):
    """Bytes that mean nothing."""

    def test_push(self) -> None:
        """A peer that pushes is disconnected."""
        self.send(frame(PUSH, bytes(4) + headers(), END_HEADERS, 1))
        self.assert_closed(ErrorCodes.PROTOCOL_ERROR)

    def test_data_without_a_call(self) -> None:
        """DATA for a call that was never begun ends the connection."""
        self.send(frame(DATA, b"x", END_STREAM, 5))
        self.assert_closed(ErrorCodes.PROTOCOL_ERROR)

    def test_reset_within_one_read(self) -> None:
        """A call that is complete and given up within the same bytes is not answered."""
        begun = frame(HEADER, headers(), END_HEADERS, 1) + frame(DATA, b"\x01", 0, 1)
        self.send(begun, frame(RST, bytes(4), 0, 1))
        self.assertFalse(self.proxy.is_closed)
        self.assertEqual(self.proxy.connection.calls, {})

    @settings(max_examples=STREAMS, suppress_health_check=list(HealthCheck))
    @given(
        sent=some.lists(
            some.tuples(
                some.integers(0, 11),
                some.one_of(
                    some.binary(max_size=24),
                    some.just(headers()),
                    some.just(with_prefix(GOOD)),
                    some.just(bytes(4)),
                    some.just(bytes(8)),
                ),
                some.sampled_from([0, 1, 4, 5, 8, 32, 45]),
                some.sampled_from([0, 1, 1, 1, 2, 3, 5]),
            ),
            max_size=20,
        )
    )
    def test_any_frames(self, sent: list[tuple[int, bytes, int, int]]) -> None:
        """Whatever frames a peer sends, no error escapes, and no memory stays counted."""
        self.setUp()
        self.send(*[frame(*each) for each in sent])
        self.late()
        self.proxy.lose()
        self.assertEqual(self.gateway.public.unfinished.size, 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    def late(self) -> None:
        for _ in range(14):
            self.gateway.clock.advance(1)
