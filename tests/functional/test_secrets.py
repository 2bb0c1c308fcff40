"""Marked secrets in configuration and requests appear in no output that must not have them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.plugin import passwords
from tests.functional import wire
from tests.functional.daemon import Daemon, awkward, check, configuration, environment
from tests.functional.wire import Answer, basic
from tests.waiting import DEADLINE

CANARY = "canary"
HASHED = passwords.hash_password("canary-behind-a-hash")
USERS = (
    {"username": "alice", "password": "canary-of-alice"},
    {"username": "bob", "password_hash": HASHED},
)
PROVIDER = {"name": "local", "type": "plain", "realm": "here", "users": list(USERS)}
SIGNING = {"secret": "canary-that-signs-all-the-tokens-here"}
ODD = 'canary\r\x1b[31m"}{%s {0} \\ \u2028 \x85'
"""What would break a log that believes it."""

LOGINS = (
    ("alice", "canary-of-alice"),
    ("bob", "canary-behind-a-hash"),
    ("alice", "canary-guess"),
    ("canary-typed-in-the-wrong-field", "x"),
    ("broken", "canary-in-an-exception"),
    ("unavailable", "canary-in-an-outage"),
)


def found_in(text: str) -> list[str]:
    """Return the lines that contain a secret in clear, in base64 at any offset, or as a hash."""
    shapes = [CANARY, HASHED, *(_base64(shift) for shift in range(3))]
    return [line for line in text.splitlines() if any(shape in line for shape in shapes)]


def _base64(shift: int) -> str:
    """Return the part of the canary's base64 that does not depend on the surrounding text."""
    text = b64encode(b"\0" * shift + CANARY.encode()).decode()
    whole = (shift + len(CANARY)) // 3 * 4
    return text[4 if shift else 0 : whole]


def all_of(answer: Answer) -> str:
    """Return an answer as text, without the token, which is meant for the client."""
    headers = {k: v for k, v in answer.headers.items() if k != "authorization"}
    return f"{answer.status} {headers} {answer.body.decode('utf-8', 'replace')}"


def attack(port: int) -> list[Answer | None]:
    """Send requests with secrets in every place where a client might put one."""
    good = basic("alice", "canary-of-alice")
    answers: list[Answer | None] = [wire.login(port, *pair) for pair in LOGINS]
    answers += [wire.login(port, *pair, path="/whoami") for pair in LOGINS]
    fields = [
        ("Cookie", "session=canary"),
        ("X-Api-Key", "canary"),
        ("X-Request-ID", ODD.encode().decode("latin-1")),
        ("User-Agent", ODD.encode().decode("latin-1")),
        ("Referer", "https://x/?token=canary"),
        ("X-Auth-Realm", "canary"),
        ("X-Forwarded-For", "canary"),
        ("Proxy-Authorization", good),
        ("canary", "canary"),
    ]
    for path in ("/authenticate?token=canary", "/canary", "/%63anary", "/token/canary", "/tokens"):
        for method in ("GET", "DELETE", "CANARY"):
            answers += [wire.say(port, wire.head(path, [field], method)) for field in fields]
            answers.append(wire.say(port, wire.head(path, {"Authorization": good}, method)))
    values = ["Bearer canary", "canary", "Bearer canary canary", "Basic canary", f"{good}, {good}"]
    values += [f"Bearer {ODD.encode().decode('latin-1')}", "Bearer " + "canary" * 5_000]
    answers += [wire.say(port, wire.head("/whoami", {"Authorization": v})) for v in values]
    raws = [
        "canary\r\n\r\n",
        "GET /authenticate HTTP/1.1\r\nHost: canary/../\r\n\r\n",
        "GET /authenticate HTTP/1.1\r\nHost: x\r\nauthorization : canary\r\n\r\n",
        "GET /authenticate HTTP/1.1\r\nHost: x\r\nContent-Length: canary\r\n\r\n",
        f"GET /{'canary' * 2_000} HTTP/1.1\r\n\r\n",
        "POST /tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\ncanary",
    ]
    return answers + [wire.say(port, raw.encode()) for raw in raws]


class SearchTests(SynchronousTestCase):
    """The search of the tests finds secrets."""

    def test_found(self) -> None:
        """A secret is found in clear, and in base64 at any offset."""
        for before in ("", "a", "ab", "abc", "alice:"):
            self.assertEqual(len(found_in(f"x {before}canary x\nx")), 1)
            self.assertEqual(len(found_in(f"x {basic('u', before + 'canary-x')} x\nx")), 1, before)


class CanaryTests(SynchronousTestCase):
    """A daemon with the most verbose log, under attack."""

    def run_with(self, log_format: str) -> Daemon:
        """Return a daemon with secrets, after requests that try to reveal the secrets."""
        logging = {"level": "trace", "format": log_format, "access": "all"}
        daemon = awkward(Path(self.mktemp()), PROVIDER, jwt=SIGNING, logging=logging)
        self.addCleanup(daemon.stop)
        answers = attack(daemon.port)
        for path in ("/", "/providers", "/augmenters", "/health", "/.well-known/jwks.json"):
            answers.append(wire.ask(daemon.port, path))
        for path in ("/metrics", "/ready", "/health", "/canary"):
            answers.append(wire.ask(daemon.operations, path))
        for answer in answers:
            if answer is not None:
                self.assertEqual(found_in(all_of(answer)), [])
        return daemon

    def test_console_T77(self) -> None:
        """No secret is in answers, metrics or console lines, and no line moves the cursor."""
        daemon = self.run_with("console")
        daemon.stop()
        self.assertEqual(found_in(daemon.log()), [])
        self.assertTrue(all(line.isprintable() for line in daemon.log().split("\n")))
        self.assertIn("awkward is broken", daemon.log())

    def test_json_T77(self) -> None:
        """No secret is in JSON lines, and each line is one JSON object."""
        daemon = self.run_with("json")
        daemon.stop()
        self.assertEqual(found_in(daemon.log()), [])
        lines = [json.loads(line) for line in daemon.log().split("\n") if line]
        self.assertGreater(len(lines), len(LOGINS))
        for line in lines:
            self.assertLessEqual({"severityText", "body", "timestamp", "attributes"}, set(line))

    def test_statuses_T60(self) -> None:
        """The failing logins fail as intended, and none is authenticated."""
        daemon = awkward(Path(self.mktemp()))
        self.addCleanup(daemon.stop)
        statuses = [wire.login(daemon.port, *pair).status for pair in LOGINS]
        self.assertEqual(statuses, [401, 401, 401, 401, 503, 503])


