"""The library as it is installed: alone, on every Python, and with types."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.backends.wheels import ROOT, environment, folder, install, pythons, run, wheel

OLDEST = "3.10"
SAMPLE = """
import sys
import authotron.client
loaded = {"jwt", "cryptography", "asyncio", "ssl"} & {*sys.modules}
assert not loaded, loaded
from authotron.client import Client, User, Verifier
from authotron.client.testing import FakeGateway, serve
for algorithm in ("ES256", "EdDSA", "RS256", "HS256"):
    gateway = FakeGateway(algorithm=algorithm, audience="archive")
    gateway.add_token(User("internal", "alice", ("reader",)), "opaque")
    with serve(gateway) as url:
        found = Client(url, gateway.verifier()).authenticate("Bearer opaque")
        assert found.user.username == "alice"
print(authotron.client.__file__)
"""


def newest() -> str:
    """
    The newest Python of this machine.

    @raise SkipTest: it has none but the one that runs the tests. Under CI it must.
    """
    found = max(pythons(), key=lambda version: int(version.partition(".")[2]))
    if found == f"3.{sys.version_info[1]}":
        if "CI" in os.environ:
            raise AssertionError("no newer Python is installed")
        raise SkipTest("no newer Python is installed")
    return found


class WheelTests(SynchronousTestCase):
    """C{pip install} of the wheel in environments that have nothing else."""

    def check(self, version: str) -> None:
        """The library brings what it needs, and its tests pass."""
        python = environment(version)
        listed = run(python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
        names = {line.partition("==")[0].lower() for line in listed.splitlines()}
        needed = {"authotron-client", "pyjwt", "cryptography", "cffi", "pycparser"}
        if version == "3.10":
            needed.add("typing_extensions")  # of cryptography and PyJWT, before Python 3.11
        self.assertEqual(names - {"pip", "setuptools"}, needed)
        self.assertTrue(run(python, "-c", SAMPLE).startswith(str(folder())))
        install(python, ["hypothesis", "twisted"])
        place = folder() / f"tests-{version}"
        shutil.copytree(ROOT / "tests" / "client", place / "tests" / "client")
        place.joinpath("tests", "__init__.py").touch()
        output = run(python, "-m", "twisted.trial", "tests.client", cwd=place)
        self.assertRegex(output, r"\nPASSED \(successes=\d{2,}\)")

    def test_this_python(self) -> None:
        """The Python that runs these tests."""
        self.check(f"3.{sys.version_info[1]}")

    def test_oldest_python(self) -> None:
        """The oldest Python that the library promises to run on."""
        if OLDEST not in pythons() and "CI" not in os.environ:
            raise SkipTest(f"Python {OLDEST} is not installed")
        self.check(OLDEST)

    def test_newest_python(self) -> None:
        """The newest Python of this machine."""
        self.check(newest())

    def test_content(self) -> None:
        """The wheel has the library and nothing of the gateway."""
        listed = run(sys.executable, "-m", "zipfile", "-l", wheel())
        names = [line.split()[0] for line in listed.splitlines()[1:]]
        allowed = ("authotron/client/", "authotron/__init__.py", "authotron/py.typed",
                   "authotron_client-")  # fmt: skip
        self.assertEqual([name for name in names if not name.startswith(allowed)], [])
        modules = {
            f"authotron/client/{path.relative_to(ROOT / 'authotron/client').as_posix()}"
            for path in (ROOT / "authotron" / "client").rglob("*.py")
        }
        self.assertEqual(modules - {*names}, set())


class TypesTests(SynchronousTestCase):
    """A service of a user, checked strictly against the library as it is installed."""

    def setUp(self) -> None:
        self.project = folder() / "project"
        if not self.project.exists():
            self.project.mkdir()
            packages = sysconfig.get_path("purelib")
            run(sys.executable, "-m", "venv", "--without-pip", self.project / "venv")
            version = f"python3.{sys.version_info[1]}"
            site = self.project / "venv" / "lib" / version / "site-packages"
            site.joinpath("frameworks.pth").write_text(f"{packages}\n")
            pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
            run(*pip, "install", "--no-deps", "--target", site, wheel())
            shutil.copy(ROOT / "tests/backends/typed/service.py", self.project)
        self.python = self.project / "venv" / "bin" / "python"

    def test_mypy(self) -> None:
        """Mypy finds nothing in strict mode."""
        options = ["--strict", "--python-executable", str(self.python), "--cache-dir", os.devnull]
        run(sys.executable, "-m", "mypy", *options, "service.py", cwd=self.project)

    def test_pyright(self) -> None:
        """Pyright finds nothing in strict mode."""
        self.project.joinpath("pyrightconfig.json").write_text(
            '{"typeCheckingMode": "strict", "include": ["service.py"]}'
        )
        command = [sys.executable, "-m", "pyright", "--pythonpath", str(self.python)]
        self.assertIn("0 errors", run(*command, cwd=self.project))
