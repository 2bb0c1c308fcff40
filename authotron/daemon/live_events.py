"""
Poll identity providers for security events, and keep the Token Status Lists up to date, as the
configuration in use demands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from attrs import define, field

from authotron.concurrency.reactor import IGatewayReactor
from authotron.gateway.gateway import LiveGateway
from authotron.web.replies import Reply


class Work(Protocol):
    """Work that goes on in the background while a configuration is in use."""

    def start(self) -> None:
        """Begin the work."""

    def stop(self) -> None:
        """End the work."""


@define(eq=False)
class LiveEvents:
    """
    Does the work in the background that the section C{events} of the configuration in use demands.

    If the configuration has neither C{poll} nor C{status_list}, a L{LiveEvents} does nothing.
    """

    _serving: LiveGateway[Reply]
    _clock: IGatewayReactor
    _work: list[Work] = field(factory=list, init=False)

    def start(self) -> None:
        """Begin the work that the configuration in use demands."""
        self._work = [*self._pollers(), *self._publishers()]
        for each in self._work:
            each.start()

    def stop(self) -> None:
        """End all work."""
        work, self._work = self._work, []
        for each in work:
            each.stop()

    def replace(self) -> None:
        """Do the work for the gateway that has replaced an earlier one after a reload."""
        self.stop()
        self.start()

    def _pollers(self) -> Iterator[Work]:
        for each in self._serving.gateway.transmitters.values():
            if each.poll is not None:
                from authotron.daemon.event_poller import EventPoller  # noqa: PLC0415 - only needed here

                yield EventPoller(self._serving, self._clock, each, each.poll)

    def _publishers(self) -> Iterator[Work]:
        lists = self._serving.gateway.status_lists
        if lists is not None:
            from authotron.daemon.status_publisher import StatusPublisher  # noqa: PLC0415 - only needed here

            yield StatusPublisher(self._serving, self._clock, lists)
