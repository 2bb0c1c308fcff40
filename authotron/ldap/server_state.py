"""Whether a server of a directory may be called at the moment, or is paused after a failure."""

from __future__ import annotations

from attrs import define
from twisted.logger import Logger

from authotron.ldap.results import (
    AnswerTimeout,
    AnswerTooLarge,
    BindRefused,
    NoVerdict,
    ServerFault,
)
from authotron.ldap.servers import Server

_PAUSE = 1.0
"""Number of seconds for which a server is not called after it failed."""

_REFUSED_PAUSE, _MAX_REFUSED_PAUSE = 10.0, 600.0
"""
Number of seconds for which a server is not called after it refused the service account, and the
maximum to which repeated refusals raise this number.

The pause doubles with each further refusal, since directories lock accounts after wrong passwords.
"""

_MAX_TIMEOUTS = 3
"""
Number of timeouts in a row that count as a failure of a server; fewer may be caused by slow
queries.
"""


@define(eq=False)
class ServerState:
    """
    One server of a directory, and when it may be called again after a failure.

    @ivar reason: why the last call of the server failed; empty if the call succeeded.
    @ivar timeouts: requests in a row that were not answered in time.
    @ivar refusals: how many times in a row the server has refused the password of the service
        account.
    @ivar is_on_trial: whether one caller is trying the server again after a pause; other callers
        skip the server.
    """

    server: Server
    paused_until: float = float("-inf")
    reason: str = ""
    timeouts: int = 0
    refusals: int = 0
    is_on_trial: bool = False
    _log = Logger()

    def is_paused(self, now: float) -> bool:
        """Return whether the LDAP server must not be called now."""
        return self.is_on_trial or self.paused_until > now

    def failed(self, fault: ServerFault, now: float) -> bool:
        """
        Record a failure, and pause calls of the server unless the failure concerns a single request
        only.

        @return: whether the LDAP server is paused, so that its idle connections must be closed.
        """
        if isinstance(fault, NoVerdict):
            self.succeeded(now)
            return False
        if isinstance(fault, AnswerTooLarge):
            return False
        if isinstance(fault, AnswerTimeout):
            self.timeouts += 1
            if self.timeouts < _MAX_TIMEOUTS and not self.reason:
                return False
        seconds = _PAUSE
        if isinstance(fault, BindRefused):
            seconds = min(_REFUSED_PAUSE * 2.0 ** min(self.refusals, 10), _MAX_REFUSED_PAUSE)
            self.refusals += 1
        self.paused_until = max(self.paused_until, now + seconds)
        if str(fault) != self.reason:
            self._log.warn(
                "LDAP server {server} unavailable, trying others: {reason}",
                server=str(self.server),
                reason=str(fault),
                event="ldap.server.unavailable",
            )
        self.reason = str(fault)
        return True

    def succeeded(self, now: float) -> None:
        """
        Record that a call of the server succeeded; if another call failed and paused the server in
        the meantime, the server stays paused.
        """
        self.timeouts = self.refusals = 0
        if self.reason and self.paused_until <= now:
            self.reason = ""
            self._log.info(
                "LDAP server {server} available again",
                server=str(self.server),
                event="ldap.server.back",
            )
