"""Reload: read the configuration again, and use it if it is valid, in one process or in several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.config.check import Config
from authotron.model.errors import ConfigError
from authotron.telemetry import logs
from authotron.tokens.store_service import TokenStoreService

if TYPE_CHECKING:  # compose() loads this module if a token store is configured
    from authotron.tokens.service import TokenService

P = TypeVar("P")
"""The type of the object that a service builds from a configuration before it is in use."""

Load = Callable[[], Config | Awaitable[Config]]
"""A function that reads the configuration, either in this process or in another process."""

_SOCKET_KEYS = {"host", "port", "listen"}
"""
Keys of the section C{server} whose change needs a restart, because the supervisor holds the
sockets.
"""

_REQUEST_KEYS = {"grace", "trusted_proxies", "forwarded", "contracts", "answers", "insecure"}
"""The only keys of the section C{server} that a single process applies without a restart."""

_INTERNAL = "reload failed because of an internal error, see the log; the old configuration stays"


def log_warnings(to: Logger, config: Config) -> None:
    """Log the warnings about a configuration that is in use."""
    # a log event with a field `warning` would count as a Python warning
    for warning in config.warnings:
        to.warn("{notice}", notice=warning, event="startup.config.warning")


def log_refused(to: Logger, problems: Sequence[str]) -> None:
    """Log the problems for which a configuration is not used."""
    for problem in problems:
        to.error(
            "configuration not usable: {problem}", problem=problem, event="startup.config.refused"
        )


@define(eq=False)
class Reloader(Generic[P]):
    """
    Reads the configuration again for a running service, and lets the service use it.

    If the configuration is invalid, or anything fails, the service keeps its old configuration.

    @ivar _load: reads the configuration.
    @ivar _first: the configuration that the process has started with.
    @ivar _prepare: a function that builds what the service needs to use a configuration, and
        changes nothing that is in use. C{_prepare} raises L{ConfigError} if the configuration
        cannot be used, and returns C{None} if the service is stopping.
    @ivar _adopt: a function that begins to use the object that C{_prepare} has built.
    @ivar _refuse: a function that records why the new configuration is not used.
    @ivar _has_workers: whether a reload starts new worker processes. When some keys change, a new
        worker applies the change, but a single process only after a restart.
    """

    _load: Load
    _first: Config
    _prepare: Callable[[Config], Awaitable[P | None]]
    _adopt: Callable[[P], object]
    _refuse: Callable[[Sequence[str]], object]
    _has_workers: bool = False
    _lock: DeferredLock = field(factory=DeferredLock, init=False)
    _log = Logger()

    def reload(self) -> Deferred[None]:
        """
        Reload the configuration once all earlier reloads have ended.

        @return: a Deferred that fires when the new configuration is in use, or was refused; the
            Deferred does not fail.
        """
        return self._lock.run(
            lambda: Deferred.fromCoroutine(self._reload()).addErrback(self._failed)
        )

    async def _reload(self) -> None:
        try:
            loaded = self._load()
            config = loaded if isinstance(loaded, Config) else await loaded
            prepared = await self._prepare(config)
        except ConfigError as error:
            self._refuse([str(problem) for problem in error.problems])
            return
        if prepared is None:
            return
        self._adopt(prepared)
        logs.log.configure(config.file.logging)
        log_warnings(self._log, config)
        if self._fixed(self._first) != self._fixed(config):
            self._log.warn(
                "changes in the sections server and metrics take effect after a restart",
                event="startup.config.restart",
            )
        self._log.info("configuration reloaded", event="startup.config.reloaded")

    def _failed(self, failure: Failure) -> None:
        """
        Keep the old configuration in use after an unexpected exception, because a defect in a
        reload must not end the service.
        """
        self._log.failure(_INTERNAL, failure, event="reload.failed")
        self._refuse([_INTERNAL])

    def _fixed(self, config: Config) -> object:
        """Return the settings of a configuration that change only when the service is restarted."""
        server = config.file.server
        if self._has_workers:
            return server.model_dump(include=_SOCKET_KEYS), config.file.metrics
        return server.model_dump(exclude=_REQUEST_KEYS), config.file.metrics


@define(eq=False)
class Retired:
    """Replaced configurations and token stores, which stay open for requests that began earlier."""

    _clock: IReactorTime
    _pending: list[Deferred[None]] = field(factory=list, init=False)
    _log = Logger()

    def close_later(self, seconds: float, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """
        Close a replaced configuration or token store after a delay.

        @param seconds: how long requests may still use the old configuration or token store.
        """
        pending: Deferred[None] = deferLater(self._clock, seconds, lambda: None)

        def start(_: Any) -> Deferred[None]:
            self._pending.remove(pending)
            return Deferred.fromCoroutine(close())

        self._pending.append(pending)
        pending.addBoth(start)
        pending.addErrback(self._not_closed)

    def close_now(self) -> None:
        """Close all replaced configurations and stores without waiting for the grace."""
        for pending in [*self._pending]:
            pending.cancel()

    def _not_closed(self, failure: Failure) -> None:
        self._log.failure(
            "closing the previous configuration failed", failure, event="reload.close.failed"
        )


class LiveTokenStore:
    """
    The open token store of the configuration that is in use, if it has one.

    A reload that leaves the section C{store} as it was keeps the open store. If a reload changes
    the section C{store}, the new store is opened at once, and the old store is closed after
    C{server.grace}.
    """

    def __init__(
        self,
        tokens: TokenService | None,
        serve: Callable[[TokenService], TokenStoreService],
        retired: Retired,
    ) -> None:
        """@param serve: a function that makes the service that keeps a token store open."""
        self._serve = serve
        self._retired = retired
        self._service = None if tokens is None else serve(tokens)

    @property
    def tokens(self) -> TokenService | None:
        """The service that manages API tokens, with the open token store."""
        return None if self._service is None else self._service.tokens

    def start(self) -> None:
        """Start to open the token store, and return before it is open."""
        if self._service is not None:
            self._service.startService()

    async def stop(self) -> None:
        """Close the token store."""
        if self._service is not None:
            await self._service.stopService()

    def replace(self, tokens: TokenService | None, grace: float) -> None:
        """
        Use the token store of another configuration.

        @param grace: seconds for which the old store stays open.
        """
        old = self._service
        if old and tokens and old.tokens.store.backend is tokens.store.backend:
            old.tokens = tokens
            return
        self._service = None if tokens is None else self._serve(tokens)
        self.start()
        if old is not None:
            self._retired.close_later(grace, old.stopService)
