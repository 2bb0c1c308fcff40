"""A service with Django and its REST framework in one file: python django_service.py PORT."""

import os
import sys

import django
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import path
from waitress import serve

settings.configure(
    ALLOWED_HOSTS=["*"],
    AUTHOTRON={
        "issuer": os.environ["AUTHOTRON_ISSUER"],
        "audience": "archive",
        "jwks_url": os.environ.get("AUTHOTRON_JWKS_URL"),
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    MIDDLEWARE=["authotron.client.django.AuthotronMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "change-me"),
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - Django is set up above
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from authotron.client.django import user_of  # noqa: E402
from authotron.client.rest_framework import AuthotronAuthentication, has_role  # noqa: E402


def hello(request: HttpRequest) -> JsonResponse:
    user = user_of(request)
    return JsonResponse({"user": user.username, "realm": user.realm})


class Reports(APIView):
    authentication_classes = [AuthotronAuthentication]
    permission_classes = [has_role("reader")]

    def get(self, request: Request) -> Response:
        return Response({"reports": [f"report of {user_of(request).username}"]})


urlpatterns = [path("", hello), path("reports", Reports.as_view())]

if __name__ == "__main__":
    serve(get_wsgi_application(), host="127.0.0.1", port=int(sys.argv[1]))
