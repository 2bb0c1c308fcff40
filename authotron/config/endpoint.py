"""Endpoint strings of Twisted, whose UNIX sockets are closed to other users by default."""

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

_UMASK = 0o117
_WORD = re.compile(r"(?:\\.|[^:\\])*", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_]+=")


def lacks_mode(text: str) -> bool:
    """Return whether an endpoint string describes a UNIX socket without a mode."""
    words = [found[0] for found in _WORD.finditer(text) if found[0]]
    if "unix" not in words[:2]:
        return False
    options = words[words.index("unix") + 1 :]
    positional = [word for word in options if not _KEY.match(word)]
    is_named = any(word.startswith("mode=") for word in options)
    has_address = any(word.startswith("address=") for word in options)
    return not is_named and len(positional) + has_address <= 1


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
    """Return the server endpoint that a string describes; a UNIX socket gets a file mode."""
    endpoint: IStreamServerEndpoint = serverFromString(reactor, with_mode(text))
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
