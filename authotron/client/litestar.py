"""
Middleware and guards for Litestar.

::

    app = Litestar([read], **authentication(verifier))

    @get("/", guards=[requires("reader")])
    async def read(request: Request[User, None, State]) -> str:
        return request.user.username
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from litestar import Response
from litestar.connection import ASGIConnection, Request
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.middleware.base import DefineMiddleware
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from authotron.client import problems
from authotron.client.errors import AuthotronError, NoToken
from authotron.client.user import User, as_names
from authotron.client.verifier import Verifier

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]
_NAME = "authotron"


class AuthotronMiddleware(AbstractAuthenticationMiddleware):
    """
    Verifies the JWT of each request.

    @param optional: let requests without a token pass, with C{None} as the user.
    """

    def __init__(
        self,
        app: ASGIApp,
        verifier: Verifier,
        *,
        optional: bool = False,
        exclude: str | list[str] | None = None,
    ) -> None:
        super().__init__(app, exclude=exclude)
        self._verifier, self._optional = verifier, optional

    async def authenticate_request(
        self, connection: ASGIConnection[Any, Any, Any, Any]
    ) -> AuthenticationResult:
        """Return the user."""
        fields = connection.headers.getall("authorization", [])
        try:
            user = await self._verifier.authenticate_async(fields)
        except NoToken:
            if not self._optional:
                raise
            return AuthenticationResult(None, None)
        return AuthenticationResult(user, user)


def authentication(
    verifier: Verifier,
    *,
    optional: bool = False,
    exclude: str | list[str] | None = None,
    title: str = "API",
    version: str = "1.0.0",
) -> dict[str, Any]:
    """
    Return the arguments of C{Litestar}: middleware, error responses, and the security scheme.

    @param exclude: patterns of paths that need no user, in Litestar's own syntax.
    @param title: the title of the OpenAPI document, beside its C{version}.
    """
    scheme = SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")
    return {
        "middleware": [
            DefineMiddleware(
                AuthotronMiddleware, verifier=verifier, optional=optional, exclude=exclude
            )
        ],
        "exception_handlers": {AuthotronError: response},
        "openapi_config": OpenAPIConfig(
            title=title,
            version=version,
            components=Components(security_schemes={_NAME: scheme}),
            security=[{_NAME: []}],
        ),
    }


def requires(*roles: str, scopes: str | Collection[str] = ()) -> Guard:
    """Return a guard: the user needs one of the roles, and all of the scopes."""
    roles, needed = as_names(roles), as_names(scopes)

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        user = connection.scope.get("user")
        if not isinstance(user, User):
            raise NoToken
        user.require(*roles, scopes=needed)

    return guard


def response(_request: Request[Any, Any, Any], error: AuthotronError) -> Response[bytes]:
    """Return the response to an error."""
    fields = dict(problems.headers(error))
    kind = fields.pop("Content-Type")
    return Response(problems.body(error), status_code=error.status, headers=fields, media_type=kind)
