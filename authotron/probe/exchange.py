"""
The outcome of one request of an attack: answers to the client, and the requests that the echo
backend shows.
"""

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
    A request of an attack, and its outcome.

    @ivar path: the path of the request, as the client sent it.
    @ivar answers: all answers to the client.
    @ivar echoes: the requests that the backend received as this request.
    @ivar strangers: other requests of the same run that the answers to this request show.
    """

    request: Request
    nonce: str
    path: str
    answers: Sequence[Answer] = ()
    echoes: Sequence[Echo] = ()
    strangers: Sequence[Echo] = ()

    @property
    def status(self) -> int | None:
        """Return the status of the first answer to the client."""
        return self.answers[0].status if self.answers else None

    @property
    def canary(self) -> str:
        """Return the text that only this request contained."""
        return canary(self.nonce)


def read(request: Request, path: str, nonces: Nonces, number: int, received: Received) -> Exchange:
    """Read the bytes that came back for the request with a given number."""
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
"""A placeholder for the ordinary request when the gateway is down."""
