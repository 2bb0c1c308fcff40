"""All parts of a configuration, put together."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.logger import Logger

from authotron.concurrency.reactor_time import Meter
from authotron.config import plugins
from authotron.config.check import Config
from authotron.gateway import credentials, decisions
from authotron.gateway.authentication import Authenticator
from authotron.gateway.forwarded import Forwarding
from authotron.gateway.gate import Gate
from authotron.gateway.gateway import Gateway
from authotron.jose import minter
from authotron.limits.descriptors import narrowing
from authotron.model.errors import ConfigError, Problem
from authotron.model.hosts import UNIX
from authotron.net.world import World
from authotron.plugin.interfaces import ITokenStore
from authotron.telemetry.metrics import Metrics
from authotron.tokens import service
from authotron.tokens.bounded_store import derived_pepper
from authotron.tokens.owners import Owners
from authotron.tokens.provider import TokenProvider
from authotron.tokens.service import TokenService
from authotron.web.replies import Replies, Reply

_log = Logger()


def compose(
    config: Config, world: World, metrics: Metrics, store: ITokenStore | None = None
) -> Gateway[Reply]:
    """
    All parts of a configuration, put together. Nothing is started.

    @param store: one that is open already and is to be kept.

    @raise ConfigError: the parts do not fit, or a file they need cannot be read.
    """
    file = config.file
    narrow = narrowing([*config.providers, *config.augmenters])
    memory = file.auth.cache.max_bytes // 2 // (len(config.providers) + len(config.augmenters) + 1)
    patience = file.auth.timeout_in_ms / 1000
    world = evolve(world, patience=patience, narrow=narrow, memory=memory)
    providers = [_made("providers", each, world) for each in config.providers]
    augmenters = [
        _made("augmenters", each, for_augmenter(each, world)) for each in config.augmenters
    ]
    signer = minter.make(file.jwt, world.clock)
    tokens = _tokens(config, world, store)
    owners = Owners(providers, world.clock, file.tokens.users, world.memory)
    own = TokenProvider(tokens, owners, world.clock)
    authenticator = Authenticator(
        providers,
        augmenters,
        world.clock,
        metrics,
        timeout=file.auth.timeout_in_ms / 1000,
        in_order=file.auth.prefer == "order",
        own=own,
        gate=Gate(file.auth.identity),
    )
    replies = Replies(credentials.challenge(providers), file.include_legacy_headers)
    remembered = decisions.make(
        file.auth.cache,
        world.clock,
        authenticator,
        signer.mint,
        signer.life,
        replies.authenticate,
        Meter("/authenticate", world.clock, metrics.held_up),
    )
    metrics.expect([*providers, *([own] if tokens else [])], augmenters, decisions.RESULTS)
    proxies = [each for each in file.server.trusted_proxies if each != UNIX]
    trusts_unix = UNIX in file.server.trusted_proxies
    forwarding = Forwarding(proxies, file.server.forwarded, trusts_unix)
    return Gateway(config, authenticator, signer, remembered, forwarding, owners, tokens)


def for_augmenter(config: Any, world: World) -> World:
    """The world as an augmenter sees it, which may have a patience of its own."""
    return evolve(world, patience=getattr(config, "timeout", None) or world.patience)


def _made(kind: str, config: Any, world: World) -> Any:
    """
    A part of its section. One that cannot be made is a mistake, and no end of a service.

    @raise ConfigError: it cannot be made.
    """
    try:
        return plugins.load(kind, config.type, kind).make(config, world)
    except ConfigError:
        raise
    except Exception as defect:  # noqa: BLE001 - of a module of somebody else, perhaps
        _log.failure("a part is broken", event="startup.part.broken")
        told = f"the part of type {config.type!r} is broken: {type(defect).__name__}"
        raise ConfigError([Problem(kind, told)]) from None


def _tokens(config: Config, world: World, store: ITokenStore | None) -> TokenService | None:
    """
    The tokens of our own, if there is a store.

    A documented store has no pepper. All processes that share it have the secret of the minted
    tokens in common, so a pepper is derived from that.
    """
    if config.store is None:
        return None
    secret = config.file.jwt.secret
    spare = derived_pepper(secret.get_secret_value()) if secret else None
    kept = store or _made("stores", config.store, world)
    return service.make(kept, config.file.tokens, config.store, world.clock, spare)
