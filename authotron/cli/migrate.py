"""C{authotron migrate}: print a configuration that replaces another service."""

from __future__ import annotations

import os
import secrets
from typing import Any

import click
import yaml

from authotron.cli import acl_proxy
from authotron.cli.options import exit_on_config_error
from authotron.cli.output import say, say_as_it_is


@click.group()
def migrate() -> None:
    """Print a configuration that replaces another service."""


@migrate.command("acl-proxy")
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


def _yaml(found: dict[str, Any]) -> str:
    """Return a mapping as YAML; if a character could harm the terminal, non-ASCII is escaped."""
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True)
    if text.replace("\n", "").isprintable():
        return text
    return yaml.safe_dump(found, sort_keys=False)
