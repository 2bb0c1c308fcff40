"""The JSON Schemas of files of policies: of files of rules, and of files of tests."""

from __future__ import annotations

from typing import Any

from authotron.config import section
from authotron.config.json_schema import DRAFT
from authotron.config.policy_rules import RulesFile
from authotron.config.policy_test_file import PolicyTests

FILES = {"policy-rules": RulesFile, "policy-tests": PolicyTests}
"""The kinds of files, as C{authotron schema} names them."""


def schema_of(kind: str) -> dict[str, Any]:
    """
    Return the JSON Schema of a kind of files of policies.

    @param kind: a key of L{FILES}.
    """
    return {"$schema": DRAFT, **section.schema_of(FILES[kind])}
