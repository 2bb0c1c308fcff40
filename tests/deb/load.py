"""
Sends requests at an even rate, whether or not answers come, and tells what came of them.

It runs in the container, with Python's own library: C{python3 load.py PORT PATH RATE SECONDS}. A
request that finds no free connection opens one, as new clients would.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

BASIC = "YWxpY2U6d29uZGVy"
"""alice:wonder"""
PATIENCE = 30.0
"""Seconds after which an answer does not come any more."""
TICK = 0.01


class Client:
    """Requests, each on a connection that no other one uses meanwhile."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {BASIC}\r\n\r\n"
        ).encode()
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.outcomes: Counter[str] = Counter()
        self.times: list[float] = []

    async def ask(self) -> None:
        """One request; its outcome is a status, or the name of what went wrong."""
        began = asyncio.get_running_loop().time()
        try:
            outcome = await asyncio.wait_for(self._ask(), PATIENCE)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            outcome = type(error).__name__
        self.outcomes[outcome] += 1
        self.times.append(asyncio.get_running_loop().time() - began)

    async def _ask(self) -> str:
        if self._free:
            reader, writer = self._free.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
        await reader.readexactly(length)
        if "connection: close" in head:
            writer.close()
        else:
            self._free.append((reader, writer))
        return head.split(maxsplit=2)[1]


async def main(port: int, path: str, rate: int, seconds: float) -> None:
    client, loop = Client(port, path), asyncio.get_running_loop()
    began, sent, asked = loop.time(), 0, []
    while (passed := loop.time() - began) < seconds:
        while sent < passed * rate:
            asked.append(asyncio.ensure_future(client.ask()))
            sent += 1
        await asyncio.sleep(TICK)
    await asyncio.gather(*asked)
    times = sorted(client.times)
    print(
        json.dumps(
            {
                "sent": sent,
                "outcomes": client.outcomes,
                "rate": round(sent / seconds),
                "median_ms": round(1000 * times[len(times) // 2], 1),
                "slowest_ms": round(1000 * times[-1]),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
