"""C{authotron logout}: revoke the tokens of a login, and delete them."""

from __future__ import annotations

from typing import Any

import click

from authotron.cli.login_options import (
    EX_TEMPFAIL,
    ask,
    credential_options,
    gateway_options,
    provider_option,
    run,
    session,
)
from authotron.cli.login_output import moment
from authotron.cli.options import Command, json_option
from authotron.cli.output import say, say_json
from authotron.login.logins import LoggedOut, Logins


@click.command(
    cls=Command,
    examples=(
        "authotron logout",
        "authotron logout --everywhere --provider basic --user alice",
    ),
)
@gateway_options
@click.option("--everywhere", is_flag=True, help="Also revoke all your other tokens.")
@provider_option
@credential_options
@json_option
def logout(*, everywhere: bool, as_json: bool, **given: Any) -> None:
    """
    Revoke the tokens of a login, and delete them.

    The tokens are deleted from ~/.cache/authotron in any case. If the gateway cannot revoke them,
    the command says so: the token is then valid until it expires.

    With --everywhere you present your password, or a token without restrictions, as for `authotron
    login`: for the kept token the gateway revokes no other tokens.

    Exit status 0 if the gateway has revoked the tokens or no login is kept, 1 if the gateway cannot
    revoke them, 75 if the gateway did not answer.
    """
    found = session(given, as_json=as_json)
    presented = ask(found.profile) if everywhere else None

    async def work(logins: Logins) -> None:
        ended = await logins.log_out(presented)
        flaws = _flaws(ended)
        if as_json:
            say_json(
                {
                    "gateway": logins.remote.url,
                    "was_logged_in": ended.login is not None,
                    "revoked": ended.is_revoked,
                    "refresh_token_revoked": ended.is_refresh_revoked,
                    "everywhere": ended.everywhere,
                    "problems": flaws,
                }
            )
        elif ended.login is None:
            say(f"no login is kept for {logins.remote.url}")
        else:
            say(f"{ended.login.username} is logged out of {logins.remote.url}")
        if ended.everywhere and not as_json:
            say("All tokens that were issued to the user before now are revoked.")
        for flaw in flaws:
            say(f"warning: {flaw}", fg="yellow", err=True)
        if flaws:
            raise SystemExit(EX_TEMPFAIL if ended.failure else 1)

    run(found, work, as_json=as_json)


def _flaws(ended: LoggedOut) -> list[str]:
    """Return what a logout did not end, each as a sentence for the user."""
    others = ended.everywhere_failure
    flaws = [f"the other tokens of the user are not revoked: {others}"] if others else []
    return [*_flaws_of_login(ended), *flaws]


def _flaws_of_login(ended: LoggedOut) -> list[str]:
    """Return what a logout did not end of the kept login."""
    if ended.login is None:
        return []
    until = f"a copy of the token is valid until {moment(ended.login.ends)}"
    if ended.failure:
        return [f"the tokens are deleted here, but {until}: {ended.failure}"]
    flaws = [] if ended.is_revoked else [f"the gateway cannot revoke tokens, so {until}"]
    if ended.is_refresh_revoked is False:
        flaws.append("the gateway cannot revoke refresh tokens (`oauth` is off), so they expire")
    return flaws
