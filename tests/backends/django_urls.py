"""The views of the service that tests of Django ask."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from authotron.client.django import requires
from authotron.client.rest_framework import AuthotronAuthentication, has_role, has_scope


def read(request: HttpRequest) -> HttpResponse:
    user: Any = getattr(request, "authotron_user", None)
    assert user is None or request.user.is_authenticated
    return HttpResponse(user.subject if user else "anonymous")


async def read_async(request: HttpRequest) -> HttpResponse:
    return read(request)


@requires("admin")
def manage(request: HttpRequest) -> HttpResponse:
    return read(request)


@requires("admin")
async def manage_async(request: HttpRequest) -> HttpResponse:
    return read(request)


class Rest(APIView):
    authentication_classes = [AuthotronAuthentication]
    permission_classes = [has_role("reader"), has_role("admin", "reader")]

    def get(self, request: Request) -> Response:
        return Response(getattr(request.auth, "subject", "anonymous"))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if response.status_code == 200:
            return HttpResponse(response.data)
        return response


class RestAdmin(Rest):
    permission_classes = [has_role("admin")]


class RestScope(Rest):
    permission_classes = [has_scope("read")]


class RestSlow(Rest):
    throttle_classes = [UserRateThrottle]


class RestOpen(Rest):
    permission_classes = []


urlpatterns = [
    path("", read),
    path("admin", manage),
    path("open", read),
    path("async/", read_async),
    path("async/admin", manage_async),
    path("async/open", read_async),
    path("rest/", Rest.as_view()),
    path("rest/admin", RestAdmin.as_view()),
    path("rest/scope", RestScope.as_view()),
    path("rest/slow", RestSlow.as_view()),
    path("rest/open", RestOpen.as_view()),
]
