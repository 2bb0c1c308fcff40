"""The routes of the AuthZEN API: evaluation, evaluations, three searches, and metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from authotron.gateway.gateway import Gateway
from authotron.model.authentication import Authentication
from authotron.model.errors import MayNotAsk
from authotron.web import pages, replies
from authotron.web.authzen.entities import Malformed
from authotron.web.authzen.evaluations import Evaluator, evaluate_all
from authotron.web.authzen.searches import Searcher
from authotron.web.json_bodies import read_object
from authotron.web.later_routes import Call
from authotron.web.policy_questions import Asking, asking, wants_explanation
from authotron.web.replies import Reply
from authotron.web.request import Request
from authotron.web.routing import EarlyReply

PATHS = {
    "access_evaluation_endpoint": "/access/v1/evaluation",
    "access_evaluations_endpoint": "/access/v1/evaluations",
    "search_subject_endpoint": "/access/v1/search/subject",
    "search_resource_endpoint": "/access/v1/search/resource",
    "search_action_endpoint": "/access/v1/search/action",
}
"""The paths of the AuthZEN API, by the names of the endpoints in its metadata document."""

_EXPLAINED = ("evaluation", "evaluations")
"""The endpoints of the AuthZEN API whose answers can contain explanations."""

_MOST_CONTAINERS = 8_192
"""Maximum number of JSON arrays and objects in the body of an AuthZEN request."""

_REQUEST_ID = re.compile(rb"[\t -~\x80-\xff]{1,1024}")
"""The values of the request header C{X-Request-ID} that the gateway repeats in its reply."""

_ERROR = 400
"""The lowest HTTP status code of an error reply."""

Given = Mapping[str, Any]
"""The body of an AuthZEN request, parsed from JSON."""


@frozen
class AuthzenRoutes:
    """Answers the requests to the AuthZEN API; one object is created for each request."""

    _gateway: Gateway[Reply]
    _clock: IReactorTime

    async def answer(
        self, name: str, authenticating: Awaitable[Authentication], request: Request
    ) -> Reply:
        """
        Answer a request to the AuthZEN API; the reply repeats the header C{X-Request-ID} of the
        request.

        @param name: the name of the AuthZEN endpoint as a label of the metric that counts
            questions, such as C{evaluation}.
        @param authenticating: authenticates the client; if it raises L{EarlyReply}, the client gets
            this error reply.
        """
        try:
            reply = await self._answer(name, await authenticating, request)
        except EarlyReply as end:
            reply = _as_message(end.reply)
        given = request.requestHeaders.getRawHeaders(b"X-Request-ID", [])
        if given and _REQUEST_ID.fullmatch(given[0]):
            return replies.with_header(reply, (b"X-Request-ID", given[0]))
        return reply

    async def _answer(self, name: str, requester: Authentication, request: Request) -> Reply:
        if request.media_type != "application/json":
            return _error(400, "Content-Type must be application/json")
        given = read_object(request, _MOST_CONTAINERS)
        each = asking(name, self._gateway, requester, request)
        try:
            explains = name in _EXPLAINED and wants_explanation(request)
            if explains:
                each.caller.check_may_explain()
            return replies.private_json(await self._found(name, each, given, explains=explains))
        except Malformed as malformed:
            return _error(400, str(malformed))
        except MayNotAsk as why:
            return _as_message(each.refused(why))

    async def _found(self, name: str, each: Asking, given: Given, *, explains: bool) -> object:
        """
        Return the answer to an AuthZEN request, as JSON.

        @param explains: whether each evaluation has an explanation.

        @raise Malformed: the request is malformed.
        @raise MayNotAsk: the client may not ask about this subject.
        """
        evaluator = Evaluator(each, explains)
        if name == "evaluation":
            return evaluator.answer(given)
        if name == "evaluations":
            return await evaluate_all(evaluator, given, self._clock)
        searcher = Searcher(evaluator, self._clock)
        searches: dict[str, Callable[[Given], Awaitable[object]]] = {
            "search-subject": searcher.subjects,
            "search-resource": searcher.resources,
            "search-action": searcher.actions,
        }
        return await searches[name](given)


async def evaluation(call: Call) -> Reply:
    """Answer whether the policies allow one request."""
    return await _answer(call, "evaluation")


async def evaluations(call: Call) -> Reply:
    """Answer which of several requests the policies allow."""
    return await _answer(call, "evaluations")


async def search_subject(call: Call) -> Reply:
    """Answer which subjects may perform an action on a resource."""
    return await _answer(call, "search-subject")


async def search_resource(call: Call) -> Reply:
    """Answer on which resources a subject may perform an action."""
    return await _answer(call, "search-resource")


async def search_action(call: Call) -> Reply:
    """Answer which actions a subject may perform on a resource."""
    return await _answer(call, "search-action")


async def _answer(call: Call, name: str) -> Reply:
    routes = AuthzenRoutes(call.gateway, call.clock)
    return await routes.answer(name, call.authentication(), call.request)


async def metadata(call: Call) -> Reply:
    """
    Answer the metadata of the policy decision point; the request needs no credentials.

    The reply must not be cached, because its URLs depend on headers of the request.
    """
    policy = call.gateway.config.policy
    stated = None if policy is None else policy.section.decision_point
    base = stated or pages.address(call.request)
    endpoints = {name: f"{base}{path}" for name, path in PATHS.items()}
    found = replies.private_json({"policy_decision_point": base, **endpoints})
    return pages.readable(call.request, found)


def _as_message(reply: Reply) -> Reply:
    """Return an error reply whose body is one string, as AuthZEN demands."""
    if reply.status < _ERROR:
        return reply
    content = json.loads(reply.body)
    message = "; ".join(content.get("problems", ())) or content["error"]
    kept = [each for each in reply.headers if each[0] != b"Content-Type"]
    return replies.json_reply(reply.status, message, *kept)


def _error(status: int, message: str) -> Reply:
    return replies.json_reply(status, message, replies.NO_STORE)
