"""Keep Twisted's HTTP/2 out of the process, because the gateway does not use it."""

from __future__ import annotations

import sys
from typing import Any


def import_http_1_alone() -> None:
    """
    Import C{twisted.web.http} as if the package h2 was not installed.

    Twisted imports the package h2 if it is installed, which takes 1.3 MiB and 10 ms. Twisted serves
    only HTTP/1.1 for the gateway; only C{grpc:} endpoints need h2, and import it themselves.
    """
    modules: dict[str, Any] = sys.modules
    if "h2" in modules or "twisted.web.http" in modules:
        return
    modules["h2"] = None  # makes `import h2` raise ImportError
    try:
        import twisted.web.http  # noqa: F401, PLC0415 - the module remains in sys.modules, without h2
    finally:
        del modules["h2"]
