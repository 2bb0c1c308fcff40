"""Log events about FastCGI. Clients can cause these events, so similar ones are suppressed."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.telemetry.suppression import Suppression


@define(eq=False)
class FastCgiLog:
    """Logs what is wrong with FastCGI requests and connections."""

    _clock: IReactorTime
    _suppression: Suppression = field(init=False, repr=False)
    _log = Logger(namespace="authotron.web.fastcgi")

    def __attrs_post_init__(self) -> None:
        self._suppression = Suppression(self._clock)

    def refused(self, why: str) -> None:
        """
        Log that a proxy's request by FastCGI cannot be answered, because a variable is missing or
        malformed.
        """
        if (count := self._suppression.count("refused")) is not None:
            self._log.info(
                "FastCGI request {why}: refused with a 400",
                why=why,
                suppressed_count=count,
                event="routes.fastcgi.refused",
            )

    def malformed(self, peer: str | None, why: str) -> None:
        """Log that a FastCGI connection is closed because of what a trusted proxy sent."""
        if (count := self._suppression.count("malformed")) is not None:
            self._log.warn(
                "FastCGI connection from {peer} closed: {why}",
                peer=peer or "a UNIX socket",
                why=why,
                suppressed_count=count,
                event="routes.fastcgi.malformed",
            )
