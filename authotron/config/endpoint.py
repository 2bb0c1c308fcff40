"""
Endpoint strings of Twisted, which describe the sockets of the gateway. By default UNIX sockets are
closed to other users, and have a long queue of connections.

An endpoint string of the main port may begin with a protocol other than HTTP, as in
C{fastcgi:unix:/run/a.sock}.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

HTTP, FASTCGI, GRPC = "http", "fastcgi", "grpc"
"""The protocols by which proxies ask the gateway for decisions."""

PREFIXES = (FASTCGI, GRPC)
"""
The protocols that may be named before an endpoint string; without a name the protocol
is HTTP.
"""

_NEEDED = {GRPC: {"h2": "h2", "google.protobuf": "protobuf"}}
"""The Python modules that a protocol needs in addition, and the packages that contain them."""

MODE = "660"
"""The default mode of a UNIX socket: only the user and the group of the gateway may connect."""

BACKLOG = 1024
"""
The default number of connections that may wait at a UNIX socket. At a UNIX socket the kernel
refuses a connection above this number at once, whereas a TCP client tries again.
"""

_UMASK = 0o117
_WORD = re.compile(r"(?:\\.|[^:\\])*", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_]+=")


def protocol_of(text: str) -> str:
    """
    Return the protocol that is served at an endpoint: the protocol is C{http}, or one of
    L{PREFIXES}.
    """
    kind, colon, _ = text.partition(":")
    return kind if colon and kind in PREFIXES else HTTP


def without_protocol(text: str) -> str:
    """Return an endpoint string without the protocol that may be named before it."""
    return text if protocol_of(text) == HTTP else text.partition(":")[2]


def missing_packages(
    protocol: str, find_spec: Callable[[str], object] = importlib.util.find_spec
) -> list[str]:
    """
    Return the packages that a protocol needs and that are not installed; they belong to the extra
    of this package that has the name of the protocol.
    """
    return [
        package
        for module, package in _NEEDED.get(protocol, {}).items()
        if not _is_installed(module, find_spec)
    ]


def _is_installed(module: str, find_spec: Callable[[str], object]) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that contains the module is installed
        return False


def lacks_mode(text: str) -> bool:
    """Return whether an endpoint string describes a UNIX socket and sets no file mode."""
    return _lacks(text, "mode")


_OPTIONS = ("address", "mode", "backlog")
"""The first options of a UNIX socket, whose names an endpoint string may omit in this order."""


def _lacks(text: str, option: str) -> bool:
    """
    Return whether an endpoint string describes a UNIX socket and lacks one of the options in
    L{_OPTIONS}.
    """
    words = _words(text)
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
    return "unix" in without_protocol(text).split(":")[:2]


def with_mode(text: str) -> str:
    """Append the default file mode to the endpoint string of a UNIX socket without a mode."""
    return f"{text}:mode={MODE}" if lacks_mode(text) else text


def socket_path(text: str) -> Path | None:
    """Return the path of the UNIX socket that an endpoint string describes, if it describes one."""
    words = _words(text)
    if "unix" not in words[:2]:
        return None
    options = words[words.index("unix") + 1 :]
    named = [word.removeprefix("address=") for word in options if word.startswith("address=")]
    addresses = named or [word for word in options if not _KEY.match(word)]
    return Path(re.sub(r"\\(.)", r"\1", addresses[0])) if addresses else None


def tcp_address(text: str) -> tuple[str, int] | None:
    """
    Return interface and port of the TCP socket that an endpoint string describes, with or without
    TLS, or C{None} for another endpoint; the interface is empty if the string names none.
    """
    kind, *options = _words(text)
    if kind not in ("tcp", "tcp6", "ssl"):
        return None
    named = {
        name: value
        for name, _, value in (each.partition("=") for each in options if _KEY.match(each))
    }
    unnamed = [each for each in options if not _KEY.match(each)]
    port = named.get("port") or unnamed.pop(0)
    is_first = kind != "ssl" and unnamed
    interface = named.get("interface") or (unnamed[0] if is_first else "")
    return re.sub(r"\\(.)", r"\1", interface), int(port)


def is_wrapped(text: str) -> bool:
    """Return whether a client of an endpoint must speak another protocol first: PROXY."""
    return _words(text)[0] == "haproxy"


def has_tls(text: str) -> bool:
    """Return whether connections to an endpoint are encrypted by the gateway."""
    return _words(text)[0] == "ssl"


def server_endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """
    Return the server endpoint that a string describes, whichever protocol is served there; a UNIX
    socket gets a file mode and a backlog.
    """
    whole = with_mode(without_protocol(text))
    if _lacks(whole, "backlog"):
        whole = f"{whole}:backlog={BACKLOG}"
    endpoint: IStreamServerEndpoint = serverFromString(reactor, whole)
    return endpoint


def _words(text: str) -> list[str]:
    """
    Return the parts of an endpoint string that are separated by colons, without a protocol before
    them.
    """
    return [found[0] for found in _WORD.finditer(without_protocol(text)) if found[0]]


@contextmanager
def narrow_sockets() -> Iterator[None]:
    """
    Limit the file mode of UNIX sockets that are bound within the C{with} block to L{MODE}.

    Twisted sets a socket's mode only after binding it; in between, the umask limits the mode.
    """
    before = os.umask(_UMASK)
    try:
        yield
    finally:
        os.umask(before)
