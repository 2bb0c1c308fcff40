"""C{authotron login}: log in at a gateway, and keep the token for later commands."""

from __future__ import annotations

from typing import Any

import click

from authotron.cli.login_options import (
    as_wish,
    ask,
    credential_options,
    gateway_options,
    provider_argument,
    run,
    session,
    wish_options,
)
from authotron.cli.login_output import as_json_of, moment
from authotron.cli.options import Command, json_option
from authotron.cli.output import say, say_json
from authotron.login.logins import Logins


@click.command(
    cls=Command,
    examples=(
        "authotron login basic --gateway https://auth.example.org --user alice",
        "authotron login ldap --user - --validity 8h --role reader",
        "authotron login certificate --client-certificate-file me.pem --client-key-file me.key",
        "authotron login token --token-file - < job-token",
    ),
)
@provider_argument
@gateway_options
@credential_options
@wish_options
@click.option("--refresh/--no-refresh", default=None, help="Request a refresh token (default).")
@json_option
def login(*, as_json: bool, **given: Any) -> None:
    """
    Log in at a gateway, and keep the token for later commands.

    PROVIDER is the credential: basic and ldap (user name and password), certificate (a client
    certificate by TLS), or token (an API token, a JWT, an exchanged token). The gateway exchanges
    it for a token, which is kept in ~/.cache/authotron, and which `authotron tokens get` prints and
    renews. The password is not kept.

    A setting that is no option comes from AUTHOTRON_GATEWAY, AUTHOTRON_USER and so on, then from
    ~/.config/authotron/PROFILE.yaml, then from /etc/authotron/cli/PROFILE.yaml. What is missing is
    asked for at the terminal, or read from standard input, one line each.

    Exit status 0 if the login is kept, 1 if the gateway refuses, 75 if it does not answer.
    """
    found = session(given, as_json=as_json)
    wish, presented = as_wish(given), ask(found.profile)

    async def work(logins: Logins) -> None:
        kept = await logins.log_in(presented, wish)
        if as_json:
            say_json(as_json_of(kept))
            return
        renewed = "is renewed until you log out" if kept.refresh_token else "is not renewed"
        say(f"{kept.username} (realm {kept.realm}) is logged in at {kept.gateway}")
        say(f"The token is valid until {moment(kept.ends)}, and {renewed}.")

    run(found, work, as_json=as_json)
