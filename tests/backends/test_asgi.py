"""The middleware for any ASGI application, and those of Starlette, FastAPI and Litestar."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Depends, FastAPI, Security
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from litestar import Litestar, Request, get
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.responses import PlainTextResponse as Text
from starlette.routing import Route
from twisted.trial.unittest import SynchronousTestCase

from authotron.client import User
from authotron.client import fastapi as authotron_fastapi
from authotron.client import litestar as authotron_litestar
from authotron.client import starlette as authotron_starlette
from authotron.client.asgi import AuthotronMiddleware
from tests.backends.asgi_calls import ask, call, scope_of
from tests.backends.contract import ALICE, FrameworkContract, Headers, Reply, bearer


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the user."""
    user = scope["user"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = user.subject.encode() if user else b"anonymous"
    await send({"type": "http.response.body", "body": body})


class AsgiTests(FrameworkContract, SynchronousTestCase):
    """C{authotron.client.asgi}."""

    def setUp(self) -> None:
        self.make_verifier()

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        roles = ["admin"] if path == "/admin" else []
        app = AuthotronMiddleware(plain, self.verifier, roles=roles, optional=path == "/open")
        return ask(app, path, headers)

    def test_exclude(self) -> None:
        """Paths that are excluded need no user; what only looks like one does."""
        app = AuthotronMiddleware(plain, self.verifier, exclude=["/health", "/static/"])
        for path in ("/health", "/static/a/b"):
            self.assertEqual(ask(app, path).body, b"anonymous")
        for path in ("/healthy", "/health/", "/static", "/static/../x", "/static/%2e%2e/x", "/"):
            self.assertEqual(ask(app, path).status, 401, path)

    def test_websocket(self) -> None:
        """A WebSocket without a good JWT is closed before it is open, or refused if possible."""
        app = AuthotronMiddleware(plain, self.verifier)
        scope = scope_of("/", [], "websocket")
        sent = asyncio.run(call(app, scope, {"type": "websocket.connect"}))
        self.assertEqual(sent, [{"type": "websocket.close", "code": 1008}])
        scope["extensions"] = {"websocket.http.response": {}}
        start, body = asyncio.run(call(app, scope, {"type": "websocket.connect"}))
        self.assertEqual((start["type"], start["status"]), ("websocket.http.response.start", 401))
        self.assertEqual(body["type"], "websocket.http.response.body")

    def test_lifespan(self) -> None:
        """What is not a request passes as it is."""
        seen: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["type"])

        asyncio.run(call(AuthotronMiddleware(app, self.verifier), {"type": "lifespan"}))
        self.assertEqual(seen, ["lifespan"])


class StarletteTests(FrameworkContract, SynchronousTestCase):
    """C{authotron.client.starlette}; 403 is what C{requires} of Starlette answers."""

    def setUp(self) -> None:
        self.make_verifier()

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        async def user(request: Any) -> Text:
            known = request.user.is_authenticated
            return Text(request.user.subject if known else "anonymous")

        routes = [
            Route("/", user), Route("/admin", requires("admin")(user)), Route("/open", user)
        ]  # fmt: skip
        middleware = authotron_starlette.authentication(self.verifier, optional=path == "/open")
        return ask(Starlette(routes=routes, middleware=[middleware]), path, headers)

    def test_role(self) -> None:
        """A role is what C{requires} asks for, a scope has C{scope:} before it."""
        for needed, status in (
            ("reader", 200), ("scope:read", 200), ("admin", 403), ("read", 403), ("scope:x", 403)
        ):  # fmt: skip

            @requires(needed)
            async def read(request: Any) -> Text:
                return Text("x")

            middleware = [authotron_starlette.authentication(self.verifier)]
            app = Starlette(routes=[Route("/", read)], middleware=middleware)
            reply = ask(app, "/", bearer(self.gateway.mint(ALICE)))
            self.assertEqual(reply.status, status, needed)

    def test_spoofed_headers(self) -> None:
        """Headers in which a client claims a name say nothing."""
        self.refused(self.ask("/", [("X-Auth-Username", "root")]), "spoofed")


