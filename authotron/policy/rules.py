"""Rules and groups, and the requests to which rules are applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from attrs import frozen

from authotron.model.authentication import Login
from authotron.model.hosts import any_host_fits
from authotron.policy.namespaces import ROOT, is_within
from authotron.policy.networks import Network, any_holds
from authotron.policy.permissions import Permission
from authotron.policy.reasons import Reason
from authotron.policy.requirements import Requirement
from authotron.policy.subjects import Subject
from authotron.policy.times import Times


class Asked(Protocol):
    """
    The request of an identity, as rules see it: a verb on a resource.

    A rule reads the host and the address of a request only if the rule depends on them.
    """

    @property
    def resource(self) -> str:
        """The resource of the request, usually a canonical path."""

    @property
    def verb(self) -> str:
        """
        The verb of the request, usually the HTTP method: what is to be done with the
        resource.
        """

    @property
    def id(self) -> str | None:
        """The id of the object that the request is about, or C{None}."""

    @property
    def namespace(self) -> str:
        """The namespace to which the request belongs."""

    @property
    def host(self) -> str:
        """The requested host, without a port."""

    @property
    def address(self) -> str | None:
        """The address of the client, or C{None} if it is not known."""


class Request(NamedTuple):
    """A request for which all facts, such as host and address, are known already."""

    resource: str
    verb: str
    id: str | None = None
    namespace: str = ROOT
    host: str = ""
    address: str | None = None


Claims: TypeAlias = Mapping[str, Sequence[str]]
"""The claims of an identity: for each key the list of its values."""


class Condition(Protocol):
    """A further condition of a rule, without which the rule does not count."""

    def holds(self, claims: Claims, asked: Asked, now: float) -> bool | None:
        """Return whether the condition holds, or C{None} if the condition cannot be evaluated."""


@frozen
class Rule:
    """
    A rule of a policy: what identities may do, or may not do.

    @ivar number: the position of the rule in the configuration; if several rules lead to the same
        decision, the first one is named as its reason.
    @ivar namespace: the namespace of the rule, which counts for requests of this namespace and of
        namespaces below it.
    @ivar targets: further namespaces, to which the rule is limited in addition.
    @ivar methods: the verbs to which the rule is limited, or C{None} for all verbs.
    @ivar not_before: the time, in seconds since the epoch, from which on the rule counts.
    @ivar expires: the time, in seconds since the epoch, from which on the rule does not count any
        more.
    @ivar when: a condition on claims, request and time.
    @ivar require: how a client must have logged in, so that the permissions of the rule allow
        something; permissions that deny do not depend on the login.
    """

    name: str
    subject: Subject
    permissions: tuple[Permission, ...]
    number: int = 0
    namespace: str = ROOT
    targets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    methods: frozenset[str] | None = None
    times: Times | None = None
    not_before: float | None = None
    expires: float | None = None
    disabled: bool = False
    description: str = ""
    when: Condition | None = None
    require: Requirement | None = None

    @property
    def is_conditional(self) -> bool:
        """
        Whether the rule depends on more than identity, namespace, resource and verb
        of a request.
        """
        return bool(
            self.hosts
            or self.networks
            or self.methods is not None
            or self.times
            or self.not_before is not None
            or self.expires is not None
            or self.when is not None
            or self.require is not None
        )

    def counts_in(self, namespace: str) -> bool:
        """Return whether the rule counts for requests of a namespace."""
        if not is_within(namespace, self.namespace):
            return False
        return not self.targets or any(is_within(namespace, each) for each in self.targets)

    def obstacle(
        self, asked: Asked, now: float, claims: Claims, login: Login | None, *, denies: bool
    ) -> Reason | None:
        """
        Return why a permission of the rule does not count for a request to which it applies, or
        C{None} if it counts.

        A condition that cannot be evaluated never helps a client: permissions that deny count, and
        permissions that allow do not count. The login is checked after all other conditions, so
        that a client is asked for another login only if the rule would then allow the request.

        @param denies: whether the permission denies the request.
        """
        if self.methods is not None and asked.verb not in self.methods:
            return Reason.NO_RULE
        if self.hosts and not any_host_fits(self.hosts, asked.host):
            return Reason.NO_RULE
        if not self._is_in_time(now):
            return Reason.TIME
        if self.networks and not any_holds(self.networks, asked.address):
            return Reason.NETWORK
        if self.when is not None:
            holds = self.when.holds(claims, asked, now)
            if not (denies if holds is None else holds):
                return Reason.CONDITION
        is_weak = self.require is not None and not self.require.is_met(login, now)
        return Reason.LOGIN if is_weak and not denies else None

    def _is_in_time(self, now: float) -> bool:
        if self.not_before is not None and now < self.not_before:
            return False
        if self.expires is not None and now >= self.expires:
            return False
        return self.times is None or self.times.holds(now)


@frozen
class Group:
    """
    A group: a name for identities, to which the subjects of rules may refer.

    @ivar number: the position of the group in the configuration.
    @ivar namespace: the namespace of the group, which counts for requests of this namespace and of
        namespaces below it.
    @ivar weight: the weight of the group: if only one group counts, it is the group with the
        greatest weight.
    """

    name: str
    subject: Subject
    number: int = 0
    namespace: str = ROOT
    weight: int = 0
    disabled: bool = False
