"""An agent for treq and Twisted: calls other services with a token that is renewed in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from authotron.client import waiting
from authotron.client.origins import origin_of, origins
from authotron.client.presenting import UNAUTHORIZED, Presenter
from authotron.client.renewal import TokenSource

if TYPE_CHECKING:  # imported at run time only if tokens are bound to a key
    from authotron.client.proofs import ProofKey


@implementer(IAgent)
class AuthotronAgent:
    """
    Sends a token to the services for which the token is meant, and renews the token once if a
    service refuses it.

    Use it as C{treq.client.HTTPClient(AuthotronAgent(Agent(reactor), source, url))}. treq follows
    redirects itself, and sends each request of a redirect through this agent.

    @param only: URLs of the services that get the token; requests to other hosts are sent without
        the token.
    @param key: the key to which the token is bound, or C{None} for a bearer token.
    """

    def __init__(
        self, agent: IAgent, source: TokenSource, *only: str, key: ProofKey | None = None
    ) -> None:
        self._agent, self._source, self._origins = agent, source, origins(only)
        self._presenter = Presenter(source, key)

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
        self._present(headers, token, method, uri)
        response = await self._agent.request(method, uri, headers, body)
        if response.code != UNAUTHORIZED:
            return response
        self._presenter.refused(token, lambda name: _value(response.headers, name))
        if body is not None:  # the body was sent, and cannot be sent again
            return response
        await readBody(response)
        self._present(headers, await self._source.get_deferred(), method, uri)
        return await self._agent.request(method, uri, headers, body)

    def _present(self, headers: Headers, token: str, method: bytes, uri: bytes) -> None:
        found = self._presenter.headers(token, method.decode("ascii"), uri.decode("ascii"))
        for name, value in found.items():
            headers.setRawHeaders(name.encode("ascii"), [value.encode("ascii")])


def _value(headers: Headers, name: str) -> str | None:
    """Return the first value of a header of a response, or C{None} without the header."""
    values = headers.getRawHeaders(name.encode("ascii"))
    return values[0].decode("ascii", "replace") if values else None
