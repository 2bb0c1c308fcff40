"""
Attack one proxy: send ordinary requests first, for comparison, and then every attack
of the table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from attrs import define, evolve, field, frozen

from authotron.probe import exchange, paths, proxies
from authotron.probe.attack import Attack, Control, Finding, Phase
from authotron.probe.connection import Received, Unreachable
from authotron.probe.exchange import Exchange
from authotron.probe.request import Credential, Nonces, Request, Target, written
from authotron.probe.table import ATTACKS

_MOST_REQUESTS = 600
"""
Maximum number of requests of one attack, when the header fields of refused requests are tried one
by one.
"""

_MOST_TIMEOUTS = 30
"""Maximum number of requests that the proxy may leave without an answer until they time out."""

_UNAUTHORIZED = 401

_NEEDED = {
    Credential.LIMITED: "give an API token for network 203.0.113.0/24 with --limited-token-file",
    Credential.CERTIFICATE: "if clients have certificates, give one with --certificate-file",
}
"""
For each kind of credential that some attacks need, the advice to operators how to provide such a
credential.
"""

Send = Callable[[bytes, Request], Awaitable[Received]]
"""
A function that sends the bytes of a request on a new connection, and returns the bytes that come
back.

@raise Unreachable: no connection to the proxy can be opened.
"""


class ProbeFailed(Exception):
    """The proxy cannot be judged; the message says why, and what the operator can do."""


@frozen
class Result:
    """The outcome of one attack on the proxy; C{finding} is C{None} if nothing leaked."""

    attack: Attack
    finding: Finding | None


@frozen
class Skipped:
    """An attack that was not tried, and the reason."""

    attack: Attack
    reason: str


@define(eq=False)
class Campaign:
    """
    The attacks on one proxy.

    @ivar requests: the number of requests that were sent.
    @ivar proxy: the name of the proxy according to its answers, or C{None}.
    """

    target: Target
    send: Send
    nonces: Nonces
    attacks: Sequence[Attack] = ATTACKS
    phase: Phase = Phase.GATEWAY_UP
    requests: int = field(default=0, init=False)
    proxy: str | None = field(default=None, init=False)
    _flaw_of_limited: str | None = field(default=None, init=False)
    _timeouts: int = field(default=0, init=False)

    async def run(self) -> AsyncIterator[Result]:
        """
        Yield the result of each attack that belongs to the phase.

        @raise ProbeFailed: the ordinary requests did not have the required outcome, or the proxy
            leaves too many requests without an answer.
        """
        control = await (self._with_gateway() if self._is_up else self._without_gateway())
        leaked: dict[str, set[str]] = {}
        for attack in self.attacks:
            if attack.phase is self.phase and self._reason_to_skip(attack) is None:
                found = [each async for each in self._leaks(attack, control)]
                known = {name for each in attack.follows_from for name in leaked.get(each, ())}
                new = tuple(dict.fromkeys(each for each in found if each not in known))
                leaked[attack.name] = {*new}
                if self._is_up:
                    await self._check_still_passes(attack)
                yield Result(attack, Finding(attack, new) if new else None)

    def skipped(self) -> Iterator[Skipped]:
        """Yield the attacks that are not tried."""
        for attack in self.attacks:
            if (reason := self._reason_to_skip(attack)) is not None:
                yield Skipped(attack, reason)

    @property
    def _is_up(self) -> bool:
        return self.phase is Phase.GATEWAY_UP

    def _reason_to_skip(self, attack: Attack) -> str | None:
        if attack.phase is Phase.GATEWAY_DOWN and self._is_up:
            return "stop the gateway, and run the probe with --gateway-down"
        if attack.phase is Phase.GATEWAY_UP and not self._is_up:
            return "start the gateway, and run the probe without --gateway-down"
        for kind, advice in _NEEDED.items():
            if attack.needs(kind) and kind not in self.target.credentials:
                return advice
        return self._flaw_of_limited if attack.needs(Credential.LIMITED) else None

    async def _with_gateway(self) -> Control:
        """
        Check that the credential and the echo backend are right, and return the outcome of ordinary
        requests.
        """
        good = await self._exchange(Request("ordinary"))
        self.proxy = proxies.recognized(good.answers)
        if not good.echoes:
            raise ProbeFailed(_why_not_echoed(good))
        if Credential.LIMITED in self.target.credentials:
            await self._check_limited()
        [echo] = good.echoes[:1]
        base = paths.common_end(good.path, paths.path_of(echo.target))
        line = self.target.credentials[Credential.GOOD].decode("latin-1")
        return Control(echo, base, line.partition(":")[2].strip())

    async def _check_limited(self) -> None:
        """Check that the limited API token is refused because of its limit; if not, say why."""
        limited = await self._exchange(Request("limited", credential=Credential.LIMITED))
        if limited.echoes:
            self._flaw_of_limited = (
                "the token of --limited-token-file is good from here, so it is not limited to "
                "network 203.0.113.0/24"
            )
        elif limited.status == _UNAUTHORIZED:
            self._flaw_of_limited = "the token of --limited-token-file is unknown or expired"

    async def _without_gateway(self) -> Control:
        """Check that the gateway does not answer, as far as a client can see."""
        unknown = await self._exchange(Request("unknown", credential=Credential.UNKNOWN))
        self.proxy = proxies.recognized(unknown.answers)
        if not unknown.answers:
            raise ProbeFailed("the proxy does not answer: check the URL")
        if not unknown.echoes and unknown.answers[0].values("www-authenticate"):
            raise ProbeFailed(
                "the gateway seems to be running, as an unknown credential is answered with "
                f"{unknown.status} and WWW-Authenticate: stop the gateway first"
            )
        return Control(exchange.NOTHING, ("", ""), "")

    async def _leaks(self, attack: Attack, control: Control) -> AsyncIterator[str]:
        """Yield the names of what gets past the proxy by the requests of an attack."""
        waiting = [*attack.requests]
        first = self.requests
        while waiting and self.requests - first < _MOST_REQUESTS:
            request = waiting.pop(0)
            seen = await self._exchange(request)
            for each in attack.judge(seen, control):
                yield each
            if attack.splits and not seen.echoes and len(request.fields) > 1:
                half = len(request.fields) // 2
                parts = (request.fields[:half], request.fields[half:])
                waiting[:0] = [evolve(request, fields=part) for part in parts]

    async def _exchange(self, request: Request) -> Exchange:
        """
        Send one request, and return its outcome; a request whose connection fails has
        no answer.
        """
        self.requests += 1
        number = self.requests
        data = written(request, self.target, self.nonces, number)
        first_line = data.partition(b"\r\n")[0].decode("latin-1")
        sent = " ".join(first_line.split(" ")[1:-1])
        try:
            received = await self.send(data, request)
        except Unreachable as error:
            if number == 1:
                raise ProbeFailed(f"the proxy cannot be connected to: {error}") from None
            received = Received(b"", ended=True)
        seen = exchange.read(request, paths.path_of(sent), self.nonces, number, received)
        self._count_timeout(timed_out=not seen.answers and not received.ended)
        return seen

    def _count_timeout(self, *, timed_out: bool) -> None:
        self._timeouts += timed_out
        if self._timeouts > _MOST_TIMEOUTS:
            raise ProbeFailed(f"the proxy left {self._timeouts} requests without an answer")

    async def _check_still_passes(self, attack: Attack) -> None:
        """
        Check that ordinary requests still reach the backend, because attacks on a proxy that limits
        its clients, or has stopped, would find nothing.
        """
        good = await self._exchange(Request("ordinary"))
        if not good.echoes and not good.strangers:
            outcome = good.status or "no answer"
            raise ProbeFailed(
                f"an ordinary request after attack {attack.name} got {outcome}: the proxy limits "
                "the rate of requests, or has stopped"
            )


def _why_not_echoed(good: Exchange) -> str:
    """Say why an ordinary request did not come back from the echo backend."""
    if good.status is None:
        return "the proxy does not answer: check the URL"
    if good.status in {401, 403}:
        return f"the credential is refused with {good.status}: check it by authotron explain"
    if good.answers[0].values("x-probe-echo") or b"authotron probe" in good.answers[0].body:
        return "the proxy does not pass on X-Probe-Mark and the path: the echo backend needs one"
    return (
        f"the answer with status {good.status} is not from the echo backend: let the proxy pass "
        "requests for this URL to authotron probe --echo PORT"
    )
