"""
Restriction sets of exchanged tokens: a restriction set limits the requests for which a token is
valid.

A token has a list of restriction sets, and all of them must allow a request; so no restriction set
can give back what another one, or the policies, do not allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from sys import getsizeof
from typing import Any

from attrs import evolve, field, frozen

from authotron.model.errors import Flaw, UnusableFact
from authotron.model.hosts import any_host_fits, any_network_fits
from authotron.model.request import Facts
from authotron.policy import networks, permissions
from authotron.policy.namespaces import ROOT, is_within
from authotron.policy.permission_list import Layer
from authotron.policy.permissions import Permission
from authotron.policy.resources import ANY, flaw
from authotron.policy.restrictions import Restriction
from authotron.policy.rules import Asked, Request, Rule
from authotron.policy.verbs import is_misspelt

_SET, _PERMISSION = 1_000, 500
"""
Estimated bytes in memory of an empty restriction set, and of each permission with its place in the
lookup table.
"""


@frozen
class RestrictionSet:
    """
    The requests for which a token is valid; an empty part of the set restricts nothing.

    @ivar namespace: the namespace of the requests, or a namespace above it.
    @ivar permissions: permissions that must allow the requests.
    @ivar hosts: patterns, one of which must match the requested host.
    @ivar networks: networks, one of which must contain the address of the client.
    @ivar methods: the methods of the requests.
    @ivar default_namespace: the namespace of a request for which the proxy names no namespace.
    """

    namespace: str = ""
    permissions: tuple[Permission, ...] = ()
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    default_namespace: str = field(default=ROOT, eq=False, kw_only=True)
    _of_policies: Restriction = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        found = Restriction(self.namespace, self.permissions)
        object.__setattr__(self, "_of_policies", found)

    def holds(self, facts: Facts) -> bool:
        """
        Return whether the restriction set allows a request to a service behind a proxy.

        @raise UnusableFact: no trusted proxy states clearly a fact on which the set depends.
        """
        if not self.holds_at_gateway(facts):
            return False
        if self.methods and facts.method not in self.methods:
            return False
        return not self._reads_policy_facts or self._of_policies.allows(self._asked(facts))

    def holds_at_gateway(self, facts: Facts) -> bool:
        """
        Return whether the restriction set allows a request to the gateway itself, as when a client
        exchanges a token again.

        Namespace, permissions and methods are about requests to the services behind the proxies, as
        policies are; only hosts and networks apply to requests to the gateway, too.

        @raise UnusableFact: the requested host or the address of the client is not known.
        """
        # Only the facts that the set depends on are read, because reading a fact takes time.
        if self.hosts and not any_host_fits(self.hosts, facts.authority):
            return False
        return not self.networks or any_network_fits(self.networks, facts.address)

    def holds_for(self, asked: Asked, facts: Facts) -> bool:
        """
        Return whether the restriction set allows a request about which a client asks the gateway;
        the resource of such a request may be a name, and the request may have an id.

        @raise UnusableFact: the set depends on a fact that the client does not state.
        """
        if not self.holds_at_gateway(facts):
            return False
        if self.methods and asked.verb not in self.methods:
            return False
        return not self._reads_policy_facts or self._of_policies.allows(asked)

    @property
    def _reads_policy_facts(self) -> bool:
        return bool(self.namespace or self.permissions)

    def _asked(self, facts: Facts) -> Request:
        """
        Return a request in the form to which permissions are applied.

        @raise UnusableFact: no trusted proxy states method and path clearly, or a backend could
            read them in another way.
        """
        namespace = facts.namespace
        if namespace is None:
            namespace = self.default_namespace
        if not self.permissions:
            return Request("", "", None, namespace)
        path, method = facts.path, facts.method
        if why := flaw(path):
            raise UnusableFact("path", Flaw.MALFORMED, why)
        if is_misspelt(method):
            raise UnusableFact("method", Flaw.MALFORMED, "a method in lower case")
        return Request(path, method, None, namespace)

    def within(self, namespace: str) -> RestrictionSet:
        """Return the set for a gateway that assigns requests without a namespace to this one."""
        return evolve(self, default_namespace=namespace)

    def layer(self, namespace: str) -> Layer:
        """
        Return the set as a layer of a permission list.

        @param namespace: the namespace to which the permission list applies.
        """
        if self.namespace and not is_within(namespace, self.namespace):
            return Layer(())
        rule = Rule(
            "",
            (),
            self.permissions or (Permission(ANY, frozenset({ANY})),),
            hosts=self.hosts,
            networks=tuple(map(networks.parse, self.networks)),
            methods=frozenset(self.methods) if self.methods else None,
        )
        return Layer([rule])

    @property
    def is_empty(self) -> bool:
        """Whether the set restricts nothing."""
        return self == _EMPTY

    def as_json(self) -> dict[str, Any]:
        """Return the set in the form in which tokens and replies state it."""
        stated = {
            "namespace": self.namespace,
            "permissions": [str(each) for each in self.permissions],
            "hosts": [*self.hosts],
            "networks": [*self.networks],
            "methods": [*self.methods],
        }
        return {key: value for key, value in stated.items() if value}

    def __str__(self) -> str:
        """Describe, in words for people, the requests for which the token is valid."""
        limits = (
            ("in namespace", [self.namespace] if self.namespace else []),
            ("with a permission of", [str(each) for each in self.permissions]),
            ("for hosts", self.hosts),
            ("from networks", self.networks),
            ("with methods", self.methods),
        )
        return " and ".join(f"only {what} {', '.join(names)}" for what, names in limits if names)

    def __sizeof__(self) -> int:
        """Return how many bytes the set takes up in memory, for caches with a budget in bytes."""
        texts = (self.namespace, *self.hosts, *self.networks, *self.methods)
        resources = sum(len(each.resource) for each in self.permissions)
        size = _SET + sum(map(getsizeof, texts)) + _PERMISSION * len(self.permissions)
        return size + 2 * resources


_EMPTY = RestrictionSet()


def from_json(stated: Mapping[str, Any]) -> RestrictionSet:
    """Return the restriction set that a verified token states."""
    return RestrictionSet(
        stated.get("namespace", ""),
        tuple(map(permissions.parse, stated.get("permissions", ()))),
        tuple(stated.get("hosts", ())),
        tuple(stated.get("networks", ())),
        tuple(stated.get("methods", ())),
    )
