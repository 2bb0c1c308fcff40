"""Where is listened, and what is served there; a failure to do so is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from authotron.config import server
from authotron.config.check import Config
from authotron.config.endpoint import narrow_sockets, server_endpoint, with_mode
from authotron.config.server import Server
from authotron.daemon import systemd
from authotron.daemon.workers.sockets import SharedEndpoint
from authotron.telemetry.metrics import Metrics
from authotron.web import operations_routes
from authotron.web.connections import metrics_connection_limit
from authotron.web.fastpath.protocol import FastPathFactory
from authotron.web.site import Site

Ready = systemd.Endpoint | SharedEndpoint
"""An endpoint whose socket is there already."""


class Listener(Service):
    """
    Listens at an endpoint.

    A failure to do so is raised if it is known at once, and else given to C{failed}: it never
    stays in the log alone.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: str | Ready,
        site: Site | FastPathFactory,
        failed: Callable[[Failure], None],
    ) -> None:
        if isinstance(endpoint, str):
            self._endpoint = server_endpoint(reactor, endpoint)
            self.description = with_mode(endpoint)
        else:
            self._endpoint, self.description = endpoint, endpoint.description
        self.site = site
        self._failed = failed
        self._listening: Deferred[IListeningPort | None] | None = None

    def startService(self) -> None:
        super().startService()
        at_once: list[Failure] = []
        starting = [True]

        def failed(failure: Failure) -> None:
            if starting:
                at_once.append(failure)
            else:
                self._failed(failure)

        with narrow_sockets():
            listening: Deferred[Any] = self._endpoint.listen(self.site)
        self._listening = listening.addErrback(failed)
        starting.clear()
        if at_once:
            at_once[0].raiseException()

    async def stopService(self) -> None:
        super().stopService()
        if self._listening is not None:
            port = await self._listening
            if port is not None:
                await maybeDeferred(port.stopListening)


def site(
    app: Any, routes: Sequence[str], config: Config, reactor: Any, metrics: Metrics | None = None
) -> Site:
    """The site of an app, whose requests are counted and logged if there are C{metrics}."""
    return Site(
        app.app,
        reactor,
        routes,
        timeout=config.file.server.idle_timeout,
        limit=config.file.server.max_header_bytes,
        access=config.file.logging.access if metrics else "none",
        metrics=metrics,
    )


def second_listeners(
    insight: operations_routes.IStatus,
    config: Config,
    reactor: Any,
    failed: Callable[[Failure], None],
    metrics: Metrics,
) -> list[Listener]:
    """
    Build the listeners of the metrics port, which share one limit of connections.

    @param metrics: counts the connections above the limit.
    """
    second = config.file.metrics
    host = second.host or config.file.server.host
    second_site = site(
        operations_routes.OperationsRoutes(insight), operations_routes.ROUTES, config, reactor
    )
    second_site.limit_connections(metrics_connection_limit(second.max_connections), metrics)
    where = _endpoints(second.listen, host, second.port, reactor, systemd.METRICS)
    return [Listener(reactor, each, second_site, failed) for each in where]


def endpoints(server: Server, reactor: Any) -> Sequence[str | systemd.Endpoint]:
    """
    Where the gateway is served.

    @raise ConfigError: systemd holds nothing for us.
    """
    return _endpoints(server.listen, server.host, server.port, reactor, systemd.MAIN)


def _endpoints(
    listen: Sequence[str], host: str, port: int | None, reactor: Any, which: str
) -> Sequence[str | systemd.Endpoint]:
    """Twisted endpoint strings, or systemd's sockets; a host with colons is an IPv6 address."""
    if not listen:
        kind = "tcp6" if ":" in host else "tcp"
        escaped = host.replace(":", "\\:")
        return [f"{kind}:{port}:interface={escaped}"]
    found: list[str | systemd.Endpoint] = []
    for text in listen:
        found += systemd.endpoints(reactor, which) if text == server.SYSTEMD else [text]
    return found
