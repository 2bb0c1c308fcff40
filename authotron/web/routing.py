"""Register routes with Klein, answer errors in JSON, and find the metric label of a route."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

from klein import Klein, Response
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from authotron.concurrency.racing import start
from authotron.model.errors import KeysUnknown, PoliciesUnknown
from authotron.web import pages, replies
from authotron.web.replies import Reply

UNMATCHED = "unmatched"
"""The metric label for all paths that no route matches."""

CONTRACT_RULE = "/auth/<contract>"
"""
The routing rule for the authentication requests of proxies. The rule has no metric label: the site
knows the label by the contract of the request.
"""

_PARAMETER = re.compile(r"<(?:path:)?(\w+?)_?>")

RouteMethod = TypeVar("RouteMethod", bound=Callable[..., Reply | Awaitable[Reply]])


class EarlyReply(Exception):
    """Ends a request early, with the reply that this exception contains."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


def route(app: Klein, path: str, *methods: str) -> Callable[[RouteMethod], RouteMethod]:
    """
    Register the decorated method, which returns a L{Reply} or a coroutine of one, for requests for
    a path; if no methods are given, with any method.

    The decorated method may raise L{EarlyReply}. If the decorated method returns without waiting,
    Klein gets a response instead of a Deferred, which is faster.
    """

    def register(method: RouteMethod) -> RouteMethod:
        @wraps(method)
        def respond(*given: Any, **parameters: Any) -> Response | Deferred[Response]:
            response = start(_response(method, *given, **parameters))
            if isinstance(response, Failure):
                response.raiseException()
            return response

        app.route(path, methods=methods or None)(respond)  # type: ignore[type-var] # wraps() turns it into a class for mypy
        return method

    return register


def handle_errors(app: Klein) -> None:
    """
    Make a Klein app answer errors in JSON, without stack traces, and with
    C{Allow} in a 405 reply.
    """

    def handle(kind: type[Exception], reply: Callable[[Failure], Reply]) -> None:
        # Klein passes the request as the last but one argument, and the failure as the last one.
        def respond(*given: Any) -> Response:
            return pages.for_browser(given[-2], reply(given[-1])).response()

        app.handle_errors(kind)(respond)  # type: ignore[arg-type] # the function takes any arguments

    handle(NotFound, lambda _: replies.NOT_FOUND)
    handle(MethodNotAllowed, _method_not_allowed)
    handle(HTTPException, lambda _: replies.BAD_REQUEST)
    handle(PoliciesUnknown, lambda _: replies.UNAVAILABLE)
    handle(KeysUnknown, lambda _: replies.UNAVAILABLE)
    handle(Exception, _broken)


def _method_not_allowed(failure: Failure) -> Reply:
    return replies.method_not_allowed(getattr(failure.value, "valid_methods", None) or ())


def _broken(failure: Failure) -> Reply:
    log = Logger(namespace="authotron.web")
    log.failure("answering a request failed", failure, event="routes.request.broken")
    return replies.BROKEN


async def _response(method: RouteMethod, *given: Any, **parameters: Any) -> Response:
    try:
        reply = method(*given, **parameters)
        return (reply if isinstance(reply, Reply) else await reply).response()
    except EarlyReply as end:
        return end.reply.response()


def no_route() -> NoReturn:
    """Let Klein answer a request as if its path were unknown."""
    raise NotFound


def label_of(rule: str) -> str:
    """Return the metric label of a routing rule: its path, with C{{name}} for a parameter."""
    return _PARAMETER.sub(r"{\1}", rule)


class RouteLabels:
    """
    The metric labels of the routes of a Klein app: their paths, with C{{name}} in place of
    parameters.
    """

    def __init__(self, app: Klein) -> None:
        every = (rule.rule for rule in app.url_map.iter_rules())
        rules = [rule for rule in every if rule != CONTRACT_RULE]
        self.all = frozenset(map(label_of, rules))
        self._with_path = {
            rule.partition("<path:")[0]: label_of(rule) for rule in rules if "<path:" in rule
        }
        self._with_parameter = {
            label.rpartition("/")[0]: label for label in self.all if label.endswith("}")
        }

    def of(self, path: str) -> str:
        """
        Return the metric label of a path, without the values of parameters,
        which may be secret.
        """
        if path in self.all:
            return path
        folder, _, rest = path.rpartition("/")
        if not rest:
            return UNMATCHED
        if folder in self._with_parameter:
            return self._with_parameter[folder]
        found = (label for start, label in self._with_path.items() if path.startswith(start))
        return next(found, UNMATCHED)
