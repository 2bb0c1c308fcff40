"""C{authotron revoke}: revoke tokens or the credentials of users in the token store."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from attrs import field, frozen

from authotron.cli.options import Command, config_option, json_option, text
from authotron.cli.output import say, say_json
from authotron.cli.realms import check_realm
from authotron.cli.token_store import run
from authotron.gateway import revoking
from authotron.gateway.gateway import Gateway
from authotron.model import revocation
from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.model.moments import parse_moment
from authotron.model.naming import normalize
from authotron.model.revocation import Revocation
from authotron.net.world import World
from authotron.policy import expressions
from authotron.telemetry import audit
from authotron.tokens.grants import grant_in_use
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply
from authotron.web.revocation_bodies import as_json as revocation_as_json

NOT_CONFIGURED = "the configuration has no section revocation, so a gateway ignores revocations"


@frozen
class _Wish:
    """
    The credentials that the command line says are to be revoked, from which time, and until which
    time.
    """

    token: str | None = field(repr=False)
    token_id: str | None
    realm: str | None
    username: str | None
    claims: str | None
    issued_before: str | None
    active_from: str | None
    until: str | None
    reason: str


@click.command(
    cls=Command,
    examples=(
        "authotron revoke --realm internal --username alice --issued-before now",
        "authotron revoke --token - < leaked-token",
        "authotron revoke --claims '\"contractor\" in claims.role' --until +30d",
    ),
)
@click.option("--token", type=text, metavar="TOKEN", help="Revoke this token; - reads it.")
@click.option("--token-id", type=text, help="Revoke the token with this ID (`jti`).")
@click.option("--realm", type=text, help="Revoke the credentials of --username in this realm.")
@click.option("--username", type=text, help="Revoke the credentials of this user in --realm.")
@click.option("--claims", type=text, help="Revoke identities for which this CEL holds.")
@click.option("--issued-before", type=text, help="Revoke only tokens that were issued before.")
@click.option("--active-from", type=text, help="The moment from which the revocation counts.")
@click.option("--until", type=text, help="The moment from which it does not count any more.")
@click.option("--reason", type=text, default="", help="Why, for operators.")
@config_option
@json_option
def revoke(
    path: Path,
    token: str | None,
    token_id: str | None,
    realm: str | None,
    username: str | None,
    claims: str | None,
    issued_before: str | None,
    active_from: str | None,
    until: str | None,
    reason: str,
    *,
    as_json: bool,
) -> None:
    """
    Revoke tokens, or all credentials of a user.

    Gateways that share the token store refuse the credentials within one second. With
    --issued-before, users may log in again: passwords and newer tokens still count. Moments are
    written as 2026-01-31T00:00:00Z, now, +24h or -5m.

    Exit status 1 if nothing was revoked.
    """
    ways = [token is not None, claims is not None, token_id is not None or username is not None]
    if sum(ways) != 1 or (realm is None) != (username is None):
        raise click.UsageError("give --token, --token-id, --realm with --username, or --claims")
    if issued_before is not None and (token is not None or token_id is not None):
        raise click.UsageError("--issued-before cannot be given for one token")
    plain = _read_token() if token == "-" else token  # noqa: S105 - the word for standard input
    wish = _Wish(
        plain, token_id, realm, username, claims, issued_before, active_from, until, reason[:256]
    )

    async def work(gateway: Gateway[Reply], tokens: TokenService, world: World) -> None:
        if gateway.revocations is None:
            raise Rejected(NOT_CONFIGURED)
        await _revoke(wish, gateway, tokens, world.clock.seconds(), as_json=as_json)

    run(path, work, as_json=as_json)


def _read_token() -> str:
    if sys.stdin.isatty():
        asked: str = click.prompt("Token", hide_input=True, err=True)
        return asked.strip()
    return sys.stdin.read().strip()


async def _revoke(
    wish: _Wish, gateway: Gateway[Reply], tokens: TokenService, now: float, *, as_json: bool
) -> None:
    by = audit.at_terminal()
    if wish.token is not None:
        credential = Credential("bearer", wish.token)
        found = await gateway.authenticator.identify([credential], None, is_stated=True)
        if lineage := grant_in_use(found).lineage:
            await tokens.end(lineage[-1], by)
            _report(f"revoked API token {lineage[-1]}", {"api_token": lineage[-1]}, as_json=as_json)
            return
        wanted = revoking.of_presented_token(found, now, wish.reason, str(by))
        assert wanted is not None
    else:
        if wish.realm is not None:
            check_realm(gateway, wish.realm)
        wanted = _wanted(wish, now, str(by))
    await tokens.store.add_record(wanted.record(), now)
    audit.revocation_made(wanted, by)
    done = f"revocation {wanted.id} of {wanted.about} is stored; gateways apply it within 1 s"
    _report(done, revocation_as_json(wanted), as_json=as_json)


def _wanted(wish: _Wish, now: float, by: str) -> Revocation:
    """
    Return the revocation that the command line asks for.

    @raise BadParameter: a moment, or the expression, is malformed.
    """
    if wish.claims is not None:
        try:
            expressions.compiled_for_claims(wish.claims)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--claims") from None
    until = _moment(wish.until, "--until", now)
    if until is None and wish.token_id is not None:
        until = now + revocation.UNKNOWN_EXPIRY
    return Revocation(
        revocation.new_id(now),
        wish.token_id,
        wish.realm,
        None if wish.username is None else normalize(wish.username),
        wish.claims,
        now,
        _moment(wish.issued_before, "--issued-before", now),
        _moment(wish.active_from, "--active-from", now),
        until,
        wish.reason,
        by,
    )


def _moment(given: str | None, option: str, now: float) -> float | None:
    if given is None:
        return None
    try:
        return parse_moment(given, now)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _report(done: str, content: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        say_json(content)
    else:
        say(done)
