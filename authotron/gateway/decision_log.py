"""Log events about the decisions of the gateway, named as in auth-o-tron."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.gateway import credentials
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    BadCarrier,
    BadCredentials,
    BadIdentity,
    Rejected,
    TooManyCredentials,
)
from authotron.model.identity import Credential, Identity
from authotron.telemetry import logs
from authotron.telemetry.suppression import Suppression

_SCHEMES = {"basic": "Basic", "bearer": "Bearer", "certificate": "certificate"}
"""
The kinds of credentials that the log of a refusal names; other schemes are not named, because
clients may invent any number of them.
"""

_OTHER = "other"
"""How the log of a refusal names all other kinds of credentials."""


@define(eq=False)
class DecisionLog:
    """Logs who was authenticated and why others were refused; similar refusals are suppressed."""

    _clock: IReactorTime
    _suppression: Suppression = field(init=False, repr=False)
    _log = Logger(namespace="authotron.gateway.decisions")

    def __attrs_post_init__(self) -> None:
        self._suppression = Suppression(self._clock)

    def malformed(self, bad: BadCredentials) -> None:
        """
        Log that a header C{Authorization}, or the part of the request used in place of it, cannot
        be parsed.
        """
        if logs.log.writes_info and (count := self._suppression.count("malformed")) is not None:
            too_many = isinstance(bad, TooManyCredentials)
            self._log.info(
                "malformed credential: {error}"
                if isinstance(bad, BadCarrier)
                else "malformed Authorization header: {error}",
                reason="too_many_credentials" if too_many else "invalid_format",
                error=str(bad),
                max_credentials=credentials.MOST,
                suppressed_count=count,
                event="auth.header.invalid",
            )

    def rejected(self, found: Iterable[Credential], rejected: Rejected) -> None:
        """Log that no provider accepts the credentials of a client."""
        if not logs.log.writes_info:
            return
        for scheme in dict.fromkeys(each.scheme for each in found):
            kind = _SCHEMES.get(scheme, _OTHER)
            if (count := self._suppression.count(kind)) is not None:
                self._log.info(
                    "no provider accepts the {scheme} credential of a client: {last_error}",
                    scheme=kind,
                    last_error=str(rejected),
                    suppressed_count=count,
                    event="auth.provider.all_failed",
                )

    def authenticated(self, found: Authentication) -> None:
        """Log which user a provider has authenticated."""
        if not logs.log.writes_info:
            return
        identity = found.identity
        self._log.info(
            "{username} of realm {realm} authenticated by provider {provider}",
            username=identity.username,
            realm=identity.realm,
            provider=found.provider,
            actor=found.describe_actors(),
            roles=",".join(identity.roles),
            roles_count=len(identity.roles),
            attributes_count=len(identity.attributes),
            scopes_services_count=len(identity.scopes),
            event="auth.request.authenticated",
        )

    def expired(self, identity: Identity, rejected: Rejected) -> None:
        """Log that an authenticated user gets no JWT, because the credential has expired."""
        self._log.debug(
            "no JWT minted for {username} of realm {realm}: {reason}",
            username=identity.username,
            realm=identity.realm,
            reason=str(rejected),
            event="auth.identity.expired",
        )

    def refused(self, bad: BadIdentity) -> None:
        """Log that the identity of an authenticated user must not be passed on."""
        self._log.warn("identity refused: {reason}", reason=str(bad), event="auth.identity.refused")

    def broken(self, failure: Failure) -> None:
        """Log that deciding about a client failed because of a defect."""
        self._log.failure(
            "authentication failed unexpectedly", failure, event="auth.authority.broken"
        )
