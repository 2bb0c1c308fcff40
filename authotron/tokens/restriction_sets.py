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
from authotron.model.hosts import any_network_fits, host_fits
from authotron.model.request import Facts
from authotron.policy import networks, permissions
from authotron.policy.namespaces import ROOT, is_within
from authotron.policy.permission_list import Layer
from authotron.policy.permissions import Permission
from authotron.policy.resources import ANY, DEEP, flaw, is_literal
from authotron.policy.restrictions import Restriction
from authotron.policy.rules import Asked, Request, Rule
from authotron.policy.verbs import is_misspelt

MOST_SEGMENTS = 128
"""
Maximum number of segments of a path to which the permissions of a restriction set are applied:
clients choose paths and patterns, and comparing long paths with many patterns would take long.
"""

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
    _built: list[Restriction] = field(factory=list, init=False, repr=False, eq=False)

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
        # Only the facts that the set depends on are read, because reading a fact takes time. The
        # results are not cached, because clients choose the patterns, of which a cache would keep
        # many.
        if self.hosts and not _is_one_of(self.hosts, facts.authority):
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
    def _of_policies(self) -> Restriction:
        """
        Namespace and permissions of the restriction set in the form of policies, which are compiled
        at first use.
        """
        if not self._built:
            self._built.append(Restriction(self.namespace, self.permissions))
        return self._built[0]

    @property
    def wild_segments(self) -> int:
        """
        The number of segments of all patterns that have to be compared with a path segment by
        segment.
        """
        patterns = (each.resource for each in self.permissions)
        return sum(each.count("/") for each in patterns if not is_literal(_without_end(each)))

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
        if path.count("/") > MOST_SEGMENTS:
            raise UnusableFact("path", Flaw.MALFORMED, f"more than {MOST_SEGMENTS} segments")
        if is_misspelt(method):
            raise UnusableFact("method", Flaw.MALFORMED, "a method in lower case")
        return Request(path, method, None, namespace)

    def within(self, namespace: str) -> RestrictionSet:
        """
        Return the restriction set for a gateway that assigns requests without a namespace to the
        given namespace.
        """
        return evolve(self, default_namespace=namespace)

    def layer(self, namespace: str) -> Layer:
        """
        Return the restriction set as a layer of a permission list.

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
        """Whether the restriction set restricts nothing."""
        return self == _EMPTY

    def as_json(self) -> dict[str, Any]:
        """Return the restriction set in the form in which tokens and replies state it."""
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
        """Return how many bytes the restriction set takes up in memory, for limited caches."""
        texts = (self.namespace, *self.hosts, *self.networks, *self.methods)
        resources = sum(len(each.resource) for each in self.permissions)
        size = _SET + sum(map(getsizeof, texts)) + _PERMISSION * len(self.permissions)
        return size + 2 * resources


_EMPTY = RestrictionSet()

_PARTS = frozenset({"namespace", "permissions", "hosts", "networks", "methods"})
"""The parts that a restriction set may have."""

_BELOW = f"/{DEEP}"
"""The end of a pattern that matches everything below a path, which needs no comparison."""


def _without_end(pattern: str) -> str:
    return pattern.removesuffix(_BELOW) if pattern != ANY else ""


def _is_one_of(patterns: tuple[str, ...], host: str) -> bool:
    return any(host_fits(each, host) for each in patterns)


def from_json(stated: Mapping[str, Any]) -> RestrictionSet:
    """
    Return the restriction set that a verified token states.

    @raise ValueError: the set has a part that this version of the gateway does not know.
    """
    if not stated.keys() <= _PARTS:
        raise ValueError("the restriction set has an unknown part")
    return RestrictionSet(
        stated.get("namespace", ""),
        tuple(map(permissions.parse, stated.get("permissions", ()))),
        tuple(stated.get("hosts", ())),
        tuple(stated.get("networks", ())),
        tuple(stated.get("methods", ())),
    )
