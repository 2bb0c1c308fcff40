"""C{authotron explain}: how a credential is judged, step by step."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from twisted.internet.task import react
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from authotron.cli.options import complaints, config_option, loaded
from authotron.cli.output import say, say_lines
from authotron.config import schema
from authotron.config.check import Config
from authotron.daemon.compose import compose
from authotron.daemon.runtime import Pool, outside
from authotron.gateway import credentials
from authotron.gateway.gateway import Gateway
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    BadCredentials,
    BadIdentity,
    Rejected,
    Unavailable,
)
from authotron.telemetry import logs
from authotron.telemetry.metrics import Metrics
from authotron.web.replies import Reply


@click.command()
@config_option
@click.option("--realm", help="What the client sends as X-Auth-Realm.")
@click.argument("source", type=click.File("r"), default="-")
def explain(path: Path, realm: str | None, source: Any) -> None:
    """
    Show how a credential is judged: who was asked, what was added, what is minted.

    The value of an Authorization header, such as "Basic dXNlcjpwYXNz", is read from SOURCE, a file
    or standard input; never from the command line, which others can see.

    Exit status 0 if it gets in, 1 if not, 78 if the configuration is bad.
    """
    header = source.read().strip().removeprefix("Authorization:").strip()
    react(_explain, (loaded(path), header, realm))


async def _explain(reactor: Any, found: Config, header: str, realm: str | None) -> None:
    """
    Judge as the gateway would, and tell what its authority says on the way.

    @raise SystemExit: 1 if nobody gets in.
    """
    logs.log.configure(schema.LoggingConfig(level="debug"))
    globalLogPublisher.addObserver(_tell)
    pool = Pool(reactor)
    pool.startService()
    with complaints():
        gateway = compose(found, outside(reactor, pool), Metrics())
    try:
        await _opened(gateway)
        _minted(gateway, await _judged(gateway, header, realm), reactor.seconds())
    except (BadCredentials, BadIdentity, Rejected, Unavailable) as reason:
        say(f"{type(reason).__name__}: {reason}", fg="red")
        raise SystemExit(1) from None
    finally:
        if gateway.tokens is not None:
            await gateway.tokens.store.close()
        pool.stopService()


async def _opened(gateway: Gateway[Reply]) -> None:
    """Let the store be there for tokens of our own; all others are judged without it."""
    if gateway.tokens is not None:
        with complaints(), suppress(Unavailable):
            await gateway.tokens.store.open()


async def _judged(gateway: Gateway[Reply], header: str, realm: str | None) -> Authentication:
    parsed = credentials.parse(header)
    say("credentials", bold=True)
    for credential in parsed:
        say(f"  {credential.scheme}, {len(credential.value)} characters")
    say("judged", bold=True)
    return await gateway.authenticator.identify(parsed, realm)


_JUDGING = ("auth.", "augmenters.")
"""Beginnings of the events that say how credentials were judged."""


@provider(ILogObserver)
def _tell(event: LogEvent) -> None:
    if str(event.get("event", "")).startswith(_JUDGING):
        say(f"  {formatEvent(event)}")


def _minted(gateway: Gateway[Reply], found: Authentication, now: float) -> None:
    say("claims", bold=True)
    claims = gateway.minter.claims(found, int(now))
    say_lines(json.dumps(claims, indent=2, ensure_ascii=False))
