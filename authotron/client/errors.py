"""Errors that say whose fault it is: the client's (401, 403) or the gateway's (503)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

REASONS: Mapping[str, str] = {
    "malformed": "The token is malformed",
    "algorithm": "The token is signed with an algorithm that is not accepted",
    "unknown-key": "The token is signed with an unknown key",
    "signature": "The signature of the token is wrong",
    "expired": "The token has expired",
    "not-yet-valid": "The token is not valid yet",
    "issuer": "The token has another issuer",
    "audience": "The token is for another audience",
    "claims": "The token does not describe a user",
    "unchecked-claim": "The token has a condition that this service does not check",
    "revoked": "The token has been revoked",
    "refused": "The gateway refused the credentials",
}
"""The reasons for L{InvalidToken} by their codes: sentences that may be shown to the client."""


class AuthotronError(Exception):
    """
    A request cannot be attributed to a user, or the user may not make the request.

    The text of this exception is meant for the log of the service, not for the client. C{public} is
    the part of the error message that may be shown to the client.

    @cvar status: the status code of the HTTP response.
    """

    status = 500
    public = "Internal error"

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that the HTTP response needs in addition to C{Content-Type}."""
        return {"Cache-Control": "no-store"}


class Unauthenticated(AuthotronError):
    """
    The client has not proved its identity.

    @ivar challenge: the value of the response header C{WWW-Authenticate} (RFC 9110 section 11.6.1).
    """

    status = 401
    public = "Unauthorized access"

    def __init__(self, message: str, challenge: str = "Bearer") -> None:
        super().__init__(message)
        self.challenge = challenge

    @property
    def headers(self) -> Mapping[str, str]:
        return {**super().headers, "WWW-Authenticate": self.challenge}


class NoToken(Unauthenticated):
    """The request has no bearer token."""

    public = "The request has no bearer token"

    def __init__(self, message: str = "the request has no bearer token") -> None:
        super().__init__(message)


class InvalidToken(Unauthenticated):
    """
    The request has a token that does not prove who the client is.

    @ivar code: the reason why the token was refused, as a key of L{REASONS}.
    """

    def __init__(self, code: str, message: str = "", challenge: str = "") -> None:
        self.code = code
        self.public = REASONS[code]
        described = f'Bearer error="invalid_token", error_description="{self.public}"'
        super().__init__(message or self.public, challenge or described)


class Forbidden(AuthotronError):
    """
    The client is known, but may not make the request.

    @ivar roles: the roles of which the user needs one, if a role is missing.
    @ivar scopes: the scopes that the user needs, if a scope is missing.
    """

    status = 403
    public = "Forbidden"

    def __init__(
        self, message: str = "", *, roles: Sequence[str] = (), scopes: Sequence[str] = ()
    ) -> None:
        self.roles, self.scopes = tuple(roles), tuple(scopes)
        needs = [f"one of the roles {', '.join(roles)}"] if roles else []
        needs += [f"the scopes {', '.join(scopes)}"] if scopes else []
        super().__init__(message or f"the user needs {' and '.join(needs) or 'more rights'}")

    @property
    def headers(self) -> Mapping[str, str]:
        if not self.scopes:
            return super().headers
        challenge = f'Bearer error="insufficient_scope", scope="{" ".join(self.scopes)}"'
        return {**super().headers, "WWW-Authenticate": challenge}


class Unavailable(AuthotronError):
    """
    The gateway, or its key set, cannot be reached, so the client could be neither accepted nor
    refused.

    @ivar retry_after: seconds after which the client may repeat the request.
    """

    status = 503
    public = "Authentication is temporarily unavailable"

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        return {**super().headers, "Retry-After": str(self.retry_after)}
