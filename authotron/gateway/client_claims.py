"""
Makes the claims of authenticated clients, for policies and for the JWTs that the gateway mints.

The module is imported only if the configuration has a policy, or JWTs contain claims.
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
"""The type of a provider that is not configured any more, in claims and in metrics."""

IMPORTED_TYPE = "imported"
"""The claim C{@source:type} of the owners of API tokens that were imported from other services."""


_MOST_SHOWN = 64
"""Maximum number of characters of the name of an attribute that a message repeats."""


class ClaimsObserver(Protocol):
    """An object that counts the attributes that do not become claims."""

    def claims_dropped(self, provider: str, reason: str, number: int, /) -> None:
        """Count attributes of an identity that did not become claims, for one reason."""


@define(eq=False)
class ClientClaims:
    """
    Makes the claims of authenticated clients.

    @ivar refuses: whether an identity is refused to which an augmenter adds a claim that only the
        gateway may set; such a claim is removed in any case.
    """

    _sources: Mapping[str, Source]
    _issuer: str
    _observer: ClaimsObserver
    refuses: bool = True

    def source(self, authentication: Authentication) -> Source:
        """
        Return how the gateway found out an identity: for the owner of an API token, the provider
        that identified the owner.
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
        Return the names of those attributes that do not become claims, each with the reason in one
        word.
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
        # The name of a provider may come from the token store, and must not become a label then.
        known = provider if provider in self._sources else UNKNOWN
        for reason, number in Counter(reasons).items():
            self._observer.claims_dropped(known, reason, number)


def _forged(authentication: Authentication, dropped: Iterable[str]) -> Iterator[str]:
    """
    Yield the names of those attributes that only the gateway may set, and that an augmenter has
    added or changed.
    """
    before = authentication.unaugmented
    if before is None:
        return
    now = authentication.identity.attributes
    for key in dropped:
        if is_reserved(key) and before.attributes.get(key) != now[key]:
            yield key
