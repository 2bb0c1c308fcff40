"""Keep the HTTP/2 of Twisted out of a process, which the gateway does not use."""

from __future__ import annotations

import sys
from typing import Any


def import_http_1_alone() -> None:
    """
    Import C{twisted.web.http} as if h2 was not installed.

    Twisted imports h2 where it is installed, which takes 1.3 MiB and 10 ms. The gateway serves
    HTTP/1.1 alone by Twisted; only C{grpc:} endpoints need h2, and import it themselves.
    """
    modules: dict[str, Any] = sys.modules
    if "h2" in modules or "twisted.web.http" in modules:
        return
    modules["h2"] = None  # makes `import h2` raise ImportError
    try:
        import twisted.web.http  # noqa: F401, PLC0415 - remains in sys.modules
    finally:
        del modules["h2"]
