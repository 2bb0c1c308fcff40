"""Applies the policies of a configuration to the identities and requests that a gateway handles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from attrs import define, field

from authotron.concurrency.waiters import Waiters
from authotron.gateway.authorizer import Authorizer, Verdict
from authotron.gateway.client_claims import ClientClaims
from authotron.model.authentication import Authentication
from authotron.model.errors import Flaw, PoliciesUnknown, UnusableFact
from authotron.model.request import Facts
from authotron.plugin.cache import authentication_bytes
from authotron.plugin.evaluation import Evaluation
from authotron.policy import claims, permission_list, rules
from authotron.policy.explanation import MOST_STEPS, Explanation, explain
from authotron.policy.permission_list import Layer
from authotron.policy.policies import Access, Policies
from authotron.policy.reasons import Reason
from authotron.policy.resources import flaw
from authotron.policy.rules import Request
from authotron.policy.ruling import BY_AUTHORIZER, NO_VERDICT, Ruling
from authotron.policy.table import SeveralTables, Table
from authotron.policy.verbs import is_misspelt

ALLOW = "allow"
"""The label C{result} of the metric C{policy_rulings_total} for requests that are allowed."""

BY_RULE = Reason.ALLOWED.value
"""The label C{reason} for requests that a rule allows."""


class PolicyObserver(Protocol):
    """An object that counts what the policies decide."""

    def policy_ruled(self, result: str, reason: str, seconds: float | None = None, /) -> None:
        """
        Count a request to which the policies were applied.

        @param seconds: how long it took to compute the ruling, or C{None} if the ruling was
            remembered.
        """

    def policy_asked(self, api: str, result: str, /) -> None:
        """Count a client's question about what the policies allow."""


class Asked:
    """
    The request of a client, in the form that rules read.

    @ivar facts: a function that returns the facts of the request; it is called only if a rule
        depends on the host or on the address.
    """

    __slots__ = ("facts", "namespace", "resource", "verb")
    id: None = None

    def __init__(
        self, resource: str, verb: str, namespace: str, facts: Callable[[], Facts]
    ) -> None:
        self.resource = resource
        self.verb = verb
        self.namespace = namespace
        self.facts = facts

    @property
    def host(self) -> str:
        return self.facts().host

    @property
    def address(self) -> str | None:
        """
        The address of the client, or C{None} if no proxy states an address that can be parsed.

        @raise UnusableFact: the address is stated twice, of which a client may have sent one.
        """
        try:
            return self.facts().address
        except UnusableFact as unusable:
            if unusable.flaw in (Flaw.MISSING, Flaw.MALFORMED):
                return None
            raise


@define(eq=False)
class Enforcement:
    """
    The policies of a configuration, and whether they are enforced.

    If a part of the policies is in a token store, the policies are not known until that part has
    been read, and no request is allowed until then.

    @ivar namespace: the namespace of requests for which the proxy names no namespace.
    @ivar observes: whether requests that the policies deny are only logged and counted, and pass.
    @ivar observer: the object that counts what the policies decide.
    @ivar askers: the roles that may ask the gateway what the policies allow to others.
    @ivar authorizer: the authorizer that must also allow each request, if there is one.
    @ivar is_stored: whether a part of the policies is in a token store, so that the policies change
        while the configuration stays the same.
    @ivar count_allowed: a function that counts a request as allowed by a rule, without applying the
        rules: the rule has allowed an equal request before, and its ruling never changes.
    @ivar first_read: the requests that wait until the policies in the token store have been read
        for the first time, or C{None} if no request has to wait.
    """

    _policies: Policies | None
    namespace: str
    observes: bool
    observer: PolicyObserver
    _claims: ClientClaims
    _now: Callable[[], float]
    askers: frozenset[str] = frozenset()
    authorizer: Authorizer | None = None
    is_stored: bool = False
    first_read: Waiters[None] | None = field(default=None, init=False, repr=False)
    count_allowed: Callable[[], None] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.count_allowed = partial(self.observer.policy_ruled, ALLOW, BY_RULE)

    @property
    def policies(self) -> Policies:
        """
        The compiled policies that are in use.

        @raise PoliciesUnknown: the policies in the token store have not been read yet.
        """
        if self._policies is None:
            raise PoliciesUnknown("the policies in the token store are not known yet")
        return self._policies

    @property
    def is_known(self) -> bool:
        """Whether all policies are known, including the policies in the token store."""
        return self._policies is not None

    def adopt(self, policies: Policies) -> None:
        """
        Replace the policies in use; the caller must apply the new policies to the decisions that
        are cached already.
        """
        self._policies = policies

    async def until_read(self) -> None:
        """
        Wait until the first attempt to read the policies in the token store has ended, whether it
        succeeded or not.
        """
        if self.first_read is not None:
            await self.first_read.join()

    def access(self, authentication: Authentication) -> PolicyAccess:
        """
        Return an object that says what the policies allow to an authenticated client.

        @raise BadIdentity: an augmenter has set a claim that only the gateway may set.
        """
        self._claims.check(authentication)
        if self.is_stored:
            return self.later_access(authentication)
        return PolicyAccess(self, self.access_of(authentication), self._now)

    def later_access(self, authentication: Authentication) -> PolicyAccess:
        """
        Return an object that rules on the requests of an authenticated client. The object looks up
        the policies in use at the first request of the client.
        """
        return PolicyAccess(self, None, self._now, authentication)

    def access_of(self, authentication: Authentication) -> Access:
        """
        Apply the policies in use to an authenticated client.

        @raise PoliciesUnknown: the policies in the token store have not been read yet.
        """
        return self.policies.access_of(
            authentication.identity,
            self._claims.source(authentication),
            authentication.unrestricted,
            authentication.login,
            [(each.identity, self._claims.source(each)) for each in acting(authentication)],
        )

    def access_by(self, stated: Iterable[str]) -> PolicyAccess:
        """
        Return an access object, which rules on requests, for an identity with the given
        claims.
        """
        return PolicyAccess(self, self.policies.access(stated), self._now)

    def claims(self, authentication: Authentication) -> frozenset[str]:
        """
        Return the claims of an authenticated client.

        @raise BadIdentity: an augmenter has set a claim that only the gateway may set.
        """
        return self._claims.claims(authentication)

    def explain(
        self,
        authentication: Authentication,
        request: Request,
        now: float | None = None,
        most_steps: int | None = MOST_STEPS,
    ) -> Explanation:
        """
        Explain what the policies rule about a request of an authenticated client.

        @param now: the time of the request, in seconds since the epoch; the current time if it is
            C{None}.
        @param most_steps: the maximum number of steps in which the rules are searched, or C{None}
            to search all rules.

        @raise BadIdentity: an augmenter has set a claim that only the gateway may set.
        """
        whole, now = authentication.unrestricted, self._now() if now is None else now
        found = explain(
            self.policies,
            self.claims(authentication),
            request,
            now,
            unrestricted=whole and claims.claims_of(whole, self._claims.source(authentication)),
            login=authentication.login,
            most_steps=most_steps,
        )
        for each in acting(authentication):  # each actor must be allowed the request as well
            if found.ruling.allows:
                stated, login = self.claims(each), authentication.login
                found = explain(
                    self.policies, stated, request, now, login=login, most_steps=most_steps
                )
        return found

    def explain_claims(self, stated: Iterable[str], request: Request) -> Explanation:
        """Explain what the policies rule about a request of an identity with given claims."""
        return explain(self.policies, stated, request, self._now())


