"""What Envoy is told over gRPC: the same decisions as over HTTP, and whole sets of headers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Authentication
from authotron.model.errors import Unavailable
from authotron.model.identity import Identity
from authotron.web.grpc.calls import Status
from authotron.web.grpc.messages import CheckRequest
from tests.web.conversations import ALICE, Failing, InMemoryGateway, basic
from tests.web.grpc.dialogue import GOOD, STRANGER, Proxy, check_request, grpc_factory

LEGACY = {"include_legacy_headers": True}


class AnswerTests(SynchronousTestCase):
    """What Envoy does with a request."""

    def test_good(self) -> None:
        """An authenticated request goes on, with a JWT instead of the credential."""
        response = Proxy().check(authorization=ALICE)
        self.assertEqual(response.says, 200)
        self.assertTrue(response.added["authorization"].startswith("Bearer ey"))

    def test_only_the_identity(self) -> None:
        """Headers of the reply itself, such as Cache-Control, are not added to the request."""
        response = Proxy(InMemoryGateway(LEGACY)).check(authorization=ALICE)
        self.assertEqual(
            list(response.added),
            ["authorization", "x-auth-username", "x-auth-realm", "x-auth-roles"],
        )

    def test_complete_set_T59(self) -> None:
        """All identity headers are set, also empty ones, so that no client's own one passes."""
        response = Proxy(InMemoryGateway(LEGACY)).check(authorization=ALICE, x_auth_roles="admin")
        self.assertEqual(response.added["x-auth-username"], "alice")
        self.assertEqual(response.added["x-auth-roles"], "")
        self.assertFalse({*response.added} & {*response.removed})

    def test_removed_T59(self) -> None:
        """Identity headers that the gateway does not send are removed from the request."""
        response = Proxy().check(authorization=ALICE, x_auth_roles="admin")
        removed = {"x-auth-realm", "x-auth-roles", "x-auth-username", "remote-user"}
        self.assertLessEqual(removed, {*response.removed})

    def test_bad(self) -> None:
        """A wrong password is a 401 with the challenge and the body, as over HTTP."""
        gateway = InMemoryGateway(LEGACY)
        response = Proxy(gateway).check(authorization=basic("alice", "wrong"))
        by_http = gateway.ask("GET /authenticate", Authorization=basic("alice", "wrong"))
        self.assertEqual(response.says, 401)
        self.assertEqual(response.check.denied_response.body, by_http.body)
        refusal = {name.lower(): value for name, value in response.refusal.items()}
        self.assertEqual(refusal["www-authenticate"], by_http.headers["www-authenticate"])

    def test_missing(self) -> None:
        """A request without a credential is a 401."""
        self.assertEqual(Proxy().check().says, 401)

    def test_refusal_has_no_identity_S_GRPC(self) -> None:
        """A refusal carries neither a JWT nor an identity header."""
        gateway = InMemoryGateway(LEGACY)
        for credential in ("", basic("alice", "wrong"), "x", "Bearer y"):
            response = Proxy(gateway).check(authorization=credential)
            names = {name.lower() for name in response.refusal}
            self.assertEqual(names, {"content-type", "www-authenticate", "cache-control"})

    def test_outage(self) -> None:
        """If no provider can judge, Envoy refuses with a 503, whatever it does if a call fails."""
        gateway = InMemoryGateway()
        failing = Failing(Unavailable("down"))
        gateway.serving.gateway.authenticator.providers = [failing]
        response = Proxy(gateway).check(authorization=ALICE)
        self.assertEqual(response.says, 503)
        self.assertEqual(response.refusal["Retry-After"], "5")

    def test_realm(self) -> None:
        """The realm that a client asks for narrows the choice of providers."""
        self.assertEqual(Proxy().check(authorization=ALICE, x_auth_realm="internal").says, 200)
        self.assertEqual(Proxy().check(authorization=ALICE, x_auth_realm="other").says, 401)

    def test_raw_headers(self) -> None:
        """Separate lines of a header are read like lines that Envoy has joined."""
        for lines, status in (([ALICE], 200), ([ALICE, basic("eve", "eve")], 401)):
            request = CheckRequest.FromString(check_request())
            for line in lines:
                headers = request.attributes.request.http.header_map.headers
                headers.add(key=b"authorization", raw_value=line.encode())
            proxy = Proxy()
            self.assertEqual(proxy.call(request.SerializeToString()).says, status)
            self.assertEqual(proxy.check(authorization=",".join(lines)).says, status)

    def test_not_utf_8(self) -> None:
        """A header that is not UTF-8 does not make the call malformed."""
        request = CheckRequest.FromString(GOOD)
        headers = request.attributes.request.http.header_map.headers
        headers.add(key=b"x-name", raw_value=b"\xff\xfe")
        self.assertEqual(Proxy().call(request.SerializeToString()).says, 200)

    def test_without_http(self) -> None:
        """A question about a connection that is not HTTP has no credential."""
        self.assertEqual(Proxy().call(b"").says, 401)

    def test_any_method(self) -> None:
        """Requests of every method are answered, also one that changes a protocol."""
        for method in ("GET", "POST", "OPTIONS", "PROPFIND", "get", ""):
            asked = {"authorization": ALICE, "connection": "Upgrade", "upgrade": "websocket"}
            self.assertEqual(Proxy().check(method=method, **asked).says, 200)


