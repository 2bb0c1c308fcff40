"""
Find the conditions of a rule that a request does not meet, and state what the rule needs for each
of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from enum import Enum

from attrs import frozen

from authotron.model.authentication import Login
from authotron.model.hosts import any_host_fits
from authotron.policy.networks import any_holds
from authotron.policy.permissions import Permission
from authotron.policy.resources import covers
from authotron.policy.rule_limits import limits_of, moment
from authotron.policy.rules import Request, Rule


class Failed(Enum):
    """
    The kinds of conditions of rules; conditions that a client meets most easily come first.

    The values of the enumeration are configuration keys of a rule, and the three parts of a
    permission.
    """

    REQUIRE = "require"
    WHEN = "when"
    NETWORKS = "networks"
    TIMES = "times"
    NOT_BEFORE = "not_before"
    EXPIRES = "expires"
    HOSTS = "hosts"
    METHODS = "methods"
    VERB = "verb"
    ID = "id"
    DISABLED = "disabled"
    NAMESPACE = "namespace"
    SUBJECT = "subject"
    RESOURCE = "resource"


NO_VALUE = "no value"
"""The text that an explanation shows if the C{when} condition of a rule cannot be evaluated."""

_OF_PERMISSION = (Failed.VERB, Failed.ID, Failed.RESOURCE)


@frozen
class Unmet:
    """
    A condition of a rule that a request does not meet.

    @ivar needed: the value that the rule needs; if the subject of the rule does not match, the
        claims that the identity lacks.
    @ivar found: the value that the request has instead of the needed one, or an empty string.
    @ivar distance: how far the request is from meeting the condition; rules that fail by the same
        kind of condition are sorted by this number.
    """

    failed: Failed
    needed: Sequence[str]
    found: str = ""
    distance: int = 0

    @property
    def is_of_permission(self) -> bool:
        """Whether the unmet condition belongs to a single permission, not to the whole rule."""
        return self.failed in _OF_PERMISSION

    @classmethod
    def condition(cls, rule: Rule, value: bool | None) -> Unmet:  # noqa: FBT001 - the value of the condition
        """
        Return the unmet condition of a rule whose C{when} expression is false, or cannot be
        evaluated.
        """
        return cls(Failed.WHEN, [limits_of(rule)["when"]], NO_VALUE if value is None else "false")

    @classmethod
    def login(cls, rule: Rule, login: Login | None, now: float) -> Unmet:
        """
        Return the unmet condition of a rule that requires a stronger or more recent login of the
        client.
        """
        limit = limits_of(rule)["require"]
        return cls(Failed.REQUIRE, _as_words(limit), _described(login, now))


def unmet_by_rule(
    rule: Rule, request: Request, held: Collection[str], now: float
) -> Sequence[Unmet]:
    """
    Return at most two of the conditions of a rule that a request does not meet; permissions and
    C{when} are not checked here.

    @param held: the claims and the policy groups that the identity has.
    """
    found: list[Unmet] = []
    for each in _unmet(rule, request, held, now):
        found.append(each)
        if len(found) > 1:
            break
    return found


def _unmet(rule: Rule, request: Request, held: Collection[str], now: float) -> Iterator[Unmet]:
    if not any(tags.issubset(held) for tags in rule.subject):
        missing = min((sorted(tags.difference(held)) for tags in rule.subject), key=len, default=[])
        yield Unmet(Failed.SUBJECT, missing, distance=len(missing))
    if rule.disabled:
        yield Unmet(Failed.DISABLED, ["false"], "true")
    if not rule.counts_in(request.namespace):
        yield Unmet(Failed.NAMESPACE, rule.targets or (rule.namespace,), request.namespace)
    if rule.is_conditional:
        yield from _unmet_limits(rule, request, now)


def _unmet_limits(rule: Rule, request: Request, now: float) -> Iterator[Unmet]:
    """
    Yield the limits of a rule (such as hosts, networks and times) that a request does not meet; the
    C{when} condition is not checked here.
    """
    found, at = list[tuple[Failed, str]](), moment(now)
    if rule.methods is not None and request.verb not in rule.methods:
        found.append((Failed.METHODS, request.verb))
    if rule.hosts and not any_host_fits(rule.hosts, request.host):
        found.append((Failed.HOSTS, request.host))
    if rule.not_before is not None and now < rule.not_before:
        found.append((Failed.NOT_BEFORE, at))
    if rule.expires is not None and now >= rule.expires:
        found.append((Failed.EXPIRES, at))
    if rule.times is not None and not rule.times.holds(now):
        found.append((Failed.TIMES, at))
    if rule.networks and not any_holds(rule.networks, request.address):
        found.append((Failed.NETWORKS, request.address or ""))
    if found:
        limits = limits_of(rule)
        for failed, seen in found:
            yield Unmet(failed, _as_words(limits[failed.value]), seen)


def _as_words(limit: object) -> Sequence[str]:
    """Return a readable text for a limit of a rule in the form of the configuration."""
    if isinstance(limit, dict) and "days" not in limit:
        acr = [f"acr {' or '.join(limit['acr'])}"] if "acr" in limit else []
        return [*acr, f"a login in the last {limit['max_age']} s"] if "max_age" in limit else acr
    if isinstance(limit, dict):
        days, span = " ".join(limit["days"]), f"{limit['from']}-{limit['to']}"
        return [f"{span} {days} {limit['zone']}"]
    return limit if isinstance(limit, list) else [str(limit)]


def _described(login: Login | None, now: float) -> str:
    """Describe in readable words what is known about the login of a client."""
    if login is None:
        return "nothing is known about the login"
    acr = "no acr" if login.acr is None else f"acr {login.acr}"
    age = "at an unknown time" if login.at is None else f"{now - login.at:.0f} s ago"
    return f"{acr}, {age}"


def unmet_by_permission(permission: Permission, request: Request) -> Iterator[Unmet]:
    """Yield the parts of a permission (verb, id or resource) that do not match a request."""
    if not permission.has_any_verb and request.verb not in permission.verbs:
        yield Unmet(Failed.VERB, sorted(permission.verbs), request.verb)
    if not permission.counts_for(request.id):
        yield Unmet(Failed.ID, sorted(permission.ids or ()), request.id or "")
    if not covers(permission.resource, request.resource):
        alike = _common_segments(permission.resource, request.resource)
        yield Unmet(Failed.RESOURCE, [permission.resource], request.resource, -alike)


def _common_segments(pattern: str, resource: str) -> int:
    """Count the leading path segments that a pattern and a resource have in common."""
    count = 0
    for mine, theirs in zip(pattern.split("/"), resource.split("/"), strict=False):
        if mine not in ("*", theirs):
            break
        count += 1
    return count
