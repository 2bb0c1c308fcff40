"""The choice of the event loop of a process: uvloop where it can be imported, else epoll."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from twisted.internet import epollreactor

from authotron.daemon.uvloop import reactor as uvloop_reactor
from authotron.model.errors import ConfigError, Problem

VARIABLE = "AUTHOTRON_LOOP"
"""
The environment variable that names the event loop of the process. Its value is C{auto}, C{uvloop}
or C{epoll}.
"""

AUTO, UVLOOP, EPOLL = "auto", "uvloop", "epoll"

INSTALL: Mapping[str, Callable[[], None]] = {
    UVLOOP: uvloop_reactor.install,
    EPOLL: epollreactor.install,
}


def choose(
    environ: Mapping[str, str],
    installed: Any = None,
    install: Mapping[str, Callable[[], None]] = INSTALL,
) -> None:
    """
    Install the reactor of this process.

    The function must be called before a configuration is loaded: a plugin that the configuration
    names may import C{twisted.internet.reactor}, which installs a reactor.

    @param installed: the reactor that this process has already, for example by C{twistd --reactor}.

    @raise ConfigError: the environment asks for an event loop that cannot be used.
    """
    name = wanted(environ)
    if installed is not None:
        _require(name, installed)
    elif name == EPOLL:
        install[EPOLL]()
    else:
        try:
            install[UVLOOP]()
        except ImportError as error:
            if name == UVLOOP:
                raise _missing(error) from None
            install[EPOLL]()


def prefer(environ: MutableMapping[str, str], name: str) -> None:
    """
    Note in the environment, which workers inherit, the reactor that C{twistd --reactor} named,
    unless the environment asks for an event loop already.

    @raise ConfigError: the value of the environment variable is not an event loop.
    """
    if name in INSTALL and wanted(environ) == AUTO:
        environ[VARIABLE] = name


def installed_reactor() -> Any:
    """Return the reactor of this process, or C{None} as long as no reactor is installed."""
    return sys.modules.get("twisted.internet.reactor")


def wanted(environ: Mapping[str, str]) -> str:
    """
    Return the event loop that the environment variable names.

    @raise ConfigError: the value of the environment variable is not an event loop.
    """
    name = environ.get(VARIABLE, "").strip() or AUTO
    if name not in {AUTO, UVLOOP, EPOLL}:
        raise _refused(f"must be {AUTO}, {UVLOOP} or {EPOLL}")
    return name


def name_of(reactor: Any) -> str:
    """Return the name of the event loop of a reactor, such as C{uvloop} or C{epoll}."""
    if isinstance(reactor, uvloop_reactor.UvloopReactor):
        return UVLOOP
    return type(reactor).__module__.rpartition(".")[2].removesuffix("reactor")


def _require(name: str, reactor: Any) -> None:
    """@raise ConfigError: the reactor runs another event loop than the environment asks for."""
    if name not in {AUTO, name_of(reactor)}:
        raise _refused(
            f"is {name}, but this process runs {name_of(reactor)} already; remove the variable, or "
            f"the option --reactor of twistd"
        )


def _missing(reason: object) -> ConfigError:
    return _refused(
        f"is {UVLOOP}, which cannot be imported ({reason}); install authotron[fast], or remove the "
        "variable"
    )


def _refused(message: str) -> ConfigError:
    return ConfigError([Problem(VARIABLE, message)])
