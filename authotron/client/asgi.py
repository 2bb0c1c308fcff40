"""
Middleware for any ASGI application: the middleware itself answers requests without a valid JWT.

Behind the middleware, C{scope["user"]} of an HTTP or WebSocket request is the L{User} who sent it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any

from authotron.client import problems
from authotron.client.errors import AuthotronError, NoToken
from authotron.client.user import User, as_names
from authotron.client.verifier import Verifier

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY_VIOLATION = 1008
"""The code with which the middleware closes a WebSocket (RFC 6455 section 7.4.1)."""


class AuthotronMiddleware:
    """
    Verifies the JWT of each request.

    @param roles: the roles of which the user needs one.
    @param scopes: the scopes, all of which the user needs.
    @param optional: let requests without a token pass, with C{None} as C{scope["user"]}.
    @param exclude: paths that need no user; one that ends in a slash stands for all below it.
    """

    def __init__(
        self,
        app: App,
        verifier: Verifier,
        *,
        roles: str | Collection[str] = (),
        scopes: str | Collection[str] = (),
        optional: bool = False,
        exclude: str | Collection[str] = (),
    ) -> None:
        self._app, self._verifier = app, verifier
        self._roles, self._scopes = as_names(roles), as_names(scopes)
        self._optional, self._exclude = optional, problems.open_paths(exclude)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            user = await self._user(scope)
        except AuthotronError as error:
            await refuse(error, scope, receive, send)
            return
        await self._app({**scope, "user": user}, receive, send)

    async def _user(self, scope: Scope) -> User | None:
        if problems.is_excluded(_path(scope), self._exclude):
            return None
        try:
            user = await self._verifier.authenticate_async(authorization(scope["headers"]))
        except NoToken:
            if self._optional:
                return None
            raise
        user.require(*self._roles, scopes=self._scopes)
        return user


def authorization(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Return the values of all C{Authorization} headers of a scope."""
    return [value.decode("latin-1") for name, value in headers if name.lower() == b"authorization"]


async def refuse(error: AuthotronError, scope: Scope, receive: Receive, send: Send) -> None:
    """
    Answer a request with an error: send an HTTP response, or refuse a WebSocket before it is
    accepted.
    """
    prefix = ""
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        prefix = "websocket."
    content = problems.body(error)
    fields = {**problems.headers(error), "Content-Length": str(len(content))}
    raw = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    await send({"type": f"{prefix}http.response.start", "status": error.status, "headers": raw})
    await send({"type": f"{prefix}http.response.body", "body": content})


def _path(scope: Scope) -> str:
    """
    Return the path as the client sent it, not unescaped, so that escaped characters (C{%2F}) can be
    detected.
    """
    raw = scope.get("raw_path")
    path: str = raw.decode("latin-1") if raw else scope["path"]
    return path
