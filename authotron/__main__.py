"""C{python -m authotron} is C{authotron}."""

from __future__ import annotations

from authotron.cli.main import main

main(prog_name="authotron")