class MistakenConfigurationTests(SynchronousTestCase):
    """Messages about an invalid file repeat no secret of the file."""

    def leaks(self, texts: Sequence[str]) -> list[str]:
        """Return the lines of C{--check} that repeat a secret of invalid files."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            told = list(pool.map(lambda n: _check(folder / str(n), texts[n]), range(len(texts))))
        for text, (status, said) in zip(texts, told, strict=True):
            self.assertEqual(status, 78, text + said)
            self.assertNotIn("Traceback", said)
        return [line for _, said in told for line in found_in(said)]

    def test_mistakes_T77(self) -> None:
        """Wrong types, misspelt keys and wrong values reveal no secret in or beside them."""
        mistakes: list[dict[str, Any]] = [
            {"jwt": {"secret": ["canary"]}},
            {"jwt": {"secret": {"canary": "canary"}}},
            {"jwt": {"secret": "canary"}},
            {"jwt": {"sercet": "canary"}},
            {"jwt": {"exp": "canary"}},
            {"jwt": {"secret_file": "nowhere", "secret": "canary"}},
            {"jwt": "canary"},
            {"providers": [{**PROVIDER, "users": [{"username": "a", "password": ["canary"]}]}]},
            {"providers": [{**PROVIDER, "users": [{"username": "a", "passwd": "canary"}]}]},
            {"providers": [{**PROVIDER, "users": [{"username": "a", "password_hash": "canary"}]}]},
            {"providers": [{**PROVIDER, "users": {"a": "canary"}}]},
            {"providers": [{**PROVIDER, "users": "canary"}]},
            {"providers": ["canary"]},
            {"logging": {"level": "canary"}},
            {"surplus": "canary"},
        ]
        texts = [json.dumps(configuration(1, 2, **mistake)) for mistake in mistakes]
        self.assertEqual(self.leaks(texts), [])

    def test_no_yaml_T77(self) -> None:
        """Files that are not YAML, or not a mapping, reveal no secret."""
        texts = (
            "jwt: {secret: canary",
            "jwt:\n  secret: 'canary\n",
            "jwt:\n  secret: canary: canary\n",
            "jwt:\n  secret: !!python/object:canary {}\n",
            "jwt:\n\tsecret: canary\n",
            "jwt: {secret: !canary}\n",
            "jwt: {secret: !canary!canary}\n",
            "jwt: {secret: &canary}\n",
            "jwt: {secret: @canary}\n",
            "jwt: {secret: `canary}\n",
            "jwt: {secret: %canary}\n",
            'jwt: {secret: "\\canary"}\n',
            "jwt: {secret: canary, secret: canary}\n",
            "- canary\n",
            "canary\n",
            "jwt: *canary\n",
        )
        self.assertEqual(self.leaks(texts), [])

    def test_environment_T77(self) -> None:
        """Secrets in environment variables are not revealed."""
        daemon = Daemon(Path(self.mktemp())).configure()
        for name in ("AOT_JWT__SECRET", "AOT_JWT__EXP", "AOT_JWT__SECRET__X", "AOT_PROVIDERS"):
            _, told = check(daemon.file, {name: "canary"})
            self.assertEqual(found_in(told), [], name)


class CommandTests(SynchronousTestCase):
    """Commands that read a valid configuration do not print its secrets."""

    def setUp(self) -> None:
        self.daemon = Daemon(Path(self.mktemp())).configure(jwt=SIGNING, providers=[PROVIDER])

    def test_check_T77(self) -> None:
        """Neither C{twistd --check} nor C{authotron check} prints a secret."""
        first, told = check(self.daemon.file)
        second, more = command(self.daemon.file, "check")
        self.assertEqual((first, second), (0, 0), told + more)
        self.assertEqual(found_in(told + more), [])

    def test_explain_T77(self) -> None:
        """C{authotron explain} prints no secret, and not the credential that it reads."""
        for password, status in (("canary-of-alice", 0), ("canary-guess", 1)):
            done, told = command(self.daemon.file, "explain", said=basic("alice", password))
            self.assertEqual(done, status, told)
            self.assertEqual(found_in(told), [])


def _check(file: Path, text: str) -> tuple[int, str]:
    file.write_text(text)
    file.chmod(0o600)
    return check(file)


def command(file: Path, *words: str, said: str = "") -> tuple[int, str]:
    """Run C{authotron}; return its exit status and all output."""
    done = subprocess.run(
        [sys.executable, "-c", "from authotron.cli.main import main; main()", *words],
        capture_output=True,
        check=False,
        cwd=file.parent,
        env=environment({"AOT_CONFIG_PATH": str(file)}),
        input=said,
        timeout=DEADLINE,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr
