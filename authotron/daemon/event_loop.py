"""The choice of the event loop of a process: uvloop where it can be imported, else epoll."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from twisted.internet import epollreactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorTime

from authotron.model.errors import ConfigError, Problem

VARIABLE = "AUTHOTRON_LOOP"
"""
The environment variable that names the event loop of the process. Its value is C{auto}, C{uvloop}
or C{epoll}.
"""

AUTO, UVLOOP, EPOLL = "auto", "uvloop", "epoll"

_UVLOOP_MODULE = "authotron.daemon.uvloop.reactor"
"""
The module of the reactor on uvloop. A process whose reactor uses epoll does not import
this module.
"""


def _install_uvloop() -> None:
    """@raise ImportError: uvloop cannot be imported."""
    from authotron.daemon.uvloop import reactor  # noqa: PLC0415 - needed on uvloop only

    reactor.install()


INSTALL: Mapping[str, Callable[[], None]] = {
    UVLOOP: _install_uvloop,
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
    module = type(reactor).__module__
    return UVLOOP if module == _UVLOOP_MODULE else module.rpartition(".")[2].removesuffix("reactor")


def clock_of(reactor: Any) -> IReactorTime:
    """
    Return the clock for timers that are set for each connection.

    The clock is the reactor, except on uvloop, whose native timers cost less time.
    """
    if name_of(reactor) != UVLOOP:
        clock: IReactorTime = reactor
        return clock
    from authotron.daemon.uvloop.clock import LoopClock  # noqa: PLC0415 - needed on uvloop only

    return LoopClock(reactor.loop, reactor.seconds)


def accept_by_loop(
    reactor: object, port: IListeningPort
) -> IListeningPort | Deferred[IListeningPort]:
    """
    Let uvloop accept the connections of a port, if the reactor runs on uvloop.

    @param port: a port that Twisted has just opened, so that it has accepted no connection yet.
    """
    if name_of(reactor) != UVLOOP:
        return port
    from authotron.daemon.uvloop import port as loop_port  # noqa: PLC0415 - needed on uvloop only

    return loop_port.accept_by_loop(reactor, port)


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
