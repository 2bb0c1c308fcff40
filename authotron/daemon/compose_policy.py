"""
Build the object that applies the policies of a configuration; this module is imported only if the
configuration has a policy.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

from authotron.config.policy import Policy
from authotron.config.policy_rules import Note, ignore
from authotron.gateway.authorizer import Authorizer
from authotron.gateway.condition_log import ConditionLog
from authotron.gateway.policy import Enforcement
from authotron.model.errors import ConfigError, Problem
from authotron.policy.policies import Policies
from authotron.telemetry.metrics import Metrics, Part
from authotron.web.policy_answering import rulings


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
    issuer: str,
    providers: Iterable[Part],
    authorizer: Authorizer | None = None,
) -> Enforcement:
    """
    Build the object that applies the policies.

    @param issuer: the issuer of the JWTs that the gateway mints.
    @param providers: all providers, whose types are claims of the identities that they return.

    @param authorizer: the authorizer that must also allow each request, if there is one.

    @raise ConfigError: the type of a provider does not follow from its name.
    """
    observes = policy.section.mode == "observe"
    metrics.expect_rulings(rulings(observes=observes, has_authorizer=authorizer is not None))
    return Enforcement(
        compile_policies(policy, ConditionLog(clock, metrics.condition_failed).failed),
        policy.section.namespace,
        observes,
        metrics,
        issuer,
        _types(providers),
        clock.seconds,
        frozenset(policy.section.askers),
        authorizer,
    )


def _types(providers: Iterable[Part]) -> dict[str, str]:
    """
    Return the types of providers by their names, by which an authentication knows its provider.

    @raise ConfigError: providers of different types have the same name, so that an identity could
        have the type of another provider as a claim.
    """
    found: dict[str, str] = {}
    for each in providers:
        if found.setdefault(each.name, each.type) != each.type:
            why = (
                f"two providers of different types are named {each.name!r}, and the claim "
                "@source:type of a policy follows from the name; choose another name"
            )
            raise ConfigError([Problem("providers", why)])
    return found
