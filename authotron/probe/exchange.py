"""What one request of an attack led to: answers at the client, and what the echo backend shows."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from authotron.probe import answers
from authotron.probe.answers import Answer, Echo
from authotron.probe.connection import Received
from authotron.probe.request import Nonces, Request, canary


@frozen
class Exchange:
    """
    A request, and what came of it.

    @ivar path: the path of the request, as the client sent it.
    @ivar answers: all answers to the client.
    @ivar echoes: what the backend got as this request.
    @ivar strangers: other requests of this run in the answers to this one.
    """

    request: Request
    nonce: str
    path: str
    answers: Sequence[Answer] = ()
    echoes: Sequence[Echo] = ()
    strangers: Sequence[Echo] = ()

    @property
    def status(self) -> int | None:
        """Return the status of the first answer."""
        return self.answers[0].status if self.answers else None

    @property
    def canary(self) -> str:
        """Return the text that only this request contained."""
        return canary(self.nonce)


def read(request: Request, path: str, nonces: Nonces, number: int, received: Received) -> Exchange:
    """Read what came back for the request with a number."""
    own = nonces.of(number)
    found = answers.parse(received.data, request.method, ended=received.ended)
    shown = [each for each in (answers.echo_of(answer, own) for answer in found) if each]
    return Exchange(
        request,
        own,
        path,
        found,
        [each for each in shown if each.nonce == own],
        [each for each in shown if each.nonce != own and each.nonce in nonces],
    )


NOTHING = Echo("")
"""Stands for the ordinary request when the gateway is down."""
