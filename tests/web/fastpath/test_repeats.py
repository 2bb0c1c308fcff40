"""Request heads that are recognised without parsing them again."""

from __future__ import annotations

from random import Random
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.model.request import Presented
from authotron.web.fastpath import repeats, sampling
from authotron.web.fastpath.repeats import Repeats
from authotron.web.fastpath.request import LONGEST, Head
from tests import STREAMS
from tests.web.conversations import ALICE, InMemoryGateway, answered, basic
from tests.web.streams import FIELDS, LINES

REQUEST_IDS = some.sampled_from(
    [
        b"X-Request-ID: 5f3a",
        b"X-Request-ID: a b \t",
        b"X-Request-ID: ",
        b"X-Request-ID:",
        b"x-request-id: 9",
        b"X-Request-Id: 9",
        b" X-Request-ID: 1",
        b"X-Request-ID: a\rb",
        b"X-Request-ID: a\nb",
        b"X-Request-ID: \x00",
        b"X-Request-ID: \xff\xfe",
        b"X-Request-ID: x" + b"y" * 600,
        b"",
    ]
)
"""Lines that state a request id, or nearly so; an empty line ends the head too early."""

USUAL = some.sampled_from(
    [b"GET /authenticate HTTP/1.1", b"HEAD /auth HTTP/1.1", b"GET /_auth HTTP/1.0"]
)
MANY = some.integers(4, 102).map(lambda count: b"\r\n".join(b"a%d: x" % n for n in range(count)))
PARTS = some.lists(FIELDS | REQUEST_IDS | some.just(b"Host: a"), max_size=5)


@some.composite
def heads(draw: some.DrawFn, parts: list[bytes]) -> bytes:
    """Draw the bytes of a head, of a part of it, or of a head that more bytes follow."""
    lines = [draw(USUAL | USUAL | USUAL | LINES), *draw(some.permutations(parts))]
    if draw(some.integers(0, 20)) == 0:
        lines.append(draw(MANY))
    lines += draw(some.sampled_from([[b"", b""], [b"", b""], [b""], []]))
    if draw(some.integers(0, 5)) == 0:
        lines += draw(PARTS) + draw(some.sampled_from([[], [b""], [b"", b""]]))
    return b"\r\n".join(lines)


simple = InMemoryGateway().entrance.recogniser.simple


def key(presented: Presented) -> bytes:
    return repr(presented).encode()


def parsed(head: bytes, longest: int = LONGEST) -> Head:
    found = simple(head, longest)
    assert found is not None
    return found


