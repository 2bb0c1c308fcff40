"""C{authotron jwt}: verify and print minted JWTs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from jwt import InvalidTokenError

from authotron.cli.options import clock, config_option, exit_on_config_error, load_config
from authotron.cli.output import say, say_lines
from authotron.jose import minter


@click.group()
def jwt() -> None:
    """Verify and print minted JWTs."""


@jwt.command()
@config_option
@click.argument("source", type=click.File("r"), default="-")
def decode(path: Path, source: Any) -> None:
    """
    Verify a minted JWT with the configured keys, and print its header and claims.

    The JWT is read from SOURCE, a file or standard input; never from the command line, which other
    users of the machine can see. Exit status 1 if the JWT is invalid.
    """
    config = load_config(path)
    text = source.read().strip().removeprefix("Authorization:").strip().removeprefix("Bearer ")
    with exit_on_config_error():
        signer = minter.make(config.file.jwt, clock())
    try:
        header, claims = signer.verify(text)
    except InvalidTokenError as error:
        say(f"invalid JWT: {error}", fg="red", err=True)
        sys.exit(1)
    say_lines(json.dumps({"header": header, "claims": claims}, indent=2, ensure_ascii=False))


@click.group(hidden=True)
def token() -> None:
    """
    Print that `authotron token decode` is now `authotron jwt decode`, and run the
    new command.
    """
    say("`authotron token decode` is now called `authotron jwt decode`", fg="yellow", err=True)


token.add_command(decode)
