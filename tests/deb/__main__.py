"""
Tries a package and prints a table of what was seen.

C{python -m tests.deb [--only STEP]... PACKAGE}

The steps of F{package.py} look at the file, those of F{life.py} and F{faults.py} live with it in a
container. They run in the order below; each begins with a service that runs.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
from attrs import define, field

from tests.deb import container, faults, life, package
from tests.deb.container import Container
from tests.deb.gateway import Gateway
from tests.deb.package import CHECKOUT, Package

OF_THE_FILE: Sequence[Callable[[Package], str]] = (
    package.complete,
    package.manual,
    package.links,
    package.alone,
    package.monitoring,
    package.lintian,
    package.reproducible,
)
OF_ITS_LIFE: Sequence[Callable[[Gateway], str]] = (
    life.install,
    life.files,
    life.first_answer,
    life.by_socket,
    life.edit,
    life.event_loop,
    life.hardened,
    life.speaks_tls,
    life.reload,
    life.bad_reload,
    life.bad_restart,
    life.bad_install,
    life.port_taken,
    life.metrics_port_taken,
    faults.killed,
    faults.worker_killed,
    faults.blocked,
    faults.files_exhausted,
    faults.clock_jumps,
    faults.disk_full,
    faults.slow_request,
    faults.under_load_reload,
    faults.under_load_restart,
    faults.under_load_rolling,
    faults.under_load_upgrade,
    life.keeps_edits,
    life.purge,
)
FRESH = (life.install, life.files, life.first_answer, life.by_socket, life.edit)
"""What comes before there is a configuration to go back to."""


@define(eq=False)
class Table:
    """What was seen, line by line, as soon as it is."""

    only: Sequence[str]
    passed: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)

    def add(self, step: Callable[[], str], name: str, told: Callable[[], str] = str) -> None:
        """Take a step; C{told} says more if it fails."""
        if self.only and name not in self.only:
            return
        began = time.monotonic()
        try:
            observed = step()
        except Exception:  # noqa: BLE001 - whatever it is, it is shown, and the step has failed
            self.failed += 1
            self._show("FAILED", name, began, "see below")
            print(traceback.format_exc(), told(), sep="\n", flush=True)
        else:
            self.passed += 1
            self._show("ok", name, began, observed)

    def _show(self, outcome: str, name: str, began: float, observed: str) -> None:
        took = time.monotonic() - began
        print(f"{outcome:6} {name:20} {took:6.1f} s  {observed}", flush=True)


def look_at(table: Table, under_test: Package) -> None:
    """The steps that need neither a Debian of their own nor root."""
    for step in OF_THE_FILE:
        table.add(partial(step, under_test), step.__name__)


def put_in_and_out(table: Table, under_test: Package) -> None:
    """The step in a root of its own that is not booted."""
    table.add(lambda: package.piuparts(under_test), "piuparts")


def live_with(table: Table, under_test: Package) -> None:
    """The steps in a container, with one gateway from its installation to its end."""
    newer = under_test.newer()
    home = Container(under_test.base, under_test.folder / "life", "authotron-life")
    gateway = Gateway(home, under_test.path, newer)
    home.mount()
    try:
        home.boot()
        cursor = gateway.now()
        for step in OF_ITS_LIFE:
            if step is life.edit:
                gateway.put_nginx_in_front()
            table.add(
                partial(_taken, gateway, step),
                step.__name__,
                lambda: "\n".join(gateway.journal(cursor).splitlines()[-60:]),
            )
    finally:
        home.power_off()


def _taken(gateway: Gateway, step: Callable[[Gateway], str]) -> str:
    if step not in FRESH:
        gateway.usual()
    return step(gateway)


def own_tests(table: Table, under_test: Package) -> None:
    """The tests that the package brings, in a container that has what runs them."""
    home = Container(under_test.base, under_test.folder / "own", "authotron-own")
    home.mount()
    try:
        home.install("autopkgtest", "dpkg-dev")
        shutil.copytree(CHECKOUT / "debian", home.root / "root/source/debian")
        shutil.copy(under_test.path, home.root / "root")
        home.boot()
        gateway = Gateway(home, under_test.path, under_test.path)
        table.add(lambda: life.autopkgtest(gateway), "autopkgtest")
    finally:
        home.power_off()


@click.command()
@click.option("--only", multiple=True, help="Take only this step (may be repeated).")
@click.option("--file", "file_only", is_flag=True, help="Only look at the file; needs no root.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def main(path: Path, only: Sequence[str], *, file_only: bool) -> None:
    """Try a package."""
    base = CHECKOUT / ".venv" / "bookworm"
    if not file_only:
        if (reason := container.why_not()) is not None:
            sys.exit(f"The package cannot be tested here: {reason}")
        container.bootstrap(base)
    table = Table(only)
    with tempfile.TemporaryDirectory() as folder:
        under_test = Package(path.absolute(), base, Path(folder))
        look_at(table, under_test)
        for part in () if file_only else (put_in_and_out, live_with, own_tests):
            part(table, under_test)
    print(f"{table.passed} passed, {table.failed} failed")
    sys.exit(1 if table.failed else 0)


main()
