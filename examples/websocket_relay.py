"""
A relay between a reverse proxy and a service with WebSockets that cannot be changed: it passes
bytes on, and closes the connections of users whom the gateway revokes.

The reverse proxy asks the gateway about the request that opens a WebSocket, and passes the JWT on
in C{Authorization}. The relay verifies the JWT of this request, and then only passes on bytes.

Usage: python websocket_relay.py LISTEN-PORT SERVICE-PORT GATEWAY-URL ISSUER TOKEN-FILE
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from pathlib import Path

from authotron.client import AuthotronError, Verifier
from authotron.client.events import EventListener
from authotron.client.revocations import Revocations

_NO_HEAD = (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
LARGEST_HEAD = 64 * 1024
PIECE = 64 * 1024
_UPGRADE = re.compile(rb"(?im)^upgrade:[ \t]*websocket[ \t]*\r$")
_AUTHORIZATION = re.compile(rb"(?im)^authorization:[ \t]*(.*?)[ \t]*\r$")


class Relay:
    """Passes connections on to one service."""

    def __init__(self, verifier: Verifier, revocations: Revocations, service: int) -> None:
        self._verifier, self._revocations, self._service = verifier, revocations, service

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of the reverse proxy."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            if not _UPGRADE.search(head):
                # a connection for further requests could carry those of other users
                writer.write(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
                writer.close()
                return
            fields = [field.decode("latin-1") for field in _AUTHORIZATION.findall(head)]
            user = await self._verifier.authenticate_async(fields)
        except AuthotronError as error:
            writer.write(f"HTTP/1.1 {error.status} Refused\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()
            return
        except _NO_HEAD:
            writer.close()
            return
        upstream, to_service = await asyncio.open_connection("127.0.0.1", self._service)
        to_service.write(head)
        try:
            answer = await asyncio.wait_for(upstream.readuntil(b"\r\n\r\n"), 10)
        except _NO_HEAD:
            answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
        writer.write(answer)
        if not answer.startswith(b"HTTP/1.1 101 "):
            # without a WebSocket, the proxy could use the connection for another user
            writer.close()
            to_service.close()
            return
        both = asyncio.gather(_pass_on(reader, to_service), _pass_on(upstream, writer))
        watch = self._revocations.watch(user, both.cancel)
        try:
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await both
        finally:
            watch.end()
            for each in (writer, to_service):
                each.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


async def main(port: int, service: int, gateway: str, issuer: str, token_file: str) -> None:
    """Listen until the process ends."""
    loop = asyncio.get_running_loop()
    revocations = Revocations(call=loop.call_soon_threadsafe)
    verifier = Verifier(issuer, jwks_url=f"{gateway}/.well-known/jwks.json")
    EventListener(
        gateway, lambda: f"Bearer {Path(token_file).read_text().strip()}", revocations.apply
    ).start()
    relay = Relay(verifier, revocations, service)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", port, limit=LARGEST_HEAD)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    listen, to, *others = sys.argv[1:]
    asyncio.run(main(int(listen), int(to), *others))
