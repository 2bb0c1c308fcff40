"""The middleware, the backend and the decorator for Django, and Django REST framework."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

import django
from django.conf import settings

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        AUTHOTRON={"issuer": "https://gateway.test", "secret": "a-secret-that-is-long-enough"},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        MIDDLEWARE=["authotron.client.django.AuthotronMiddleware"],
        ROOT_URLCONF="tests.backends.django_urls",
        SECRET_KEY="only for tests",
        USE_TZ=True,
    )
    django.setup()

from django.contrib.auth.models import Group
from django.contrib.auth.models import User as Account
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.test import override_settings
from django.test.utils import setup_test_environment
from rest_framework.throttling import UserRateThrottle
from twisted.trial.unittest import SynchronousTestCase

from authotron.client.django import RequestUser
from tests.backends import asgi_calls
from tests.backends.contract import ADMIN, ALICE, FrameworkContract, Headers, Reply, bearer
from tests.backends.test_wsgi import ask

setup_test_environment()
logging.getLogger("django.request").setLevel(logging.CRITICAL)  # refusals are what is tested
BACKEND = ["authotron.client.django.AuthotronBackend"]


class DjangoCase(FrameworkContract):
    """A service of Django."""

    prefix = ""
    settings: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        self.make_verifier()

    def own(self, path: str) -> dict[str, Any]:
        return {"verifier": self.verifier, "optional": path.endswith("/open")}

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        with override_settings(AUTHOTRON=self.own(path), **self.settings):
            return ask(WSGIHandler(), f"{self.prefix}{path}", headers)


class DjangoTests(DjangoCase, SynchronousTestCase):
    """C{authotron.client.django} with WSGI."""

    def test_exclude(self) -> None:
        """Paths that are excluded need no user."""
        own = {"verifier": self.verifier, "exclude": ["/open"]}
        with override_settings(AUTHOTRON=own):
            self.assertEqual(ask(WSGIHandler(), "/open").body, b"anonymous")
            self.assertEqual(ask(WSGIHandler(), "/").status, 401)

    def test_verifier_of_settings(self) -> None:
        """The settings are the arguments of the verifier."""
        self.assertEqual(ask(WSGIHandler(), "/", bearer(self.gateway.mint(ALICE))).status, 401)


class AsyncDjangoTests(DjangoCase, SynchronousTestCase):
    """C{authotron.client.django} with ASGI."""

    prefix = "/async"

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        with override_settings(AUTHOTRON=self.own(path)):
            scope = asgi_calls.scope_of(f"{self.prefix}{path}", headers)
            sent = asyncio.run(self.call(scope))
        found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], found, b"".join(each.get("body", b"") for each in sent[1:]))

    async def call(self, scope: dict[str, Any]) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})

        async def send(message: Any) -> None:
            sent.append(message)

        await ASGIHandler()(scope, messages.get, send)
        return sent


class RestTests(DjangoCase, SynchronousTestCase):
    """C{authotron.client.rest_framework} without the middleware."""

    prefix = "/rest"
    problem_details = False
    settings: ClassVar[dict[str, Any]] = {"MIDDLEWARE": []}

    def test_rate_limit(self) -> None:
        """Each user has a rate of their own."""
        UserRateThrottle.rate = "2/hour"
        for user in (ALICE, ADMIN):
            token = bearer(self.gateway.mint(user))
            statuses = [self.ask("/slow", token).status for _ in range(3)]
            self.assertEqual(statuses, [200, 200, 429])


class RequestUserTests(SynchronousTestCase):
    """Users without an account."""

    def test_what_django_asks(self) -> None:
        """Templates, decorators and REST framework find what they ask of users."""
        user = RequestUser("internal", "alice", ("reader",))
        self.assertEqual((user.pk, user.get_username()), ("internal-alice", "internal-alice"))
        self.assertTrue(user.is_authenticated and user.is_active and user.has_role("reader"))
        self.assertFalse(user.is_anonymous or user.is_staff or user.is_superuser)
        self.assertFalse(user.has_perm("x") or user.has_perms(["x"]) or user.has_module_perms("x"))


class DatabaseTests(DjangoCase, SynchronousTestCase):
    """Users of Django's database."""

    settings: ClassVar[dict[str, Any]] = {"AUTHENTICATION_BACKENDS": BACKEND}
    more: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        super().setUp()
        call_command("migrate", verbosity=0)
        Account.objects.all().delete()

    def own(self, path: str) -> dict[str, Any]:
        return {**super().own(path), **self.more}

    def test_account(self) -> None:
        """The user of the database is named by realm and user name, and is made once."""
        for _ in range(2):
            self.ask("/", bearer(self.gateway.mint(ALICE)))
        self.assertEqual([each.username for each in Account.objects.all()], ["internal-alice"])

    def test_inactive(self) -> None:
        """A user who is switched off in the database gets a 403."""
        Account.objects.create(username="internal-alice", is_active=False)
        self.assertEqual(self.ask("/", bearer(self.gateway.mint(ALICE))).status, 403)

    def test_unknown(self) -> None:
        """Where no users are made, only those of the database get in."""
        self.more = {"create_users": False}  # type: ignore[misc] # of this test
        self.assertEqual(self.ask("/", bearer(self.gateway.mint(ALICE))).status, 403)
        Account.objects.create(username="internal-alice")
        self.assertEqual(self.ask("/", bearer(self.gateway.mint(ALICE))).status, 200)

    def test_groups(self) -> None:
        """Users are in the groups of their roles, and leave those of roles that they lost."""
        self.more = {"sync_groups": True}  # type: ignore[misc] # of this test
        self.ask("/", bearer(self.gateway.mint(ADMIN)))
        account = Account.objects.get(username="internal-root")
        self.assertEqual({each.name for each in account.groups.all()}, {"admin", "reader"})
        self.ask("/", bearer(self.gateway.mint(ADMIN, roles=["reader"])))
        self.assertEqual([each.name for each in account.groups.all()], ["reader"])
        self.assertEqual(Group.objects.count(), 2)
