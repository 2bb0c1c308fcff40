"""Routes of a site, and what becomes of their errors."""

from __future__ import annotations

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

Answer = TypeVar("Answer", bound=Callable[..., Reply | Awaitable[Reply]])


class EarlyReply(Exception):
    """A request ends here, with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


def route(app: Klein, path: str, *methods: str) -> Callable[[Answer], Answer]:
    """
    Let a method of an app's object answer requests, by a L{Reply} or a coroutine of one.

    A L{EarlyReply} raised on the way is an answer, too. Where nothing is waited for Klein gets no
    Deferred, and waits for none.
    """

    def register(answer: Answer) -> Answer:
        @wraps(answer)
        def respond(*given: Any, **parameters: Any) -> Response | Deferred[Response]:
            response = start(_response(answer, *given, **parameters))
            if isinstance(response, Failure):
                response.raiseException()
            return response

        app.route(path, methods=methods)(respond)  # type: ignore[type-var] # wraps() makes it a class
        return answer

    return register


def handle_errors(app: Klein) -> None:
    """Answer in JSON, with C{Allow} where it belongs, and never with a stack trace."""

    def handle(kind: type[Exception], reply: Callable[[Failure], Reply]) -> None:
        def respond(*given: Any) -> Response:  # the failure comes last, behind the app's object
            return reply(given[-1]).response()

        app.handle_errors(kind)(respond)  # type: ignore[arg-type] # takes whatever comes

    handle(NotFound, lambda _: replies.NOT_FOUND)
    handle(MethodNotAllowed, _method_not_allowed)
    handle(HTTPException, lambda _: replies.BAD_REQUEST)
    handle(Exception, _broken)


def _method_not_allowed(failure: Failure) -> Reply:
    return replies.method_not_allowed(getattr(failure.value, "valid_methods", None) or ())


def _broken(failure: Failure) -> Reply:
    log = Logger(namespace="authotron.web")
    log.failure("a request could not be answered", failure, event="routes.request.broken")
    return replies.BROKEN


async def _response(answer: Answer, *given: Any, **parameters: Any) -> Response:
    try:
        reply = answer(*given, **parameters)
        return (reply if isinstance(reply, Reply) else await reply).response()
    except EarlyReply as end:
        return end.reply.response()
