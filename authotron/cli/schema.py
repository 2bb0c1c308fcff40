"""C{authotron schema}: print the JSON Schema of a configuration file."""

from __future__ import annotations

import json

import click

from authotron.cli.options import Command
from authotron.cli.output import say, say_lines
from authotron.config.json_schema import json_schema


@click.command(cls=Command, examples=("authotron schema > authotron.schema.json",))
def schema() -> None:
    """Print the JSON Schema of a configuration file. Editors and other tools read the schema."""
    unusable: list[str] = []
    found = json_schema(unusable)
    for reason in unusable:
        say(f"warning: {reason}; it is left out", fg="yellow", err=True)
    say_lines(json.dumps(found, indent=2))
