"""Work with the token store of a configuration, for commands that need no gateway."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from attrs import frozen
from twisted.internet.task import react
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from authotron.cli.options import complaints, loaded
from authotron.cli.output import say
from authotron.config.check import Config
from authotron.daemon.compose import compose
from authotron.daemon.runtime import Pool, outside
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
from authotron.telemetry.metrics import Metrics
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply

Work = Callable[[Gateway[Reply], TokenService, World], Awaitable[None]]


def run(path: Path, work: Work) -> None:
    """Do some work with the store of a configuration, or say why it cannot be done."""
    found = loaded(path)
    if found.store is None or found.store.type == "memory":
        raise click.ClickException("there is no store that could be reached from here")
    react(_working, (found, work))


@implementer(ILogObserver)
@frozen
class _AuditLog:
    """
    Writes to standard error what is done to API tokens, as a gateway does to its log.

    So it does with the names of roles that are left out of their owners.
    """

    _log: logs.Log

    def __call__(self, event: LogEvent) -> None:
        name = str(event.get("event", ""))
        if name.startswith("tokens.") or name == "auth.identity.left_out":
            self._log(event)


async def _working(reactor: Any, found: Config, work: Work) -> None:
    """
    Do some work with the open store.

    @raise SystemExit: 1 if it could not be done.
    """
    globalLogPublisher.addObserver(_AuditLog(logs.Log(found.file.logging, sys.stderr)))
    pool = Pool(reactor)
    pool.startService()
    world = outside(reactor, pool)
    with complaints():
        gateway = compose(found, world, Metrics())
    assert gateway.tokens is not None
    try:
        with complaints():
            await gateway.tokens.store.open()
            await work(gateway, gateway.tokens, world)
    except (BadIdentity, NoSuchToken, Rejected, ExceedsGrant, Unavailable) as reason:
        told = str(reason) or "there is no such token"
        say(told, fg="red", err=True)
        raise SystemExit(1) from None
    finally:
        with suppress(Unavailable):
            await gateway.tokens.store.close()
        pool.stopService()
