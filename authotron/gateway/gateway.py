"""One configuration at work, and which one that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from attrs import define, field, frozen

from authotron.config.check import Config
from authotron.gateway.authentication import Authenticator
from authotron.gateway.decisions import DecisionCache
from authotron.gateway.forwarded import Forwarding
from authotron.jose.minter import Minter
from authotron.plugin.interfaces import IConnected
from authotron.telemetry.metrics import Metrics
from authotron.tokens.owners import Owners
from authotron.tokens.service import TokenService

R = TypeVar("R")
"""What the edge answers with."""


@frozen
class Gateway(Generic[R]):
    """All that one configuration was made into. A reload makes another; no request sees both."""

    config: Config
    authority: Authenticator
    minter: Minter
    verdicts: DecisionCache[R]
    forwarding: Forwarding
    owners: Owners
    tokens: TokenService | None = None

    def close(self) -> None:
        """Let go of what its parts keep open; nobody will ask them any more."""
        for part in (*self.authority.providers, *self.authority.augmenters):
            if IConnected.providedBy(part):
                IConnected(part).close()


Forget = Callable[[Sequence[str] | None], Awaitable[None]]
"""Voids the verdicts that depend on the API tokens of these ids; with C{None} all verdicts."""


async def _alone(_tokens: Sequence[str] | None) -> None:
    """There are no others."""


@define(eq=False)
class LiveGateway(Generic[R]):
    """
    What the two sites serve.

    @ivar generation: the configuration in use.
    @ivar stopping: whether the service is about to end, so that nobody should send more.
    @ivar forget_elsewhere: voids the verdicts of the other processes of the service that depend
        on some API tokens (C{None}: all verdicts), and returns when all have confirmed.
    """

    generation: Gateway[R]
    metrics: Metrics
    stopping: bool = False
    problems: tuple[str, ...] = field(default=())
    forget_elsewhere: Forget = _alone

    async def forget(self, tokens: Sequence[str] | None = None) -> None:
        """
        Void the verdicts of all processes that depend on these API tokens, or else all verdicts.

        @param tokens: the ids of API tokens that were revoked or changed. What descends from them
            is void, too.

        @raise Unavailable: it is not certain that the others have forgotten.
        """
        self.generation.verdicts.forget(tokens)
        await self.forget_elsewhere(tokens)
