"""C{authotron quickstart}: a gateway to try, with nothing to prepare."""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64encode
from importlib import resources
from pathlib import Path

import click
from twisted.internet.defer import Deferred, execute

from authotron.cli.options import clock, loaded, serve
from authotron.cli.output import say, say_lines
from authotron.config import files
from authotron.config.check import Config
from authotron.daemon.compose import compose
from authotron.model.authentication import Authentication
from authotron.model.identity import Credential
from authotron.net.world import World
from authotron.telemetry.metrics import Metrics

SECRETS = ("jwt-secret", "alice-password", "bob-password")


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    help="Where the configuration and its secrets are kept.",
)
@click.option("--prepare", is_flag=True, help="Only make the files, and do not start.")
def quickstart(folder: Path, *, prepare: bool) -> None:
    """
    Start a gateway to try. Nothing is needed: users, roles and secrets are made.

    What is there already is kept, so that you can change it and start again. Ctrl-C stops it.
    """
    try:
        path = _prepared(folder)
    except OSError as error:
        raise click.ClickException(f"cannot prepare {folder}: {error.strerror}") from None
    _shown(path, folder)
    if not prepare:
        serve(path)


def _prepared(folder: Path) -> Path:
    """The configuration in C{folder}; it and its secrets are made where they are missing."""
    path = folder / "authotron.yaml"
    sample = (resources.files("authotron.cli") / "quickstart.yaml").read_bytes()
    with files.acting_as_owner(path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in SECRETS:
            secret = secrets.token_urlsafe(36 if name == "jwt-secret" else 12)
            files.write_once(folder / name, secret.encode())
        files.write_once(path, sample)
    return path


def _shown(path: Path, folder: Path) -> None:
    """How to get in, and what a backend will then see."""
    found = loaded(path)
    server, second = found.file.server, found.file.metrics
    gateway = f"http://{server.host}:{server.port}"
    say("Get in:", bold=True)
    say(f'  curl -i -u "alice:$(cat {folder}/alice-password)" {gateway}/authenticate')
    say("A backend will see:", bold=True)
    say_lines(_claims(found, (folder / "alice-password").read_text(encoding="utf-8")))
    say("Look at:", bold=True)
    say_lines(f"  {gateway}/\n  http://{second.host or server.host}:{second.port}/ready")
    say_lines(f"The configuration is {path}; change it and `kill -HUP {os.getpid()}`.\n")


def _claims(found: Config, password: str) -> str:
    """What is minted for alice, found out in the way of the gateway."""
    now = clock()
    composed = compose(found, World(now, execute), Metrics())
    alice = Credential("basic", b64encode(f"alice:{password}".encode()).decode())
    judged: list[Authentication] = []
    Deferred.fromCoroutine(composed.authenticator.identify([alice], None)).addCallbacks(
        judged.append, lambda _: None
    )
    if not judged:
        return "  (alice is not known any more)"
    return json.dumps(composed.minter.claims(judged[0], int(now.seconds())), indent=2)
