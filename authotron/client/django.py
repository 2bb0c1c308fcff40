"""
Middleware, a decorator and an authentication backend for Django.

::

    MIDDLEWARE = [..., "authotron.client.django.AuthotronMiddleware"]
    AUTHOTRON = {"issuer": "https://auth.example.org", "audience": "archive"}

C{AUTHOTRON} has the arguments of L{Verifier}, and of the middleware C{optional} and C{exclude}.
Instead of these arguments, C{AUTHOTRON = {"verifier": verifier}} names a verifier that the
application has made.

C{request.authotron_user} is the L{User} who sent the request. C{request.user} is the L{User} who
sent the request; or, with L{AuthotronBackend} among C{AUTHENTICATION_BACKENDS}, the user of
Django's database whose name is the subject of the JWT.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from authotron.client import problems
from authotron.client.errors import AuthotronError, NoToken
from authotron.client.user import User, as_names
from authotron.client.verifier import Verifier

_BACKEND = "authotron.client.django.AuthotronBackend"
_OWN = ("verifier", "optional", "exclude", "create_users", "sync_groups")
"""Keys of the setting C{AUTHOTRON} that are not arguments of L{Verifier}."""

GetResponse = Callable[[HttpRequest], Any]
V = TypeVar("V", bound=Callable[..., Any])


class AuthotronMiddleware:
    """Verifies the JWT of each request, in threads and with asyncio."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer(request)
        try:
            user = None if is_open(request) else verifier().authenticate(authorization(request))
        except NoToken as error:
            if not _option("optional"):
                return response(error)
            user = None
        except AuthotronError as error:
            return response(error)
        if user is not None:
            set_user(request, user)
        return cast("HttpResponseBase", self._get_response(request))

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        try:
            fields = authorization(request)
            user = None if is_open(request) else await verifier().authenticate_async(fields)
        except NoToken as error:
            if not _option("optional"):
                return response(error)
            user = None
        except AuthotronError as error:
            return response(error)
        if user is not None:
            await sync_to_async(set_user)(request, user)
        return cast("HttpResponseBase", await self._get_response(request))

    def process_exception(self, _request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer a request whose view raised an error of this library."""
        return response(error) if isinstance(error, AuthotronError) else None


class RequestUser(User):
    """
    A user without an account in Django's database, with the attributes that Django expects of
    users.

    Django's permissions belong to accounts in its database; this user has no account, and so no
    permissions.
    """

    is_active, is_anonymous, is_staff, is_superuser = True, False, False, False

    @property
    def pk(self) -> str:
        """
        A value that identifies the user, which the throttling classes of Django REST framework use
        as their key.
        """
        return self.subject

    id = pk

    def get_username(self) -> str:
        """Return the subject of the JWT, which is unique in all realms."""
        return self.subject

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Return False: permissions of Django belong to accounts."""
        return False

    def has_perms(self, perm_list: Collection[str], obj: object = None) -> bool:
        """Return False, or True if the list of permissions to check is empty."""
        return not perm_list

    def has_module_perms(self, package_name: str) -> bool:
        """Return False: permissions of Django belong to accounts."""
        return False


class AuthotronBackend:
    """
    Finds the user of Django's database that belongs to a L{User}, and creates a missing user if the
    settings allow it.

    With C{AUTHOTRON = {"sync_groups": True}} the user is in the groups that are named like the
    roles, and in no others. With C{{"create_users": False}} unknown users are refused.
    """

    def authenticate(
        self, request: HttpRequest | None, authotron_user: User | None = None, **_: Any
    ) -> Any:
        """
        Return the user of Django's database, or C{None} for the credentials of
        another backend.
        """
        if authotron_user is None:
            return None
        users = _model()
        name = {users.USERNAME_FIELD: authotron_user.subject}
        if _option("create_users", default=True):
            found, _created = users._default_manager.get_or_create(**name)  # noqa: SLF001 - so Django does
        else:
            found = users._default_manager.filter(**name).first()  # noqa: SLF001 - so Django does
        if found is None or not found.is_active:
            return None
        if _option("sync_groups"):
            from django.contrib.auth.models import Group  # noqa: PLC0415 - imported once Django is set up

            found.groups.set(
                [Group.objects.get_or_create(name=role)[0] for role in authotron_user.roles]
            )
        return found

    def get_user(self, user_id: Any) -> Any:
        """Return the user of Django's database who belongs to a session."""
        return _model()._default_manager.filter(pk=user_id).first()  # noqa: SLF001 - so Django does


def requires(*roles: str, scopes: str | Collection[str] = ()) -> Callable[[V], V]:
    """Return a decorator of views: the user needs one of the roles, and all of the scopes."""
    roles, needed = as_names(roles), as_names(scopes)

    def decorate(view: V) -> V:
        if iscoroutinefunction(view):

            @wraps(view)
            async def waiting(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                user_of(request).require(*roles, scopes=needed)
                return await view(request, *args, **kwargs)

            return cast("V", waiting)

        @wraps(view)
        def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            user_of(request).require(*roles, scopes=needed)
            return view(request, *args, **kwargs)

        return cast("V", protected)

    return decorate


def user_of(request: HttpRequest) -> User:
    """
    Return the user who sent a request.

    @raise NoToken: the request has no token.
    """
    user = getattr(request, "authotron_user", None)
    if not isinstance(user, User):
        raise NoToken
    return user


def set_user(request: HttpRequest, user: User) -> None:
    """
    Set the user of a request of Django.

    @raise PermissionDenied: the user must be an active user of Django's database, and is not.
    """
    found: Any = RequestUser(
        user.realm, user.username, user.roles, user.scopes, user.attributes, user.claims
    )
    if _BACKEND in settings.AUTHENTICATION_BACKENDS:
        from django.contrib.auth import authenticate  # noqa: PLC0415 - once Django is set up
        from django.core.exceptions import PermissionDenied  # noqa: PLC0415 - imported once Django is set up

        found = authenticate(request, authotron_user=user)
        if found is None:
            raise PermissionDenied
    request.authotron_user = user  # type: ignore[attr-defined] # ours
    request.user = found


def authorization(request: HttpRequest) -> list[str]:
    """Return the value of C{Authorization}, in which servers have joined repeated headers."""
    value = request.META.get("HTTP_AUTHORIZATION")
    return [] if value is None else [value]


def is_open(request: HttpRequest) -> bool:
    """Whether a request needs no user."""
    return problems.is_excluded(request.path, problems.open_paths(_option("exclude") or ()))


def response(error: AuthotronError) -> HttpResponse:
    """Return the response to an error."""
    return HttpResponse(
        problems.body(error), status=error.status, headers=dict(problems.headers(error))
    )


def verifier() -> Verifier:
    """Return the verifier of the setting C{AUTHOTRON}."""
    return _verifier()


@lru_cache(maxsize=1)
def _verifier() -> Verifier:
    given = dict(settings.AUTHOTRON)
    own = given.pop("verifier", None)
    if own is not None:
        found = import_string(own) if isinstance(own, str) else own
        return cast("Verifier", found)
    return Verifier(**{name: value for name, value in given.items() if name not in _OWN})


def _forget(setting: str, **_: Any) -> None:
    if setting == "AUTHOTRON":
        _verifier.cache_clear()


setting_changed.connect(_forget)


def _option(name: str, *, default: Any = None) -> Any:
    given: Mapping[str, Any] = settings.AUTHOTRON
    return given.get(name, default)


def _model() -> Any:
    from django.contrib.auth import get_user_model  # noqa: PLC0415 - imported once Django is set up

    return get_user_model()
