"""
The group of commands C{authotron tokens}, which imports a module only for the commands that are
used.

A script may call C{authotron tokens get} for each of its requests, and must not wait until the
modules of the token store are imported.
"""

from __future__ import annotations

from importlib import import_module

import click

from authotron.cli.options import Group

_OF_CLIENTS = ("get", "exchange", "git-credential")
"""The commands for clients of a gateway, which do not use the token store."""

_OF_CLIENTS_MODULE, _OF_STORE_MODULE = "authotron.cli.kept_tokens", "authotron.cli.tokens"
"""The modules of the commands, which add their commands to L{tokens} when they are imported."""


class _TokenCommands(Group):
    """A group of commands that imports the module of a command only if the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        import_module(_OF_CLIENTS_MODULE)
        import_module(_OF_STORE_MODULE)
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        import_module(_OF_CLIENTS_MODULE if cmd_name in _OF_CLIENTS else _OF_STORE_MODULE)
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=_TokenCommands,
    examples=(
        "authotron tokens create --realm internal --username alice --ttl 30d",
        "authotron tokens revoke --realm internal --username alice",
        "authotron tokens backup tokens-backup.db",
    ),
)
def tokens() -> None:
    """
    Create, list, rotate and revoke API tokens.

    The commands work with the configured store, without the gateway. A running gateway notices a
    changed API token after at most `tokens.recheck` seconds. Exit status 1 if a command fails.

    `get`, `exchange` and `git-credential` are for clients of a gateway, after `authotron login`.
    """
