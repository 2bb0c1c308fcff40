"""
A decorator for routes of Klein.

::

    @app.route("/")
    @authenticated(verifier, "reader")
    def read(request, user):
        return user.username
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from inspect import isawaitable
from typing import Any

from twisted.web.iweb import IRequest

from authotron.client.errors import AuthotronError
from authotron.client.twisted import authenticate, write_head
from authotron.client.user import as_names
from authotron.client.verifier import Verifier

Route = Callable[..., Any]


def authenticated(
    verifier: Verifier, *roles: str, scopes: str | Collection[str] = ()
) -> Callable[[Route], Route]:
    """
    Return a decorator of Klein routes; each route is called with the user who sent the request.

    @param roles: the user needs one of them.
    @param scopes: the user needs all of them.
    """
    roles, needed = as_names(roles), as_names(scopes)

    def decorate(route: Route) -> Route:
        @wraps(route)
        async def protected(*args: Any, **kwargs: Any) -> Any:
            place = next(i for i, each in enumerate(args) if IRequest.providedBy(each))
            request = args[place]
            try:
                user = await authenticate(request, verifier)
                user.require(*roles, scopes=needed)
                found = route(*args[: place + 1], user, *args[place + 1 :], **kwargs)
                return await found if isawaitable(found) else found
            except AuthotronError as error:
                return write_head(error, request)

        return protected

    return decorate
