"""
The fast path of the main port: connections whose requests are parsed and answered without Klein.

A connection stays on the fast path while the client sends only simple requests for a decision, one
at a time. As soon as a client sends any other request, the connection is handed over to the
L{Site}, which answers this request and all later requests of the connection by Klein.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from socket import socket
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocolNegotiationFactory,
    IPushProducer,
    IReactorTime,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.concurrency.reactor_time import LONGEST
from authotron.gateway.carriers import Carriers
from authotron.gateway.contracts import Asked, Contracts
from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.gateway.outcomes import Decision, Outcome
from authotron.model.binding import ProofNeeded
from authotron.model.identity import Client
from authotron.model.request import Presented
from authotron.web.answering import Answer, Answerer, asks_authorizer
from authotron.web.channel import LAST_CALL, LINGER, MOST_IGNORED
from authotron.web.connections import ConnectionLimit, OpenConnections, Overloaded
from authotron.web.fastpath import request
from authotron.web.fastpath.allowed import ONE_IN, AlwaysAllowed
from authotron.web.fastpath.question import HeadQuestion
from authotron.web.fastpath.repeats import Repeated, Repeats, no_access
from authotron.web.fastpath.request import END, Head, Recogniser, Shape, joined_values
from authotron.web.fastpath.response import ReplyEncoder
from authotron.web.fastpath.sampling import is_chosen
from authotron.web.replies import BAD_REQUEST, Reply
from authotron.web.site import Answered, Site

if TYPE_CHECKING:  # imported only if policies are configured
    from authotron.gateway.policy import PolicyAccess

T = TypeVar("T")

_NOTHING_KNOWN: Mapping[str, object] = MappingProxyType({})
"""The facts of a request that were not parsed yet."""

_USUAL = ("GET", "HEAD")
"""The methods that metrics show from the start as in flight."""

_TURNS = 8
"""
Number of requests that the L{Site} answers on a connection that left the fast path, before the
L{Site} closes the connection, so that the proxy opens a new connection on the fast path.
"""


@implementer(IPushProducer)
class FastPath(Protocol, TimeoutMixin):
    """One connection on the fast path, until it is handed over to the L{Site}."""

    transport: Any  # a TCP or UNIX transport; no interface has all methods that are used here
    callLater: Any
    _asked: Asked
    _log = Logger()

    def __init__(self, address: IAddress, factory: FastPathFactory) -> None:
        self._address = address
        # The address of a UNIX socket has no host.
        self._peer: str | None = getattr(address, "host", None)
        self._factory = factory
        self._bytes = b""
        self._pending: Deferred[None] | None = None
        self._counted = 0
        self._ignored = 0
        self._closing = False
        self._is_draining = False
        self._has_line = False
        self._searched = 0
        self._answered = 0.0
        self._socket: socket | None = None
        self.callLater = factory.site.reactor.callLater

    # --- the life of the connection ---

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        if ISystemHandle.providedBy(self.transport):
            # The handle of a TLS transport is not a socket, so replies go through the transport.
            handle = self.transport.getHandle()
            self._socket = handle if isinstance(handle, socket) else None
        self.transport.registerProducer(self, True)
        self.setTimeout(self._factory.site.timeOut)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self._socket = None
        self._count(0)
        self._factory.lost(self)
        if self._pending is not None:
            self._pending.cancel()

    def timeoutConnection(self) -> None:
        """
        Close an idle connection, or abort a connection that the client does
        not close in time.
        """
        remaining = self._answered + (self._factory.site.timeOut or 0)
        remaining -= self._factory.clock.seconds()
        if self._closing:
            self.transport.abortConnection()
        elif remaining > 0 and not self._is_draining:
            # The timeout is extended only when it fires, which costs less than at each reply.
            self.setTimeout(remaining)
        else:
            self._close()

    def dataReceived(self, data: bytes) -> None:
        self._bytes += data
        if self._pending is None:
            if self._closing:
                self._ignore()
            else:
                self._advance()
        elif len(self._bytes) > self._factory.longest or not self._count(len(self._bytes)):
            # While a decision is pending, keep reading, so that a disconnect is noticed; pause
            # reading after more than C{longest} bytes, or if the budget has no room for them.
            self.transport.pauseProducing()

    def _ignore(self) -> None:
        """
        Discard bytes after the last request of the connection; stop reading after L{MOST_IGNORED}
        bytes.
        """
        self._ignored += len(self._bytes)
        self._bytes = b""
        if self._ignored > MOST_IGNORED:
            self.transport.pauseProducing()

    def _count(self, size: int) -> bool:
        """
        Count the bytes of an unfinished request head; return whether the memory budget has room for
        them.
        """
        if size == self._counted:
            return True
        has_room = self._factory.site.unfinished.resize(self._peer, self._counted, size)
        self._counted = size if has_room else self._counted
        return has_room

    def close_when_idle(self) -> None:
        """
        Close the connection as soon as its current request is answered.

        An idle connection stays open for C{LAST_CALL} seconds, because a request of the client may
        be on its way.
        """
        if self._pending is None:
            self._is_draining = True
            self.setTimeout(LAST_CALL)
        else:
            self._closing = True

    # --- the requests, one after the other ---

    def _advance(self) -> None:
        """Answer a request whose head is remembered, and parse each head that is not remembered."""
        factory = self._factory
        gateway = factory.serving.gateway
        if gateway.contracts is not factory.contracts:
            factory.recognise(gateway)  # since a reload
        began = factory.clock.seconds()
        repeats = self._repeats() if factory.reads_facts else factory.repeats
        found = repeats.find(self._bytes)
        if found is None or len(self._bytes) > factory.longest:
            self._parse(began, repeats)
            return
        repeated, request_id = found
        shape = repeated.shape
        decision = gateway.decisions.repeat(repeated.key, began)
        if decision is None or (shape.needs and not self._is_believed()):
            self._parse(began, repeats, is_known=True)
            return
        if repeats.misses:
            repeats.succeeded()
        if self._counted:
            self._arrived()
        reply = decision.reply
        if (
            shape.is_plain
            and len(reply.wire) <= shape.longest
            and (decision.is_unconditional or repeated.is_allowed(decision.access))
        ):
            self._answer(decision.outcome, reply, shape, request_id, began)
        else:
            self._decided(decision, shape, request_id, began, repeated=repeated)

    def _parse(self, began: float, repeats: Repeats, *, is_known: bool = False) -> None:
        """
        Parse a request head, and answer the request.

        @param repeats: the remembered heads that may be repeated on this connection.
        @param is_known: whether the head is remembered already, so that it is not remembered again:
            its key stays right, because other contracts come with each other cache of decisions.
        """
        factory, gateway = self._factory, self._factory.serving.gateway
        head = factory.recogniser.simple(self._bytes, factory.longest) or self._odd_head()
        if head is None:
            return
        if self._counted:
            self._arrived()
        shape, presented, request_id, is_stated, fields = head
        stated: Mapping[bytes, bytes] | None = fields
        if shape.is_bad or not is_stated or (shape.needs and not self._is_believed()):
            stated = None
            unasked = self._unasked(shape)
            if unasked is not None:
                self._answer_unasked(shape, request_id, began, unasked)
                return
        decisions = gateway.decisions
        self._asked = shape.asked
        if factory.has_carriers:
            head = self._with_others(head, gateway.carriers)
            presented = head.presented
        if is_known:
            repeats.misses += 1
        else:
            repeats.remember(self._bytes, head, decisions.key)
        decision = (
            self._decide_with_authorizer(gateway, presented)
            if factory.asks_authorizer
            else decisions.decide(presented, self._client)
        )
        if isinstance(decision, Decision):
            reply = decision.reply
            if (
                shape.is_plain
                and len(reply.wire) <= shape.longest
                and (
                    decision.is_unconditional
                    or (stated is not None and self._is_always_allowed(decision, shape, stated))
                )
            ):
                self._answer(decision.outcome, reply, shape, request_id, began)
            else:
                self._decided(decision, shape, request_id, began, stated=stated)
        else:
            factory.site.meter(shape.route).note(factory.clock.seconds() - began)
            self._wait(shape, request_id, began, decision)

    def _is_always_allowed(
        self, decision: Decision[Reply], shape: Shape, stated: Mapping[bytes, bytes]
    ) -> bool:
        """
        Return whether the policies have allowed an equal request before, with a ruling that never
        changes. If so, count the request as allowed.
        """
        access, found = decision.access, decision.outcome.authentication
        if access is None or not shape.is_complete or found is None or found.conditions:
            return False
        (_, method, _), (_, uri, _) = shape.states
        rules = access.access
        if rules is None or not self._factory.allowed.has(rules, stated[method], stated[uri]):
            return False
        access.enforcement.count_allowed()
        return True

    def _decide_with_authorizer(
        self, gateway: Gateway[Reply], presented: Presented
    ) -> Decision[Reply] | Deferred[Decision[Reply]]:
        contract, endpoint, _ = self._asked
        question = self._question(self._bytes, self._asked)
        facts = partial(endpoint.facts, question)
        answerer = self._factory.answerer
        return answerer.decide(gateway, contract, presented, facts, self._client, question.values)

    def _with_others(self, head: Head, carriers: Carriers) -> Head:
        """
        Add to a head the parts of the request that carry credentials, apart from
        C{Authorization}.
        """
        header, facts = partial(joined_values, self._bytes), None
        if carriers.reads_facts:
            facts = head.shape.asked.endpoint.facts(self._question(self._bytes, head.shape.asked))
        others = carriers.of_question(header, facts)
        return head._replace(presented=head.presented._replace(others=others))

    def _arrived(self) -> None:
        """Forget how far a head was searched that has arrived in pieces."""
        self._searched, self._has_line = 0, False
        self._count(0)

    def _repeats(self) -> Repeats:
        """
        Return the remembered heads that may be repeated on this connection.

        Equal heads of a trusted proxy and of another peer are different requests if a credential
        counts only when a trusted proxy states it.
        """
        factory = self._factory
        is_other = factory.reads_facts and not self._is_believed()
        return factory.no_repeats if is_other else factory.repeats

    def _is_believed(self) -> bool:
        return self._factory.contracts.proxies.is_proxy(self._peer)

    def _unasked(self, shape: Shape) -> Answer | None:
        """
        Return the answer to a proxy's request for which no provider is asked, or C{None} if a
        provider must be asked.
        """
        if shape.is_bad:
            return Answer(BAD_REQUEST)
        contract, endpoint, _ = shape.asked
        found = self._question(self._bytes, shape.asked)
        return self._factory.answerer.unstated(contract, endpoint, found)

    def _question(self, head: bytes, asked: Asked) -> HeadQuestion:
        return HeadQuestion(head, asked, self._peer, self._factory.contracts.proxies)

    def _odd_head(self) -> Head | None:
        """
        Parse a head that announces a body and is followed by bytes, which are discarded.

        Return C{None} if the head is incomplete, or if the connection was handed over, because the
        request does not ask for a decision.
        """
        end = self._bytes.find(END, self._searched)
        if end < 0:
            self._wait_for_head()
            return None
        size = end + len(END)
        head = self._factory.recogniser.simple(self._bytes[:size], self._factory.longest)
        if head is None or not head.shape.has_body:
            self._hand_over()
            return None
        self._ignored = len(self._bytes) - size
        self._bytes = self._bytes[:size]
        return head

    def _wait_for_head(self) -> None:
        """
        Wait for the rest of a proxy's request, or hand over a connection whose request does not ask
        for a decision.

        Received bytes do not restart the timeout, so that a client that sends slowly cannot extend
        the timeout.
        """
        factory, size = self._factory, len(self._bytes)
        self._searched = max(0, size - len(END) + 1)
        if not self._has_line:
            may_be_question = factory.recogniser.may_become_simple(self._bytes, factory.longest)
            self._has_line = may_be_question and b"\r\n" in self._bytes
        else:
            may_be_question = size <= factory.longest
        # The L{Site} shares the budget for unfinished heads, and answers 503 if the budget is
        # exceeded.
        if not may_be_question or not self._count(size):
            self._hand_over()

    def _client(self) -> Client:
        """Return a function that finds the address of the client that sent the current request."""
        found = self._question(self._bytes, self._asked)
        return partial(self._asked.endpoint.client, found)

    def _wait(
        self,
        shape: Shape,
        request_id: bytes | None,
        began: float,
        decision: Deferred[Decision[Reply]],
    ) -> None:
        timeout = self.setTimeout(None)
        head_bytes, self._bytes = self._bytes, b""

        def decided(decision: Decision[Reply]) -> None:
            self._pending = None
            self.setTimeout(timeout)
            self._count(0)
            later, self._bytes = self._bytes, head_bytes
            self._decided(decision, shape, request_id, began, waited=True)
            if shape.has_body or not self._closing:
                self.transport.resumeProducing()
            if not self._closing:
                self.dataReceived(later)

        metrics = self._factory.serving.metrics
        metrics.request_started(shape.method)
        decision.addBoth(_then_call(metrics.request_ended, shape.method))
        self._pending = decision.addCallback(decided)
        self._pending.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self._pending.addErrback(self._broken)

    def _decided(
        self,
        decision: Decision[Reply],
        shape: Shape,
        request_id: bytes | None,
        began: float,
        *,
        waited: bool = False,
        stated: Mapping[bytes, bytes] | None = None,
        repeated: Repeated | None = None,
    ) -> None:
        """
        Send the reply that belongs to a decision, or a refusal of this request.

        @param stated: the headers that the contract needs, if a trusted proxy states each of them
            once.
        @param repeated: what the fast path remembers about the head, if the head was sent before.
        """
        reply, reason, metrics = decision.reply, "", self._factory.serving.metrics
        if not (shape.is_plain or waited or shape.method in _USUAL):
            metrics.request_started(shape.method)
            metrics.request_ended(shape.method)
        if not (decision.is_unconditional and shape.is_plain and len(reply.wire) <= shape.longest):
            try:
                reply, reason = self._judged(self._bytes, shape, decision, stated, repeated)
            except ProofNeeded:
                self._prove(decision, shape, request_id, began)
                return
            except Exception:  # noqa: BLE001 - an exception in a condition: the site answers the request and logs the exception
                self._hand_over()
                return
        self._answer(decision.outcome, reply, shape, request_id, began, reason, waited)

    def _prove(
        self,
        decision: Decision[Reply],
        shape: Shape,
        request_id: bytes | None,
        began: float,
    ) -> None:
        """Verify the proof of a request whose token is bound to a key, and answer the request."""
        factory, (contract, endpoint, _) = self._factory, shape.asked
        question = self._question(self._bytes, shape.asked)
        facts, client = endpoint.facts(question), partial(endpoint.client, question)
        gateway = factory.serving.gateway
        proven = factory.answerer.proven(
            gateway, contract, decision, facts, question.values, client
        )
        if isinstance(proven, Decision):
            self._decided(proven, shape, request_id, began)
        else:
            self._wait(shape, request_id, began, proven)

    def _answer(
        self,
        outcome: Outcome,
        reply: Reply,
        shape: Shape,
        request_id: bytes | None,
        began: float,
        reason: str = "",
        waited: bool = False,  # noqa: FBT001, FBT002 - a keyword argument would cost time for each request
    ) -> None:
        """
        Send a reply, count it, and write it to the access log.

        @param reason: why the client may not make the request, if the reply is a refusal.
        @param waited: whether the request waited for the decision.
        """
        factory = self._factory
        head, self._bytes = self._bytes, b""
        if self._closing or self._is_draining:
            shape = evolve(shape, persistent=False)
        now = factory.clock.seconds()
        if now < self._answered:  # the clock was set back, so the timeout would fire too late
            self.setTimeout(factory.site.timeOut)
        self._answered = now
        self._send(factory.encoder.encode(shape, reply, now))
        status, seconds = reply.status, now - began
        if seconds < 0:
            seconds = 0.0
        method, route = shape.method, shape.route
        factory.serving.metrics.decision_sent(
            outcome.result, outcome.realm, route, method, status, seconds
        )
        if status >= factory.site.least_logged:
            sender = self._question(head, shape.asked)
            factory.site.log_answered(
                Answered(method, route, status, seconds, outcome, sender, request_id, reason)
            )
        # If the request waited for a decision, its callbacks were measured one by one already, and
        # the time since its start includes waiting, in which the reactor was not blocked.
        if seconds > LONGEST and not waited:
            factory.site.meter(route).note(seconds)
        if shape.has_body or not shape.persistent:
            self._finish(shape)

    def _judged(
        self,
        head: bytes,
        shape: Shape,
        decision: Decision[Reply],
        stated: Mapping[bytes, bytes] | None,
        repeated: Repeated | None,
    ) -> tuple[Reply, str]:
        """
        Check the conditions of a credential and the policies, and return the reply of a contract,
        with the reason of a refusal.
        """
        contract, endpoint, _ = shape.asked
        answerer = self._factory.answerer
        if contract.path_header or answerer.names_resource(decision):
            question = self._question(head, shape.asked)
            facts = endpoint.facts(question)
            denied = answerer.denied(contract, decision, facts, question.values)
            if denied is None:
                return answerer.dressed(contract, decision, facts)
        else:
            denied = None
            if not decision.is_unconditional:
                denied = self._denied(head, decision, shape, stated, repeated)
            if denied is None:
                if shape.is_plain and len(decision.reply.wire) <= shape.longest:
                    return decision.reply, ""
                return answerer.dressed(contract, decision)
        return denied.reply, denied.reason

    def _denied(
        self,
        head: bytes,
        decision: Decision[Reply],
        shape: Shape,
        stated: Mapping[bytes, bytes] | None,
        repeated: Repeated | None,
    ) -> Answer | None:
        """
        Return the refusal of a request that its client may not make, or C{None} if the client may
        make it.
        """
        access, answerer = decision.access, self._factory.answerer
        if repeated is not None and repeated.is_allowed(access):
            return None
        if stated is not None and shape.is_complete and access is not None:
            return self._denied_stated(head, decision, shape, stated, access)
        contract, endpoint, _ = shape.asked
        question = self._question(head, shape.asked)
        known = repeated.known if repeated else _NOTHING_KNOWN
        if stated is not None:
            known = request.stated_facts(shape, stated)
        facts = endpoint.facts(question, known)
        denied = answerer.denied(contract, decision, facts, question.values)
        if repeated is not None and access is not None and repeated.tried() is not access:
            repeated.tried = ref(access)
            is_always = denied is None and answerer.is_settled(decision, facts)
            repeated.settled = repeated.tried if is_always else no_access
        return denied

    def _denied_stated(
        self,
        head: bytes,
        decision: Decision[Reply],
        shape: Shape,
        stated: Mapping[bytes, bytes],
        access: PolicyAccess,
    ) -> Answer | None:
        """
        Do the same as L{_denied} for a request whose head contains all facts that policies always
        need.
        """
        answerer, allowed = self._factory.answerer, self._factory.allowed
        contract, endpoint, _ = shape.asked
        question = self._question(head, shape.asked)
        known = request.stated_facts(shape, stated)
        facts_of = partial(endpoint.facts, question, known)
        if len(known) < len(shape.states):
            return answerer.denied(contract, decision, facts_of(), question.values)
        denied = answerer.denied_stated(contract, decision, known, facts_of, question.values)
        if denied is not None or access.access is None or not is_chosen(ONE_IN):
            return denied
        if answerer.is_settled(decision, facts_of()):
            method, uri = _method_and_uri(shape, stated)
            path = str(known["path"])
            allowed.add(access.access, method, uri, path, in_folder=access.is_uniform(path))
        return denied

    def _answer_unasked(
        self, shape: Shape, request_id: bytes | None, began: float, answer: Answer
    ) -> None:
        """Send a reply for which no decision is needed, such as a 400."""
        factory, status = self._factory, answer.reply.status
        head, self._bytes = self._bytes, b""
        if self._closing or self._is_draining:
            shape = evolve(shape, persistent=False)
        self._answered = now = factory.clock.seconds()
        self._send(factory.encoder.encode(shape, answer.reply, now))
        metrics, seconds = factory.serving.metrics, max(0.0, now - began)
        metrics.request_started(shape.method)
        metrics.request_answered(shape.route, shape.method, status, seconds)
        metrics.request_ended(shape.method)
        if status >= factory.site.least_logged:
            factory.site.log_answered(
                Answered(
                    shape.method,
                    shape.route,
                    status,
                    seconds,
                    answer.outcome,
                    self._question(head, shape.asked),
                    request_id,
                    answer.reason,
                )
            )
        self._finish(shape)

    def _finish(self, shape: Shape) -> None:
        if shape.has_body:
            self._close_with_body()
        elif not shape.persistent:
            self._close()

    def _send(self, reply: bytes) -> None:
        """
        Write the reply to the socket at once, which saves an iteration of the reactor.

        If the kernel does not accept all bytes, the rest and all later replies are written by the
        transport, to keep the order of bytes.
        """
        if self._socket is None:
            self.transport.write(reply)
            return
        try:
            sent = self._socket.send(reply)
        except OSError:
            # If the socket has failed, transport.write fails and closes the connection.
            sent = 0
        if sent != len(reply):
            self._socket = None
            self.transport.write(reply[sent:])

    def _broken(self, failure: Failure) -> None:
        self._log.failure("answering a request failed", failure, event="routes.request.broken")
        self.transport.abortConnection()

    def _close(self) -> None:
        self._closing = True
        self.setTimeout(self._factory.grace)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _close_with_body(self) -> None:
        """
        Close the connection in such a way that a client that still sends a body
        can read the reply.
        """
        if ITCPTransport.providedBy(self.transport):
            self._closing = True
            self.setTimeout(LINGER)
            self.transport.loseWriteConnection()
        else:
            self._close()

    def _hand_over(self) -> None:
        """
        Hand the connection over to the L{Site} for good; from now on this object only passes bytes
        on.
        """
        self.setTimeout(None)
        self._count(0)
        self.transport.unregisterProducer()
        channel = self._factory.site.build_channel(self._address)
        channel.turns = _TURNS
        self.dataReceived = channel.dataReceived  # type: ignore[method-assign] # the connection is never taken back
        self.connectionLost = channel.connectionLost  # type: ignore[method-assign] # the connection is never taken back
        channel.makeConnection(self.transport)
        received, self._bytes = self._bytes, b""
        try:
            channel.dataReceived(received)
        # This connection leaves the set of open connections only after the L{Site} has its request:
        # otherwise draining could close the connection before the L{Site} answers.
        finally:
            self._factory.handed_over(self)

    # --- IPushProducer: while a client does not read its replies, its requests are not read ---

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Do nothing: the transport is closed, and Twisted calls L{connectionLost} next."""


