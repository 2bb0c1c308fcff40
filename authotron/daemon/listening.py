"""The listening endpoints of the main port and the metrics port, and the sites that they serve."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron import __version__
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config import server
from authotron.config.check import Config
from authotron.config.endpoint import (
    HTTP,
    narrow_sockets,
    protocol_of,
    server_endpoint,
    socket_path,
    with_mode,
)
from authotron.config.server import Operations, Server
from authotron.daemon import event_loop, leftovers, systemd
from authotron.gateway.contracts import Contracts
from authotron.limits import descriptors
from authotron.limits.unfinished_heads import UnfinishedHeads
from authotron.model.errors import ConfigError, Problem
from authotron.net.reasons import Reason, describe, reason_of
from authotron.telemetry.metrics import Metrics
from authotron.web import operations_routes
from authotron.web.connections import connection_limit, metrics_connection_limit
from authotron.web.fastpath.protocol import FastPathFactory
from authotron.web.site import Site
from authotron.web.trusted_peers import TrustedPeersFactory

if TYPE_CHECKING:  # only workers import the module
    from authotron.daemon.workers.sockets import SharedEndpoint

_log = Logger()

_LONGEST_PATH = 107
"""Maximum number of bytes of the path of a UNIX socket (unix(7))."""

OpenSocket: TypeAlias = "systemd.Endpoint | SharedEndpoint"
"""An endpoint whose socket another process has opened already."""


def protocol_at(endpoint: str | OpenSocket) -> str:
    """Return the protocol that is served at an endpoint."""
    return protocol_of(endpoint) if isinstance(endpoint, str) else endpoint.protocol


_SERVES = {
    "server": "authotron {version} serves at {url} ({loop})",
    "metrics": "authotron {version} serves metrics and readiness at {url}",
}


def address_fields(address: IAddress | None) -> dict[str, Any]:
    """Return the fields C{host} and C{port} of a log event; a UNIX socket has no port."""
    host = getattr(address, "host", None) or getattr(address, "name", None)
    shown = os.fsdecode(host) if isinstance(host, bytes | str) else ""
    return {"host": shown, "port": getattr(address, "port", None)}


def log_stopping(log: Logger, grace: float) -> None:
    """Log that the service begins to stop."""
    log.info(
        "authotron {version} is stopping; requests in flight have {grace:g} s to finish",
        version=__version__,
        grace=grace,
        event="shutdown.started",
    )


def log_stopped(log: Logger) -> None:
    """Log that the service has stopped."""
    log.info("authotron {version} has stopped", version=__version__, event="shutdown.finished")


def url_of(address: IAddress | None, description: str) -> str:
    """
    Return the URL of a port for an operator, or the description of a port that has no URL.

    @param description: the endpoint, as Twisted describes it.
    """
    if not isinstance(address, IPv4Address | IPv6Address):
        return description
    scheme = protocol_of(description)
    if scheme == HTTP and description.startswith(("ssl:", "tls:")):
        scheme = "https"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{scheme}://{host}:{address.port}"


_KEYS = {
    "server": "server.port (AOT_SERVER__PORT)",
    "metrics": "metrics.port (AOT_METRICS__PORT)",
}


def why_not_listening(error: Exception, description: str, port: str) -> str:
    """
    Describe why the system refuses to listen at an endpoint, and what the operator can do.

    @param description: the endpoint, as Twisted describes it.
    @param port: the section of the endpoint, C{server} for the main port, or C{metrics}.
    """
    reason = reason_of(error)
    where = description
    path = socket_path(description)
    if path is not None:
        return f"cannot listen at the UNIX socket {path}: {_why_no_socket(error, path)}"
    if isinstance(error, CannotListenError):
        if isinstance(error.port, int):
            where = f"port {error.port} of {error.interface or 'all addresses'}"
        if isinstance(error.socketError, Exception):
            error = error.socketError
    if reason is Reason.ADDRESS_TAKEN:
        advice = f"stop the process that uses the port, or set {_KEYS[port]} to another port"
    elif reason is Reason.NOT_ALLOWED:
        advice = "ports below 1024 need CAP_NET_BIND_SERVICE, UNIX sockets a writable folder"
    elif reason is Reason.NO_SUCH_ADDRESS:
        advice = f"set {port}.host to an address of this machine"
    else:
        advice = f"check the keys {port}.host, {port}.port and {port}.listen"
    return f"cannot listen at {where}: {reason or describe(error)}; {advice}"


def _why_no_socket(error: Exception, path: Path) -> str:
    """Describe why the system refuses to listen at a UNIX socket, and what the operator can do."""
    reason = reason_of(error)
    lock = path.with_name(f"{path.name}.lock")
    if reason is Reason.NOT_FOUND:
        return f"the folder {path.parent} does not exist; create it"
    if reason is Reason.NOT_ALLOWED:
        return f"{reason}; the gateway must be able to write to the folder {path.parent}"
    if lock.exists() and not lock.is_symlink():
        return f"{lock} is not the lock of a gateway; remove it"
    if path.exists():
        is_used = "another process listens there; stop that process, or choose another path"
        is_other = "the path exists and is not a socket; remove it, or choose another path"
        return is_used if path.is_socket() else is_other
    if reason is None and len(os.fsencode(path)) > _LONGEST_PATH:
        return f"the path is longer than {_LONGEST_PATH} bytes; choose a shorter one"
    return f"{reason or describe(error)}; check the key server.listen"


class Listener(Service):
    """
    A service that listens at one endpoint.

    If listening fails at once, C{startService} raises an exception; a later failure is passed to
    C{on_failure}.

    @ivar description: the endpoint, in the form that the log shows.
    @ivar port: the section of the endpoint, C{server} for the main port, or C{metrics}.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IGatewayReactor,
        endpoint: str | OpenSocket,
        site: Site | FastPathFactory | TrustedPeersFactory,
        on_failure: Callable[[Failure], None],
        port: str = "server",
    ) -> None:
        self.port = port
        self._reactor = reactor
        self._loop = event_loop.name_of(reactor)
        if isinstance(endpoint, str):
            self._endpoint = _opened(reactor, endpoint, port)
            self.description = with_mode(endpoint)
        else:
            self._endpoint, self.description = endpoint, endpoint.description
        self._text = endpoint if isinstance(endpoint, str) else ""
        self.site = site
        self._on_failure = on_failure
        self._listening: Deferred[IListeningPort | None] | None = None

    def startService(self) -> None:
        super().startService()
        immediate: list[Failure] = []
        is_starting = [True]

        def failed(failure: Failure) -> None:
            if is_starting:
                immediate.append(failure)
            else:
                self._on_failure(failure)

        leftovers.remove_stale_socket(self._text)
        with narrow_sockets():
            listening: Deferred[Any] = self._endpoint.listen(self.site)
        listening.addCallback(partial(event_loop.accept_by_loop, self._reactor))
        self._listening = listening.addErrback(failed)
        is_starting.clear()
        if immediate:
            immediate[0].raiseException()

    def log_listening(self) -> None:
        """Log the address of the port, now or as soon as the system has opened it."""
        if self._listening is not None:
            self._listening.addCallback(self._log_listening)

    def _log_listening(self, listening: IListeningPort | None) -> IListeningPort | None:
        """Log the address of the port, in an event with the same name as in auth-o-tron."""
        if listening is not None:
            self._log.info(
                _SERVES[self.port],
                version=__version__,
                endpoint=self.description,
                url=url_of(listening.getHost(), self.description),
                **address_fields(listening.getHost()),
                loop=self._loop,
                event=f"startup.{self.port}.listening",
            )
        return listening

    async def stopService(self) -> None:
        super().stopService()
        # A second call, by a signal to all processes, must not close the port once more.
        listening, self._listening = self._listening, None
        if listening is not None:
            port = await listening
            if port is not None:
                await maybeDeferred(port.stopListening)


