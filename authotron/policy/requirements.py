"""How a client must have logged in, so that a rule allows its request (RFC 9470)."""

from __future__ import annotations

from attrs import frozen

from authotron.model.authentication import Login

SKEW = 60
"""
Maximum number of seconds by which the time of a login may lie in the future, because the clocks of
identity provider and gateway may differ.
"""


@frozen
class Requirement:
    """
    How strong, and how recent, the login of a client must be.

    @ivar acr: the accepted authentication contexts, the preferred ones first; if the tuple is
        empty, any authentication context is accepted.
    @ivar max_age: maximum number of seconds since the login, or C{None} if the login may be old.
    """

    acr: tuple[str, ...] = ()
    max_age: int | None = None

    def parameters(self) -> dict[str, str | int]:
        """
        Return the challenge parameters C{acr_values} and C{max_age}, by which a client learns which
        login is required (RFC 9470 section 3).
        """
        found: dict[str, str | int] = {"acr_values": " ".join(self.acr)} if self.acr else {}
        return found if self.max_age is None else {**found, "max_age": self.max_age}

    def is_met(self, login: Login | None, now: float) -> bool:
        """
        Return whether a login meets the requirement; a login about which nothing is known never
        meets a requirement.

        @param now: the current time, in seconds since the epoch.
        """
        if login is None or (self.acr and login.acr not in self.acr):
            return False
        if self.max_age is None:
            return True
        return login.at is not None and -SKEW <= now - login.at <= self.max_age
