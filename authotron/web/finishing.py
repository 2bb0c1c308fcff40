"""Finish work that changes the token store, even if the client disconnects meanwhile."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import Awaited, shield
from authotron.web.routing import EarlyReply

_log = Logger()
_T = TypeVar("_T")


async def finish(work: Awaited[_T], *expected: type[Exception]) -> _T:
    """
    Finish work that changes the token store, even if the client disconnects.

    The token store completes a change once the change is sent; if the gateway did not wait for the
    result, the change would not be logged.

    @param expected: further exceptions that are turned into replies to the client; if the client
        has disconnected, the gateway does not log these exceptions.
    """
    return await shield(work, partial(_log_defect, expected))


def _log_defect(expected: tuple[type[Exception], ...], failure: Failure) -> None:
    """
    Log a failure after the client disconnected, unless the failure would have become a reply to the
    client.
    """
    if not failure.check(EarlyReply, *expected):
        _log.failure(
            "finishing a request failed after the client disconnected",
            failure,
            event="routes.request.broken",
        )
