"""
The connections of trusted proxies that ask for decisions by FastCGI.

A FastCGI connection carries one authentication request at a time. Everything that arrives is
bounded: the variables of a request by C{server.max_header_bytes}, all other bytes by
L{MOST_IGNORED}, and the time in which a request must arrive by C{server.idle_timeout}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.config.endpoint import FASTCGI
from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.gateway.outcomes import ADMITTED, Decision, Outcome
from authotron.web import replies
from authotron.web.answering import Answerer, identity_fields
from authotron.web.channel import LAST_CALL, MOST_IGNORED
from authotron.web.fastcgi import answers, records
from authotron.web.fastcgi.log import FastCgiLog
from authotron.web.fastcgi.question import BadQuestion, Question, question
from authotron.web.fastcgi.records import MalformedRecord, Record
from authotron.web.replies import Reply
from authotron.web.site import Answered, Peer, Site
from authotron.web.trusted_peers import PeerConnection

ROUTE = FASTCGI
"""The metric label of authentication requests by FastCGI."""

_GRACE = 15.0
"""Seconds after which the gateway aborts a connection that the proxy does not close."""

_VALUES = {b"FCGI_MAX_REQS": b"1", b"FCGI_MPXS_CONNS": b"0"}
"""The answer to the record C{GET_VALUES}: a connection carries one request at a time."""


def connections(
    site: Site, serving: LiveGateway[Reply], clock: IReactorTime
) -> Callable[[IAddress], PeerConnection]:
    """Return a function that builds the FastCGI protocol of a connection."""
    answerer, log = Answerer(serving, clock), FastCgiLog(clock)
    return lambda address: FastCgi(address, site, serving, clock, answerer, log)


class _Asking:
    """
    A FastCGI request whose variables are still arriving.

    @ivar keeps: whether the connection stays open after the answer.
    @ivar stream: the parameters that have arrived so far.
    """

    __slots__ = ("keeps", "request", "stream")

    def __init__(self, request: int, *, keeps: bool) -> None:
        self.request = request
        self.keeps = keeps
        self.stream = bytearray()


@implementer(IPushProducer)
class FastCgi(PeerConnection, TimeoutMixin):
    """One FastCGI connection of a trusted proxy."""

    transport: Any  # a TCP or UNIX transport; no interface has all methods that are used here
    callLater: Any
    _log = Logger()

    def __init__(
        self,
        address: IAddress,
        site: Site,
        serving: LiveGateway[Reply],
        clock: IReactorTime,
        answerer: Answerer,
        log: FastCgiLog,
    ) -> None:
        self._address = address
        self._peer: str | None = getattr(address, "host", None)
        self._site = site
        self._serving = serving
        self._clock = clock
        self._answerer = answerer
        self._noted = log
        self._bytes = b""
        self._asking: _Asking | None = None
        self._pending: Deferred[None] | None = None
        self._counted = 0
        self._ignored = 0
        self._is_closing = self._is_draining = self._is_paused = False
        self.callLater = site.reactor.callLater

    # --- the life of the connection ---

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self.setTimeout(self._site.timeOut)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self._is_closing = True
        self._count(0)
        self.on_lost(self)
        if self._pending is not None:
            self._pending.cancel()

    def timeoutConnection(self) -> None:
        """
        Close a connection that is idle; abort a connection on which a request arrives
        too slowly.
        """
        if self._asking is None and not self._is_closing:
            self._close()
        else:
            self.transport.abortConnection()

    def close_when_idle(self) -> None:
        self._is_draining = True
        if self._pending is None and not self._is_closing:
            # The proxy may just be sending a request.
            self.setTimeout(LAST_CALL)

    def dataReceived(self, data: bytes) -> None:
        self._bytes += data
        with self._site.meter(ROUTE).timing():
            self._advance()

    def _advance(self) -> None:
        """Act on the FastCGI records that have arrived."""
        try:
            while not (self._is_closing or self._is_paused):
                found = records.first(self._bytes)
                if found is None:
                    break
                record, size = found
                self._bytes = self._bytes[size:]
                self._take(record, size)
        except MalformedRecord as malformed:
            self._abort(str(malformed))
        if self._is_closing:
            self._bytes = b""
        elif not self._count(len(self._bytes) + len(self._asking.stream if self._asking else b"")):
            self._abort("server.max_unfinished_bytes has no room for its request")

    def _count(self, size: int) -> bool:
        """
        Count the bytes of an unfinished request; return whether the memory budget has room for
        them.
        """
        if size == self._counted:
            return True
        has_room = self._site.unfinished.resize(self._peer, self._counted, size)
        self._counted = size if has_room else self._counted
        return has_room

    def _abort(self, why: str) -> None:
        """Close a connection at once, because of what the proxy has sent on it."""
        self._noted.malformed(self._peer, why)
        self._is_closing = True
        self.transport.abortConnection()

    def _close(self) -> None:
        self._is_closing = True
        self.setTimeout(_GRACE)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # --- the records, one after the other ---

    def _take(self, record: Record, size: int) -> None:
        """
        Act on one FastCGI record.

        @raise MalformedRecord: the proxy does not follow the FastCGI specification.
        """
        asking = self._asking
        if record.request == records.MANAGEMENT:
            self._answer_about_connection(record)
            self._ignore(size)
        elif record.type == records.BEGIN_REQUEST:
            self._begin(record, size)
        elif asking is None or record.request != asking.request:
            # section 3.3: records of a request that has ended or never began are ignored
            self._ignore(size)
        elif record.type == records.ABORT_REQUEST:
            self._abandon(asking)
        elif record.type == records.PARAMS and self._pending is None:
            self._extend(asking, record.content, size)
        else:
            self._ignore(size)

    def _ignore(self, size: int) -> None:
        self._ignored += size
        if self._ignored > MOST_IGNORED:
            self._abort(f"more than {MOST_IGNORED} bytes belong to no request")

    def _answer_about_connection(self, record: Record) -> None:
        """Answer a FastCGI record that belongs to no request (section 4)."""
        if record.type != records.GET_VALUES:
            self.transport.write(records.unknown_type(record.type))
            return
        asked = [name for name, _ in records.pairs(record.content)]
        known = [records.encode_pair(name, _VALUES[name]) for name in _VALUES if name in asked]
        result = records.encode(records.GET_VALUES_RESULT, records.MANAGEMENT, b"".join(known))
        self.transport.write(result)

    def _begin(self, record: Record, size: int) -> None:
        role, flags = records.role_and_flags(record.content)
        if self._asking is not None:
            if record.request == self._asking.request:
                raise MalformedRecord("a request begins twice")
            self.transport.write(records.end(record.request, records.CANNOT_MULTIPLEX))
            self._ignore(size)
        elif not self._serving.gateway.contracts.proxies.is_proxy(self._peer):
            self._abort("the peer is not in server.trusted_proxies any more")
        elif role != records.AUTHORIZER:
            self.transport.write(records.end(record.request, records.UNKNOWN_ROLE))
            self._close()
        else:
            self._asking = _Asking(record.request, keeps=bool(flags & records.KEEP_CONNECTION))

    def _abandon(self, asking: _Asking) -> None:
        """End a request without an answer, because the proxy has aborted it."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self._end(asking, records.end(asking.request))

    def _extend(self, asking: _Asking, content: bytes, size: int) -> None:
        """Add parameters to a request. A record without content completes the request."""
        if content:
            asking.stream += content
            self._ignored += size - len(content)
            if len(asking.stream) + self._ignored > self._site.limit:
                self._refuse(asking, "with variables longer than server.max_header_bytes")
            return
        try:
            asked = question(bytes(asking.stream))
        except BadQuestion as bad:
            if bad.fact:
                self._serving.metrics.fact_unusable(ROUTE, bad.fact, bad.flaw.value)
            self._refuse(asking, str(bad))
            return
        asking.stream.clear()
        self._decide(asking, asked)

    # --- one authentication request ---

    def _refuse(self, asking: _Asking, why: str) -> None:
        """Answer 400 to a request whose variables are missing or malformed."""
        asking.keeps = False
        self._noted.refused(why)
        sender = Peer(self._address)
        self._site.answered(
            Answered("other", ROUTE, replies.BAD_REQUEST.status, 0.0, None, sender, None, why)
        )
        self._send(asking, answers.content(replies.BAD_REQUEST))

    def _decide(self, asking: _Asking, asked: Question) -> None:
        self._count(0)
        self.setTimeout(None)
        began = self._clock.seconds()
        gateway = self._serving.gateway
        presented = asked.presented(gateway.carriers)
        contract = gateway.contracts.of_protocol(FASTCGI)
        decision = self._answerer.decide(
            gateway, contract, presented, asked.facts, lambda: asked.address, asked.values
        )
        if isinstance(decision, Decision):
            self._decided(gateway, asking, asked, began, decision)
            return
        metrics, label = self._serving.metrics, asked.method_label

        def ended(result: Any) -> Any:
            metrics.request_ended(label)
            return result

        def decided(decision: Decision[Reply]) -> None:
            self._pending = None
            self._decided(gateway, asking, asked, began, decision)
            self._advance()

        metrics.request_started(label)
        decision.addBoth(ended)
        self._pending = decision.addCallback(decided)
        self._pending.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self._pending.addErrback(self._broken)

    def _decided(
        self,
        gateway: Gateway[Reply],
        asking: _Asking,
        asked: Question,
        began: float,
        decision: Decision[Reply],
    ) -> None:
        """
        Answer a request.

        @param gateway: the gateway that made the decision; a reload may have replaced it since.
        """
        # The facts of the client's request are read from variables, not as the contract says.
        contract = gateway.contracts.of_protocol(FASTCGI)
        facts = asked.facts()
        reply, reason = self._answerer.authorized(contract, decision, facts, asked.values)
        identity = identity_fields(contract, decision, facts) if reply.status == ADMITTED else ()
        answer = answers.content(reply, identity)
        for size, most in (
            (answers.longest_line(answer), answers.LONGEST_LINE),
            (len(answer), contract.max_head_bytes),
        ):
            if size > most and reply.status == ADMITTED:
                reply, reason = self._answerer.too_large(contract, decision, size, most)
                answer = answers.content(reply)
        outcome, now = decision.outcome, self._clock.seconds()
        seconds = max(0.0, now - began)
        self._serving.metrics.decision_sent(
            outcome.result, outcome.realm, ROUTE, asked.method_label, reply.status, seconds
        )
        if reply.status >= self._site.least_logged:
            self._log_answered(asked, reply.status, seconds, outcome, reason)
        self._send(asking, answer)

    def _log_answered(
        self, asked: Question, status: int, seconds: float, outcome: Outcome, reason: str
    ) -> None:
        answered = Answered(
            asked.method_label, ROUTE, status, seconds, outcome, asked, asked.request_id, reason
        )
        self._site.log_answered(answered)

    def _send(self, asking: _Asking, answer: bytes) -> None:
        self._end(asking, answers.encode(asking.request, answer))

    def _end(self, asking: _Asking, last: bytes) -> None:
        """
        Write the last bytes of the answer to a request, and close the connection unless the proxy
        keeps it open.
        """
        self._asking = None
        self._ignored = 0
        self._count(0)
        if self._is_closing:
            return
        self.transport.write(last)
        if asking.keeps and not self._is_draining:
            self.setTimeout(self._site.timeOut)
        else:
            self._close()

    def _broken(self, failure: Failure) -> None:
        self._log.failure("answering a request failed", failure, event="routes.request.broken")
        self.transport.abortConnection()

    # --- IPushProducer: while the proxy does not read its answers, its requests are not read ---

    def pauseProducing(self) -> None:
        self._is_paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._is_paused = False
        self.transport.resumeProducing()
        self._advance()

    def stopProducing(self) -> None:
        """Do nothing: the transport is closed, and Twisted calls L{connectionLost} next."""
