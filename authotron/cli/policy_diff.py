"""
The command C{authotron policy diff}: list the recorded requests that two policies decide
differently.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from attrs import define, field, frozen

from authotron.cli.options import Command, clock, exit_on_config_error, json_option
from authotron.cli.output import say, say_json
from authotron.cli.policy_answers import Answer, answer_to
from authotron.config import policy as policy_config
from authotron.config import recorded_requests, yaml_file
from authotron.config.policy import AT, Policy
from authotron.config.recorded_requests import Recorded
from authotron.config.sources import Sources
from authotron.daemon.compose_policy import compile_policies
from authotron.model.errors import ConfigError, Problem
from authotron.policy.policies import Policies


@frozen
class _Side:
    """One of the two policies that C{authotron policy diff} compares."""

    policies: Policies
    namespace: str

    def answer(self, recorded: Recorded, now: float) -> Answer:
        asked, login = recorded.request, recorded.login
        return answer_to(self.policies, recorded.claims, asked, login, self.namespace, now)


@define
class _Comparison:
    """
    The comparison of the rulings of two policies about recorded requests.

    @ivar ignored: the number of lines in the recording that contain no usable request.
    @ivar unclear: the number of requests from the log which the old policy does not deny, because
        the log does not have all claims.
    """

    requests: int = 0
    ignored: int = 0
    unclear: int = 0
    different: list[dict[str, Any]] = field(factory=list)

    def add(self, recorded: Recorded | None, old: _Side, new: _Side, now: float) -> None:
        """Apply both policies to a recorded request."""
        if recorded is None:
            self.ignored += 1
            return
        self.requests += 1
        before, after = old.answer(recorded, now), new.answer(recorded, now)
        if recorded.was_denied and before.allows:
            self.unclear += 1
        elif before.allows != after.allows:
            sides = {"old": before.as_json(), "new": after.as_json()}
            self.different.append({"name": recorded.name, **sides})


@click.command(
    cls=Command,
    examples=(
        "authotron policy diff old.yaml new.yaml --over tests.yaml",
        "authotron policy diff --json config.yaml new-config.yaml --over authotron.log",
    ),
)
@click.argument("old", type=click.Path(path_type=Path, readable=False))
@click.argument("new", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--over",
    "file",
    required=True,
    type=click.Path(path_type=Path, readable=False),
    help="A file with recorded requests.",
)
@json_option
def diff(old: Path, new: Path, file: Path, *, as_json: bool) -> None:
    """
    List the recorded requests that two policies decide differently.

    OLD and NEW are files of rules, or configurations with a section `policy`. The recorded requests
    are tests of policies, lines of JSON, or a log in JSON with the requests that were denied.

    Exit status 0 if both policies decide all requests alike, 1 if not, 78 if a file is invalid.
    """
    found = _Comparison()
    now = clock().seconds()
    with exit_on_config_error(as_json=as_json):
        before, after = _side(old), _side(new)
        for recorded in recorded_requests.read(file):
            found.add(recorded, before, after, now)
        if not found.requests:
            message = (
                "has no recorded request that can be decided; give a file of tests, lines of JSON, "
                "or a log in JSON (logging.format: json) with requests that a policy has denied"
            )
            raise ConfigError([Problem(str(file), message)])
    _report(found, as_json=as_json)
    if found.different:
        sys.exit(1)


def _side(path: Path) -> _Side:
    """
    Read one of the two policies that C{authotron policy diff} compares.

    @raise ConfigError: the policy is invalid; the error lists all problems.
    """
    policy = _read(path)
    return _Side(compile_policies(policy), policy.section.namespace)


def _read(path: Path) -> Policy:
    hint = "name a file of rules, or a configuration"
    given = yaml_file.parse(path, may_be_empty=True, largest=policy_config.LARGEST, hint=hint).given
    if AT in given:
        return policy_config.read(given[AT], Sources(path.parent))
    return policy_config.read_files([path])


def _report(found: _Comparison, *, as_json: bool) -> None:
    if as_json:
        counts = {"ignored": found.ignored, "unclear": found.unclear}
        say_json({"requests": found.requests, **counts, "different": found.different})
        return
    for each in found.different:
        say(f"{each['name']}: {_shown(each['old'])} -> {_shown(each['new'])}")
    if found.unclear:
        say(
            f"warning: {found.unclear} requests of the log cannot be decided again, because the "
            "log does not have attributes of identities, or another policy has denied them",
            fg="yellow",
            err=True,
        )
    say(f"{len(found.different)} of {found.requests} requests are decided differently")


def _shown(answer: dict[str, str]) -> str:
    by = f" by rule {answer['rule']}" if answer["rule"] else ""
    return f"{answer['decision']} ({answer['reason']}){by}"
