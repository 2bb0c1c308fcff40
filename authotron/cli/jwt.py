"""C{authotron jwt}: verify and print JWTs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import jwt as pyjwt
from twisted.internet.defer import execute

from authotron.cli.composed import compose_or_exit
from authotron.cli.not_asked import why_not_asked
from authotron.cli.options import Command, clock, config_option, load_config
from authotron.cli.output import say, say_json
from authotron.cli.token_store import run
from authotron.config.schema import JwtConfig
from authotron.gateway.authentication import Authenticator
from authotron.gateway.gateway import Gateway
from authotron.jose import unverified
from authotron.jose.key_ring import UnreadableRing
from authotron.jose.minter import Minter
from authotron.jose.ring_keys import RingKeys
from authotron.jose.unverified import Unverified
from authotron.model.errors import Unavailable
from authotron.model.identity import Credential
from authotron.net.world import World
from authotron.tokens import shared_keys
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply

_TIMES = ("iat", "nbf", "auth_time", "exp")
"""Claims that are seconds since the epoch."""

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@click.group()
def jwt() -> None:
    """Verify and print JWTs."""


@jwt.command(
    cls=Command,
    examples=(
        "authotron jwt decode < token.txt",
        "authotron jwt decode token.txt | jq .providers",
    ),
)
@config_option
@click.argument("source", type=click.File("r"), default="-")
def decode(path: Path, source: Any) -> None:
    """
    Print a JWT, of this gateway or of an identity provider, as JSON.

    Prints header, claims, readable times, and for each provider whether it would be asked about the
    JWT, or why not. The signature is verified only by the keys with which this gateway mints JWTs;
    `authotron explain` verifies it by the providers.

    The JWT is read from SOURCE, a file or standard input; never from the command line, which other
    users of the machine can see. Exit status 0 if this gateway minted the JWT and it is valid, else
    1.
    """
    config = load_config(path)
    text = source.read().strip().removeprefix("Authorization:").strip().removeprefix("Bearer ")
    seen = unverified.parse(text)
    if seen is None or not seen.header:
        say("invalid JWT: not three parts of base64url with JSON in them", fg="red", err=True)
        sys.exit(1)
    if config.file.jwt.sealing_key is None:
        now = clock()
        _report(text, seen, compose_or_exit(config, World(now, execute)), now.seconds())
        return

    async def work(gateway: Gateway[Reply], tokens: TokenService, world: World) -> None:
        await _read_keys(gateway.minter, config.file.jwt, tokens, world)
        _report(text, seen, gateway, world.clock.seconds())

    run(path, work)


async def _read_keys(minter: Minter, config: JwtConfig, tokens: TokenService, world: World) -> None:
    """
    Let a minter verify by the signing keys in the token store.

    @raise Unavailable: the signing keys cannot be read.
    """
    assert isinstance(minter.keys, RingKeys)
    try:
        stored = await shared_keys.make(config, tokens.store, world.clock).read()
    except UnreadableRing as error:
        raise Unavailable(str(error)) from None
    if stored.ring is None:
        raise Unavailable(shared_keys.NO_RING)
    minter.keys.use(stored.ring, world.clock.seconds())


def _report(text: str, seen: Unverified, gateway: Gateway[Reply], now: float) -> None:
    """
    Print a JWT and whether it is valid.

    @raise SystemExit: 1 if the JWT is not valid.
    """
    reason = _why_invalid(text, seen, gateway.minter, gateway.config.file.jwt.iss)
    say_json(
        {
            "header": seen.header,
            "claims": seen.claims,
            "times": dict(_times(seen.claims, now)),
            "valid": reason is None,
            "reason": reason,
            "providers": [*_providers(gateway.authenticator, text)],
        }
    )
    if reason is not None:
        say(f"invalid JWT: {reason}", fg="red", err=True)
        sys.exit(1)


def _why_invalid(text: str, seen: Unverified, minter: Minter, issuer: str) -> str | None:
    """Return why a JWT is invalid: this gateway has not minted the JWT, or the JWT has expired."""
    try:
        minter.verify(text)
    except pyjwt.InvalidAlgorithmError:
        return f"signed with {seen.header.get('alg')!a}; this gateway signs with {minter.algorithm}"
    except pyjwt.InvalidIssuerError:
        return f"the issuer of the JWT is {seen.claims.get('iss')!a}; this gateway is {issuer!a}"
    except pyjwt.InvalidTokenError as error:
        return str(error)
    return None


def _times(claims: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    """Yield each time in the claims in readable form: in UTC, and relative to now."""
    for name in _TIMES:
        value = claims.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                moment = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            except (ValueError, OverflowError, OSError):
                moment = "beyond the year 9999"
            yield name, f"{moment} ({_relative(value - now)})"


def _relative(seconds: float) -> str:
    size = abs(seconds)
    unit, length = next((each for each in _UNITS if size >= each[1]), _UNITS[-1])
    amount = f"{size // length:.0f} {unit}"
    return f"in {amount}" if seconds > 0 else f"{amount} ago"


def _providers(authenticator: Authenticator, text: str) -> Iterator[dict[str, Any]]:
    """Yield for each provider whether it would be asked about a JWT, or why not."""
    credential = Credential("bearer", text)
    asked = authenticator.would_ask(credential, None)
    for provider in authenticator.providers:
        is_asked = any(each is provider for each in asked)
        reason = None if is_asked else why_not_asked(provider, authenticator, [credential], None)
        yield {"name": provider.name, "type": provider.type, "asked": is_asked, "reason": reason}


@click.group(hidden=True)
def token() -> None:
    """
    Print that `authotron token decode` is now `authotron jwt decode`, and run the
    new command.
    """
    say("`authotron token decode` is now called `authotron jwt decode`", fg="yellow", err=True)


token.add_command(decode)
