"""
The names from which providers, augmenters and token stores of other packages are built.

A plugin in another package imports names only from L{authotron.plugin}, as in C{from
authotron.plugin import World}, and from L{authotron.testing}. C{API_VERSION} is the version of this
interface for plugins, and docs/extending.md says what changes the version. All modules of authotron
except C{plugin} and C{testing} may change with every release.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # only for type checkers: an import at run time would load libraries
    from authotron.plugin.public import *  # noqa: F403 - public.py has the list
else:

    def __getattr__(name: str) -> object:
        """
        Import a public name of this package when it is first used (PEP 562).

        The modules of this package are not public names: C{from authotron.plugin import cache}
        imports the module once this function has raised C{AttributeError}.
        """
        is_module = find_spec(f"{__name__}.{name}") is not None
        if is_module or (name.startswith("_") and name != "__all__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.public"), name)
