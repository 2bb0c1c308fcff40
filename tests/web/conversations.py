"""A gateway in memory, to which tests speak by requests or by single bytes."""

from __future__ import annotations

import json
from base64 import b64encode
from http import HTTPStatus
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from authotron.config import check
from authotron.daemon.compose import compose
from authotron.gateway.gateway import LiveGateway
from authotron.gateway.outcomes import Decision, Outcome
from authotron.jose import keys
from authotron.limits.unfinished_heads import UnfinishedHeads
from authotron.model.authentication import Authentication
from authotron.model.identity import Credential
from authotron.net.world import Agents, World, forbid_http
from authotron.plugin.interfaces import Affinity, IProvider
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import NOW, clock_at, run_at_once
from authotron.web import gateway_routes, operations_routes
from authotron.web.fastpath.protocol import FastPathFactory
from authotron.web.replies import Replies, Reply
from authotron.web.site import Site
from tests.config.cases import BASE, laid_over

PEER = IPv4Address("TCP", "192.0.2.7", 4711)


EVERY_ROUTE: dict[str, Any] = {
    "jwt": {"iss": "https://gate", "alg": "EdDSA", "key": keys.generate("EdDSA")},
    "policy": {"mode": "observe"},
    "tokens": {"exchange": {}, "refresh": {}},
    "oauth": {"resources": [{"resource": "https://gate"}]},
    "store": {"type": "memory"},
    "revocation": {},
    "events": {"status_list": {"url": "https://gate"}},
}
"""Sections of a configuration with which every route exists."""


@define
class Answer:
    """A reply as it was sent over the connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def answered(wire: bytes) -> list[Answer]:
    """Return the replies in the bytes written; each has the usual phrase, and names its length."""
    answers = []
    while wire:
        head, _, wire = wire.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0))
        _, status, phrase = first.split(" ", 2)
        assert phrase == HTTPStatus(int(status)).phrase, first
        answers.append(Answer(int(status), headers, wire[:length]))
        wire = wire[length:]
    return answers


@implementer(ITCPTransport)
class Wire(StringTransport):
    """A transport in memory that remembers how it was closed."""

    half_closed = False

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001 - as in the interface
        """Do nothing: a transport in memory delays nothing."""

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: FBT001 - as in the interface
        """Do nothing: a transport in memory has no keep-alive probes."""

    def getTcpKeepAlive(self) -> bool:
        return False

    def loseWriteConnection(self) -> None:
        self.half_closed = True


@implementer(IProvider)
@define(eq=False)
class Failing:
    """A provider that fails, and whose name and type clients must not see."""

    error: Exception
    name: str = "secret-name"
    type: str = "secret-type"
    realm: str = "internal"
    scheme: str = "basic"
    local: bool = False

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    async def authenticate(self, credential: Credential) -> Authentication:
        raise self.error


class Replaced:
    """A gateway whose decisions a test supplies."""

    def __init__(self, gateway: Any, decide: Any) -> None:
        self.gateway = gateway
        self.decisions = self
        self.decide = decide

    def key(self, presented: Any) -> Any:
        return self.gateway.decisions.key(presented)

    def repeat(self, *_: Any) -> None:
        """Repeat no decision, so that the test sees every question."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.gateway, name)


