"""Remote HTTP services for tests: a resource in memory answers the requests of the HTTP client."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from attrs import define, field, frozen
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from authotron.config.section import read
from authotron.net.http import RemoteConfig, WebClient, make
from authotron.net.proxies import Proxies
from authotron.net.tls import Trust
from authotron.testing.worlds import world


@frozen
class ReceivedRequest:
    """
    A request that L{FakeRemote} has received.

    @ivar address: the host and path of the URL, such as C{idp.example/token}.
    """

    method: str
    address: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of the form in the body of the request."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def json(self) -> Any:
        """The JSON value in the body of the request."""
        return json.loads(self.body)

    @property
    def parameters(self) -> dict[str, Any]:
        """The members of the JSON object, or the fields of the form, in the body of the request."""
        is_json = self.headers.get("content-type", "").startswith("application/json")
        parameters: dict[str, Any] = self.json if is_json else self.form
        return parameters


@frozen
class Respond:
    """An action: send a complete response; content that is not C{bytes} is sent as JSON."""

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)


class Hang:
    """An action: send no response."""


@define
class BeginResponse:
    """An action: send the head of a response and the beginning of its body."""

    content: bytes = b"{"


Action = Respond | Hang | BeginResponse
Script = Callable[[ReceivedRequest], Action]


class FakeRemote(Resource):
    """
    All remote services of a test: one resource answers the requests to every host.

    A L{FakeRemote} is passed to a L{World} as its C{agents}.

    @ivar script: a function that returns the action for a request, or a mapping of addresses to
        actions.
    @ivar requests: the requests received so far.
    @ivar unanswered: the requests that have no complete response yet.
    @ivar abandoned: the number of unanswered requests whose connection the client closed.
    @ivar trusts: the TLS trust of each HTTP agent that a plugin requested.
    @ivar proxies: the proxies of each HTTP agent that a plugin requested.
    """

    isLeaf = True

    def __init__(self, script: Script | Mapping[str, Action]) -> None:
        super().__init__()
        self.script = script
        self.requests: list[ReceivedRequest] = []
        self.unanswered: list[Request] = []
        self.abandoned = 0
        self.trusts: list[Trust] = []
        self.proxies: list[Proxies | None] = []
        self.agent = RequestTraversalAgent(self)

    def __call__(self, trust: Trust, proxies: Proxies | None = None, /) -> IAgent:
        self.trusts.append(trust)
        self.proxies.append(proxies)
        agent: IAgent = self.agent
        return agent

    def render(self, request: Request) -> Any:
        received = _received(request)
        self.requests.append(received)
        action = self._action(received)
        if isinstance(action, Respond):
            return _respond(request, action)
        request.notifyFinish().addErrback(self._connection_closed)
        self.unanswered.append(request)
        if isinstance(action, BeginResponse):
            request.write(action.content)
        return NOT_DONE_YET

    def _action(self, received: ReceivedRequest) -> Action:
        if isinstance(self.script, Mapping):
            return self.script[received.address]
        return self.script(received)

    def _connection_closed(self, _reason: object) -> None:
        self.abandoned += 1

    def addresses(self) -> list[str]:
        """Return the address of each request received so far."""
        return [request.address for request in self.requests]

    def flush(self) -> None:
        """
        Deliver the bytes that client and resource have written to each other; if one of them has
        closed the connection, tell its peer.
        """
        self.agent.flush()

    def finish_all(self, content: bytes = b"") -> None:
        """Write C{content} to every unanswered request, and finish its response."""
        waiting, self.unanswered = self.unanswered, []
        for request in waiting:
            request.write(content)
            request.finish()
        self.flush()


def _respond(request: Request, response: Respond) -> bytes:
    request.setResponseCode(response.status)
    for name, value in response.headers.items():
        request.setHeader(name, value)
    content = response.content
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def _received(request: Request) -> ReceivedRequest:
    host = (request.getHeader("host") or "").partition(":")[0]
    headers = {
        name.decode().lower(): values[-1].decode()
        for name, values in request.requestHeaders.getAllRawHeaders()
    }
    query = {name.decode(): values[0].decode() for name, values in request.args.items()}
    body = request.content.read() if request.content else b""
    address = host + request.path.decode()
    return ReceivedRequest(request.method.decode(), address, query, headers, body)


def web_client(remote: FakeRemote, clock: Clock | None = None, **given: Any) -> WebClient:
    """Build an HTTP client whose requests are answered by C{remote}."""
    return make(read(RemoteConfig, given), world(clock, remote))


def start(coroutine: Any) -> Deferred[Any]:
    """Start the coroutine that a method of a plugin returned, as a Deferred."""
    return Deferred.fromCoroutine(coroutine)


class Work:
    """
    A coroutine function for tests: each call waits until the test fires its
    Deferred in C{started}.
    """

    def __init__(self) -> None:
        self.started: list[Deferred[Any]] = []
        self.cancelled = 0

    async def __call__(self) -> Any:
        result: Deferred[Any] = Deferred(self._cancel)
        self.started.append(result)
        return await result

    def _cancel(self, _: object) -> None:
        self.cancelled += 1
