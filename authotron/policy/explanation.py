"""
Explain a ruling: the rule that decided about a request, the other rules that apply to the request,
and the rules of which the request does not meet a single condition.

An explanation names rules and claims of the policies, so it is meant for operators, not for
clients.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen

from authotron.model.authentication import Login
from authotron.policy.claims import by_key
from authotron.policy.near_misses import Failed, Unmet, unmet_by_permission, unmet_by_rule
from authotron.policy.permissions import Permission
from authotron.policy.policies import Policies
from authotron.policy.reasons import Reason
from authotron.policy.resources import ANY
from authotron.policy.rule_limits import moment
from authotron.policy.rules import Claims, Request, Rule
from authotron.policy.ruling import Ruling
from authotron.policy.subjects import GROUP, Tags

MOST_STEPS = 10_000
"""
Maximum number of steps in which an explanation searches the rules, so that the search takes less
than 50 ms. Each permission counts as one step, and each path segment that is compared counts as one
more step.
"""

_TWO = 2
"""
Number of unmet conditions at which a permission of a rule no longer counts as a near miss (a rule
that almost applies to the request).
"""

_MOST_MATCHES = 100
"""Maximum number of permissions that an explanation lists as applying to the request."""

_MOST_NEAR_MISSES = 10
"""Maximum number of near misses (rules that almost apply to the request) in an explanation."""

_STEPS_OF_CONDITION = 10
"""Number of search steps that the evaluation of one C{when} condition counts as."""


@frozen
class Match:
    """
    A permission that applies to a request, together with the rule that contains the permission.

    @ivar tags: those claims and groups of the identity by which the subject of the rule matches the
        identity.
    """

    rule: Rule
    permission: Permission
    tags: Tags


@frozen
class NearMiss:
    """
    A near miss: a permission that would apply to a request if the request met one more
    condition.
    """

    rule: Rule
    permission: Permission
    unmet: Unmet


@frozen
class Explanation:
    """
    The ruling of the policies about a request, and the reasons for the ruling.

    @ivar groups: the names of the policy groups of which the identity is a member for this request.
    @ivar hidden: the claims of the credential's owner that the credential hides.
    @ivar matches: the permissions that apply to the request.
    @ivar near_misses: the permissions that would apply to the request except for one unmet
        condition. Permissions that would change the ruling come first.
    @ivar is_complete: whether the explanation is complete: all rules were searched within the
        maximum number of steps, and all matching permissions are listed.
    """

    request: Request
    now: float
    ruling: Ruling
    claims: Sequence[str]
    groups: Sequence[str]
    hidden: Sequence[str]
    matches: Sequence[Match]
    near_misses: Sequence[NearMiss]
    is_complete: bool

    def as_json(self) -> dict[str, Any]:
        """Return the explanation in the form that C{docs/policies.md} describes."""
        ruling = self.ruling
        return {
            "decision": "allow" if ruling.allows else "deny",
            "reason": ruling.reason.value,
            "rule": ruling.rule.name if ruling.rule else None,
            "request": {**self.request._asdict(), "time": moment(self.now)},
            "claims": list(self.claims),
            "groups": list(self.groups),
            "hidden_claims": list(self.hidden),
            "matches": [
                {**_named(each.rule, each.permission), "claims": sorted(each.tags)}
                for each in self.matches
            ],
            "near_misses": [
                {
                    **_named(each.rule, each.permission),
                    "failed": each.unmet.failed.value,
                    "needed": list(each.unmet.needed),
                    "found": each.unmet.found,
                }
                for each in self.near_misses
            ],
            "complete": self.is_complete,
        }


def _named(rule: Rule, permission: Permission) -> dict[str, Any]:
    effect = "deny" if permission.denies else "allow"
    return {"rule": rule.name, "effect": effect, "permission": str(permission)}


def explain(
    policies: Policies,
    claims: Iterable[str],
    request: Request,
    now: float,
    *,
    unrestricted: Iterable[str] | None = None,
    login: Login | None = None,
    most_steps: int | None = MOST_STEPS,
) -> Explanation:
    """
    Apply the policies to a request, and explain the ruling.

    @param claims: the claims of the identity.
    @param now: the time of the request, in seconds since the epoch.
    @param unrestricted: the claims that the identity has without the limits of its credential, if
        the credential hides some of its claims.
    @param login: what is known about the login of the client.
    @param most_steps: the maximum number of steps of the search, or C{None} to search all rules.
    """
    own = sorted(each for each in {*claims} if not each.startswith(GROUP))
    whole = None if unrestricted is None else {*unrestricted}
    access = policies.access(own, (), whole, login)
    ruling = access.rule(request, now)
    is_known = ruling.reason is not Reason.NAMESPACE
    groups = policies.groups_of(access.held.tags, request.namespace) if is_known else ()
    rules = _nearest_first(policies, access.held.tags, request.namespace) if is_known else ()
    search = _Search(request, now, frozenset([*own, *groups]), by_key(own), login, most_steps)
    matches, near_misses = _separated(search.found(rules))
    return Explanation(
        request,
        now,
        ruling,
        own,
        sorted(each.removeprefix(GROUP) for each in groups),
        sorted((whole or {*own}) - {*own}),
        heapq.nsmallest(_MOST_MATCHES, matches, key=_rank_of_match),
        heapq.nsmallest(_MOST_NEAR_MISSES, near_misses, key=lambda each: _rank(each, ruling)),
        not search.is_exhausted and len(matches) <= _MOST_MATCHES,
    )


def _separated(found: Iterable[Match | NearMiss]) -> tuple[Sequence[Match], Sequence[NearMiss]]:
    """
    Return matches and near misses separately. A rule with a matching permission is not listed as a
    near miss because of another permission.
    """
    matches, near_misses = list[Match](), list[NearMiss]()
    for each in found:
        if isinstance(each, Match):
            matches.append(each)
        else:
            near_misses.append(each)
    matched = {(each.rule.number, each.permission.denies) for each in matches}
    return matches, [
        each
        for each in near_misses
        if not each.unmet.is_of_permission
        or (each.rule.number, each.permission.denies) not in matched
    ]


def _rank_of_match(each: Match) -> tuple[bool, int]:
    """
    Return the sort key of a matching permission: permissions that deny come first, then the order
    of the rules counts.
    """
    return not each.permission.denies, each.rule.number


def _rank(missed: NearMiss, ruling: Ruling) -> tuple[bool, int, int, int]:
    """
    Return the sort key of a near miss: permissions that would change the ruling come first, and
    among those the ones whose unmet condition a client meets most easily.
    """
    changes = missed.permission.denies == ruling.allows
    unmet = missed.unmet
    return not changes, [*Failed].index(unmet.failed), unmet.distance, missed.rule.number


def _nearest_first(policies: Policies, held: Tags, namespace: str) -> Iterator[Rule]:
    """
    Yield all rules of the policies; the rules that an identity with the given claims and groups can
    use come first.
    """
    usable = policies.usable(held, namespace)
    numbers = {each.number for each in usable}
    yield from usable
    yield from (each for each in policies.rules if each.number not in numbers)


@define
class _Search:
    """
    The search for the permissions that apply, or nearly apply, to a request.

    @ivar held: the claims and the policy groups that the identity has.
    @ivar left: the number of search steps that are left, or C{None} if the number is not limited.
    """

    request: Request
    now: float
    held: Tags
    claims: Claims
    login: Login | None
    left: int | None
    is_exhausted: bool = field(default=False, init=False)

    def found(self, rules: Iterable[Rule]) -> Iterator[Match | NearMiss]:
        """
        Yield the permissions that apply to the request, and the near misses, which lack one
        condition.
        """
        for rule in rules:
            unmet = unmet_by_rule(rule, self.request, self.held, self.now)
            for permission in rule.permissions:
                if not self._step(permission):
                    return
                if len(unmet) <= 1 and (each := self._found(rule, permission, unmet)):
                    yield each

    def _found(
        self, rule: Rule, permission: Permission, of_rule: Sequence[Unmet]
    ) -> Match | NearMiss | None:
        unmet = [*of_rule, *unmet_by_permission(permission, self.request)]
        if not unmet and rule.when is not None:
            holds = rule.when.holds(self.claims, self.request, self.now)
            self._count(_STEPS_OF_CONDITION)
            if not (permission.denies if holds is None else holds):
                unmet = [Unmet.condition(rule, holds)]
        if len(unmet) < _TWO and not permission.denies and self._is_weak(rule):
            unmet.append(Unmet.login(rule, self.login, self.now))
        if not unmet:
            tags = next(tags for tags in rule.subject if tags <= self.held)
            return Match(rule, permission, tags)
        return NearMiss(rule, permission, unmet[0]) if len(unmet) == 1 else None

    def _is_weak(self, rule: Rule) -> bool:
        """Return whether a rule requires another login than that of the client."""
        return rule.require is not None and not rule.require.is_met(self.login, self.now)

    def _step(self, permission: Permission) -> bool:
        """
        Count the search steps that one permission takes, and return whether enough steps
        were left.
        """
        is_pattern = ANY in permission.resource
        self._count(1 + (self.request.resource.count("/") if is_pattern else 0))
        self.is_exhausted = self.left is not None and self.left < 0
        return not self.is_exhausted

    def _count(self, steps: int) -> None:
        if self.left is not None:
            self.left -= steps
