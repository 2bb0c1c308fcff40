"""
Warnings about the configuration key C{claims} of providers, and about policy rules that have no
effect because of this key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from authotron.config.claim_filter import filter_of
from authotron.config.plugins import PluginConfig

if TYPE_CHECKING:  # imported only if a configuration has the section policy
    from authotron.config.policy import Policy


def without_effect(providers: Sequence[PluginConfig]) -> Iterator[str]:
    """
    Warn of claim filters (key C{claims} of a provider) in a configuration in which nothing reads
    claims.
    """
    for place, each in enumerate(providers):
        if filter_of(each) is not None:
            yield (
                f"providers[{place}].claims: without effect, because nothing reads claims: there "
                "is no section policy, and jwt.emit_claims is not true"
            )


def impossible_tags(policy: Policy, providers: Sequence[PluginConfig]) -> Iterator[str]:
    """
    Warn of claims that rules or groups name although the claim filters of all providers remove
    them.
    """
    filters = [each.as_filter() for each in map(filter_of, providers) if each is not None]
    if not filters or len(filters) < len(providers):
        return
    for what, listed in (("rule", policy.rules), ("group", policy.groups)):
        for each in listed:
            for tag in dict.fromkeys(tag for tags in each.subject for tag in tags):
                if not any(one.may_yield(tag) for one in filters):
                    yield (
                        f"policy: {what} {each.name!r} names {tag}, which no identity can have: "
                        "the claims of every provider leave it out, rename it or change its case"
                    )