class RepeatsTests(SynchronousTestCase):
    """What is recognised again equals what parsing finds."""

    def setUp(self) -> None:
        self.patch(repeats, "ONE_IN", 1)
        self.repeats = Repeats(LONGEST)

    def remember(self, head: bytes) -> None:
        self.repeats.remember(head, parsed(head), key)

    @settings(max_examples=STREAMS)
    @given(data=some.data(), longest=some.sampled_from([LONGEST, 300]))
    def test_equal_to_parsing(self, data: some.DataObject, longest: int) -> None:
        """A head that is recognised again means exactly what parsing it again would find."""
        known, parts = Repeats(longest), data.draw(PARTS)
        for _ in range(6):
            head = data.draw(heads(parts))
            expected = simple(head, longest)
            for _ in range(2):
                found = known.find(head)
                if found is not None and len(head) <= longest:
                    repeated, request_id = found
                    assert expected is not None, head
                    self.assertEqual(repeated.shape, expected.shape, head)
                    self.assertEqual(repeated.key, key(expected.presented), head)
                    self.assertEqual(request_id, expected.request_id, head)
                elif expected is not None:
                    known.remember(head, expected, key)

    def test_other_request_id(self) -> None:
        """Heads that differ in the request id alone are one head."""
        head = (
            b"GET /auth HTTP/1.1\r\nHost: a\r\nX-Request-ID: %b\r\nAuthorization: Bearer x\r\n\r\n"
        )
        self.remember(head % b"1")
        found = self.repeats.find(head % b" 2\t")
        assert found is not None
        repeated, request_id = found
        self.assertEqual(request_id, b"2")
        shape = repeated.shape
        self.assertEqual((shape.method, shape.route, shape.version), ("GET", "/auth", b"HTTP/1.1"))
        self.assertTrue(repeated.shape.persistent)
        self.assertEqual(repeated.key, key(Presented(b"Bearer x", None)))

    def test_line_after_the_head(self) -> None:
        """Bytes that follow the end of a head are never taken for a part of this head."""
        head = b"GET /auth HTTP/1.1\r\nHost: a\r\n\r\n"
        self.remember(head)
        for later in (b"X-Request-ID: y", b"X-Request-ID: y\r\n", b"X-Request-ID: y\r\n\r\n"):
            self.assertIsNone(self.repeats.find(head + later))

    def test_second_request_id(self) -> None:
        """A head with two request ids is not found under one of them: the first counts."""
        self.remember(b"GET /auth HTTP/1.1\r\nHost: a\r\nX-Request-ID: 1\r\n\r\n")
        twice = b"GET /auth HTTP/1.1\r\nHost: a\r\nX-Request-ID: 1\r\nx-request-id: 2\r\n\r\n"
        self.remember(twice)
        self.assertIsNone(self.repeats.find(twice))
        self.remember(b"GET /auth HTTP/1.1\r\nHost: a\r\nx-request-id: 2\r\n\r\n")
        self.assertIsNone(self.repeats.find(twice))

    def test_bodies_and_long_heads_are_not_remembered(self) -> None:
        """A head that announces a body, has many lines or is long is parsed each time."""
        for fields in (
            b"Content-Length: 5\r\n",
            b"".join(b"a%d: x\r\n" % n for n in range(12)),
            b"Cookie: " + b"x" * 4000 + b"\r\n",
        ):
            head = b"GET /auth HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"
            self.remember(head)
            self.assertIsNone(self.repeats.find(head))

    def test_no_credential_is_kept(self) -> None:
        """Nothing that a client sent can be read in what is remembered."""
        self.remember(b"GET /auth HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\r\n\r\n")
        known = Repeats(LONGEST)
        rest = b"GET /auth HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\r\n\r\n"
        known.remember(rest, parsed(rest), lambda _: b"hash")
        self.assertNotIn("canary", repr(known._known))
        [mine], [other] = known._known.values(), self.repeats._known.values()
        self.assertNotEqual(mine.digest, other.digest)

    def test_heads_with_one_hash(self) -> None:
        """Two heads that share Python's hash are told apart by their digests."""
        first, second = (b"GET /auth HTTP/1.1\r\nHost: %b\r\n\r\n" % each for each in (b"a", b"b"))
        self.remember(first)
        self.repeats._known[hash(second)] = self.repeats._known[hash(first)]
        self.assertIsNotNone(self.repeats.find(first))
        self.assertIsNone(self.repeats.find(second))

    def test_number_is_bounded(self) -> None:
        """However many heads arrive, only so many are remembered."""
        with patch.object(repeats, "_MOST", 10):
            for number in range(35):
                self.remember(b"GET /auth HTTP/1.1\r\nHost: a%d\r\n\r\n" % number)
                self.assertLessEqual(len(self.repeats._known), 10)
        self.assertEqual(len(self.repeats._known), 5)

    def test_lookups_in_vain(self) -> None:
        """After many lookups in vain one head in eight is looked up, until a lookup helps."""
        self.patch(repeats, "ONE_IN", 8)
        self.patch(sampling, "random", Random(1).random)
        users = [b"GET /auth HTTP/1.1\r\nHost: a%d\r\n\r\n" % n for n in range(10)]
        for number in range(100):
            head = b"GET /auth HTTP/1.1\r\nHost: once-%d\r\n\r\n" % number
            self.assertIsNone(self.repeats.find(head))
            self.remember(head)
        found = 0
        for number in range(300):
            head = users[number % 10]
            if self.repeats.find(head):
                self.repeats.succeeded()
                found += 1
            else:
                self.remember(head)
        self.assertEqual([self.repeats.find(head) is not None for head in users], [True] * 10)
        self.assertGreater(found, 100)

    def test_clients_that_take_turns(self) -> None:
        """A head is soon remembered, even if others that cannot be remembered come between."""
        self.patch(repeats, "ONE_IN", 8)
        self.patch(sampling, "random", Random(1).random)
        head = b"GET /auth HTTP/1.1\r\nHost: a\r\n\r\n"
        long = b"GET /auth HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 12 + b"\r\n"
        for _ in range(100):
            self.remember(head)
            self.remember(long)
        self.assertTrue(any(self.repeats.find(head) for _ in range(100)))
        self.assertFalse(any(self.repeats.find(long) for _ in range(100)))


