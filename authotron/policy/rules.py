"""Rules and groups, and the requests to which rules are applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from attrs import frozen

from authotron.model.hosts import any_host_fits
from authotron.policy.namespaces import ROOT, is_within
from authotron.policy.networks import Network, any_holds
from authotron.policy.permissions import Permission
from authotron.policy.reasons import Reason
from authotron.policy.subjects import Subject
from authotron.policy.times import Times


class Asked(Protocol):
    """
    What an identity asks for.

    A rule reads the host and the address only if it depends on them.
    """

    @property
    def resource(self) -> str:
        """The resource, usually a canonical path."""

    @property
    def verb(self) -> str:
        """What is to be done with the resource, usually a method."""

    @property
    def id(self) -> str | None:
        """The id of the thing that is meant, if any."""

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
    """A request all of whose facts are known."""

    resource: str
    verb: str
    id: str | None = None
    namespace: str = ROOT
    host: str = ""
    address: str | None = None


Claims: TypeAlias = Mapping[str, Sequence[str]]
"""The claims of an identity: for each key the list of its values."""


class Condition(Protocol):
    """What else must be true for a rule to count."""

    def holds(self, claims: Claims, asked: Asked, now: float) -> bool | None:
        """Return whether the condition holds, or C{None} if that cannot be found out."""


@frozen
class Rule:
    """
    What identities may do, or may not do.

    @ivar number: the position of the rule in the configuration; of several rules that decide alike,
        the first one is named.
    @ivar namespace: the rule counts for requests of this namespace and of those below.
    @ivar targets: namespaces to which the rule is limited further.
    @ivar methods: the verbs to which the rule is limited, or C{None}.
    @ivar not_before: seconds since the epoch from which on the rule counts.
    @ivar expires: seconds since the epoch from which on the rule does not count any more.
    @ivar when: a condition on claims, request and time.
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

    @property
    def is_conditional(self) -> bool:
        """Whether the rule depends on more than identity, namespace, resource and verb."""
        return bool(
            self.hosts
            or self.networks
            or self.methods is not None
            or self.times
            or self.not_before is not None
            or self.expires is not None
            or self.when is not None
        )

    def counts_in(self, namespace: str) -> bool:
        """Return whether the rule counts for requests of a namespace."""
        if not is_within(namespace, self.namespace):
            return False
        return not self.targets or any(is_within(namespace, each) for each in self.targets)

    def obstacle(self, asked: Asked, now: float, claims: Claims, *, denies: bool) -> Reason | None:
        """
        Return why a permission of the rule does not count for a request that it fits, or C{None} if
        it counts.

        A condition that cannot be evaluated never helps: permissions that deny count, those that
        allow do not.

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
        return None

    def _is_in_time(self, now: float) -> bool:
        if self.not_before is not None and now < self.not_before:
            return False
        if self.expires is not None and now >= self.expires:
            return False
        return self.times is None or self.times.holds(now)


@frozen
class Group:
    """
    A name for identities, to which the subjects of rules may refer.

    @ivar number: the position of the group in the configuration.
    @ivar namespace: the group is seen by requests of this namespace and of those below.
    @ivar weight: which of several groups counts if only the heaviest one does.
    """

    name: str
    subject: Subject
    number: int = 0
    namespace: str = ROOT
    weight: int = 0
    disabled: bool = False
