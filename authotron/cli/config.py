"""C{authotron config}: print the effective configuration, and where each value came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import click

from authotron.cli.options import Command, config_option, load_config
from authotron.cli.output import say, say_lines
from authotron.config import effective
from authotron.config.effective import Value
from authotron.config.origins import Origin


@click.group()
def config() -> None:
    """Print a configuration as the gateway reads it."""


@config.command(
    cls=Command,
    short_help="Print the effective values of all keys.",
    examples=(
        "authotron config show --origin",
        "authotron config show --set /etc/authotron/authotron.yaml",
        "authotron config show --json | jq .server",
    ),
)
@click.argument("file", required=False, type=click.Path(path_type=Path, readable=False))
@config_option
@click.option("--origin", "with_origin", is_flag=True, help="Show where each value came from.")
@click.option("--set", "only_set", is_flag=True, help="Leave defaults out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(
    file: Path | None, path: Path, *, with_origin: bool, only_set: bool, as_json: bool
) -> None:
    """
    Print the effective values: of the file, of environment variables, and defaults.

    Secrets are printed as ***.
    """
    found = [
        each
        for each in effective.values(load_config(file or path))
        if not (only_set and each.origin == Origin())
    ]
    if as_json:
        say_lines(json.dumps(_as_json(found, with_origin=with_origin), indent=2))
        return
    lines = [(f"{each.path}: {json.dumps(each.value, ensure_ascii=False)}", each) for each in found]
    width = min(max((len(line) for line, _ in lines), default=0), 60)
    for line, each in lines:
        say(f"{line:<{width}}  # {each.origin}" if with_origin else line)


def _as_json(found: list[Value], *, with_origin: bool) -> dict[str, Any]:
    values = effective.nested(found)
    if not with_origin:
        return values
    return {"config": values, "origin": {each.path: _origin(each.origin) for each in found}}


def _origin(origin: Origin) -> dict[str, object]:
    """
    Return the origin of a configuration value as JSON: the origin is C{default}, or a mapping of
    the known fields.
    """
    known = attrs.asdict(origin, filter=lambda _, value: value is not None)
    return known or {"default": True}
