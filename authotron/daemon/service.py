"""The gateway as one process: it listens, serves, reloads, drains and stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import start, wait_all, with_timeout
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.check import Config
from authotron.config.endpoint import HTTP
from authotron.daemon import reload
from authotron.daemon.compose import compiled_policies, compose
from authotron.daemon.event_loop import clock_of
from authotron.daemon.listening import (
    Listener,
    OpenSocket,
    endpoints,
    log_stopped,
    log_stopping,
    main_connection_limit,
    metrics_listeners,
    protocol_at,
    site,
    why_not_listening,
)
from authotron.daemon.live_events import LiveEvents
from authotron.daemon.live_keys import LiveKeys
from authotron.daemon.live_policies import LivePolicies
from authotron.daemon.live_records import LiveRecords
from authotron.daemon.protocols import factory_of
from authotron.daemon.runtime import Pool, make_world
from authotron.gateway.gateway import Gateway, LiveGateway, Peers
from authotron.limits.fair_queue import Reputations
from authotron.limits.hash_queue import HashQueue, at_once
from authotron.limits.rejected_passwords import RejectedPasswords
from authotron.limits.unfinished_heads import UnfinishedHeads
from authotron.model.errors import EX_CONFIG, ConfigError, Problem, TimedOut, Unavailable
from authotron.net.world import World
from authotron.plugin.interfaces import ITokenStore
from authotron.telemetry import logs
from authotron.telemetry.metrics import Metrics
from authotron.tokens.store_service import TokenStoreService
from authotron.web import gateway_routes, operations_routes
from authotron.web.fastpath.protocol import FastPathFactory
from authotron.web.replies import Reply
from authotron.web.trusted_peers import TrustedPeersFactory

if TYPE_CHECKING:  # compose() loads this module if a token store is configured
    from authotron.tokens.service import TokenService


class GatewayService(MultiService):
    """
    The Twisted service that runs the gateway in this process.

    @ivar status: the exit status of the process.
    @ivar policies: follows the policies in the token store, if the configuration keeps policies
        there.
    @ivar records: follows the records, such as revocations, that gateways share through the token
        store, if the configuration needs such records.
    @ivar keys: follows the signing keys in the token store, if the configuration keeps keys there.
    @ivar served: a Deferred that fires when the gateway accepts connections, which is as soon as
        the reactor runs.
    @ivar has_served: whether the service ran before its present configuration; if so, an unusable
        token store does not end the service.
    """

    _log = Logger()

    def __init__(
        self,
        load: reload.Load,
        config: Config,
        reactor: IGatewayReactor,
        sockets: Sequence[OpenSocket] = (),
        peers: Peers | None = None,
    ) -> None:
        """
        @param sockets: in a worker, the listening sockets that the supervisor holds; the supervisor
            also serves the metrics port.
        @param peers: the other processes, if this one is a worker; only the supervisor counts
            reloads.
        """
        super().__init__()
        self._config = config
        self._reactor = reactor
        self.status = 0
        self._is_worker = peers is not None
        peers = peers or Peers()
        self.has_served = peers.has_served
        self.pool = Pool(reactor)
        self.pool.setServiceParent(self)
        self.rejected_passwords = RejectedPasswords(reactor, config.hash_key, peers.notify)
        self.reputations = Reputations(reactor, config.hash_key, partial(peers.notify, "trusted"))
        self._world = self._make_world(config)
        metrics = Metrics()
        self.serving = LiveGateway(compose(config, self._world, metrics), metrics, peers=peers)
        self._watch(metrics)
        self._reloader = reload.Reloader(load, config, self._prepare, self._adopt, self._refuse)
        self._retired = reload.Retired(reactor)
        self._store = reload.LiveTokenStore(
            self.serving.gateway.tokens, self._serve_store, self._retired
        )
        self.policies = LivePolicies(self.serving, self._world)
        self.records = LiveRecords(self.serving, self._world)
        self.keys = LiveKeys(self.serving, self._world)
        self._events = LiveEvents(self.serving, reactor)
        self.listeners = self._listeners(config, sockets)
        self.served: Deferred[None] = succeed(None)

    def _make_world(self, config: Config) -> World:
        workers = at_once(config.file.server.processes)
        return evolve(
            make_world(self._reactor, self.pool),
            rejected_passwords=self.rejected_passwords,
            hash_queue=HashQueue(self._reactor, self.pool, workers, self.reputations),
        )

    def _watch(self, metrics: Metrics) -> None:
        """Show open circuit breakers, the decision cache and reloads as gauges."""
        metrics.watch(
            "authotron_remotes_left_alone",
            "Remotes with an open circuit breaker, which are not called for 10 s",
            self._world.breakers.open_count,
        )
        metrics.watch(
            "authotron_verdicts_remembered",
            "Decisions in the cache",
            lambda: self.serving.gateway.decisions.remembered(),  # noqa: PLW0108 - a reload replaces the object, so it is looked up each time
        )
        metrics.watch(
            "authotron_verdicts_bytes",
            "Bytes that the decisions in the cache take, approximately",
            lambda: self.serving.gateway.decisions.remembered_bytes(),  # noqa: PLW0108 - a reload replaces the object, so it is looked up each time
        )
        metrics.watch(
            "authotron_log_lines_dropped",
            "Log lines that were dropped, because standard output was not read in time",
            lambda: logs.log.dropped,
        )
        if not self._is_worker:
            metrics.watch_reloads(lambda: self.problems)

    def _listeners(self, config: Config, sockets: Sequence[OpenSocket]) -> list[Listener]:
        """Build the listeners of the main port and, unless this is a worker, the metrics port."""
        metrics = self.serving.metrics
        app = gateway_routes.GatewayRoutes(self.serving, self._reactor)
        unfinished = UnfinishedHeads(
            config.file.server.max_unfinished_bytes,
            lambda peer: self.serving.gateway.contracts.proxies.is_proxy(peer),  # noqa: PLW0108 - a reload replaces the object, so it is looked up each time
        )
        self._main = site(
            app,
            config,
            self._reactor,
            metrics,
            gateway_routes.WITH_BODY,
            unfinished,
            lambda: self.serving.gateway.contracts,
        )
        self._main.is_off = app.is_off
        self._has_metrics_port = config.file.metrics.enabled and not sockets
        self._fast_path = FastPathFactory(
            self._main, self.serving, clock_of(self._reactor), self._connection_limit(config)
        )
        listeners = [
            Listener(self._reactor, endpoint, self._factory(protocol_at(endpoint)), self.fail)
            for endpoint in sockets or endpoints(config.file.server, self._reactor)
        ]
        if self._has_metrics_port:
            status = operations_routes.ProcessStatus(self.serving, self._reactor)
            listeners += metrics_listeners(
                status, config, self._reactor, self.fail, metrics, unfinished
            )
        return listeners

    def _factory(self, protocol: str) -> FastPathFactory | TrustedPeersFactory:
        """Return the factory that serves a protocol, such as HTTP or gRPC, at the main port."""
        if protocol == HTTP:
            return self._fast_path
        return factory_of(protocol, self._fast_path, self.serving, self._reactor)

    def _connection_limit(self, config: Config) -> int:
        """The number of connections that the main port may have under the present configuration."""
        metrics_port = self._config.file.metrics if self._has_metrics_port else None
        return main_connection_limit(config, metrics_port)

    def watch_connections(self, note_change: Callable[[], object]) -> Callable[[], int]:
        """
        Call a function after each change of the open connections to the main port.

        @return: a function that returns the number of open connections to the main port.
        """
        limit = self._fast_path.connection_limit
        for each in limit.connections:
            each.on_change = note_change
        return limit.count

    # --- how the service starts and stops ---

    def startService(self) -> None:
        """
        Listen at all endpoints, and begin to open the token store.

        @raise SystemExit: the system refuses to listen at an endpoint.
        """
        logs.log.configure(self.serving.gateway.config.file.logging)
        super().startService()
        reload.log_warnings(self._log, self.serving.gateway.config)
        for listener in self.listeners:
            try:
                listener.startService()
            except (CannotListenError, OSError) as error:
                self._log.error(
                    "{error}",
                    error=why_not_listening(error, listener.description, listener.port),
                    event="startup.server.failed",
                )
                raise SystemExit(1) from None
        # The addresses of the ports are logged only if all ports could be opened.
        for listener in self.listeners:
            listener.log_listening()
        self._store.start()
        self.policies.start()
        self.records.start()
        self.keys.start()
        self._events.start()

    async def close(self) -> None:
        """Stop listening; do nothing if the service has stopped listening before."""
        self.serving.stopping = True
        await self._all_stopped([listener.stopService for listener in self.listeners])

    async def stopService(self) -> None:
        """
        Stop listening, let requests in flight finish within the grace period, then stop everything
        else.
        """
        grace = self.serving.gateway.config.file.server.grace
        if not self._is_worker:
            log_stopping(self._log, grace)
        await self.close()
        idle = [listener.site.drain() for listener in self.listeners]
        try:
            await with_timeout(self._reactor, grace, _all(idle))
        except TimedOut:
            self._log.warn(
                "requests in flight were cut off after the grace of {seconds:g} s (server.grace)",
                seconds=grace,
                event="shutdown.grace.exceeded",
            )
        self._retired.close_now()
        self._events.stop()
        self.policies.stop()
        self.records.stop()
        self.keys.stop()
        self.serving.gateway.close()
        await self._all_stopped([self._store.stop])
        await _all([super().stopService()])
        if not self._is_worker:
            log_stopped(self._log)

    async def _all_stopped(self, stops: Sequence[Callable[[], Any]]) -> None:
        """
        Stop several Twisted services, and wait until they have stopped.

        If one service fails to stop, the failure is logged and the others are stopped nevertheless.
        """
        for outcome in await wait_all([start(stop()) for stop in stops]):
            if isinstance(outcome, Failure):
                self._log.failure(
                    "a listener or the token store failed to stop", outcome, event="shutdown.failed"
                )

    def fail(self, failure: Failure) -> None:
        """Stop the service after a fatal error."""
        self._log.failure("fatal error, shutting down", failure, event="startup.server.failed")
        self.status = 1
        self._reactor.stop()

    # --- reload ---

    @property
    def problems(self) -> Sequence[str]:
        """
        The problems of the configuration that was read last, if these problems
        prevent its use.
        """
        return self.serving.problems

    def reload(self) -> Deferred[None]:
        """Read the configuration again, and use it if it is valid."""
        return self._reloader.reload()

    async def _prepare(self, config: Config) -> Gateway[Reply]:
        """
        Build a gateway from another configuration.

        The open token store is kept if the section C{store} has not changed.

        @raise ConfigError: the configuration cannot be used.
        """
        tokens = self._store.tokens
        is_same = config.store == self.serving.gateway.config.store
        backend: ITokenStore | None = tokens.store.backend if tokens and is_same else None
        policies = await compiled_policies(config, self._world, self.serving.metrics)
        gateway = compose(config, self._world, self.serving.metrics, backend, policies)
        if backend is not None and gateway.tokens is not None and self._derives_another(config):
            await _check_pepper(gateway.tokens)
        await self.keys.prepare(gateway, is_same_store=backend is not None)
        await self.policies.prepare(gateway, is_same_store=backend is not None)
        self.records.prepare(gateway, is_same_store=backend is not None)
        return gateway

    def _derives_another(self, config: Config) -> bool:
        """Whether a new configuration changes C{jwt.secret}, from which a pepper may be derived."""
        return config.file.jwt.secret != self.serving.gateway.config.file.jwt.secret

    def _adopt(self, gateway: Gateway[Reply]) -> None:
        """Serve by another configuration; requests that have begun keep the old one."""
        old, self.serving.gateway = self.serving.gateway, gateway
        config, grace = gateway.config, old.config.file.server.grace
        self.serving.problems = ()
        self.rejected_passwords.clear()
        logging = config.file.logging
        self._main.set_access_log(logging.access, tried_names=logging.tried_names)
        self._fast_path.limit_connections(self._connection_limit(config))
        self.has_served = True
        self._store.replace(gateway.tokens, grace)
        self.policies.replace()
        self.records.replace()
        self.keys.replace()
        self._events.replace()
        self._retired.close_later(grace, partial(_close, old))
        self.serving.metrics.reload_ended("success")

    def _refuse(self, problems: Sequence[str]) -> None:
        """Store and log why a configuration is not used."""
        self.serving.problems = tuple(problems)
        if self._is_worker:
            self.serving.peers.on_reload_refused(problems)
        else:
            self.serving.metrics.reload_ended("failure")
        reload.log_refused(self._log, problems)

    def _serve_store(self, tokens: TokenService) -> TokenStoreService:
        return TokenStoreService(tokens, self._world, self._store_failed)

    def _store_failed(self, failure: Failure) -> None:
        """
        Stop the service, because its token store is broken or must not be used.

        If the configuration was reloaded, the service goes on without the token store, and rejects
        API tokens until the configuration is corrected.
        """
        if isinstance(failure.value, ConfigError):
            self._refuse([str(problem) for problem in failure.value.problems])
        else:
            self._log.failure(
                "the token store failed because of an internal error", failure, event="store.broken"
            )
        if not self.has_served:
            self.status = EX_CONFIG
            self._reactor.stop()


async def _check_pepper(tokens: TokenService) -> None:
    """
    Verify that API tokens in the open store stay valid with the pepper of a new configuration.

    @raise ConfigError: the token store was set up with another pepper, or cannot be read at the
        moment.
    """
    try:
        await tokens.store.check_pepper()
    except Unavailable as error:
        reason = f"has changed, and the pepper of the token store cannot be verified: {error}"
        raise ConfigError([Problem("jwt.secret", reason)]) from None


async def _close(gateway: Gateway[Reply]) -> None:
    gateway.close()


async def _all(awaited: Sequence[Any]) -> None:
    for each in awaited:
        if each is not None:
            await each
