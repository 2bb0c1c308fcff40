"""C{authotron doctor}: check that everything is reachable that a configuration depends on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import click
from attrs import asdict, evolve, frozen
from twisted.internet.task import react

from authotron.cli import proxy_time_limits, remote_checks
from authotron.cli.composed import composed
from authotron.cli.options import Command, config_option, json_option, load_config
from authotron.cli.output import say, say_json
from authotron.cli.remote_checks import noting_proxies
from authotron.cli.user_claims import with_claims
from authotron.concurrency.racing import with_timeout
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.check import Config
from authotron.daemon.compose import with_own_timeout
from authotron.gateway.gateway import Gateway
from authotron.model.errors import ConfigError, Rejected, TimedOut, Unavailable
from authotron.model.naming import flaw, normalize
from authotron.net import reasons
from authotron.net.world import World
from authotron.plugin.interfaces import CheckResult
from authotron.web.replies import Reply

_TIMEOUT = 10.0
"""Seconds that one check of a plugin may take."""

_COLOURS = {True: "green", False: "red"}


@frozen
class _Subject:
    """
    A plugin whose connection to remote services C{authotron doctor} checks.

    @ivar kind: the kind of the plugin, C{provider}, C{augmenter}, C{authorizer} or C{store}.
    """

    kind: str
    name: str
    type: str
    results: AsyncIterator[CheckResult]

    @property
    def title(self) -> str:
        return f"store ({self.type})" if self.kind == "store" else f"{self.name} ({self.type})"


@click.command(
    cls=Command,
    examples=(
        "authotron doctor --config /etc/authotron/authotron.yaml --user alice",
        "authotron doctor --json | jq '.plugins[] | select(.good | not)'",
    ),
)
@config_option
@click.option("--user", "username", help="Also look this user up in each directory.")
@json_option
def doctor(path: Any, username: str | None, *, as_json: bool) -> None:
    """
    Check the services that a configuration needs.

    The command checks key sets, LDAP directories, other remote services and the token store. The
    keys of a key set are listed by name and algorithm. Each server of a directory is checked
    separately: connection, TLS, bind, search, and with --user the roles of a user and their groups.
    If the configuration has policies, --user also lists the claims of the user to which the
    policies are applied. Services that verify tokens are sent an invalid token. The token store is
    asked to make a change without effect, to check that the store accepts changes. The HTTP proxies
    through which requests are sent are printed. At last the command prints which reverse proxies,
    unless they are configured otherwise, give up before the gateway decides; these lines do not
    count as a failure.

    Exit status 0 if every check succeeds, 1 if one fails, 78 if the configuration is invalid.
    """
    if username is not None:
        if why := flaw(username):
            raise click.BadParameter(f"the user name is invalid: it {why}", param_hint="--user")
        username = normalize(username)
    config = load_config(path, as_json=as_json)
    react(partial(_doctor, as_json=as_json), (config, username))


async def _doctor(
    reactor: IGatewayReactor, config: Config, username: str | None, *, as_json: bool
) -> None:
    """
    Check one plugin after the other, and at last the token store.

    @raise SystemExit: 1 if a check fails.
    """
    plugins: list[dict[str, Any]] = []
    async with composed(reactor, config, as_json=as_json) as (gateway, world):
        for subject in _subjects(gateway, config, world, username):
            if not as_json:
                say(subject.title, bold=True)
            results: list[CheckResult] = []
            async for result in _all_results(subject, world):
                results.append(result)
                if not as_json:
                    _print(result)
            plugins.append(_row(subject, results))
        proxies = proxy_time_limits.row(gateway)
        if not as_json:
            proxy_time_limits.show(gateway)
    good = all(plugin["good"] for plugin in plugins)
    if as_json:
        say_json({"good": good, "plugins": plugins, "proxies": proxies})
    if not good:
        raise SystemExit(1)


def _subjects(
    gateway: Gateway[Reply], config: Config, outside: World, username: str | None
) -> Iterator[_Subject]:
    world = evolve(outside, timeout=config.file.auth.timeout_in_ms / 1000)
    authenticator = gateway.authenticator
    for plugin, section in zip(authenticator.providers, config.providers, strict=True):
        results = with_claims(_results(plugin, section, world, username), gateway, plugin, username)
        yield _Subject("provider", section.name, section.type, results)
    for augmenter, section in zip(authenticator.augmenters, config.augmenters, strict=True):
        results = _results(augmenter, section, with_own_timeout(section, world), username)
        yield _Subject("augmenter", section.name, section.type, results)
    if gateway.authorizer is not None:
        own = with_own_timeout(config.authorizer, world)
        results = _results(gateway.authorizer.plugin, config.authorizer, own, username)
        name, type_ = gateway.authorizer.plugin.name, gateway.authorizer.plugin.type
        yield _Subject("authorizer", name, type_, results)
    if gateway.tokens is not None and config.store is not None:
        store = gateway.tokens.store
        yield _Subject(
            "store", "store", config.store.type, remote_checks.of_store(store, config.policy)
        )


async def _all_results(subject: _Subject, world: World) -> AsyncIterator[CheckResult]:
    """
    Yield the results of a plugin's checks, and then one result that names the HTTP proxies through
    which the checks sent requests.
    """
    with noting_proxies() as proxies:
        async for result in surviving(subject.results, world):
            yield result
    for result in proxies.results():
        yield result


def _row(subject: _Subject, results: list[CheckResult]) -> dict[str, Any]:
    return {
        "kind": subject.kind,
        "name": subject.name,
        "type": subject.type,
        "good": all(result.good for result in results),
        "checks": [asdict(result) for result in results],
    }


async def surviving(
    results: AsyncIterator[CheckResult], world: World
) -> AsyncIterator[CheckResult]:
    """Yield the results of a plugin's checks; an exception ends them as a failure."""
    while True:
        try:
            result = await with_timeout(world.clock, _TIMEOUT, _next(results))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a defect of one plugin must not hide the results of the others
            yield CheckResult(_failure(error), good=False)
            return
        if result is None:
            return
        yield result


async def _next(results: AsyncIterator[CheckResult]) -> CheckResult | None:
    result = await anext(results, None)
    if result is not None and not isinstance(result, CheckResult):
        raise TypeError(f"the check returned a result of the wrong type: {type(result).__name__}")
    return result


def _failure(error: BaseException) -> str:
    """Describe in one line why a check of a plugin failed."""
    match error:
        case TimedOut() if not str(error):
            return str(reasons.Reason.TIMED_OUT)
        case Unavailable() if not str(error):
            return str(reasons.Reason.UNREACHABLE)
        case ConfigError() | Rejected() if str(error):
            return "; ".join(str(error).splitlines())
        case Unavailable() if str(error):
            return str(error)
        case SystemExit():
            return "the check ended the process, which is a defect of the plugin"
    known = reasons.reason_of(error)
    defect = f"the check ended with {type(error).__name__}, which is a defect of the plugin"
    return str(known or defect)


def _print(result: CheckResult) -> None:
    say("  good  " if result.good else "  bad   ", nl=False, fg=_COLOURS[bool(result.good)])
    say(": ".join(filter(None, (str(result.what), str(result.detail)))))


async def _results(
    plugin: Any, section: Any, world: World, username: str | None
) -> AsyncIterator[CheckResult]:
    """
    Run the checks that a plugin itself defines, or else check what its remote service
    answers.
    """
    if hasattr(section, "run_checks"):
        results = section.run_checks(world, username)
    else:
        results = remote_checks.of_plugin(plugin, section, world)
    async for result in results:
        yield result
