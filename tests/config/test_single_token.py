"""The environment alone as a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import single_token
from authotron.config.check import Config
from authotron.config.file import load
from authotron.daemon.compose import compose
from authotron.model.errors import ConfigError
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import world

TOKEN = "a-token-of-more-than-32-characters"


class BareTests(SynchronousTestCase):
    """One token, and nobody else."""

    def made(self, **environ: str) -> Config:
        return single_token.configuration(environ, Path())

    def status(self, authorization: str, **environ: str) -> int:
        gateway = compose(self.made(**environ), world(Clock()), Metrics())
        decision: Any = gateway.decisions.decide(authorization.encode(), None)
        return int(decision.reply.status)

    def test_token(self) -> None:
        """It is the one that gets in."""
        self.assertEqual(self.status(f"Bearer {TOKEN}", AUTH_SERVICE_TOKEN=TOKEN), 200)
        self.assertEqual(self.status(f"Bearer {TOKEN}x", AUTH_SERVICE_TOKEN=TOKEN), 401)

    def test_unusable(self) -> None:
        """Without a usable token whoever shows one hears that it is our mistake, and we too."""
        unfit = ("a token of words that is long enough", f"{TOKEN},{TOKEN}", f"aot_{TOKEN}")
        for token in ("", "short", "x" * 31, "é" * 40, *unfit):
            self.assertEqual(self.status("Bearer x", AUTH_SERVICE_TOKEN=token), 500, token)
            self.assertIn("AUTH_SERVICE_TOKEN", str(self.made(AUTH_SERVICE_TOKEN=token).warnings))

    def test_placeholder_S_PLACEHOLDER(self) -> None:
        """A token that nothing has filled in lets no client in, and is told."""
        token = "${AUTH_SERVICE_TOKEN_OF_THE_ONLY_CLIENT}"
        self.assertEqual(self.status(f"Bearer {token}", AUTH_SERVICE_TOKEN=token), 500)
        self.assertIn("placeholder", str(self.made(AUTH_SERVICE_TOKEN=token).warnings))

    def test_length(self) -> None:
        """How long it must be can be said."""
        little = {"AUTH_SERVICE_TOKEN": "x" * 16, "MIN_AUTH_SERVICE_TOKEN_LEN": "16"}
        self.assertEqual(self.status(f"Bearer {'x' * 16}", **little), 200)
        self.assertEqual(
            self.status(
                f"Bearer {TOKEN}", AUTH_SERVICE_TOKEN=TOKEN, MIN_AUTH_SERVICE_TOKEN_LEN="64"
            ),
            500,
        )

    def test_where(self) -> None:
        """Host, port and level are its own variables; there is no second port."""
        file = self.made(HOST="127.0.0.1", PORT="9999", LOG_LEVEL="warning").file
        self.assertEqual((file.server.host, file.server.port), ("127.0.0.1", 9999))
        self.assertEqual((file.logging.level, file.metrics.enabled), ("warn", False))
        self.assertEqual(self.made().file.server.port, 8081)

    def test_empty(self) -> None:
        """An empty variable, as compose files pass on what is not set, is as good as none."""
        file = self.made(HOST="", PORT="", LOG_LEVEL="", MIN_AUTH_SERVICE_TOKEN_LEN="").file
        self.assertEqual((file.server.port, file.logging.level), (8081, "info"))

    def test_mistakes(self) -> None:
        """What is wrong is told by the name of the variable."""
        for name, value in {
            "PORT": "0",
            "LOG_LEVEL": "loud",
            "MIN_AUTH_SERVICE_TOKEN_LEN": "x",
        }.items():
            self.assertIn(name, str(self.assertRaises(ConfigError, self.made, **{name: value})))

    def test_only_without_a_file(self) -> None:
        """A file that is asked for and missing is a mistake, whatever the environment holds."""
        environ = {"AUTH_SERVICE_TOKEN": TOKEN}
        found = load(Path("config.yaml"), environ)
        self.assertEqual(found.providers[0].name, "environment")
        for path, others in ((Path("other.yaml"), environ), (Path("config.yaml"), {})):
            self.assertRaises(ConfigError, load, path, others)

    def test_no_secret(self) -> None:
        """The token is not shown by what was made of it."""
        self.assertNotIn(TOKEN, repr(self.made(AUTH_SERVICE_TOKEN=TOKEN)))
