"""C{authotron explain}: show step by step how the gateway authenticates a credential."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from twisted.internet.task import react
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from authotron.cli.composed import composed
from authotron.cli.options import config_option, exit_on_config_error, load_config
from authotron.cli.output import say, say_lines
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config import schema
from authotron.config.check import Config
from authotron.gateway import credentials
from authotron.gateway.gateway import Gateway
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    BadCredentials,
    BadIdentity,
    Rejected,
    Unavailable,
)
from authotron.model.request import Presented
from authotron.telemetry import logs
from authotron.web.replies import Reply


@click.command()
@config_option
@click.option("--realm", help="The realm that the client sends in X-Auth-Realm.")
@click.argument("source", type=click.File("r"), default="-")
def explain(path: Path, realm: str | None, source: Any) -> None:
    """
    Show how a credential is authenticated.

    The output lists the results of providers and augmenters, and the claims of the JWT.

    The value of an Authorization header, such as "Basic dXNlcjpwYXNz", is read from SOURCE, a file
    or standard input; never from the command line, which other users of the machine can see.

    Exit status 0 if the credential is accepted, 1 if not, 78 if the configuration is invalid.
    """
    header = source.read().strip().removeprefix("Authorization:").strip()
    react(_explain, (load_config(path), header, realm))


async def _explain(
    reactor: IGatewayReactor, config: Config, header: str, realm: str | None
) -> None:
    """
    Authenticate a credential as the gateway does, and print the log events of the authenticator.

    @raise SystemExit: 1 if the credential is not accepted.
    """
    logs.log.configure(schema.LoggingConfig(level="debug"))
    globalLogPublisher.addObserver(_print_event)
    async with composed(reactor, config) as (gateway, _):
        try:
            await _open_store(gateway)
            identity = await _authenticate(gateway, header, realm)
            _print_claims(gateway, identity, reactor.seconds())
        except (BadCredentials, BadIdentity, Rejected, Unavailable) as reason:
            say(f"{type(reason).__name__}: {reason}", fg="red")
            raise SystemExit(1) from None


async def _open_store(gateway: Gateway[Reply]) -> None:
    """Open the token store; if that fails, all credentials but API tokens can be authenticated."""
    if gateway.tokens is not None:
        with exit_on_config_error(), suppress(Unavailable):
            await gateway.tokens.store.open()


async def _authenticate(gateway: Gateway[Reply], header: str, realm: str | None) -> Authentication:
    parsed = credentials.parse(Presented(header.encode()))
    say("credentials", bold=True)
    for credential in parsed:
        say(f"  {credential.scheme}, {len(credential.value)} characters")
    say("authentication", bold=True)
    return await gateway.authenticator.identify(parsed, realm)


_SHOWN = ("auth.", "augmenters.")
"""Prefixes of the names of the log events that C{authotron explain} prints."""


@provider(ILogObserver)
def _print_event(event: LogEvent) -> None:
    if str(event.get("event", "")).startswith(_SHOWN):
        say(f"  {formatEvent(event)}")


def _print_claims(gateway: Gateway[Reply], found: Authentication, now: float) -> None:
    say("claims", bold=True)
    claims = gateway.minter.claims(found, int(now))
    say_lines(json.dumps(claims, indent=2, ensure_ascii=False))
    size, limit = len(gateway.minter.mint(found)), gateway.minter.warn_bytes
    say(f"  JWT of {size} bytes" + (f", more than jwt.warn_bytes ({limit})" * (size > limit)))