@define(eq=False)
class InMemoryGateway:
    """Both sites of one configuration, which a test lays over a small base."""

    over: dict[str, Any] = field(factory=dict)
    clock: Clock = field(factory=lambda: clock_at(NOW))
    metrics: Metrics = field(factory=Metrics)
    agents: Agents = forbid_http
    serving: LiveGateway[Reply] = field(init=False)
    public: Site = field(init=False)
    entrance: FastPathFactory = field(init=False)
    operations: Site = field(init=False)

    def __attrs_post_init__(self) -> None:
        found = check.check(laid_over(BASE, self.over))
        gateway = compose(found, World(self.clock, run_at_once, self.agents), self.metrics)
        self.serving = LiveGateway(gateway, self.metrics)
        routes = gateway_routes.GatewayRoutes(self.serving, self.clock)
        self.public = self._site(routes)
        self.public.is_off = routes.is_off
        most = found.file.server.max_connections or 100_000
        self.entrance = FastPathFactory(self.public, self.serving, self.clock, most)
        self.public.contracts = lambda: self.serving.gateway.contracts
        logging = found.file.logging
        self.public.set_access_log(logging.access, tried_names=logging.tried_names)
        app = operations_routes.OperationsRoutes(
            operations_routes.ProcessStatus(self.serving, self.clock)
        )
        self.operations = self._site(app)
        self.operations.limit_connections(found.file.metrics.max_connections, self.metrics)

    def _site(self, app: Any) -> Site:
        server = self.serving.gateway.config.file.server
        return Site(
            app.app,
            self.clock,
            timeout=server.idle_timeout,
            limit=server.max_header_bytes,
            access=self.serving.gateway.config.file.logging.access,
            metrics=self.metrics,
            with_body=gateway_routes.WITH_BODY,
            unfinished=UnfinishedHeads(
                server.max_unfinished_bytes, self.serving.gateway.contracts.proxies.is_proxy
            ),
        )

    def reload(self, over: dict[str, Any] | None = None) -> None:
        """Load another configuration, or the same one again, and keep the open store."""
        old, world = self.serving.gateway, World(self.clock, run_at_once, self.agents)
        kept = old.tokens.store.backend if old.tokens else None
        config = old.config if over is None else check.check(laid_over(BASE, over))
        self.serving.gateway = compose(config, world, self.metrics, kept)

    def hold(self) -> Deferred[Any]:
        """Let all further requests wait for the returned Deferred of a decision."""
        asked: Deferred[Any] = Deferred()
        self.serving.gateway = Replaced(self.serving.gateway, lambda *_: asked)  # type: ignore[assignment] # stands in for it
        return asked

    def good(self, found: Authentication) -> Decision[Any]:
        """Return the decision for an authenticated identity."""
        outcome = Outcome("success", found)
        return Decision(outcome, Replies("Basic").authenticate(outcome, "token"))

    def connect(self, site: Site | FastPathFactory | None = None) -> tuple[Any, Wire]:
        wire = Wire(peerAddress=PEER)
        channel = (site or self.public).buildProtocol(PEER)
        channel.makeConnection(wire)
        return channel, wire

    def say(
        self, data: bytes, site: Site | FastPathFactory | None = None, pieces: int = 0
    ) -> list[Answer]:
        """Send bytes on a new connection, and return the replies."""
        channel, wire = self.connect(site)
        size = pieces or len(data)
        for start in range(0, len(data), size):
            channel.dataReceived(data[start : start + size])
        self.clock.advance(0)
        return answered(wire.value())

    def ask(self, line: str, site: Site | FastPathFactory | None = None, **headers: str) -> Answer:
        """Send a request, and return the reply; C{_} in the name of a header stands for C{-}."""
        fields = "".join(
            f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()
        )
        text = f"{line} HTTP/1.1\r\nHost: gate\r\n{fields}\r\n"
        [answer] = self.say(text.encode("utf-8"), site)
        return answer

    def post(self, path: str, content: Any, **headers: str) -> Answer:
        """Send JSON, and return the reply; underscores in names of headers stand for dashes."""
        body = json.dumps(content).encode()
        fields = {**headers, "Content_Type": "application/json", "Content_Length": len(body)}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        text = "\r\n".join([f"POST {path} HTTP/1.1", "Host: gate", *lines, "", ""])
        [answer] = self.say(text.encode() + body)
        return answer

    def handed_over(self) -> int:
        """Return how many connections went from the fast path to the site."""
        [line] = [
            line
            for line in self.metrics.text()[0].decode().splitlines()
            if line.startswith("authotron_front_handed")
        ]
        return int(float(line.split()[-1]))


def basic(username: str, password: str) -> str:
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


ALICE = basic("alice", "wonder")
