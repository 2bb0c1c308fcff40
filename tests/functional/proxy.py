"""The services around the daemon, and its users."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from attrs import define, field

from tests.functional import wire
from tests.functional.daemon import SECRET, absolute, environment, free_port
from tests.waiting import DEADLINE, until

ROOT = Path(__file__).resolve().parents[2]


@define(eq=False)
class Backend:
    """
    The echo backend.

    @ivar published: the gateway's key set; without one it believes in C{secret}.
    """

    folder: Path = field(converter=absolute)
    published: bytes | None = None
    secret: str = SECRET
    port: int = field(factory=free_port)
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> Backend:
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = self.folder / "keys"
        keys.write_bytes(self.published or self.secret.encode())
        option = "--jwks-file" if self.published else "--secret-file"
        command = ["-m", "authotron.testing.echo", "--port", str(self.port), option]
        with (self.folder / "echo.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, str(keys)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment(),
            )
        until(self._answers, "answering", otherwise=(self.folder / "echo.log").read_text)
        return self

    def _answers(self) -> bool:
        with suppress(OSError):
            return wire.ask(self.port, "/").status == 401
        return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE)


class Silence:
    """A gateway that hangs: the kernel accepts connections, and no request is answered."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listening.getsockname()[1]

    def stop(self) -> None:
        self._listening.close()


class Upgrading:
    """A service that accepts one request, and changes to another protocol if it is asked to."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(DEADLINE)
        self.port: int = self._listening.getsockname()[1]
        self.head = b""
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            while b"\r\n\r\n" not in self.head:
                self.head += connection.recv(65_536)
            if b"\r\nUpgrade: websocket\r\n" in self.head:
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\n\r\n"
                )
                connection.sendall(connection.recv(100))
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def stop(self) -> None:
        self._thread.join(DEADLINE)
        self._listening.close()


CROWD = 200
"""As many people know their passwords as this, beside alice."""


def person(number: int) -> tuple[str, str]:
    """Return the name and password of one of the many users."""
    return f"person-{number:03}", f"password-{number:03}"


def crowd() -> list[dict[str, Any]]:
    """Return the providers section with many users."""
    people = [dict(zip(("username", "password"), person(n), strict=True)) for n in range(CROWD)]
    alice = {"username": "alice", "password": "wonder", "roles": ["reader"]}
    return [{"name": "local", "type": "plain", "realm": "here", "users": [alice, *people]}]
