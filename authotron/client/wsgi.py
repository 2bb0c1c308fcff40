"""
Middleware for any WSGI application: it answers requests without a valid JWT itself, and does not
pass them to the application.

Behind the middleware, C{environ["authotron.user"]} is the L{User} who sent the request, and
C{REMOTE_USER} is the user's subject.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from authotron.client import problems
from authotron.client.errors import AuthotronError, NoToken
from authotron.client.user import User, as_names
from authotron.client.verifier import Verifier

# The module _typeshed defines these types, but no module at run time does so before Python 3.11.
if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

USER = "authotron.user"
"""The key in C{environ} under which the middleware stores the user."""


class AuthotronMiddleware:
    """
    Verifies the JWT of each request.

    @param roles: the roles of which the user needs one.
    @param scopes: the scopes, all of which the user needs.
    @param optional: let requests without a token pass, with C{None} as the user.
    @param exclude: paths that need no user; one that ends in a slash stands for all below it.
    """

    def __init__(
        self,
        app: WSGIApplication,
        verifier: Verifier,
        *,
        roles: str | Collection[str] = (),
        scopes: str | Collection[str] = (),
        optional: bool = False,
        exclude: str | Collection[str] = (),
    ) -> None:
        self._app, self._verifier = app, verifier
        self._roles, self._scopes = as_names(roles), as_names(scopes)
        self._optional, self._exclude = optional, problems.open_paths(exclude)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        for name in ("REMOTE_USER", "AUTH_TYPE", USER):
            environ.pop(name, None)
        try:
            user = environ[USER] = self._user(environ)
        except AuthotronError as error:
            return refuse(error, start)
        if user is not None:
            environ["REMOTE_USER"], environ["AUTH_TYPE"] = user.subject, "Bearer"
        return self._app(environ, start)

    def _user(self, environ: WSGIEnvironment) -> User | None:
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        if problems.is_excluded(path, self._exclude):
            return None
        try:
            user = self._verifier.authenticate(authorization(environ))
        except NoToken:
            if self._optional:
                return None
            raise
        user.require(*self._roles, scopes=self._scopes)
        return user


def authorization(environ: WSGIEnvironment) -> list[str]:
    """Return the value of C{Authorization}, in which servers have joined repeated headers."""
    value: Any = environ.get("HTTP_AUTHORIZATION")
    return [] if value is None else [value]


def refuse(error: AuthotronError, start: StartResponse) -> Iterable[bytes]:
    """Answer a request with an error."""
    content = problems.body(error)
    fields = [*problems.headers(error).items(), ("Content-Length", str(len(content)))]
    start(f"{error.status} {HTTPStatus(error.status).phrase}", fields)
    return [content]
