"""
Build the object that applies the policies of a configuration; this module is imported only if the
configuration has a policy.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from authotron.config.policy import Policy
from authotron.config.policy_rules import Note, ignore
from authotron.gateway.authorizer import Authorizer
from authotron.gateway.client_claims import ClientClaims
from authotron.gateway.condition_log import ConditionLog
from authotron.gateway.policy import Enforcement
from authotron.policy.policies import Policies
from authotron.telemetry.metrics import Metrics
from authotron.web.policy_answering import OBSERVED, UNDECIDED, UNKNOWN, rulings


def compile_policies(policy: Policy, note: Note = ignore) -> Policies:
    """
    Compile the rules and groups of a configuration.

    @param note: a function that receives the name of a rule and the reason, whenever the condition
        of the rule has no value.
    """
    given = policy.section
    return Policies(
        [each.as_rule(number, note) for number, each in enumerate(policy.rules)],
        [each.as_group(number) for number, each in enumerate(policy.groups)],
        given.default == "allow",
        given.groups_mode == "heaviest",
    )


def enforcement(
    policy: Policy,
    clock: IReactorTime,
    metrics: Metrics,
    claims: ClientClaims,
    authorizer: Authorizer | None = None,
) -> Enforcement:
    """
    Build the object that applies the policies.

    @param claims: makes the claims of clients, by which policies know them.
    @param authorizer: the authorizer that must also allow each request, if there is one.
    """
    observes = policy.section.mode == "observe"
    metrics.expect_rulings(rulings(observes=observes, has_authorizer=authorizer is not None))
    if policy.section.store:
        metrics.expect_rulings([(OBSERVED if observes else UNDECIDED, UNKNOWN)])
    note = ConditionLog(clock, metrics.condition_failed).failed
    return Enforcement(
        None if policy.section.store else compile_policies(policy, note),
        policy.section.namespace,
        observes,
        metrics,
        claims,
        clock.seconds,
        frozenset(policy.section.askers),
        authorizer,
        is_stored=policy.section.store,
    )
