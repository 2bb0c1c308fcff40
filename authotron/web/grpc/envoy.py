"""
The service by which Envoy asks for a decision, C{envoy.service.auth.v3.Authorization/Check}.

The answer to a call is always a message that says what Envoy should do, even if the request is
refused: Envoy treats a failed call like a gateway that cannot be reached, and lets requests through
if it was configured so (C{failure_mode_allow}).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.reactor_time import LONGEST
from authotron.config.carried import NO_NAMES, CredentialNames
from authotron.config.endpoint import GRPC
from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.gateway.outcomes import ADMITTED, Decision
from authotron.plugin.contract import Contract
from authotron.plugin.header_profiles import Profile
from authotron.web import replies
from authotron.web.answering import Answerer, path_fields
from authotron.web.grpc import calls
from authotron.web.grpc import question as questions
from authotron.web.grpc.calls import Answer, Status
from authotron.web.grpc.messages import CheckResponse, DecodeError
from authotron.web.grpc.question import Question
from authotron.web.replies import Header, Reply
from authotron.web.site import Answered, Site

SERVICE = "envoy.service.auth.v3.Authorization"
"""The name of the gRPC service."""

PATH = f"/{SERVICE}/Check".encode()
_ROUTE = PATH.decode()

_OVERWRITE = 2
"""The action of Envoy that replaces all headers of a name, OVERWRITE_IF_EXISTS_OR_ADD."""

_OK, _INVALID_ARGUMENT, _PERMISSION_DENIED, _UNAVAILABLE, _UNAUTHENTICATED = 0, 3, 7, 14, 16
_CODES = {400: _INVALID_ARGUMENT, 401: _UNAUTHENTICATED, 403: _PERMISSION_DENIED, 503: _UNAVAILABLE}
"""The code of C{google.rpc.Status} for a refusal. Envoy only looks whether the code is 0."""


class Authorization:
    """Answers Envoy's authentication requests with the decisions of the gateway."""

    def __init__(self, serving: LiveGateway[Reply], clock: IReactorTime, site: Site) -> None:
        self._serving = serving
        self._clock = clock
        self._site = site
        self._answerer = Answerer(serving, clock)

    def check(self, message: bytes, peer: str | None) -> Answer | Deferred[Answer]:
        """Answer a call."""
        gateway = self._serving.gateway
        if not gateway.contracts.proxies.is_proxy(peer):  # since a reload
            return calls.failed(Status.PERMISSION_DENIED, "the peer is no trusted proxy")
        began = self._clock.seconds()
        try:
            question = questions.read(message, peer)
        except DecodeError:
            return calls.failed(Status.INTERNAL, "the message is malformed")
        decision = self._answerer.decide(
            gateway,
            gateway.contracts.of_protocol(GRPC),
            question.presented(gateway.carriers),
            lambda: question.facts,
            lambda: question.address,
            question.values,
        )
        if isinstance(decision, Decision):
            answer = self._decided(gateway, question, began, decision)
            seconds = self._clock.seconds() - began
            if seconds > LONGEST:
                self._site.meter(_ROUTE).note(seconds)
            return answer
        self._site.meter(_ROUTE).note(self._clock.seconds() - began)
        return self._wait(gateway, question, began, decision)

    def _wait(
        self,
        gateway: Gateway[Reply],
        question: Question,
        began: float,
        decision: Deferred[Decision[Reply]],
    ) -> Deferred[Answer]:
        metrics, method = self._serving.metrics, question.method_label
        metrics.request_started(method)

        def ended(result: Any) -> Any:
            metrics.request_ended(method)
            return result

        decided = partial(self._decided, gateway, question, began)
        return decision.addBoth(ended).addCallback(decided)

    def _decided(
        self,
        gateway: Gateway[Reply],
        question: Question,
        began: float,
        decision: Decision[Reply],
    ) -> Answer:
        """
        Answer a call.

        @param gateway: the gateway that made the decision; a reload may have replaced it since.
        """
        contract = gateway.contracts.of_protocol(GRPC)
        names = gateway.credential_names
        reply, reason = self._answerer.authorized(
            contract, decision, question.facts, question.values
        )
        response = _response(contract, names, question, decision, reply)
        if reply.status == ADMITTED and (size := _size(response)) > contract.max_head_bytes:
            most = contract.max_head_bytes
            reply, reason = self._answerer.too_large(contract, decision, size, most)
            response = _response(contract, names, question, decision, reply)
        outcome, method = decision.outcome, question.method_label
        seconds = max(0.0, self._clock.seconds() - began)
        self._serving.metrics.decision_sent(
            outcome.result, outcome.realm, _ROUTE, method, reply.status, seconds
        )
        if reply.status >= self._site.least_logged:
            request_id = question.request_id
            self._site.log_answered(
                Answered(
                    method, _ROUTE, reply.status, seconds, outcome, question, request_id, reason
                )
            )
        return Answer(response.SerializeToString())


