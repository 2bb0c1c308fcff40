"""
What an attack on a proxy is: its requests, the judgement of their outcome, and the remedy for a
leak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum

from attrs import field, frozen

from authotron.probe.answers import Echo
from authotron.probe.exchange import Exchange
from authotron.probe.request import Credential, Request


class Phase(Enum):
    """Whether an attack is tried while the gateway runs, or while it is down."""

    GATEWAY_UP = "up"
    GATEWAY_DOWN = "down"


@frozen
class Control:
    """
    The behaviour of the proxy with ordinary requests, for comparison.

    @ivar good: the request with a valid credential, as the echo backend received it.
    @ivar base: the path of the URL as the client sent it, and as the backend received it.
    @ivar credential: the valid credential, without the name of its header.
    """

    good: Echo
    base: tuple[str, str]
    credential: str = field(repr=False)


Judge = Callable[[Exchange, Control], Iterable[str]]
"""A function that names what got past the proxy in an exchange: a header, a path or a method."""


@frozen
class Attack:
    """
    One way to get past a proxy.

    @ivar name: the name of the attack in reports, one word.
    @ivar leak: a sentence that says what the success of the attack means.
    @ivar remedy: the remedy at any proxy.
    @ivar by_proxy: the remedy at certain proxies, by the name of the proxy.
    @ivar follows_from: the names of other attacks; if one of them finds the same header, this
        attack reports nothing new.
    @ivar splits: whether the header fields of a request that is refused are tried one by one.
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
        """Return the remedy for a leak at a given proxy, or at a proxy that is not known."""
        return self.by_proxy.get(proxy or "", self.remedy)


@frozen
class Finding:
    """
    An attack that succeeded.

    @ivar leaked: the names of what leaked, in order, each once.
    """

    attack: Attack
    leaked: tuple[str, ...]
