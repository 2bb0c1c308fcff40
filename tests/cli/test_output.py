"""Output of commands cannot control the terminal, whatever its source."""

from __future__ import annotations

import ast
import io
import json
import os
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import click
import jwt
import yaml
from click.testing import CliRunner
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli import (
    doctor,
    explain,
    import_tokens,
    output,
    tokens,
)
from authotron.cli.token_sources import SkippedToken
from authotron.cli.token_table import table
from authotron.config import check
from authotron.daemon.compose import compose
from authotron.daemon.tap import Options
from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.plugin.interfaces import CheckResult
from authotron.telemetry.metrics import Metrics
from authotron.telemetry.terminal import visible
from authotron.testing.contracts import make_token
from authotron.testing.worlds import NOW, world
from authotron.web.token_bodies import token_as_json
from tests.cli.cases import CommandCase
from tests.config.cases import BASE, laid_over

EVIL = "a\x1b[2J\x1b]0;x\x07\x9b31m\x7f\r\n\x08\u202eb\u2028\ud800"
"""Escapes of two kinds, a bell, DEL, line ends, a change of direction, half a surrogate pair."""

TAME = EVIL.replace("\ud800", "")
"""What can stand in a file as well."""


class OutputCase(CommandCase):
    """Runs a command and checks that its output cannot control the terminal."""

    def printed(self, work: Any) -> str:
        """Return what a function prints."""

        @click.command()
        def command() -> None:
            work()

        result = CliRunner().invoke(command)
        self.assertIsNone(result.exception)
        return result.output

    def assert_harmless(self, shown: str, *parts: str) -> None:
        for line in shown.split("\n"):
            self.assertTrue(line.isprintable(), ascii(line))
        for part in parts:
            self.assertIn(part, shown)


class VisibleTests(SynchronousTestCase):
    """Characters that are not printable are escaped."""

    def test_escapes_what_is_not_printable_T91h(self) -> None:
        """Characters that are not printable are escaped as in JSON; all others are unchanged."""
        shown = visible(EVIL)
        self.assertTrue(shown.isascii() and shown.isprintable())
        self.assertEqual(json.loads(f'"{shown}"'), EVIL)
        self.assertEqual(visible("Zoë 雪 \\ \U0001f600"), "Zoë 雪 \\ \U0001f600")


class CommandTests(OutputCase):
    """Each command that prints text of other origin escapes it."""

    def test_jwt_decode_escapes_T91h(self) -> None:
        """C{jwt decode} escapes names and values of claims and headers."""
        path = self.file()
        secret = BASE["jwt"]["secret"]
        claims = {"exp": 4_000_000_000, "iss": BASE["jwt"].get("iss", "authotron"), EVIL: [EVIL]}
        text = jwt.encode(claims, secret, "HS256", {"kid": TAME})
        result = self.run_command("jwt", "decode", "-c", path, text=text)
        self.assert_harmless(result.output)
        bad = self.run_command("jwt", "decode", "-c", path, text=text[:-4] + TAME)
        self.assert_harmless(bad.output)

    def test_explain_escapes_T91h(self) -> None:
        """C{explain} escapes claims and log events."""
        found = check.check(laid_over(BASE, {}))
        composed = compose(found, world(), Metrics())
        found_evil = Authentication(Identity("internal", EVIL, (EVIL,), {EVIL: EVIL}))
        shown = self.printed(
            lambda: explain.Report().accept(composed.minter.claims(found_evil, NOW))
        )
        self.assert_harmless(shown, "\\u001b[2J")
        event = {"event": "auth.x", "log_format": "{x}", "x": EVIL}
        self.assert_harmless(self.printed(lambda: explain.Report()(event)), "\\u001b[2J")

    def test_doctor_escapes_T91h(self) -> None:
        """C{doctor} escapes answers of remote services and directories."""
        shown = self.printed(lambda: doctor._print(CheckResult(EVIL, good=False, detail=EVIL)))
        self.assert_harmless(shown, "\\u001b[2J")

    def test_check_escapes_T91h(self) -> None:
        """C{check} escapes keys and values of the configuration."""
        for over in (
            {TAME: 1},
            {"jwt": {TAME: 1}},
            {"providers": [{"type": TAME, "name": TAME, "realm": TAME}]},
            {"providers": [{"type": "plain", "name": TAME, "realm": TAME, "users": [{TAME: 1}]}]},
            {"providers": [{"type": "plain", "name": "x\u202e", "realm": "\x9b", "users": []}]},
            {"jwt": {"iss": TAME}},
            {"server": {"host": TAME}},
            {"store": {"type": "sqlite", "path": f"{TAME}.db"}},
        ):
            with self.subTest(str(over)):
                path = self.file(**over)
                self.assert_harmless(self.run_command("check", path).output)
                with redirect_stderr(io.StringIO()) as told:
                    self.assertRaises(
                        SystemExit, Options().parseOptions, ["--check", "--config", path]
                    )
                self.assert_harmless(told.getvalue())

    def test_check_escapes_errors_T91h(self) -> None:
        """C{check} escapes errors of YAML and of environment variables."""
        path = Path(self.file())
        path.write_text(f'version: \'2.0.0\'\n"{visible(TAME)}": 1\n"{visible(TAME)}": 2\n')
        self.assert_harmless(self.run_command("check", str(path)).output)
        path.write_text(f"a: [\n# {TAME}")
        self.assert_harmless(self.run_command("check", str(path)).output)
        environ = {"AOT_SERVER__PORT": TAME, f"AOT_{TAME}": "x"}
        self.assert_harmless(self.run_command("check", self.file(), **environ).output)

    def test_migrate_escapes_T91h(self) -> None:
        """C{migrate} escapes values of variables, and the YAML keeps its meaning."""
        for name in ("é", TAME):
            environ = {"REDIS_HOST": "redis", "PEPPER": f"pepper of 16 bytes {name}"}
            kept = {key: "" for key in os.environ if key.startswith(("REDIS_", "ADMIN_"))}
            result = self.run_command("migrate", "acl-proxy", **kept, **environ)
            self.assert_harmless(result.output)
            if result.exit_code == 0:
                found = yaml.safe_load(result.output)
                self.assertEqual(found["store"]["acl_proxy_pepper"], environ["PEPPER"])

    def test_import_escapes_T91h(self) -> None:
        """C{tokens import} escapes the name of a skipped token and the reason."""
        unused: Any = None
        run = import_tokens._Import(unused, unused, unused, dry_run=False)
        item = SkippedToken(EVIL, EVIL)

        def take() -> None:
            Deferred.fromCoroutine(run._process(item))

        self.assert_harmless(self.printed(take), "skipped: a\\u001b[2J")

    def test_tokens_escapes_T91h(self) -> None:
        """C{tokens list} and C{show} escape names, owners and comments of API tokens."""
        each = make_token(EVIL, realm=EVIL, name=EVIL, comment=EVIL)
        lines = "\n".join(table([each], NOW))
        self.assert_harmless(self.printed(lambda: output.say_as_it_is(lines)), "\\u001b[2J")
        row = token_as_json(each)
        self.assert_harmless(self.printed(lambda: output.say_json(row)))

    def test_only_output_prints_T91h(self) -> None:
        """Commands print by C{cli.output} alone."""
        for path in (Path(tokens.__file__).parent).glob("*.py"):
            if path.name == "output.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    called = ast.unparse(node.func)
                    with self.subTest(f"{path.name}:{node.lineno}"):
                        self.assertNotIn(called, ("print", "click.echo", "click.secho"))


del OutputCase