@define(eq=False)
class PolicyAccess:
    """
    Says what the policies allow to one authenticated client.

    @ivar _access: what the policies allow to the client, or C{None} until the client's first
        request.
    @ivar _client: the authentication of the client, if the policies are applied to it later.
    @ivar verdict: what the authorizer has said about the one request for which this object was
        made; C{None} if the authorizer was not asked or is unavailable, or an L{UnusableFact} if a
        fact of the request prevents asking the authorizer.
    """

    enforcement: Enforcement
    _access: Access | None = field(repr=False)
    now: Callable[[], float] = field(repr=False)
    _client: Authentication | None = field(default=None, repr=False)
    verdict: Verdict | UnusableFact = None

    def with_verdict(self, verdict: Verdict | UnusableFact) -> PolicyAccess:
        """
        Return a copy of this object for one request, with the verdict of the authorizer about this
        request.
        """
        if self._access is None and self.enforcement.is_known:
            self._found()
        return PolicyAccess(self.enforcement, self._access, self.now, self._client, verdict)

    def asked(self, facts: Facts) -> Asked:
        """
        Return the client's request in the form that rules read.

        @raise UnusableFact: no trusted proxy states method, path and namespace of the request
            clearly.
        """
        namespace = facts.namespace
        if namespace is None:
            namespace = self.enforcement.namespace
        return Asked(facts.path, facts.method, namespace, lambda: facts)

    def asked_by(self, stated: Mapping[str, object], facts: Callable[[], Facts]) -> Asked:
        """
        Return the client's request in the form that rules read, made of facts that are known
        already.

        @param stated: the facts C{method} and C{path} of a request without a namespace.
        @param facts: a function that returns all facts of the request.
        """
        return Asked(str(stated["path"]), str(stated["method"]), self.enforcement.namespace, facts)

    def rule(self, asked: Asked, now: float | None = None) -> Ruling:
        """
        Apply the policies to one request of the client; if there is an authorizer, it must have
        allowed the request, too.

        @param now: the current time, in seconds since the epoch, if the caller knows it.

        @raise UnusableFact: a rule depends on a fact of the request that no trusted proxy states
            clearly, or that a backend could read in another way.
        """
        return self._with_authorizer(self.rule_alone(asked, now))

    def _with_authorizer(self, ruling: Ruling) -> Ruling:
        """
        Return the ruling of the rules, or a refusal if the authorizer does not allow the request.

        @raise UnusableFact: the authorizer could not be asked because of a fact of the request.
        """
        if self.enforcement.authorizer is None or not ruling.allows or self.verdict is True:
            return ruling
        if isinstance(self.verdict, UnusableFact):
            raise self.verdict
        return NO_VERDICT if self.verdict is None else BY_AUTHORIZER

    def rule_alone(self, asked: Asked, now: float | None = None) -> Ruling:
        """
        Apply the rules to one request of the client, without the verdict of the authorizer.

        @param now: the current time, in seconds since the epoch, if the caller knows it.

        @raise UnusableFact: a rule depends on a fact of the request that no trusted proxy states
            clearly, or that a backend could read in another way.
        @raise PoliciesUnknown: the policies in the token store have not been read yet.
        """
        if why := flaw(asked.resource):
            raise UnusableFact("path", Flaw.MALFORMED, why)
        if is_misspelt(asked.verb):
            raise UnusableFact("method", Flaw.MALFORMED, _OTHER_CASE)
        return (self._access or self._found()).rule(asked, self.now() if now is None else now)

    def ruling(self, asked: rules.Asked) -> Ruling:
        """
        Apply the policies to a request that was checked already; its resource may be a name instead
        of a path. If an authorizer is configured, it must have allowed the request, too.

        @raise UnusableFact: a rule depends on a fact that the request does not state.
        """
        return self._with_authorizer(self.ruling_alone(asked))

    def ruling_alone(self, asked: rules.Asked) -> Ruling:
        """
        Apply the rules like L{ruling}, but without the verdict of the authorizer.

        @raise UnusableFact: a rule depends on a fact that the request does not state.
        """
        return (self._access or self._found()).rule(asked, self.now())

    def named(self, namespace: str) -> Table | SeveralTables | None:
        """
        Return the rules that the client can use in a namespace, or C{None} if the namespace is
        malformed.
        """
        return (self._access or self._found()).named(namespace)

    def layers(self, namespace: str) -> Iterator[Layer]:
        """
        Yield the layers of the permission list of the client in a namespace. If an authorizer is
        configured, one layer of the permission list allows nothing, because a list cannot express
        what the authorizer allows.

        @raise TooLong: the client has more permissions than a permission list may contain.
        """
        yield from permission_list.layers(self._access or self._found(), namespace)
        if self.enforcement.authorizer is not None:
            yield Layer(())

    def is_settled(self, asked: Asked) -> bool:
        """Return whether the ruling about an equal request would be the same at any time."""
        if self.enforcement.authorizer is not None:
            return False
        access = self._access
        return access is not None and access.is_settled(asked.resource, asked.namespace)

    @property
    def access(self) -> Access | None:
        """
        What the policies allow to the client, or C{None} until the client's first request. Clients
        with the same claims, as far as rules read claims, share one object.
        """
        return self._access

    def is_uniform(self, path: str) -> bool:
        """
        For requests without a namespace, return whether the ruling is the same for all paths
        directly in the folder of a path at any time, and depends only on the method.
        """
        access = self._access
        return access is not None and access.is_uniform(path, self.enforcement.namespace)

    def _found(self) -> Access:
        assert self._client is not None
        found = self._access = self.enforcement.access_of(self._client)
        return found

    def __sizeof__(self) -> int:
        """
        Return how many bytes of memory the object takes, for caches with a budget in bytes. If the
        policies are applied later, the access object then takes at most three times the size of the
        client's authentication.
        """
        if self._client is not None:
            return _LATER + 3 * authentication_bytes(self._client)
        return _ACCESS + self._access.__sizeof__()


