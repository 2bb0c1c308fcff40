"""The JSON Schemas of policy files: files of rules, and files of policy tests."""

from __future__ import annotations

from typing import Any

from authotron.config import section
from authotron.config.json_schema import DRAFT
from authotron.config.policy_rules import RulesFile
from authotron.config.policy_test_file import PolicyTests

FILES = {"policy-rules": RulesFile, "policy-tests": PolicyTests}
"""The kinds of policy files, by the names that the command C{authotron schema} accepts."""


def schema_of(kind: str) -> dict[str, Any]:
    """
    Return the JSON Schema of one kind of policy file.

    @param kind: the kind of policy file, which is a key of L{FILES}.
    """
    return {"$schema": DRAFT, **section.schema_of(FILES[kind])}
