"""Run a command that works with the token store of a configuration."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
from attrs import frozen
from twisted.internet.task import react
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from authotron.cli.composed import composed
from authotron.cli.options import exit_on_config_error, load_config
from authotron.cli.output import say, say_json
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.check import Config
from authotron.gateway.gateway import Gateway
from authotron.model.errors import (
    BadIdentity,
    ExceedsGrant,
    NoSuchToken,
    Rejected,
    Unavailable,
)
from authotron.net.world import World
from authotron.telemetry import logs
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply

Work = Callable[[Gateway[Reply], TokenService, World], Awaitable[None]]
"""The work of a command: a function that is called with the open token store."""


def run(path: Path, work: Work, *, opens: bool = True, as_json: bool = False) -> None:
    """
    Open the token store of a configuration and run some work with it.

    If the function raises an error, print its cause and exit with 1.

    @param opens: whether to open the store before the call.
    @param as_json: print as JSON why the work fails, and the problems of an invalid configuration.
    """
    config = load_config(path, as_json=as_json)
    if config.store is None:
        raise click.ClickException("the configuration has no token store (section store)")
    if config.store.type == "memory":
        raise click.ClickException(
            "a token store of type memory is inside the gateway; use its HTTP interface, /tokens"
        )
    react(_run, (config, work, opens, as_json))


@implementer(ILogObserver)
@frozen
class _AuditLog:
    """
    Writes the audit events of API tokens, revocations, stored policies and signing keys to standard
    error, as the gateway writes such events to its log.

    The event C{auth.identity.left_out}, about invalid roles of an owner, is logged.
    """

    _log: logs.Log

    def __call__(self, event: LogEvent) -> None:
        name = str(event.get("event", ""))
        audited = ("auth.identity.left_out", "policy.store.changed", "jwt.keys.changed")
        if name.startswith(("tokens.", "revocations.")) or name in audited:
            self._log(event)


async def _run(
    reactor: IGatewayReactor,
    config: Config,
    work: Work,
    opens: bool,  # noqa: FBT001 - react() passes no keywords
    as_json: bool,  # noqa: FBT001 - react() passes no keywords
) -> None:
    """
    Run a function with the open store.

    @raise SystemExit: 1 if the work fails.
    """
    globalLogPublisher.addObserver(_AuditLog(logs.Log(config.file.logging, sys.stderr)))
    async with composed(reactor, config, as_json=as_json) as (gateway, world):
        assert gateway.tokens is not None
        try:
            with exit_on_config_error(as_json=as_json):
                if opens:
                    await gateway.tokens.store.open()
                await work(gateway, gateway.tokens, world)
        except (BadIdentity, NoSuchToken, Rejected, ExceedsGrant, Unavailable) as reason:
            message = str(reason) or "there is no such API token"
            if as_json:
                say_json({"error": message})
            say(message, fg="red", err=True)
            raise SystemExit(1) from None
