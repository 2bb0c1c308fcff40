"""What the gateway answers by FastCGI, and which connections it closes."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.outcomes import Decision, Outcome
from authotron.model.authentication import Authentication
from authotron.model.errors import Unavailable
from authotron.model.identity import Identity
from authotron.model.request import Facts
from authotron.web.answering import identity_fields
from authotron.web.channel import LAST_CALL, MOST_IGNORED
from authotron.web.fastcgi import answers, records
from authotron.web.fastcgi.answers import LONGEST_LINE
from authotron.web.replies import HEALTHY
from tests.config.cases import laid_over
from tests.web.conversations import ALICE, Failing, basic
from tests.web.fastcgi.conversations import (
    PROXIED,
    FastCgiGateway,
    answer,
    asking,
    begin,
    read,
    variables,
)

SOCKET = UNIXAddress("/run/apache.sock")


CONTENTS = some.sampled_from(
    [
        b"",
        begin()[8:],
        begin(flags=1)[8:],
        begin(role=1)[8:],
        variables({"HTTP_AUTHORIZATION": ...}),
        variables({"REQUEST_URI": ...}),
        variables({})[:60],
        records.encode_pair(b"FCGI_MAX_REQS", b""),
    ]
)
RECORDS = some.builds(
    records.encode, some.integers(0, 12), some.integers(0, 2), CONTENTS | some.binary(max_size=9)
)
"""Well-formed records of any type, with contents that belong there and others."""


class FastCgiCase(SynchronousTestCase):
    """A gateway that is asked by FastCGI."""

    def setUp(self) -> None:
        self.served = FastCgiGateway()
        self.events = EventLoggingObserver()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def logged(self, name: str) -> list[dict[str, Any]]:
        return [dict(each) for each in self.events if each.get("event") == name]


class AnswerTests(FastCgiCase):
    """The answers to questions."""

    def test_good_credential(self) -> None:
        """An identity is a 200 with a variable for the JWT and each header, and no body."""
        found = self.served.ask()
        self.assertEqual((found.status, found.body), (200, b""))
        self.assertTrue(found.headers.pop("Variable-Authorization").startswith("Bearer ey"))
        expected = {
            "Variable-X_Auth_Username": "alice",
            "Variable-X_Auth_Realm": "internal",
            "Variable-X_Auth_Roles": "",
        }
        self.assertEqual(found.headers, expected)

    def test_refusals_have_no_identity_S_FCGI(self) -> None:
        """A missing or a wrong credential is a 401 with challenge and body, without variables."""
        for over in ({"HTTP_AUTHORIZATION": ...}, {"HTTP_AUTHORIZATION": basic("alice", "no")}):
            found = self.served.ask(**over)
            self.assertEqual(found.status, 401)
            self.assertEqual(found.headers["WWW-Authenticate"], 'Basic realm="internal"')
            self.assertIn(b"Unauthorized", found.body)
            self.assertNotIn("Variable", str(found.headers))

    def test_no_identity_is_no_200_S_FCGI(self) -> None:
        """A reply with status 200 and without an identity, which would be a defect, is a 500."""
        contract = self.served.gateway.serving.gateway.contracts.of_protocol("fastcgi")
        decision = Decision(Outcome("error"), HEALTHY)
        self.assertEqual(identity_fields(contract, decision, Facts()), ())
        self.assertTrue(answers.content(HEALTHY).startswith(b"Status: 500 "))

    def test_every_role_of_apache(self) -> None:
        """
        Apache asks as an authenticator (C{AuthnzFcgiCheckAuthnProvider}) or as an authorizer
        (C{Require}): either way the credential is judged.
        """
        for role in ("AUTHENTICATOR", "AUTHORIZER", "ACCESS_CHECKER"):
            over = {"FCGI_APACHE_ROLE": role, "REMOTE_USER": "alice", "AUTH_TYPE": "Basic"}
            self.assertEqual(self.served.ask(**over).status, 200)
            self.assertEqual(self.served.ask(**over, HTTP_AUTHORIZATION=...).status, 401)

    def test_outage_is_a_503(self) -> None:
        """If no provider can judge, the answer is a 503 with C{Retry-After}."""
        authenticator = self.served.gateway.serving.gateway.authenticator
        self.patch(authenticator, "providers", (Failing(Unavailable("down")),))
        found = self.served.ask()
        self.assertEqual((found.status, found.headers["Retry-After"]), (503, "5"))

    def test_only_judged_credential_counts_S_FCGI(self) -> None:
        """
        C{REMOTE_USER} and C{REMOTE_PASSWD} are not believed: Apache sets both before the gateway
        has judged the credential.
        """
        for over in (
            {"REMOTE_USER": "alice", "AUTH_TYPE": "Basic"},
            {"REMOTE_USER": "alice", "REMOTE_PASSWD": "wonder", "AUTH_TYPE": "Basic"},
            {"HTTP_REMOTE_USER": "alice", "HTTP_X_AUTH_USERNAME": "alice"},
            {"HTTP_PROXY_AUTHORIZATION": ALICE},
        ):
            self.assertEqual(self.served.ask(HTTP_AUTHORIZATION=..., **over).status, 401)
        found = self.served.ask(REMOTE_USER="root", REMOTE_PASSWD="x", HTTP_X_AUTH_ROLES="admin")
        self.assertEqual(found.headers["Variable-X_Auth_Username"], "alice")
        self.assertEqual(found.headers["Variable-X_Auth_Roles"], "")

    def test_question_without_its_target_is_refused_S_FCGI(self) -> None:
        """
        A question without C{REQUEST_URI}, C{REQUEST_METHOD} or C{REMOTE_ADDR} is refused, because
        Apache leaves out what does not fit into 16 KiB and asks nevertheless.
        """
        for name in ("REQUEST_URI", "REQUEST_METHOD", "REMOTE_ADDR"):
            for missing in (..., ""):
                found = self.served.ask(**{name: missing})
                self.assertEqual(found.status, 400)
                self.assertNotIn("Variable", str(found.headers))
        counted = self.served.counted("authotron_unusable_facts_total")
        self.assertEqual([*counted.values()], [2, 2, 2])
        first, *_ = self.logged("routes.fastcgi.refused")
        self.assertEqual(first["why"], "without REQUEST_URI")
        access = self.logged("routes.request.answered")
        self.assertEqual((access[0]["status"], access[0]["reason"]), (400, "without REQUEST_URI"))

    def test_duplicate_or_malformed_variables_are_refused_S_FCGI(self) -> None:
        """Duplicate variables, too many, and a stream that ends within one are a 400."""
        twice = variables({}) + records.encode_pair(b"REQUEST_URI", b"/admin")
        many = b"".join([records.encode_pair(b"V%d" % n, b"") for n in range(1_001)])
        for stream in (twice, variables({})[:-1], variables({}) + many, b"\xff"):
            data = begin() + records.encode_stream(records.PARAMS, 1, stream)
            self.assertEqual(answer(self.served.send(data).value()).status, 400)
        self.assertEqual(self.served.ask(REQUEST_METHOD="GET /admin").status, 400)

    def test_variables_never_reach_the_environment_S_FCGI(self) -> None:
        """C{HTTP_PROXY} would be the client's header C{Proxy} for every outgoing request."""
        before = dict(os.environ)
        for status in (200, 400):
            missing = {"REQUEST_URI": ...} if status == 400 else {}
            over = {"HTTP_PROXY": "http://evil.example", "LD_PRELOAD": "/x", **missing}
            self.assertEqual(self.served.ask(**over).status, status)
        self.assertEqual(dict(os.environ), before)

    def test_line_too_long_for_apache_is_a_refusal_S_FCGI(self) -> None:
        """
        An answer with a line above 8,000 bytes is a 403 without identity, with metric and log;
        else Apache sends the rest of the JWT to the client.
        """
        for size, status in ((LONGEST_LINE - 100, 200), (LONGEST_LINE + 1, 403)):
            served = FastCgiGateway()
            identity = Identity(realm="internal", username="alice", roles=("r" * size,))
            decision = served.gateway.good(Authentication(identity, "staff"))
            asked = served.gateway.hold()
            connection, wire = served.connect()
            connection.dataReceived(asking())
            asked.callback(decision)
            found = answer(wire.value())
            self.assertEqual(found.status, status)
            lines = [len(f"{name}: {value}") for name, value in found.headers.items()]
            self.assertLessEqual(max(lines), LONGEST_LINE)
            counted = served.counted("authotron_answers_too_long_total")
            self.assertEqual([*counted.values()], [] if status == 200 else [1])
        self.assertNotIn("Variable", str(found.headers))
        self.assertEqual(len(self.logged("routes.answer.too_large")), 1)

    def test_host_and_address_for_limited_tokens_S_FCGI(self) -> None:
        """
        Conditions see C{HTTP_HOST} and C{REMOTE_ADDR}, and no header by which a client could claim
        another host or address.
        """
        served = FastCgiGateway({**PROXIED, "store": {"type": "memory"}})
        limits = {"hosts": ["app.example.org"], "networks": ["203.0.113.0/24"]}
        made = served.gateway.post("/tokens", limits, Authorization=ALICE).json()
        bearer = {"HTTP_AUTHORIZATION": f"Bearer {made['token']}"}
        spoofed = {
            "HTTP_X_FORWARDED_HOST": "app.example.org",
            "HTTP_X_FORWARDED_FOR": "203.0.113.1",
            "HTTP_FORWARDED": "for=203.0.113.1;host=app.example.org",
        }
        for over, status in (
            ({}, 200),
            ({"HTTP_HOST": "other.example.org"}, 403),
            ({"REMOTE_ADDR": "198.51.100.1"}, 403),
            ({"HTTP_HOST": "other.example.org", **spoofed}, 403),
            ({"REMOTE_ADDR": "198.51.100.1", **spoofed}, 403),
            ({"HTTP_HOST": ...}, 400),
            ({"HTTP_HOST": "a b"}, 400),
            ({"REMOTE_ADDR": "nowhere"}, 400),
        ):
            self.assertEqual(served.ask(**bearer, **over).status, status, over)

    def test_metrics_and_access_log(self) -> None:
        """A question is counted and logged as one by HTTP is, with the route C{fastcgi}."""
        self.served.ask(HTTP_X_REQUEST_ID="abc", REQUEST_METHOD="POST")
        [event] = self.logged("routes.request.answered")
        expected = {
            "route": "fastcgi",
            "method": "POST",
            "status": 200,
            "client": "203.0.113.9",
            "request_id": "abc",
            "username": "alice",
            "realm": "internal",
            "result": "success",
        }
        self.assertEqual({name: event[name] for name in expected}, expected)
        counted = self.served.counted("authotron_http_requests_total")
        name = 'authotron_http_requests_total{method="POST",route="fastcgi",status_code="200"}'
        self.assertEqual(counted, {name: 1})
        counted = self.served.counted('auth_requests_total{realm="internal",result="success"}')
        self.assertEqual([*counted.values()], [1])

    def test_credentials_are_not_logged_S_FCGI(self) -> None:
        """No event about a question contains a credential, whatever becomes of the question."""
        for over in ({}, {"HTTP_AUTHORIZATION": basic("alice", "CANARY")}, {"REQUEST_URI": ...}):
            self.served.ask(REMOTE_PASSWD="CANARY", **over)
        self.assertNotIn("CANARY", str([*self.events]))
        self.assertNotIn(ALICE, str([*self.events]))


