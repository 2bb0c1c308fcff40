"""C{authotron quickstart}: start a gateway to try it out."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
from base64 import b64encode
from importlib import resources
from pathlib import Path

import click
from twisted.internet.defer import Deferred, execute

from authotron.cli.options import Command, choose_event_loop, clock, load_config, serve
from authotron.cli.output import say, say_lines
from authotron.config import files
from authotron.config.check import Config
from authotron.config.server import Operations, Server
from authotron.model.authentication import Authentication
from authotron.model.identity import Credential
from authotron.net.world import World

SECRETS = ("jwt-secret", "alice-password", "bob-password")


@click.command(
    cls=Command,
    examples=("authotron quickstart", "AOT_SERVER__PORT=18080 authotron quickstart --folder try"),
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    help="The folder of the configuration and its secrets.",
)
@click.option(
    "--prepare", is_flag=True, help="Only create the files, and do not start the gateway."
)
def quickstart(folder: Path, *, prepare: bool) -> None:
    """
    Start a gateway to try it out.

    The command creates a folder with a configuration, example users and new secrets. Existing files
    are kept, so you can edit them and start again. Ctrl-C stops the gateway.
    """
    try:
        path = _prepare(folder)
    except OSError as error:
        raise click.ClickException(f"cannot prepare {folder}: {error.strerror}") from None
    if not prepare:
        choose_event_loop()
        _require_free_ports(path)
    _print_instructions(path, folder)
    if not prepare:
        serve(path, "--interactive")


_PORTS = ("AOT_SERVER__PORT", "AOT_METRICS__PORT")
"""The environment variables that set the main port and the metrics port."""


def _require_free_ports(path: Path) -> None:
    """
    Check that the main port and the metrics port can be opened, before instructions are printed.

    @raise ClickException: a port is taken; the message suggests a free port in place of each taken
        one.
    """
    file = load_config(path).file
    taken: list[str] = []
    settings = [f"{name}={value}" for name, value in os.environ.items() if name in _PORTS]
    sections: tuple[tuple[Server | Operations, str], ...] = (
        (file.server, file.server.host),
        (file.metrics, file.metrics.host or file.server.host),
    )
    for variable, (section, host) in zip(_PORTS, sections, strict=True):
        port = section.port
        if port is None or section.listen or is_free(host, port):
            continue
        others = range(port + 10_000, min(port + 10_100, 65_536))
        free = next((each for each in others if is_free(host, each)), port + 1)
        taken.append(f"port {port} of {host}")
        settings = [each for each in settings if not each.startswith(f"{variable}=")]
        settings.append(f"{variable}={free}")
    if taken:
        raise click.ClickException(
            f"taken by another process: {' and '.join(taken)}; choose other ports: "
            f"{' '.join(settings)} make run (or authotron quickstart)"
        )


def is_free(host: str, port: int) -> bool:
    """
    Return whether a port is free; only a taken port counts, because the gateway reports all other
    errors later.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(1)
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def _prepare(folder: Path) -> Path:
    """Create the configuration and its secrets if they are missing; return the configuration."""
    path = folder / "authotron.yaml"
    sample = (resources.files("authotron.cli") / "quickstart.yaml").read_bytes()
    with files.acting_as_owner(path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in SECRETS:
            secret = secrets.token_urlsafe(36 if name == "jwt-secret" else 12)
            files.write_once(folder / name, secret.encode())
        files.write_once(path, sample)
    return path


def _print_instructions(path: Path, folder: Path) -> None:
    """
    Print how to authenticate with the example users, and the claims that a backend
    then receives.
    """
    config = load_config(path)
    server, second = config.file.server, config.file.metrics
    gateway = f"http://{server.host}:{server.port}"
    say("Authenticate:", bold=True)
    say(f'  curl -i -u "alice:$(cat {folder}/alice-password)" {gateway}/authenticate')
    say("A backend receives these claims:", bold=True)
    say_lines(_claims(config, (folder / "alice-password").read_text(encoding="utf-8")))
    say("Open in a browser:", bold=True)
    say_lines(f"  {gateway}/\n  http://{second.host or server.host}:{second.port}/ready")
    say_lines(f"The configuration is {path}; change it and `kill -HUP {os.getpid()}`.\n")


def _claims(config: Config, password: str) -> str:
    """
    Return the claims of the JWT that is minted for the example user C{alice}.

    A command has no reactor, so the gateway that it builds works without threads and network.
    """
    from authotron.cli.composed import compose_or_exit  # noqa: PLC0415 - imports the reactor

    now = clock()
    gateway = compose_or_exit(config, World(now, execute))
    alice = Credential("basic", b64encode(f"alice:{password}".encode()).decode())
    found: list[Authentication] = []
    Deferred.fromCoroutine(gateway.authenticator.identify([alice], None)).addCallbacks(
        found.append, lambda _: None
    )
    if not found:
        return "  (alice is not a user any more)"
    return json.dumps(gateway.minter.claims(found[0], int(now.seconds())), indent=2)
