"""Every recorded question about permissions, policies, groups and restrictions gets its answer."""

from __future__ import annotations

import json
import lzma
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.policy import permissions
from authotron.policy.containment import contains
from authotron.policy.restrictions import Restriction, Widens
from tests.policy.building import (
    build_group,
    build_permissions,
    build_policies,
    build_request,
    build_restriction,
    build_rule,
    build_targets,
)

ROWS = Path(__file__).with_name("rows.jsonl.xz")
CLAIM = "a=b"

Input = Mapping[str, Any]
Found = tuple[str, Any]
"""An answer, and what was made of the question."""


def rows() -> Iterator[dict[str, Any]]:
    with lzma.open(ROWS, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def expected(row: Mapping[str, Any]) -> Found:
    """Return the answer that a row expects."""
    found = {**row, **row.get("ours", {})}
    result = found.get("result") if found.get("decision") != "refuse" else None
    return found.get("decision", "done"), found["kept"] if row["kind"] == "chain" else result


def _ruled(given: Input, restrictions: tuple[Restriction, ...] = ()) -> str:
    heaviest = given.get("single_group", False)
    policies = build_policies(given["policies"], given.get("groups", ()), heaviest=heaviest)
    access = policies.access(given["claims"], restrictions)
    return "allow" if access.rule(build_request(given["request"]), 0).allows else "deny"


def _with_permissions(given: Input, held: list[str], asked: list[str] | None = None) -> Found:
    """Ask about an identity that has some permissions, by a credential restricted to others."""
    rules = [{"name": "p", "subject": [[CLAIM]], "permissions": held}] if held else []
    check = {"policies": rules, "claims": [CLAIM], "request": given}
    if asked is None:
        return _ruled(check), None
    return _ruled(check, (build_restriction({"permissions": asked}),)), None


def _check(given: Input) -> Found:
    return _ruled(given), None


def _parse(given: Input) -> Found:
    found = permissions.effects(build_permissions(given["permissions"]), given.get("id"))
    return "done", {resource: dict(verbs) for resource, verbs in found.items()}


def _allows(given: Input) -> Found:
    return _with_permissions(given, given["permissions"])


def _contains(given: Input) -> Found:
    held, asked = build_permissions(given["held"]), build_permissions(given["asked"])
    return "yes" if contains(held, asked) else "no", None


def _intersect(given: Input) -> Found:
    return _with_permissions(given, given["held"], given["asked"])


def _narrow(given: Input) -> Found:
    old, new = given["old"], given["new"]
    build_restriction(old).narrowed(build_restriction(new))
    parts = {key: new.get(key) or old.get(key) for key in ("namespace", "permissions", "networks")}
    shown = {
        key: sorted(part) if isinstance(part, list) else part for key, part in parts.items() if part
    }
    return "accept", shown


def _target(given: Input) -> Found:
    return "accept", [*build_targets(given["namespace"], given["targets"])] or [given["namespace"]]


def _validate(given: Input) -> Found:
    if "policy" in given:
        build_rule(given["policy"])
    else:
        build_group(given["group"])
    return "accept", None


def _restrict(given: Input) -> Found:
    return _ruled(given, tuple(map(build_restriction, given["restrictions"]))), None


def _chain(given: Input) -> Found:
    """Ask for one restriction after the other; then all that were asked for are kept."""
    sets = tuple(map(build_restriction, given["restrictions"]))
    kept = _ruled(given, sets)
    held = sets[0]
    for each in sets[1:]:
        try:
            held = held.narrowed(each)
        except Widens:
            return "refuse", kept
    return kept, kept


ASK: Mapping[str, Callable[[Input], Found]] = {
    "parse": _parse,
    "allows": _allows,
    "ids": _allows,
    "glob": _allows,
    "contains": _contains,
    "intersect": _intersect,
    "narrow": _narrow,
    "target": _target,
    "validate": _validate,
    "subject": _check,
    "namespace": _check,
    "network": _check,
    "address": _check,
    "disabled": _check,
    "policies": _check,
    "groups": _check,
    "restrict": _restrict,
    "chain": _chain,
}
"""For each kind of row how it is asked."""


def _answer(row: Mapping[str, Any]) -> Found:
    try:
        return ASK[row["kind"]](row["input"])
    except ValueError:
        return "refuse", None


class RecordedRowTests(SynchronousTestCase):
    """The rows of the recording."""

    def test_every_row(self) -> None:
        """Each row gets the expected answer, and no kind of row is missing."""
        counted = Counter[str]()
        for row in rows():
            with self.subTest(row["id"], input=row["input"]):
                self.assertEqual(_answer(row), expected(row))
            counted[row["kind"]] += 1
        self.assertEqual((counted.keys(), counted.total()), (ASK.keys(), 4_899))
