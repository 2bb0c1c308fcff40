"""The command C{authotron migrate}, which converts the configuration of another gateway."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import click

from authotron.cli import acl_proxy, auth_o_tron
from authotron.cli.options import Command, Group, exit_on_config_error, load_config
from authotron.cli.output import say, say_as_it_is
from authotron.config import yaml_core, yaml_file
from authotron.config.version_1 import as_version_2


@click.group(cls=Group, examples=("authotron migrate auth-o-tron config.yaml",))
def migrate() -> None:
    """Convert the configuration of another gateway, and print the result."""


@migrate.command(
    "acl-proxy",
    cls=Command,
    short_help="Print a configuration made from the variables of an acl-proxy.",
    examples=("(umask 077; authotron migrate acl-proxy > config.yaml)",),
)
def of_acl_proxy() -> None:
    """
    Read the environment of an acl-proxy: REDIS_*, PEPPER, TOKEN_TTL_SECONDS, ADMIN_*.

    The output contains the secrets of the acl-proxy, and new ones; write it to a file that other
    users cannot read.
    """
    with exit_on_config_error():
        found = acl_proxy.configuration(
            os.environ, secrets.token_urlsafe(48), secrets.token_urlsafe(32)
        )
    for remark in acl_proxy.remarks(os.environ):
        say(f"# {remark}")
    say_as_it_is(_yaml(found), nl=False)


@migrate.command(
    "auth-o-tron",
    cls=Command,
    short_help="Say what changes for a configuration file.",
    examples=("authotron migrate auth-o-tron config.yaml",),
)
@click.argument("file", type=click.Path(path_type=Path, readable=False))
def of_auth_o_tron(file: Path) -> None:
    """
    Say what changes for the configuration FILE of an auth-o-tron.

    authotron reads a file for auth-o-tron, and its variables, unchanged. The output consists of
    remarks and, for a file of version 1.0.0, of the configuration in version 2.0.0, which contains
    the secrets of the file.

    Exit status 78 if authotron cannot use the file; all problems are printed.
    """
    found = load_config(file)
    given = yaml_file.parse(file, may_be_empty=True).given
    say("# This file works unchanged; authotron differs from auth-o-tron in these points:")
    for remark in (*auth_o_tron.remarks(given), *found.warnings):
        say(f"# - {remark}")
    if given.get("version") == "1.0.0":
        newer, _, _ = as_version_2(given)
        say("# The same configuration in version 2.0.0:")
        say_as_it_is(_yaml(newer), nl=False)


def _yaml(found: dict[str, Any]) -> str:
    """Return a mapping as YAML; if a character could harm the terminal, non-ASCII is escaped."""
    text = yaml_core.dump(found, allow_unicode=True)
    if text.replace("\n", "").isprintable():
        return text
    return yaml_core.dump(found)
