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
"""Discards the decisions that depend on the API tokens of these ids; with C{None} all decisions."""


class Peers:
    """
    The other processes of the service. This class is used if there is only one process.

    @ivar has_served: whether the service was up before this process started.
    """

    has_served: bool = False

    async def invalidate_others(self, tokens: Sequence[str] | None) -> None:
        """
        Discard the decisions that other processes cache, and return once all have confirmed.

        @param tokens: discard only decisions that depend on API tokens of these ids.

        @raise Unavailable: a process has not confirmed.
        """

    def on_reload_refused(self, problems: Sequence[str]) -> None:
        """Report to the supervisor why a configuration cannot be used."""

    def notify(self, word: str, content: object) -> None:
        """Send a message that needs no answer to all other processes."""


@define(eq=False)
class LiveGateway(Generic[R]):
    """
    What the two sites serve.

    @ivar gateway: the configuration in use.
    @ivar stopping: whether the service is about to end, so that nobody should send more.
    @ivar problems: why the configuration that was read last is not in use.
    @ivar peers: the other processes of the service.
    """

    gateway: Gateway[R]
    metrics: Metrics
    stopping: bool = False
    problems: tuple[str, ...] = field(default=())
    peers: Peers = field(factory=Peers)

    async def invalidate_all_workers(self, tokens: Sequence[str] | None = None) -> None:
        """
        Discard cached decisions in all workers, and return once every worker has confirmed.

        @param tokens: the ids of API tokens that were revoked or changed: only decisions that
            depend on these or on tokens derived from them are discarded. C{None} discards all.

        @raise Unavailable: a worker has not confirmed.
        """
        self.gateway.decisions.invalidate(tokens)
        await self.peers.invalidate_others(tokens)
