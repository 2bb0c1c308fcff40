"""The commands of C{authotron tokens} for clients of a gateway: get, exchange, git-credential."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click

from authotron.cli.login_options import (
    as_wish,
    ask,
    credential_options,
    gateway_options,
    provider_option,
    run,
    session,
    wish_options,
)
from authotron.cli.login_output import as_json_of
from authotron.cli.options import Command, json_option, text
from authotron.cli.output import say, say_json
from authotron.cli.token_commands import tokens
from authotron.login import git_credential
from authotron.login.logins import Logins
from authotron.login.remote_gateway import Presented

_header_option = click.option(
    "--header", is_flag=True, help="Print the header `Authorization: Bearer TOKEN`, for curl -H @-."
)


@tokens.command(
    cls=Command,
    examples=(
        "authotron tokens get --header | curl -H @- https://data.example.org/",
        "authotron tokens get --json | jq -r .expires",
    ),
)
@gateway_options
@_header_option
@json_option
def get(*, header: bool, as_json: bool, **given: Any) -> None:
    """
    Print the token of the login at a gateway.

    The token is renewed first if more than half of its life is over: by the refresh token of
    `authotron login`, or by a credential in the profile or in AUTHOTRON_* variables, so that
    scripts need not log in at all. If renewing fails, the token is printed as long as it is valid.

    Exit status 1 if there is no valid token, 75 if the gateway does not answer.
    """
    found = session(given, as_json=as_json)

    async def work(logins: Logins) -> None:
        kept = await logins.current()
        if as_json:
            say_json({"token": kept.token, "token_type": "Bearer", **as_json_of(kept)})
        else:
            say(_shown(kept.token, header=header))

    run(found, work, as_json=as_json)


def _shown(token: str, *, header: bool) -> str:
    return f"Authorization: Bearer {token}" if header else token


@tokens.command(
    cls=Command,
    examples=(
        "authotron tokens exchange --validity 15m --permission '/data/**:GET'",
        "authotron tokens exchange --provider token --token-file job-token --role reader --json",
    ),
)
@provider_option
@gateway_options
@credential_options
@wish_options
@_header_option
@json_option
def exchange(*, header: bool, as_json: bool, **given: Any) -> None:
    """
    Exchange the token of a login for a narrower one.

    The narrower token is printed, and not kept. With --provider the command presents this
    credential instead of the kept token. The gateway grants no more than the credential has.

    Exit status 1 if the gateway refuses, 75 if the gateway does not answer.
    """
    found, wish = session(given, as_json=as_json), as_wish(given)
    stated = ask(found.profile) if given["provider"] else None

    async def work(logins: Logins) -> None:
        presented = stated or Presented(bearer=(await logins.current()).token)
        issued = await logins.remote.exchange(presented, wish)
        if as_json:
            about = {"id": issued.id, "username": issued.username, "realm": issued.realm}
            times = {"issued": int(issued.issued), "expires": int(issued.expires)}
            say_json({"token": issued.token, "token_type": "Bearer", **about, **times})
        else:
            say(_shown(issued.token, header=header))

    run(found, work, as_json=as_json)


@tokens.command(
    "git-credential",
    cls=Command,
    examples=(
        "git config credential.https://git.example.org.helper '!authotron tokens git-credential'",
    ),
)
@gateway_options
@click.option(
    "--as-password",
    "username",
    type=text,
    metavar="USER",
    help="Give git the token as the password of USER, for servers that take no bearer tokens.",
)
@click.argument("action", type=text)
def git_credential_(*, action: str, username: str | None, **given: Any) -> None:
    """
    Give git the token of a login.

    The command is a credential helper of git. ACTION is get, store or erase, and git sends the
    description of the credential to standard input. Only services of the profile (key `services`)
    and the gateway itself get the token. Without --as-password git 2.46 or later is needed, which
    sends bearer tokens.
    """
    if action not in ("get", "erase"):
        return  # git demands that helpers ignore what they do not know, and nothing is stored here.
    try:
        asked = git_credential.parse(sys.stdin.read(git_credential.LARGEST))
    except ValueError as flaw:
        raise click.ClickException(str(flaw)) from None
    found = session(given)
    if not asked.is_for(found.profile.origins):
        say(f"the profile {found.name} has no service {asked.url}: no token for git", err=True)
        return

    async def work(logins: Logins) -> None:
        if action == "erase":
            await logins.refused(asked.credential)
        elif username is not None:
            _say_all(git_credential.as_password(await logins.current(), username))
        elif asked.takes_tokens:
            _say_all(git_credential.as_token(await logins.current()))
        else:
            say("this git cannot send bearer tokens (git 2.46 can); see --as-password", err=True)

    run(found, work)


def _say_all(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)
