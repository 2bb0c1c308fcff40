"""The middleware for servers of aiohttp."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict
from twisted.trial.unittest import SynchronousTestCase

from authotron.client.aiohttp import authotron_middleware, requires, user_of
from tests.backends.contract import FrameworkContract, Headers, Reply


async def read(request: web.Request) -> web.Response:
    user = request["user"]
    return web.Response(text=user_of(request).subject if user else "anonymous")


class AiohttpTests(FrameworkContract, SynchronousTestCase):
    """C{authotron.client.aiohttp}."""

    def setUp(self) -> None:
        self.make_verifier()

    def app(self, *, optional: bool = False, exclude: tuple[str, ...] = ()) -> web.Application:
        middleware = authotron_middleware(self.verifier, optional=optional, exclude=exclude)
        app = web.Application(middlewares=[middleware])
        app.router.add_get("/", read)
        app.router.add_get("/admin", requires("admin")(read))
        app.router.add_get("/open", read)
        return app

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        return asyncio.run(self.call(self.app(optional=path == "/open"), path, headers))

    async def call(self, app: web.Application, path: str, headers: Headers) -> Reply:
        async with TestClient(TestServer(app)) as client:
            response = await client.get(path, headers=CIMultiDict(headers))
            found = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, found, await response.read())

    def test_exclude(self) -> None:
        """Paths that are excluded need no user, and what they do not need is a 401."""
        app = self.app(exclude=("/open", "/admin"))
        self.assertEqual(asyncio.run(self.call(app, "/open", [])).body, b"anonymous")
        app = self.app(exclude=("/open", "/admin"))
        self.assertEqual(asyncio.run(self.call(app, "/admin", [])).status, 401)