def _method_and_uri(shape: Shape, stated: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """
    Return the method and the URI of a request in the form in which the request head
    states them.
    """
    (_, method, _), (_, uri, _) = shape.states
    return stated[method], stated[uri]


def _then_call(call: Callable[[str], None], method: str) -> Callable[[T], T]:
    """
    Return a callback for a Deferred that calls C{call(method)} and leaves
    the result unchanged.
    """

    def through(result: T) -> T:
        call(method)
        return result

    return through


@implementer(IProtocolNegotiationFactory)
class FastPathFactory(Factory):
    """
    Serves connections on the fast path, and limits their number.

    @ivar longest: maximum number of bytes in a request head on the fast path, which is not above
        the maximum of the L{Site}.
    @ivar connection_limit: the limit of connections to the main port, by all protocols.
    """

    noisy = False
    grace = 15.0

    def __init__(
        self, site: Site, serving: LiveGateway[Reply], clock: IReactorTime, most: int
    ) -> None:
        self.site = site
        self.serving = serving
        self.clock = clock
        self.longest = min(request.LONGEST, site.limit)
        self.encoder = ReplyEncoder()
        self.answerer = Answerer(serving, clock)
        self.recognise(serving.gateway)
        self._open = OpenConnections()
        self.connection_limit = ConnectionLimit(
            clock, serving.metrics, most, (self._open, site.open)
        )

    def recognise(self, gateway: Gateway[Reply]) -> None:
        """
        Recognise the requests of the proxies that a new configuration names, and forget all
        remembered heads.
        """
        contracts, carriers = gateway.contracts, gateway.carriers
        self.contracts: Contracts = contracts
        self.asks_authorizer = asks_authorizer(gateway)
        self.recogniser = Recogniser(contracts)
        self.has_carriers = bool(carriers)
        self.allowed = AlwaysAllowed()
        # The gateway asks an authorizer about each request, so remembering request heads would save
        # no time.
        self.repeats = Repeats(0 if self.asks_authorizer else self.longest)
        self.reads_facts = carriers.reads_facts
        self.no_repeats = Repeats(0)

    def doStart(self) -> None:
        super().doStart()
        self.site.doStart()

    def doStop(self) -> None:
        self.site.doStop()
        super().doStop()

    def buildProtocol(self, addr: Any) -> FastPath | Overloaded:
        if self.connection_limit.is_full():
            return Overloaded()
        connection = FastPath(addr, self)
        self._open.add(connection)
        return connection

    def acceptableProtocols(self) -> list[bytes]:
        """
        Return HTTP/1.1 as the protocol for TLS (ALPN). If no ALPN protocol were returned, Twisted
        would abort the TLS handshakes of clients that offer some.
        """
        return [b"http/1.1"]

    def limit_connections(self, most: int) -> None:
        """Change the maximum number of connections, above which new ones are rejected."""
        self.connection_limit.most = most

    def handed_over(self, connection: FastPath) -> None:
        """
        Count a connection that left the fast path, and remove it from the open connections of the
        fast path.
        """
        self.serving.metrics.fast_path_left()
        self.lost(connection)

    def lost(self, connection: FastPath) -> None:
        """
        Remove a connection that is closed, or left the fast path, from the open connections of the
        fast path.
        """
        self._open.discard(connection)

    def drain(self) -> Deferred[None]:
        """
        Close every connection once its requests are answered; the Deferred fires when all are
        closed.
        """
        return self._open.drain().addCallback(lambda _: self.site.drain())
