"""A configuration becomes services: start, reload, drain, stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from authotron import (
    __version__,
    credentials,
    issuing,
    logs,
    minter,
    parts,
    verdicts,
    web_client,
)
from authotron.authority import Authority
from authotron.config import Config
from authotron.errors import ConfigError, TimedOut, Unavailable
from authotron.forwarding import Forwarding
from authotron.issuing import Tokens
from authotron.metrics import Metrics
from authotron.racing import everyone, was_cancelled, within
from authotron.stores import ITokenStore
from authotron.token_store import Owners, TokenJudge
from authotron.web import operations, public
from authotron.web.front import Entrance
from authotron.web.generation import Generation, Serving
from authotron.web.replies import Replies
from authotron.web.site import Site
from authotron.world import World


def compose(
    config: Config, world: World, metrics: Metrics, store: ITokenStore | None = None
) -> Generation:
    """
    All parts of a configuration, put together. Nothing is started.

    @param store: one that is open already and is to be kept.

    @raise ConfigError: the parts do not fit, or a file they need cannot be read.
    """
    file = config.file
    world = evolve(world, patience=file.auth.timeout_in_ms / 1000)
    providers = [_made("providers", each, world) for each in config.providers]
    augmenters = [_made("augmenters", each, world) for each in config.augmenters]
    signer = minter.make(file.jwt, world.clock, config.folder)
    challenge = credentials.challenge(providers)
    tokens = _tokens(config, world, store)
    owners = Owners(providers, world.clock, file.tokens.users)
    judge = TokenJudge(tokens, owners, world.clock)
    authority = Authority(
        providers,
        augmenters,
        challenge,
        world.clock,
        metrics,
        timeout=file.auth.timeout_in_ms / 1000,
        in_order=file.auth.prefer == "order",
        own=judge,
    )
    replies = Replies(challenge, file.include_legacy_headers)
    remembered = verdicts.make(
        file.auth.cache, world.clock, authority, signer.mint, signer.life, replies.authenticate
    )
    metrics.expect([*providers, *([judge] if tokens else [])], augmenters, verdicts.RESULTS)
    forwarding = Forwarding(file.server.trusted_proxies, file.server.forwarded)
    return Generation(config, authority, signer, replies, remembered, forwarding, owners, tokens)


def _made(kind: str, config: Any, world: World) -> Any:
    return parts.load(kind, config.type, kind).make(config, world)


def _tokens(config: Config, world: World, store: ITokenStore | None) -> Tokens | None:
    """
    The tokens of our own, if there is a store.

    A documented store has no pepper. All processes that share it have the secret of the minted
    tokens in common, so a pepper is derived from that.
    """
    if config.store is None:
        return None
    secret = config.file.jwt.secret
    spare = issuing.derived_pepper(secret.get_secret_value()) if secret else None
    kept = store or _made("stores", config.store, world)
    return Tokens(kept, config.file.tokens, config.store, world.clock, spare)


class Keeping(Service):
    """
    Keeps a token store open, and tidies it now and then.

    Nobody waits for it: until it is open, whoever needs it hears that it is unavailable.
    """

    _log = Logger()

    def __init__(self, tokens: Tokens, world: World, failed: Callable[[Failure], None]) -> None:
        self.tokens = tokens
        self._clock = world.clock
        self._failed = failed
        self._tidying = LoopingCall(self._tidy)
        self._tidying.clock = world.clock
        self._opening: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        self._opening = Deferred.fromCoroutine(self._open())
        self._opening.addErrback(lambda f: None if was_cancelled(f) else self._failed(f))

    async def stopService(self) -> None:
        super().stopService()
        if self._opening is not None:
            self._opening.cancel()
        if self._tidying.running:
            self._tidying.stop()
            await self._tidy()
        await self.tokens.store.close()

    async def _open(self) -> None:
        delay, type_ = _FIRST_RETRY, self.tokens.store.type
        while True:
            try:
                await self.tokens.open()
            except Unavailable as error:
                self._log.warn(
                    "the token store ({type}) is not there: {reason}",
                    type=type_,
                    reason=str(error),
                    event="store.open.failed",
                )
                await deferLater(self._clock, delay, lambda: None)
                delay = min(delay * 2, _LAST_RETRY)
            else:
                break
        self._log.info("the token store ({type}) is open", type=type_, event="store.opened")
        self._tidying.start(_TIDY_EVERY, now=False).addErrback(self._failed)

    async def _tidy(self) -> None:
        try:
            await self.tokens.tidy()
        except Unavailable as error:
            self._log.warn(
                "the token store could not be tidied: {reason}",
                reason=str(error),
                event="store.tidy.failed",
            )


_EX_CONFIG = 78  # sysexits.h
_FIRST_RETRY, _LAST_RETRY = 0.25, 2.0
_TIDY_EVERY = 60.0


class Pool(Service):
    """A few threads for password hashes and the like, alive while the service is."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=os.cpu_count() or 2, name="authotron")

    def startService(self) -> None:
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        super().stopService()
        self._pool.stop()

    def __call__(self, work: Callable[[], Any], /) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, work)


