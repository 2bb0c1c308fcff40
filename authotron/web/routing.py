"""Register routes with Klein, answer their errors in JSON, and name them in metrics."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from klein import Klein, Response
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from authotron.concurrency.racing import start
from authotron.web import replies
from authotron.web.replies import Reply

UNMATCHED = "unmatched"
"""The metric label of a path that no route matches."""

_PARAMETER = re.compile(r"<(\w+?)_?>")

RouteMethod = TypeVar("RouteMethod", bound=Callable[..., Reply | Awaitable[Reply]])


class EarlyReply(Exception):
    """Raised to end a request early, with a reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


def route(app: Klein, path: str, *methods: str) -> Callable[[RouteMethod], RouteMethod]:
    """
    Decorate a method that answers requests for a path with a L{Reply} or a coroutine of one.

    The method may raise L{EarlyReply}. If the method does not wait for anything, Klein gets a
    response instead of a Deferred, which is faster.
    """

    def register(method: RouteMethod) -> RouteMethod:
        @wraps(method)
        def respond(*given: Any, **parameters: Any) -> Response | Deferred[Response]:
            response = start(_response(method, *given, **parameters))
            if isinstance(response, Failure):
                response.raiseException()
            return response

        app.route(path, methods=methods)(respond)  # type: ignore[type-var] # wraps() makes it a class
        return method

    return register


def handle_errors(app: Klein) -> None:
    """Answer the errors of an app in JSON, with C{Allow} for a 405 and without stack traces."""

    def handle(kind: type[Exception], reply: Callable[[Failure], Reply]) -> None:
        def respond(*given: Any) -> Response:  # Klein passes the app first, the failure last.
            return reply(given[-1]).response()

        app.handle_errors(kind)(respond)  # type: ignore[arg-type] # takes any arguments

    handle(NotFound, lambda _: replies.NOT_FOUND)
    handle(MethodNotAllowed, _method_not_allowed)
    handle(HTTPException, lambda _: replies.BAD_REQUEST)
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


class RouteLabels:
    """The metric labels of an app's routes: their paths, with C{{name}} in place of parameters."""

    def __init__(self, app: Klein) -> None:
        rules = (rule.rule for rule in app.url_map.iter_rules())
        self.all = frozenset(_PARAMETER.sub(r"{\1}", rule) for rule in rules)
        self._with_parameter = {
            label.rpartition("/")[0]: label for label in self.all if label.endswith("}")
        }

    def of(self, path: str) -> str:
        """Return the label of a path; values of parameters, which may be secret, are not in it."""
        if path in self.all:
            return path
        folder, _, rest = path.rpartition("/")
        return self._with_parameter.get(folder, UNMATCHED) if rest else UNMATCHED
