"""C{AUTH_SERVICE_TOKEN} configures a gateway without a file."""

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
from authotron.model.request import Presented
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import world

TOKEN = "a-token-of-more-than-32-characters"


class SingleTokenTests(SynchronousTestCase):
    """The gateway accepts one bearer token."""

    def made(self, **environ: str) -> Config:
        return single_token.configuration(environ, Path())

    def status(self, authorization: str, **environ: str) -> int:
        gateway = compose(self.made(**environ), world(Clock()), Metrics())
        decision: Any = gateway.decisions.decide(Presented(authorization.encode()))
        return int(decision.reply.status)

    def test_configured_token_is_accepted(self) -> None:
        """The configured bearer token is accepted."""
        self.assertEqual(self.status(f"Bearer {TOKEN}", AUTH_SERVICE_TOKEN=TOKEN), 200)
        self.assertEqual(self.status(f"Bearer {TOKEN}x", AUTH_SERVICE_TOKEN=TOKEN), 401)

    def test_unusable_token_answers_500(self) -> None:
        """
        Without a usable token a request with a bearer token gets a 500, and a warning is
        logged.
        """
        unfit = ("a token of words that is long enough", f"{TOKEN},{TOKEN}", f"aot_{TOKEN}")
        for token in ("", "short", "x" * 31, "é" * 40, *unfit):
            self.assertEqual(self.status("Bearer x", AUTH_SERVICE_TOKEN=token), 500, token)
            self.assertIn("AUTH_SERVICE_TOKEN", str(self.made(AUTH_SERVICE_TOKEN=token).warnings))

    def test_unfilled_token_is_rejected_S_PLACEHOLDER(self) -> None:
        """A token that is an unfilled placeholder is rejected, with a warning."""
        token = "${AUTH_SERVICE_TOKEN_OF_THE_ONLY_CLIENT}"
        self.assertEqual(self.status(f"Bearer {token}", AUTH_SERVICE_TOKEN=token), 500)
        self.assertIn("placeholder", str(self.made(AUTH_SERVICE_TOKEN=token).warnings))

    def test_small_heads_H_HEADS(self) -> None:
        """Request lines and heads may have 8 KiB: the configuration has no way to change that."""
        server = self.made(AUTH_SERVICE_TOKEN=TOKEN).file.server
        self.assertEqual(server.max_header_bytes, 8192)

    def test_minimum_length(self) -> None:
        """C{MIN_AUTH_SERVICE_TOKEN_LEN} is the minimum length of the token."""
        little = {"AUTH_SERVICE_TOKEN": "x" * 16, "MIN_AUTH_SERVICE_TOKEN_LEN": "16"}
        self.assertEqual(self.status(f"Bearer {'x' * 16}", **little), 200)
        self.assertEqual(
            self.status(
                f"Bearer {TOKEN}", AUTH_SERVICE_TOKEN=TOKEN, MIN_AUTH_SERVICE_TOKEN_LEN="64"
            ),
            500,
        )

    def test_host_port_and_level(self) -> None:
        """HOST, PORT and LOG_LEVEL are read; there is no second port."""
        file = self.made(HOST="127.0.0.1", PORT="9999", LOG_LEVEL="warning").file
        self.assertEqual((file.server.host, file.server.port), ("127.0.0.1", 9999))
        self.assertEqual((file.logging.level, file.metrics.enabled), ("warn", False))
        self.assertEqual(self.made().file.server.port, 8081)

    def test_empty_variable_is_unset(self) -> None:
        """An empty variable counts as unset, as compose files pass unset variables on as empty."""
        file = self.made(HOST="", PORT="", LOG_LEVEL="", MIN_AUTH_SERVICE_TOKEN_LEN="").file
        self.assertEqual((file.server.port, file.logging.level), (8081, "info"))

    def test_problem_names_the_variable(self) -> None:
        """A problem names the variable."""
        for name, value in {
            "PORT": "0",
            "LOG_LEVEL": "loud",
            "MIN_AUTH_SERVICE_TOKEN_LEN": "x",
        }.items():
            self.assertIn(name, str(self.assertRaises(ConfigError, self.made, **{name: value})))

    def test_missing_named_file_is_a_problem(self) -> None:
        """A missing file that is named explicitly is a problem, whatever the environment holds."""
        environ = {"AUTH_SERVICE_TOKEN": TOKEN}
        found = load(Path("config.yaml"), environ)
        self.assertEqual(found.providers[0].name, "environment")
        for path, others in ((Path("other.yaml"), environ), (Path("config.yaml"), {})):
            self.assertRaises(ConfigError, load, path, others)

    def test_token_is_not_printed(self) -> None:
        """The configuration does not print the token."""
        self.assertNotIn(TOKEN, repr(self.made(AUTH_SERVICE_TOKEN=TOKEN)))
