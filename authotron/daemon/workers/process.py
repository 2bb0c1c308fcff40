"""A worker process, as the supervisor sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from authotron.concurrency.waiters import Waiters
from authotron.daemon.workers.messages import Action, MessageChannel, PeerError
from authotron.telemetry.metrics import Counted


class WorkerProcess(ProcessProtocol):
    """
    A worker process of the supervisor, from its start to its end.

    @ivar has_served: whether the worker has accepted connections since it started.
    @ivar is_leaving: whether the worker was asked to drain.
    @ivar was_killed: whether the worker was killed because it did not answer.
    @ivar problems: why the worker cannot use all of its configuration.
    @ivar counted: the metrics that the worker has reported last.
    @ivar missed: the number of heartbeats in a row that the worker has missed.
    @ivar heartbeats: how many heartbeats the worker sent.
    @ivar place: the place of the worker in the shared memory with the numbers of connections, or
        C{None}.
    @ivar exit_status: the exit status of the process, or C{None} if a signal has ended it.
    """

    transport: Any
    pid: int | None = None
    has_served = is_leaving = was_killed = False
    problems: tuple[str, ...] = ()
    counted: Counted | None = None
    missed = heartbeats = 0
    place: int | None = None
    exit_status: int | None = None

    def __init__(
        self,
        input_: int,
        actions: Mapping[str, Action],
        on_end: Callable[[WorkerProcess, str], None],
        on_serving: Callable[[WorkerProcess], None],
    ) -> None:
        """
        @param input_: the descriptor from which the worker reads messages.
        @param actions: the actions for all messages of the worker except C{serving} and C{alive}.
        @param on_end: called when the process has ended, with the reason.
        @param on_serving: called when the worker accepts connections.
        """
        self._input = input_
        own = {"serving": self._note_serving, "alive": self._note_heartbeat}
        self._channel = MessageChannel(self._write, {**own, **actions}, self.kill)
        self._on_end = on_end
        self._on_serving = on_serving
        self._until_serving: Waiters[None] = Waiters()
        self._kill_call: IDelayedCall | None = None

    @property
    def is_serving(self) -> bool:
        """Whether the worker accepts connections."""
        return self.has_served and not self.is_leaving

    @property
    def state(self) -> str:
        """
        The state of the worker that C{/ready} shows: one of C{starting}, C{serving} or C{leaving}
        (the worker ends).
        """
        return "leaving" if self.is_leaving else "serving" if self.has_served else "starting"

    async def ask(self, word: str, content: Any = None) -> Any:
        """
        Send the worker a message that asks for an answer, and wait for the answer.

        @raise PeerError: the worker has ended, or failed to do what it was asked to do.
        """
        return await self._channel.ask(word, content)

    def notify(self, word: str, content: Any) -> None:
        """Send the worker a message that needs no answer."""
        self._channel.notify(word, content)

    async def fetch_counted(self) -> None:
        """
        Ask the worker for its metrics.

        @raise PeerError: the worker has ended.
        """
        self.counted = await self._channel.ask("metrics")

    async def until_serving(self) -> None:
        """
        Wait until the worker accepts connections.

        @raise PeerError: the worker ended before it accepted connections.
        """
        if not self.has_served:
            await self._until_serving.join()

    def kill(self) -> None:
        """End the process by SIGKILL."""
        self.was_killed = True
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def kill_after(self, call: IDelayedCall) -> None:
        """
        Keep the timer that kills the process, and cancel the timer if the process
        ends by itself.
        """
        self._cancel_kill()
        self._kill_call = call

    def _cancel_kill(self) -> None:
        if self._kill_call is not None and self._kill_call.active():
            self._kill_call.cancel()

    # --- messages that the worker sends ---

    def _note_serving(self, _: Any) -> None:
        self.has_served = True
        self.missed = 0
        self._on_serving(self)
        self._until_serving.succeed(None)

    def _note_heartbeat(self, counted: Any) -> None:
        self.counted = counted
        self.missed = 0
        self.heartbeats += 1

    # --- events of the worker's process ---

    def connectionMade(self) -> None:
        self.pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803 - Twisted's name
        self._channel.received(data)

    def processEnded(self, reason: Failure) -> None:
        self.exit_status = getattr(reason.value, "exitCode", None)
        self._cancel_kill()
        signal = getattr(reason.value, "signal", None)
        how = f"exit status {self.exit_status}" if signal is None else f"killed by signal {signal}"
        self._on_end(self, how)
        self._channel.lost()
        self._until_serving.fail(PeerError())

    def _write(self, data: bytes) -> None:
        # When a worker is killed, Twisted closes its pipes before it reports the end of the
        # process. A message that is sent between the two events fails when the end of the process
        # is reported.
        with suppress(KeyError):
            self.transport.writeToChild(self._input, data)
