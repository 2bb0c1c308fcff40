"""
Middleware for servers of aiohttp.

::

    app = web.Application(middlewares=[authotron_middleware(verifier)])

    @requires("reader")
    async def read(request):
        return web.Response(text=request["user"].username)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from typing import TYPE_CHECKING

from aiohttp import web

from authotron.client import problems
from authotron.client.errors import AuthotronError, NoToken
from authotron.client.user import User, as_names
from authotron.client.verifier import Verifier

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_USER = "user"

if TYPE_CHECKING:  # for type checkers only: earlier versions of aiohttp define another type
    from aiohttp.typedefs import Middleware


def authotron_middleware(
    verifier: Verifier, *, optional: bool = False, exclude: str | Collection[str] = ()
) -> Middleware:
    """
    Return a middleware that verifies the JWT of each request. C{request["user"]} is the L{User} who
    sent the request.

    @param optional: let requests without a token pass, with C{None} as the user.
    @param exclude: paths that need no user; one that ends in a slash stands for all below it.
    """
    paths = problems.open_paths(exclude)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            request[_USER] = await _user(request)
            return await handler(request)
        except AuthotronError as error:
            return response(error)

    async def _user(request: web.Request) -> User | None:
        if problems.is_excluded(request.raw_path.partition("?")[0], paths):
            return None
        try:
            return await verifier.authenticate_async(request.headers.getall("Authorization", []))
        except NoToken:
            if optional:
                return None
            raise

    return middleware


def requires(*roles: str, scopes: str | Collection[str] = ()) -> Callable[[Handler], Handler]:
    """Return a decorator of handlers: the user needs one of the roles, and all of the scopes."""
    roles, needed = as_names(roles), as_names(scopes)

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def protected(request: web.Request) -> web.StreamResponse:
            user_of(request).require(*roles, scopes=needed)
            return await handler(request)

        return protected

    return decorate


def user_of(request: web.Request) -> User:
    """
    Return the user who sent a request.

    @raise NoToken: the request has no token.
    """
    user = request.get(_USER)
    if not isinstance(user, User):
        raise NoToken
    return user


def response(error: AuthotronError) -> web.Response:
    """Return the response to an error."""
    return web.Response(
        body=problems.body(error), status=error.status, headers=dict(problems.headers(error))
    )
