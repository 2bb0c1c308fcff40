"""Forms of the request target, limits of unfinished heads, and what is said of refused ones."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.config.schema import Access
from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from tests.web.conversations import ALICE, InMemoryGateway, Wire, answered

GOOD = f"Authorization: {ALICE}".encode()


def head(line: bytes, *fields: bytes, host: bytes = b"gate") -> bytes:
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: " + host, GOOD, *fields, b"", b""])


class HeadCase(SynchronousTestCase):
    """A gateway that is asked on both ways."""

    over: dict[str, Any] = {}  # noqa: RUF012 - as in a configuration; never changed

    def setUp(self) -> None:
        self.gateway = InMemoryGateway(self.over)
        self.sites = (self.gateway.entrance, self.gateway.public)

    def statuses(self, data: bytes) -> list[list[int]]:
        return [[each.status for each in self.gateway.say(data, site)] for site in self.sites]


class TargetTests(HeadCase):
    """The request target."""

    def test_absolute_form_N_ABS(self) -> None:
        """A target in absolute form names the resource of its path (RFC 9112 section 3.2.2)."""
        for line in (
            b"GET http://host/whoami",
            b"GET https://host:443/whoami?x=y",
            b"GET HTTP://HOST/whoami",
            b"GET http://[::1]:80/whoami",
            b"GET http://other.example/authenticate",
            b"GET http://host",
            b"GET http://host?x",
            b"GET http://host/?x=http://y/z",
            b"GET ftp://host/whoami",
        ):
            self.assertEqual(self.statuses(head(line)), [[200], [200]], line)

    def test_malformed_absolute_form_N_ABS(self) -> None:
        """An address without a host, or with a user name, is a 400 (RFC 9110 section 4.2.4)."""
        for line in (
            b"GET http:///whoami",
            b"GET http://user@host/whoami",
            b"GET http://user:secret@host/whoami",
            b"GET http://a..b/whoami",
            b"GET http://host:port/whoami",
        ):
            self.assertEqual(self.statuses(head(line)), [[400], [400]], line)

    def test_other_forms_N_ABS(self) -> None:
        """What is neither a path nor an address is a path that does not exist."""
        for line in (b"GET host:80", b"CONNECT host:80", b"OPTIONS *", b"GET whoami"):
            self.assertEqual(self.statuses(head(line)), [[404], [404]], line)

    def test_absolute_form_without_host_field_N_ABS(self) -> None:
        """A request of HTTP/1.1 without C{Host} is a 400, also if its target names the host."""
        data = b"GET http://host/whoami HTTP/1.1\r\n" + GOOD + b"\r\n\r\n"
        self.assertEqual(self.statuses(data), [[400], [400]])

    def test_host_of_the_target_counts_N_ABS(self) -> None:
        """The host of the target replaces a C{Host} field that would be refused."""
        data = head(b"GET http://host/whoami", host=b"a b")
        self.assertEqual(self.statuses(data), [[200], [200]])

    def test_body_of_absolute_form_N_ABS(self) -> None:
        """The body of a request whose target is an address is read by the route of its path."""
        data = head(b"POST http://host/tokens/revoke", b"Content-Length: 2") + b"{}"
        self.assertEqual(self.statuses(data), [[503], [503]])

    def test_query_beyond_ascii_H_QUERY(self) -> None:
        """The query may have any bytes beyond ASCII, as browsers and scripts send them."""
        for query in (b"q=caf\xc3\xa9", b"q=\xe9", b"\xff\xfe", b"%e9\xe9", b"q=a&\xc3"):
            for path in (b"/authenticate", b"/whoami", b"/health", b"/providers"):
                line = b"GET " + path + b"?" + query
                self.assertEqual(self.statuses(head(line)), [[200], [200]], line)

    def test_path_beyond_ascii_H_QUERY(self) -> None:
        """A path in UTF-8 is a path that does not exist; one that is not UTF-8 is a 400."""
        for path, status in (
            (b"/caf\xc3\xa9", 404),
            (b"/authenticate\xc3\xa9", 404),
            (b"/\xe9", 400),
        ):
            self.assertEqual(self.statuses(head(b"GET " + path)), [[status], [status]], path)


class LargeHeadTests(HeadCase):
    """Heads of many kilobytes."""

    def test_fast_path_H_HEADS(self) -> None:
        """The fast path answers heads of up to 64 KiB that come in one piece."""
        for size in (15_000, 17_000, 40_000, 65_000):
            data = head(b"GET /authenticate", b"X: " + b"x" * size)
            self.assertEqual(self.statuses(data), [[200], [200]])
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_pieces_H_HEADS(self) -> None:
        """The fast path answers large heads in pieces, too."""
        for size in (15_000, 17_000, 65_000):
            data = head(b"GET /authenticate", b"X: " + b"x" * size)
            [answer] = self.gateway.say(data, self.gateway.entrance, pieces=1_000)
            self.assertEqual(answer.status, 200)
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_limits_H_HEADS(self) -> None:
        """One byte more than 64 KiB is a 431, or a 414 in the request line, on both ways."""
        empty = head(b"GET /authenticate", b"X: ")
        for more, status in ((0, 200), (1, 431)):
            data = head(b"GET /authenticate", b"X: " + b"x" * (65_536 - len(empty) + more))
            self.assertEqual(self.statuses(data), [[status], [status]])
        self.assertEqual(self.statuses(head(b"GET /authenticate?" + b"x" * 65_600)), [[414], [414]])


class UnfinishedHeadTests(HeadCase):
    """Unfinished heads share a budget of the process."""

    over = {  # noqa: RUF012 - as in a configuration; never changed
        "server": {
            "max_header_bytes": 1_048_576,
            "max_unfinished_bytes": 1_048_576,
            "trusted_proxies": ["192.0.2.0/24"],
        }
    }

    def begin(self, site: Any, size: int, peer: str = "198.51.100.1") -> tuple[Any, Wire]:
        """Send the beginning of a head, in pieces, and return the connection."""
        address = IPv4Address("TCP", peer, 4711)
        wire = Wire(peerAddress=address)
        channel = site.buildProtocol(address)
        channel.makeConnection(wire)
        data = b"GET /authenticate HTTP/1.1\r\nX: ".ljust(size, b"x")
        for at in range(0, size, 10_000):
            channel.dataReceived(data[at : at + 10_000])
        return channel, wire

    def status(self, wire: Wire) -> list[int]:
        return [each.status for each in answered(wire.value())]

    def test_share_of_a_peer_H_HEADS_T75(self) -> None:
        """The unfinished heads of one peer take a quarter of the budget; a further one is a 503."""
        for site in self.sites:
            opened = [self.begin(site, 100_000) for _ in range(2)]
            _, wire = self.begin(site, 100_000)
            self.assertEqual(self.status(wire), [503])
            self.assertTrue(wire.half_closed)
            _, other = self.begin(site, 100_000, "198.51.100.2")
            self.assertEqual(self.status(other), [])
            for channel, _ in opened:
                channel.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(self.status(self.begin(site, 100_000)[1]), [])

    def test_all_peers_H_HEADS_T75(self) -> None:
        """The unfinished heads of all peers together do not exceed the budget."""
        for number in range(10):
            self.begin(self.gateway.public, 100_000, f"198.51.100.{number}")
        _, wire = self.begin(self.gateway.entrance, 100_000, "198.51.100.77")
        self.assertEqual(self.status(wire), [503])
        self.assertLessEqual(self.gateway.public.unfinished.size, 1_048_576)

    def test_trusted_proxies_H_HEADS_T75(self) -> None:
        """A trusted proxy, which sends the heads of many clients, may use all of the budget."""
        for _ in range(10):
            _, wire = self.begin(self.gateway.entrance, 100_000, "192.0.2.1")
            self.assertEqual(self.status(wire), [])
        _, wire = self.begin(self.gateway.entrance, 100_000, "192.0.2.1")
        self.assertEqual(self.status(wire), [503])

    def test_behind_a_waiting_request_H_HEADS_T75(self) -> None:
        """Bytes behind a request that waits for its answer count as well; then reading pauses."""
        asked = self.gateway.hold()
        budget = self.gateway.public.unfinished
        channel, wire = self.gateway.connect(self.gateway.entrance)
        channel.dataReceived(head(b"GET /authenticate"))
        channel.dataReceived(head(b"GET /health")[:50])
        self.assertEqual(budget.size, 50)
        budget.most = 100
        channel.dataReceived(b"x" * 100)
        self.assertEqual(wire.producerState, "paused")
        asked.callback(self.gateway.good(Authentication(Identity("internal", "alice"))))
        self.assertEqual(wire.producerState, "producing")
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(budget.size, 0)

    def test_released_H_HEADS_T75(self) -> None:
        """A head that is complete, refused, or whose connection is closed takes nothing."""
        whole = head(b"GET /authenticate")
        for site in self.sites:
            for end in (whole, b"nonsense\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n"):
                channel, _ = self.gateway.connect(site)
                for at in range(len(end)):
                    channel.dataReceived(end[at : at + 1])
                self.assertEqual(self.gateway.public.unfinished.size, 0, end)
            channel, _ = self.gateway.connect(site)
            channel.dataReceived(whole[:50])
            self.assertEqual(self.gateway.public.unfinished.size, 50)
            channel.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(self.gateway.public.unfinished.size, 0)


class RefusedTests(HeadCase):
    """Requests that cannot be parsed are counted and logged like others."""

    over = {"logging": {"access": "all"}}  # noqa: RUF012 - as in a configuration; never changed

    def observe(self) -> EventLoggingObserver:
        observer = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return observer

    def test_logged_and_counted_W_HEADS(self) -> None:
        """A 400, 414 or 431 of a head is in the access log and in the metrics."""
        observer = self.observe()
        for data, status in (
            (b"nonsense\r\n\r\n", 400),
            (b"GET /" + b"a" * 66_000, 414),
            (b"GET /health HTTP/1.1\r\nX: " + b"a" * 66_000, 431),
            (head(b"POST /tokens", b"Content-Length: 70000"), 413),
        ):
            for site in self.sites:
                self.gateway.say(data, site)
                event = list(observer)[-1]
                self.assertEqual(event["event"], "routes.request.answered")
                self.assertEqual((event["status"], event["client"]), (status, "192.0.2.7"))
            sample = (
                'authotron_http_requests_total{method="other",route="unmatched",'
                f'status_code="{status}"}} 2.0'
            )
            self.assertIn(sample, self.gateway.metrics.text()[0].decode())

    def test_failures_W_HEADS(self) -> None:
        """The access log of failures has refused heads, and no access log has none."""
        expected: tuple[tuple[Access, int], ...] = (("failures", 1), ("none", 0))
        for access, number in expected:
            self.gateway.public.set_access_log(access)
            observer = self.observe()
            self.gateway.say(b"nonsense\r\n\r\n")
            events = [each for each in observer if each["event"] == "routes.request.answered"]
            self.assertEqual(len(events), number)
