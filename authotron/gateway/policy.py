"""Applies the policies of a configuration to the identities and the requests of a gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import define, field

from authotron.model.authentication import Authentication
from authotron.model.errors import BadIdentity, Flaw, UnusableFact
from authotron.model.request import Facts
from authotron.policy import claims
from authotron.policy.claims import Source
from authotron.policy.policies import Access, Policies
from authotron.policy.ruling import Ruling


class PolicyObserver(Protocol):
    """Counts what the policies say."""

    def policy_ruled(self, result: str, reason: str, /) -> None:
        """Count a request to which the policies were applied."""

    def claims_dropped(self, number: int, /) -> None:
        """Count attributes of identities that did not become claims."""


@define(eq=False)
class Asked:
    """What a client asks for: the facts of its request, which are read when a rule needs them."""

    _facts: Facts
    _namespace: str
    id: None = field(default=None, init=False)

    @property
    def resource(self) -> str:
        return self._facts.path

    @property
    def verb(self) -> str:
        return self._facts.method

    @property
    def namespace(self) -> str:
        found = self._facts.namespace
        return self._namespace if found is None else found

    @property
    def host(self) -> str:
        return self._facts.host

    @property
    def address(self) -> str | None:
        """
        The address of the client, or C{None} if no proxy states it legibly.

        @raise UnusableFact: the address is stated twice, of which a client may have sent one.
        """
        try:
            return self._facts.address
        except UnusableFact as unusable:
            if unusable.flaw in (Flaw.MISSING, Flaw.MALFORMED):
                return None
            raise


@define(eq=False)
class Enforcement:
    """
    The policies of a configuration, and what happens by them.

    @ivar namespace: the namespace of requests for which the proxy names none.
    @ivar observes: whether what the policies deny is only logged and counted.
    @ivar observer: counts what the policies say.
    """

    policies: Policies
    namespace: str
    observes: bool
    observer: PolicyObserver
    _issuer: str
    _types: Mapping[str, str]
    _now: Callable[[], float]

    def access(self, authentication: Authentication) -> PolicyAccess:
        """
        Return what the policies allow to an authenticated client.

        @raise BadIdentity: an augmenter has set a claim that only the gateway may set.
        """
        identity = authentication.identity
        if identity.attributes:
            self._check(authentication)
        name = authentication.provider
        source = Source(self._types.get(name, "unknown"), name, self._issuer)
        held = claims.claims_of(identity, source)
        whole = authentication.unrestricted
        unrestricted = None if whole is None else claims.claims_of(whole, source)
        access = self.policies.access(held, (), unrestricted)
        return PolicyAccess(self, access, self._now)

    def _check(self, authentication: Authentication) -> None:
        """Count the attributes that do not become claims; refuse reserved ones of augmenters."""
        identity, before = authentication.identity, authentication.unaugmented
        dropped = claims.unclaimable(identity)
        if not dropped:
            return
        self.observer.claims_dropped(len(dropped))
        if self.observes or before is None:
            return
        if any(claims.is_reserved(key) and key not in before.attributes for key in dropped):
            raise BadIdentity("an augmenter has set an attribute whose name begins with @")


@define(eq=False)
class PolicyAccess:
    """What the policies allow to one authenticated client."""

    enforcement: Enforcement
    _access: Access = field(repr=False)
    _now: Callable[[], float] = field(repr=False)

    def rule(self, facts: Facts) -> Ruling:
        """
        Apply the policies to one request of the client.

        @raise UnusableFact: a rule depends on a fact that no trusted proxy states clearly.
        """
        return self._access.rule(Asked(facts, self.enforcement.namespace), self._now())

    def __sizeof__(self) -> int:
        """Return how many bytes the object takes, for caches with a budget in bytes."""
        return _ACCESS + self._access.__sizeof__()


_ACCESS = 100
"""Number of bytes of the object in addition to what the policies keep of the identity."""
