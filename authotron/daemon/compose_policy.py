"""
Build the object that applies the policies of a configuration; this module is imported only if the
configuration has a policy.
"""

from __future__ import annotations

from collections.abc import Generator

from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.pieces import in_pieces
from authotron.config.policy import Policy
from authotron.config.policy_rules import Note, ignore
from authotron.gateway.authorizer import Authorizer
from authotron.gateway.client_claims import ClientClaims
from authotron.gateway.condition_log import ConditionLog
from authotron.gateway.policy import Enforcement
from authotron.policy.index import Index
from authotron.policy.policies import Policies
from authotron.policy.rules import Rule
from authotron.telemetry.metrics import Metrics
from authotron.web.policy_answering import OBSERVED, UNDECIDED, UNKNOWN, rulings


def compile_policies(policy: Policy, note: Note = ignore) -> Policies:
    """
    Compile the rules and groups of a configuration at once, without interruption; this is for
    commands, and for processes that do not serve requests yet.

    @param note: a function that receives the name of a rule and the reason, whenever the condition
        of the rule has no value.
    """
    steps = compiling(policy, note)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: Policies = done.value
            return found


async def compile_in_pieces(policy: Policy, clock: IReactorTime, metrics: Metrics) -> Policies:
    """
    Compile the rules and groups of a configuration while the process serves requests.

    A reload of the configuration uses this function. Policies in a token store are instead checked
    and compiled in a thread (L{authotron.daemon.policy_reading}).
    """
    return await in_pieces(clock, compiling(policy, _noting(clock, metrics)))


def compiling(policy: Policy, note: Note) -> Generator[None, None, Policies]:
    """Compile the rules and groups of a configuration; the generator yields after each rule."""
    given, index, rules = policy.section, Index(), list[Rule]()
    for number, each in enumerate(policy.rules):
        rules.append(each.as_rule(number, note))
        index.add(rules[-1])
        yield
    return Policies(
        rules,
        [each.as_group(number) for number, each in enumerate(policy.groups)],
        given.default == "allow",
        given.groups_mode == "heaviest",
        index,
    )


def _noting(clock: IReactorTime, metrics: Metrics) -> Note:
    """
    Return a function that counts and logs that the C{when} condition of a rule could not be
    evaluated.
    """
    return ConditionLog(clock, metrics.condition_failed).failed


def enforcement(
    policy: Policy,
    clock: IReactorTime,
    metrics: Metrics,
    claims: ClientClaims,
    authorizer: Authorizer | None = None,
    policies: Policies | None = None,
) -> Enforcement:
    """
    Build the object that applies the policies.

    @param claims: makes the claims of clients, to which policies are applied.
    @param policies: the compiled rules and groups, if they were compiled before.
    @param authorizer: the authorizer that must also allow each request, if there is one.
    """
    observes = policy.section.mode == "observe"
    metrics.expect_rulings(rulings(observes=observes, has_authorizer=authorizer is not None))
    if policy.section.store:
        metrics.expect_rulings([(OBSERVED if observes else UNDECIDED, UNKNOWN)])
    note = _noting(clock, metrics)
    return Enforcement(
        None if policy.section.store else policies or compile_policies(policy, note),
        policy.section.namespace,
        observes,
        metrics,
        claims,
        clock.seconds,
        frozenset(policy.section.askers),
        authorizer,
        is_stored=policy.section.store,
    )
