"""Show which proxies give up, by their usual time limits, before the gateway has decided."""

from __future__ import annotations

from typing import Any

from authotron.cli.output import say
from authotron.gateway.gateway import Gateway
from authotron.gateway.longest_decision import longest_decision
from authotron.proxy_config import time_limits
from authotron.proxy_config.time_limits import Limit


def row(gateway: Gateway[Any]) -> dict[str, Any]:
    """
    Return the longest time of a decision, and the time limits of proxies below it, as JSON for a
    command.
    """
    decision = longest_decision(gateway)
    limits = [
        {"proxy": each.proxy, "seconds": each.seconds, "setting": each.setting or None}
        for each in _below(gateway, decision)
    ]
    return {"decision": decision, "limits": limits}


def show(gateway: Gateway[Any]) -> None:
    """Print the longest time of a decision, and the time limits of proxies below it."""
    decision = longest_decision(gateway)
    say(f"proxies: a decision may take {decision:g} s", bold=True)
    for each in _below(gateway, decision):
        say("  note  ", nl=False, fg="yellow")
        say(f"{each.proxy} gives up after {each.seconds:g} s, {_advice(each)}")


def _below(gateway: Gateway[Any], decision: float) -> list[Limit]:
    """
    Return the time limits, shorter than a decision may take, of the proxies that may ask the
    gateway.
    """
    return time_limits.below(decision, {each.type for each in gateway.config.contracts})


def _advice(limit: Limit) -> str:
    if limit.setting:
        return f"unless `{limit.setting}` is set: see `authotron proxy-config`"
    return "which cannot be configured: shorten `auth.timeout_in_ms`"
