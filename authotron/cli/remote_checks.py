"""Check for C{authotron doctor} what remote services and the token store answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.net import http
from authotron.net.http import RemoteConfig
from authotron.net.world import World
from authotron.plugin.interfaces import CheckResult, IDescribesRemote, IReachable
from authotron.plugin.remote_provider import RemoteProvider
from authotron.tokens.bounded_store import StoreClient

if TYPE_CHECKING:  # imported only if a configuration has the section policy
    from authotron.config.policy import Policy

INVALID_TOKEN = "authotron-doctor-asks-about-an-invalid-token"  # noqa: S105 - valid nowhere
"""An invalid token that C{authotron doctor} sends to remote services, which must all refuse it."""


PROXIED = "remote.request.proxied"
"""The log event of a request that goes through an HTTP proxy."""


async def of_plugin(plugin: Any, section: Any, world: World) -> AsyncIterator[CheckResult]:
    """
    Check whether the remote service of a plugin can be reached, and whether it accepts the gateway
    as its client.
    """
    if IReachable.providedBy(plugin):
        await plugin.check_reachable()
        detail = plugin.describe_remote() if IDescribesRemote.providedBy(plugin) else ""
        yield CheckResult("is reachable", good=True, detail=detail)
    if isinstance(plugin, RemoteProvider):
        yield await _ask_about_invalid_token(plugin)
    elif isinstance(section, RemoteConfig) and not IReachable.providedBy(plugin):
        web = http.make(section, world)
        for url in section.remote_urls():
            response = await web.get(url)
            yield CheckResult("is reachable", good=True, detail=response.answered)
    elif not IReachable.providedBy(plugin):
        yield CheckResult("the plugin needs no remote service", good=True)


async def _ask_about_invalid_token(plugin: RemoteProvider) -> CheckResult:
    try:
        await plugin.authenticate(Credential(plugin.scheme, INVALID_TOKEN))
    except Rejected as reason:
        return CheckResult("the service refuses an invalid token", good=True, detail=str(reason))
    return CheckResult("the service accepts an invalid token", good=False)


async def of_store(store: StoreClient, policy: Policy | None = None) -> AsyncIterator[CheckResult]:
    """
    Check whether the token store can be opened, accepts changes, and contains policies that can be
    used.

    @param policy: the policy of the configuration.
    """
    await store.open()
    yield CheckResult("can be opened", good=True)
    await store.check_writable()
    yield CheckResult("accepts changes", good=True)
    if policy is not None and policy.section.store:
        yield await _check_policies(store, policy)


async def _check_policies(store: StoreClient, policy: Policy) -> CheckResult:
    from authotron.config import stored_policies  # noqa: PLC0415 - only needed here

    stored = stored_policies.decode(await store.policies())
    if stored.state is None:
        return CheckResult("contains no policies, so no request is allowed", good=False)
    whole = stored_policies.together(policy, stored)
    detail = (
        f"version {stored.version}, {len(stored.labels)} labels, {len(whole.rules)} rules with "
        "those of the configuration"
    )
    return CheckResult("contains policies that can be used", good=True, detail=detail)


@implementer(ILogObserver)
@define(eq=False)
class ProxyLog:
    """
    Collects the HTTP proxies through which requests were sent.

    @ivar used: maps each remote service to the HTTP proxy that was used, without user and password.
    """

    used: dict[str, str] = field(factory=dict)

    def __call__(self, event: LogEvent) -> None:
        if event.get("event") == PROXIED:
            self.used[event["remote"]] = event["proxy"]

    def results(self) -> Iterator[CheckResult]:
        for remote, proxy in self.used.items():
            yield CheckResult(
                "requests go through a proxy", good=True, detail=f"{remote} by {proxy}"
            )


@contextmanager
def noting_proxies() -> Iterator[ProxyLog]:
    """Collect the HTTP proxies of the requests within the C{with} block."""
    log = ProxyLog()
    globalLogPublisher.addObserver(log)
    try:
        yield log
    finally:
        globalLogPublisher.removeObserver(log)
