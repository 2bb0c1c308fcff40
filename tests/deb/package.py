"""The package without starting anything: complete, built the same twice, and as Debian wants it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import click
from attrs import frozen

from authotron.cli.main import main
from tests.deb.container import RELEASE, Failed

CHECKOUT = Path(__file__).parents[2]


@frozen
class Package:
    """
    A package that was built.

    @ivar path: the file.
    @ivar base: a small Debian to install it into.
    @ivar folder: for what comes up meanwhile.
    """

    path: Path
    base: Path
    folder: Path

    def content(self) -> list[str]:
        """One line for each file, as C{dpkg-deb --contents} shows it."""
        return told("dpkg-deb", "--contents", str(self.path)).splitlines()

    def unpacked(self) -> Path:
        """Its files, and what it does when it is installed under C{DEBIAN}."""
        folder = self.folder / "unpacked"
        if not folder.exists():
            told("dpkg-deb", "--raw-extract", str(self.path), str(folder))
        return folder

    def newer(self) -> Path:
        """The same with a higher version, another default configuration, and fast to make."""
        folder = self.folder / "newer"
        told("dpkg-deb", "--raw-extract", str(self.path), str(folder))
        control = folder / "DEBIAN" / "control"
        control.write_text(
            re.sub(r"(?m)^Version: (.*)$", r"Version: \1+newer", control.read_text())
        )
        for name, text in (
            ("etc/authotron/authotron.yaml", "# newer\n"),
            ("usr/lib/authotron/authotron/__init__.py", '__version__ += "+newer"\n'),
        ):
            with (folder / name).open("a") as file:
                file.write(text)
        made = self.folder / self.path.name.replace("_", "+newer_", 1)
        told("dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", str(folder), str(made))
        return made


def told(*command: str, **over: str) -> str:
    """
    What a command says.

    @raise Failed: its exit status is not 0.
    """
    done = subprocess.run(
        command,
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, **over},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}")
    return done.stdout


def lintian(package: Package) -> str:
    """Lintian finds nothing, not even the pettiest."""
    changes = str(package.path.with_suffix(".changes"))
    found = told(
        "lintian",
        "--allow-root",
        "-EvIL",
        "+pedantic",
        "--fail-on",
        "info,pedantic,warning,error",
        changes,
    )
    remarks = re.findall(r"^[EWIPX]: .*", found, re.MULTILINE)
    assert not remarks, "\n".join(remarks)
    overridden = re.search(r"(\d+) hints? overridden|overridden", found)
    return "nothing to say" + (f" ({overridden[0]})" if overridden else "")


def complete(package: Package) -> str:
    """A page for each command, completions, a licence for each library, and no rubbish."""
    names = [line.split(" ./", 1)[1] for line in package.content()]
    pages = {
        f"usr/share/man/man1/{page}.1.gz"
        for page in _pages(click.Context(main, info_name="authotron"))
    }
    completions = {
        "usr/share/bash-completion/completions/authotron",
        "usr/share/zsh/vendor-completions/_authotron",
        "usr/share/fish/vendor_completions.d/authotron.fish",
    }
    examples = {
        f"usr/share/doc/authotron/examples/{name}"
        for name in ("nginx/authotron.conf", "authotron.yaml")
    }
    missing = (pages | completions | examples) - set(names)
    assert not missing, f"missing: {missing}"
    rubbish = [
        name
        for name in names
        if re.search(r"\.pyc$|__pycache__|/setuptools/|/tests/\w|direct_url\.json", name)
    ]
    assert not rubbish, rubbish
    libraries = list(package.unpacked().glob("usr/lib/authotron/*.dist-info"))
    bare = [
        each.name
        for each in libraries
        if not any(re.search(r"(?i)licen[sc]e|copying", str(p)) for p in each.rglob("*"))
    ]
    assert not bare, f"without a licence: {bare}"
    return (
        f"{len(pages)} manual pages, 3 completions, {len(libraries)} libraries with their licences"
    )


def _pages(context: click.Context) -> Iterator[str]:
    yield context.command_path.replace(" ", "-")
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None, name
            yield from _pages(click.Context(command, info_name=name, parent=context))


def links(package: Package) -> str:
    """Each link of a page leads to a file of the package."""
    found = 0
    folder = package.unpacked() / "usr/share/doc/authotron"
    for page in sorted(folder.rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            # The link `etc` to `examples` is absolute, so the system would leave the folder.
            path = os.path.normpath(page.parent / target)
            path = path.replace(f"{folder}/etc/", f"{folder}/examples/")
            assert Path(path).exists(), f"{page.name}: {target} is not in the package"
            found += 1
    return f"{found} links, all to files of the package"


def manual(package: Package) -> str:
    """The pages are formatted without a warning."""
    pages = sorted(package.unpacked().glob("usr/share/man/man1/*.gz"))
    for page in pages:
        said = told(
            "man",
            "--warnings",
            "--encoding=UTF-8",
            "--local-file",
            str(page),
            MANROFFSEQ="",
            MANWIDTH="80",
            LC_ALL="C.UTF-8",
        )
        assert "warning:" not in said.lower(), said
    return f"{len(pages)} pages"


def alone(package: Package) -> str:
    """The program needs nothing from elsewhere, and the default configuration is good."""
    root = package.unpacked()
    private = root / "usr/lib/authotron"
    script = (
        f"import sys; sys.path.insert(0, {str(private)!r}); sys.dont_write_bytecode = True; "
        "from authotron.cli.main import main; main(prog_name='authotron')"
    )
    secret = root / "etc/authotron/credentials/jwt-secret"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("x" * 64)
    python = ("/usr/bin/python3", "-IS", "-c", script)
    version = told(*python, "--version").strip()
    said = told(*python, "check", str(root / "etc/authotron/authotron.yaml"))
    assert "is good" in said, said
    plugins = private / "twisted" / "plugins"
    listed = (plugins / "dropin.cache").stat().st_mtime
    newer = [each.name for each in plugins.glob("*.py") if each.stat().st_mtime >= listed]
    assert not newer, f"twistd would read them at every start: {newer}"
    return f"{version} on {told('/usr/bin/python3', '--version').strip()}"


def reproducible(package: Package) -> str:
    """Built again elsewhere, by another clock, language and mask, it is the same, bit for bit."""
    again = package.folder / "again"
    told(
        "sh", "-c", 'umask 077; exec debian/build "$0"', str(again),
        TZ="Pacific/Kiritimati", LC_ALL="C", TMPDIR=str(package.folder), HOME="/nonexistent",
    )  # fmt: skip
    sums = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (package.path, again / package.path.name)
    }
    assert len(sums) == 1, f"they differ: {package.path} {again / package.path.name}"
    return f"sha256 {sums.pop()[:16]}... twice"


def monitoring(package: Package) -> str:
    """Prometheus accepts the rules and the scrape example; the rules do what their tests say."""
    folder = CHECKOUT / "etc" / "prometheus"
    told("promtool", "check", "rules", str(folder / "alerts.yaml"))
    told("promtool", "test", "rules", str(folder / "alerts.test.yaml"))
    told("promtool", "check", "config", "--syntax-only", str(folder / "scrape.yaml"))
    return "promtool: rules, their tests and the scrape configuration are good"


def piuparts(package: Package) -> str:
    """Installed and purged in a root, it leaves nothing behind."""
    archive = package.folder / "base.tgz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(package.base, arcname=".")
    told(
        "piuparts", "--basetgz", str(archive), "--distribution", RELEASE, "--no-eatmydata",
        "--warn-on-leftovers-after-purge", "--tmpdir", str(package.folder), str(package.path),
    )  # fmt: skip
    return "passed"