class ConnectionTests(FastCgiCase):
    """Connections, from their first byte to their last."""

    def test_untrusted_peer_is_closed_unread_S_FCGI(self) -> None:
        """A peer that is no trusted proxy gets no byte and is not read; C{unix} names sockets."""
        stranger = IPv4Address("TCP", "198.51.100.1", 1)
        for peer in (stranger, SOCKET):
            _, wire = self.served.connect(peer)
            self.assertEqual((wire.value(), wire.disconnected), (b"", True))
        served = FastCgiGateway({"server": {"trusted_proxies": ["unix"]}})
        for peer, closed in ((SOCKET, False), (stranger, True)):
            _, wire = served.connect(peer)
            self.assertIs(wire.disconnected, closed)
        counted = self.served.counted("authotron_untrusted_connections_total")
        self.assertEqual(counted, {'authotron_untrusted_connections_total{protocol="fastcgi"}': 2})
        event, *_ = self.logged("routes.connections.untrusted")
        self.assertEqual(event["peer"], "198.51.100.1")

    def test_peer_that_is_not_trusted_any_more(self) -> None:
        """A reload that removes a proxy ends its kept connections at their next question."""
        connection, wire = self.served.connect()
        connection.dataReceived(asking(flags=1))
        self.assertFalse(wire.disconnecting)
        other = FastCgiGateway({"server": {"trusted_proxies": ["10.0.0.0/8"]}})
        self.served.gateway.serving.gateway = other.gateway.serving.gateway
        wire.clear()
        connection.dataReceived(asking(flags=1))
        self.assertEqual((wire.value(), wire.disconnected), (b"", True))

    def test_reload_meanwhile(self) -> None:
        """A reload while a question waits for its decision changes no part of the answer."""
        gateway = self.served.gateway
        asked: Deferred[Any] = gateway.hold()
        connection, wire = self.served.connect()
        connection.dataReceived(asking(flags=1))
        answering = {"server": {"answers": {"profile": "remote-user"}}}
        other = FastCgiGateway(laid_over(PROXIED, answering)).gateway
        gateway.serving.gateway = other.serving.gateway
        asked.callback(gateway.good(Authentication(Identity("internal", "alice"))))
        self.assertEqual(answer(wire.value()).headers["Variable-X_Auth_Username"], "alice")
        wire.clear()
        connection.dataReceived(asking(flags=1))
        self.assertEqual(answer(wire.value()).headers["Variable-Remote_User"], "alice")

    def test_pieces(self) -> None:
        """A question may arrive in pieces of any size, and in any division into records."""
        whole = asking()
        for size in (1, 2, 7, 100, len(whole)):
            self.assertEqual(answer(self.served.send(whole, size).value()).status, 200)
        stream = variables({})
        parts = [records.encode(records.PARAMS, 1, stream[n : n + 1]) for n in range(len(stream))]
        data = begin() + b"".join(parts) + records.encode(records.PARAMS, 1)
        self.assertEqual(answer(self.served.send(data).value()).status, 200)

    def test_connection_is_closed_unless_it_is_to_be_kept(self) -> None:
        """Apache does not ask to keep a connection; with the flag it serves further questions."""
        self.assertTrue(self.served.send(asking()).disconnecting)
        connection, wire = self.served.connect()
        for request in (1, 2, 7):
            wire.clear()
            connection.dataReceived(asking(request, flags=1))
            self.assertEqual(answer(wire.value()).status, 200)
            self.assertEqual({each.request for each in read(wire.value())}, {request})
        self.assertFalse(wire.disconnecting)
        self.served.gateway.clock.advance(60)
        self.assertTrue(wire.disconnecting)

    def test_nothing_is_answered_after_the_last_question_S_FCGI(self) -> None:
        """
        Without the flag a connection has one question: a second behind it, as a client could try to
        smuggle, gets no answer; and a proxy that does not close the connection loses it.
        """
        connection, wire = self.served.connect()
        connection.dataReceived(asking(1) + asking(2, HTTP_AUTHORIZATION=...))
        connection.dataReceived(asking(3))
        self.assertEqual({each.request for each in read(wire.value())}, {1})
        self.assertFalse(wire.disconnected)
        self.served.gateway.clock.advance(15)
        self.assertTrue(wire.disconnected)

    def test_two_questions_at_once(self) -> None:
        """While a question is open, another on the same connection is rejected by its id."""
        self.served.gateway.hold()
        connection, wire = self.served.connect()
        connection.dataReceived(asking(1) + asking(2))
        [end] = read(wire.value())
        self.assertEqual((end.request, end.type), (2, records.END_REQUEST))
        self.assertEqual(end.content[4], records.CANNOT_MULTIPLEX)

    def test_other_roles_are_rejected(self) -> None:
        """Only the role of an authorizer is served, not that of a responder or a filter."""
        for role in (0, 1, 3):
            wire = self.served.send(begin(role=role))
            [end] = read(wire.value())
            self.assertEqual(end.content[4], records.UNKNOWN_ROLE)
            self.assertTrue(wire.disconnecting)

    def test_management_records(self) -> None:
        """The gateway tells its limits, and names types of records that it does not know."""
        names = (b"FCGI_MAX_REQS", b"FCGI_MPXS_CONNS", b"OTHER")
        asked = b"".join([records.encode_pair(name, b"") for name in names])
        data = records.encode(records.GET_VALUES, 0, asked) + records.encode(99, 0)
        values, unknown = read(self.served.send(data).value())
        found = dict(records.pairs(values.content))
        self.assertEqual(found, {b"FCGI_MAX_REQS": b"1", b"FCGI_MPXS_CONNS": b"0"})
        self.assertEqual((unknown.type, unknown.content[0]), (records.UNKNOWN_TYPE, 99))

    def test_proxy_may_abort(self) -> None:
        """C{ABORT_REQUEST} and a disconnect cancel the lookup; the former gets its end."""
        cancelled: list[Deferred[Any]] = []
        for how in ("abort", "disconnect"):
            served = FastCgiGateway()
            asked: Deferred[Any] = Deferred(cancelled.append)
            served.gateway.serving.gateway = _Held(served.gateway.serving.gateway, asked)  # type: ignore[assignment] # stands in for it
            connection, wire = served.connect()
            connection.dataReceived(asking())
            if how == "abort":
                connection.dataReceived(records.encode(records.ABORT_REQUEST, 1))
                self.assertEqual([each.type for each in read(wire.value())], [3])
                self.assertTrue(wire.disconnecting)
            else:
                connection.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(cancelled.pop(), asked)
            gauge = served.counted("authotron_http_requests_in_flight")
            self.assertEqual(sum(gauge.values()), 0)

    def test_other_protocols_are_closed(self) -> None:
        """A connection that does not speak FastCGI is closed at its first byte, without answer."""
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\x00"):
            wire = self.served.send(data)
            self.assertEqual((wire.value(), wire.disconnected), (b"", True))
        self.assertEqual(len(self.logged("routes.fastcgi.malformed")), 1)

    @given(some.lists(some.binary(min_size=1, max_size=40), max_size=8), some.booleans())
    def test_any_bytes_S_FCGI(self, chunks: list[bytes], starts: bool) -> None:  # noqa: FBT001 - as drawn
        """No bytes of a proxy make an exception, or a 200 without a question."""
        served = FastCgiGateway()
        connection, wire = served.connect()
        if starts:
            connection.dataReceived(begin())
        for chunk in chunks:
            if not (wire.disconnecting or wire.disconnected):
                connection.dataReceived(chunk)
        self.assertNotIn(b"Variable", wire.value())

    @given(some.lists(RECORDS, max_size=12), some.integers(1, 30))
    def test_any_records_S_FCGI(self, sent: list[bytes], pieces: int) -> None:
        """
        No sequence of well-formed records, in no division, makes an exception or a 200 without a
        good credential; what is written are records, and each request ends once at most.
        """
        served = FastCgiGateway()
        connection, wire = served.connect()
        data = b"".join(sent)
        for start in range(0, len(data), pieces):
            if not wire.disconnected:
                connection.dataReceived(data[start : start + pieces])
        written = [*read(wire.value())]
        self.assertNotIn(b"Variable", wire.value())
        begun = sum(each[1] == records.BEGIN_REQUEST for each in sent)
        ended = sum(each.type == records.END_REQUEST for each in written)
        self.assertLessEqual(ended, begun)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(served.gateway.public.unfinished.size, 0)


