"""Maximum time that a decision about one credential takes; proxies must wait at least so long."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from authotron.config.check import Config
from authotron.gateway.gateway import Gateway
from authotron.plugin.interfaces import IAugmenter, IJudge

_AT_ONCE = ("plain", "plain_advanced")
"""The types of augmenters that answer without waiting for another service."""

_MOST_GROUPS = 2


def longest_decision(gateway: Gateway[Any]) -> float:
    """
    Return the maximum number of seconds that a decision about one credential may take.

    Providers of one scheme are asked in up to two groups: first those that can answer without a
    remote service at that moment, then the others. If a Basic credential may contain tokens, the
    providers of tokens are asked as well, once for each half that may be a token. After the
    providers, the augmenters of the realm are asked: first one group at the same time, and then
    those that run last, one after the other. As the last step of a decision, the gateway asks the
    authorizer, if one is configured.
    """
    authenticator, timeout = gateway.authenticator, gateway.config.file.auth.timeout_in_ms / 1000
    judges: list[IJudge] = [*authenticator.providers]
    if authenticator.own is not None and gateway.tokens is not None:
        judges.append(authenticator.own)
    asked = Counter(each.scheme for each in judges)
    groups = Counter({scheme: min(count, _MOST_GROUPS) for scheme, count in asked.items()})
    with_tokens = groups["basic"] + len(_basic_halves(gateway.config)) * groups["bearer"]
    most = max(with_tokens, *groups.values(), 0)
    addition = _longest_addition(authenticator.augmenters, timeout)
    return most * timeout + addition + _longest_verdict(gateway)


def _longest_verdict(gateway: Gateway[Any]) -> float:
    """
    Return the maximum number of seconds for which a decision may wait for the authorizer. The
    authorizer is asked twice about an API token that hides roles of its owner.
    """
    if gateway.authorizer is None:
        return 0
    return gateway.authorizer.timeout * (1 if gateway.tokens is None else 2)


def _basic_halves(config: Config) -> set[str]:
    """Return the halves of a Basic credential, user name or password, that may be tokens."""
    sections = (*config.providers, config.store)
    listed = [each for one in sections for each in getattr(one, "credentials", None) or ()]
    return {each.basic for each in listed if each.basic}


def _longest_addition(augmenters: Iterable[IAugmenter], timeout: float) -> float:
    """Return the maximum number of seconds that the augmenters of one realm may take."""
    together, last = defaultdict[str, float](float), defaultdict[str, float](float)
    for each in augmenters:
        if each.type in _AT_ONCE:
            continue
        seconds = each.timeout or timeout
        if each.runs_last:
            last[each.realm] += seconds
        else:
            together[each.realm] = max(together[each.realm], seconds)
    return max((together[realm] + last[realm] for realm in {*together, *last}), default=0)
