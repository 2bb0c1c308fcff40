"""
Endpoint strings of Twisted. By default UNIX sockets are closed to other users, and many connections
may wait at them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

MODE = "660"
"""The default mode of a UNIX socket: user and group of the gateway may connect."""

BACKLOG = 1024
"""
The default number of connections that may wait at a UNIX socket. The kernel refuses a connection
above this number at once, whereas TCP tries again.
"""

_UMASK = 0o117
_WORD = re.compile(r"(?:\\.|[^:\\])*", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_]+=")


def lacks_mode(text: str) -> bool:
    """Return whether an endpoint string describes a UNIX socket without a mode."""
    return _lacks(text, "mode")


_OPTIONS = ("address", "mode", "backlog")
"""The first options of a UNIX socket, whose names an endpoint string may omit in this order."""


def _lacks(text: str, option: str) -> bool:
    """Return whether an endpoint string describes a UNIX socket without one of L{_OPTIONS}."""
    words = [found[0] for found in _WORD.finditer(text) if found[0]]
    if "unix" not in words[:2]:
        return False
    options = words[words.index("unix") + 1 :]
    named = {word.partition("=")[0] for word in options if _KEY.match(word)}
    unnamed = len([word for word in options if not _KEY.match(word)])
    left = [each for each in _OPTIONS if each not in named]
    return option in left[unnamed:]


def is_unix(text: str) -> bool:
    """
    Return whether an endpoint string describes a UNIX socket.

    An endpoint may wrap the socket in another protocol, as in C{haproxy:unix:/run/a.sock}.
    """
    return "unix" in text.split(":")[:2]


def with_mode(text: str) -> str:
    """Append the default file mode to the endpoint string of a UNIX socket without a mode."""
    return f"{text}:mode={MODE}" if lacks_mode(text) else text


def socket_path(text: str) -> Path | None:
    """Return the path of the UNIX socket that an endpoint string describes, if it describes one."""
    words = [found[0] for found in _WORD.finditer(text) if found[0]]
    if "unix" not in words[:2]:
        return None
    options = words[words.index("unix") + 1 :]
    named = [word.removeprefix("address=") for word in options if word.startswith("address=")]
    addresses = named or [word for word in options if not _KEY.match(word)]
    return Path(re.sub(r"\\(.)", r"\1", addresses[0])) if addresses else None


def server_endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """
    Return the server endpoint that a string describes; a UNIX socket gets a file mode and a
    backlog.
    """
    whole = with_mode(text)
    if _lacks(whole, "backlog"):
        whole = f"{whole}:backlog={BACKLOG}"
    endpoint: IStreamServerEndpoint = serverFromString(reactor, whole)
    return endpoint


@contextmanager
def narrow_sockets() -> Iterator[None]:
    """
    Limit the file mode of UNIX sockets that are bound within the block to L{MODE}.

    Twisted sets a socket's mode only after binding it; in between, the umask limits the mode.
    """
    before = os.umask(_UMASK)
    try:
        yield
    finally:
        os.umask(before)