class BoundTests(FastCgiCase):
    """What a proxy can make the gateway hold, read and wait for."""

    def test_variables_have_a_maximum_S_FCGI(self) -> None:
        """Variables above C{server.max_header_bytes} are a 400, before their last record."""
        limit = self.served.gateway.public.limit
        stream = records.encode(records.PARAMS, 1, bytes(1_000)) * (limit // 1_000 + 1)
        wire = self.served.send(begin() + stream)
        self.assertEqual(answer(wire.value()).status, 400)
        self.assertTrue(wire.disconnecting)

    def test_tiny_records_have_a_maximum_S_FCGI(self) -> None:
        """Records of one byte count with their heads, so that they cannot be sent for long."""
        data = begin() + records.encode(records.PARAMS, 1, b"x") * (
            self.served.gateway.public.limit // 9 + 2
        )
        self.assertTrue(self.served.send(data, 60_000).disconnecting)

    def test_other_records_have_a_maximum_S_FCGI(self) -> None:
        """Empty records, foreign ids, C{STDIN} and management records end with the connection."""
        for flood in (
            records.encode(records.STDIN, 1, bytes(1_000)),
            records.encode(records.PARAMS, 9, bytes(1_000)),
            records.encode(records.DATA, 1),
            records.encode(records.GET_VALUES, 0),
            records.encode(77, 0, bytes(100)),
            begin(2),
        ):
            self.served.gateway.hold()
            connection, wire = self.served.connect()
            connection.dataReceived(asking())
            sent = 0
            while not wire.disconnected and sent < 4 * MOST_IGNORED:
                connection.dataReceived(flood)
                sent += len(flood)
            self.assertTrue(wire.disconnected)
            self.assertLessEqual(len(wire.value()), 4 * MOST_IGNORED)

    def test_slow_question_is_closed_S_FCGI(self) -> None:
        """Bytes do not extend the time in which a question must arrive."""
        connection, wire = self.served.connect()
        for byte in asking()[:50]:
            connection.dataReceived(bytes([byte]))
            self.served.gateway.clock.advance(1)
        self.assertFalse(wire.disconnected)
        self.served.gateway.clock.advance(10)
        self.assertTrue(wire.disconnected)

    def test_memory_budget_is_shared_S_FCGI(self) -> None:
        """Unfinished questions count for C{server.max_unfinished_bytes}, and are given back."""
        budget = self.served.gateway.public.unfinished
        connection, wire = self.served.connect()
        connection.dataReceived(begin() + records.encode(records.PARAMS, 1, bytes(500)) + b"\1\4")
        self.assertEqual(budget.size, 502)
        self.patch(budget, "most", 600)
        other, second = self.served.connect()
        other.dataReceived(begin() + records.encode(records.PARAMS, 1, bytes(500)))
        self.assertTrue(second.disconnected)
        for each in (connection, other):
            each.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((budget.size, wire.disconnected), (0, False))

    def test_connections_share_the_limit_of_the_main_port_S_FCGI(self) -> None:
        """Connections by FastCGI and HTTP count together for C{server.max_connections}."""
        served = FastCgiGateway({"server": {**PROXIED["server"], "max_connections": 2}})  # type: ignore[dict-item]
        served.gateway.connect(served.gateway.entrance)
        connection, wire = served.connect()
        _, rejected = served.connect()
        self.assertEqual((wire.disconnected, rejected.disconnected), (False, True))
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertFalse(served.connect()[1].disconnected)
        self.assertEqual([*served.counted("authotron_connections_refused_total").values()], [1])

    def test_answers_that_are_not_read_S_FCGI(self) -> None:
        """While the proxy does not read its answers, its further questions wait."""
        connection, wire = self.served.connect()
        connection.pauseProducing()
        connection.dataReceived(asking(1, flags=1) + asking(2, flags=1))
        self.assertEqual((wire.value(), wire.producerState), (b"", "paused"))
        connection.resumeProducing()
        self.assertEqual({each.request for each in read(wire.value())}, {1, 2})


class DrainTests(FastCgiCase):
    """Connections while the gateway stops."""

    def test_drain_waits_for_the_answer(self) -> None:
        """A question in flight is answered before its connection is closed."""
        decision = self.served.gateway.good(
            Authentication(Identity(realm="internal", username="alice"), "staff")
        )
        asked = self.served.gateway.hold()
        connection, wire = self.served.connect()
        connection.dataReceived(asking(flags=1))
        drained = self.served.factory.drain()
        self.served.gateway.clock.advance(LAST_CALL)
        self.assertFalse(wire.disconnecting)
        asked.callback(decision)
        self.assertEqual(answer(wire.value()).status, 200)
        self.assertTrue(wire.disconnecting)
        self.assertNoResult(drained)
        connection.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(drained)

    def test_idle_connection_has_a_last_call(self) -> None:
        """A question that is on its way when the gateway stops is still answered."""
        connection, wire = self.served.connect()
        self.served.factory.drain()
        connection.dataReceived(asking(flags=1))
        self.assertEqual(answer(wire.value()).status, 200)
        self.assertTrue(wire.disconnecting)
        _, idle = self.served.connect()
        self.served.factory.drain()
        self.served.gateway.clock.advance(LAST_CALL)
        self.assertTrue(idle.disconnecting)


class _Held:
    """A gateway whose decision a test holds back."""

    def __init__(self, gateway: Any, asked: Deferred[Any]) -> None:
        self._gateway = gateway
        self.decisions = self
        self.decide = lambda *_: asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)
