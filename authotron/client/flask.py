"""
An extension for Flask.

::

    auth = Authotron(verifier=verifier)
    auth.init_app(app)

    @app.get("/")
    @auth.required("reader")
    def read():
        return current_user.username
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Blueprint, Flask, Response, current_app, g, request
from werkzeug.local import LocalProxy

from authotron.client import problems
from authotron.client.errors import AuthotronError, NoToken
from authotron.client.user import User, as_names
from authotron.client.verifier import Verifier

V = TypeVar("V", bound=Callable[..., Any])
_KEY = "authotron"


class Authotron:
    """
    Verifies the JWT of a request when a view, or a blueprint, asks for it.

    @param verifier: the verifier of JWTs; by default it is made from the configuration of the
        application, C{AUTHOTRON_ISSUER}, C{AUTHOTRON_AUDIENCE}, C{AUTHOTRON_JWKS_URL},
        C{AUTHOTRON_SECRET}.
    """

    def __init__(self, app: Flask | None = None, verifier: Verifier | None = None) -> None:
        self._verifier = verifier
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """
        Make an application answer errors with problem details (RFC 9457), and store the verifier in
        the application.
        """
        app.extensions[_KEY] = self._verifier or _configured(app)
        app.register_error_handler(AuthotronError, response)

    def required(self, *roles: str, scopes: str | Collection[str] = ()) -> Callable[[V], V]:
        """Return a decorator of views: the user needs one of the roles, and all of the scopes."""
        roles, needed = as_names(roles), as_names(scopes)

        def decorate(view: V) -> V:
            @wraps(view)
            def protected(*args: Any, **kwargs: Any) -> Any:
                self.user().require(*roles, scopes=needed)
                return current_app.ensure_sync(view)(*args, **kwargs)

            return cast("V", protected)

        return decorate

    def protect(
        self, blueprint: Blueprint, *roles: str, scopes: str | Collection[str] = ()
    ) -> None:
        """Let every request of a blueprint need a user."""
        roles, needed = as_names(roles), as_names(scopes)

        def check() -> None:
            self.user().require(*roles, scopes=needed)

        blueprint.before_request(check)

    def user(self) -> User:
        """Return the user who sent the request."""
        if "authotron_user" not in g:
            verifier: Verifier = current_app.extensions[_KEY]
            g.authotron_user = verifier.authenticate(request.headers.getlist("Authorization"))
        user: User = g.authotron_user
        return user

    def optional_user(self) -> User | None:
        """Return the user who sent the request, or C{None} if it has no token."""
        try:
            return self.user()
        except NoToken:
            return None


def response(error: AuthotronError) -> Response:
    """Return the response to an error."""
    return Response(problems.body(error), error.status, dict(problems.headers(error)))


def _configured(app: Flask) -> Verifier:
    given = app.config
    return Verifier(
        given["AUTHOTRON_ISSUER"],
        audience=given.get("AUTHOTRON_AUDIENCE"),
        jwks_url=given.get("AUTHOTRON_JWKS_URL"),
        secret=given.get("AUTHOTRON_SECRET"),
    )


def _current() -> User:
    return Authotron().user()


current_user = cast("User", LocalProxy(_current))
"""The user who sent the request that is handled now."""
