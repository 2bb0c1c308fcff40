"""Interceptors for servers of gRPC, and credentials for its clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
from twisted.trial.unittest import SynchronousTestCase

from authotron.client import NoToken, User
from authotron.client.grpc import (
    AuthotronCredentials,
    AuthotronInterceptor,
    AuthotronThreadInterceptor,
    current_user,
)
from authotron.client.renewal import fixed
from tests.backends.contract import ADMIN, ALICE, FrameworkContract, bad_tokens

Metadata = tuple[tuple[str, str], ...]


def name() -> bytes:
    try:
        return current_user().subject.encode()
    except NoToken:
        return b"anonymous"


def single(request: bytes, context: Any) -> bytes:
    return name()


def several(request: bytes, context: Any) -> Iterator[bytes]:
    for _ in range(3):
        yield name()


async def single_async(request: bytes, context: Any) -> bytes:
    await asyncio.sleep(0)
    return name()


async def several_async(request: bytes, context: Any) -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0)
        yield name()


def methods(one: Any, many: Any) -> grpc.GenericRpcHandler:
    handlers: dict[str, Any] = {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "Both": grpc.stream_stream_rpc_method_handler(many),
    }
    return grpc.method_handlers_generic_handler("test.Service", handlers)


def called(port: int, metadata: Metadata) -> list[bytes]:
    """The answers of the three methods; one that fails raises."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        service: Any = channel  # bytes in, bytes out, which the stubs cannot know
        one = service.unary_unary("/test.Service/One")(b"", metadata=metadata, timeout=60)
        many = service.unary_stream("/test.Service/Many")(b"", metadata=metadata, timeout=60)
        both = service.stream_stream("/test.Service/Both")(
            iter([b""]), metadata=metadata, timeout=60
        )
        return [one, *many, *both]


class GrpcContract(FrameworkContract):
    """What both kinds of servers answer; gRPC has codes of its own."""

    def setUp(self) -> None:
        self.make_verifier()

    def call(self, metadata: Metadata, *roles: str, optional: bool = False) -> list[bytes]:
        raise NotImplementedError

    def code(self, metadata: Metadata, *roles: str) -> Any:
        error: Any = self._case().assertRaises(grpc.RpcError, self.call, metadata, *roles)
        self._case().assertNotIn("alice", error.details())
        return error.code()

    def test_user(self) -> None:
        """A good JWT lets each kind of method know its user, during all of its answers."""
        found = self.call((("authorization", f"Bearer {self.gateway.mint(ALICE)}"),))
        self._case().assertEqual(found, [b"internal-alice"] * 7)

    def test_bad_tokens(self) -> None:
        """Each wrong JWT is refused as unauthenticated."""
        for what, token in bad_tokens(self.gateway).items():
            code = self.code((("authorization", f"Bearer {token}"),))
            self._case().assertEqual(code, grpc.StatusCode.UNAUTHENTICATED, what)

    def test_no_token(self) -> None:
        """Without a token, or with a spoofed name, a call is refused as unauthenticated."""
        for metadata in ((), (("x-auth-username", "root"),)):
            self._case().assertEqual(self.code(metadata), grpc.StatusCode.UNAUTHENTICATED)

    def test_two_tokens(self) -> None:
        """Two values are refused, whichever is good."""
        good = ("authorization", f"Bearer {self.gateway.mint(ALICE)}")
        self._case().assertEqual(self.code((good, good)), grpc.StatusCode.UNAUTHENTICATED)

    def test_role(self) -> None:
        """Without the role a call is refused as not permitted."""
        code = self.code((("authorization", f"Bearer {self.gateway.mint(ALICE)}"),), "admin")
        self._case().assertEqual(code, grpc.StatusCode.PERMISSION_DENIED)
        found = self.call((("authorization", f"Bearer {self.gateway.mint(ADMIN)}"),), "admin")
        self._case().assertEqual(found, [b"internal-root"] * 7)

    def test_outage(self) -> None:
        """If the keys cannot be fetched the service is unavailable."""
        self.gateway.fail_on("jwks")
        code = self.code((("authorization", f"Bearer {self.gateway.mint(ALICE)}"),))
        self._case().assertEqual(code, grpc.StatusCode.UNAVAILABLE)

    def test_optional(self) -> None:
        """Where a user is optional, a call without a token passes, and has no user."""
        self._case().assertEqual(self.call((), optional=True), [b"anonymous"] * 7)

    def test_spoofed_headers(self) -> None:
        """What the client calls itself says nothing; a test of its own is above."""


class ThreadTests(GrpcContract, SynchronousTestCase):
    """C{AuthotronThreadInterceptor}."""

    def call(self, metadata: Metadata, *roles: str, optional: bool = False) -> list[bytes]:
        interceptor = AuthotronThreadInterceptor(self.verifier, *roles, optional=optional)
        with ThreadPoolExecutor(4) as threads:
            server = grpc.server(threads, interceptors=[interceptor])
            server.add_generic_rpc_handlers([methods(single, several)])
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            try:
                return called(port, metadata)
            finally:
                server.stop(None).wait()


class AsyncioTests(GrpcContract, SynchronousTestCase):
    """C{AuthotronInterceptor}."""

    def call(self, metadata: Metadata, *roles: str, optional: bool = False) -> list[bytes]:
        return asyncio.run(self.serve(metadata, *roles, optional=optional))

    async def serve(self, metadata: Metadata, *roles: str, optional: bool) -> list[bytes]:
        interceptor = AuthotronInterceptor(self.verifier, *roles, optional=optional)
        server = grpc.aio.server(interceptors=[interceptor])
        server.add_generic_rpc_handlers([methods(single_async, several_async)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await asyncio.to_thread(called, port, metadata)
        finally:
            await server.stop(None)

    def test_calls_at_the_same_time(self) -> None:
        """Each of many calls at the same time has its own user."""
        subjects = asyncio.run(self.many())
        self.assertEqual(subjects, [f"test-{number}".encode() for number in range(50)])

    async def many(self) -> list[bytes]:
        server = grpc.aio.server(interceptors=[AuthotronInterceptor(self.verifier)])
        server.add_generic_rpc_handlers([methods(single_async, several_async)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method: Any = channel.unary_unary("/test.Service/One")
            tokens = [self.gateway.mint(User("test", str(number))) for number in range(50)]
            calls = [method(b"", metadata=(("authorization", f"Bearer {t}"),)) for t in tokens]
            found = [await each for each in calls]
        await server.stop(None)
        return found


class CredentialsTests(SynchronousTestCase):
    """What clients send."""

    def test_metadata(self) -> None:
        """The token is the metadata of each call."""
        sent: list[Any] = []
        AuthotronCredentials(fixed("opaque"))(None, lambda *found: sent.extend(found))  # type: ignore[arg-type] # no context
        self.assertEqual(sent, [(("authorization", "Bearer opaque"),), None])
