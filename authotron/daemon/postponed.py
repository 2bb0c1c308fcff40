"""Import modules that Twisted imports at the start, and the gateway hardly ever uses, later."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

UNUSED = ("pdb", "lzma", "bz2")
"""
Modules that are imported at their first use instead of at the start, which saves 0.9 MiB: the
debugger of C{twistd --debug}, and formats of archives that the import system and Twisted can read.
"""


class Postponed(ModuleType):
    """Takes the place of a module that is imported as soon as one of its names is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def postpone() -> None:
    """Postpone the import of those modules in L{UNUSED} that were not imported before."""
    for name in UNUSED:
        sys.modules.setdefault(name, Postponed(name))
