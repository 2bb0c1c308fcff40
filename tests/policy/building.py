"""Build rules, groups and restrictions from mappings, as recorded rows and tests state them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from authotron.policy import expressions, namespaces, networks, permissions, subjects
from authotron.policy.groups import in_circles
from authotron.policy.permissions import Permission
from authotron.policy.policies import Policies
from authotron.policy.restrictions import Restriction
from authotron.policy.rules import Group, Request, Rule
from authotron.policy.subjects import Subject


def build_permissions(texts: Sequence[str]) -> tuple[Permission, ...]:
    return tuple(map(permissions.parse, texts))


def build_subject(lists: Sequence[Sequence[str]]) -> Subject:
    if not lists or not all(lists):
        raise ValueError("the subject, or a list in it, is empty")
    return tuple(frozenset(map(subjects.check_tag, tags)) for tags in lists)


def build_targets(namespace: str, targets: Sequence[str]) -> tuple[str, ...]:
    for each in targets:
        if not namespaces.is_within(namespaces.check(each), namespace):
            raise ValueError("the target is outside of the namespace")
    return tuple(targets)


def build_rule(given: Mapping[str, Any], number: int = 0) -> Rule:
    if not given["permissions"]:
        raise ValueError("the rule has no permissions")
    namespace = namespaces.check(given.get("namespace", "/"))
    methods = given.get("methods")
    return Rule(
        given["name"],
        build_subject(given["subject"]),
        build_permissions(given["permissions"]),
        number,
        namespace,
        build_targets(namespace, given.get("targets", [])),
        tuple(given.get("hosts", ())),
        tuple(map(networks.parse, given.get("networks", ()))),
        None if methods is None else frozenset(methods),
        given.get("times"),
        given.get("not_before"),
        given.get("expires"),
        given.get("disabled", False),
        when=expressions.compiled(given["when"]) if "when" in given else None,
        require=given.get("require"),
    )


def build_group(given: Mapping[str, Any], number: int = 0) -> Group:
    if not given["name"]:
        raise ValueError("the group has no name")
    return Group(
        given["name"],
        build_subject(given["subject"]),
        number,
        namespaces.check(given.get("namespace", "/")),
        given.get("weight", 0),
        given.get("disabled", False),
    )


def build_policies(
    rules: Sequence[Mapping[str, Any]],
    groups: Sequence[Mapping[str, Any]] = (),
    *,
    heaviest: bool = False,
    allows_by_default: bool = False,
) -> Policies:
    found = [build_group(each, number) for number, each in enumerate(groups)]
    if in_circles(found):
        raise ValueError("groups refer to each other in a circle")
    return Policies(
        [build_rule(each, number) for number, each in enumerate(rules)],
        found,
        allows_by_default,
        heaviest,
    )


def build_restriction(given: Mapping[str, Any]) -> Restriction:
    namespace = given.get("namespace", "")
    return Restriction(
        namespaces.check(namespace) if namespace else "",
        build_permissions(given.get("permissions", ())),
        tuple(map(networks.parse, given.get("networks", ()))),
    )


def build_request(given: Mapping[str, Any]) -> Request:
    return Request(
        given["resource"],
        given["verb"],
        given.get("id") or None,
        given.get("namespace", "/"),
        given.get("host", ""),
        given.get("ip") or None,
    )
