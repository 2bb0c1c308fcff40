"""The second port, for those who run the gateway: metrics, liveness, readiness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import define
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from authotron import __version__
from authotron.concurrency.racing import start, wait_all, with_timeout
from authotron.gateway.gateway import LiveGateway
from authotron.model.errors import Unavailable
from authotron.plugin.interfaces import IReachable
from authotron.telemetry.metrics import Part
from authotron.web import replies
from authotron.web.replies import Reply, text_reply
from authotron.web.routing import handle_errors, route
from authotron.web.site import Request

ROUTES = ("/metrics", "/health", "/ready")
_PATIENCE = 2.0


class IStatus(Protocol):
    """Knows how the service fares, be it one process or several."""

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """What was counted, for a scraper that accepts these types, and the type chosen."""

    async def readiness(self) -> Mapping[str, Any]:
        """What C{/ready} shows; C{ready} in it says whether more requests are welcome."""


@define(eq=False)
class OperationsRoutes:
    """The routes of the metrics port."""

    _insight: IStatus
    app = Klein()
    handle_errors(app)

    @route(app, "/metrics", "GET")
    async def metrics(self, request: Request) -> Reply:
        accept = request.requestHeaders.getRawHeaders(b"Accept", [b""])[0].decode("latin-1")
        text, content_type = await self._insight.metrics(accept)
        return text_reply(content_type, text)

    @route(app, "/health", "GET")
    def health(self, _request: Request) -> Reply:
        return replies.HEALTHY

    @route(app, "/ready", "GET")
    async def ready(self, _request: Request) -> Reply:
        content = await self._insight.readiness()
        return replies.readiness(content, ready=content["ready"])


@define(eq=False)
class ProcessStatus:
    """How this process fares."""

    _serving: LiveGateway[Reply]
    _clock: IReactorTime

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        return self._serving.metrics.text(accept)

    async def readiness(self) -> Mapping[str, Any]:
        """
        Whether more requests are welcome, and who can be reached.

        A remote that is out is told, but makes nobody unready: others still get in.
        """
        gateway = self._serving.gateway
        parts: list[Any] = [*gateway.authenticator.providers, *gateway.authenticator.augmenters]
        if gateway.tokens is not None:
            parts.append(gateway.authenticator.own)
        return {
            "ready": not self._serving.stopping,
            "version": __version__,
            "parts": await self._reached(parts),
            "warnings": list(gateway.config.warnings),
            "last_reload": list(self._serving.problems) or "good",
        }

    async def _reached(self, parts: list[Any]) -> list[dict[str, object]]:
        outcomes = await wait_all(
            [start(with_timeout(self._clock, _PATIENCE, _check_reachable(part))) for part in parts]
        )
        return [_part_status(part, outcome) for part, outcome in zip(parts, outcomes, strict=True)]


async def _check_reachable(part: Any) -> None:
    if IReachable.providedBy(part):
        await part.check_reachable()


def _part_status(part: Part, outcome: Failure | None) -> dict[str, object]:
    told: dict[str, object] = {"name": part.name, "type": part.type, "realm": part.realm}
    if outcome is None:
        return {**told, "reachable": True}
    known = outcome.check(Unavailable)
    return {**told, "reachable": False, "reason": str(outcome.value) if known else "broken"}