def acting(authentication: Authentication) -> Sequence[Authentication]:
    """
    Return the identities that act in the name of a client, and what their credentials leave of
    them, each of which must be allowed a request.
    """
    token = authentication.token
    if token is None or not token.actors:
        return ()
    return [
        Authentication(identity, each.provider)
        for each in token.actors
        for identity in (each.identity, each.left)
        if identity is not None
    ]


def evaluations(authentication: Authentication, asked: rules.Asked) -> list[Evaluation]:
    """
    Return the evaluations of a request about which the authorizer has to be asked.

    If the credential of a client hides some of its roles, the authorizer is also asked about the
    identity with all its roles, so that hiding a role never lifts a deny. The authorizer is asked
    about each identity that acts in the name of the client, too.

    @raise UnusableFact: the request does not state the requested host clearly.
    """
    clients = [authentication, *acting(authentication)]
    if authentication.unrestricted is not None:
        clients.append(authentication._replace(identity=authentication.unrestricted))
    host, address = _host(asked), asked.address
    return [
        Evaluation(
            each.identity,
            each.provider,
            asked.verb,
            asked.resource,
            asked.namespace,
            host,
            address,
            asked.id,
        )
        for each in clients
    ]


def _host(asked: rules.Asked) -> str | None:
    """Return the requested host, or C{None} if the proxy states no host."""
    try:
        return asked.host or None
    except UnusableFact as unusable:
        if unusable.flaw is Flaw.MISSING:
            return None
        raise


_ACCESS = 100
"""Number of bytes of the object, apart from what the policies keep about the identity."""

_LATER = 600
"""
Number of bytes of an object that applies the policies to a client at its first request, without the
claims of the client.
"""

_OTHER_CASE = "a method in lower case, which some backends take for the one in upper case"
"""The reason why policies cannot be applied to a request."""
