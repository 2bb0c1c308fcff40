"""Rules read one by one, as they are written: what the compiled rules must equal."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence

from authotron.model.authentication import Login
from authotron.policy.permissions import Permission
from authotron.policy.reasons import Reason
from authotron.policy.rules import Group, Request, Rule


def covers(pattern: str, resource: str) -> bool:
    """Return whether a pattern stands for a resource, by a regular expression."""
    if pattern == "*":
        return True
    is_path = resource.startswith("/")
    if pattern.startswith("/") and pattern.endswith("/"):
        if not (is_path and resource.endswith("/")):
            return False
        pattern = pattern[:-1]
    if is_path and resource.endswith("/"):
        resource = resource[:-1]
    parts = [_PARTS.get(each, re.escape(each) + "/") for each in pattern.split("/")]
    return re.fullmatch("".join(parts), resource + "/") is not None


_PARTS = {"*": "[^/]+/", "**": "(?:[^/]*/)*"}


def fits(permission: Permission, request: Request) -> bool:
    if permission.ids is not None and request.id not in permission.ids:
        return False
    verbs = permission.verbs
    return covers(permission.resource, request.resource) and bool(verbs & {"*", request.verb})


def within(inner: str, outer: str) -> bool:
    return outer == "/" or (inner + "/").startswith(outer + "/")


def in_network(rule: Rule, address: str | None) -> bool:
    if address is None:
        return False
    number = ipaddress.ip_address(address)
    return any(
        each.version == number.version and each.first <= int(number) <= each.last
        for each in rule.networks
    )


def obstacle(rule: Rule, request: Request, now: float) -> Reason | None:
    if rule.methods is not None and request.verb not in rule.methods:
        return Reason.NO_RULE
    if rule.hosts and request.host not in rule.hosts:
        return Reason.NO_RULE
    early = rule.not_before is not None and now < rule.not_before
    late = rule.expires is not None and now >= rule.expires
    if early or late or (rule.times is not None and not rule.times.holds(now)):
        return Reason.TIME
    if rule.networks and not in_network(rule, request.address):
        return Reason.NETWORK
    return None


def is_strong(rule: Rule, login: Login | None, now: float) -> bool:
    """Return whether a login is one that a rule requires."""
    wanted = rule.require
    if wanted is None:
        return True
    is_named = not wanted.acr or (login is not None and login.acr in wanted.acr)
    if wanted.max_age is None:
        return is_named and login is not None
    if login is None or login.at is None:
        return False
    return is_named and login.at - 60 <= now <= login.at + wanted.max_age


def tags(
    groups: Sequence[Group], claims: Iterable[str], namespace: str, *, heaviest: bool
) -> set[str]:
    """Return claims and groups of an identity; all groups are asked until none is added."""
    own = {each for each in claims if not each.startswith("@group:name=")}
    held, before = {*own}, set[str]()
    while held != before:
        before = {*held}
        held |= {
            f"@group:name={each.name}"
            for each in groups
            if within(namespace, each.namespace)
            and not each.disabled
            and any(needed <= before for needed in each.subject)
        }
    found = [each for each in groups if f"@group:name={each.name}" in held]
    if heaviest and found:
        return own | {f"@group:name={max(found, key=lambda each: each.weight).name}"}
    return held


def speaking(rules: Iterable[Rule], held: set[str], request: Request) -> Iterator[Rule]:
    """Yield the rules that say something about an identity in a namespace."""
    for rule in rules:
        targets = rule.targets or (rule.namespace,)
        if rule.disabled or not within(request.namespace, rule.namespace):
            continue
        if not any(within(request.namespace, each) for each in targets):
            continue
        if any(needed <= held for needed in rule.subject):
            yield rule


def ruled(
    rules: Sequence[Rule],
    groups: Sequence[Group],
    claims: Iterable[str],
    request: Request,
    now: float,
    *,
    heaviest: bool = False,
    allows_by_default: bool = False,
    login: Login | None = None,
) -> tuple[bool, Reason, str]:
    """Return whether a request is allowed, why, and the name of the first rule that decides."""
    held = tags(groups, claims, request.namespace, heaviest=heaviest)
    grants, denials, later, obstacles = _said(speaking(rules, held, request), request, now, login)
    if denials:
        return False, Reason.DENIED, denials[0]
    if grants:
        return True, Reason.ALLOWED, grants[0]
    if later:
        return False, Reason.LOGIN, later[0]
    if allows_by_default:
        return True, Reason.DEFAULT, ""
    order = (Reason.NETWORK, Reason.TIME, Reason.NO_RULE)
    return False, next((each for each in order if each in obstacles), Reason.NO_RULE), ""


def _said(
    rules: Iterable[Rule], request: Request, now: float, login: Login | None
) -> tuple[list[str], list[str], list[str], set[Reason]]:
    """
    Return the rules that allow, that deny, and that would allow after another login, and what keeps
    other rules from allowing.
    """
    grants, denials, later, obstacles = list[str](), list[str](), list[str](), set[Reason]()
    for rule in rules:
        for permission in rule.permissions:
            if not fits(permission, request):
                continue
            found = obstacle(rule, request, now)
            if found is None and permission.denies:
                denials.append(rule.name)
            elif found is None:
                (grants if is_strong(rule, login, now) else later).append(rule.name)
            elif not permission.denies:
                obstacles.add(found)
    return grants, denials, later, obstacles
