"""Read a credential of a client from a file, standard input or the terminal."""

from __future__ import annotations

import sys
from base64 import b64encode

import click


def header_value(text: str) -> str:
    """
    Return the value of the header C{Authorization} from a text that may begin with the name of the
    header.
    """
    return text.strip().removeprefix("Authorization:").strip()


def ask_basic(username: str) -> str:
    """Ask for a user's password, and return the Authorization header."""
    if ":" in username:
        raise click.BadParameter("user names must not have a colon (RFC 7617)", param_hint="--user")
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, err=True)
    else:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()
