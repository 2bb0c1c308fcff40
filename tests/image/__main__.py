"""
Builds the container image from the Dockerfile, runs it, and prints a table of what was seen.

C{python -m tests.image} needs root, buildah and mmdebstrap (F{tests/image/packages}), and the
package index of pip, but neither a container engine nor an image registry.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field

from tests.functional import wire
from tests.functional.daemon import SECRET, configuration, free_port
from tests.image.builder import CHECKOUT, Builder, Failed, Image, told
from tests.waiting import DEADLINE, until

USER = 10001
ALICE = {"Authorization": wire.basic("alice", "wonder")}


@define(eq=False)
class Gateway:
    """
    A gateway in a container.

    @ivar mounts: by the place in the container, the file of this machine that is mounted there.
    """

    builder: Builder
    container: str
    port: int
    mounts: Mapping[str, Path]
    command: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def words(self, *command: str) -> Sequence[str]:
        """The command line that runs a command in the container, beside the gateway or as it."""
        volumes = [f"--volume={file}:{place}:ro" for place, file in self.mounts.items()]
        variables = [f"--env={name}={value}" for name, value in self.environ.items()]
        options = ("--isolation=chroot", *volumes, *variables)
        return self.builder.buildah("run", *options, self.container, "--", *command)

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.words(*self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self._is_healthy, "healthy", otherwise=self.log.read_text)

    def _is_healthy(self) -> bool:
        if self.process.poll() is not None:
            raise Failed(f"the gateway ended\n{self.log.read_text()}")
        with suppress(OSError):
            return wire.ask(self.port, "/health").status == 200
        return False

    def pid(self) -> int:
        """The process that listens: buildah and its descendants only wait for it."""
        pid = self.process.pid
        while children := [*_children(pid)]:
            [pid] = children
        return pid

    def stop(self) -> None:
        """Tell the gateway to stop as a container engine does, and wait until it has ended."""
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGTERM)
        self.process.wait(DEADLINE)


def _children(pid: int) -> Iterator[int]:
    """The children of all threads of a process."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        yield from map(int, path.read_text().split())


@define(eq=False)
class Tries:
    """What is tried with the image, in this order."""

    builder: Builder
    folder: Path
    image: Image = field(init=False)

    def base(self) -> str:
        """The image that the Dockerfile begins with has a substitute of Debian packages."""
        return self.builder.prepare()

    def build(self) -> str:
        """The image is built from the Dockerfile."""
        self.image = self.builder.build("localhost/authotron")
        return f"runs {' '.join(self.image.command)} as {self.image.config['User']}"

    def small(self) -> str:
        """The image contains neither pip nor setuptools, and Twisted can list its plugins."""
        words = ("--isolation=chroot", self.builder.container(self.image), "--")
        python = "import importlib.util as u; print([*filter(u.find_spec, ('pip', 'setuptools'))])"
        found = self.builder.run("run", *words, "/opt/authotron/bin/python", "-c", python)
        assert found == "[]", found
        said = self.builder.run("run", *words, "twistd", "--help")
        assert "authotron" in said, said
        assert "Unexpected error" not in said, said
        return "no pip, no setuptools, no remark of twistd"

    def documented(self) -> str:
        """The image runs /etc/authotron/authotron.yaml as its user, and is healthy."""
        port = free_port()
        environ = {"AOT_SERVER__PORT": str(port)}
        place = "/etc/authotron/authotron.yaml"
        with self._running(place, port, written=free_port(), environ=environ) as gateway:
            self._answers(gateway)
            [uid] = {line.split()[1] for line in self._status(gateway) if line.startswith("Uid:")}
            assert int(uid) == USER, uid
            told(*gateway.words(*self._health_check()))
        return f"user {uid}, healthy, finishes its requests after SIGTERM"

    def event_loop(self) -> str:
        """The gateway runs on uvloop, and on epoll if C{AUTHOTRON_LOOP} says so."""
        place = "/etc/authotron/authotron.yaml"
        for environ, loop in (({}, "uvloop"), ({"AUTHOTRON_LOOP": "epoll"}, "epoll")):
            with self._running(place, free_port(), environ=environ) as gateway:
                self._answers(gateway)
                log = gateway.log.read_text()
                assert f"({loop})" in log, log
        return "uvloop by default, epoll by AUTHOTRON_LOOP"

    def moved(self) -> str:
        """
        The command, the working directory and the default path of the image of auth-o-tron are
        those of this image, too.
        """
        with self._running("/app/config.yaml", free_port(), ("/app/authotron",)) as gateway:
            self._answers(gateway)
        return "/app/authotron runs /app/config.yaml"

    def named(self) -> str:
        """C{AOT_CONFIG_PATH} names another file, and variables have precedence over its values."""
        port = free_port()
        place = "/etc/auth-o-tron/config.yaml"
        environ = {"AOT_CONFIG_PATH": place, "AOT_SERVER__PORT": str(port)}
        with self._running(place, port, written=free_port(), environ=environ) as gateway:
            self._answers(gateway)
        return f"{place} with the port of a variable"

    def missing(self) -> str:
        """Without a configuration the gateway says which file is missing, and ends with 78."""
        gateway = Gateway(
            self.builder,
            self.builder.container(self.image),
            free_port(),
            {},
            self.image.command,
            {},
            self.folder / "missing.log",
        )
        done = subprocess.run(
            gateway.words(*self.image.command),
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 78, (done.returncode, done.stdout, done.stderr)
        assert "/etc/authotron/authotron.yaml" in done.stderr, done.stderr
        return "status 78"

    @contextmanager
    def _running(
        self,
        place: str,
        port: int,
        command: Sequence[str] = (),
        *,
        written: int = 0,
        environ: Mapping[str, str] | None = None,
    ) -> Iterator[Gateway]:
        """Run the image with a configuration at C{place}, and stop it."""
        file = self.folder / "config.yaml"
        file.write_text(json.dumps(configuration(written or port, free_port())))
        file.chmod(0o644)
        gateway = Gateway(
            self.builder,
            self.builder.container(self.image),
            port,
            {place: file},
            command or self.image.command,
            environ or {},
            self.folder / "gateway.log",
        )
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.stop()
        log = gateway.log.read_text()
        assert "has stopped" in log, log

    def _answers(self, gateway: Gateway) -> None:
        statuses = [
            wire.ask(gateway.port, "/authenticate", headers=headers).status
            for headers in ({}, ALICE)
        ]
        assert statuses == [401, 200], statuses
        assert SECRET not in gateway.log.read_text()

    def _status(self, gateway: Gateway) -> Sequence[str]:
        return Path(f"/proc/{gateway.pid()}/status").read_text().splitlines()

    def _health_check(self) -> Sequence[str]:
        kind, *words = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD", kind
        return list(words)


def main() -> int:
    """Take each step, and print what was seen."""
    failed = passed = 0
    base = CHECKOUT / ".venv" / "image-base.tar"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        builder = Builder(Path(folder, "storage"), base)
        tries = Tries(builder, Path(folder))
        steps = ("base", "build", "small", "documented", "event_loop", "moved", "named", "missing")
        for name in steps:
            began = time.monotonic()
            try:
                seen = getattr(tries, name)()
            except Exception:  # noqa: BLE001 - whatever it is, it is shown, and the step has failed
                failed += 1
                seen = traceback.format_exc()
            else:
                passed += 1
            print(f"{name:12} {time.monotonic() - began:6.1f} s  {seen}", flush=True)
        builder.remove()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
