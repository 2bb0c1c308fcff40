"""HTTP requests to remote services: bounded in time and size, without cookies."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self
from urllib.parse import urlencode, urljoin, urlsplit

import OpenSSL.SSL
from attrs import Factory, define, field, frozen
from pydantic import Field, ValidationInfo, model_validator
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import RequestTransmissionFailed, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer

from authotron import __version__
from authotron.concurrency.racing import Awaited, with_timeout
from authotron.config.problems import of_key
from authotron.config.section import Seconds, SecretUrl
from authotron.config.sources import sources_of
from authotron.limits.client_turns import ClientTurns
from authotron.limits.descriptors import LimitConnections
from authotron.limits.fair_queue import Reputations
from authotron.limits.slots import Slots
from authotron.model import strict_json
from authotron.model.errors import Rejected, TimedOut, Unavailable
from authotron.model.hosts import is_local
from authotron.net import http_body, proxies, tls
from authotron.net.breaker import Breaker, Breakers
from authotron.net.certificates import Untrusted
from authotron.net.proxies import WANTS_LOGIN, Proxies, ProxyFailed
from authotron.net.reasons import Reason, describe, reason_of
from authotron.net.response_heads import MalformedResponse
from authotron.net.tls import Trust, TrustConfig
from authotron.net.urls import check_url, origin, request_url, without_query
from authotron.net.world import TIMEOUT_SHARE, Agents, World

LIMIT = 1_048_576
"""Maximum number of bytes in a response body, unless the caller sets another limit."""

_URL = re.compile("https?://")

_CLOSE = {"Connection": "close"}
"""The header by which a request asks L{Agents} for a connection of its own."""

_PROXY_LOGIN = 407
"""The status code of an HTTP proxy that wants a login."""

_TOO_SHORT = 0.05
"""
A request that has waited for a slot is not sent if less than this share of
its timeout is left.
"""


class RemoteConfig(TrustConfig):
    """The configuration keys of every plugin that sends HTTP requests to a remote service."""

    timeout: Seconds | None = Field(
        default=None,
        gt=0,
        description="seconds that one request to the remote may take, within `auth.timeout_in_ms`",
    )
    connections: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="maximum number of connections to the remote, and so of requests at once; "
        "further requests wait, and clients take turns",
    )

    proxy: SecretUrl | None = Field(
        default=None,
        description="URL of the HTTP proxy for requests to the remote, or `none` to connect "
        "directly; by default the proxy that the environment names",
    )

    @model_validator(mode="after")
    def _check_proxy(self, info: ValidationInfo) -> Self:
        """Check that authotron can use the proxy of this section, or else of the environment."""
        if self.proxy is not None:
            try:
                self.proxies()
            except ValueError as error:
                raise of_key("proxy", str(error)) from None
        elif self.remote_urls():
            found = proxies.unsupported(sources_of(info).environ, self.remote_urls())
            for variable, why in found:
                raise of_key(
                    "proxy", f"is not set, and the variable {variable} {why}, or set proxy: none"
                )
        return self

    def proxies(self) -> Proxies | None:
        """
        Return the proxies that the section configures, or C{None} for those of the environment.

        @raise ValueError: the configured URL names no HTTP proxy.
        """
        if self.proxy is None:
            return None
        url = self.proxy.get_secret_value().strip()
        return Proxies.only(None if url.lower() == "none" else proxies.parse(url))

    def remote_urls(self) -> list[str]:
        """
        Return the URLs in a plugin's section of the configuration, except C{issuer}, which is
        usually only a name; a provider that discovers its keys returns the issuer instead.
        """
        values = [getattr(self, key) for key in type(self).model_fields if key != "issuer"]
        return [each for each in values if isinstance(each, str) and _URL.match(each)]

    def count_connections(self, limit: LimitConnections) -> int:
        """
        Return how many connections to remote services the plugin may open: the function C{limit}
        receives the configured number, and may lower it.
        """
        return limit(self.connections)

    def warnings(self) -> tuple[str, ...]:
        """
        Return one warning for each URL that sends credentials unencrypted to another machine, and
        one for a proxy that is not used.
        """
        values = [(key, getattr(self, key)) for key in type(self).model_fields]
        found = [
            f"{key}: credentials are sent unencrypted; use https"
            for key, value in values
            if isinstance(value, str) and value.startswith("http://") and not is_local(value)
        ]
        if (chosen := self.proxies()) and chosen.http and (urls := self.remote_urls()):
            hosts = [(urlsplit(url).scheme, urlsplit(url).hostname or "") for url in urls]
            if not any(chosen.choose(*each) for each in hosts):
                found.append(
                    "proxy: not used, as this machine and link-local addresses are reached directly"
                )
        return tuple(found)


@frozen
class RemoteResponse:
    """
    The response of a remote service.

    @ivar place: the URL that the request was sent to, without its query.
    """

    place: str
    status: int
    _body: bytes = field(repr=False)
    _location: str | None = field(default=None, repr=False)
    _content_type: str = field(default="", repr=False)

    @property
    def is_json(self) -> bool:
        """Whether the header C{Content-Type}, sent once, says that the body is JSON."""
        media_type = self._content_type.partition(";")[0]
        return media_type.strip(" \t").lower() == "application/json"

    @property
    def answered(self) -> str:
        """The URL of the request and the status code, for error messages."""
        return f"{self.place} answered {self.status}"

    @property
    def is_success(self) -> bool:
        """Whether the status code is 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110 section 15.3: a 2xx status means success

    def redirect_target(self, url: str) -> str | None:
        """
        Return the URL to which the response to a request for C{url} redirects, or C{None} if it
        does not redirect.

        @raise Unavailable: the URL has another scheme, host or port than C{url}.
        """
        if self.status not in (301, 302, 303, 307, 308) or self._location is None:
            return None
        try:
            target = check_url(urljoin(url, self._location))
        except ValueError:
            target = ""
        if origin(target) != origin(url):
            why = "a redirect to another scheme, host or port, which is not followed"
            raise Unavailable(f"{self.place} answered {self.status}, {why}")
        return target

    def unexpected_status(self) -> Unavailable:
        """Create the error for a status code that does not tell whether the credential is valid."""
        because = f": {WANTS_LOGIN}" if self.status == _PROXY_LOGIN else ""
        return Unavailable(f"{self.place} answered {self.status}{because}")

    def json_object(self) -> dict[str, Any]:
        """
        Parse the body of the response, which must be a JSON object.

        @raise Unavailable: the body is not strict JSON, or not an object.
        """
        try:
            content = strict_json.loads(self._body)
        except ValueError:
            raise Unavailable(f"{self.place} did not answer with strict JSON in UTF-8") from None
        if not isinstance(content, dict):
            raise Unavailable(f"{self.place} did not answer with a JSON object")
        return content


