"""C{authotron tokens}: manage API tokens in the configured store, without the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from attrs import evolve

from authotron.cli import import_tokens, token_backup
from authotron.cli.options import config_option, text
from authotron.cli.output import say, say_lines
from authotron.cli.token_store import run
from authotron.config import section
from authotron.gateway.gateway import Gateway
from authotron.model import hosts
from authotron.model.errors import ConfigError, NoSuchToken
from authotron.model.identity import Identity
from authotron.model.naming import normalize
from authotron.model.token import TERMINAL, Token
from authotron.net.world import World
from authotron.plugin.interfaces import TokenQuery
from authotron.telemetry import audit
from authotron.telemetry.terminal import visible
from authotron.tokens.grants import TokenRequest
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply


@click.group()
def tokens() -> None:
    """
    List, create and revoke API tokens.

    The commands work with the configured store, without the gateway. Running gateways see a change
    within `tokens.recheck` seconds. Exit status 1 if a command fails.
    """


@tokens.command()
@config_option
@click.option("--realm", type=text, required=True, help="Realm of the owner.")
@click.option("--username", type=text, required=True, help="Name of the owner.")
@click.option(
    "--owner-role",
    type=text,
    multiple=True,
    help="A role of the owner, if no provider can look the owner up.",
)
@click.option(
    "--role",
    type=text,
    multiple=True,
    help="Restrict the token to this role of the owner (may be repeated).",
)
@click.option(
    "--host",
    type=text,
    multiple=True,
    help="Restrict the token to this host pattern (may be repeated).",
)
@click.option(
    "--network",
    type=text,
    multiple=True,
    help="Restrict the token to clients in this network (may be repeated).",
)
@click.option("--ttl", type=text, help="Lifetime, such as 12h or 30d.")
@click.option("--name", type=text, default="", help="A name for the token.")
def create(
    path: Path,
    realm: str,
    username: str,
    owner_role: tuple[str, ...],
    role: tuple[str, ...],
    host: tuple[str, ...],
    network: tuple[str, ...],
    ttl: str | None,
    name: str,
) -> None:
    """Create an API token for a user and print it. The token cannot be printed again."""
    wish = TokenRequest(
        name=name,
        ttl=_duration(ttl, "--ttl"),
        roles=role or None,
        hosts=tuple(_checked(hosts.check_host_pattern, text, "--host") for text in host),
        networks=tuple(_checked(hosts.check_network, text, "--network") for text in network),
    )

    async def work(gateway: Gateway[Reply], kept: TokenService, _world: World) -> None:
        admit = gateway.authenticator.identity_check.admit
        said = admit(Identity(realm, username, owner_role))
        can_look_up = gateway.owners.can_look_up(said, "")
        owner = await gateway.owners.now(said, "")
        owner = owner._replace(identity=admit(owner.identity, owner.provider))
        presented, _ = await kept.make(
            owner, wish, can_look_up=can_look_up, origin=TERMINAL, by=audit.at_terminal()
        )
        say(presented.text)

    run(path, work)


@tokens.command("list")
@config_option
@click.option("--realm", type=text, help="Only tokens of this realm.")
@click.option("--username", type=text, help="Only tokens of this user.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one token on each line.")
def list_(path: Path, realm: str | None, username: str | None, *, as_json: bool) -> None:
    """
    List API tokens, oldest first.

    The secrets of tokens are not stored, so they are not listed.
    """

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        wanted = TokenQuery(realm and normalize(realm), username and normalize(username))
        while found := await kept.store.list_tokens(wanted):
            for token in found:
                say(json.dumps(_row(token)) if as_json else _line(token))
            wanted = evolve(wanted, after=found[-1].id)

    run(path, work)


@tokens.command()
@config_option
@click.argument("id_", type=text, metavar="ID")
def show(path: Path, id_: str) -> None:
    """Print everything that is stored about an API token."""

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        token = await kept.store.get(id_)
        if token is None:
            raise NoSuchToken
        say_lines(json.dumps(_row(token), indent=2, ensure_ascii=False))

    run(path, work)


@tokens.command()
@config_option
@click.argument("ids", type=text, metavar="ID...", nargs=-1, required=True)
def revoke(path: Path, ids: tuple[str, ...]) -> None:
    """
    Revoke API tokens and the tokens created with them.

    The other tokens are revoked even if an ID is unknown; then the exit status is 1.
    """

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        ended, missing = set[str](), False
        for id_ in dict.fromkeys(ids):
            try:
                # otherwise it was revoked with the token that created it
                if id_ not in ended:
                    ended.update(await kept.end(id_, audit.at_terminal()))
            except NoSuchToken:
                say(f"{id_}: there is no such API token", fg="red", err=True)
                missing = True
            else:
                say(f"revoked {id_}")
        if missing:
            raise SystemExit(1)

    run(path, work)


@tokens.command()
@config_option
def prune(path: Path) -> None:
    """Delete expired API tokens. A running gateway deletes expired tokens once a minute."""

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        await kept.flush()
        say("deleted all expired API tokens")

    run(path, work)


tokens.add_command(import_tokens.import_)
tokens.add_command(token_backup.backup)
tokens.add_command(token_backup.restore)
tokens.add_command(token_backup.new_pepper)


def _checked(check: Callable[[str], str], text: str, option: str) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


class _Lifetime(section.Section):
    """A configuration section with one key, to read a duration as in a configuration file."""

    ttl: section.WholeSeconds | None = None


def _duration(text: str | None, option: str) -> int | None:
    try:
        return section.read(_Lifetime, {"ttl": text}).ttl
    except ConfigError as error:
        raise click.BadParameter(error.problems[0].message, param_hint=option) from None


def _row(token: Token) -> dict[str, Any]:
    """Return the columns to print of an API token: all but its hash."""
    row = token.row()
    fixed = json.loads(row.pop("fixed"))
    del row["hashed"]
    return {**row, **fixed}


def _line(token: Token) -> str:
    owner, end = token.owner, token.grant.expires
    until = "never expires" if end is None else f"until {_moment(end)}"
    line = f"{token.id}  {owner.realm}/{owner.username}  {until}  {token.name}"
    return visible(line).rstrip()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
