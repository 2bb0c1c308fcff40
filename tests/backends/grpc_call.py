"""
Call the gRPC service of the examples, in the environment that has gRPC: C{PORT METHOD [TOKEN]}.

Prints the name of the status, and the answer.
"""

from __future__ import annotations

import sys
from typing import Any

import grpc


def main(port: str, method: str, *authorization: str) -> None:
    metadata = tuple(("authorization", value) for value in authorization)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(f"/Archive/{method}")
        try:
            answer = call(b"", metadata=metadata, timeout=60, wait_for_ready=True)
        except grpc.RpcError as error:
            print(error.code().name)
        else:
            print("OK", answer.decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
