"""C{authotron migrate}: a configuration from that of another service."""

from __future__ import annotations

import os
import secrets
from typing import Any

import click
import yaml

from authotron.cli import acl_proxy
from authotron.cli.options import complaints
from authotron.cli.output import say, say_as_it_is


@click.group()
def migrate() -> None:
    """Print a configuration that does what another service did."""


@migrate.command("acl-proxy")
def of_acl_proxy() -> None:
    """
    Read the environment of an acl-proxy: REDIS_*, PEPPER, TOKEN_TTL_SECONDS, ADMIN_*.

    What is printed holds its secrets, and new ones; write it to a file that others cannot read.
    """
    with complaints():
        found = acl_proxy.configuration(
            os.environ, secrets.token_urlsafe(48), secrets.token_urlsafe(32)
        )
    for remark in acl_proxy.remarks(os.environ):
        say(f"# {remark}")
    say_as_it_is(_yaml(found), nl=False)


def _yaml(found: dict[str, Any]) -> str:
    """Readable letters as they are; all are escaped if one of them could harm the terminal."""
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True)
    if text.replace("\n", "").isprintable():
        return text
    return yaml.safe_dump(found, sort_keys=False)
