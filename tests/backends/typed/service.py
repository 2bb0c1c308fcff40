"""A service of a user who checks types strictly: what the library promises them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import httpx
import requests
from aiohttp import web
from django.http import HttpRequest, HttpResponse
from fastapi import Depends, FastAPI, Security
from flask import Flask
from litestar import Litestar, Request, get
from starlette.applications import Starlette
from typing_extensions import assert_type

from authotron.client import (
    Authenticated,
    AuthotronError,
    Client,
    Forbidden,
    InvalidToken,
    NoToken,
    Unauthenticated,
    Unavailable,
    User,
    Verifier,
)
from authotron.client.aiohttp import authotron_middleware, user_of
from authotron.client.aiohttp import requires as aiohttp_requires
from authotron.client.asgi import AuthotronMiddleware as AsgiMiddleware
from authotron.client.django import requires as django_requires
from authotron.client.fastapi import Authotron as FastApiAuthotron
from authotron.client.flask import Authotron as FlaskAuthotron
from authotron.client.flask import current_user
from authotron.client.grpc import AuthotronInterceptor
from authotron.client.httpx import AuthotronAuth as HttpxAuth
from authotron.client.litestar import authentication as litestar_authentication
from authotron.client.litestar import requires as litestar_requires
from authotron.client.renewal import fixed, of_gateway
from authotron.client.requests import AuthotronAuth as RequestsAuth
from authotron.client.starlette import authentication
from authotron.client.testing import FakeGateway, SigningKey, mint, serve
from authotron.client.wsgi import AuthotronMiddleware as WsgiMiddleware

verifier = Verifier("https://auth.example.org", audience=["archive"], leeway=1)
client = Client("https://auth.example.org", verifier)


def read(token: str) -> str:
    user = verifier.verify(token)
    assert_type(user, User)
    assert_type(user.roles, tuple[str, ...])
    assert_type(user.scopes, Mapping[str, Sequence[str]])
    assert_type(user.has_role("reader"), bool)
    user.require("reader", scopes=["read"])
    return user.username


async def ask(authorization: str | None) -> Mapping[str, str]:
    found = await client.authenticate_async(authorization, realm="internal")
    assert_type(found, Authenticated)
    return found.headers


def explain(token: str) -> tuple[int, str]:
    try:
        read(token)
    except NoToken:
        return 401, "nothing"
    except InvalidToken as error:
        return error.status, error.code
    except Unauthenticated as error:
        return error.status, error.challenge
    except Forbidden as error:
        return error.status, ", ".join(error.roles)
    except Unavailable as error:
        return error.status, str(error.retry_after)
    except AuthotronError as error:
        return error.status, error.public
    return 200, ""


fast = FastAPI()
auth = FastApiAuthotron(verifier)
auth.install(fast)
CurrentUser = Annotated[User, Depends(auth.user)]


@fast.get("/")
async def fast_read(
    user: CurrentUser,
    reader: Annotated[User, Depends(auth.require_role("reader"))],
    scoped: Annotated[User, Security(auth.user, scopes=["read"])],
    guest: Annotated[User | None, Depends(auth.optional)],
) -> str:
    return user.username + reader.username + scoped.username + (guest.username if guest else "")


starlette = Starlette(middleware=[authentication(verifier, optional=True)])


@get("/", guards=[litestar_requires("reader")])
async def litestar_read(request: Request[User, Any, Any]) -> str:
    return request.user.username


litestar = Litestar([litestar_read], **litestar_authentication(verifier))
flask = Flask(__name__)
flask_auth = FlaskAuthotron(flask, verifier)


@flask.get("/")
@flask_auth.required("reader")
def flask_read() -> str:
    return current_user.username


@django_requires("reader")
def django_read(request: HttpRequest) -> HttpResponse:
    return HttpResponse("x")


assert_type(django_read(HttpRequest()), HttpResponse)


@aiohttp_requires("reader")
async def aiohttp_read(request: web.Request) -> web.Response:
    return web.Response(text=user_of(request).username)


aiohttp = web.Application(middlewares=[authotron_middleware(verifier)])
aiohttp.router.add_get("/", aiohttp_read)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return [b""]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive, send


protected = (WsgiMiddleware(wsgi, verifier), AsgiMiddleware(asgi, verifier, roles=["reader"]))
interceptor = AuthotronInterceptor(verifier, "reader")

source = of_gateway(client, "Bearer aot_x")
calls = httpx.Client(auth=HttpxAuth(source, "https://forecasts.example.org"))
session = requests.Session()
session.auth = RequestsAuth(fixed("aot_x"), "https://forecasts.example.org")


def test() -> None:
    gateway = FakeGateway(audience="archive", key=SigningKey.generate("EdDSA"))
    token = gateway.mint(User("internal", "alice", ("reader",)), lifetime=60)
    assert_type(token, str)
    assert_type(gateway.verifier().verify(mint(User("internal", "alice"))), User)
    with serve(gateway) as url:
        assert_type(url, str)
