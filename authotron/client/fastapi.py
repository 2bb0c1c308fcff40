"""
Dependencies for FastAPI, with the security scheme in the OpenAPI document.

::

    auth = Authotron(verifier)
    CurrentUser = Annotated[User, Depends(auth.user)]

    @app.get("/", dependencies=[Depends(auth.require_role("reader"))])
    async def read(user: CurrentUser) -> str: ...

Tests replace the user by C{app.dependency_overrides[auth.user]}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from fastapi.security import HTTPBearer, SecurityScopes

from authotron.client import problems
from authotron.client.errors import AuthotronError, Forbidden, NoToken
from authotron.client.user import User, as_names
from authotron.client.verifier import Verifier


class Refused(HTTPException):
    """The client library refuses a request, for one of its own reasons."""

    def __init__(self, error: AuthotronError) -> None:
        super().__init__(error.status, error.public, dict(error.headers))
        self.error = error


class Authotron:
    """
    Dependencies for FastAPI that share one verifier.

    @ivar user: gives the L{User}, who needs the scopes of C{Security(auth.user, scopes=[...])}.
    @ivar optional: gives the L{User}, or C{None} for a request without a token.
    """

    def __init__(self, verifier: Verifier, name: str = "authotron") -> None:
        scheme = HTTPBearer(
            scheme_name=name,
            bearerFormat="JWT",
            description="The JWT that the gateway mints; clients send what the gateway accepts",
            # FastAPI's own check of the header would refuse requests that verify() must decide
            # about, so it is switched off.
            auto_error=False,
        )
        self.user = _user(verifier, scheme)
        self.optional = _optional(verifier, scheme)

    def require_role(self, *roles: str) -> Callable[..., User]:
        """Return a FastAPI dependency that gives the L{User}, who needs one of the roles."""
        return self._require(roles, ())

    def require_scope(self, *scopes: str) -> Callable[..., User]:
        """Return a FastAPI dependency that gives the L{User}, who needs all of the scopes."""
        return self._require((), scopes)

    def install(self, app: FastAPI) -> None:
        """Answer errors by problem details (RFC 9457) instead of C{{"detail": ...}}."""
        app.add_exception_handler(Refused, _refused)
        app.add_exception_handler(AuthotronError, _failed)

    def _require(self, roles: tuple[str, ...], scopes: tuple[str, ...]) -> Callable[..., User]:
        roles, scopes = as_names(roles), as_names(scopes)

        def require(user: User = Depends(self.user)) -> User:  # noqa: B008 - FastAPI's idiom
            try:
                user.require(*roles, scopes=scopes)
            except Forbidden as error:
                raise Refused(error) from None
            return user

        return require


def _user(verifier: Verifier, scheme: HTTPBearer) -> Callable[..., Awaitable[User]]:
    async def user(
        request: Request,
        wanted: SecurityScopes,
        _scheme: Any = Depends(scheme),  # noqa: B008 - appears in the OpenAPI document
    ) -> User:
        try:
            found = await verifier.authenticate_async(request.headers.getlist("authorization"))
            found.require(scopes=wanted.scopes)
        except AuthotronError as error:
            raise Refused(error) from None
        return found

    return user


def _optional(verifier: Verifier, scheme: HTTPBearer) -> Callable[..., Awaitable[User | None]]:
    async def optional(
        request: Request,
        _scheme: Any = Depends(scheme),  # noqa: B008 - appears in the OpenAPI document
    ) -> User | None:
        try:
            return await verifier.authenticate_async(request.headers.getlist("authorization"))
        except NoToken:
            return None
        except AuthotronError as error:
            raise Refused(error) from None

    return optional


async def _refused(_request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return await _failed(_request, refused.error)


async def _failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AuthotronError)
    return Response(problems.body(error), error.status, dict(problems.headers(error)))
