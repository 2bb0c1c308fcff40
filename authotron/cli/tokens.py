"""C{authotron tokens}: manage API tokens in the configured store, without the gateway."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import evolve

from authotron.cli import import_tokens, token_backup
from authotron.cli.options import Command, config_option, json_option, text
from authotron.cli.output import say, say_as_it_is, say_json
from authotron.cli.realms import check_realm
from authotron.cli.token_commands import tokens
from authotron.cli.token_store import run
from authotron.cli.token_table import table
from authotron.config import section
from authotron.gateway.gateway import Gateway
from authotron.model.authentication import Authentication
from authotron.model.errors import ConfigError, NoSuchToken, Rejected
from authotron.model.identity import Identity
from authotron.model.naming import normalize
from authotron.model.token import TERMINAL, PlainToken, Token
from authotron.net.world import World
from authotron.plugin.interfaces import TokenQuery
from authotron.telemetry import audit
from authotron.tokens import rotation
from authotron.tokens.grants import TokenRequest
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply
from authotron.web.token_bodies import NewToken, token_as_json


@tokens.command(
    cls=Command,
    examples=(
        "authotron tokens create --realm internal --username alice --name ci --ttl 30d",
        "authotron tokens create --realm internal --username alice --role reader --json",
    ),
)
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
    "roles",
    type=text,
    multiple=True,
    help="Restrict the token to this role of the owner (may be repeated).",
)
@click.option(
    "--scope",
    "scopes",
    type=text,
    multiple=True,
    metavar="SERVICE=SCOPE",
    help="Restrict the token to this scope of the owner (may be repeated).",
)
@click.option(
    "--host",
    "hosts",
    type=text,
    multiple=True,
    help="Restrict the token to this host pattern (may be repeated).",
)
@click.option(
    "--network",
    "networks",
    type=text,
    multiple=True,
    help="Restrict the token to clients in this network (may be repeated).",
)
@click.option(
    "--jkt",
    type=text,
    metavar="THUMBPRINT",
    help="Bind the token to the key with this thumbprint, so that each request needs a DPoP proof.",
)
@click.option(
    "--x5t",
    type=text,
    metavar="HASH",
    help="Bind the token to the client certificate with this SHA-256 hash in base64url.",
)
@click.option("--ttl", type=text, help="Lifetime, such as 12h or 30d.")
@click.option("--name", type=text, default="", help="A name for the token.")
@click.option("--comment", type=text, default="", help="A comment about the token.")
@click.option("--email", type=text, default="", help="An e-mail address of the owner.")
@json_option
def create(
    path: Path,
    realm: str,
    username: str,
    owner_role: tuple[str, ...],
    *,
    as_json: bool,
    **requested: Any,
) -> None:
    """Create an API token for a user and print it. A token is printed only this one time."""
    wish = _request(requested)

    async def work(gateway: Gateway[Reply], kept: TokenService, _world: World) -> None:
        check_realm(gateway, realm)
        if wish.binding is not None and kept.config.bound is None:
            raise Rejected("bound tokens need the section tokens.bound")
        owner = await _owner_now(gateway, Identity(realm, username, owner_role), "")
        can_look_up = gateway.owners.can_look_up(owner.identity, "")
        presented, token = await kept.make(
            owner, wish, can_look_up=can_look_up, origin=TERMINAL, by=audit.at_terminal()
        )
        _print_created(presented, token, as_json=as_json)

    run(path, work, as_json=as_json)


@tokens.command(
    "list",
    cls=Command,
    examples=(
        "authotron tokens list --username alice",
        "authotron tokens list --expires-within 14d --json",
    ),
)
@config_option
@click.option("--realm", type=text, help="List only tokens of this realm.")
@click.option("--username", type=text, help="List only tokens of this user.")
@click.option(
    "--expires-within",
    "within",
    type=text,
    help="List only tokens that expire within this duration.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one token on each line.")
def list_(
    path: Path, realm: str | None, username: str | None, within: str | None, *, as_json: bool
) -> None:
    """
    List API tokens, oldest first.

    The secrets of tokens are not stored, so they are not listed. The last use of a token is
    written to the store once a minute.
    """
    seconds = _duration(within, "--expires-within")

    async def work(_: Gateway[Reply], kept: TokenService, world: World) -> None:
        now = world.clock.seconds()
        latest = None if seconds is None else now + seconds
        found: list[Token] = []
        async for token in _all_tokens(kept, realm, username):
            end = token.grant.expires
            if latest is not None and (end is None or end > latest):
                continue
            if as_json:
                say(json.dumps(token_as_json(token)))
            else:
                found.append(token)
        for line in table(found, now):
            say_as_it_is(line)

    run(path, work, as_json=as_json)


async def _all_tokens(
    kept: TokenService, realm: str | None, username: str | None
) -> AsyncIterator[Token]:
    wanted = TokenQuery(realm and normalize(realm), username and normalize(username))
    while found := await kept.store.list_tokens(wanted):
        for token in found:
            yield token
        wanted = evolve(wanted, after=found[-1].id)


@tokens.command(cls=Command, examples=("authotron tokens show 0vUSEIBdKSfL",))
@config_option
@click.option("--json", "_as_json", is_flag=True, help="Print JSON, which is the default.")
@click.argument("id_", type=text, metavar="ID")
def show(path: Path, id_: str, *, _as_json: bool) -> None:
    """Print everything that is stored about an API token, as JSON."""

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        token = await kept.store.get(id_)
        if token is None:
            raise NoSuchToken
        owner = token.owner
        say_json(
            {
                **token_as_json(token),
                "provider": token.provider,
                "origin": token.origin,
                "owner_roles": list(owner.roles),
                "owner_attributes": dict(owner.attributes),
                "owner_scopes": {name: list(each) for name, each in owner.scopes.items()},
            }
        )

    run(path, work, as_json=True)


@tokens.command(
    cls=Command,
    examples=(
        "authotron tokens rotate 0vUSEIBdKSfL",
        "authotron tokens rotate 0vUSEIBdKSfL --keep 1h --json",
    ),
)
@config_option
@click.option("--ttl", type=text, help="Lifetime of the new token; default: as the old one.")
@click.option("--keep", type=text, help="How long the old token stays valid; default: not at all.")
@json_option
@click.argument("id_", type=text, metavar="ID")
def rotate(path: Path, id_: str, ttl: str | None, keep: str | None, *, as_json: bool) -> None:
    """
    Replace an API token by a new one, and print the new one.

    The new API token has the owner, restrictions, name and comment of the old one. The old token
    and the tokens created with it are revoked, or expire after --keep.
    """
    lifetime, kept_for = _duration(ttl, "--ttl"), _duration(keep, "--keep")

    async def work(gateway: Gateway[Reply], kept: TokenService, world: World) -> None:
        old = await kept.store.get(id_)
        if old is None:
            raise NoSuchToken
        owner = await _owner_now(gateway, old.owner, old.provider)
        by, now = audit.at_terminal(), world.clock.seconds()
        presented, token = await rotation.rotate(
            kept,
            old,
            now=now,
            by=by,
            can_look_up=gateway.owners.can_look_up(owner.identity, old.provider),
            ttl=lifetime,
        )
        _print_created(presented, token, as_json=as_json, rotated=old.id)
        if kept_for is None:
            await kept.end(old.id, by)
        else:
            await kept.shorten(old, now + kept_for, by)

    run(path, work, as_json=as_json)


@tokens.command(
    cls=Command,
    examples=(
        "authotron tokens revoke 0vUSEIBdKSfL",
        "authotron tokens revoke --realm internal --username alice",
    ),
)
@config_option
@click.option("--realm", type=text, help="Revoke all tokens of --username in this realm.")
@click.option("--username", type=text, help="Revoke all tokens of this user in --realm.")
@json_option
@click.argument("ids", type=text, metavar="[ID]...", nargs=-1)
def revoke(
    path: Path, ids: tuple[str, ...], realm: str | None, username: str | None, *, as_json: bool
) -> None:
    """
    Revoke API tokens and the tokens created with them.

    The tokens are named by their IDs, or by --realm and --username together: all tokens of that
    user. If an ID is unknown, the other tokens are revoked nevertheless, and the exit status is 1.
    """
    if (realm is None) != (username is None):
        raise click.UsageError("give --realm and --username together, or neither of them")
    if bool(ids) == (realm is not None):
        raise click.UsageError("give either IDs, or --realm and --username")

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        wanted = list(ids)
        if realm is not None:
            wanted = [token.id async for token in _all_tokens(kept, realm, username)]
        revoked, missing = await _revoke(kept, wanted, as_json=as_json)
        if as_json:
            say_json({"revoked": revoked, "missing": missing})
        elif realm is not None:
            say(f"revoked {len(revoked)} API tokens of {username} in realm {realm}")
        if missing:
            raise SystemExit(1)

    run(path, work, as_json=as_json)


async def _revoke(
    kept: TokenService, ids: Sequence[str], *, as_json: bool
) -> tuple[list[str], list[str]]:
    """Revoke API tokens; return the ids of all that were revoked, and those that do not exist."""
    ended: dict[str, None] = {}
    missing: list[str] = []
    for id_ in dict.fromkeys(ids):
        try:
            # Revoking an API token also revokes the tokens that were created with it, so some may
            # be revoked already.
            if id_ not in ended:
                ended.update(dict.fromkeys(await kept.end(id_, audit.at_terminal())))
        except NoSuchToken:
            missing.append(id_)
            if not as_json:
                say(f"{id_}: there is no such API token", fg="red", err=True)
        else:
            if not as_json:
                say(f"revoked {id_}")
    return [*ended], missing


@tokens.command(cls=Command, examples=("authotron tokens prune",))
@config_option
def prune(path: Path) -> None:
    """Delete expired API tokens. A running gateway deletes expired tokens once a minute."""

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        count = await kept.flush()
        say(f"deleted {count} expired API token{'' if count == 1 else 's'}")

    run(path, work)


tokens.add_command(import_tokens.import_)
tokens.add_command(token_backup.backup)
tokens.add_command(token_backup.restore)
tokens.add_command(token_backup.new_pepper)


async def _owner_now(gateway: Gateway[Reply], owner: Identity, provider: str) -> Authentication:
    """
    Ask a provider for the current identity of the owner of an API token.

    @raise Rejected: the owner of the API token does not exist any more.
    """
    admit = gateway.authenticator.identity_check.admit
    found = await gateway.owners.now(admit(owner), provider)
    return found._replace(identity=admit(found.identity, found.provider))


def _print_created(presented: PlainToken, token: Token, *, as_json: bool, **also: str) -> None:
    if as_json:
        say_json({"token": presented.text, **token_as_json(token), **also})
    else:
        say(presented.text)


_OPTIONS = {
    "roles": "--role",
    "scopes": "--scope",
    "hosts": "--host",
    "networks": "--network",
    "cnf": "--jkt or --x5t",
}
"""
Keys in the body of C{POST /tokens} whose names differ from those of the options of C{tokens
create}.
"""


def _request(given: Mapping[str, Any]) -> TokenRequest:
    """
    Check the options of C{tokens create} by the rules for the body of C{POST /tokens}.

    @raise BadParameter: an option of the command is invalid.
    """
    scopes: dict[str, list[str]] = {}
    for each in given["scopes"]:
        service, equals, scope = each.partition("=")
        if not (service and equals and scope):
            raise click.BadParameter("is not SERVICE=SCOPE", param_hint="--scope")
        scopes.setdefault(service, []).append(scope)
    wanted = {**given, "roles": given["roles"] or None, "scopes": scopes or None}
    hashes = {"jkt": wanted.pop("jkt"), "x5t#S256": wanted.pop("x5t")}
    wanted["cnf"] = {name: value for name, value in hashes.items() if value is not None} or None
    try:
        body = section.read(NewToken, wanted)
    except ConfigError as error:
        problem = error.problems[0]
        key = re.split(r"[.\[]", problem.path)[0]
        option = _OPTIONS.get(key, f"--{key}" if key else None)
        raise click.BadParameter(problem.message, param_hint=option) from None
    return body.as_request()


class _Lifetime(section.Section):
    """A configuration section with one key, used to read a duration as in a configuration file."""

    ttl: section.WholeSeconds | None = None


def _duration(text: str | None, option: str) -> int | None:
    try:
        return section.read(_Lifetime, {"ttl": text}).ttl
    except ConfigError as error:
        raise click.BadParameter(error.problems[0].message, param_hint=option) from None
