"""
The commands C{authotron policy apply} and C{authotron policy list}, which change and list the
policies in the token store.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import asdict, frozen

from authotron.cli.options import (
    Command,
    config_option,
    exit_on_config_error,
    json_option,
    text,
)
from authotron.cli.output import say, say_as_it_is, say_json
from authotron.cli.token_store import run
from authotron.config import policy as policy_config
from authotron.config import stored_policies, yaml_core
from authotron.config.check import Config
from authotron.config.policy import Policy
from authotron.config.policy_section import PolicyConfig
from authotron.config.stored_policies import LABEL, Change, Given, StoredPolicies
from authotron.gateway.gateway import Gateway
from authotron.model.errors import ConfigError, Unavailable
from authotron.net.world import World
from authotron.telemetry import audit
from authotron.tokens.bounded_store import StoreClient
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply

_TRIES = 20
"""
Maximum number of attempts to store policies while other commands change the stored policies at the
same time.
"""

_SIGNS = {"created": "+", "changed": "~", "deleted": "-"}

_NOTHING: Given = {"rules": (), "groups": ()}


def _label(given: str) -> str:
    """
    Return the label of stored policies that is given on the command line.

    @raise BadParameter: the label contains a character that is not allowed in labels.
    """
    if not LABEL.fullmatch(given):
        raise click.BadParameter("is not a label: 1 to 64 letters, digits, `.`, `_` and `-`")
    return given


@frozen
class _Wish:
    """
    The change of the stored policies that C{authotron policy apply} should make.

    @ivar expected: the version of the stored policies that the token store must have, or C{None} if
        any version may be replaced.
    @ivar replaces_all: whether the rules and groups of all other labels are discarded.
    """

    label: str
    given: Given
    expected: int | None
    replaces_all: bool
    is_trial: bool


@frozen
class _Result:
    """
    The result of C{authotron policy apply}: the changes of the stored policies.

    @ivar version: the version of the policies that the token store has after the command.
    """

    version: int
    changes: Sequence[Change]
    warnings: Sequence[str]
    applied: bool


@click.command(
    cls=Command,
    examples=(
        "authotron policy apply --label archive --dry-run archive.yaml",
        "authotron policy apply --label archive archive.yaml",
        "authotron policy apply --label archive --delete",
    ),
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, readable=False))
@click.option("--label", required=True, type=text, help="The label of the rules and groups.")
@click.option("--delete", is_flag=True, help="Delete all rules and groups of the label.")
@click.option("--dry-run", is_flag=True, help="Print the changes, and store nothing.")
@click.option(
    "--expect",
    "expected",
    type=click.IntRange(min=0),
    metavar="VERSION",
    help="Store nothing if the token store has another version.",
)
@click.option(
    "--replace-all",
    "replaces_all",
    is_flag=True,
    help="Discard the rules and groups of all other labels, even if they cannot be read.",
)
@config_option
@json_option
def apply(
    files: Sequence[Path],
    label: str,
    path: Path,
    *,
    delete: bool,
    dry_run: bool,
    expected: int | None,
    replaces_all: bool,
    as_json: bool,
) -> None:
    """
    Store the rules and groups of FILES in the token store, under a label.

    Stored rules and groups of the label that FILES lack are deleted. Rules and groups of other
    labels stay unchanged. Either all changes are stored in one step, or none. Gateways with
    `policy.store` use the new policies within `policy.recheck` seconds.

    Exit status 0 if the token store contains the rules and groups of FILES, 78 if FILES or all
    rules together are invalid, 1 if nothing was stored, or with --dry-run if the command would
    change anything.
    """
    label = _label(label)
    if bool(files) == delete:
        raise click.UsageError("name FILES, or give --delete to delete all rules of the label")
    with exit_on_config_error(as_json=as_json):
        given = policy_config.read_given(files) if files else _NOTHING
    if files and not any(given.values()):
        raise click.UsageError(
            "FILES have no rules and no groups; to delete the stored ones, use --delete"
        )
    wish = _Wish(label, given, expected, replaces_all, dry_run)

    async def work(gateway: Gateway[Reply], tokens: TokenService, _world: World) -> None:
        result = await _apply(wish, gateway.config, tokens.store)
        _report(wish, result, as_json=as_json)
        if result.changes and not result.applied:
            raise SystemExit(1)

    run(path, work, as_json=as_json)


async def _apply(wish: _Wish, config: Config, store: StoreClient) -> _Result:
    """
    Store the rules and groups of a label; try again if another command has changed the rules of
    other labels meanwhile.

    @raise ConfigError: the rules of all labels together have problems, or the stored rules cannot
        be read.
    @raise Unavailable: the token store cannot be reached, or other commands keep changing the
        stored policies.
    """
    first: Given | None = None
    for _ in range(_TRIES):
        stored = await _read(store, discards=wish.replaces_all)
        mine = stored.labels.get(wish.label, _NOTHING)
        if wish.expected not in (None, stored.version):
            raise Unavailable(
                f"nothing stored: the token store has version {stored.version}, and not the "
                f"expected version {wish.expected}"
            )
        if first is not None and [*stored_policies.changes(first, mine)]:
            raise Unavailable(
                f"nothing stored: another command changes label {wish.label} at the same time"
            )
        first = mine
        others = StoredPolicies(stored.state) if wish.replaces_all else stored
        new = others.with_label(wish.label, wish.given)
        changes = [*_all_changes(stored, new)]
        whole = stored_policies.together(_local(config), new)
        warnings = [*_warnings(config, whole)]
        is_equal = not changes and stored.state is not None and not wish.replaces_all
        if is_equal or wish.is_trial:
            return _Result(stored.version, changes, warnings, applied=False)
        document = new.following()
        if await store.replace_policies(document, stored.state):
            version = stored.version + 1
            audit.policies_stored(wish.label, version, len(changes), audit.at_terminal())
            return _Result(version, changes, warnings, applied=True)
    raise Unavailable("nothing stored: other commands change the policies all the time")


def _warnings(config: Config, whole: Policy) -> Iterator[str]:
    if not _local(config).section.store:
        yield (
            "policy.store: not true in this configuration, so a gateway with it does not use what "
            "is stored"
        )
    yield from policy_config.rule_warnings(whole)


async def _read(store: StoreClient, *, discards: bool = False) -> StoredPolicies:
    """
    Read the policies in the token store.

    @param discards: whether stored policies that cannot be read are treated as if nothing were
        stored.

    @raise ConfigError: the policies cannot be read.
    """
    document = await store.policies()
    try:
        return stored_policies.decode(document)
    except ConfigError:
        if not discards or document is None:
            raise
        return StoredPolicies(document.state)


def _all_changes(old: StoredPolicies, new: StoredPolicies) -> list[Change]:
    """
    Return the differences between the stored and the new policies: for one label, or for all labels
    if all labels are replaced.
    """
    labels = dict.fromkeys([*old.labels, *new.labels])
    return [
        change
        for label in labels
        for change in stored_policies.changes(
            old.labels.get(label, _NOTHING), new.labels.get(label, _NOTHING)
        )
    ]


def _local(config: Config) -> Policy:
    """
    Return the policy in a configuration file, without rules in the token store, or an empty policy
    if the file has none.
    """
    return Policy(PolicyConfig(), (), ()) if config.policy is None else config.policy


def _report(wish: _Wish, result: _Result, *, as_json: bool) -> None:
    if as_json:
        say_json({"label": wish.label, **asdict(result)})
        return
    for each in result.changes:
        keys = f" ({', '.join(each.keys)})" if each.keys else ""
        say(f"{_SIGNS[each.how]} {each.kind} {each.name}{keys}")
    for warning in result.warnings:
        say(f"warning: {warning}", fg="yellow", err=True)
    if result.applied:
        say(f"The token store has version {result.version} of the policies now.")
    elif result.changes:
        say(f"Dry run: the token store keeps version {result.version} of the policies.")
    else:
        say(f"Nothing to change: the token store has version {result.version} of the policies.")


@click.command(
    "list",
    cls=Command,
    examples=(
        "authotron policy list",
        "authotron policy list --label archive --yaml > archive.yaml",
    ),
)
@click.option("--label", type=text, help="List only the rules and groups of this label.")
@click.option(
    "--yaml", "as_yaml", is_flag=True, help="Print the stored rules as a file of rules (YAML)."
)
@config_option
@json_option
def list_stored(label: str | None, path: Path, *, as_yaml: bool, as_json: bool) -> None:
    """
    List the rules and groups in the token store.

    `--yaml` prints them as a file that `authotron policy apply` reads.
    """
    wanted = None if label is None else _label(label)

    async def work(_gateway: Gateway[Reply], tokens: TokenService, _world: World) -> None:
        stored = await _read(tokens.store)
        labels = {name: given for name, given in stored.labels.items() if wanted in (None, name)}
        if as_json:
            say_json({"version": stored.version, "labels": labels})
        elif as_yaml:
            _print_yaml(stored.version, labels)
        else:
            _print_table(stored, labels)

    run(path, work, as_json=as_json)


def _print_yaml(version: int, labels: Mapping[str, Given]) -> None:
    """Print the rules and groups of labels as one file of rules, with a line for each label."""
    found: dict[str, list[Any]] = {
        kind: [each for given in labels.values() for each in given.get(kind, ())]
        for kind in ("rules", "groups")
    }
    say(f"# version {version}, labels: {', '.join(labels) or 'none'}")
    content = yaml_core.dump(found, allow_unicode=True)
    is_harmless = content.replace("\n", "").isprintable()
    say_as_it_is(content if is_harmless else yaml_core.dump(found), nl=False)


def _print_table(stored: StoredPolicies, labels: Mapping[str, Given]) -> None:
    if stored.state is None:
        say("The token store contains no policies.")
        return
    say(f"version {stored.version}")
    for label, given in labels.items():
        for kind, title in (("rules", "rule"), ("groups", "group")):
            for each in given.get(kind, ()):
                disabled = "  disabled" if each.get("disabled") else ""
                say(f"{label}  {title}  {each['name']}  {each.get('namespace', '/')}{disabled}")


def with_stored(path: Path, local: Policy, *, as_json: bool) -> Policy:
    """
    Return the policy of a configuration, with the rules and groups in its token store added if
    C{policy.store} is set. If the stored rules cannot be read, print why and exit.

    @raise SystemExit: the policies in the token store cannot be read.
    """
    if not local.section.store:
        return local
    found: list[Policy] = []

    async def work(_gateway: Gateway[Reply], tokens: TokenService, _world: World) -> None:
        found.append(stored_policies.together(local, await _read(tokens.store)))

    try:
        run(path, work, as_json=as_json)
    except SystemExit as ended:
        # The function that runs the reactor always raises SystemExit.
        if ended.code or not found:
            sys.exit(ended.code)
    [whole] = found
    return whole
