"""Requests to remote services: what is sent, accepted, and timed out."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.errors import ConfigError, TimedOut, Unavailable
from authotron.net.breaker import Breakers
from authotron.net.http import RemoteConfig, RemoteResponse, WebClient
from authotron.net.http_agents import Connections
from authotron.net.tls import Trust
from authotron.net.urls import Url, join_url, request_url
from authotron.testing.remotes import (
    Action,
    BeginResponse,
    FakeRemote,
    Hang,
    Respond,
    start,
    web_client,
)
from authotron.testing.worlds import NOW, clock_at
from tests.certificates import ODD, Authority, Shape, named, numbered
from tests.net.test_tls import Server

ASKED = "http://remote.example/here"
SECRET = "SECRET&a=b c/é"


class Section(RemoteConfig):
    uri: Url | None = None


class RequestTests(SynchronousTestCase):
    """One request and its response."""

    def ask(self, play: Action, **given: Any) -> tuple[FakeRemote, RemoteResponse]:
        remote = FakeRemote(lambda _: play)
        return remote, self.successResultOf(start(web_client(remote).get(ASKED, **given)))

    def refused(self, play: Action) -> str:
        remote = FakeRemote(lambda _: play)
        deferred = start(web_client(remote).get(ASKED, {"token": SECRET}))
        reason = str(self.failureResultOf(deferred, Unavailable).value)
        self.assertNotIn("SECRET", reason)
        return reason

    def test_query_arrives_unchanged_T68(self) -> None:
        """The values of a query arrive unchanged, whatever characters they contain."""
        remote, answer = self.ask(Respond({"a": 1}), query={"token": SECRET})
        self.assertEqual(remote.requests[0].query, {"token": SECRET})
        self.assertEqual((answer.status, answer.json_object()), (200, {"a": 1}))

    def test_query_beside_query_T68(self) -> None:
        """A query in the configured URL is kept, and a token cannot change it."""
        remote = FakeRemote(lambda _: Respond({}))
        start(web_client(remote).get(f"{ASKED}?v=1", {"token": "x&v=2"}))
        self.assertEqual(remote.requests[0].query, {"v": "1", "token": "x&v=2"})

    def test_form(self) -> None:
        """A form is encoded, with user and password beside it in UTF-8."""
        remote = FakeRemote(lambda _: Respond({}))
        start(web_client(remote).post(ASKED, form={"token": SECRET}, basic=("gate", "s3cr:t é")))
        self.assertEqual(remote.requests[0].form, {"token": SECRET})
        self.assertEqual(remote.requests[0].headers["authorization"], "Basic Z2F0ZTpzM2NyOnQgw6k=")

    def test_json(self) -> None:
        """Content is sent as JSON."""
        remote = FakeRemote(lambda _: Respond({}))
        start(web_client(remote).post(ASKED, content={"token": SECRET}, bearer="key"))
        self.assertEqual(remote.requests[0].json, {"token": SECRET})
        self.assertEqual(remote.requests[0].headers["authorization"], "Bearer key")

    def test_any_status_is_a_response(self) -> None:
        """Any status code is a response, which the caller interprets."""
        for status, good in ((200, True), (201, True), (302, False), (404, False), (500, False)):
            answer = self.ask(Respond({}, status))[1]
            self.assertEqual((answer.status, answer.is_success), (status, good))

    def test_redirect_is_not_followed_T33(self) -> None:
        """A redirect is not followed: it is a response like any other."""
        play = Respond({}, 302, {"Location": "http://169.254.169.254/"})
        remote, answer = self.ask(play, query={"token": "x"})
        self.assertEqual((answer.is_success, len(remote.requests)), (False, 1))

    def test_cookies_are_not_sent_back(self) -> None:
        """
        A cookie of one response is not sent with the next request, which may be another
        user's.
        """
        remote = FakeRemote(lambda _: Respond({}, headers={"Set-Cookie": "user=alice; Path=/"}))
        web = web_client(remote)
        start(web.get(ASKED))
        start(web.get(ASKED))
        self.assertNotIn("cookie", remote.requests[1].headers)

    def test_not_a_json_object(self) -> None:
        """A body that is not a JSON object is an outage."""
        for content in (b"<html>", b"", b"[1]", b'"text"', b"NaN", b"[" * 60_000, b"\xff"):
            with self.subTest(content[:9]):
                self.assertRaises(Unavailable, self.ask(Respond(content))[1].json_object)

    def test_ambiguous_json_T94(self) -> None:
        """A JSON body that two parsers could read differently is an outage."""
        text = '{"uid": "tess"}'
        contents = [text.encode(each) for each in ("utf-8-sig", "utf-16", "utf-32-le")]
        contents += [b'{"uid": "tess", "uid": "root"}', rb'{"uid": "\ud800"}', rb'{"\udfff": 1}']
        contents += [b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": %b}' % (b"1" * 4000), b"{} {}"]
        contents += [b'{"a":' * 65 + b"1" + b"}" * 65]
        for content in contents:
            with self.subTest(content[:20]):
                self.assertRaises(Unavailable, self.ask(Respond(content))[1].json_object)

    def test_body_is_not_in_the_repr(self) -> None:
        """The body of a response is not part of its representation."""
        self.assertNotIn("SECRET", repr(self.ask(Respond({"a": "SECRET"}))[1]))

    def test_large_T69_H_SIZE(self) -> None:
        """A response may have up to 1 MiB."""
        text = "x" * 1_000_000
        self.assertEqual(self.ask(Respond({"a": text}))[1].json_object(), {"a": text})

    def test_too_large_T69(self) -> None:
        """A response above the limit is an outage, and its connection is closed."""
        remote = FakeRemote(lambda _: BeginResponse(b"x" * 1_100_000))
        deferred = start(web_client(remote).get(ASKED))
        remote.flush()
        self.assertIn("too large", self.failureResultOf(deferred, Unavailable).getErrorMessage())
        remote.flush()
        self.assertEqual(remote.abandoned, 1)

    def test_compressed_T33(self) -> None:
        """A compressed response is not unpacked, since it could exceed the memory."""
        gc.freeze()  # what was there before need not be searched
        self.addCleanup(gc.unfreeze)
        says = Respond(b"not unpacked", headers={"Content-Encoding": "gzip"})
        self.assertIn("compressed", self.refused(says))
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_asks_for_no_compression(self) -> None:
        """A request asks the remote not to compress the response."""
        self.assertEqual(
            self.ask(Respond({}))[0].requests[0].headers["accept-encoding"], "identity"
        )


class DeadlineTests(SynchronousTestCase):
    """Every request has a deadline."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)

    def start(self, play: Action) -> None:
        self.remote = FakeRemote(lambda _: play)
        self.deferred = start(
            web_client(self.remote, self.clock, timeout=3).get(ASKED, {"a": SECRET})
        )
        self.remote.flush()
        self.assertNoResult(self.deferred)

    def given_up(self) -> None:
        self.remote.flush()
        self.assertEqual(self.remote.abandoned, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_head_T69(self) -> None:
        """If a remote does not answer until the deadline, the connection is closed."""
        self.start(Hang())
        self.clock.advance(3)
        failure = self.failureResultOf(self.deferred, TimedOut)
        self.assertNotIn("SECRET", failure.getErrorMessage())
        self.given_up()

    def test_no_end_T69(self) -> None:
        """If a remote does not end its response until the deadline, the connection is closed."""
        self.start(BeginResponse())
        for _ in range(3):
            self.assertNoResult(self.deferred)
            self.remote.unanswered[0].write(b" ")
            self.remote.flush()
            self.clock.advance(1)
        self.failureResultOf(self.deferred, TimedOut)
        self.given_up()

    def test_cancelled_before_the_head(self) -> None:
        """A cancelled request closes the connection, and does not count as an outage."""
        self.start(Hang())
        self.deferred.cancel()
        self.failureResultOf(self.deferred, CancelledError)
        self.given_up()

    def test_cancelled_amid_the_body(self) -> None:
        """A request that is cancelled amid the body closes the connection."""
        self.start(BeginResponse())
        self.deferred.cancel()
        self.failureResultOf(self.deferred, CancelledError)
        self.given_up()

    def test_broken_off(self) -> None:
        """A response that breaks off is an outage."""
        self.start(BeginResponse())
        self.remote.unanswered[0].loseConnection()
        self.remote.flush()
        reason = self.failureResultOf(self.deferred, Unavailable).getErrorMessage()
        self.assertIn("http://remote.example/here: connection lost", reason)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BreakerTests(SynchronousTestCase):
    """The circuit breaker of a remote that fails."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.play: Action = Hang()
        self.remote = FakeRemote(lambda _: self.play)
        self.web: WebClient = web_client(self.remote, self.clock, timeout=1)

    def fail(self) -> None:  # type: ignore[override] # nothing else here fails
        deferred = start(self.web.get(ASKED))
        self.clock.advance(1)
        self.failureResultOf(deferred, TimedOut)

    def left_alone(self, url: str = ASKED) -> bool:
        before = len(self.remote.requests)
        deferred = start(self.web.get(url))
        deferred.addErrback(lambda _: None)
        deferred.cancel()
        return len(self.remote.requests) == before

    def open(self) -> None:
        for _ in range(10):
            self.fail()

    def test_nine_failures(self) -> None:
        """Nine failures in a row do not open the circuit."""
        for _ in range(9):
            self.fail()
        self.assertFalse(self.left_alone())

    def test_ten_failures_T69(self) -> None:
        """
        After ten failures in a row the remote is not asked, and requests fail at once;
        others are asked.
        """
        self.open()
        self.assertTrue(self.left_alone())
        self.assertFalse(self.left_alone("http://other.example/"))
        self.assertEqual(self.web._breakers.open_count(), 1)

    def test_any_response_resets_the_count(self) -> None:
        """A response, even an error that a client may have caused, resets the count of failures."""
        for _ in range(9):
            self.fail()
        self.play = Respond({}, 500)
        self.successResultOf(start(self.web.get(ASKED)))
        self.play = Hang()
        self.fail()
        self.assertFalse(self.left_alone())

    def test_one_request_after_the_pause(self) -> None:
        """After the pause one request is let through, and only one."""
        self.open()
        self.clock.advance(10)
        trying = start(self.web.get(ASKED))
        self.assertTrue(self.left_alone())
        self.clock.advance(1)
        self.failureResultOf(trying, TimedOut)
        self.assertTrue(self.left_alone())

    def test_circuit_closes(self) -> None:
        """If the request after the pause is answered, all requests are let through."""
        self.open()
        self.clock.advance(10)
        self.play = Respond({})
        for _ in range(2):
            self.successResultOf(start(self.web.get(ASKED)))

    def test_timeout_within_the_request_T69(self) -> None:
        """Whatever timeout is configured, a request ends and counts before the plugin times out."""
        self.web = web_client(self.remote, self.clock, timeout=60)
        asked = start(self.web.get(ASKED))
        self.clock.advance(4.9)  # of the 5 s that a world has
        self.failureResultOf(asked, TimedOut)

    def test_cancelled_request_after_the_pause(self) -> None:
        """If the request after the pause is cancelled, the next request is let through."""
        self.open()
        self.clock.advance(10)
        self.assertFalse(self.left_alone())
        self.assertFalse(self.left_alone())


class SlotsTests(SynchronousTestCase):
    """A limit of requests at once."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.remote = FakeRemote(lambda _: Hang())
        self.web = web_client(self.remote, self.clock, connections=2, timeout=4)

    def ask(self, count: int = 1) -> list[Deferred[Any]]:
        return [start(self.web.get(ASKED, {"a": SECRET})) for _ in range(count)]

    def test_limited_T85a(self) -> None:
        """A request above the limit is sent when another one was answered."""
        asked = self.ask(3)
        self.assertEqual(len(self.remote.requests), 2)
        self.remote.unanswered.pop(0).finish()
        self.remote.flush()
        self.successResultOf(asked[0])
        self.assertEqual(len(self.remote.requests), 3)

    def test_cancelled_request_releases_its_slot_T85a(self) -> None:
        """A request that is cancelled releases its slot, and its connection is closed."""
        first, second, third = self.ask(3)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(len(self.remote.requests), 3)
        self.remote.flush()
        self.assertEqual(self.remote.abandoned, 1)
        for each in (second, third):
            each.addErrback(lambda _: None)
            each.cancel()

    def test_cancelled_in_the_queue_T85a(self) -> None:
        """A request that is cancelled in the queue is never sent."""
        asked = self.ask(4)
        asked[2].cancel()
        self.failureResultOf(asked[2], CancelledError)
        self.clock.advance(4)
        self.assertEqual(len(self.remote.requests), 2)
        for each in (asked[0], asked[1], asked[3]):
            self.failureResultOf(each, Unavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_slot_in_time_T85a(self) -> None:
        """A request that waits for a slot until its deadline is an outage, with the reason."""
        asked = self.ask(2)
        self.clock.advance(1)
        third = start(self.web.get(ASKED, timeout=2))
        self.clock.advance(2)
        reason = str(self.failureResultOf(third, TimedOut).value)
        self.assertIn("2 requests were under way for 2 s", reason)
        self.assertNotIn("SECRET", reason)
        self.clock.advance(1)
        for each in asked:
            self.failureResultOf(each, TimedOut)
        self.assertEqual(len(self.remote.requests), 2)

    def test_little_time_left_T85a(self) -> None:
        """A request that was sent shortly before its deadline does not open the circuit."""
        for _ in range(12):
            first, second = self.ask(2)
            self.clock.advance(2)
            late = self.ask(2)
            self.clock.advance(1)
            self.remote.finish_all()
            self.successResultOf(first)
            self.successResultOf(second)
            self.clock.advance(3)
            for each in late:
                self.failureResultOf(each, TimedOut)
            self.remote.unanswered.clear()
        self.assertEqual(self.web._breakers.open_count(), 0)

    def test_open_circuit_T85a(self) -> None:
        """If the circuit is open, no request waits for a slot."""
        for _ in range(5):
            for each in self.ask(2):
                each.addErrback(lambda _: None)
            self.clock.advance(4)
        self.assertEqual(self.web._breakers.open_count(), 1)
        [refused] = self.ask()
        error = str(self.failureResultOf(refused, Unavailable).value)
        self.assertIn("circuit open after repeated failures, the last: no answer within", error)


class PeerTests(SynchronousTestCase):
    """A remote over TLS in memory."""

    def setUp(self) -> None:
        self.clock = clock_at(0)
        self.places: list[tuple[str, int]] = []

    def asks(self, shape: Shape, url: str = "https://localhost/") -> Deferred[Any]:
        authority = Authority()
        server = Server(authority.issued(shape))

        def connect(host: str, port: int, /) -> Any:
            self.places.append((host, port))
            return server

        trust = Trust(authority.pem())
        agents = Connections(self.clock, connect)  # type: ignore[arg-type] # as much as is needed
        web = WebClient(self.clock, agents, trust, 3, Breakers())
        asking = start(web.get(url, {"token": SECRET}))
        server.pump(self.clock)
        self.server = server
        return asking

    def test_trusted(self) -> None:
        """A remote with a valid certificate is asked."""
        for url, place, shape in (
            ("https://localhost/", ("localhost", 443), named("localhost")),
            ("https://127.0.0.1:8/", ("127.0.0.1", 8), numbered("127.0.0.1")),
        ):
            asking = self.asks(shape, url)
            self.assertIn(b"GET /?token=", self.server.heard)
            self.assertEqual(self.places[-1], place)
            asking.addErrback(lambda _: None)
            asking.cancel()

    def test_untrusted_S_TLS(self) -> None:
        """
        A remote that was not verified receives no request, is an outage with the reason,
        and counts as unreachable.
        """
        for name, (shape, reason) in ODD.items():
            with self.subTest(name):
                failure = self.failureResultOf(self.asks(shape), Unavailable)
                self.assertIn(reason, str(failure.value))
                self.assertNotIn("SECRET", str(failure.value))
                self.assertEqual(self.server.heard, b"")

    def test_untrusted_remote_opens_the_circuit_S_TLS(self) -> None:
        """After ten failed verifications in a row the circuit is open."""
        authority = Authority()
        server = Server(authority.issued(named("elsewhere.example")))
        agents = Connections(self.clock, lambda host, port, /: server)  # type: ignore[arg-type] # as much as is needed
        web = WebClient(self.clock, agents, Trust(authority.pem()), 3, Breakers())
        for _ in range(10):
            asking = start(web.get("https://localhost/"))
            server.pump(self.clock)
            self.failureResultOf(asking, Unavailable)
        self.assertEqual(web._breakers.open_count(), 1)


class ConfigTests(SynchronousTestCase):
    """The keys of a section."""

    def problem(self, **given: Any) -> str:
        return str(self.assertRaises(ConfigError, section.read, Section, given))

    def test_url(self) -> None:
        """A URL is http or https, without a password, and with a host that can be looked up."""
        for bad in (
            "ftp://a",
            "a",
            "http://",
            "http://u:p@a",
            "http://a b",
            "http://\x1b",
            "",
            " ",
            "http://\u2665",
            "http://[::1",
            "http://[fe80::1%eth0]/",
            "http://[1.2.3.4]/",
            "http://a..b/",
            "http://.a/",
            "http://%61/",
            "http://" + "a" * 64,
            "http://" + "a." * 127 + "a",
        ):
            with self.subTest(bad):
                self.assertIn("uri", self.problem(uri=bad))

    def test_url_is_read_as_in_auth_o_tron_O_VALUE(self) -> None:
        """Blanks around a URL and its fragment are removed; path and query are encoded."""
        for text, meant in (
            (" http://a/p \n", "http://a/p"),
            ("http://a/\n  p\t", "http://a/  p".replace(" ", "%20")),
            ("http://a/p?q=1#fragment", "http://a/p?q=1"),
            ("http://a/é b?c=ü%20d", "http://a/%C3%A9%20b?c=%C3%BC%20d"),
            ("HTTPS://A/p/", "HTTPS://A/p/"),
            ("http://a/{x}|y", "http://a/{x}|y"),
        ):
            with self.subTest(text):
                self.assertEqual(section.read(Section, {"uri": text}).uri, meant)

    def test_warning(self) -> None:
        """A URL without TLS gives a warning, unless it is on this machine."""
        for url, count in (("http://a.example", 1), ("http://127.0.0.1:1", 0), ("https://a", 0)):
            with self.subTest(url):
                self.assertEqual(len(section.read(Section, {"uri": url}).warnings()), count)

    def test_files(self) -> None:
        """
        A file that does not exist, or does not hold a certificate, is a problem of the
        configuration.
        """
        self.assertIn("cannot read", self.problem(ca_file="missing.pem"))
        self.assertIn("not hold a certificate", self.problem(ca_file=__file__))
        self.assertIn("or neither", self.problem(client_key="a key"))

    def test_request_url_H_IDNA(self) -> None:
        """A request has a path, a query that is encoded, and no empty port."""
        for url, sent in (
            ("http://a", "http://a/?q=%C3%A9%20%26"),
            ("http://a:?x=1", "http://a/?x=1&q=%C3%A9%20%26"),
            ("http://[::1]:8/p?", "http://[::1]:8/p?q=%C3%A9%20%26"),
            ("http://a/é", "http://a/%C3%A9?q=%C3%A9%20%26"),
        ):
            self.assertEqual(request_url(url, {"q": "é &"}), sent)

    def test_join_url(self) -> None:
        """Joining path segments to a URL ignores a last slash, and encodes the segments."""
        self.assertEqual(join_url("http://a/b/", "c d", "e/f"), "http://a/b/c%20d/e%2Ff")
        self.assertEqual(join_url("http://a?x=1", "c"), "http://a/c?x=1")
