"""
Import some modules only when they are used: Twisted imports them at its start, but the gateway
hardly ever uses them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

_POSTPONED: Mapping[str, str] = {"pdb": "bdb", "lzma": "_lzma", "bz2": "_bz2"}
"""
The modules that are imported at their first use, which saves 0.9 MiB: the debugger, which Twisted
imports for C{twistd --debug}, and two compression formats, which C{shutil} and C{zipfile} import.
Each stands with a module that it needs, without which its import fails at once as usual.
"""

_importing = RLock()


class _Postponed(ModuleType):
    """A module whose code runs as soon as one of its names is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        with _importing:
            if isinstance(self, _Postponed):  # Another thread may have run the code meanwhile.
                assert self.__spec__ is not None
                assert self.__spec__.loader is not None
                self.__spec__.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment] # the object is a module as any other now
        return getattr(self, name)


def postpone() -> None:
    """Postpone the imports of the modules that the gateway hardly ever uses, unless it has them."""
    for name, needed in _POSTPONED.items():
        spec = find_spec(name) if find_spec(needed) else None
        if spec is not None and name not in sys.modules:
            module = module_from_spec(spec)
            module.__class__ = _Postponed
            sys.modules[name] = module
