"""
The list of permissions of one identity in one namespace, from which other programs can rule on
requests by themselves.

A permission list consists of layers; a layer is a set of rules, and each layer must allow a
request. Most lists have one layer. Permissions of rules without limits are merged, and the list
contains no names of rules. A permission list can be long, so its JSON is made in fragments, between
which the reactor can do other work.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from authotron.model.authentication import Login
from authotron.policy.namespaces import is_within
from authotron.policy.networks import Network
from authotron.policy.permissions import Permission
from authotron.policy.policies import Access, Held
from authotron.policy.resources import ANY
from authotron.policy.restrictions import Restriction
from authotron.policy.rule_limits import limits_of, moment
from authotron.policy.rules import Claims, Rule

VERSION = 1
"""The version number of the JSON format of permission lists."""

MOST_PERMISSIONS = 20_000
"""Maximum number of permissions in a permission list."""

_EVERYTHING = (Permission(ANY, frozenset({ANY})),)


class TooLong(ValueError):
    """An identity has more permissions than a permission list may contain."""


@frozen
class Layer:
    """
    A layer of a permission list: a set of rules, of which at least one must allow a request and
    none may deny the request.

    @ivar rules: the rules of the layer that apply in the namespace of the permission list.
    @ivar claims: the claims of the identity, for the C{when} conditions of rules, or C{None} if the
        reader of the permission list must not see the claims; then no C{when} condition can be
        evaluated.
    @ivar allows_by_default: whether the layer of the permission list allows a request to which no
        rule applies.
    """

    rules: Sequence[Rule]
    claims: Claims | None = None
    allows_by_default: bool = False

    def fragments(self) -> Iterator[str]:
        """Yield the JSON of one layer of a permission list, in fragments."""
        yield f'{{"default": "{"allow" if self.allows_by_default else "deny"}", '
        if self.claims is not None and any(rule.when is not None for rule in self.rules):
            claims = {key: list(values) for key, values in self.claims.items()}
            yield f'"claims": {json.dumps(claims)}, '
        yield '"rules": ['
        yield from _joined(map(_rule, _parts(self.rules)))
        yield "]}"


def fragments(head: Mapping[str, Any], listed: Sequence[Layer]) -> Iterator[str]:
    """
    Yield the JSON of a whole permission list, in fragments.

    @param head: the JSON members of the permission list that precede its layers.
    """
    yield json.dumps({"version": VERSION, **head})[:-1]
    yield ', "layers": ['
    yield from _joined(each.fragments() for each in listed)
    yield "]}"


def login_as_json(login: Login | None) -> dict[str, Any] | None:
    """Return what is known about the login of an identity, for rules that require a login."""
    if login is None:
        return None
    return {"acr": login.acr, "time": None if login.at is None else moment(login.at)}


def layers(access: Access, namespace: str) -> Iterator[Layer]:
    """
    Yield the layers of the permission list of an identity in a namespace; the layer of the
    credential comes first.

    @raise TooLong: a layer has more permissions than a permission list may contain.
    """
    own = _checked(_of_claims(access, access.held, namespace))
    yield own
    if access.unrestricted is not None:
        whole = _checked(_of_claims(access, access.unrestricted, namespace))
        yield _of_owner(own, whole, is_exact=not access.policies.heaviest)
    for actor in access.actors:
        yield _checked(_of_claims(access, actor, namespace))
    for restriction in access.restrictions:
        if (layer := _of_restriction(restriction, namespace)) is not None:
            yield _checked(layer)


def limited_to(hosts: Iterable[str], networks: Iterable[Network]) -> Layer:
    """
    Return a layer of a permission list that allows only requests for the given hosts from the given
    networks; an empty tuple stands for all hosts or all networks.
    """
    rule = Rule("", (), _EVERYTHING, hosts=tuple(hosts), networks=tuple(networks))
    return Layer([rule])


def _of_claims(access: Access, held: Held, namespace: str) -> Layer:
    policies = access.policies
    rules = policies.usable(held.tags, namespace)
    return Layer(rules, held.claims, policies.allows_by_default)


def _of_owner(own: Layer, whole: Layer, *, is_exact: bool) -> Layer:
    """
    Return the layer of the owner of a credential that hides claims, without these claims.

    A rule that allows the credential something also allows it to the owner. So the layer of the
    owner contains only permissions that deny, unless a permission that allows may depend on hidden
    claims.

    @param own: the layer of the permission list that states what the credential allows.
    @param whole: the layer of the permission list that states what the owner of the credential may
        do.
    @param is_exact: whether the owner of the credential has all policy groups that the credential
        has.
    """
    if not is_exact or any(rule.when is not None for rule in own.rules):
        return evolve(whole, claims=None)
    denials = [
        evolve(rule, permissions=tuple(each for each in rule.permissions if each.denies))
        for rule in whole.rules
        if any(each.denies for each in rule.permissions)
    ]
    return Layer(denials, None, allows_by_default=True)


def _of_restriction(restriction: Restriction, namespace: str) -> Layer | None:
    """
    Return a restriction of a credential as a layer of a permission list, or C{None} if the
    restriction limits nothing in this namespace.
    """
    if restriction.namespace and not is_within(namespace, restriction.namespace):
        return Layer(())
    if not restriction.permissions and not restriction.networks:
        return None
    permissions = restriction.permissions or _EVERYTHING
    return Layer([Rule("", (), permissions, networks=restriction.networks)])


def _checked(layer: Layer) -> Layer:
    if sum(len(rule.permissions) for rule in layer.rules) > MOST_PERMISSIONS:
        raise TooLong(f"the identity has more than {MOST_PERMISSIONS} permissions")
    return layer


_Part = tuple[Mapping[str, Any], Sequence[Rule]]
"""A set of limits (such as hosts and networks), and all rules that have exactly these limits."""


def _parts(rules: Sequence[Rule]) -> Iterator[_Part]:
    """Yield all rules without limits as one group, and then each rule with limits by itself."""
    always = [rule for rule in rules if not rule.is_conditional]
    if always:
        yield {}, always
    for rule in rules:
        if rule.is_conditional:
            yield limits_of(rule), [rule]


def _rule(part: _Part) -> Iterator[str]:
    """Yield the JSON of the permissions of rules with the same limits, in fragments."""
    limits, rules = part
    yield '{"allow": ['
    yield from _joined((_permission(each),) for each in _permissions(rules, denies=False))
    yield '], "deny": ['
    yield from _joined((_permission(each),) for each in _permissions(rules, denies=True))
    yield "]"
    for key, value in limits.items():
        yield f', "{key}": {json.dumps(value)}'
    yield "}"


def _permissions(rules: Iterable[Rule], *, denies: bool) -> Iterator[Permission]:
    """Yield the distinct permissions of rules: either all that deny, or all that allow."""
    seen: set[Permission] = set()
    for rule in rules:
        for permission in rule.permissions:
            if permission.denies == denies and permission not in seen:
                seen.add(permission)
                yield permission


def _permission(permission: Permission) -> str:
    stated: dict[str, Any] = {
        "resource": permission.resource,
        "verbs": sorted(permission.verbs),
    }
    if permission.ids is not None:
        stated["ids"] = sorted(permission.ids)
    return json.dumps(stated)


def _joined(elements: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the JSON fragments of the elements of an array, with commas between the elements."""
    comma = ""
    for fragments in elements:
        yield comma
        yield from fragments
        comma = ", "
