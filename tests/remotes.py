"""Services that others run, played by a resource in memory."""

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
from authotron.net.tls import Trust
from tests.worlds import world


@frozen
class Asked:
    """A question that a remote got."""

    method: str
    place: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def content(self) -> Any:
        return json.loads(self.body)


@frozen
class Says:
    """An answer."""

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)


class Hangs:
    """No answer."""


@define
class Begins:
    """The head of an answer and the beginning of its body."""

    content: bytes = b"{"


Play = Says | Hangs | Begins
Script = Callable[[Asked], Play]


class Remote(Resource):
    """
    All remotes of a test: one resource, whatever the host.

    @ivar asked: what came in.
    @ivar open: requests that were not answered to their end.
    @ivar closed: how many of those the other side gave up.
    """

    isLeaf = True

    def __init__(self, script: Script | Mapping[str, Play]) -> None:
        super().__init__()
        self.script = script
        self.asked: list[Asked] = []
        self.open: list[Request] = []
        self.closed = 0
        self.trusts: list[Trust] = []
        self.agent = RequestTraversalAgent(self)

    def __call__(self, trust: Trust, /) -> IAgent:
        self.trusts.append(trust)
        agent: IAgent = self.agent
        return agent

    def render(self, request: Request) -> Any:
        asked = self._asked(request)
        self.asked.append(asked)
        play = self.script[asked.place] if isinstance(self.script, Mapping) else self.script(asked)
        if isinstance(play, Says):
            return self._say(request, play)
        request.notifyFinish().addErrback(self._given_up)
        self.open.append(request)
        if isinstance(play, Begins):
            request.write(play.content)
        return NOT_DONE_YET

    def _say(self, request: Request, play: Says) -> bytes:
        request.setResponseCode(play.status)
        for name, value in play.headers.items():
            request.setHeader(name, value)
        content = play.content
        return content if isinstance(content, bytes) else json.dumps(content).encode()

    def _given_up(self, _reason: object) -> None:
        self.closed += 1

    def _asked(self, request: Request) -> Asked:
        host = (request.getHeader("host") or "").partition(":")[0]
        headers = {
            name.decode().lower(): values[-1].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        query = {name.decode(): values[0].decode() for name, values in request.args.items()}
        body = request.content.read() if request.content else b""
        return Asked(request.method.decode(), host + request.path.decode(), query, headers, body)

    def places(self) -> list[str]:
        return [asked.place for asked in self.asked]

    def moved_on(self) -> None:
        """What was written or given up becomes known to the other side."""
        self.agent.flush()

    def finish(self, content: bytes = b"") -> None:
        """Everything that is open comes to its end."""
        waiting, self.open = self.open, []
        for request in waiting:
            request.write(content)
            request.finish()
        self.moved_on()


def client(remote: Remote, clock: Clock | None = None, **given: Any) -> WebClient:
    """A client whose questions get to C{remote}."""
    return make(read(RemoteConfig, given), world(clock, remote))


def running(coroutine: Any) -> Deferred[Any]:
    """A coroutine, started."""
    return Deferred.fromCoroutine(coroutine)


class Work:
    """Work that takes as long as the test wants."""

    def __init__(self) -> None:
        self.started: list[Deferred[Any]] = []
        self.cancelled = 0

    async def __call__(self) -> Any:
        result: Deferred[Any] = Deferred(self._cancel)
        self.started.append(result)
        return await result

    def _cancel(self, _: object) -> None:
        self.cancelled += 1
