"""A service with gRPC, whose messages are JSON: python grpc_service.py PORT."""

import asyncio
import json
import os
import sys
from typing import Any

import grpc

from authotron.client import Verifier
from authotron.client.grpc import AuthotronInterceptor, current_user

verifier = Verifier(
    os.environ["AUTHOTRON_ISSUER"],
    audience="archive",
    jwks_url=os.environ.get("AUTHOTRON_JWKS_URL"),
)


async def hello(request: bytes, context: Any) -> bytes:
    user = current_user()
    return json.dumps({"user": user.username, "realm": user.realm}).encode()


async def reports(request: bytes, context: Any) -> bytes:
    user = current_user()
    if not user.has_role("reader"):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "Forbidden")
    return json.dumps({"reports": [f"report of {user.username}"]}).encode()


async def main(port: int) -> None:
    methods: dict[str, Any] = {
        "Hello": grpc.unary_unary_rpc_method_handler(hello),
        "Reports": grpc.unary_unary_rpc_method_handler(reports),
    }
    server = grpc.aio.server(interceptors=[AuthotronInterceptor(verifier)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Archive", methods)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
