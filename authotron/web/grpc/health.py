"""
The health check of gRPC, C{grpc.health.v1.Health/Check}, by which Envoy may probe the
gateway.
"""

from __future__ import annotations

from http import HTTPStatus

from authotron.gateway.gateway import LiveGateway
from authotron.web.grpc import calls, envoy
from authotron.web.grpc.calls import Answer, Caller, Status
from authotron.web.grpc.messages import DecodeError, HealthCheckRequest, HealthCheckResponse
from authotron.web.replies import Reply
from authotron.web.site import Answered, Site

PATH = b"/grpc.health.v1.Health/Check"
_SERVING, _NOT_SERVING = (
    HealthCheckResponse(status=status).SerializeToString() for status in (1, 2)
)
_SERVICES = (b"", envoy.SERVICE.encode())


class Health:
    """Says whether the gateway accepts further calls."""

    def __init__(self, serving: LiveGateway[Reply], site: Site) -> None:
        self._serving = serving
        self._site = site

    def check(self, message: bytes, peer: str | None) -> Answer:
        """Answer a call."""
        answer = self._answer(message)
        status = HTTPStatus.OK
        if answer.status:
            status = HTTPStatus.NOT_FOUND
        elif answer.message == _NOT_SERVING:
            status = HTTPStatus.SERVICE_UNAVAILABLE
        self._site.answered(
            Answered("POST", PATH.decode(), status, 0.0, None, Caller(peer or "unix"))
        )
        return answer

    def _answer(self, message: bytes) -> Answer:
        try:
            service = HealthCheckRequest.FromString(message).service
        except DecodeError:
            return calls.failed(Status.INTERNAL, "the message is malformed")
        if service not in _SERVICES:
            return calls.failed(Status.NOT_FOUND, "this service is not served here")
        return Answer(_NOT_SERVING if self._serving.stopping else _SERVING)
