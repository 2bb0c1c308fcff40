"""C{authotron schema}: print the JSON Schema of a configuration file or of another file format."""

from __future__ import annotations

import json
from importlib import resources

import click

from authotron.cli.options import Command
from authotron.cli.output import say, say_lines
from authotron.config import policy_schemas
from authotron.config.json_schema import json_schema

_CONFIGURATION, _PERMISSION_LIST = "configuration", "permission-list"


@click.command(
    cls=Command,
    examples=(
        "authotron schema > authotron.schema.json",
        "authotron schema policy-tests > authotron-policy-tests.schema.json",
        "authotron schema permission-list",
    ),
)
@click.argument(
    "form",
    type=click.Choice([_CONFIGURATION, *policy_schemas.FILES, _PERMISSION_LIST]),
    default=_CONFIGURATION,
)
def schema(form: str) -> None:
    """
    Print the JSON Schema of a configuration file. Editors and other tools read the schema.

    With the FORM policy-rules print the JSON Schema of a file that `policy.files` names, with
    policy-tests that of a file for `authotron policy test`, and with permission-list that of the
    answer of GET /permissions.
    """
    if form == _PERMISSION_LIST:
        file = resources.files("authotron.web") / "assets" / "permission-list.schema.json"
        say_lines(file.read_text("utf-8").rstrip("\n"))
        return
    unusable: list[str] = []
    found = json_schema(unusable) if form == _CONFIGURATION else policy_schemas.schema_of(form)
    for reason in unusable:
        say(f"warning: {reason}; it is left out", fg="yellow", err=True)
    say_lines(json.dumps(found, indent=2))