def _response(
    contract: Contract,
    names: CredentialNames,
    question: Question,
    decision: Decision[Reply],
    reply: Reply,
) -> Any:
    cookies = question.headers.get(b"cookie", b"")
    path = path_fields(contract, question.facts) if reply.status == ADMITTED else ()
    return response_to(reply, decision, contract.profile, names, cookies, path)


def response_to(
    reply: Reply,
    decision: Decision[Reply],
    profile: Profile,
    names: CredentialNames = NO_NAMES,
    cookies: bytes = b"",
    path: Sequence[Header] = (),
) -> Any:
    """
    Return the message that makes Envoy do what an HTTP reply says.

    The parts of the request that carry credentials are removed from the request. The header
    C{Authorization} stays as the client sent it if it carries no credential for the gateway, and if
    the profile has the JWT in another header.

    @param profile: the headers that name the identity; those of other profiles are removed from the
        request, so that no client can send them.
    @param names: the parts of a request that carry credentials.
    @param cookies: the header C{Cookie} of the request.
    @param path: the header of a 200 that states the path of the client's request, or an empty
        string.
    """
    response = CheckResponse()
    found, token = decision.outcome.authentication, replies.minted_jwt(decision.reply)
    if reply.status == ADMITTED and found is not None and token is not None:
        response.status.code = _OK
        fields = [*profile.fields(found.identity, token), *path]
        fields = [(name.lower(), value) for name, value in fields]
        removed = {*map(bytes.lower, profile.missing), *names.lower_headers}
        jwt = token.encode()
        if b"authorization" in removed or not any(jwt in value for _, value in fields):
            fields.insert(0, (b"authorization", b"Bearer " + jwt))
        kept = names.without_cookies(cookies) if names.cookies else cookies
        if kept != cookies:
            fields += [(b"cookie", kept)] if kept else []
            removed.add(b"cookie")
        _add(response.ok_response.headers, fields)
        removed.difference_update(name for name, _ in fields)
        response.ok_response.headers_to_remove.extend(sorted(removed))
        parameters = (each.encode("ascii") for each in names.parameters)
        response.ok_response.query_parameters_to_remove.extend(parameters)
    else:
        # Only an identity may let a request pass.
        refusal = replies.BROKEN if reply.status == ADMITTED else reply
        response.status.code = _CODES.get(refusal.status, _PERMISSION_DENIED)
        response.denied_response.status.code = refusal.status
        _add(response.denied_response.headers, refusal.headers)
        response.denied_response.body = refusal.body
    return response


def _size(response: Any) -> int:
    """Return the bytes of the names and values of the headers that a message adds."""
    headers = (option.header for option in response.ok_response.headers)
    return sum(len(each.key) + len(each.value) for each in headers)


def _add(to: Any, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Add headers to Envoy's message, each of which replaces all lines of its name."""
    for name, value in headers:
        option = to.add(append_action=_OVERWRITE, keep_empty_value=True)
        option.header.key = name
        option.header.value = value
