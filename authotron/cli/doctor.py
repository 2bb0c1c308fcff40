"""C{authotron doctor}: check that everything is reachable that a configuration depends on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import click
from attrs import evolve
from twisted.internet.task import react

from authotron.cli.composed import composed
from authotron.cli.options import config_option, exit_on_config_error, load_config
from authotron.cli.output import say
from authotron.concurrency.racing import with_timeout
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.check import Config
from authotron.daemon.compose import for_augmenter
from authotron.model.errors import Rejected, Unavailable
from authotron.model.naming import flaw, normalize
from authotron.net.world import World
from authotron.plugin.interfaces import CheckResult, IReachable, ITokenStore

_TIMEOUT = 10.0
"""Seconds that the check of one plugin may take."""

_COLOURS = {True: "green", False: "red"}


@click.command()
@config_option
@click.option("--user", "username", help="Also list the roles that each directory gives this user.")
def doctor(path: Any, username: str | None) -> None:
    """
    Check the services that a configuration needs.

    Checked are key sets, LDAP directories, other remote services and the token store. Each server
    of a directory is checked separately: connection, TLS, bind, search, and with --user the roles
    of a user, each with the group that it comes from.

    Exit status 0 if every check succeeds, 1 if one fails, 78 if the configuration is invalid.
    """
    if username is not None:
        if why := flaw(username):
            raise click.BadParameter(f"a user name that {why}", param_hint="--user")
        username = normalize(username)
    react(_doctor, (load_config(path), username))


async def _doctor(reactor: IGatewayReactor, config: Config, username: str | None) -> None:
    """
    Check one plugin after the other, and the token store last.

    @raise SystemExit: 1 if a check fails.
    """
    async with composed(reactor, config) as (gateway, outside):
        world = evolve(outside, timeout=config.file.auth.timeout_in_ms / 1000)
        authenticator = gateway.authenticator
        plugins: list[Any] = [*authenticator.providers, *authenticator.augmenters]
        worlds = [
            *(world for _ in config.providers),
            *(for_augmenter(each, world) for each in config.augmenters),
        ]
        sections = [*config.providers, *config.augmenters]
        good = True
        for plugin, section, seen in zip(plugins, sections, worlds, strict=True):
            good = await _check(plugin, section, seen, username) and good
        if gateway.tokens is not None:
            good = await _check_store(gateway.tokens.store) and good
        if not good:
            raise SystemExit(1)


async def _check_store(store: ITokenStore) -> bool:
    """Print whether the token store can be opened, and return the store."""
    say(f"store ({store.type})", bold=True)
    try:
        with exit_on_config_error():
            await store.open()
        return _print(CheckResult("can be opened", good=True))
    except Unavailable as reason:
        return _print(CheckResult(str(reason), good=False))


async def _check(plugin: Any, section: Any, world: World, username: str | None) -> bool:
    """Print the results of the checks of a plugin, and return whether all checks succeeded."""
    say(f"{plugin.name} ({plugin.type})", bold=True)
    good = True
    try:
        async for result in _results(plugin, section, world, username):
            good = _print(result) and good
    except (Rejected, Unavailable) as reason:
        good = _print(CheckResult(str(reason), good=False))
    except Exception as error:  # noqa: BLE001 - doctor reports the next plugins, whatever one does
        why = f"the check ended with {type(error).__name__}, which is a defect of the plugin"
        good = _print(CheckResult(why, good=False))
    return good


def _print(result: CheckResult) -> bool:
    say("  good  " if result.good else "  bad   ", nl=False, fg=_COLOURS[result.good])
    say(": ".join(filter(None, (result.what, result.detail))))
    return result.good


async def _results(
    plugin: Any, section: Any, world: World, username: str | None
) -> AsyncIterator[CheckResult]:
    """Run the detailed checks of a plugin, or else check whether its remote is reachable."""
    if hasattr(section, "run_checks"):
        async for result in section.run_checks(world, username):
            yield result
    elif not IReachable.providedBy(plugin):
        yield CheckResult("needs no remote service", good=True)
    else:
        try:
            await with_timeout(world.clock, _TIMEOUT, plugin.check_reachable())
            yield CheckResult("is reachable", good=True)
        except Unavailable as reason:
            yield CheckResult(str(reason), good=False)
