"""Listens at an endpoint, and says so when that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from authotron import systemd
from authotron.web.front import Entrance
from authotron.web.site import Site


class Listener(Service):
    """
    Listens at an endpoint.

    A failure to do so is raised if it is known at once, and else given to C{failed}: it never
    stays in the log alone.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: str | systemd.Endpoint,
        site: Site | Entrance,
        failed: Callable[[Failure], None],
    ) -> None:
        if isinstance(endpoint, str):
            self._endpoint = serverFromString(reactor, endpoint)
            self.description = endpoint
        else:
            self._endpoint, self.description = endpoint, endpoint.description
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
