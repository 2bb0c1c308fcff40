"""
Make the claims of authenticated clients, for policies and for the JWTs that the gateway mints.

This module is imported only if the configuration has a policy, or if JWTs contain claims.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from attrs import define

from authotron.model.authentication import Authentication
from authotron.model.errors import BadIdentity
from authotron.model.token import IMPORTED
from authotron.policy import claims
from authotron.policy.claim_keys import is_reserved
from authotron.policy.claims import Source

UNKNOWN = "unknown"
"""The type that claims and metrics show for a provider that is no longer configured."""

IMPORTED_TYPE = "imported"
"""
The value of the claim C{@source:type} for owners of API tokens that were imported from other
services.
"""


_MOST_SHOWN = 64
"""Maximum number of characters of an attribute's name that a message quotes."""


class ClaimsObserver(Protocol):
    """The interface of the metrics that count the attributes that do not become claims."""

    def claims_dropped(self, provider: str, reason: str, number: int, /) -> None:
        """Count attributes of an identity that did not become claims for the same reason."""


@define(eq=False)
class ClientClaims:
    """
    Makes the claims of authenticated clients.

    @ivar refuses: whether the gateway rejects an identity to which an augmenter has added a claim
        that only the gateway may set. If not, only the claim is removed.
    """

    _sources: Mapping[str, Source]
    _issuer: str
    _observer: ClaimsObserver
    refuses: bool = True

    def source(self, authentication: Authentication) -> Source:
        """
        Return which provider identified the client. For the owner of an API token this is the
        provider that identified the owner when the token was created.
        """
        name = authentication.provider
        known = self._sources.get(name)
        if known is not None:
            return known
        kind = IMPORTED_TYPE if name.startswith(IMPORTED) else UNKNOWN
        return Source(kind, name, self._issuer)

    def claims(self, authentication: Authentication) -> frozenset[str]:
        """
        Return the claims of a client.

        @raise BadIdentity: an augmenter has set a claim that only the gateway may set.
        """
        self.check(authentication)
        return claims.claims_of(authentication.identity, self.source(authentication))

    def listed(self, authentication: Authentication) -> list[str]:
        """Return the claims of a client whose identity was checked before, in sorted order."""
        return sorted(claims.claims_of(authentication.identity, self.source(authentication)))

    def checked(self, authentication: Authentication) -> list[str]:
        """
        Return the claims of a client in sorted order.

        @raise BadIdentity: an augmenter has set a claim that only the gateway may set.
        """
        return sorted(self.claims(authentication))

    def left_out(self, authentication: Authentication) -> dict[str, str]:
        """
        Return the names of the attributes of a client that do not become claims, each with the
        reason in one word.
        """
        return dict(claims.left_out(authentication.identity))

    def check(self, authentication: Authentication) -> None:
        """
        Count the attributes of an identity that do not become claims.

        @raise BadIdentity: an augmenter has set a claim that only the gateway may set.
        """
        if not authentication.identity.attributes:
            return
        dropped = [*claims.left_out(authentication.identity)]
        if not dropped:
            return
        self._count(authentication.provider, [reason for _, reason in dropped])
        if not self.refuses:
            return
        for key in _forged(authentication, [key for key, _ in dropped]):
            name = ascii(key[:_MOST_SHOWN])
            raise BadIdentity(
                f"an augmenter has set the attribute {name}, but only the gateway sets attributes "
                "whose names begin with @"
            )

    def _count(self, provider: str, reasons: Iterable[str]) -> None:
        # The name of a provider may come from the token store. The name of a provider from the
        # token store must not become a label of metrics.
        known = provider if provider in self._sources else UNKNOWN
        for reason, number in Counter(reasons).items():
            self._observer.claims_dropped(known, reason, number)


def _forged(authentication: Authentication, dropped: Iterable[str]) -> Iterator[str]:
    """
    Yield the names of attributes that an augmenter has added or changed although only the gateway
    may set them.
    """
    before = authentication.unaugmented
    if before is None:
        return
    now = authentication.identity.attributes
    for key in dropped:
        if is_reserved(key) and before.attributes.get(key) != now[key]:
            yield key
