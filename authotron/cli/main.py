"""C{authotron}: run the gateway, and the other commands that an operator needs."""

from __future__ import annotations

import importlib
import json
import secrets
import sys
from pathlib import Path

import click
from twisted.internet.defer import execute

from authotron import __version__
from authotron.cli.options import (
    clock,
    config_option,
    load_config,
    serve,
)
from authotron.cli.output import say, say_as_it_is, say_lines
from authotron.config.check import Config
from authotron.config.endpoint import with_mode
from authotron.config.json_schema import json_schema
from authotron.net.world import World

_MODULES = {
    name: name for name in ("config", "doctor", "explain", "jwt", "migrate", "quickstart", "tokens")
} | {"token": "jwt"}
"""Commands that are defined in other modules of this package, and those modules."""


class _Commands(click.Group):
    """A command group that imports the module of a command only if the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_MODULES])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"authotron.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="authotron")
def main() -> None:
    """
    An authentication gateway beside a reverse proxy.

    Exit status: 0 success, 1 failure, 2 invalid command line, 78 invalid configuration.
    """


@main.command()
@config_option
def run(path: Path) -> None:
    """
    Start the gateway in the foreground.

    Ctrl-C stops the gateway, SIGHUP reloads its configuration.
    """
    serve(path)


@main.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, readable=False))
@config_option
def check(file: Path | None, path: Path) -> None:
    """
    Check a configuration.

    Print what the configuration would run, or all problems of the configuration.

    Exit status 0 if the configuration is valid, 78 if not.
    """
    from authotron.cli.composed import compose_or_exit  # noqa: PLC0415 - heavy, and only needed here

    found = load_config(file or path)
    compose_or_exit(found, World(clock(), execute))
    for line in _description(found):
        say(line)
    for warning in found.warnings:
        say(f"warning: {warning}", fg="yellow", err=True)
    say("The configuration is good.", fg="green")


def _description(found: Config) -> list[str]:
    """Return lines that describe what a configuration runs, without secrets."""
    file = found.file
    server = ", ".join(map(with_mode, file.server.listen)) or _address(
        file.server.host, file.server.port
    )
    second = ", ".join(map(with_mode, file.metrics.listen)) or (
        _address(file.metrics.host or file.server.host, file.metrics.port)
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


def _address(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@main.command()
def schema() -> None:
    """Print the JSON Schema of a configuration file. Editors and other tools read the schema."""
    say_lines(json.dumps(json_schema(), indent=2))


@main.command("hash-password")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
def hash_password(*, from_stdin: bool) -> None:
    """
    Print the argon2id hash of a password.

    The hash is a value for `password_hash` of a user of a provider of type plain.
    """
    if from_stdin:
        password = sys.stdin.read().removesuffix("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if not password:
        raise click.UsageError("the password is empty")
    from authotron.plugin import passwords  # noqa: PLC0415 - only needed here

    say(passwords.hash_password(password))


@main.command("generate-secret")
@click.option(
    "--bytes",
    "size",
    type=click.IntRange(32, 1024),
    default=48,
    show_default=True,
    help="Number of random bytes in the secret.",
)
def generate_secret(size: int) -> None:
    """Print a new random secret. The secret is a value for `jwt.secret`."""
    say(secrets.token_urlsafe(size))


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for SHELL. Add the script to the start-up file of SHELL."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only needed here

    kind = get_completion_class(shell)
    assert kind is not None
    say_as_it_is(kind(main, {}, "authotron", "_AUTHOTRON_COMPLETE").source())
