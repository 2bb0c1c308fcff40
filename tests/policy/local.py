"""
Rules on requests from the JSON of a permission list alone, as a program elsewhere would: nothing of
the gateway is imported.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Json = Mapping[str, Any]
When = Callable[[str, Json, "Asked", datetime], bool | None]
"""A function that evaluates a condition with claims, request and time."""


LOGIN = "insufficient-user-authentication"


class Asked(NamedTuple):
    """A request."""

    resource: str
    verb: str
    id: str | None
    host: str
    address: str | None


def unknown(_text: str, _claims: Json, _asked: Asked, _now: datetime) -> bool | None:
    """Give no condition a value, as a program without CEL does."""
    return None


def allows(listed: Json, asked: Asked, now: datetime, when: When = unknown) -> tuple[bool, str]:
    """Return whether all layers of a list allow a request, and the reason of the first layer."""
    login = listed.get("login")
    found = [_layer({**layer, "login": login}, asked, now, when) for layer in listed["layers"]]
    return all(is_allowed for is_allowed, _ in found), found[0][1]


def _layer(layer: Json, asked: Asked, now: datetime, when: When) -> tuple[bool, str]:
    obstacles, is_granted = set[str](), False
    for rule in layer["rules"]:
        for permission in rule["deny"]:
            if _fits(permission, asked) and not _obstacle(
                rule, layer, asked, now, when, is_denied=True
            ):
                return False, "denied-by-policy"
        for permission in rule["allow"]:
            if _fits(permission, asked):
                obstacle = _obstacle(rule, layer, asked, now, when, is_denied=False)
                obstacles.add(obstacle)
                is_granted |= not obstacle
    if is_granted:
        return True, "allowed"
    if LOGIN in obstacles:
        return False, LOGIN
    if layer["default"] == "allow":
        return True, "default"
    order = ("network", "time", "condition")
    return False, next((each for each in order if each in obstacles), "no-matching-policy")


def _fits(permission: Json, asked: Asked) -> bool:
    if "ids" in permission and asked.id not in permission["ids"]:
        return False
    if not {"*", asked.verb} & {*permission["verbs"]}:
        return False
    return covers(permission["resource"], asked.resource)


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
    words = {"*": "[^/]+/", "**": "(?:[^/]*/)*"}
    parts = [words.get(each, re.escape(each) + "/") for each in pattern.split("/")]
    return re.fullmatch("".join(parts), resource + "/") is not None


def _obstacle(
    rule: Json, layer: Json, asked: Asked, now: datetime, when: When, *, is_denied: bool
) -> str:
    """Return why a rule does not count for a request, or an empty string."""
    if asked.verb not in rule.get("methods", [asked.verb]):
        return "no-matching-policy"
    if asked.host not in rule.get("hosts", [asked.host]):
        return "no-matching-policy"
    if not _is_in_time(rule, now):
        return "time"
    if "networks" in rule and not _is_from(rule["networks"], asked.address):
        return "network"
    if "when" in rule:
        claims = layer.get("claims")
        holds = None if claims is None else when(rule["when"], claims, asked, now)
        if not (is_denied if holds is None else holds):
            return "condition"
    is_strong = is_denied or _is_strong(rule.get("require"), layer["login"], now)
    return "" if is_strong else LOGIN


def _is_strong(required: Json | None, login: Json | None, now: datetime) -> bool:
    """Return whether a login is as a rule requires."""
    if required is None:
        return True
    if login is None or login["acr"] not in required.get("acr", [login["acr"]]):
        return False
    if "max_age" not in required:
        return True
    if login["time"] is None:
        return False
    age = (now - datetime.fromisoformat(login["time"])).total_seconds()
    return -60 <= age <= float(required["max_age"])


def _is_in_time(rule: Json, now: datetime) -> bool:
    if "not_before" in rule and now < datetime.fromisoformat(rule["not_before"]):
        return False
    if "expires" in rule and now >= datetime.fromisoformat(rule["expires"]):
        return False
    return "times" not in rule or _is_in(rule["times"], now)


def _is_in(times: Json, now: datetime) -> bool:
    """Return whether a moment lies in a span of the day, which may go over midnight."""
    local = now.astimezone(ZoneInfo(times["zone"]))
    clock, day, before = f"{local:%H:%M}", f"{local:%a}".lower(), local - timedelta(days=1)
    if times["from"] < times["to"]:
        return day in times["days"] and times["from"] <= clock < times["to"]
    if clock >= times["from"]:
        return day in times["days"]
    return clock < times["to"] and f"{before:%a}".lower() in times["days"]


def _is_from(networks: list[str], address: str | None) -> bool:
    if address is None:
        return False
    found = ipaddress.ip_address(address)
    return any(found in ipaddress.ip_network(each) for each in networks)