def accepted_content(response: RemoteResponse) -> dict[str, Any]:
    """
    Return the JSON object of a response by which a remote service accepts a credential.

    @raise Rejected: the service rejects the credential, by status 400, 401, 403 or 404.
    @raise Unavailable: the response does not tell whether the credential is valid.
    """
    if response.status in (400, 401, 403, 404):
        raise Rejected(f"{response.place} answered {response.status}")
    if not response.is_success:
        raise response.unexpected_status()
    return response.json_object()


class _Unreachable(Unavailable):
    """
    No connection to the remote service could be established or kept, so the
    service did not answer.
    """


@define(eq=False)
class WebClient:
    """
    Sends HTTP requests to the remote services of one plugin.

    The number of requests at once is limited to the connections of the plugin; further requests
    wait for a slot, and clients take turns. Circuit breakers stop requests to remote services that
    fail repeatedly.
    """

    _clock: IReactorTime
    _agents: Agents
    _trust: Trust
    _timeout: float
    _breakers: Breakers
    _slots: Slots = field(
        default=Factory(lambda self: Slots(32, Reputations(self._clock)), takes_self=True)
    )
    _proxies: Proxies | None = None

    async def get(
        self,
        url: str,
        query: Mapping[str, str] | None = None,
        limit: int = LIMIT,
        timeout: float | None = None,  # noqa: ASYNC109 - the timeout bounds a request that several callers may share
        headers: Mapping[str, str] | None = None,
        *,
        new_connection: bool = False,
    ) -> RemoteResponse:
        """
        Send a GET request.

        @param query: the query of the URL, which is encoded here, and never logged.
        @param limit: maximum number of bytes in the body of the response.
        @param headers: headers to send in addition to, or in place of, the usual ones.
        @param new_connection: whether to connect for this request alone. A request on a new
            connection cannot fail because the server closes a connection as unused.

        @raise Unavailable: there was no response in time, or its body is too large.
        """
        sent = request_url(url, query or {})
        further = {**(headers or {}), **(_CLOSE if new_connection else {})}
        return await self._ask("GET", sent, limit, timeout, further, None)

    async def post(
        self,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        content: Any = None,
        basic: tuple[str, str] | None = None,
        bearer: str | None = None,
        repeatable: bool = False,
        new_connection: bool = False,
        limit: int = LIMIT,
        headers: Mapping[str, str] | None = None,
    ) -> RemoteResponse:
        """
        Send a POST request with a form, or with C{content} as JSON.

        @param basic: user and password for Basic authentication.
        @param bearer: a token for Bearer authentication.
        @param repeatable: whether the request has the same effect if the remote service receives it
            twice. A repeatable request is sent once more if a kept connection was closed before the
            first byte of the response.
        @param new_connection: whether to connect for this request alone; see L{get}.
        @param limit: maximum number of bytes in the body of the response.
        @param headers: headers to send in addition to, or in place of, the usual ones.

        @raise Unavailable: there was no response in time, or its body is too large. After an error
            the remote service may still have received the request, so do not repeat a request that
            must not be sent twice.
        """
        if form is not None:
            further = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode(form).encode()
        else:
            further = {"Content-Type": "application/json"}
            body = json.dumps(content, separators=(",", ":")).encode()
        authorization = _authorization(basic, bearer)
        if authorization is not None:
            further["Authorization"] = authorization
        further.update(headers or {})
        if new_connection:
            further.update(_CLOSE)
        kind = http_body.RepeatableBytes if repeatable else http_body.BytesProducer
        return await self._ask("POST", request_url(url), limit, None, further, kind(body))

    async def _ask(
        self,
        method: Literal["GET", "POST"],
        url: str,
        limit: int,
        timeout: float | None,  # noqa: ASYNC109 - the timeout of one call, which may be shorter than that of the plugin
        further: Mapping[str, str],
        body: IBodyProducer | None,
    ) -> RemoteResponse:
        place = without_query(url)
        server = "/".join(place.split("/")[:3])
        breaker = self._breakers.of(server, (self._trust, self._proxies))
        breaker.check(self._clock)
        seconds = timeout or self._timeout
        left = seconds if self._slots.take() else await self._wait_for_slot(place, seconds)
        try:
            breaker.enter(self._clock)
            exchange = self._exchange(place, method, url, limit, further, body)
            return await self._report(breaker, place, exchange, left, seconds)
        finally:
            self._slots.release()

    async def _wait_for_slot(self, place: str, seconds: float) -> float:
        """
        Wait for a slot to send a request; return how many seconds of the timeout of the request are
        left.
        """
        began = self._clock.seconds()
        try:
            await with_timeout(self._clock, seconds, self._slots.acquire())
        except TimedOut:
            raise self._no_slot(place, seconds) from None
        except Unavailable as full:
            raise Unavailable(f"{place}: {full}") from None
        left = seconds - (self._clock.seconds() - began)
        if left < seconds * _TOO_SHORT:
            self._slots.release()
            raise self._no_slot(place, seconds)
        return left

    def _no_slot(self, place: str, seconds: float) -> TimedOut:
        busy = f"{self._slots.most} requests were under way for {seconds:g} s"
        advice = "raise `connections` if the remote can serve more requests at once"
        return TimedOut(f"{place}: {busy}; {advice}")

    async def _report(
        self,
        breaker: Breaker,
        place: str,
        exchange: Awaited[RemoteResponse],
        left: float,
        seconds: float,
    ) -> RemoteResponse:
        """
        Wait for the response to a request, and report the outcome to the circuit breaker.

        If a request waited for a slot for more than half of its timeout and then times out, the
        circuit breaker does not count this as a failure.
        """
        try:
            response = await with_timeout(self._clock, left, exchange)
        except TimedOut as late:
            if left < seconds / 2:
                breaker.abandoned()
            else:
                breaker.failed(self._clock, str(late))
            raise TimedOut(f"{place}: {late}") from None
        except _Unreachable as error:
            breaker.failed(self._clock, str(error))
            raise
        except Unavailable:
            breaker.succeeded()
            raise
        except BaseException:
            breaker.abandoned()
            raise
        breaker.succeeded()
        return response

    async def _exchange(
        self,
        place: str,
        method: str,
        url: str,
        limit: int,
        further: Mapping[str, str],
        body: IBodyProducer | None,
    ) -> RemoteResponse:
        headers = Headers()
        usual = {"Accept": "application/json", "User-Agent": f"authotron/{__version__}"}
        for name, value in {**usual, **further}.items():
            headers.setRawHeaders(name, [value])
        agent = http_body.IdentityEncodingAgent(self._agents(self._trust, self._proxies))
        try:
            response = await agent.request(method.encode(), url.encode(), headers, body)
            body_read = await http_body.read(response, limit)
            locations = response.headers.getRawHeaders(b"location", [])
            location = locations[0].decode("latin-1") if len(locations) == 1 else None
            types = response.headers.getRawHeaders(b"content-type", [])
            content_type = types[0].decode("latin-1") if len(types) == 1 else ""
            return RemoteResponse(place, response.code, body_read, location, content_type)
        except http_body.BadBody as error:
            raise Unavailable(f"{place} {error}") from None
        except ProxyFailed as error:
            raise _Unreachable(f"{place} cannot be reached: {error}") from None
        except Untrusted as error:
            raise _Unreachable(f"{place} is not trusted: {error}") from None
        except (ConnectError, ConnectionClosed, DNSLookupError) as error:
            raise _Unreachable(f"{place} cannot be reached: {describe(error)}") from None
        except (ResponseFailed, RequestTransmissionFailed) as failed:
            raise _error_for(place, failed.reasons) from None


