"""C{authotron doctor}: is everything there that a configuration depends on?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import click
from attrs import evolve
from twisted.internet.task import react

from authotron.cli.options import complaints, config_option, loaded
from authotron.cli.output import say
from authotron.concurrency.racing import with_timeout
from authotron.config.check import Config
from authotron.daemon.compose import compose, for_augmenter
from authotron.daemon.runtime import Pool, outside
from authotron.model.errors import Unavailable
from authotron.model.naming import flaw, normalized
from authotron.net.world import World
from authotron.plugin.interfaces import CheckResult, IReachable, ITokenStore
from authotron.telemetry.metrics import Metrics

_PATIENCE = 10.0


@click.command()
@config_option
@click.option(
    "--user", "username", help="Also count the roles that each directory gives this user."
)
def doctor(path: Any, username: str | None) -> None:
    """
    Try what the configuration depends on: key sets, directories, remote services, the token store.

    Of a directory each server is tried by itself: connection, TLS, bind, search, and with --user
    how many roles a user gets.

    Exit status 0 if all is well, 1 if something is not, 78 if the configuration is bad.
    """
    if username is not None:
        if why := flaw(username):
            raise click.BadParameter(f"a user name that {why}", param_hint="--user")
        username = normalized(username)
    react(_doctor, (loaded(path), username))


async def _doctor(reactor: Any, found: Config, username: str | None) -> None:
    """
    Try one part after the other.

    @raise SystemExit: 1 if something is not well.
    """
    pool = Pool(reactor)
    pool.startService()
    world = evolve(outside(reactor, pool), patience=found.file.auth.timeout_in_ms / 1000)
    try:
        with complaints():
            gateway = compose(found, world, Metrics())
        authenticator = gateway.authenticator
        parts = [
            *zip(authenticator.providers, found.providers, strict=True),
            *zip(authenticator.augmenters, found.augmenters, strict=True),
        ]
        worlds = [
            *(world for _ in found.providers),
            *(for_augmenter(each, world) for each in found.augmenters),
        ]
        well = [
            await _well(part, config, seen, username)
            for (part, config), seen in zip(parts, worlds, strict=True)
        ]
        if gateway.tokens is not None:
            well.append(await _opens(gateway.tokens.store))
        if not all(well):
            raise SystemExit(1)
    finally:
        pool.stopService()


async def _opens(store: ITokenStore) -> bool:
    """Whether the store of our own tokens can be used."""
    say(f"store ({store.type})", bold=True)
    try:
        with complaints():
            await store.open()
        return _told(CheckResult("can be opened", good=True))
    except Unavailable as reason:
        return _told(CheckResult(str(reason), good=False))
    finally:
        await store.close()


async def _well(part: Any, config: Any, world: World, username: str | None) -> bool:
    """Whether all is well with a part; each thing tried is told."""
    say(f"{part.name} ({part.type})", bold=True)
    good = True
    async for finding in _findings(part, config, world, username):
        good = _told(finding) and good
    return good


def _told(finding: CheckResult) -> bool:
    say("  good  " if finding.good else "  bad   ", nl=False, fg=_COLOURS[finding.good])
    say(": ".join(filter(None, (finding.what, finding.told))))
    return finding.good


_COLOURS = {True: "green", False: "red"}


async def _findings(
    part: Any, config: Any, world: World, username: str | None
) -> AsyncIterator[CheckResult]:
    """What a part says of itself in detail, or else whether it can be reached."""
    if hasattr(config, "examine"):
        async for finding in config.examine(world, username):
            yield finding
    elif not IReachable.providedBy(part):
        yield CheckResult("asks no remote", good=True)
    else:
        try:
            await with_timeout(world.clock, _PATIENCE, part.check_reachable())
            yield CheckResult("can be reached", good=True)
        except Unavailable as reason:
            yield CheckResult(str(reason), good=False)
