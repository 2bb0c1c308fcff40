"""C{authotron}: run the gateway, and the other commands that an operator needs."""

from __future__ import annotations

import importlib
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authotron import __version__
from authotron.cli.options import Command, Group, config_option, default_path, serve
from authotron.cli.output import say, say_as_it_is

if TYPE_CHECKING:  # imported late, because a gateway does not need it
    from click.shell_completion import CompletionItem

_MODULES = {
    name: name
    for name in (
        "check",
        "config",
        "doctor",
        "explain",
        "jwt",
        "keys",
        "login",
        "logout",
        "migrate",
        "policy",
        "proxy-config",
        "probe",
        "quickstart",
        "revocations",
        "revoke",
        "schema",
    )
} | {"token": "jwt", "tokens": "token-commands"}
"""Maps the name of each command that another module defines to that module."""

_GROUPS = {
    "Run": {
        "run": "Start the gateway in the foreground.",
        "quickstart": "Start a gateway to try it out.",
    },
    "Look": {
        "check": "Check a configuration.",
        "config": "Print a configuration as the gateway reads it.",
        "doctor": "Check the services that a configuration needs.",
        "explain": "Show how a credential is authenticated.",
        "jwt": "Verify and print JWTs.",
        "policy": "Check, test, compare and store policies.",
        "probe": "Attack a proxy, and report what gets past it.",
    },
    "Clients of a gateway": {
        "login": "Log in at a gateway, and keep the token for later commands.",
        "logout": "Revoke the tokens of a login, and delete them.",
    },
    "API tokens": {
        "tokens": "Create, list, rotate and revoke API tokens.",
        "revoke": "Revoke tokens, or all credentials of a user.",
        "revocations": "List and withdraw revocations.",
    },
    "Secrets and keys": {
        "generate-secret": "Print a new random secret.",
        "generate-key": "Print a new private key.",
        "keys": "List and rotate the keys with which JWTs are signed.",
        "hash-password": "Print the argon2id hash of a password.",
    },
    "Moving and tools": {
        "proxy-config": "Print the configuration of a reverse proxy.",
        "migrate": "Convert the configuration of another gateway, and print the result.",
        "schema": "Print the JSON Schema of a configuration file.",
        "completion": "Print a completion script for SHELL.",
    },
}
"""
The commands with their summaries, in the order and under the headings of C{authotron --help}.

The summaries are repeated in this module, so that neither help nor completion imports the module of
every command.
"""

SUMMARIES = {name: summary for group in _GROUPS.values() for name, summary in group.items()}


class _Commands(Group):
    """A group of commands that imports the module of a command only if the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_MODULES])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"authotron.cli.{_MODULES[cmd_name].replace('-', '_')}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands to the help text in groups."""
        for heading, summaries in _GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([*summaries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands, and of the options of this group."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only needed here

        names = [each for each in SUMMARIES if each.startswith(incomplete)]
        found = [CompletionItem(each, help=SUMMARIES[each]) for each in sorted(names)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


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
    from authotron.config import yaml_file  # noqa: PLC0415 - heavy to import, and only needed here

    path = default_path()
    if os.environ.get("AOT_CONFIG_PATH") or Path(path).exists():
        serve(Path(path))
    else:
        say_as_it_is(context.get_help(), err=True)
        if above := yaml_file.file_above(Path(path)):
            hint = "which auth-o-tron would use; set AOT_CONFIG_PATH to use it"
            say(f"{above} exists, {hint}", err=True)
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
    """Print a new random secret. Put the secret into `jwt.secret`."""
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
    """Print a new private key. Save it in the file that `jwt.key_file` names."""
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