class ConditionTests(SynchronousTestCase):
    """Limits of API tokens, which depend on the request."""

    def limited(self, **limits: Any) -> tuple[Proxy, str]:
        gateway = InMemoryGateway({"store": {"type": "memory"}})
        made = gateway.post("/tokens", limits, Authorization=ALICE).json()
        return Proxy(gateway), f"Bearer {made['token']}"

    def test_host_S_GRPC(self) -> None:
        """A token that is limited to hosts is good for these hosts."""
        proxy, token = self.limited(hosts=["*.example.org"])
        self.assertEqual(proxy.check(authorization=token, host="app.example.org").says, 200)
        self.assertEqual(proxy.check(authorization=token, host="app.example.com").says, 403)

    def test_network_S_GRPC(self) -> None:
        """A token that is limited to networks is judged by the address that Envoy states."""
        proxy, token = self.limited(networks=["203.0.113.0/24"])
        self.assertEqual(proxy.check(authorization=token, address="203.0.113.9").says, 200)
        self.assertEqual(proxy.check(authorization=token, address="198.51.100.9").says, 403)

    def test_forwarded_headers_T05_S_GRPC(self) -> None:
        """Forwarded headers of the client do not change host and address."""
        proxy, token = self.limited(hosts=["app.example.org"], networks=["203.0.113.0/24"])
        response = proxy.check(
            authorization=token,
            host="evil.example.com",
            address="198.51.100.9",
            x_forwarded_host="app.example.org",
            x_forwarded_for="203.0.113.9",
            forwarded="for=203.0.113.9;host=app.example.org",
        )
        self.assertEqual(response.says, 403)

    def test_unknown_S_GRPC(self) -> None:
        """If Envoy does not state what a limit depends on, the request is refused."""
        proxy, token = self.limited(networks=["203.0.113.0/24"])
        response = proxy.check(authorization=token, address="")
        self.assertEqual(response.says, 400)

    def test_defect(self) -> None:
        """A condition that has a defect refuses the request, and the log has the error."""

        class Broken:
            def holds(self, context: Any) -> bool:
                raise ZeroDivisionError

        gateway = InMemoryGateway()
        asked = gateway.hold()
        proxy = Proxy(gateway)
        stream = _begin(proxy)
        found = Authentication(Identity("internal", "alice"), conditions=(Broken(),))
        asked.callback(gateway.good(found))
        proxy.read()
        self.assertEqual(proxy.responses[stream].says, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


def _begin(proxy: Proxy) -> int:
    proxy.call(GOOD)
    return int(max(proxy.connection.calls))


class WaitingTests(SynchronousTestCase):
    """Calls whose decision takes time."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()
        self.asked: Deferred[Any] = self.gateway.hold()
        self.found = self.gateway.good(Authentication(Identity("internal", "alice")))

    def cancellations(self) -> list[Any]:
        """Return a list to which the cancellation of the decision is added."""
        cancelled: list[Any] = []

        def noted(failure: Failure) -> Failure:
            cancelled.append(failure)
            return failure

        self.asked.addErrback(noted)
        return cancelled

    def test_others_go_on(self) -> None:
        """A call that waits does not hold up the others of its connection."""
        proxy = Proxy(self.gateway)
        slow = _begin(proxy)
        self.gateway.serving.gateway = self.gateway.serving.gateway.gateway  # type: ignore[attr-defined] # the original one
        self.assertEqual(proxy.check(authorization=ALICE).says, 200)
        self.asked.callback(self.found)
        proxy.read()
        self.assertEqual(proxy.responses[slow].added["authorization"], "Bearer token")

    def test_reload_meanwhile(self) -> None:
        """A reload while a call waits changes no part of its answer."""
        user = {"token": "k" * 40, "username": "key"}
        keys = {"type": "static-token", "name": "keys", "realm": "machines", "tokens": [user]}
        provider = {**keys, "credentials": {"header": "X-API-Key"}}
        gateway = InMemoryGateway({**LEGACY, "providers": [provider]})
        asked, proxy = gateway.hold(), Proxy(gateway)
        slow = _begin(proxy)
        gateway.serving.gateway = InMemoryGateway().serving.gateway
        asked.callback(self.found)
        proxy.read()
        self.assertEqual(proxy.responses[slow].added["x-auth-username"], "alice")
        self.assertIn("x-api-key", proxy.responses[slow].removed)
        later = proxy.check(authorization=ALICE)
        self.assertNotIn("x-auth-username", later.added)
        self.assertNotIn("x-api-key", later.removed)

    def test_given_up(self) -> None:
        """A call that Envoy gives up, because it has waited too long, is cancelled at once."""
        cancelled = self.cancellations()
        proxy = Proxy(self.gateway)
        stream = _begin(proxy)
        proxy.http2.reset_stream(stream)
        proxy.flush()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(in_flight(self.gateway), 0)

    def test_lost(self) -> None:
        """If the connection is lost, its calls are cancelled."""
        cancelled = self.cancellations()
        proxy = Proxy(self.gateway)
        _begin(proxy)
        self.assertEqual(in_flight(self.gateway), 1)
        proxy.lose()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(in_flight(self.gateway), 0)
        self.assertEqual(self.gateway.public.unfinished.size, 0)

    def test_broken(self) -> None:
        """A defect answers one call, and is logged."""
        proxy = Proxy(self.gateway)
        stream = _begin(proxy)
        self.asked.errback(ZeroDivisionError())
        proxy.read()
        self.assertEqual(proxy.responses[stream].grpc_status, Status.INTERNAL)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(proxy.is_closed)


def in_flight(gateway: InMemoryGateway) -> int:
    wanted = "authotron_http_requests_in_flight{"
    lines = gateway.metrics.text()[0].decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(wanted))


class PeerTests(SynchronousTestCase):
    """Which proxies may ask."""

    def test_stranger_S_GRPC(self) -> None:
        """The connection of a peer that is no trusted proxy is closed before anything is read."""
        gateway = InMemoryGateway()
        connection = grpc_factory(gateway).buildProtocol(STRANGER)
        self.assertFalse(hasattr(connection, "calls"))

    def test_unix_S_GRPC(self) -> None:
        """A peer at a UNIX socket is trusted only if C{trusted_proxies} says so."""
        for proxies, expected in ((["unix"], True), (["127.0.0.1"], False)):
            gateway = InMemoryGateway({"server": {"trusted_proxies": proxies}})
            connection = grpc_factory(gateway).buildProtocol(None)
            self.assertEqual(hasattr(connection, "calls"), expected)

    def test_after_a_reload_S_GRPC(self) -> None:
        """A peer that a reload removes from the trusted proxies gets no more decisions."""
        gateway = InMemoryGateway()
        proxy = Proxy(gateway)
        other = InMemoryGateway({"server": {"trusted_proxies": ["192.0.2.1"]}})
        gateway.serving.gateway = other.serving.gateway
        self.assertEqual(proxy.call(GOOD).grpc_status, Status.PERMISSION_DENIED)

    def test_reload(self) -> None:
        """After a reload the calls of an open connection are answered by the new configuration."""
        gateway = InMemoryGateway()
        proxy = Proxy(gateway)
        self.assertEqual(proxy.call(GOOD).says, 200)
        people = [{"username": "bob", "password": "other"}]
        provider = {"type": "plain", "name": "staff", "realm": "internal", "users": people}
        other = InMemoryGateway({"providers": [provider]})
        gateway.serving.gateway = other.serving.gateway
        self.assertEqual(proxy.call(GOOD).says, 401)
        self.assertEqual(proxy.check(authorization=basic("bob", "other")).says, 200)


class ObservedTests(SynchronousTestCase):
    """What operators see: the same as for HTTP."""

    def test_metrics(self) -> None:
        """A call is counted as a request with the client's method, and as an authentication."""
        gateway = InMemoryGateway()
        proxy = Proxy(gateway)
        proxy.check(authorization=ALICE)
        proxy.check(method="PUT")
        proxy.check(method="CANARY")
        text = gateway.metrics.text()[0].decode()
        route = 'route="/envoy.service.auth.v3.Authorization/Check"'
        for method, status in (("GET", 200), ("PUT", 401), ("other", 401)):
            labels = f'{{method="{method}",{route},status_code="{status}"}}'
            self.assertIn(f"authotron_http_requests_total{labels} 1.0", text.splitlines())
        counted = 'auth_requests_total{realm="internal",result="success"} 1.0'
        self.assertIn(counted, text.splitlines())
        self.assertFalse("CANARY" in text)

    def test_access_log(self) -> None:
        """The access log shows the client, its request's method and id, and the identity."""
        gateway = InMemoryGateway({"logging": {"access": "all"}})
        events: list[Any] = []
        logged = gateway.public.log_answered
        gateway.public.log_answered = lambda request: events.append(request) or logged(request)  # type: ignore[method-assign,func-returns-value] # to look at it
        Proxy(gateway).check(authorization=ALICE, x_request_id="abc", method="PUT")
        [event] = events
        self.assertEqual(event.sender.sender, "203.0.113.9")
        self.assertEqual((event.method, event.status, event.request_id), ("PUT", 200, b"abc"))
        self.assertEqual(event.outcome.authentication.identity.username, "alice")
