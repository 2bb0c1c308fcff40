"""A container with a systemd of its own: a copy of a small Debian, thrown away afterwards."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field

from tests.waiting import DEADLINE, until

RELEASE = "bookworm"
PACKAGES = (
    "ca-certificates,curl,dbus,faketime,iproute2,libnss-systemd,nginx-light,openssl,procps,python3,"
    "systemd,systemd-sysv"
)
"""What is in it beside the essential: what the package needs, and what looks at it."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}
HIERARCHIES = (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"))
"""Where a machine without systemd keeps groups of processes; a container needs one of its own."""


class Failed(AssertionError):
    """A command in a container did not do what it should."""


def why_not() -> str | None:
    """What keeps containers from running here."""
    missing = [name for name in ("mmdebstrap", "systemd-nspawn") if shutil.which(name) is None]
    if os.geteuid() != 0:
        return "containers need root"
    if missing:
        return f"not installed: {', '.join(missing)} (tests/deb/packages installs them)"
    attempt = subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "true"],
        capture_output=True,
        check=False,
        text=True,
    )
    return f"no namespaces for us: {attempt.stderr.strip()}" if attempt.returncode else None


def bootstrap(root: Path, packages: str = PACKAGES) -> None:
    """Make a small Debian, unless it is there already."""
    complete = root / "etc" / "authotron-test-root"
    if complete.exists() and complete.read_text() == packages:
        return
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", RELEASE]
    subprocess.run([*command, str(root)], check=True, stdin=subprocess.DEVNULL)
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    complete.write_text(packages)


@define(eq=False)
class Container:
    """
    One container.

    @ivar base: the Debian that it begins with, and never writes to.
    @ivar folder: a fresh one, for what it writes.
    """

    base: Path
    folder: Path
    name: str
    _nspawn: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _leader: int = field(default=0, init=False)

    @property
    def root(self) -> Path:
        """Its file system, as it is seen from outside."""
        return self.folder / "root"

    def mount(self) -> None:
        """Lay a writable layer over the base."""
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={self.base},upperdir={self.folder}/upper,workdir={self.folder}/work"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)], check=True
        )

    def install(self, *packages: str) -> None:
        """Debian packages, over the network of this machine, while it is not booted."""
        shutil.copy("/etc/resolv.conf", self.root / "etc" / "resolv.conf")
        wanted = " ".join(packages)
        script = f"apt-get -qq update && apt-get -qq install -y --no-install-recommends {wanted}"
        subprocess.run(
            ["chroot", str(self.root), "env", "-i", *_assigned(), "sh", "-c", script],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )

    def boot(self) -> None:
        """
        Start its systemd, with no network but the loopback.

        @raise Failed: it does not come up.
        """
        with (self.folder / "console").open("wb") as console:
            self._nspawn = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", _START, self.name, str(self.root)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                preexec_fn=self._leave_our_group,  # noqa: PLW1509 - we have no threads
            )
        until(self._up, f"booted: {self.name}", otherwise=self.console)
        self.run("systemctl", "is-system-running", "--wait", seconds=2 * DEADLINE)

    def _leave_our_group(self) -> None:
        for hierarchy in HIERARCHIES:
            if hierarchy.is_dir():
                (hierarchy / self.name).mkdir(exist_ok=True)
                (hierarchy / self.name / "cgroup.procs").write_text(str(os.getpid()))

    def _up(self) -> bool:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise Failed(f"systemd-nspawn ended with {self._nspawn.returncode}\n{self.console()}")
        children = _children(self._nspawn.pid)
        if not children:
            return False
        self._leader = children[0]
        return self.try_("test", "-S", "/run/systemd/private").returncode == 0

    def console(self) -> str:
        """What was written while it booted."""
        return (self.folder / "console").read_text(errors="replace")

    def try_(
        self, *command: str, seconds: float = 120, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command in it, whatever comes of that; standard error is in its output."""
        return subprocess.run(
            [*self._entering(), *command],
            check=False,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )

    def run(self, *command: str, seconds: float = 120, given: str = "") -> str:
        """
        What a command in it says.

        @raise Failed: its exit status is not 0.
        """
        done = self.try_(*command, seconds=seconds, given=given)
        if done.returncode:
            raise Failed(f"{shlex.join(command)} ended with {done.returncode}\n{done.stdout}")
        return done.stdout.strip()

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A command in it that goes on while other things happen."""
        return subprocess.Popen(
            [*self._entering(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> None:
        """Kill what was started; what is killed outside would go on inside."""
        for pid in _children(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()

    def _entering(self) -> Sequence[str]:
        target = str(self._leader)
        return ["nsenter", "--target", target, "--all", "env", "-i", *_assigned()]

    def write(self, path: str, text: str) -> None:
        """A file in it; one that is there keeps its mode and its owner."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, given=text)

    def power_off(self) -> None:
        """Stop it, and take away what it wrote."""
        if self._nspawn is not None and self._nspawn.poll() is None:
            os.kill(self._leader, signal.SIGRTMIN + 4)
            try:
                self._nspawn.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                os.kill(self._leader, signal.SIGKILL)
                self._nspawn.wait()
        for hierarchy in HIERARCHIES:
            for group, _, _ in os.walk(hierarchy / self.name, topdown=False):
                Path(group).rmdir()
        subprocess.run(["umount", "--lazy", str(self.root)], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


_START = """
[ -d /run/systemd/system ] || keep=--keep-unit
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
exec systemd-nspawn --quiet --directory="$1" --machine="$0" --boot --register=no $keep \\
    --console=pipe --private-network
"""
"""Where no systemd runs outside, nobody can be asked for a group, and F{/run} is no mount."""


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in text.split()]


def _assigned() -> list[str]:
    return [f"{name}={value}" for name, value in ENVIRONMENT.items()]


def seconds_until(condition: Callable[[], object], what: str) -> float:
    """Wait for a condition, and return how many seconds that took."""
    began = time.monotonic()
    until(condition, what)
    return time.monotonic() - began
