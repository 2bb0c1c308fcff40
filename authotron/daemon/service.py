"""A configuration becomes services: start, reload, drain, stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron import __version__
from authotron.concurrency.racing import start, wait_all, with_timeout
from authotron.config.check import Config
from authotron.daemon import reload
from authotron.daemon.compose import compose
from authotron.daemon.listening import (
    Listener,
    Ready,
    endpoints,
    second_listeners,
    site,
)
from authotron.daemon.runtime import Pool, outside
from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.limits import descriptors
from authotron.limits.fair_queue import Standings
from authotron.limits.hash_queue import HashQueue, at_once
from authotron.limits.wrong_pairs import WrongPairs
from authotron.model.errors import ConfigError, Problem, TimedOut
from authotron.plugin.interfaces import ITokenStore
from authotron.telemetry import logs
from authotron.telemetry.metrics import Metrics
from authotron.tokens.service import TokenService
from authotron.tokens.store_service import TokenStoreService
from authotron.web import gateway_routes, operations_routes
from authotron.web.connections import connection_limit, metrics_connection_limit
from authotron.web.fastpath.protocol import FastPathFactory
from authotron.web.replies import Reply

EX_CONFIG = 78
"""The exit status of a configuration that cannot be run (sysexits.h). It is not restarted."""


class GatewayService(MultiService):
    """
    The gateway.

    @ivar status: what the process should exit with, in the end.
    @ivar served: fires when it serves, which is as soon as the reactor runs.
    @ivar refused: called when a configuration that was read again, or its store, is not usable.
    @ivar proven: whether the service was up before this configuration: then a store that must not
        be used does not end it.
    """

    _log = Logger()

    def __init__(
        self,
        load: Callable[[], Config],
        config: Config,
        reactor: Any,
        sockets: Sequence[Ready] = (),
    ) -> None:
        """
        @param sockets: serve these and nothing else; who holds them serves the second port, and
            knows of reloads.
        """
        super().__init__()
        self._load = load
        self._began_with = config
        self._reactor = reactor
        self.status = 0
        self.pool = Pool(reactor)
        self.pool.setServiceParent(self)
        self._world = evolve(
            outside(reactor, self.pool),
            wrong_pairs=WrongPairs(reactor, config.hash_key),
            hash_queue=HashQueue(
                reactor,
                self.pool,
                at_once(config.file.server.processes),
                Standings(reactor, config.hash_key),
            ),
        )
        metrics = Metrics()
        self.serving = LiveGateway(compose(config, self._world, metrics), metrics)
        metrics.watch(
            "authotron_remotes_left_alone",
            "Remotes that cannot be reached and are not asked for a while",
            self._world.breakers.left_alone,
        )
        metrics.watch(
            "authotron_verdicts_remembered",
            "Verdicts that are remembered",
            lambda: self.serving.gateway.decisions.remembered(),  # noqa: PLW0108 - of the one in use
        )
        metrics.watch(
            "authotron_verdicts_bytes",
            "Bytes that the verdicts take which are remembered",
            lambda: self.serving.gateway.decisions.remembered_bytes(),  # noqa: PLW0108 - the same
        )
        if not sockets:
            metrics.watch_reloads(lambda: self.problems)
        self.refused: Callable[[], object] = partial(metrics.reloaded, "failure")
        self.listeners = self._listeners(config, sockets)
        self._keeping = self._kept(self.serving.gateway.tokens)
        self.served: Deferred[None] = succeed(None)
        self._retiring: list[Deferred[None]] = []
        self.proven = False

    def _listeners(self, config: Config, sockets: Sequence[Ready]) -> list[Listener]:
        server, second = config.file.server, config.file.metrics
        app = gateway_routes.GatewayRoutes(self.serving, self._reactor)
        self._main = site(app, gateway_routes.ROUTES, config, self._reactor, self.serving.metrics)
        serves_second = self._serves_second = second.enabled and not sockets
        most = self._room(config)
        self._entrance = FastPathFactory(self._main, self.serving, self._reactor, most)
        listeners = [
            Listener(self._reactor, endpoint, self._entrance, self.fail)
            for endpoint in sockets or endpoints(server, self._reactor)
        ]
        if serves_second:
            insight = operations_routes.ProcessStatus(self.serving, self._reactor)
            metrics = self.serving.metrics
            listeners += second_listeners(insight, config, self._reactor, self.fail, metrics)
        return listeners

    def _room(self, config: Config) -> int:
        """How many connections the main port may have beside the others of the process."""
        server, second = config.file.server, self._began_with.file.metrics
        parts = [*config.providers, *config.augmenters]
        wanted = descriptors.outward(parts)
        outward = descriptors.outward(parts, descriptors.narrowing(parts))
        if outward < wanted:
            self._log.warn(
                "parts may open {outward} connections to remotes instead of {wanted}: there are "
                "only {files} files; raise LimitNOFILE=, or lower connections of the parts",
                outward=outward,
                wanted=wanted,
                files=descriptors.most_files(),
                event="startup.remotes.narrowed",
            )
        others = outward + descriptors.outward([config.store])
        if self._serves_second:
            others += metrics_connection_limit(second.max_connections)
        return connection_limit(server.max_connections, others)

    def _kept(self, tokens: TokenService | None) -> TokenStoreService | None:
        return None if tokens is None else TokenStoreService(tokens, self._world, self._not_kept)

    def _not_kept(self, failure: Failure) -> None:
        """
        A store must not be used, or is broken: no way to begin.

        After a reload we go on, without tokens until the configuration is better.
        """
        if isinstance(failure.value, ConfigError):
            self._refuse(failure.value)
        else:
            self._log.failure("the token store is broken", failure, event="store.broken")
        if not self.proven:
            self.status = EX_CONFIG
            self._reactor.stop()

    def startService(self) -> None:
        """
        Listen everywhere, or fail.

        @raise SystemExit: a port cannot be had.
        """
        logs.log.config = self.serving.gateway.config.file.logging
        super().startService()
        reload.tell_warnings(self._log, self.serving.gateway.config)
        for listener in self.listeners:
            try:
                listener.startService()
            except (CannotListenError, OSError) as error:
                self._log.error("{error}", error=str(error), event="startup.server.failed")
                raise SystemExit(1) from None
            self._log.info(
                "authotron {version} serves at {endpoint}",
                version=__version__,
                endpoint=listener.description,
                event="startup.server.started",
            )
        if self._keeping is not None:
            self._keeping.startService()

    async def close(self) -> None:
        """Listen no more. It may be done twice."""
        self.serving.stopping = True
        await self._stopped(self.listeners)

    async def stopService(self) -> None:
        """Listen no more, let those in flight finish within the grace, then stop the rest."""
        await self.close()
        grace = self.serving.gateway.config.file.server.grace
        closed = [listener.site.drain() for listener in self.listeners]
        try:
            await with_timeout(self._reactor, grace, _all(closed))
        except TimedOut:
            self._log.warn("requests in flight were cut off", event="shutdown.grace.exceeded")
        for retiring in [*self._retiring]:
            retiring.cancel()
        self.serving.gateway.close()
        await self._stopped([self._keeping] if self._keeping is not None else [])
        await _all([super().stopService()])

    async def _stopped(self, services: Sequence[Listener | TokenStoreService]) -> None:
        """Wait until they have stopped; one that fails to is told, and holds up no other."""
        for outcome in await wait_all([start(service.stopService()) for service in services]):
            if isinstance(outcome, Failure):
                self._log.failure("something did not stop", outcome, event="shutdown.failed")

    @property
    def wrong_pairs(self) -> WrongPairs:
        """The passwords that are not sent to remotes again before a time."""
        return self._world.wrong_pairs

    @property
    def standings(self) -> Standings:
        """Which clients are served sooner where passwords wait to be verified."""
        return self._world.hash_queue.standings

    @property
    def problems(self) -> Sequence[str]:
        """Why the last reload was refused."""
        return self.serving.problems

    def reload(self) -> None:
        """Take over what the configuration says now; if it is bad, say why and keep the old one."""
        try:
            config = self._load()
            gateway = compose(
                config, self._world, self.serving.metrics, self._store_to_keep(config)
            )
        except ConfigError as error:
            self._refuse(error)
            return
        except Exception:  # noqa: BLE001 - a defect is no reason to end a service that serves
            self._log.failure(reload.FAILED, event="reload.failed")
            self._refuse(ConfigError([Problem("", reload.FAILED)]))
            return
        old = self.serving.gateway
        self.serving.gateway = gateway
        self.wrong_pairs.clear()
        self.serving.problems = ()
        logs.log.config = config.file.logging
        self._main.adopt(config.file.logging.access)
        self._entrance.limit_connections(self._room(config))
        self.proven = True
        grace = old.config.file.server.grace
        self._adopt_tokens(gateway.tokens, grace)
        self._retire(old, grace)
        self.serving.metrics.reloaded("success")
        reload.tell_adopted(self._log, self._began_with, config, several=False)

    def _refuse(self, error: ConfigError) -> None:
        """Say why a configuration is not taken over; the old one stays in use."""
        self.serving.problems = tuple(map(str, error.problems))
        self.refused()
        reload.tell_refused(self._log, self.serving.problems)

    def _store_to_keep(self, config: Config) -> ITokenStore | None:
        """The store in use, if the configuration says the same about it."""
        same = config.store == self.serving.gateway.config.store
        return self._keeping.tokens.store.backend if same and self._keeping is not None else None

    def _adopt_tokens(self, tokens: TokenService | None, grace: float) -> None:
        """Open another store; the old one stays until those who use it are done."""
        old = self._keeping
        if old and tokens and old.tokens.store.backend is tokens.store.backend:
            old.tokens = tokens
            return
        self._keeping = self._kept(tokens)
        if self._keeping is not None:
            self._keeping.startService()
        if old is not None:
            self._retire(old, grace)

    def _retire(self, old: TokenStoreService | Gateway[Reply], grace: float) -> None:
        def stop(_: Any) -> Deferred[None]:
            self._retiring.remove(retiring)
            return Deferred.fromCoroutine(_ended(old))

        retiring: Deferred[None] = deferLater(self._reactor, grace, lambda: None)
        self._retiring.append(retiring)
        retiring.addBoth(stop)
        retiring.addErrback(self._not_closed)

    def _not_closed(self, failure: Failure) -> None:
        self._log.failure(
            "what a reload replaced did not close", failure, event="reload.close.failed"
        )

    def fail(self, failure: Failure) -> None:
        """Something without which there is no point in going on has failed: stop, and say so."""
        self._log.failure("the service cannot go on", failure, event="startup.server.failed")
        self.status = 1
        self._reactor.stop()


async def _ended(replaced: TokenStoreService | Gateway[Reply]) -> None:
    if isinstance(replaced, TokenStoreService):
        await replaced.stopService()
    else:
        replaced.close()


async def _all(waited: Sequence[Any]) -> None:
    for each in waited:
        if each is not None:
            await each
