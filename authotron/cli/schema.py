"""C{authotron schema}: print the JSON Schema of a configuration file, or of another form."""

from __future__ import annotations

import json
from importlib import resources

import click

from authotron.cli.options import Command
from authotron.cli.output import say, say_lines
from authotron.config.json_schema import json_schema

_CONFIGURATION, _PERMISSION_LIST = "configuration", "permission-list"


@click.command(
    cls=Command,
    examples=(
        "authotron schema > authotron.schema.json",
        "authotron schema permission-list",
    ),
)
@click.argument(
    "form", type=click.Choice([_CONFIGURATION, _PERMISSION_LIST]), default=_CONFIGURATION
)
def schema(form: str) -> None:
    """
    Print the JSON Schema of a configuration file. Editors and other tools read the schema.

    With the FORM permission-list print the JSON Schema of the answer of GET /permissions.
    """
    if form == _PERMISSION_LIST:
        file = resources.files("authotron.web") / "assets" / "permission-list.schema.json"
        say_lines(file.read_text("utf-8").rstrip("\n"))
        return
    unusable: list[str] = []
    found = json_schema(unusable)
    for reason in unusable:
        say(f"warning: {reason}; it is left out", fg="yellow", err=True)
    say_lines(json.dumps(found, indent=2))
