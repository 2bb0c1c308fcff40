"""The routes of the metrics port, for operators: metrics, liveness, readiness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import define
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from authotron import __version__
from authotron.concurrency.racing import start, wait_all, with_timeout
from authotron.gateway.gateway import LiveGateway
from authotron.model.errors import Unavailable
from authotron.plugin.interfaces import IReachable
from authotron.web import pages, replies
from authotron.web.replies import Reply, text_reply
from authotron.web.request import Request
from authotron.web.routing import handle_errors, route

_TIMEOUT = 2.0
"""
Seconds for which C{/ready} waits for a plugin to check that its remote
service can be reached.
"""


_ADDRESSES = {
    "/metrics": "metrics for Prometheus",
    "/ready": "whether the gateway accepts requests, and which remote services it reaches",
    "/health": "whether the process runs",
}
"""The descriptions of the pages of the metrics port, by the paths of the pages."""


class IStatus(Protocol):
    """The metrics and the readiness of a gateway of one or several processes."""

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """
        Return the metrics in a format that the scraper accepts, and the content type of this
        format.
        """

    async def readiness(self) -> Mapping[str, Any]:
        """
        Return the body of C{/ready}, whose key C{ready} tells whether the gateway accepts further
        requests.
        """


@define(eq=False)
class OperationsRoutes:
    """The routes of the metrics port."""

    _status: IStatus
    app = Klein()
    handle_errors(app)

    @route(app, "/metrics", "GET")
    async def metrics(self, request: Request) -> Reply:
        accept = request.requestHeaders.getRawHeaders(b"Accept", [b""])[0].decode("latin-1")
        text, content_type = await self._status.metrics(accept)
        return text_reply(content_type, text)

    @route(app, "/health", "GET")
    def health(self, _request: Request) -> Reply:
        return replies.HEALTHY

    @route(app, "/ready", "GET")
    async def ready(self, request: Request) -> Reply:
        content = await self._status.readiness()
        found = replies.readiness(content, ready=content["ready"])
        return pages.readable(request, found)

    @route(app, "/", "GET")
    def addresses(self, request: Request) -> Reply:
        return pages.operations(request, _ADDRESSES)


@define(eq=False)
class ProcessStatus:
    """The metrics and the readiness of this process."""

    _serving: LiveGateway[Reply]
    _clock: IReactorTime

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        return self._serving.metrics.text(accept)

    async def readiness(self) -> Mapping[str, Any]:
        """
        Return whether the gateway accepts further requests, and which plugins can reach their
        remote services.

        An unreachable remote service does not make the gateway unready, because clients that other
        providers know can still be authenticated. While the policies in the token store are not
        known, the gateway reports itself as not ready, because it allows no request; likewise while
        the signing keys in the token store are not known.
        """
        gateway = self._serving.gateway
        plugins: list[Any] = [*gateway.authenticator.providers, *gateway.authenticator.augmenters]
        if gateway.tokens is not None:
            plugins.append(gateway.authenticator.own)
        outages = {**gateway.authenticator.outages}
        if (authorizer := gateway.authorizer) is not None:
            plugins.append(authorizer.plugin)
            if authorizer.outage:
                outages[id(authorizer.plugin)] = authorizer.outage
        policies, keys = self._serving.policy_status, self._serving.key_status
        return {
            "ready": self._serving.is_ready,
            "version": __version__,
            "parts": await self._reachability(plugins, outages),
            "warnings": list(gateway.config.warnings),
            "last_reload": list(self._serving.problems) or "good",
            **({} if policies is None else {"policies": policies.as_json()}),
            **self._revocations(),
            **({} if keys is None else {"keys": keys.as_json()}),
        }

    def _revocations(self) -> dict[str, object]:
        """Return the part of the readiness that describes the revocations, if there are any."""
        revocations, records = self._serving.gateway.revocations, self._serving.records
        if revocations is None or records is None:
            return {}
        return {"revocations": revocations.index.as_json(records.age, records.problem)}

    async def _reachability(
        self, plugins: list[Any], outages: Mapping[int, str]
    ) -> list[dict[str, object]]:
        checks = [
            start(with_timeout(self._clock, _TIMEOUT, _check_reachable(plugin, outages)))
            for plugin in plugins
        ]
        outcomes = await wait_all(checks)
        return [*map(_plugin_status, plugins, outcomes)]


async def _check_reachable(plugin: Any, outages: Mapping[int, str]) -> None:
    """
    Check that the remote service of a plugin can be reached. A remote service that answers only
    requests about credentials is not asked for C{/ready}: the last call of its plugin shows whether
    the service works.

    @param outages: why the last call of a plugin got no answer, by the C{id} of the plugin.

    @raise Unavailable: the remote service cannot be reached.
    """
    if IReachable.providedBy(plugin):
        await plugin.check_reachable()
    elif (reason := outages.get(id(plugin))) is not None:
        raise Unavailable(reason)


def _plugin_status(plugin: Any, failure: Failure | None) -> dict[str, object]:
    """Build the entry for a plugin in the body of C{/ready}; an authorizer has no realm."""
    status: dict[str, object] = {"name": plugin.name, "type": plugin.type}
    if (realm := getattr(plugin, "realm", None)) is not None:
        status["realm"] = realm
    if failure is None:
        return {**status, "reachable": True}
    reason = str(failure.value) if failure.check(Unavailable) else "broken"
    return {**status, "reachable": False, "reason": reason}
