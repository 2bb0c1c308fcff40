"""The daemon as an administrator starts it: C{twistd} with a configuration file, on free ports."""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import SkipTest

from attrs import define, field

from tests.functional import wire
from tests.waiting import DEADLINE, until

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # In the background of a shell script Ctrl-C is ignored, and children would ignore it as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

TWISTD = Path(sys.executable).parent / "twistd"
SECRET = "functional-tests-sign-with-this-secret"
USERS = ({"username": "alice", "password": "wonder", "roles": ["reader"]},)

_FOREIGN = ("LISTEN_", "NOTIFY_", "WATCHDOG_", "AOT_")
"""What the names of variables begin with that systemd sets, or that change a configuration."""

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method")


def _ports() -> Iterator[int]:
    """
    Yield ports that the kernel does not give to clients, from a random one on.

    The kernel gives clients the ports of C{ip_local_port_range}; a server could find its port taken
    by a client. If nearly all ports are in this range, the servers share it with the clients.
    """
    lowest = 32_768
    with suppress(OSError):
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        lowest = int(text.split()[0])
    ports = range(10_000, lowest if lowest > 15_000 else 65_536)
    first = secrets.randbelow(len(ports))
    yield from itertools.cycle([*ports[first:], *ports[:first]])


_PORTS = _ports()


def free_port() -> int:
    """Return a port at which no server listens."""
    for port in _PORTS:
        with socket.socket() as attempt, suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def has_ipv6() -> bool:
    """Return whether this machine has the address ::1."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def free_pair() -> int:
    """Return the first of two consecutive free ports."""
    first = free_port()
    while (second := free_port()) != first + 1:
        first = second
    return first


def needed(command: str) -> None:
    """
    Tests with this server.

    @raise SkipTest: it is not installed. Under CI it must be.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    if shutil.which(command, path=path) is None and not os.environ.get("CI"):
        raise SkipTest(f"{command} is not installed; tests/servers/{command} install DIR")


def environment(over: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Return the environment of a gateway on a machine without a configuration in the environment,
    without an HTTP proxy, and not started by systemd.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _PROXIES
    }
    return {**kept, **(over or {})}


def configuration(main: int, second: int, **over: Any) -> dict[str, Any]:
    """Return the configuration of a gateway with one user, with other sections laid over it."""
    usual: dict[str, Any] = {
        "version": "2.0.0",
        "server": {"host": "127.0.0.1", "port": main},
        "metrics": {"port": second},
        "jwt": {"iss": "functional", "secret": SECRET},
        "auth": {"timeout_in_ms": int(DEADLINE / 2) * 1000},
        "providers": [{"name": "local", "type": "plain", "realm": "here", "users": list(USERS)}],
        "logging": {"level": "info", "access": "all"},
    }
    for name, section in over.items():
        merge = isinstance(section, dict) and isinstance(usual.get(name), dict)
        laid = {**usual[name], **section} if merge else section
        usual[name] = {k: v for k, v in laid.items() if v is not ...} if merge else laid
    return usual


def absolute(path: Path) -> Path:
    """Return an absolute path, for a process with another working folder."""
    return path.absolute()


@define(eq=False)
class Daemon:
    """
    One gateway.

    @ivar folder: a fresh one, for its configuration and its log.
    @ivar port: of the gateway.
    @ivar operations: of metrics and readiness.
    @ivar wrapper: a command that starts another one.
    @ivar handed: descriptors that it gets.
    """

    folder: Path = field(converter=absolute)
    port: int = field(factory=free_port)
    operations: int = field(factory=free_port)
    options: Sequence[str] = ()
    wrapper: Sequence[str] = ()
    handed: Sequence[int] = ()
    environ: Mapping[str, str] = field(factory=dict)
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def file(self) -> Path:
        return self.folder / "config.yaml"

    def configure(self, **over: Any) -> Daemon:
        """Write the configuration file."""
        content = json.dumps(configuration(self.port, self.operations, **over))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(content)
        self.file.chmod(0o600)
        return self

    def launch(self) -> Daemon:
        """Start the daemon, and do not wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(TWISTD), "-n", "--pidfile=", "authotron", "--config", str(self.file)]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, *command, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environment(self.environ),
                pass_fds=self.handed,
            )
        return self

    def start(self, address: int | str | None = None) -> Daemon:
        """Start the daemon, and wait until C{address}, by default its port, is healthy."""
        self.launch()
        where = self.port if address is None else address
        until(lambda: self._healthy(where), "healthy", otherwise=self.log)
        return self

    def _healthy(self, address: int | str) -> bool:
        assert self.process.poll() is None, f"it ended by itself\n{self.log()}"
        with suppress(OSError):
            return wire.ask(address, "/health").status == 200
        return False

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the daemon."""
        self.process.send_signal(number)

    def exit_status(self) -> int:
        """Wait until the daemon has ended, and return its exit status."""
        return self.process.wait(DEADLINE)

    def stop(self) -> int:
        """Stop the daemon, and wait; if it does not stop, kill it and fail the test."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not stop\n{self.log()}") from None

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="backslashreplace")

    def logged(self, text: str) -> None:
        """Wait until the log contains a text."""
        until(lambda: text in self.log(), f"logged: {text}", otherwise=self.log)

    def metric(self, name: str) -> float:
        """Return the value of a sample; C{name} includes the labels, as Prometheus writes them."""
        text = wire.ask(self.operations, "/metrics").body.decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found, f"no {name} in\n{text}"
        return float(found[1])


def check(path: Path, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run C{twistd authotron --check} on a file; return the exit status and the output."""
    done = subprocess.run(
        [str(TWISTD), "-n", "--pidfile=", "authotron", "--config", str(path), "--check"],
        capture_output=True,
        check=False,
        cwd=path.parent,
        env=environment(environ),
        timeout=DEADLINE,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def awkward(folder: Path, *others: dict[str, Any], **over: Any) -> Daemon:
    """Start a daemon with the awkward provider, installed as by C{pip}, and with others."""
    folder = folder.absolute()
    packages = folder / "packages"
    metadata = packages / "awkward-1.dist-info"
    metadata.mkdir(parents=True)
    part = Path(__file__).with_name("awkward.py").read_text()
    (packages / "awkward_part.py").write_text(part)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: awkward\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[authotron.providers]\nawkward = awkward_part\n")
    paths = [str(packages), os.environ.get("PYTHONPATH", "")]
    section = {"name": "awkward", "type": "awkward", "realm": "here", "folder": str(folder)}
    daemon = Daemon(folder, environ={"PYTHONPATH": os.pathsep.join(filter(None, paths))})
    return daemon.configure(providers=[*others, section], **over).start()