class FastApiCase(SynchronousTestCase):
    """A service with FastAPI."""

    def setUp(self) -> None:
        FrameworkContract.make_verifier(self)  # type: ignore[arg-type] # mixed in below

    def app(self) -> FastAPI:
        verifier = self.verifier  # type: ignore[attr-defined] # as above
        self.auth = auth = authotron_fastapi.Authotron(verifier)
        app = FastAPI()

        @app.get("/", response_class=PlainTextResponse)
        async def read(user: User = Depends(auth.user)) -> str:
            return user.subject

        @app.get("/admin", response_class=PlainTextResponse)
        def manage(user: User = Depends(auth.require_role("admin"))) -> str:
            return user.subject

        @app.get("/open", response_class=PlainTextResponse)
        async def look(user: User | None = Depends(auth.optional)) -> str:
            return user.subject if user else "anonymous"

        @app.get("/scope", response_class=PlainTextResponse)
        async def scope(user: User = Security(auth.user, scopes=["read"])) -> str:
            return user.subject

        @app.get("/other", response_class=PlainTextResponse)
        async def other(user: User = Depends(auth.require_scope("write"))) -> str:
            return user.subject

        return app


class FastApiTests(FrameworkContract, FastApiCase):
    """C{authotron.client.fastapi} with problem details."""

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        app = self.app()
        self.auth.install(app)
        return ask(app, path, headers)

    def test_scopes(self) -> None:
        """Scopes are needed by C{Security} or by a dependency; a 403 names the missing ones."""
        headers = bearer(self.gateway.mint(ALICE))
        self.assertEqual(self.ask("/scope", headers).status, 200)
        reply = self.ask("/other", headers)
        self.assertEqual(reply.status, 403)
        self.assertIn('scope="write"', reply.headers["www-authenticate"])

    def test_openapi(self) -> None:
        """The OpenAPI document has the security scheme, and the operations that need it."""
        document = self.app().openapi()
        scheme = document["components"]["securitySchemes"]["authotron"]
        self.assertEqual((scheme["type"], scheme["scheme"]), ("http", "bearer"))
        for path in ("/", "/admin", "/open"):
            self.assertIn({"authotron": []}, document["paths"][path]["get"]["security"])

    def test_overrides(self) -> None:
        """In tests another user takes the place of the one in the request, for roles as well."""
        app = self.app()
        app.dependency_overrides[self.auth.user] = lambda: User("test", "bob", ("admin",))
        for path in ("/", "/admin"):
            self.assertEqual(TestClient(app).get(path).text, "test-bob")


class PlainFastApiTests(FrameworkContract, FastApiCase):
    """C{authotron.client.fastapi} without a change to the application."""

    problem_details = False

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        return ask(self.app(), path, headers)


class LitestarTests(FrameworkContract, SynchronousTestCase):
    """C{authotron.client.litestar}."""

    def setUp(self) -> None:
        self.make_verifier()

    def app(self, *, optional: bool) -> Litestar:
        @get("/", media_type="text/plain")
        async def read(request: Request[User, Any, Any]) -> str:
            return request.user.subject

        @get("/admin", guards=[authotron_litestar.requires("admin")], media_type="text/plain")
        async def manage(request: Request[User, Any, Any]) -> str:
            return request.user.subject

        @get("/open", media_type="text/plain")
        async def look(request: Request[User | None, Any, Any]) -> str:
            return request.user.subject if request.user else "anonymous"

        options = authotron_litestar.authentication(self.verifier, optional=optional)
        return Litestar([read, manage, look], **options)

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        return ask(self.app(optional=path == "/open"), path, headers)

    def test_openapi(self) -> None:
        """The OpenAPI document has the security scheme."""
        document = self.app(optional=False).openapi_schema.to_schema()
        scheme = document["components"]["securitySchemes"]["authotron"]
        self.assertEqual((scheme["type"], scheme["scheme"]), ("http", "bearer"))
        self.assertEqual(document["security"], [{"authotron": []}])
