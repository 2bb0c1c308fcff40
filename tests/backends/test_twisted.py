"""Resources of Twisted, routes of Klein, and the Deferreds of the library."""

from __future__ import annotations

import threading
from typing import Any

from klein import Klein
from twisted.internet import reactor
from twisted.internet.error import ConnectionDone
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.http_headers import Headers as WebHeaders
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site
from twisted.web.test.requesthelper import DummyChannel

from authotron.client import Unavailable
from authotron.client.klein import authenticated
from authotron.client.twisted import Protected, user_of
from authotron.client.waiting import in_twisted
from authotron.client.flights import Flights
from authotron.client.testing import FakeGateway
from tests.backends.contract import ALICE, FrameworkContract, Headers, Reply, bearer


class Read(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return user_of(request).subject.encode()


class Tree(Resource):
    """Two resources, each with a user of its own."""

    def __init__(self, verifier: Any) -> None:
        super().__init__()
        self.putChild(b"", Protected(Read(), verifier))
        inner = Resource()
        inner.putChild(b"", Read())
        inner.putChild(b"deep", Read())
        self.putChild(b"admin", Protected(inner, verifier, "admin"))


def ask(resource: IResource, path: str, headers: Headers) -> Reply:
    """Let a site answer, whose threads have done their work before the reactor is asked."""
    channel = DummyChannel()
    site = Site(resource)
    channel.site = site
    request = site.requestFactory(channel, False)
    request.requestHeaders = WebHeaders()
    for name, value in headers:
        request.requestHeaders.addRawHeader(name.encode(), value.encode())
    request.gotLength(0)
    request.requestReceived(b"GET", path.encode(), b"HTTP/1.1")
    spinning: Any = reactor
    while not request.finished:
        spinning.iterate(0.001)  # what threads have found reaches the request
    head, _, body = channel.transport.written.getvalue().partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    if fields.get("transfer-encoding") == "chunked":
        body = body.split(b"\r\n")[1]
    return Reply(int(first.split()[1]), fields, body)


class TwistedTests(FrameworkContract, SynchronousTestCase):
    """C{authotron.client.twisted}."""

    has_open = False

    def setUp(self) -> None:
        self.make_verifier()

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        return ask(Tree(self.verifier), path if path == "/" else f"{path}/", headers)

    def test_children(self) -> None:
        """What is below a protected resource needs the same user."""
        tree = Tree(self.verifier)
        token = self.gateway.mint(ALICE, roles=["admin"])
        self.assertEqual(ask(tree, "/admin/deep", bearer(token)).body, b"internal-alice")
        self.assertEqual(ask(tree, "/admin/deep", []).status, 401)
        self.assertEqual(ask(tree, "/admin/none", bearer(token)).status, 404)


class FailureTests(SynchronousTestCase):
    """Requests that do not end well."""

    def start(self, resource: IResource, verifier: Any, token: str) -> Any:
        channel = DummyChannel()
        channel.site = Site(Protected(resource, verifier))
        request = channel.site.requestFactory(channel, False)
        request.requestHeaders = WebHeaders({"Authorization": [f"Bearer {token}"]})
        request.gotLength(0)
        request.requestReceived(b"GET", b"/", b"HTTP/1.1")
        return request, channel.transport.written

    def test_client_leaves(self) -> None:
        """A client that leaves while keys are fetched costs nothing more, and is not logged."""
        gateway, works = FakeGateway(), list[Any]()
        verifier = gateway.verifier(spawn=works.append)
        request, written = self.start(Read(), verifier, gateway.mint(ALICE))
        request.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(written.getvalue(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_broken_resource(self) -> None:
        """A defect of the resource is a 500, and in the log."""

        class Broken(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                raise ZeroDivisionError

        gateway = FakeGateway()
        verifier = gateway.verifier()
        verifier.verify(gateway.mint(ALICE))
        _, written = self.start(Broken(), verifier, gateway.mint(ALICE))
        self.assertTrue(written.getvalue().startswith(b"HTTP/1.1 500 "), written.getvalue())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class KleinTests(TwistedTests):
    """C{authotron.client.klein}."""

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        app = Klein()

        @app.route("/")
        @authenticated(self.verifier)
        def read(request: Any, user: Any) -> str:
            return str(user.subject)

        @app.route("/admin")
        @authenticated(self.verifier, "admin")
        async def manage(request: Any, user: Any) -> str:
            return str(user.subject)

        return ask(app.resource(), path, headers)

    def test_children(self) -> None:
        """Klein has routes, not children."""


class DeferredTests(TestCase):
    """Waiting for keys with a reactor."""

    timeout = 20

    def setUp(self) -> None:
        self.gateway = FakeGateway()
        self.go = threading.Event()
        self.addCleanup(self.go.set)
        answer = self.gateway.answer

        def slowly(*args: Any, **options: Any) -> Any:
            self.go.wait(10)
            return answer(*args, **options)

        self.gateway.answer = slowly  # type: ignore[method-assign] # as slow as the test wants
        self.verifier = self.gateway.verifier()

    async def test_once(self) -> None:
        """1,000 parallel first requests fetch the key set once, and the reactor goes on."""
        token = self.gateway.mint(ALICE)
        waiting = gatherResults([self.verifier.verify_deferred(token) for _ in range(1000)])
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn
        self.assertFalse(waiting.called)
        self.go.set()
        self.assertEqual({each.subject for each in await waiting}, {"internal-alice"})
        self.assertEqual(self.gateway.count("/.well-known/jwks.json"), 1)

    async def test_cancelled(self) -> None:
        """A request that is cancelled does not take the keys from the others."""
        token = self.gateway.mint(ALICE)
        first, second = (self.verifier.verify_deferred(token) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.go.set()
        self.assertEqual((await second).subject, "internal-alice")

    async def test_outage(self) -> None:
        """If the keys cannot be fetched the outage is an outage."""
        self.go.set()
        self.gateway.fail_on("jwks")
        await self.assertFailure(
            self.verifier.verify_deferred(self.gateway.mint(ALICE)), Unavailable
        )

    async def test_too_late(self) -> None:
        """Keys that do not come in time are an outage."""
        flights: Flights[bool] = Flights()
        work = in_twisted(flights, "key", lambda: self.go.wait(10), 0.05)
        await self.assertFailure(Deferred.fromCoroutine(work), Unavailable)
