"""The reactor of Twisted that runs on an event loop of uvloop."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.main import installReactor
from twisted.internet.process import reapAllProcesses


class UvloopReactor(AsyncioSelectorReactor):
    """
    Twisted's reactor for asyncio, running on an event loop of uvloop.

    @ivar loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.loop = loop
        self.callWhenRunning(self._reap_on_signal)

    def _reap_on_signal(self) -> None:
        """
        Reap child processes on SIGCHLD.

        The reactors of Twisted notice SIGCHLD by signal.set_wakeup_fd(), which uvloop replaces when
        the loop begins to run.
        """
        signal.signal(signal.SIGCHLD, lambda *_: self.callFromThread(reapAllProcesses))


def load() -> Any:
    """
    Import uvloop, and return the module.

    @raise ImportError: uvloop is not installed, or does not fit this machine.
    """
    import uvloop  # noqa: PLC0415 - optional

    return uvloop


def install() -> None:
    """
    Install the reactor. The command C{twistd --reactor=uvloop} calls this function.

    @raise ImportError: uvloop cannot be imported.
    """
    loop = load().new_event_loop()
    asyncio.set_event_loop(loop)
    installReactor(UvloopReactor(loop))


def loop_of(reactor: Any) -> asyncio.AbstractEventLoop | None:
    """Return the event loop of uvloop that a reactor runs, or C{None} for any other reactor."""
    return reactor.loop if isinstance(reactor, UvloopReactor) else None
