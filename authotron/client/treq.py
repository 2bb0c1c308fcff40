"""An agent for treq and Twisted: calls other services with a token that is renewed in time."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from authotron.client import waiting
from authotron.client.origins import origin_of, origins
from authotron.client.renewal import TokenSource

_UNAUTHORIZED = 401


@implementer(IAgent)
class AuthotronAgent:
    """
    Sends a bearer token to the services that it is for, and renews it once if it is refused.

    Use it as C{treq.client.HTTPClient(AuthotronAgent(Agent(reactor), source, url))}. treq follows
    redirects itself, and sends each request of a redirect through this agent.

    @param only: URLs of the services that get the token; requests to other hosts are sent without
        the token.
    """

    def __init__(self, agent: IAgent, source: TokenSource, *only: str) -> None:
        self._agent, self._source, self._origins = agent, source, origins(only)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803 - Twisted's interface gives the argument this name
    ) -> Deferred[IResponse]:
        """Send a request."""
        if origin_of(uri.decode("ascii")) not in self._origins:
            return self._agent.request(method, uri, headers, bodyProducer)
        sent = Headers() if headers is None else headers.copy()
        return waiting.deferred(self._request(method, uri, sent, bodyProducer))

    async def _request(
        self, method: bytes, uri: bytes, headers: Headers, body: IBodyProducer | None
    ) -> IResponse:
        token = await self._source.get_deferred()
        headers.setRawHeaders(b"Authorization", [f"Bearer {token}".encode()])
        response = await self._agent.request(method, uri, headers, body)
        if response.code != _UNAUTHORIZED:
            return response
        self._source.refused(token)
        if body is not None:  # the body was sent, and cannot be sent again
            return response
        await readBody(response)
        token = await self._source.get_deferred()
        headers.setRawHeaders(b"Authorization", [f"Bearer {token}".encode()])
        return await self._agent.request(method, uri, headers, body)
