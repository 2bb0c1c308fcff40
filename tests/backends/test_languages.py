"""The programs of docs/backends-other-languages.md, with the toolchains of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from authotron.client import User
from authotron.client.testing import FakeGateway, SigningKey, mint, serve
from tests.backends.wheels import ROOT, SECONDS, folder

PROGRAMS = ROOT / "examples" / "verify"
ISSUER, AUDIENCE = "https://auth.example.org", "archive"
ALICE = User("internal", "alice", ("reader", "lister"))


def needed(*commands: str) -> None:
    """
    Tests with these commands.

    @raise SkipTest: one is not installed.
    """
    for command in commands:
        if shutil.which(command) is None:
            raise SkipTest(f"{command} is not installed")


def build(*command: str, cwd: Path, **environ: str) -> None:
    """Build a program, or fetch what it needs."""
    done = subprocess.run(
        command, capture_output=True, check=False, cwd=cwd, env={**os.environ, **environ},
        text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def go() -> Sequence[str]:
    needed("go")
    program = folder() / "verify-go"
    build("go", "build", "-o", str(program), "verify.go", cwd=PROGRAMS / "go", GOTOOLCHAIN="local")
    return [str(program)]


@cache
def node() -> Sequence[str]:
    needed("node")
    return ["node", str(PROGRAMS / "node" / "verify.mjs")]


@cache
def java() -> Sequence[str]:
    needed("java", "mvn")
    jars = folder() / "jars"
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
    build("mvn", "-q", "-B", goal, f"-DoutputDirectory={jars}", cwd=PROGRAMS / "java")
    return ["java", "-cp", f"{jars}/*", str(PROGRAMS / "java" / "Verify.java")]


@cache
def rust() -> Sequence[str]:
    needed("cargo")
    target = ROOT / ".venv-client" / "cargo"
    build(
        "cargo", "build", "--quiet", cwd=PROGRAMS / "rust",
        CARGO_TARGET_DIR=str(target),
    )  # fmt: skip
    return [str(target / "debug" / "verify")]


def tokens(key: SigningKey) -> Mapping[str, str]:
    """JWTs that no service may believe, by what is wrong with them."""
    other = SigningKey(key.kid, "ES256", SigningKey.generate().material)
    usual: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE}
    good = mint(ALICE, key, issuer=ISSUER, audience=AUDIENCE)
    head, claims, signature = good.split(".")
    _, others, _ = mint(User("internal", "root"), key, issuer=ISSUER, audience=AUDIENCE).split(".")
    secret = SigningKey(key.kid, "HS256", "a-secret-that-is-long-enough-for-hs256")
    return {
        "expired": mint(ALICE, key, lifetime=-60, issuer=ISSUER, audience=AUDIENCE),
        "from the future": mint(ALICE, key, nbf=4_000_000_000, issuer=ISSUER, audience=AUDIENCE),
        "for another audience": mint(ALICE, key, issuer=ISSUER, audience="web"),
        "for no audience": mint(ALICE, key, issuer=ISSUER),
        "of another issuer": mint(ALICE, key, issuer="https://other.test", audience=AUDIENCE),
        "signed with another key": mint(ALICE, other, issuer=ISSUER, audience=AUDIENCE),
        "signed with an unknown key": mint(
            ALICE, SigningKey.generate("ES256", "unknown"), issuer=ISSUER, audience=AUDIENCE
        ),
        "signed with a secret": mint(ALICE, secret, issuer=ISSUER, audience=AUDIENCE),
        "with other claims": f"{head}.{others}.{signature}",
        "without a signature": f"{head}.{claims}.",
        "with a condition": mint(ALICE, key, cnf={"jkt": "x"}, **usual),
        "without a user": mint(ALICE, key, username=None, **usual),
        "opaque": "aot_abcdefghijklmnopqrstuvwxyz",
        "empty": "",
    }


class LanguagesTests(SynchronousTestCase):
    """Each program believes what the gateway signs, and nothing else."""

    def check(self, command: Sequence[str]) -> None:
        gateway = FakeGateway(issuer=ISSUER, audience=AUDIENCE)
        gateway.rotate()
        with serve(gateway) as url:
            words = [*command, f"{url}/.well-known/jwks.json", ISSUER, AUDIENCE]
            for token in (gateway.mint(ALICE), gateway.mint(ALICE, aud=["web", AUDIENCE])):
                status, output = self.run_program(words, token)
                self.assertEqual((status, output), (0, "internal alice reader,lister"))
            for what, token in tokens(gateway.key).items():
                with self.subTest(what):
                    status, output = self.run_program(words, token)
                    self.assertNotEqual(status, 0, output)
                    self.assertNotIn("alice", output)

    def run_program(self, words: Sequence[str], token: str) -> tuple[int, str]:
        done = subprocess.run(
            words, capture_output=True, check=False, input=token, text=True, timeout=SECONDS
        )
        return done.returncode, done.stdout.strip() or done.stderr

    def test_go(self) -> None:
        """Go, with its standard library."""
        self.check(go())

    def test_node(self) -> None:
        """Node, with its standard library."""
        self.check(node())

    def test_java(self) -> None:
        """Java, with Nimbus JOSE+JWT."""
        self.check(java())

    def test_rust(self) -> None:
        """Rust, with jsonwebtoken."""
        self.check(rust())
