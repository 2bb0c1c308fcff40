"""
Send LDAP requests over one connection, and match the answers to the requests.

ldaptor's own client is not used: it has no timeouts, does not verify certificates after StartTLS,
and uses assertions for unexpected input.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.concurrency.racing import with_timeout
from authotron.ldap import decoding, encoding
from authotron.ldap.decoding import DecodingError, Entry, Message, Result, TooLarge
from authotron.ldap.encoding import Operation
from authotron.ldap.results import AnswerTimeout, AnswerTooLarge, Disconnected
from authotron.model.errors import TimedOut, Unavailable
from authotron.net import tls
from authotron.net.certificates import Untrusted
from authotron.net.tls import Handshake

MAX_BYTES = 16 * 2**20
"""
Maximum number of bytes of the answer to one request, and of all pages or ranges of one search
together.
"""

_MAX_OTHER_MESSAGES = 1_000
"""
Maximum number of LDAP messages, beyond the number of requested entries, that may answer one
request.
"""

_SKIPPED = (decoding.REFERENCE, decoding.INTERMEDIATE)
"""
LDAP messages that the client ignores, such as references to other servers, which the client does
not follow.
"""

_TLS_RECORDS = (b"\x15", b"\x16")
"""
First bytes of TLS records with an alert or a handshake message (RFC 8446 section 5.1); an LDAP
message begins with C{0x30}.
"""

_PERHAPS_TLS = "perhaps it expects ldaps://"


@define(eq=False)
class _PendingRequest:
    """
    An LDAP request that waits for its result.

    @ivar most: the number of entries that the request asked for.
    """

    most: int
    result_arrived: Deferred[Result] = field(factory=Deferred)
    entries: list[Entry] = field(factory=list)
    size: int = 0
    messages: int = 0

    def count(self, message: Message) -> None:
        """
        Add the size of a message to the total size of the answer, and fail if the total is too
        large.

        @raise TooLarge: the answer to the request has too many bytes or messages.
        """
        self.size += len(message.body)
        self.messages += 1
        if self.size > MAX_BYTES or self.messages > self.most + _MAX_OTHER_MESSAGES:
            raise TooLarge("the answer of the LDAP server is too large")


@implementer(IHandshakeListener)
@define(eq=False)
class LdapProtocol(Protocol):
    """
    The LDAP client protocol on one TCP or TLS connection.

    A caller that cancels a request, or gets an exception from it, must L{abort} the connection.

    @ivar closed_reason: why the connection is closed, or C{None} for an open connection.
    """

    _clock: IReactorTime
    _timeout: float
    _close_timer: IDelayedCall | None = field(default=None, init=False)
    closed_reason: str | None = field(default=None, init=False)
    _reader: decoding.Reader = field(factory=decoding.Reader, init=False)
    _message_ids: count[int] = field(factory=lambda: count(1), init=False)
    _pending: dict[int, _PendingRequest] = field(factory=dict, init=False)
    _has_received: bool = field(default=False, init=False)
    _tls_ready: Deferred[None] = field(factory=Deferred, init=False)
    _handshake: Handshake | None = field(default=None, init=False)

    def close(self) -> None:
        """
        Send an unbind request and close the connection; abort it if the server has not closed it
        within the timeout.
        """
        if self.closed_reason is None:
            self.closed_reason = "the client closed the connection"
            transport = self._transport()
            self._close_timer = self._clock.callLater(self._timeout, transport.abortConnection)
            transport.write(encoding.message(next(self._message_ids), encoding.unbind(), {}))
            transport.loseConnection()

    def abort(self, why: str = "the client aborted the connection") -> None:
        """Abort the LDAP connection at once; all pending requests fail."""
        self._fail_requests(why)
        self._abort_transport()

    async def request(
        self,
        operation: Operation,
        controls: Mapping[str, bytes | None] | None = None,
        *,
        most: int = 0,
    ) -> tuple[Result, list[Entry]]:
        """
        Send a request, and return its result and the entries that came before the result.

        @param most: the maximum number of entries that the request asks for.
        @raise ServerFault: the server did not answer with a valid result in time.
        """
        if self.closed_reason is not None:
            raise Disconnected(f"LDAP connection closed: {self.closed_reason}")
        message_id = next(self._message_ids)
        pending = self._pending[message_id] = _PendingRequest(most)
        self._transport().write(encoding.message(message_id, operation, controls or {}))
        try:
            result = await with_timeout(
                self._clock, self._timeout, _wait_for(pending.result_arrived)
            )
        except TimedOut as timeout:
            raise AnswerTimeout(str(timeout)) from None
        finally:
            self._pending.pop(message_id, None)
        return result, pending.entries

    # --- methods that Twisted calls ---

    def connectionMade(self) -> None:
        keep_alive = getattr(self.transport, "setTcpKeepAlive", None)
        if keep_alive is not None:
            keep_alive(1)

    def handshakeCompleted(self) -> None:
        """Verify the server's certificate when the TLS handshake after StartTLS has completed."""
        if self._handshake is None or self._tls_ready.called:
            return
        try:
            self._handshake.finish()
        except Untrusted as untrusted:
            self.abort(str(untrusted))
        else:
            self._tls_ready.callback(None)

    def dataReceived(self, data: bytes) -> None:
        if not self._has_received and data[:1] in _TLS_RECORDS:
            self.abort(f"the server answered with TLS; {_PERHAPS_TLS}")
            return
        self._has_received = True
        try:
            for message in self._reader.feed(data):
                self._message_received(message)
                if self.closed_reason is not None:
                    return
        except TooLarge as error:
            self._fail_requests(str(error), AnswerTooLarge(str(error)))
            self._abort_transport()
        except DecodingError as error:
            self.abort(str(error))

    def connectionLost(self, reason: Failure | None = None) -> None:
        why = self._loss_reason(reason)
        # Do not abort a TLS transport whose connection is already lost: Twisted would raise an
        # exception.
        self.transport = None
        self._fail_requests(why)
        if self._close_timer is not None and self._close_timer.active():
            self._close_timer.cancel()

    # --- messages and errors of the LDAP server ---

    def _message_received(self, message: Message) -> None:
        if message.message_id == 0:  # RFC 4511 section 4.4.1: the server's notice of disconnection
            self.abort("the server announced that it closes the connection")
            return
        pending = self._pending.get(message.message_id)
        if pending is None:
            raise DecodingError("the server sent an answer without a request")
        pending.count(message)
        if message.kind == decoding.ENTRY:
            pending.entries.append(decoding.entry(message))
        elif message.kind in (decoding.BIND, decoding.DONE, decoding.EXTENDED):
            result = decoding.result(message)
            del self._pending[message.message_id]
            pending.result_arrived.callback(result)
        elif message.kind not in _SKIPPED:
            raise DecodingError("the server sent an unknown kind of answer")

    def _fail_requests(self, why: str, error: Unavailable | None = None) -> None:
        if self.closed_reason is None:
            self.closed_reason = why
        requests, self._pending = self._pending, {}
        disconnected = Disconnected(f"LDAP connection closed: {self.closed_reason}")
        for pending in requests.values():
            pending.result_arrived.errback(error or disconnected)
        if not self._tls_ready.called:
            # If no call of start_tls is waiting for this error, mark the error as handled, so that
            # Twisted does not log it.
            self._tls_ready.addErrback(lambda _: None)
            self._tls_ready.errback(disconnected)

    def _loss_reason(self, reason: Failure | None) -> str:
        """
        Describe why the connection was lost; if the certificate is not trusted, name that reason
        before any other.
        """
        if reason is None:
            return "the server closed the connection"
        if self._handshake is not None:
            return self._handshake.describe_end(reason)
        if not (self._has_received or ISSLTransport.providedBy(self.transport)):
            return f"the server closed the connection before it answered; {_PERHAPS_TLS}"
        return tls.describe_end(reason)

    def _abort_transport(self) -> None:
        if self.transport is not None:
            self._transport().abortConnection()

    def _transport(self) -> ITCPTransport:
        assert self.transport is not None
        return self.transport  # type: ignore[return-value] # a TCP transport, or TLS over TCP


async def _wait_for(result_arrived: Deferred[Result]) -> Result:
    return await result_arrived
