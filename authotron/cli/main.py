"""C{authotron}: run the gateway, and whatever else its operator needs at a terminal."""

from __future__ import annotations

import importlib
import json
import secrets
import sys
from pathlib import Path
from typing import Any

import click
import jwt
from twisted.internet.defer import execute

from authotron import __version__
from authotron.cli.options import (
    clock,
    complaints,
    config_option,
    loaded,
    serve,
)
from authotron.cli.output import say, say_as_it_is, say_lines
from authotron.config.check import Config
from authotron.config.endpoint import with_mode
from authotron.config.json_schema import json_schema
from authotron.jose import minter
from authotron.net.world import World

_ELSEWHERE = ("doctor", "explain", "migrate", "quickstart", "tokens")
"""Commands that have a module of their name."""


class _Commands(click.Group):
    """Imports a command when it is wanted: the gateway starts without what the others need."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"authotron.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="authotron")
def main() -> None:
    """
    An authentication gateway beside a reverse proxy.

    Exit status: 0 all is well, 1 it failed, 2 the command line is wrong, 78 the configuration is.
    """


@main.command()
@config_option
def run(path: Path) -> None:
    """Start the gateway in the foreground. Ctrl-C stops it, SIGHUP reloads it."""
    serve(path)


@main.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, readable=False))
@config_option
def check(file: Path | None, path: Path) -> None:
    """
    Say what a configuration would run, or all that is wrong with it.

    Exit status 0 if it can be run, 78 if it cannot.
    """
    found = loaded(file or path)
    with complaints():
        _compose(found)
    for line in _described(found):
        say(line)
    for warning in found.warnings:
        say(f"warning: {warning}", fg="yellow", err=True)
    say("The configuration is good.", fg="green")


def _compose(found: Config) -> None:
    """
    Build the plugins and the keys of a configuration, and start nothing.

    @raise ConfigError: a plugin breaks its contract, or a file cannot be read.
    """
    from authotron.daemon.compose import compose  # noqa: PLC0415 - imports much that `run` needs not
    from authotron.telemetry.metrics import Metrics  # noqa: PLC0415 - as above

    compose(found, World(clock(), execute), Metrics())


def _described(found: Config) -> list[str]:
    """What would run, without anything secret."""
    file = found.file
    server = (
        ", ".join(map(with_mode, file.server.listen)) or f"{file.server.host}:{file.server.port}"
    )
    second = ", ".join(map(with_mode, file.metrics.listen)) or (
        f"{file.metrics.host or file.server.host}:{file.metrics.port}"
    )
    lines = [
        f"gateway:   {server}",
        f"workers:   {file.server.processes}",
        f"metrics:   {second if file.metrics.enabled else 'off'}",
        f"tokens:    {file.jwt.alg}, issuer {file.jwt.iss}, {file.jwt.exp} s",
    ]
    for kind, configs in (("provider", found.providers), ("augmenter", found.augmenters)):
        lines += [f"{kind + ':':10} {c.name} ({c.type}) in realm {c.realm}" for c in configs]
    if found.store is not None:
        lines.append(f"store:     {found.store.type}")
    return lines


@main.command()
def schema() -> None:
    """Print the JSON Schema of a configuration file, for editors and for checks."""
    say_lines(json.dumps(json_schema(), indent=2))


@main.command("hash-password")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
def hash_password(*, from_stdin: bool) -> None:
    """Print the argon2id hash of a password, for `password_hash` of a plain user."""
    if from_stdin:
        password = sys.stdin.read().removesuffix("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if not password:
        raise click.UsageError("an empty password protects nothing")
    from authotron.plugin import passwords  # noqa: PLC0415 - only needed here

    say(passwords.hash_password(password))


@main.command("generate-secret")
@click.option(
    "--bytes",
    "size",
    type=click.IntRange(32, 1024),
    default=48,
    show_default=True,
    help="How many random bytes are in it.",
)
def generate_secret(size: int) -> None:
    """Print a new random secret, fit for `jwt.secret`."""
    say(secrets.token_urlsafe(size))


@main.group()
def token() -> None:
    """Look at tokens."""


@token.command()
@config_option
@click.argument("source", type=click.File("r"), default="-")
def decode(path: Path, source: Any) -> None:
    """
    Verify a minted JWT with the configured keys, and print what it says.

    It is read from SOURCE, a file or standard input, never from the command line, which others can
    see. Exit status 1 if it is not good.
    """
    found = loaded(path)
    text = source.read().strip().removeprefix("Authorization:").strip().removeprefix("Bearer ")
    with complaints():
        signer = minter.make(found.file.jwt, clock())
    try:
        header, claims = signer.verify(text)
    except jwt.InvalidTokenError as error:
        say(f"not good: {error}", fg="red", err=True)
        sys.exit(1)
    say_lines(json.dumps({"header": header, "claims": claims}, indent=2, ensure_ascii=False))


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete authotron's commands; put it into its start-up file."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only needed here

    kind = get_completion_class(shell)
    assert kind is not None
    say_as_it_is(kind(main, {}, "authotron", "_AUTHOTRON_COMPLETE").source())