def site(
    app: Any,
    config: Config,
    reactor: IGatewayReactor,
    metrics: Metrics | None = None,
    with_body: Collection[tuple[str, str]] = (),
    unfinished: UnfinishedHeads | None = None,
    contracts: Callable[[], Contracts | None] | None = None,
) -> Site:
    """
    Build the HTTP site that serves a Klein application. Requests at the site are counted and logged
    if C{metrics} is given.

    @param with_body: the methods and metric labels of the routes that read the body of a request.
    @param unfinished: the memory budget for partly received request heads, if several sites share
        one.
    """
    made = Site(
        app.app,
        event_loop.clock_of(reactor),
        timeout=config.file.server.idle_timeout,
        limit=config.file.server.max_header_bytes,
        access=config.file.logging.access if metrics else "none",
        metrics=metrics,
        with_body=with_body,
        unfinished=unfinished,
    )
    made.contracts = contracts or made.contracts
    logging = config.file.logging
    made.set_access_log(logging.access if metrics else "none", tried_names=logging.tried_names)
    return made


def metrics_listeners(
    status: operations_routes.IStatus,
    config: Config,
    reactor: IGatewayReactor,
    on_failure: Callable[[Failure], None],
    metrics: Metrics,
    unfinished: UnfinishedHeads | None = None,
) -> list[Listener]:
    """
    Build the listeners of the metrics port, which share one connection limit.

    @param metrics: counts the connections that are rejected because of the limit.
    @param unfinished: the memory budget for partly received request heads, if several sites share
        one.
    """
    second = config.file.metrics
    host = second.host or config.file.server.host
    routes = operations_routes.OperationsRoutes(status)
    second_site = site(routes, config, reactor, unfinished=unfinished)
    second_site.limit_connections(metrics_connection_limit(second.max_connections), metrics)
    where = _endpoints(second.listen, host, second.port, reactor, systemd.METRICS)
    return [Listener(reactor, each, second_site, on_failure, "metrics") for each in where]


