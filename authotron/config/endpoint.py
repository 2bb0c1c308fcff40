"""Endpoint strings of Twisted, with UNIX sockets that are closed to other users of the machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

MODE = "660"
"""The mode of a UNIX socket where none is written: for the user and the group of the gateway."""

_UMASK = 0o117
_WORD = re.compile(r"(?:\\.|[^:\\])*", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_]+=")


def lacks_mode(text: str) -> bool:
    """Whether an endpoint is a UNIX socket, maybe behind another protocol, without a mode."""
    words = [found[0] for found in _WORD.finditer(text) if found[0]]
    if "unix" not in words[:2]:
        return False
    options = words[words.index("unix") + 1 :]
    positional = [word for word in options if not _KEY.match(word)]
    is_named = any(word.startswith("mode=") for word in options)
    has_address = any(word.startswith("address=") for word in options)
    return not is_named and len(positional) + has_address <= 1


def is_unix(text: str) -> bool:
    """Whether an endpoint is a UNIX socket, maybe behind another protocol."""
    return "unix" in text.split(":")[:2]


def with_mode(text: str) -> str:
    """The endpoint string with the mode that a UNIX socket gets, also if none is written."""
    return f"{text}:mode={MODE}" if lacks_mode(text) else text


def server_endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """Make the endpoint of a string, whose UNIX socket has a mode."""
    endpoint: IStreamServerEndpoint = serverFromString(reactor, with_mode(text))
    return endpoint


@contextmanager
def narrow_sockets() -> Iterator[None]:
    """
    Make UNIX sockets that are no wider than L{MODE} from the first moment.

    Twisted sets their mode only after they are there, whatever the umask.
    """
    before = os.umask(_UMASK)
    try:
        yield
    finally:
        os.umask(before)
