"""What an attack is: requests, a judgement of what came of each, and how to close what leaked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum

from attrs import field, frozen

from authotron.probe.answers import Echo
from authotron.probe.exchange import Exchange
from authotron.probe.request import Credential, Request


class Phase(Enum):
    """In which state of the gateway an attack is tried."""

    GATEWAY_UP = "up"
    GATEWAY_DOWN = "down"


@frozen
class Control:
    """
    What the proxy does with ordinary requests, for comparison.

    @ivar good: the echo of a request with a good credential.
    @ivar base: the path of the URL, as client and backend see it.
    @ivar credential: the good credential.
    """

    good: Echo
    base: tuple[str, str]
    credential: str = field(repr=False)


Judge = Callable[[Exchange, Control], Iterable[str]]
"""Names what leaked in an exchange: a header, a path, a method."""


@frozen
class Attack:
    """
    One way to get past a proxy.

    @ivar name: one word for reports.
    @ivar leak: what it means if the attack succeeds, as a sentence.
    @ivar remedy: how to close it at any proxy.
    @ivar by_proxy: how to close it at one proxy.
    @ivar follows_from: attacks that, if one finds the same header, make this one say nothing new.
    @ivar splits: whether the fields of a request that is refused are tried one by one.
    """

    name: str
    leak: str
    remedy: str
    requests: Sequence[Request]
    judge: Judge
    by_proxy: Mapping[str, str] = field(factory=dict)
    follows_from: tuple[str, ...] = ()
    phase: Phase = Phase.GATEWAY_UP
    splits: bool = False

    def needs(self, kind: Credential) -> bool:
        """Return whether a request of the attack presents a kind of credential."""
        return any(each.credential is kind for each in self.requests)

    def remedy_for(self, proxy: str | None) -> str:
        """Return how to close a leak of a proxy, or of one that is not known."""
        return self.by_proxy.get(proxy or "", self.remedy)


@frozen
class Finding:
    """
    An attack that succeeded.

    @ivar leaked: what leaked, in order and each once.
    """

    attack: Attack
    leaked: tuple[str, ...]
