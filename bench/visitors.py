"""Clients that disturb a gateway: new connections, clients that leave, revocations, reloads."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import time
from base64 import b64encode
from collections.abc import Callable
from http.client import HTTPConnection
from itertools import count

import fleet
import jwt
import proxy
import settings
from attrs import define, field
from fleet import Server

RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER that makes close(2) reset a connection."""
RELOADS = r'^authotron_reloads_total\{result="success"\} ([\d.]+)'
ATTEMPTS = 20
"""Attempts of a change that the gateway answers with 503 while its workers are replaced."""


class Unexpected(Exception):
    """An answer that is not the right one."""


@define
class Visitors:
    """
    The clients of one gateway.

    @ivar gateway: the gateway, to which clients that leave and changes of API tokens go directly.
    @ivar port: the port for all other requests: that of nginx, or that of the gateway.
    """

    gateway: Server
    port: int
    _user: str = field(init=False, default=fleet.basic(settings.USERS[0]))
    _numbers: count[int] = field(init=False, factory=count)

    def all(self) -> dict[str, tuple[float, Callable[[], None]]]:
        """Return each visit, with the seconds between two of its kind."""
        return {
            "new connection": (0.05, self.come_new),
            "new credential": (0.1, self.bring_new_credential),
            "wrong password": (0.2, self.be_refused),
            "left in the middle": (0.05, self.leave),
            "revocation": (0.5, self.revoke),
        }

    def come_new(self) -> None:
        """Send one request on a connection of its own."""
        self._expect(200, self._user)

    def bring_new_credential(self) -> None:
        """Send a JSON Web Token that was never sent before."""
        claims = {"iss": "bench", "sub": f"person-{next(self._numbers)}", "exp": 1 << 32}
        self._expect(200, f"Bearer {jwt.encode(claims, settings.SECRET, 'HS256')}")

    def be_refused(self) -> None:
        """Send a wrong password."""
        pair = f"{settings.USERS[0]['username']}:wrong-{next(self._numbers)}"
        self._expect(401, "Basic " + b64encode(pair.encode()).decode())

    def leave(self) -> None:
        """Send a part of a request or a whole one, and leave without reading, some with a reset."""
        number = next(self._numbers)
        head = f"GET /authenticate HTTP/1.1\r\nHost: soak\r\nAuthorization: {self._user}\r\n\r\n"
        requests = (head, head[: number % len(head)], head.replace("GET", "POST"), head * 3, "")
        address = ("127.0.0.1", self.gateway.port)
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(requests[number % len(requests)].encode())
            if number % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def revoke(self) -> None:
        """Create an API token, use it, revoke it, and be refused with it from then on."""
        created = json.loads(self._change("POST", "/tokens", "{}"))
        credential = f"Bearer {created['token']}"
        self._expect(200, credential)
        self._change("DELETE", f"/tokens/{created['id']}")
        self._expect(401, credential)

    def _expect(self, status: int, credential: str) -> None:
        path = "/authenticate" if self.port == self.gateway.port else f"/{proxy.PAGE}"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers={"Authorization": credential})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status != status:
            raise Unexpected(f"{answer.status} instead of {status}: {text[:200]}")

    def _change(self, method: str, path: str, body: str | None = None) -> str:
        headers = {"Authorization": self._user, "Content-Type": "application/json"}
        for _ in range(ATTEMPTS):
            connection = HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
            if answer.status != 503:
                break
            time.sleep(0.5)
        if answer.status not in (200, 201, 204):
            raise Unexpected(f"{method} {path.partition('/')[0]}: {answer.status} {text[:200]}")
        return text

    def reload(self) -> None:
        """Let the gateway reload its configuration, and wait until it has done so."""
        before = self._reloads()
        os.kill(self.gateway.process, signal.SIGHUP)
        until = time.monotonic() + 30
        while self._reloads() == before:
            if time.monotonic() > until:
                raise Unexpected("a reload did not end within 30 s")
            time.sleep(0.1)

    def _reloads(self) -> float:
        connection = HTTPConnection("127.0.0.1", self.gateway.metrics, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.search(RELOADS, text, re.MULTILINE)
        return float(found[1]) if found else 0
