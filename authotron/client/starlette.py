"""
Authentication for Starlette, by the interfaces of Starlette itself.

C{request.user} is the L{User} who sent the request. The scopes of C{request.auth} are
C{authenticated}, the roles of the user as they are, and the scopes of the user with C{scope:}
before them::

    app = Starlette(routes=routes, middleware=[authentication(verifier)])

    @requires("reader")
        async def read(request):
        return PlainTextResponse(request.user.username)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response

from authotron.client import problems
from authotron.client.errors import AuthotronError, NoToken, Unavailable
from authotron.client.user import User
from authotron.client.verifier import Verifier


class Refused(AuthenticationError):
    """An error of this library, as the authentication error that Starlette expects."""

    def __init__(self, error: AuthotronError) -> None:
        super().__init__(str(error))
        self.error = error


class AuthotronBackend(AuthenticationBackend):
    """
    Verifies the JWT of a request.

    @param optional: let requests without a token pass, as a user who is not authenticated.
    @param exclude: paths that need no user; one that ends in a slash stands for all below it.
    """

    def __init__(
        self, verifier: Verifier, *, optional: bool = False, exclude: str | Collection[str] = ()
    ) -> None:
        self._verifier, self._optional = verifier, optional
        self._exclude = problems.open_paths(exclude)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        if problems.is_excluded(_path(conn), self._exclude):
            return None
        try:
            user = await self._verifier.authenticate_async(conn.headers.getlist("authorization"))
        except NoToken as error:
            if self._optional:
                return None
            raise Refused(error) from None
        except AuthotronError as error:
            raise Refused(error) from None
        # A L{User} has all attributes of Starlette's BaseUser, so it can be used in its place.
        return AuthCredentials(granted(user)), cast("BaseUser", user)


def granted(user: User) -> list[str]:
    """
    Return the user's scopes in the form that Starlette's decorator C{requires} compares with the
    required ones.
    """
    return ["authenticated", *user.roles, *(f"scope:{each}" for each in user.all_scopes)]


def on_error(_conn: HTTPConnection, refused: AuthenticationError) -> Response:
    """Answer a request that is refused; Starlette by itself answers with 400."""
    error = refused.error if isinstance(refused, Refused) else Unavailable(str(refused))
    return response(error)


def response(error: AuthotronError) -> Response:
    """Return the response to an error."""
    return Response(problems.body(error), error.status, dict(problems.headers(error)))


def authentication(
    verifier: Verifier, *, optional: bool = False, exclude: str | Collection[str] = ()
) -> Middleware:
    """Return the middleware of Starlette, with a backend that verifies JWTs."""
    backend = AuthotronBackend(verifier, optional=optional, exclude=exclude)
    return Middleware(AuthenticationMiddleware, backend=backend, on_error=on_error)


def _path(conn: HTTPConnection) -> str:
    """Return the path as the client sent it, so that an escaped character is recognised."""
    raw = conn.scope.get("raw_path")
    path: str = raw.decode("latin-1") if raw else conn.scope["path"]
    return path