def main_connection_limit(config: Config, metrics_port: Operations | None) -> int:
    """
    Return how many connections the main port may have, given the number of the process's other
    connections.

    @param metrics_port: the section of the metrics port, if this process serves it.
    """
    plugins = [*config.providers, *config.augmenters]
    wanted = descriptors.count_connections(plugins)
    outward = descriptors.count_connections(plugins, descriptors.connection_limiter(plugins))
    if outward < wanted:
        _log.warn(
            "providers and augmenters may open {outward} connections instead of {wanted}, as the "
            "process may open only {files} files; raise LimitNOFILE=, or lower their `connections`",
            outward=outward,
            wanted=wanted,
            files=descriptors.file_limit(),
            event="startup.remotes.narrowed",
        )
    others = outward + descriptors.count_connections([config.store])
    if metrics_port is not None:
        others += metrics_connection_limit(metrics_port.max_connections)
    return connection_limit(config.file.server.max_connections, others)


def _opened(reactor: IGatewayReactor, text: str, port: str) -> IStreamServerEndpoint:
    """
    Return the server endpoint that a string describes.

    @raise ConfigError: a file that the string names cannot be read.
    """
    try:
        return server_endpoint(reactor, text)
    except OSError as error:
        why = f"cannot read {error.filename}: {describe(error)}"
        raise ConfigError([Problem(f"{port}.listen", why)]) from None


def endpoints(server: Server, reactor: IGatewayReactor) -> Sequence[str | systemd.Endpoint]:
    """
    Return the endpoints of the main port.

    @raise ConfigError: the configuration wants the sockets of systemd, but systemd passed none.
    """
    return _endpoints(server.listen, server.host, server.port, reactor, systemd.MAIN)


def _endpoints(
    listen: Sequence[str], host: str, port: int | None, reactor: IGatewayReactor, which: str
) -> Sequence[str | systemd.Endpoint]:
    """
    Return the endpoints at which the gateway listens: Twisted endpoint strings, or the sockets that
    systemd has opened.

    HTTP is served at host and port, unless C{listen} has endpoints for HTTP. A host that contains
    colons is an IPv6 address
    """
    found: list[str | systemd.Endpoint] = []
    if port is not None and all(protocol_of(text) != HTTP for text in listen):
        kind = "tcp6" if ":" in host else "tcp"
        escaped = host.replace(":", "\\:")
        found.append(f"{kind}:{port}:interface={escaped}")
    for text in listen:
        found += systemd.endpoints(reactor, which) if text == server.SYSTEMD else [text]
    return found
