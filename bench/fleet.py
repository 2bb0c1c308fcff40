"""The servers of a contest, each of which is started when it is first needed."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cached_property
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import load
import proxy
import servers
import settings
from attrs import define, field, frozen
from contest import Measure
from load import Load

HERE = Path(__file__).resolve().parent
FASTAPI = HERE.parent / ".venv-bench" / "bin" / "python"


@frozen
class Version:
    """
    A version of authotron that is measured, and the event loop that it runs on.

    @ivar loop: the event loop, as C{AUTHOTRON_LOOP} names it.
    @ivar command: the command C{authotron} of the environment in which this version is installed.
    """

    name: str
    loop: str
    command: str

    def serve(self, file: Path) -> list[str]:
        """Return the command that serves with a configuration file."""
        return [*self.environ, self.command, "run", "--config", str(file)]

    @property
    def environ(self) -> list[str]:
        """The command that sets the environment variable of the event loop."""
        return ["env", f"AUTHOTRON_LOOP={self.loop}"]

    def compile(self) -> None:
        """Compile all modules of the environment, so that no process does so when it starts."""
        environment = Path(self.command).parents[1]
        for packages in environment.glob("lib/python3*/site-packages"):
            command = [str(environment / "bin/python"), "-m", "compileall", "-q", str(packages)]
            # Templates of some packages are no valid modules.
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL)


@frozen
class Server:
    """
    A running server.

    @ivar metrics: the port of its metrics.
    @ivar socket: the UNIX socket on which it listens, too.
    """

    process: int
    port: int
    metrics: int = 0
    socket: Path = Path()

    @property
    def address(self) -> str:
        """The TCP address, as nginx writes it."""
        return f"127.0.0.1:{self.port}"

    @property
    def unix_address(self) -> str:
        """The address of the UNIX socket, as nginx writes it."""
        return f"unix:{self.socket}"


@define
class Fleet:
    """
    Starts servers and builds the measurements of them.

    @ivar stack: ends all servers.
    """

    folder: Path
    options: argparse.Namespace
    stack: ExitStack
    _servers: dict[str, Server] = field(factory=dict, init=False)

    @cached_property
    def versions(self) -> dict[str, Version]:
        """The versions that can be measured here: C{before}, C{epoll} and C{uvloop}."""
        return available_versions()

    @property
    def fastest(self) -> Version:
        """The version on uvloop, or on epoll if uvloop cannot be used here."""
        return list(self.versions.values())[-1]

    def rivals(self) -> dict[str, Server]:
        """Start the servers that authotron is compared with, as far as they are available."""
        found = {"Klein": self._server("Klein", [sys.executable, str(HERE / "klein_app.py")])}
        if FASTAPI.exists():
            found["FastAPI"] = self._server("FastAPI", [str(FASTAPI), str(HERE / "fastapi_app.py")])
        if binary := os.environ.get("AUTHOTRON_ORIGINAL"):
            found["original"] = self._original(binary)
        return found

    def gateways(self, kind: str = "warm", **sections: Any) -> dict[str, Server]:
        """Start one gateway of each version, all with the same configuration."""
        return {
            name: self.gateway(version, kind, **sections) for name, version in self.versions.items()
        }

    def gateway(
        self, version: Version, kind: str = "warm", *, core: str = "", **sections: Any
    ) -> Server:
        """
        Start a gateway, or return the one that is running.

        @param kind: a name for the configuration.
        @param sections: sections of the configuration file that replace the usual ones.
        """
        name = f"{version.name}, {kind}"
        if name not in self._servers:
            port, metrics = servers.free_port(), servers.free_port()
            socket = self.folder / f"{port}.socket"
            content = settings.gateway(port, metrics, **sections)
            content["server"] = {**settings.listening(port, socket), **sections.get("server", {})}
            command = version.serve(self.write(f"{port}.yaml", content))
            process = self._start(command, port, core)
            self._servers[name] = Server(process, port, metrics, socket)
        return self._servers[name]

    def _server(self, name: str, command: list[str]) -> Server:
        if name not in self._servers:
            port = servers.free_port()
            self._servers[name] = Server(self._start([*command, str(port)], port), port)
        return self._servers[name]

    def _original(self, binary: str) -> Server:
        if "original" not in self._servers:
            port = servers.free_port()
            file = self.write(f"{port}.yaml", settings.original(port, servers.free_port()))
            command = ["env", f"AOT_CONFIG_PATH={file}", binary]
            process = self._start(command, port)
            self._servers["original"] = Server(process, port)
        return self._servers["original"]

    def _start(self, command: list[str], port: int, core: str = "") -> int:
        log = self.folder / f"{port}.log"
        server = servers.running(command, port, core or self.options.server_core, log)
        return self.stack.enter_context(server)

    def write(self, name: str, content: dict[str, Any]) -> Path:
        """Write a configuration file, which only its owner can read."""
        file = self.folder / name
        file.write_text(json.dumps(content))
        file.chmod(0o600)
        return file

    def credentials(self, name: str, values: Iterable[str]) -> Path:
        """Write a file of credentials for the client."""
        path = self.folder / name
        path.write_text("".join(f"{value}\n" for value in values))
        return path

    def load(self) -> Load:
        """Return the usual way to send requests: ten users with passwords, kept connections."""
        users = self.credentials("users", map(basic, settings.USERS))
        connections, core = self.options.connections, self.options.client_core
        return Load(users, connections=connections, core=core)

    def polite_load(self, core: str) -> Load:
        """
        Return the usual load from a wrk that shares the core of a server, and does not interrupt
        the server. If a wrk that mostly waits has a core of its own, the server wakes that core up
        with nearly each answer, which takes up to a quarter of its time, and differs from round to
        round.
        """
        return self.load().but(core=core, yields=True)

    def direct(self, server: Server, how: Load, *, cores: str = "") -> Measure:
        """Return the measurement of a server on its core by wrk on the core of the load."""

        def measure(seconds: float) -> load.Figures:
            servers.pin(server.process, cores or self.options.server_core)
            return load.wrk(server.port, server.process, how.but(seconds=seconds))

        return measure

    def behind(self, nginx: int, port: int, server: Server, how: Load) -> Measure:
        """
        Return the measurement of a server behind nginx.

        nginx has one core for itself; the server and wrk share the other one.
        """
        through = how.but(path=f"/{proxy.PAGE}")

        def measure(seconds: float) -> load.Figures:
            servers.pin(server.process, self.options.client_core)
            return load.wrk(port, server.process, through.but(seconds=seconds), proxy=nginx)

        return measure

    def over_unix(self, server: Server, how: Load) -> Measure:
        """Return the measurement of a gateway over its UNIX socket."""

        def measure(seconds: float) -> load.Figures:
            servers.pin(server.process, self.options.server_core)
            return load.unix(server.socket, server.process, how.but(seconds=seconds))

        return measure


def available_versions() -> dict[str, Version]:
    """
    Return the versions of authotron that can be measured, by name.

    C{before} is the checkout that C{AUTHOTRON_BEFORE} names, with an environment of its own.
    """
    found = {}
    if checkout := os.environ.get("AUTHOTRON_BEFORE"):
        found["before"] = Version("before", "epoll", f"{checkout}/.venv/bin/authotron")
    for loop in ("epoll", "uvloop"):
        if loop == "epoll" or find_spec(loop):
            found[loop] = Version(loop, loop, str(servers.AUTHOTRON))
    return found


def basic(user: dict[str, str]) -> str:
    """Return the value of C{Authorization} for a user with a password."""
    pair = f"{user['username']}:{user['password']}"
    return "Basic " + b64encode(pair.encode()).decode()


def api_token(port: int, user: dict[str, str], **limits: list[str]) -> str:
    """Create an API token of a user, and return the value of C{Authorization} with it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": basic(user), "Content-Type": "application/json"}
    connection.request("POST", "/tokens", json.dumps(limits), headers)
    token: str = json.loads(connection.getresponse().read())["token"]
    connection.close()
    return f"Bearer {token}"
