"""HTTP bodies, which are sent in one piece, read up to a limit, and never compressed."""

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
    """The body of a response is too large, or compressed."""


async def read(response: IResponse, limit: int) -> bytes:
    """
    Read the body of a response. If the caller is cancelled while it reads the body, the connection
    is closed.

    @param limit: maximum number of bytes in the body.

    @raise BadBody: the body is longer than the limit.
    @raise ResponseFailed: the connection was lost before the end of the body.
    """
    body = _Body(limit)
    response.deliverBody(body)
    return await body.whole


class _Body(Protocol):
    """Collects the body of a response up to a limit."""

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
            self.whole.errback(BadBody("sent a response that is too large"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)

    def _abort(self) -> None:
        """
        Abort the connection on which the response arrives.

        The transport that Twisted passes to the reader of a response body can only be closed
        gracefully, and a graceful close never ends if the remote service stops reading. The given
        transport cannot abort the connection; only the transport underneath, one of its attributes,
        can.
        """
        transport: Any = getattr(self.transport, "_producer", None) or self.transport
        getattr(transport, "abortConnection", transport.loseConnection)()


@implementer(IBodyProducer)
class BytesProducer:
    """The body of a request, which is sent in one piece."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Implement L{IBodyProducer.startProducing}: write the whole body."""
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class RepeatableBytes(BytesProducer):
    """The body of a request that may be sent twice, because a repetition has no further effect."""


@implementer(IAgent)
class IdentityEncodingAgent:
    """
    An HTTP agent that rejects compressed responses, which may expand to
    many times their size.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803 - Twisted's interface gives the argument this name
    ) -> Deferred[IResponse]:
        """Implement L{IAgent.request}."""
        plain = headers.copy() if headers is not None else Headers()
        plain.setRawHeaders(b"accept-encoding", [b"identity"])
        return self._agent.request(method, uri, plain, bodyProducer).addCallback(_not_encoded)


def _not_encoded(response: IResponse) -> IResponse:
    encodings = response.headers.getRawHeaders(b"content-encoding", [])
    if any(each.strip().lower() not in (b"", b"identity") for each in encodings):
        # A limit of -1 makes the body too large at its first byte, which aborts the connection. The
        # error of the body is dropped, because the caller already gets C{BadBody}.
        body = _Body(-1)
        body.whole.addErrback(lambda _: None)
        response.deliverBody(body)
        raise BadBody("compressed its response, though asked not to")
    return response
