"""The wheel of the library, and environments that it is installed into."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """
    Return what a command prints.

    @raise AssertionError: the command failed.
    """
    kept = {name: os.environ[name] for name in os.environ if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        check=False,
        cwd=cwd or folder(),
        env=kept,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@cache
def folder() -> Path:
    """A folder for this run of the tests, far from the checkout."""
    made = Path(mkdtemp())
    atexit.register(shutil.rmtree, made)
    return made


@cache
def wheel() -> Path:
    """Build the wheel, from a copy, so that what was built before is not in it."""
    copy = folder() / "source"
    for part in ("client", "authotron/client"):
        shutil.copytree(
            ROOT / part, copy / part, ignore=shutil.ignore_patterns("build", "*.egg-info")
        )
    for part in ("authotron/__init__.py", "authotron/__main__.py", "authotron/py.typed"):
        shutil.copy(ROOT / part, copy / part)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(
        *pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder(), copy / "client"
    )
    [found] = folder().glob("authotron_client-*.whl")
    return found


@cache
def constraints() -> Path:
    """What is installed in the versions of the lock file; what that needs depends on the Python."""
    lock = (ROOT / "client" / "requirements.lock").read_text(encoding="utf-8")
    path = folder() / "constraints"
    chosen = re.findall(r"^(?:cryptography|pyjwt|twisted)==\S+", lock, re.MULTILINE)
    path.write_text("\n".join(chosen), encoding="utf-8")
    return path


@cache
def pythons() -> dict[str, Path]:
    """The interpreters of this machine, by version."""
    found: dict[str, Path] = {}
    places = os.environ.get("PATH", "").split(os.pathsep)
    managed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [Path(place, f"python{v}") for place in places for v in VERSIONS]
    candidates += [each / "bin" / "python3" for each in sorted(managed.glob("3.*"))]
    for path in filter(Path.exists, candidates):
        version = version_of(path)
        if version in VERSIONS:
            found.setdefault(version, path)
    return found


def version_of(python: Path) -> str:
    """Return major and minor version, or nothing for what is not an interpreter."""
    code = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run(
        [str(python), "-c", code], capture_output=True, check=False, text=True, timeout=SECONDS
    )
    return done.stdout.strip()


@cache
def environment(version: str, *others: str) -> Path:
    """Return the interpreter of a new environment with the wheel, and what the wheel needs."""
    place = folder() / f"python-{version}"
    run(pythons()[version], "-m", "venv", place)
    python = place / "bin" / "python"
    install(python, [str(wheel())])
    return python


def install(python: Path, what: Iterable[str]) -> None:
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    run(python, *pip, "--constraint", constraints(), *what)
