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
    authenticator: Authenticator
    minter: Minter
    decisions: DecisionCache[R]
    forwarding: Forwarding
    owners: Owners
    tokens: TokenService | None = None

    def close(self) -> None:
        """Let go of what its parts keep open; nobody will ask them any more."""
        for part in (*self.authenticator.providers, *self.authenticator.augmenters):
            if IConnected.providedBy(part):
                IConnected(part).close()


Invalidate = Callable[[Sequence[str] | None], Awaitable[None]]
"""Voids the verdicts that depend on the API tokens of these ids; with C{None} all verdicts."""


async def _alone(_tokens: Sequence[str] | None) -> None:
    """There are no others."""


@define(eq=False)
class LiveGateway(Generic[R]):
    """
    What the two sites serve.

    @ivar gateway: the configuration in use.
    @ivar stopping: whether the service is about to end, so that nobody should send more.
    @ivar invalidate_others: voids the verdicts of the other processes of the service that depend
        on some API tokens (C{None}: all verdicts), and returns when all have confirmed.
    """

    gateway: Gateway[R]
    metrics: Metrics
    stopping: bool = False
    problems: tuple[str, ...] = field(default=())
    invalidate_others: Invalidate = _alone

    async def invalidate_all_workers(self, tokens: Sequence[str] | None = None) -> None:
        """
        Void the verdicts of all processes that depend on these API tokens, or else all verdicts.

        @param tokens: the ids of API tokens that were revoked or changed. What descends from them
            is void, too.

        @raise Unavailable: it is not certain that the others have forgotten.
        """
        self.gateway.decisions.invalidate(tokens)
        await self.invalidate_others(tokens)