def _authorization(basic: tuple[str, str] | None, bearer: str | None) -> str | None:
    if basic is not None:
        return "Basic " + b64encode(":".join(basic).encode()).decode()
    return None if bearer is None else f"Bearer {bearer}"


def _error_for(place: str, failures: Sequence[Failure]) -> BaseException:
    """Return the error for a response that did not arrive, or arrived only in part."""
    reasons = [failure.value for failure in failures if failure.value is not None]
    if any(isinstance(reason, CancelledError) for reason in reasons):
        return CancelledError()
    for failure in failures:
        if isinstance(failure.value, MalformedResponse):
            return Unavailable(f"{place} {failure.value}")
        if isinstance(failure.value, OpenSSL.SSL.Error):
            return _Unreachable(f"{place}: connection lost: {tls.describe_end(failure)}")
    words = {str(known) for reason in reasons if (known := reason_of(reason))}
    words.discard(Reason.CONNECTION_LOST)
    detail = ", ".join(sorted(words)) or "before the end of the response"
    return Unavailable(f"{place}: {Reason.CONNECTION_LOST}: {detail}")


def make(config: RemoteConfig, world: World) -> WebClient:
    """Build the HTTP client of a plugin from the plugin's section of the configuration."""
    longest = world.timeout * TIMEOUT_SHARE
    timeout = min(config.timeout or longest, longest)
    slots = Slots(world.limit_connections(config.connections), Reputations(world.clock))
    trust, proxies = config.trust(), config.proxies()
    return WebClient(world.clock, world.agents, trust, timeout, world.breakers, slots, proxies)


def make_turns(config: RemoteConfig, world: World) -> ClientTurns:
    """
    Build the queue that lets clients take turns when a provider sends their credentials to a remote
    service.
    """
    connections = world.limit_connections(config.connections)
    return ClientTurns(world.clock, world.timeout * TIMEOUT_SHARE, connections)