class Listener(Service):
    """
    Listens at an endpoint.

    A failure to do so is raised if it is known at once, and else given to C{failed}: it never
    stays in the log alone.
    """

    def __init__(
        self, reactor: Any, endpoint: str, site: Site | Entrance, failed: Callable[[Failure], None]
    ) -> None:
        self._endpoint = serverFromString(reactor, endpoint)
        self.description = endpoint
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

        self._listening = self._endpoint.listen(self.site)
        self._listening.addErrback(failed)
        starting.clear()
        if at_once:
            at_once[0].raiseException()

    async def stopService(self) -> None:
        super().stopService()
        if self._listening is not None:
            port = await self._listening
            if port is not None:
                await maybeDeferred(port.stopListening)


class Authotron(MultiService):
    """
    The gateway.

    @ivar status: what the process should exit with, in the end.
    """

    _log = Logger()

    def __init__(self, load: Callable[[], Config], config: Config, reactor: Any) -> None:
        super().__init__()
        self._load = load
        self._reactor = reactor
        self.status = 0
        self.pool = Pool(reactor)
        self.pool.setServiceParent(self)
        self._world = World(
            reactor,
            self.pool,
            web_client.Connections(reactor),
            connect=partial(HostnameEndpoint, reactor),
        )
        metrics = Metrics()
        self.serving = Serving(compose(config, self._world, metrics), metrics)
        metrics.watch(
            "authotron_verdicts_remembered",
            "Verdicts that are remembered",
            lambda: self.serving.generation.verdicts.remembered(),  # noqa: PLW0108 - of the one in use
        )
        self.listeners = self._listeners(config)
        self._keeping = self._kept(self.serving.generation.tokens)
        self._retiring: list[Deferred[None]] = []
        self._reloaded = False

    def _listeners(self, config: Config) -> list[Listener]:
        server, second = config.file.server, config.file.metrics
        main = self._site(public.Public(self.serving, self._reactor), public.ROUTES, config)
        entrance = Entrance(main, self.serving, self._reactor)
        listeners = [
            Listener(self._reactor, endpoint, entrance, self.fail)
            for endpoint in _endpoints(server.listen, server.host, server.port)
        ]
        if second.enabled:
            app = operations.Operations(self.serving, self._reactor)
            site = self._site(app, operations.ROUTES, config, counted=False)
            endpoints = _endpoints(second.listen, second.host or server.host, second.port)
            listeners += [Listener(self._reactor, each, site, self.fail) for each in endpoints]
        return listeners

    def _site(
        self, app: Any, routes: Sequence[str], config: Config, *, counted: bool = True
    ) -> Site:
        return Site(
            app.app,
            self._reactor,
            routes,
            timeout=config.file.server.idle_timeout,
            limit=config.file.server.max_header_bytes,
            access=config.file.logging.access if counted else "none",
            metrics=self.serving.metrics if counted else None,
        )

    def _kept(self, tokens: Tokens | None) -> Keeping | None:
        return None if tokens is None else Keeping(tokens, self._world, self._not_kept)

    def _not_kept(self, failure: Failure) -> None:
        """
        A store must not be used, or is broken: no way to begin.

        After a reload we go on, without tokens until the configuration is better.
        """
        if not failure.check(ConfigError):
            self._log.failure("the token store is broken", failure, event="store.broken")
        else:
            self._keep(failure.value)
        if not self._reloaded:
            self.status = _EX_CONFIG
            self._reactor.stop()

    def startService(self) -> None:
        """
        Listen everywhere, or fail.

        @raise SystemExit: a port cannot be had.
        """
        logs.log.config = self.serving.generation.config.file.logging
        super().startService()
        for warning in self.serving.generation.config.warnings:
            self._log.warn("{warning}", warning=warning, event="startup.config.warning")
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

    async def stopService(self) -> None:
        """Listen no more, let those in flight finish within the grace, then stop the rest."""
        self.serving.stopping = True
        await everyone([listener.stopService() for listener in self.listeners])
        grace = self.serving.generation.config.file.server.grace
        closed = [listener.site.drain() for listener in self.listeners]
        try:
            await within(self._reactor, grace, _all(closed))
        except TimedOut:
            self._log.warn("requests in flight were cut off", event="shutdown.grace.exceeded")
        for retiring in self._retiring:
            retiring.cancel()
        await everyone([kept.stopService() for kept in [self._keeping] if kept is not None])
        await _all([super().stopService()])

    def reload(self) -> None:
        """Take over what the configuration says now; if it is bad, say why and keep the old one."""
        try:
            config = self._load()
            generation = compose(
                config, self._world, self.serving.metrics, self._store_to_keep(config)
            )
        except ConfigError as error:
            self._keep(error)
            return
        old = self.serving.generation
        self.serving.generation = generation
        self.serving.problems = ()
        self._adopt(old.config, config)
        self._reloaded = True
        self._adopt_tokens(generation.tokens, old.config.file.server.grace)
        self.serving.metrics.reloaded("success")
        self._log.info("the configuration was read again", event="startup.config.reloaded")

    def _keep(self, error: ConfigError) -> None:
        self.serving.problems = tuple(map(str, error.problems))
        self.serving.metrics.reloaded("failure")
        for problem in error.problems:
            self._log.error(
                "not usable: {problem}", problem=str(problem), event="startup.config.refused"
            )

    def _adopt(self, old: Config, new: Config) -> None:
        logs.log.config = new.file.logging
        for listener in self.listeners:
            listener.site.adopt(new.file.logging.access)
        for warning in new.warnings:
            self._log.warn("{warning}", warning=warning, event="startup.config.warning")
        if (old.file.server, old.file.metrics) != (new.file.server, new.file.metrics):
            self._log.warn(
                "what changed in server and metrics takes effect after a restart",
                event="startup.config.restart",
            )

    def _store_to_keep(self, config: Config) -> ITokenStore | None:
        """The store in use, if the configuration says the same about it."""
        same = config.store == self.serving.generation.config.store
        return self._keeping.tokens.store if same and self._keeping is not None else None

    def _adopt_tokens(self, tokens: Tokens | None, grace: float) -> None:
        """Open another store; the old one stays until those who use it are done."""
        old = self._keeping
        if old is not None and tokens is not None and old.tokens.store is tokens.store:
            old.tokens = tokens
            return
        self._keeping = self._kept(tokens)
        if self._keeping is not None:
            self._keeping.startService()
        if old is not None:
            self._retire(old, grace)

    def _retire(self, old: Keeping, grace: float) -> None:
        def stop(_: Any) -> Deferred[None]:
            self._retiring.remove(retiring)
            return Deferred.fromCoroutine(old.stopService())

        retiring: Deferred[None] = deferLater(self._reactor, grace, lambda: None)
        self._retiring.append(retiring)
        retiring.addBoth(stop)
        retiring.addErrback(self._not_closed)

    def _not_closed(self, failure: Failure) -> None:
        self._log.failure("a token store did not close", failure, event="store.close.failed")

    def fail(self, failure: Failure) -> None:
        """Something without which there is no point in going on has failed: stop, and say so."""
        self._log.failure("the service cannot go on", failure, event="startup.server.failed")
        self.status = 1
        self._reactor.stop()


async def _all(waited: Sequence[Any]) -> None:
    for each in waited:
        if each is not None:
            await each


def _endpoints(listen: Sequence[str], host: str, port: int | None) -> list[str]:
    """Twisted endpoint strings; a host with colons is an IPv6 address."""
    if listen:
        return list(listen)
    kind = "tcp6" if ":" in host else "tcp"
    escaped = host.replace(":", "\\:")
    return [f"{kind}:{port}:interface={escaped}"]
