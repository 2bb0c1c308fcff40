"""
Authentication and permissions for Django REST framework.

::

    class Read(APIView):
    authentication_classes = [AuthotronAuthentication]
    permission_classes = [has_role("reader")]

C{request.auth} is the L{User}. C{request.user} is the L{User}, or the user of Django's database as
in L{authotron.client.django}.
"""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from authotron.client import django
from authotron.client.errors import AuthotronError, NoToken
from authotron.client.user import User, as_names


class Refused(APIException):
    """A request is refused, for a reason of this library."""

    def __init__(self, error: AuthotronError) -> None:
        super().__init__(error.public)
        self.status_code = error.status
        challenge = error.headers.get("WWW-Authenticate")
        # This is the value of WWW-Authenticate that the framework sends with a 401 response.
        self.auth_header = challenge or ""
        if "Retry-After" in error.headers:
            self.wait = int(error.headers["Retry-After"])


class AuthotronAuthentication(BaseAuthentication):
    """Verifies the JWT of a request, unless the middleware for Django has verified it already."""

    def authenticate(self, request: Request) -> tuple[Any, User] | None:
        """Return the user who sent a request, or C{None} for a request without a token."""
        http = request._request  # noqa: SLF001 - the documentation of the framework uses this attribute, too
        try:
            user = getattr(http, "authotron_user", None)
            if not isinstance(user, User):
                user = django.verifier().authenticate(django.authorization(http))
                django.set_user(http, user)
        except NoToken:
            return None
        except AuthotronError as error:
            raise Refused(error) from None
        return http.user, user

    def authenticate_header(self, request: Request) -> str:
        """
        Return the value of C{WWW-Authenticate}; without it the framework would answer with 403
        instead of 401.
        """
        return "Bearer"


def has_role(*roles: str) -> type[BasePermission]:
    """Return a permission class: the user needs one of the roles."""
    roles = as_names(roles)

    class HasRole(BasePermission):
        """The user has one of the required roles."""

        def has_permission(self, request: Request, view: Any) -> bool:
            return isinstance(request.auth, User) and request.auth.has_role(*roles)

    return HasRole


def has_scope(*scopes: str) -> type[BasePermission]:
    """Return a permission class: the user needs all of the scopes."""
    scopes = as_names(scopes)

    class HasScope(BasePermission):
        """The user has all of the required scopes."""

        def has_permission(self, request: Request, view: Any) -> bool:
            user = request.auth
            return isinstance(user, User) and all(user.has_scope(each) for each in scopes)

    return HasScope
