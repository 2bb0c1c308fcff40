"""Questions to other services: what is sent, what is believed, and when it is given up."""

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
from authotron.net.urls import Url, join_url
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


class QuestionTests(SynchronousTestCase):
    """One question and its answer."""

    def ask(self, play: Action, **given: Any) -> tuple[FakeRemote, RemoteResponse]:
        remote = FakeRemote(lambda _: play)
        return remote, self.successResultOf(start(web_client(remote).get(ASKED, **given)))

    def refused(self, play: Action) -> str:
        remote = FakeRemote(lambda _: play)
        deferred = start(web_client(remote).get(ASKED, {"token": SECRET}))
        reason = str(self.failureResultOf(deferred, Unavailable).value)
        self.assertNotIn("SECRET", reason)
        return reason

    def test_get_T68(self) -> None:
        """The values of a query arrive as they were, whatever is in them."""
        remote, answer = self.ask(Respond({"a": 1}), query={"token": SECRET})
        self.assertEqual(remote.requests[0].query, {"token": SECRET})
        self.assertEqual((answer.status, answer.json_object()), (200, {"a": 1}))

    def test_query_beside_query_T68(self) -> None:
        """A query that the configured address has is kept, and cannot be changed by a token."""
        remote = FakeRemote(lambda _: Respond({}))
        start(web_client(remote).get(f"{ASKED}?v=1", {"token": "x&v=2"}))
        self.assertEqual(remote.requests[0].query, {"v": "1", "token": "x&v=2"})

    def test_form(self) -> None:
        """A form is encoded, with the user and password beside it in UTF-8."""
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

    def test_status(self) -> None:
        """Any status is an answer; what it means is not for the client to say."""
        for status, good in ((200, True), (201, True), (302, False), (404, False), (500, False)):
            answer = self.ask(Respond({}, status))[1]
            self.assertEqual((answer.status, answer.is_success), (status, good))

    def test_redirect_T33(self) -> None:
        """Nobody is followed anywhere: a redirect is an answer like others."""
        play = Respond({}, 302, {"Location": "http://169.254.169.254/"})
        remote, answer = self.ask(play, query={"token": "x"})
        self.assertEqual((answer.is_success, len(remote.requests)), (False, 1))

    def test_cookies(self) -> None:
        """A cookie of one question is not sent with the next, which may be another user's."""
        remote = FakeRemote(lambda _: Respond({}, headers={"Set-Cookie": "user=alice; Path=/"}))
        web = web_client(remote)
        start(web.get(ASKED))
        start(web.get(ASKED))
        self.assertNotIn("cookie", remote.requests[1].headers)

    def test_no_mapping(self) -> None:
        """What is no JSON object is no answer."""
        for content in (b"<html>", b"", b"[1]", b'"text"', b"NaN", b"[" * 60_000, b"\xff"):
            with self.subTest(content[:9]):
                self.assertRaises(Unavailable, self.ask(Respond(content))[1].json_object)

    def test_strict_T94(self) -> None:
        """An answer that two readers could understand differently is no answer."""
        text = '{"uid": "tess"}'
        contents = [text.encode(each) for each in ("utf-8-sig", "utf-16", "utf-32-le")]
        contents += [b'{"uid": "tess", "uid": "root"}', rb'{"uid": "\ud800"}', rb'{"\udfff": 1}']
        contents += [b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": %b}' % (b"1" * 4000), b"{} {}"]
        contents += [b'{"a":' * 65 + b"1" + b"}" * 65]
        for content in contents:
            with self.subTest(content[:20]):
                self.assertRaises(Unavailable, self.ask(Respond(content))[1].json_object)

    def test_secret_body(self) -> None:
        """What was said is not shown by the answer's representation."""
        self.assertNotIn("SECRET", repr(self.ask(Respond({"a": "SECRET"}))[1]))

    def test_too_much_T69(self) -> None:
        """An answer above the limit is given up, and the connection closed."""
        remote = FakeRemote(lambda _: BeginResponse(b"x" * 70_000))
        deferred = start(web_client(remote).get(ASKED))
        remote.flush()
        self.assertIn("too large", self.failureResultOf(deferred, Unavailable).getErrorMessage())
        remote.flush()
        self.assertEqual(remote.abandoned, 1)

    def test_compressed_T33(self) -> None:
        """A compressed answer is not unpacked: it might not fit anywhere."""
        says = Respond(b"not unpacked", headers={"Content-Encoding": "gzip"})
        self.assertIn("compressed", self.refused(says))
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_none_wanted(self) -> None:
        """No compression is asked for."""
        self.assertEqual(
            self.ask(Respond({}))[0].requests[0].headers["accept-encoding"], "identity"
        )


class PatienceTests(SynchronousTestCase):
    """Nothing is waited for without end."""

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
        """A remote that says nothing is given up at the deadline, and the connection closed."""
        self.start(Hang())
        self.clock.advance(3)
        failure = self.failureResultOf(self.deferred, TimedOut)
        self.assertNotIn("SECRET", failure.getErrorMessage())
        self.given_up()

    def test_no_end_T69(self) -> None:
        """So is one that begins and does not end, however often it says a little more."""
        self.start(BeginResponse())
        for _ in range(3):
            self.assertNoResult(self.deferred)
            self.remote.unanswered[0].write(b" ")
            self.remote.flush()
            self.clock.advance(1)
        self.failureResultOf(self.deferred, TimedOut)
        self.given_up()

    def test_left_before_the_head(self) -> None:
        """Whoever stops waiting closes the connection, and nothing was unavailable."""
        self.start(Hang())
        self.deferred.cancel()
        self.failureResultOf(self.deferred, CancelledError)
        self.given_up()

    def test_left_amid_the_body(self) -> None:
        """So does one who stops while the body comes."""
        self.start(BeginResponse())
        self.deferred.cancel()
        self.failureResultOf(self.deferred, CancelledError)
        self.given_up()

    def test_broken_off(self) -> None:
        """An answer that breaks off is none."""
        self.start(BeginResponse())
        self.remote.unanswered[0].loseConnection()
        self.remote.flush()
        reason = self.failureResultOf(self.deferred, Unavailable).getErrorMessage()
        self.assertIn("http://remote.example/here broke off", reason)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BreakerTests(SynchronousTestCase):
    """A remote that cannot be reached is left alone for a while."""

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

    def test_nine(self) -> None:
        """Nine failures in a row are not enough."""
        for _ in range(9):
            self.fail()
        self.assertFalse(self.left_alone())

    def test_ten_T69(self) -> None:
        """After ten nobody asks it, and the answer is there at once; others are still asked."""
        self.open()
        self.assertTrue(self.left_alone())
        self.assertFalse(self.left_alone("http://other.example/"))
        self.assertEqual(self.web._breakers.open_count(), 1)

    def test_error_between(self) -> None:
        """An answer, even a bad one that a client may have provoked, begins the count anew."""
        for _ in range(9):
            self.fail()
        self.play = Respond({}, 500)
        self.successResultOf(start(self.web.get(ASKED)))
        self.play = Hang()
        self.fail()
        self.assertFalse(self.left_alone())

    def test_one_tries(self) -> None:
        """After the pause one may try, and only one."""
        self.open()
        self.clock.advance(10)
        trying = start(self.web.get(ASKED))
        self.assertTrue(self.left_alone())
        self.clock.advance(1)
        self.failureResultOf(trying, TimedOut)
        self.assertTrue(self.left_alone())

    def test_well_again(self) -> None:
        """When that one gets an answer everybody asks again."""
        self.open()
        self.clock.advance(10)
        self.play = Respond({})
        for _ in range(2):
            self.successResultOf(start(self.web.get(ASKED)))

    def test_in_time_T69(self) -> None:
        """However long it may take, it ends and counts before the request is given up."""
        self.web = web_client(self.remote, self.clock, timeout=60)
        asked = start(self.web.get(ASKED))
        self.clock.advance(4.9)  # of the 5 s that a world has
        self.failureResultOf(asked, TimedOut)

    def test_trier_leaves(self) -> None:
        """When the one that tries leaves, the next may try."""
        self.open()
        self.clock.advance(10)
        self.assertFalse(self.left_alone())
        self.assertFalse(self.left_alone())


class SlotsTests(SynchronousTestCase):
    """A limit of questions at once."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.remote = FakeRemote(lambda _: Hang())
        self.web = web_client(self.remote, self.clock, connections=2, timeout=4)

    def ask(self, count: int = 1) -> list[Deferred[Any]]:
        return [start(self.web.get(ASKED, {"a": SECRET})) for _ in range(count)]

    def test_limited_T85a(self) -> None:
        """A question above the limit is asked when another one was answered."""
        asked = self.ask(3)
        self.assertEqual(len(self.remote.requests), 2)
        self.remote.unanswered.pop(0).finish()
        self.remote.flush()
        self.successResultOf(asked[0])
        self.assertEqual(len(self.remote.requests), 3)

    def test_left_T85a(self) -> None:
        """A client that leaves gives its slot to the next, and the connection is closed."""
        first, second, third = self.ask(3)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(len(self.remote.requests), 3)
        self.remote.flush()
        self.assertEqual(self.remote.abandoned, 1)
        for each in (second, third):
            each.addErrback(lambda _: None)
            each.cancel()

    def test_left_the_queue_T85a(self) -> None:
        """A client that leaves the queue is never asked for."""
        asked = self.ask(4)
        asked[2].cancel()
        self.failureResultOf(asked[2], CancelledError)
        self.clock.advance(4)
        self.assertEqual(len(self.remote.requests), 2)
        for each in (asked[0], asked[1], asked[3]):
            self.failureResultOf(each, Unavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_turn_T85a(self) -> None:
        """A question that waits for a slot until its deadline is an outage, with the reason."""
        asked = self.ask(2)
        self.clock.advance(1)
        third = start(self.web.get(ASKED, timeout=2))
        self.clock.advance(2)
        reason = str(self.failureResultOf(third, TimedOut).value)
        self.assertIn("2 questions were under way for 2 s", reason)
        self.assertNotIn("SECRET", reason)
        self.clock.advance(1)
        for each in asked:
            self.failureResultOf(each, TimedOut)
        self.assertEqual(len(self.remote.requests), 2)

    def test_short_of_time_T85a(self) -> None:
        """A question that was asked in the last moment does not open the circuit."""
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
        """Where the circuit is open no question waits for a slot."""
        for _ in range(5):
            for each in self.ask(2):
                each.addErrback(lambda _: None)
            self.clock.advance(4)
        self.assertEqual(self.web._breakers.open_count(), 1)
        [refused] = self.ask()
        self.assertIn("circuit open", str(self.failureResultOf(refused, Unavailable).value))


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

    def test_believed(self) -> None:
        """A remote with a good certificate is asked."""
        for url, place, shape in (
            ("https://localhost/", ("localhost", 443), named("localhost")),
            ("https://127.0.0.1:8/", ("127.0.0.1", 8), numbered("127.0.0.1")),
        ):
            asking = self.asks(shape, url)
            self.assertIn(b"GET /?token=", self.server.heard)
            self.assertEqual(self.places[-1], place)
            asking.addErrback(lambda _: None)
            asking.cancel()

    def test_refused_S_TLS(self) -> None:
        """
        A remote that did not prove who it is hears nothing, is told with the reason, and counts as
        unreachable.
        """
        for name, (shape, told) in ODD.items():
            with self.subTest(name):
                failure = self.failureResultOf(self.asks(shape), Unavailable)
                self.assertIn(told, str(failure.value))
                self.assertNotIn("SECRET", str(failure.value))
                self.assertEqual(self.server.heard, b"")

    def test_left_alone_S_TLS(self) -> None:
        """Ten refusals in a row, and the remote is not asked for a while."""
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
    """What may stand in a section."""

    def problem(self, **given: Any) -> str:
        return str(self.assertRaises(ConfigError, section.read, Section, given))

    def test_url(self) -> None:
        """An address is one of HTTP, without a password, a fragment or blanks."""
        for bad in (
            "ftp://a",
            "a",
            "http://",
            "http://u:p@a",
            "http://a#b",
            "http://a b",
            "http://é",
        ):
            with self.subTest(bad):
                self.assertIn("uri", self.problem(uri=bad))

    def test_warning(self) -> None:
        """An address without TLS is worth a word, unless it is this machine."""
        for url, count in (("http://a.example", 1), ("http://127.0.0.1:1", 0), ("https://a", 0)):
            with self.subTest(url):
                self.assertEqual(len(section.read(Section, {"uri": url}).warnings()), count)

    def test_files(self) -> None:
        """A file that is not there, or holds no certificate, is a mistake of the configuration."""
        self.assertIn("cannot read", self.problem(ca_file="missing.pem"))
        self.assertIn("not hold a certificate", self.problem(ca_file=__file__))
        self.assertIn("together", self.problem(client_key_file="key.pem"))

    def test_below(self) -> None:
        """An address below another does not care for a last slash, and encodes its steps."""
        self.assertEqual(join_url("http://a/b/", "c d", "e/f"), "http://a/b/c%20d/e%2Ff")
        self.assertEqual(join_url("http://a?x=1", "c"), "http://a/c?x=1")
