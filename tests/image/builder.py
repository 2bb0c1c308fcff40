"""
The container image, built by buildah from the Dockerfile.

The image that the Dockerfile begins with comes from an image registry. buildah gets a substitute
under that name, made of Debian packages, so that the image can be built without an image registry.
The substitute has the release of Debian and the version of Python that the Dockerfile names.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, frozen

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = "ca-certificates,python-is-python3,python3-venv"
"""What an official image of Python contains, as Debian packages."""

_OF_THIS_MACHINE = (Path("/etc/ssl/certs"), Path("/etc/pip.conf"))
"""How pip reaches its package index on this machine; mounted while the image is built."""


class Failed(AssertionError):
    """A command did not do what it should."""


def told(*command: str, seconds: float = 600) -> str:
    """
    Run a command and return its output.

    @raise Failed: the exit status of the command is not 0.
    """
    done = subprocess.run(
        command,
        check=False,
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}")
    return done.stdout


@frozen
class Image:
    """What an image says about itself."""

    name: str
    config: Mapping[str, Any]

    @property
    def command(self) -> Sequence[str]:
        """The command line of a container that gets no other one."""
        return [*self.config["Entrypoint"], *self.config["Cmd"]]


@define(eq=False)
class Builder:
    """
    Builds images and runs commands in containers, with a storage of its own.

    @ivar folder: the storage; it is removed by L{remove}.
    @ivar base: an archive of the substitute, made once and kept.
    """

    folder: Path
    base: Path

    def buildah(self, *words: str) -> Sequence[str]:
        """The command line of buildah with the storage of this builder."""
        places = ("--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"))
        return ["buildah", *places, "--storage-driver", "overlay", *words]

    def run(self, *words: str) -> str:
        """Run a command of buildah."""
        return told(*self.buildah(*words)).strip()

    def prepare(self) -> str:
        """Make the substitute, and give it the name that the Dockerfile begins with."""
        [name] = set(re.findall(r"(?m)^FROM (\S+)", (CHECKOUT / "Dockerfile").read_text()))
        found = re.fullmatch(r"python:(\d\.\d+)-slim-(\w+)", name)
        assert found is not None, f"the Dockerfile begins with {name}"
        version, release = found.groups()
        if not self.base.exists():
            self._bootstrap(release)
        container = self.run("from", "scratch")
        self.run("add", container, str(self.base))
        python = self.run("run", "--isolation", "chroot", container, "--", "python", "--version")
        assert python.startswith(f"Python {version}."), python
        self.run("commit", "--rm", container, f"docker.io/library/{name}")
        return f"{name} made of Debian packages, {python}"

    def _bootstrap(self, release: str) -> None:
        self.base.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.base.with_suffix(".new.tar")
        words = ["--quiet", "--variant=minbase", f"--include={PACKAGES}", release]
        told("mmdebstrap", *words, str(unfinished))
        unfinished.rename(self.base)

    def build(self, name: str) -> Image:
        """Build the image from the Dockerfile and the files of the checkout."""
        volumes = [f"--volume={path}:{path}:ro" for path in _OF_THIS_MACHINE if path.exists()]
        words = ["--isolation=chroot", "--format=docker", "--pull=never", "--layers=false"]
        self.run("build", *words, *volumes, "--tag", name, ".")
        found = json.loads(self.run("inspect", "--type", "image", name))
        return Image(name, found["Docker"]["config"])

    def container(self, image: Image) -> str:
        """Make a container of an image."""
        return self.run("from", "--pull=never", image.name)

    def remove(self) -> None:
        """Remove the containers and the storage."""
        self.run("rm", "--all")
        shutil.rmtree(self.folder, ignore_errors=True)
