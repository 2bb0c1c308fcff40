"""The fixtures for pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = """
import urllib.request

import pytest

from authotron.client import InvalidToken, Unavailable


def test_user(authotron_user, authotron_headers, authotron_gateway):
    assert authotron_user.subject == "test-alice"
    found = authotron_gateway.verifier().authenticate([authotron_headers["Authorization"]])
    assert found == authotron_user


@pytest.mark.authotron_user("bob", realm="cloud", roles=["admin"])
@pytest.mark.authotron_gateway(audience="api", algorithm="HS256")
def test_markers(authotron_user, authotron_headers, authotron_gateway):
    found = authotron_gateway.verifier().authenticate([authotron_headers["Authorization"]])
    assert (found.subject, found.roles) == ("cloud-bob", ("admin",))
    assert found.claims["aud"] == "api"


def test_outage(authotron_user, authotron_gateway):
    authotron_gateway.fail_on("jwks")
    with pytest.raises(Unavailable):
        authotron_gateway.verifier().verify(authotron_gateway.mint(authotron_user))


def test_server(authotron_server):
    with urllib.request.urlopen(f"{authotron_server}/health") as response:
        assert response.read() == b"OK"


def test_new_gateway(authotron_gateway):
    assert authotron_gateway.requests == []
"""


class PytestTests(SynchronousTestCase):
    """pytest in a process of its own."""

    def run_pytest(self, sample: str, *options: str) -> tuple[int, str]:
        with TemporaryDirectory() as folder:
            Path(folder, "test_sample.py").write_text(sample)
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "authotron.client.pytest_plugin",
                 "--strict-markers", "-p", "no:cacheprovider", *options],
                capture_output=True, check=False, cwd=folder, text=True, timeout=600,
                env={"PYTHONPATH": str(ROOT), "PATH": ""},
            )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def test_fixtures(self) -> None:
        """Fixtures and markers do what they say."""
        status, output = self.run_pytest(SAMPLE)
        self.assertEqual(status, 0, output)
        self.assertIn("5 passed", output)

    def test_light(self) -> None:
        """Pytest loads neither PyJWT nor cryptography for tests that need no user."""
        sample = "import sys\ndef test():\n    assert not {'jwt', 'cryptography'} & {*sys.modules}"
        status, output = self.run_pytest(sample)
        self.assertEqual(status, 0, output)
