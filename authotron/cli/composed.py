"""Compose the gateway of a configuration for the duration of one command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from authotron.cli.options import exit_on_config_error
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.check import Config
from authotron.daemon.compose import compose
from authotron.daemon.runtime import Pool, make_world
from authotron.gateway.gateway import Gateway
from authotron.model.errors import Unavailable
from authotron.net.world import World
from authotron.telemetry.metrics import Metrics
from authotron.web.replies import Reply


@asynccontextmanager
async def composed(
    reactor: IGatewayReactor, config: Config, *, as_json: bool = False
) -> AsyncIterator[tuple[Gateway[Reply], World]]:
    """
    Build the gateway of a configuration, and yield it with the clock and network of its plugins.

    When the C{with} block ends, or composing the gateway fails, the token store is closed and the
    threads end. If a plugin cannot be built, its problems are printed and the command exits with
    78.
    """
    pool = Pool(reactor)
    pool.startService()
    try:
        world = make_world(reactor, pool)
        gateway = compose_or_exit(config, world, as_json=as_json)
        try:
            yield gateway, world
        finally:
            if gateway.tokens is not None:
                with suppress(Unavailable):
                    await gateway.tokens.store.close()
    finally:
        pool.stopService()


def compose_or_exit(config: Config, world: World, *, as_json: bool = False) -> Gateway[Reply]:
    """Build the gateway of a configuration; if that fails, print the reasons, exit with 78."""
    with exit_on_config_error(as_json=as_json):
        return compose(config, world, Metrics())