class GatewayTests(SynchronousTestCase):
    """Requests to a gateway that remembers every head."""

    def setUp(self) -> None:
        self.patch(repeats, "ONE_IN", 1)

    def request(self, gateway: InMemoryGateway, authorization: str) -> int:
        channel, wire = gateway.connect(gateway.entrance)
        lines = ("GET /auth HTTP/1.1", "Host: a", f"Authorization: {authorization}", "", "")
        channel.dataReceived("\r\n".join(lines).encode())
        [answer] = answered(wire.value())
        return answer.status

    def test_change_is_seen_at_once(self) -> None:
        """A head that is recognised again gets the decision of now, not the one of before."""
        gateway = InMemoryGateway({"store": {"type": "memory"}})
        answer = gateway.post("/tokens", {}, Authorization=ALICE).json()
        bearer = f"Bearer {answer['token']}"
        self.assertEqual([self.request(gateway, bearer) for _ in range(3)], [200, 200, 200])
        gateway.ask(f"DELETE /tokens/{answer['id']}", Authorization=ALICE)
        self.assertEqual([self.request(gateway, bearer) for _ in range(2)], [401, 401])

    def test_reload(self) -> None:
        """After a reload a head that is recognised again is decided by the new configuration."""
        gateway = InMemoryGateway()
        self.assertEqual([self.request(gateway, ALICE) for _ in range(3)], [200, 200, 200])
        users = [{"username": "alice", "password": "another"}]
        plain = {"type": "plain", "name": "local", "realm": "internal", "users": users}
        gateway.serving.gateway = InMemoryGateway({"providers": [plain]}).serving.gateway
        self.assertEqual([self.request(gateway, ALICE) for _ in range(2)], [401, 401])

    def test_decision_is_not_cached(self) -> None:
        """
        A known head without a cached decision is parsed again, counts as a miss, and is not
        remembered a second time.
        """
        gateway = InMemoryGateway()
        self.request(gateway, ALICE)
        known = gateway.entrance.repeats
        earlier = known.misses
        with patch.object(known, "remember") as remember:
            gateway.serving.gateway.decisions.invalidate()
            self.assertEqual(self.request(gateway, ALICE), 200)
        remember.assert_not_called()
        self.assertEqual(known.misses, earlier + 1)

    def test_idle_connection_keeps_no_head(self) -> None:
        """After a reply nothing of the request is kept, neither its credential nor its size."""
        gateway = InMemoryGateway()
        channel, _ = gateway.connect(gateway.entrance)
        for _ in range(2):
            channel.dataReceived(f"GET /auth HTTP/1.1\r\nHost: a\r\nA: {ALICE}\r\n\r\n".encode())
            self.assertEqual(channel._bytes, b"")

    def test_clock_set_back(self) -> None:
        """If the clock is set back, an idle connection is closed in time, and no duration falls."""
        gateway = InMemoryGateway()
        channel, wire = gateway.connect(gateway.entrance)
        request = b"GET /auth HTTP/1.1\r\nHost: a\r\n\r\n"
        channel.dataReceived(request)
        gateway.clock.rightNow -= 3600
        channel.dataReceived(request)
        gateway.clock.advance((gateway.public.timeOut or 0) + 1)
        self.assertTrue(wire.disconnecting)

    def test_duration_is_never_negative(self) -> None:
        """A request that waits while the clock is set back took no time."""
        gateway = InMemoryGateway()
        held = gateway.hold()
        channel, _ = gateway.connect(gateway.entrance)
        channel.dataReceived(b"GET /auth HTTP/1.1\r\nHost: a\r\n\r\n")
        gateway.clock.rightNow -= 3600
        held.callback(gateway.good(Authentication(Identity("internal", "alice"))))
        text = gateway.metrics.text()[0].decode()
        sums = [line for line in text.splitlines() if "_duration_seconds_sum" in line]
        self.assertTrue(sums)
        self.assertFalse([line for line in sums if float(line.split()[-1]) < 0])

    def test_refusals_are_recognised_too(self) -> None:
        """A refused head is recognised as well, until its refusal expires."""
        gateway, wrong = InMemoryGateway(), basic("alice", "wrong")
        self.assertEqual([self.request(gateway, wrong) for _ in range(3)], [401, 401, 401])
