"""C{authotron}: run the gateway, and the other commands that an operator needs."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import execute

from authotron import __version__
from authotron.cli.options import (
    Command,
    Group,
    clock,
    config_option,
    json_option,
    load_config,
    serve,
)
from authotron.cli.output import say, say_as_it_is, say_json, say_lines
from authotron.config import file, yaml_file
from authotron.config.check import Config
from authotron.config.endpoint import with_mode
from authotron.config.json_schema import json_schema
from authotron.config.plugins import PluginConfig
from authotron.net.world import World

_MODULES = {
    name: name for name in ("config", "doctor", "explain", "jwt", "migrate", "quickstart", "tokens")
} | {"token": "jwt"}
"""The modules of the commands that are not defined in this module, by the names of the commands."""

_GROUPS = {
    "Run": ("run", "quickstart"),
    "Look": ("check", "config", "doctor", "explain", "jwt"),
    "API tokens": ("tokens",),
    "Secrets and keys": ("generate-secret", "generate-key", "hash-password"),
    "Moving and tools": ("migrate", "schema", "completion"),
}
"""The commands in the order and under the headings of C{authotron --help}."""

_LONGEST_SUMMARY = 58
"""Maximum length of a command's summary, in characters: it fits a terminal of 80 columns."""


class _Commands(Group):
    """A group of commands that imports the module of a command only if the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_MODULES])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"authotron.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups."""
        for heading, names in _GROUPS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                assert command is not None, name
                rows.append((name, command.get_short_help_str(_LONGEST_SUMMARY)))
            with formatter.section(heading):
                formatter.write_dl(rows)


@click.group(
    cls=_Commands,
    examples=(
        "authotron quickstart",
        "authotron check config.yaml",
        "authotron explain --user alice",
    ),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="authotron")
@click.pass_context
def main(context: click.Context) -> None:
    """
    An authentication gateway beside a reverse proxy.

    Without a command the gateway starts, as auth-o-tron does, if AOT_CONFIG_PATH is set or
    ./config.yaml exists.

    Exit status: 0 success, 1 failure, 2 invalid command line, 78 invalid configuration.
    """
    if context.invoked_subcommand is not None:
        return
    path = file.path_of(os.environ)
    if os.environ.get("AOT_CONFIG_PATH") or Path(path).exists():
        serve(Path(path))
    else:
        say_as_it_is(context.get_help(), err=True)
        if above := yaml_file.file_above(Path(path)):
            say(f"{above} exists, which auth-o-tron would use: set AOT_CONFIG_PATH", err=True)
        context.exit(2)


@main.command(cls=Command, examples=("authotron run --config /etc/authotron/authotron.yaml",))
@config_option
def run(path: Path) -> None:
    """
    Start the gateway in the foreground.

    Ctrl-C stops the gateway, SIGHUP reloads its configuration.
    """
    serve(path)


@main.command(
    cls=Command,
    examples=("authotron check config.yaml", "authotron check --strict --json config.yaml"),
)
@click.argument("file", required=False, type=click.Path(path_type=Path, readable=False))
@config_option
@click.option("--strict", is_flag=True, help="Exit with 1 if there are warnings.")
@json_option
def check(file: Path | None, path: Path, *, strict: bool, as_json: bool) -> None:
    """
    Check a configuration.

    Print what the configuration would run, or all problems of the configuration.

    Exit status 0 if the configuration is valid, 78 if not, 1 with --strict if there are warnings.
    """
    from authotron.cli.composed import compose_or_exit  # noqa: PLC0415 - heavy, and only needed here

    found = load_config(file or path, as_json=as_json)
    compose_or_exit(found, World(clock(), execute), as_json=as_json)
    if as_json:
        say_json({"good": True, **_summary(found), "warnings": list(found.warnings)})
    else:
        for line in _description(found):
            say(line)
        for warning in found.warnings:
            say(f"warning: {warning}", fg="yellow", err=True)
        say("The configuration is good.", fg="green")
    if strict and found.warnings:
        sys.exit(1)


def _summary(found: Config) -> dict[str, Any]:
    """Return what a configuration runs, without secrets, for C{check --json}."""
    file = found.file
    return {
        "gateway": _addresses(file.server.listen, file.server.host, file.server.port),
        "workers": file.server.processes,
        "metrics": _addresses(
            file.metrics.listen, file.metrics.host or file.server.host, file.metrics.port
        )
        if file.metrics.enabled
        else [],
        "jwt": {"alg": file.jwt.alg, "iss": file.jwt.iss, "exp": file.jwt.exp},
        "providers": [_plugin(each) for each in found.providers],
        "augmenters": [_plugin(each) for each in found.augmenters],
        "store": None if found.store is None else found.store.type,
    }


def _addresses(listen: Sequence[str], host: str, port: int | None) -> list[str]:
    return [*map(with_mode, listen)] or [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]


def _plugin(config: PluginConfig) -> dict[str, str]:
    return {"name": config.name, "type": config.type, "realm": config.realm}


def _description(found: Config) -> list[str]:
    """Return lines that describe what a configuration runs, without secrets."""
    file = found.file
    summary = _summary(found)
    server, second = ", ".join(summary["gateway"]), ", ".join(summary["metrics"])
    lines = [
        f"gateway:   {server}",
        f"workers:   {file.server.processes}",
        f"metrics:   {second or 'off'}",
        f"tokens:    {file.jwt.alg}, issuer {file.jwt.iss}, {file.jwt.exp} s",
    ]
    for kind, configs in (("provider", found.providers), ("augmenter", found.augmenters)):
        lines += [f"{kind + ':':10} {c.name} ({c.type}) in realm {c.realm}" for c in configs]
    if found.store is not None:
        lines.append(f"store:     {found.store.type}")
    return lines


@main.command(cls=Command, examples=("authotron schema > authotron.schema.json",))
def schema() -> None:
    """Print the JSON Schema of a configuration file. Editors and other tools read the schema."""
    say_lines(json.dumps(json_schema(), indent=2))


@main.command(
    "hash-password",
    cls=Command,
    examples=(
        "authotron hash-password",
        "authotron hash-password --stdin < alice-password > alice-hash",
    ),
)
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


@main.command(
    "generate-secret",
    cls=Command,
    examples=("(umask 077; authotron generate-secret > jwt-secret)  # for jwt.secret_file",),
)
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


@main.command(
    "generate-key",
    cls=Command,
    examples=(
        "authotron generate-key > jwt-key.pem        # for jwt.key_file, with jwt.alg: ES256",
        "authotron generate-key --alg EdDSA",
    ),
)
@click.option(
    "--alg",
    "algorithm",
    type=click.Choice(["ES256", "RS256", "EdDSA"]),
    default="ES256",
    show_default=True,
    help="The algorithm of the signatures (`jwt.alg`).",
)
def generate_key(algorithm: Any) -> None:
    """Print a new private key. Save the key in the file that `jwt.key_file` names."""
    from authotron.jose import keys  # noqa: PLC0415 - only needed here

    say_as_it_is(keys.generate(algorithm), nl=False)


@main.command(
    cls=Command,
    examples=(
        "authotron completion bash >> ~/.bashrc",
        "authotron completion fish > ~/.config/fish/completions/authotron.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for SHELL. Add the script to the start-up file of SHELL."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only needed here

    kind = get_completion_class(shell)
    assert kind is not None
    say_as_it_is(kind(main, {}, "authotron", "_AUTHOTRON_COMPLETE").source())
