"""C{authotron migrate}: a configuration from that of another service."""

from __future__ import annotations

import os
import secrets

import click
import yaml

from authotron import acl_proxy
from authotron.cli.options import complaints


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
        click.echo(f"# {remark}")
    click.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)
