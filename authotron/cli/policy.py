"""C{authotron policy}: check and test policies, and list who may do what according to them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from authotron.cli import stored_policies
from authotron.cli.options import (
    Command,
    clock,
    config_option,
    exit_on_config_error,
    json_option,
    load_config,
    text,
)
from authotron.cli.output import say, say_json
from authotron.cli.policy_answers import answer_to
from authotron.cli.policy_diff import diff
from authotron.cli.policy_request import (
    NO_POLICY,
    checked_namespace,
    checked_path,
    checked_verb,
)
from authotron.config import policy as policy_config
from authotron.config import policy_test_file
from authotron.config.policy import Policy
from authotron.config.policy_test_file import PolicyTest
from authotron.daemon.compose_policy import compile_policies
from authotron.model.errors import ConfigError
from authotron.policy import analysis, subjects
from authotron.policy.policies import Policies
from authotron.policy.rules import Rule


@click.group()
def policy() -> None:
    """Check, test, compare and store policies."""


policy.add_command(stored_policies.apply)
policy.add_command(stored_policies.list_stored)
policy.add_command(diff)


namespace_option = click.option(
    "--namespace", type=text, help="The namespace of the request; `policy.namespace` if not given."
)


def _load(path: Path, *, as_json: bool = False) -> Policy:
    """
    Load the policy of a configuration, with the rules in its token store, if C{policy.store} is
    set. If the configuration has no policy, print a message and exit with 78.
    """
    found = load_config(path, as_json=as_json).policy
    if found is None:
        with exit_on_config_error(as_json=as_json):
            raise ConfigError(NO_POLICY)
    return stored_policies.with_stored(path, found, as_json=as_json)


@policy.command(
    cls=Command,
    examples=(
        "authotron policy check policy.d/*.yaml",
        "authotron policy check --strict --json policy.d/archive.yaml",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@click.option("--strict", is_flag=True, help="Exit with 1 if there are warnings.")
@json_option
def check(files: Sequence[Path], *, strict: bool, as_json: bool) -> None:
    """
    Check FILES of rules together, without a configuration.

    Print all problems of the policy files; if there are none, print warnings about rules that have
    no effect. If a file is a whole configuration, its section `policy` is checked, with the files
    that the section names; `authotron check` checks the other sections, too.

    Exit status 0 if the files are valid, 78 if not, 1 with --strict if there are warnings.
    """
    with exit_on_config_error(as_json=as_json):
        found = policy_config.read_files(files)
    warnings = [*_warnings(found)]
    if as_json:
        say_json({"good": True, **_counts(found), "warnings": warnings})
    else:
        for warning in warnings:
            say(f"warning: {warning}", fg="yellow", err=True)
        say("The rules are good: {rules} rules, {groups} groups.".format(**_counts(found)))
    if strict and warnings:
        sys.exit(1)


def _counts(found: Policy) -> dict[str, int]:
    return {"rules": len(found.rules), "groups": len(found.groups)}


def _warnings(found: Policy) -> Iterator[str]:
    yield from policy_config.rule_warnings(found, is_whole=not found.section.store)
    for finding in analysis.without_effect(compile_policies(found).rules):
        yield str(finding)


@policy.command(
    cls=Command,
    examples=(
        "authotron policy test tests.yaml",
        "authotron policy test --config authotron.yaml tests.yaml",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, readable=False))
@config_option
@json_option
def test(file: Path, path: Path, *, as_json: bool) -> None:
    """
    Test the policy of a configuration by the requests in FILE.

    FILE has a list `tests`, each with claims, a request and what is expected; docs/policies.md
    describes it.

    Exit status 0 if all is as expected, 1 if not, 78 if the configuration or FILE is invalid.
    """
    found = _load(path, as_json=as_json)
    with exit_on_config_error(as_json=as_json):
        tests = policy_test_file.read(file).tests
    policies, now = compile_policies(found), clock().seconds()
    results = [_result(each, policies, found.section.namespace, now) for each in tests]
    failed = [each for each in results if each["different"]]
    if as_json:
        say_json({"good": not failed, "tests": len(results), "failed": failed})
    else:
        for each in failed:
            say(f"{each['name']}: expected {each['expected']}, got {each['found']}", fg="red")
        say(f"{len(results) - len(failed)} of {len(results)} tests passed")
    if failed:
        sys.exit(1)


def _result(given: PolicyTest, policies: Policies, namespace: str, now: float) -> dict[str, Any]:
    """Compare the ruling about the request of a test with the expected ruling."""
    asked = given.request
    expected = {"decision": given.expect, "reason": given.reason, "rule": given.rule}
    found = answer_to(policies, given.claims, asked, given.login, namespace, now).as_json()
    name = given.name or f"{', '.join(given.claims)}: {asked.method} {asked.path}"
    wanted = {key: value for key, value in expected.items() if value is not None}
    return {
        "name": name,
        "expected": _shown(wanted),
        "found": _shown(found),
        "different": any(found[key] != value for key, value in wanted.items()),
    }


def _shown(parts: dict[str, str]) -> str:
    """Return a decision, its reason and its rule as text."""
    text_ = parts["decision"]
    text_ += f" ({parts['reason']})" if parts.get("reason") else ""
    return text_ + (f" by rule {parts['rule']}" if parts.get("rule") else "")


@policy.command(
    "who-can",
    cls=Command,
    examples=("authotron policy who-can DELETE /admin/users",),
)
@click.argument("verb", type=text)
@click.argument("resource", type=text)
@namespace_option
@config_option
@json_option
def who_can(verb: str, resource: str, namespace: str | None, path: Path, *, as_json: bool) -> None:
    """
    List the rules that deny or allow VERB for RESOURCE, and whom they are about.

    VERB is a method such as GET, RESOURCE the path of a request. Rules that deny come first, as
    they win.
    """
    found = _load(path, as_json=as_json)
    asked_in = checked_namespace(namespace, found)
    verb, asked = checked_verb(verb), checked_path(resource)
    rules = compile_policies(found).rules
    lines: list[dict[str, Any]] = [
        {
            "effect": "deny" if permission.denies else "allow",
            "rule": rule.name,
            "permission": str(permission),
            "subject": [sorted(tags) for tags in rule.subject],
            "limits": _limits(rule),
        }
        for rule, permission in analysis.who_can(rules, verb, asked, asked_in)
    ]
    if as_json:
        say_json({"default": found.section.default, "rules": lines})
        return
    for each in lines:
        whom = " or ".join(" and ".join(tags) for tags in each["subject"])
        limits = f", if {', '.join(each['limits'])} fit" if each["limits"] else ""
        say(f"{each['effect']:5}  {whom}{limits}  ({each['rule']}: {each['permission']})")
    say(f"all others: {found.section.default}")


def _limits(rule: Rule) -> list[str]:
    """Return the names of the keys that limit a rule further, such as hosts."""
    keys = ("hosts", "networks", "methods", "times", "not_before", "expires", "when", "require")
    return [key for key in keys if getattr(rule, key) not in (None, ())]


@policy.command(
    "what-can",
    cls=Command,
    examples=("authotron policy what-can realm=internal role=reader",),
)
@click.argument("claims", nargs=-1, required=True, type=text)
@namespace_option
@config_option
@json_option
def what_can(claims: Sequence[str], namespace: str | None, path: Path, *, as_json: bool) -> None:
    """
    List what an identity with CLAIMS may do, and what it may not do.

    CLAIMS are written as in rules, such as role=reader. Permissions that deny come first, as they
    win.
    """
    try:
        claims = [subjects.check_tag(claim) for claim in claims]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    found = _load(path, as_json=as_json)
    policies = compile_policies(found)
    rules = policies.usable(policies.access(claims).held.tags, checked_namespace(namespace, found))
    lines = [
        {"permission": str(permission), "rule": rule.name, "limits": _limits(rule)}
        for denies in (True, False)
        for rule in rules
        for permission in rule.permissions
        if permission.denies == denies
    ]
    if as_json:
        say_json({"default": found.section.default, "permissions": lines})
        return
    for each in lines:
        limits = f", if {', '.join(each['limits'])} fit" if each["limits"] else ""
        say(f"{each['permission']}  ({each['rule']}{limits})")
    say(f"all other requests: {found.section.default}")
