"""Bodies of HTTP, within bounds: sent whole, read up to a limit, never compressed."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer


class BadBody(Exception):
    """A body that must not be read, or not any further."""


async def read(response: IResponse, limit: int) -> bytes:
    """
    The whole body. Whoever stops waiting for it closes the connection.

    @param limit: in bytes.

    @raise Unusable: it is longer.
    @raise ResponseFailed: it broke off.
    """
    body = _Body(limit)
    response.deliverBody(body)
    return await body.whole


class _Body(Protocol):
    """Collects a body up to a limit."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._pieces: list[bytes] = []
        self.whole: Deferred[bytes] = Deferred(lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._pieces.append(data)
        elif not self.whole.called:
            self._abort()
            self.whole.errback(BadBody("said too much"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)

    def _abort(self) -> None:
        """
        Close the connection at once.

        What is given to a body as its transport is a proxy that knows only how to close politely,
        which a remote that does not read can put off for ever.
        """
        transport: Any = getattr(self.transport, "_producer", None) or self.transport
        getattr(transport, "abortConnection", transport.loseConnection)()


@implementer(IBodyProducer)
class BytesProducer:
    """A body that is sent in one piece."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """The interface of L{IBodyProducer}, as are the others."""
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


@implementer(IAgent)
class IdentityEncodingAgent:
    """Wants no compression, and takes none: a small answer must not become a large one here."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803 - as in the interface
    ) -> Deferred[IResponse]:
        """The interface of L{IAgent}."""
        plain = headers.copy() if headers is not None else Headers()
        plain.setRawHeaders(b"accept-encoding", [b"identity"])
        return self._agent.request(method, uri, plain, bodyProducer).addCallback(_not_encoded)


def _not_encoded(response: IResponse) -> IResponse:
    encodings = response.headers.getRawHeaders(b"content-encoding", [])
    if any(each.strip().lower() not in (b"", b"identity") for each in encodings):
        body = _Body(-1)  # hangs up at the first byte
        body.whole.addErrback(lambda _: None)  # nobody waits for it
        response.deliverBody(body)
        raise BadBody("compressed its answer, though asked not to")
    return response
