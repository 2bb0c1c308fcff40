"""C{authotron schema}: print the JSON Schema of a configuration file."""

from __future__ import annotations

import json

import click

from authotron.cli.options import Command
from authotron.cli.output import say_lines
from authotron.config.json_schema import json_schema


@click.command(cls=Command, examples=("authotron schema > authotron.schema.json",))
def schema() -> None:
    """Print the JSON Schema of a configuration file. Editors and other tools read the schema."""
    say_lines(json.dumps(json_schema(), indent=2))
