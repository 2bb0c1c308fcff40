"""
Interceptors for gRPC servers, in threads and with asyncio, and credentials for its clients.

::

    server = grpc.aio.server(interceptors=[AuthotronInterceptor(verifier, "reader")])

    async def Read(self, request, context):
        user = current_user()
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextvars import ContextVar
from inspect import isasyncgenfunction
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from authotron.client.errors import AuthotronError, NoToken
from authotron.client.renewal import TokenSource
from authotron.client.user import User, as_names
from authotron.client.verifier import Verifier

if TYPE_CHECKING:  # RpcMethodHandler is generic only in the type stubs, not at run time.
    MethodHandler = grpc.RpcMethodHandler[Any, Any]

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    503: grpc.StatusCode.UNAVAILABLE,
}
_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
_user: ContextVar[User | None] = ContextVar("authotron_user", default=None)


def current_user() -> User:
    """
    Return the user who called the method that is running.

    @raise NoToken: the request has no token.
    """
    user = _user.get()
    if user is None:
        raise NoToken
    return user


class _Verification:
    """The roles and scopes that an interceptor requires of the user who calls a method."""

    def __init__(
        self,
        verifier: Verifier,
        *roles: str,
        scopes: str | Collection[str] = (),
        optional: bool = False,
    ) -> None:
        self.verifier = verifier
        self._roles, self._scopes = as_names(roles), as_names(scopes)
        self._optional = optional

    def admitted(self, user: User) -> User:
        user.require(*self._roles, scopes=self._scopes)
        return user

    def without_token(self, error: NoToken) -> None:
        if not self._optional:
            raise error


class AuthotronInterceptor(grpc.aio.ServerInterceptor):
    """
    Verifies the JWT of each call to a server with asyncio.

    @param roles: the user needs one of them.
    @param scopes: the user needs all of them.
    @param optional: let calls without a token pass; then L{current_user} raises L{NoToken}.
    """

    def __init__(
        self,
        verifier: Verifier,
        *roles: str,
        scopes: str | Collection[str] = (),
        optional: bool = False,
    ) -> None:
        self._asked = _Verification(verifier, *roles, scopes=scopes, optional=optional)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MethodHandler | None:
        """Verify the user of a call before its method runs."""
        handler = await continuation(handler_call_details)
        return _wrapped(handler, self._protected)

    def _protected(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        if isasyncgenfunction(inner):

            async def streaming(request: Any, context: Any) -> Any:
                await self._remember(context)
                async for each in inner(request, context):
                    yield each

            return streaming

        async def single(request: Any, context: Any) -> Any:
            await self._remember(context)
            return await inner(request, context)

        return single

    async def _remember(self, context: Any) -> None:
        """Let L{current_user} know the user; each call is a task with a context of its own."""
        fields = _authorization(context.invocation_metadata())
        try:
            user = await self._asked.verifier.authenticate_async(fields)
            _user.set(self._asked.admitted(user))
        except NoToken as error:
            try:
                self._asked.without_token(error)
            except NoToken:
                await context.abort(*_refusal(error))
            _user.set(None)
        except AuthotronError as error:
            await context.abort(*_refusal(error))


class AuthotronThreadInterceptor(grpc.ServerInterceptor):
    """Verifies the JWT of each call to a server with threads, as L{AuthotronInterceptor} does."""

    def __init__(
        self,
        verifier: Verifier,
        *roles: str,
        scopes: str | Collection[str] = (),
        optional: bool = False,
    ) -> None:
        self._asked = _Verification(verifier, *roles, scopes=scopes, optional=optional)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], MethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MethodHandler | None:
        """Verify the user of a call before its method runs."""
        handler = continuation(handler_call_details)
        return _wrapped(handler, self._protected)

    def _protected(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def single(request: Any, context: Any) -> Any:
            user = self._user(context)
            before = _user.set(user)
            try:
                found = inner(request, context)
            finally:
                _user.reset(before)
            return _each_with(user, found) if isinstance(found, Iterator) else found

        return single

    def _user(self, context: Any) -> User | None:
        fields = _authorization(context.invocation_metadata())
        try:
            return self._asked.admitted(self._asked.verifier.authenticate(fields))
        except NoToken as error:
            try:
                self._asked.without_token(error)
            except NoToken:
                context.abort(*_refusal(error)[:2])
        except AuthotronError as error:
            context.abort(*_refusal(error)[:2])
        return None


class AuthotronCredentials(grpc.AuthMetadataPlugin):
    """
    Sends a bearer token with each call.

    Use this class as C{grpc.metadata_call_credentials(AuthotronCredentials(source))}. gRPC sends
    call credentials over TLS only.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        """Pass the metadata of a call to gRPC, in a thread of gRPC."""
        try:
            metadata = (("authorization", f"Bearer {self._source.get()}"),)
        except AuthotronError as error:
            callback((), error)
        else:
            callback(metadata, None)


def _wrapped(
    handler: MethodHandler | None, protect: Callable[..., Callable[..., Any]]
) -> MethodHandler | None:
    """Return a gRPC handler of the same kind that verifies the user before the method runs."""
    if handler is None:  # The gRPC service has no method with this name.
        return None
    kind = next(each for each in _KINDS if getattr(handler, each) is not None)
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    wrapped: MethodHandler = make(
        protect(getattr(handler, kind)),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return wrapped


def _each_with(user: User | None, found: Iterator[Any]) -> Iterator[Any]:
    """Iterate over the answers of a gRPC method; meanwhile L{current_user} returns the user."""
    while True:
        before = _user.set(user)
        try:
            each = next(found)
        except StopIteration:
            return
        finally:
            _user.reset(before)
        yield each


def _authorization(metadata: Any) -> list[str]:
    return [
        value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in metadata or ()
        if name == "authorization"
    ]


def _refusal(error: AuthotronError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    """Return code, text and trailing metadata of the answer to a gRPC call that is refused."""
    shown = {name.lower(): value for name, value in error.headers.items()}
    shown.pop("cache-control", None)
    return _CODES[error.status], error.public, tuple(shown.items())
