"""One request to another service: a deadline over all of it, a limit, no redirects, no cookies."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import OpenSSL.SSL
import treq.client
from attrs import Factory, define, field, frozen
from pydantic import AfterValidator, Field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseFailed
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from authotron import __version__
from authotron.concurrency.racing import Awaited, with_timeout
from authotron.config.section import Seconds
from authotron.limits.descriptors import Narrow
from authotron.limits.fair_queue import Standings
from authotron.limits.slots import Slots
from authotron.limits.turns import RemoteTurns
from authotron.model import strict_json
from authotron.model.errors import Rejected, TimedOut, Unavailable
from authotron.model.hosts import is_local
from authotron.net import http_body, tls
from authotron.net.breaker import Breaker, Breakers
from authotron.net.certificates import Untrusted
from authotron.net.outward import way
from authotron.net.response_heads import MalformedAnswer, StrictEndpoint
from authotron.net.tls import Trust, TrustConfig, Verifier
from authotron.net.tls_gates import secured
from authotron.net.world import (
    SHARE,
    Agents,
    Connect,
    World,
)

LIMIT = 65_536
"""As many bytes may an answer have, if nobody says otherwise."""

_IDLE = 4.0
"""Seconds an unused connection is kept: less than servers do, so that none turns out dead."""

_TOO_SHORT = 0.05
"""A question is not asked any more with less than this share of its time left."""

_KEPT = 16
"""Unused connections kept for each host."""


def check_url(text: str) -> str:
    """
    The same address, if it can be asked and says nothing that would end up in a log.

    @raise ValueError: it is something else.
    """
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not (good and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("is no address that begins with http:// or https://")
    if parts.username is not None or parts.fragment:
        raise ValueError("must not hold a user, a password or a fragment")
    return text


Url = Annotated[str, AfterValidator(check_url)]
"""An address of HTTP."""


class RemoteConfig(TrustConfig):
    """The keys of every part that asks others by HTTP."""

    timeout: Seconds | None = Field(
        default=None,
        gt=0,
        description="seconds one question may take, within `auth.timeout_in_ms`",
    )
    connections: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="connections to the remote, and so questions at once; further ones wait, in "
        "turns of the clients",
    )

    def outward(self, narrow: Narrow) -> int:
        """How many connections to remotes the part may have."""
        return narrow(self.connections)

    def warnings(self) -> tuple[str, ...]:
        """What an operator should hear about."""
        values = [(key, getattr(self, key)) for key in type(self).model_fields]
        return tuple(
            f"{key}: credentials travel in clear; use https"
            for key, value in values
            if isinstance(value, str) and value.startswith("http://") and not is_local(value)
        )


@frozen
class Answer:
    """What a remote said."""

    place: str
    status: int
    _body: bytes = field(repr=False)

    @property
    def good(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110 section 15.3

    def unexpected(self) -> Unavailable:
        """For a status that says nothing about the credential."""
        return Unavailable(f"{self.place} answered {self.status}")

    def mapping(self) -> dict[str, Any]:
        """
        The content, a JSON object.

        @raise Unavailable: it is something else.
        """
        try:
            content = strict_json.loads(self._body)
        except ValueError:
            raise Unavailable(f"{self.place} did not answer with strict JSON in UTF-8") from None
        if not isinstance(content, dict):
            raise Unavailable(f"{self.place} did not answer with a JSON object")
        return content


def judged(answer: Answer) -> dict[str, Any]:
    """
    What a service says about a credential it was asked about.

    @raise Rejected: it does not know the credential.
    @raise Unavailable: its answer says nothing about it.
    """
    if answer.status in (400, 401, 403, 404):
        raise Rejected(f"{answer.place} answered {answer.status}")
    if not answer.good:
        raise answer.unexpected()
    return answer.mapping()


def below(url: str, *steps: str) -> str:
    """The address of something below C{url}, whether or not that ends with a slash."""
    base, question, query = url.partition("?")
    path = "/".join([base.rstrip("/"), *(quote(step, safe="") for step in steps)])
    return path + question + query


class _Unreachable(Unavailable):
    """Nothing was said because there was no connection."""


@define(eq=False)
class WebClient:
    """Asks the remotes of one part."""

    _clock: IReactorTime
    _agents: Agents
    _trust: Trust
    _timeout: float
    _breakers: Breakers
    _slots: Slots = field(
        default=Factory(lambda self: Slots(32, Standings(self._clock)), takes_self=True)
    )

    async def get(
        self,
        url: str,
        query: Mapping[str, str] | None = None,
        limit: int = LIMIT,
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds what is shared by many
    ) -> Answer:
        """
        Read what is at C{url}; values of C{query} are encoded and never written down.

        @raise Unavailable: there was no answer, or too much of it, or too late.
        """
        return await self._ask("GET", url, limit, timeout, params=dict(query or {}))

    async def post(
        self,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        content: Any = None,
        basic: tuple[str, str] | None = None,
        bearer: str | None = None,
    ) -> Answer:
        """
        Send a form, or C{content} as JSON.

        @param basic: user and password to show.
        @param bearer: a token to show.

        @raise Unavailable: there was no answer, or too much of it, or too late. The remote may have
            got the question all the same: one that must not be asked twice is not to be repeated.
        """
        sent = {"data": dict(form)} if form is not None else {"json": content}
        return await self._ask("POST", url, LIMIT, None, _authorization(basic, bearer), **sent)

    async def _ask(
        self,
        method: Literal["GET", "POST"],
        url: str,
        limit: int,
        timeout: float | None,  # noqa: ASYNC109 - see above
        authorization: str | None = None,
        **sent: Any,
    ) -> Answer:
        place = _place(url)
        origin = "/".join(place.split("/")[:3])
        breaker = self._breakers.of(origin, self._trust)
        breaker.demand(self._clock)
        patience = timeout or self._timeout
        left = patience if self._slots.take() else await self._turn(place, patience)
        try:
            breaker.enter(self._clock)
            exchange = self._exchange(place, method, url, limit, authorization, sent)
            return await self._judged(breaker, place, exchange, left, patience)
        finally:
            self._slots.release()

    async def _turn(self, place: str, patience: float) -> float:
        """Wait for a slot, and say how many seconds are left for the question."""
        began = self._clock.seconds()
        try:
            await with_timeout(self._clock, patience, self._slots.acquire())
        except TimedOut:
            raise self._no_turn(place, patience) from None
        except Unavailable as full:
            raise Unavailable(f"{place}: {full}") from None
        left = patience - (self._clock.seconds() - began)
        if left < patience * _TOO_SHORT:
            self._slots.release()
            raise self._no_turn(place, patience)
        return left

    def _no_turn(self, place: str, patience: float) -> TimedOut:
        busy = f"{self._slots.most} questions were under way for {patience:g} s"
        return TimedOut(f"{place}: {busy}; raise connections if the remote can bear more")

    async def _judged(
        self, breaker: Breaker, place: str, exchange: Awaited[Answer], left: float, patience: float
    ) -> Answer:
        """
        Wait for the end of an exchange, and say what it means for the circuit breaker.

        A question that spent most of its time waiting for a slot says nothing if it is late.
        """
        try:
            answer = await with_timeout(self._clock, left, exchange)
        except TimedOut as late:
            if left < patience / 2:
                breaker.left()
            else:
                breaker.failed(self._clock)
            raise TimedOut(f"{place}: {late}") from None
        except _Unreachable:
            breaker.failed(self._clock)
            raise
        except Unavailable:
            breaker.spoke()
            raise
        except BaseException:
            breaker.left()
            raise
        breaker.spoke()
        return answer

    async def _exchange(
        self,
        place: str,
        method: str,
        url: str,
        limit: int,
        authorization: str | None,
        sent: dict[str, Any],
    ) -> Answer:
        headers: dict[str | bytes, str | bytes] = {
            "Accept": "application/json",
            "User-Agent": f"authotron/{__version__}",
        }
        if authorization is not None:
            headers["Authorization"] = authorization
        # A client for each question: one for all would carry cookies from one user to the next.
        agent = http_body.IdentityEncodingAgent(self._agents(self._trust))
        client = treq.client.HTTPClient(agent, data_to_body_producer=http_body.BytesProducer)
        asked: Deferred[Any] = client.request(
            method,
            url,
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._clock,  # type: ignore[arg-type] # not used without a timeout
            **sent,
        )
        try:
            response = await asked
            return Answer(place, response.code, await http_body.read(response, limit))
        except http_body.BadBody as unusable:
            raise Unavailable(f"{place} {unusable}") from None
        except Untrusted as refusal:
            raise _Unreachable(f"{place} is not believed: {refusal}") from None
        except (ConnectError, ConnectionClosed, DNSLookupError) as error:
            raise _Unreachable(f"{place} cannot be reached: {type(error).__name__}") from None
        except ResponseFailed as failed:
            raise _told(place, failed) from None


def _authorization(basic: tuple[str, str] | None, bearer: str | None) -> str | None:
    if basic is not None:
        return "Basic " + b64encode(":".join(basic).encode()).decode()
    return None if bearer is None else f"Bearer {bearer}"


def _place(url: str) -> str:
    """An address without its query, which may be a secret."""
    return url.partition("?")[0]


def _told(place: str, failed: ResponseFailed) -> BaseException:
    """What it means that a response did not come, or not whole."""
    reasons = [failure.value for failure in failed.reasons]
    if any(isinstance(reason, CancelledError) for reason in reasons):
        return CancelledError()
    for failure in failed.reasons:
        if isinstance(failure.value, MalformedAnswer):
            return Unavailable(f"{place} {failure.value}")
        if isinstance(failure.value, OpenSSL.SSL.Error):
            return _Unreachable(f"{place} broke off: {tls.why(failure)}")
    names = ", ".join(type(reason).__name__ for reason in reasons)
    return Unavailable(f"{place} broke off: {names}")


# --- making ---


class Connections:
    """
    Agents of a reactor: one for each trust, with connections of its own.

    Proxies that the environment names are not used. Connections begin where C{connect} says, or by
    the reactor.
    """

    def __init__(self, reactor: Any, connect: Connect | None = None) -> None:
        self._reactor = reactor
        self._connect = connect or way(reactor)
        self._agents: dict[Trust, IAgent] = {}

    def __call__(self, trust: Trust, /) -> IAgent:
        agent = self._agents.get(trust)
        if agent is None:
            agent = self._agents[trust] = self._agent(trust)
        return agent

    def _agent(self, trust: Trust) -> IAgent:
        pool = HTTPConnectionPool(self._reactor)
        pool.maxPersistentPerHost = _KEPT
        pool.cachedConnectionTimeout = _IDLE  # type: ignore[assignment] # any number will do
        pool.retryAutomatically = False  # what to repeat is not for a library to decide
        endpoints = _Endpoints(self._reactor, self._connect, Verifier(trust))
        agent: IAgent = Agent.usingEndpointFactory(self._reactor, endpoints, pool)
        return agent


@implementer(IAgentEndpointFactory)
@define(eq=False)
class _Endpoints:
    """Where the connections of one trust begin."""

    _clock: IReactorTime
    _connect: Connect
    _verifier: Verifier

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """The interface of L{IAgentEndpointFactory}."""
        host = uri.host.decode("ascii").strip("[]")
        endpoint = self._connect(host, uri.port)
        if uri.scheme != b"http":
            endpoint = secured(self._verifier, endpoint, host, self._clock)
        return StrictEndpoint(endpoint)


def make(config: RemoteConfig, world: World) -> WebClient:
    """Build the client of a part from its section."""
    patience = world.patience * SHARE
    timeout = min(config.timeout or patience, patience)
    slots = Slots(world.narrow(config.connections), Standings(world.clock))
    return WebClient(world.clock, world.agents, config.trust(), timeout, world.breakers, slots)


def turns_of(config: RemoteConfig, world: World) -> RemoteTurns:
    """Build the turns of the clients whose credentials a provider shows to a remote."""
    return RemoteTurns(world.clock, world.patience * SHARE, world.narrow(config.connections))
