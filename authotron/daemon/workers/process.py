"""A worker, as its supervisor sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from authotron.concurrency.waiters import Waiters
from authotron.daemon.workers.messages import Answer, MessageChannel, PeerError
from authotron.telemetry.metrics import Counted


class WorkerProcess(ProcessProtocol):
    """
    A process of the supervisor, from its start until it is known to be gone.

    @ivar served: whether it has ever served.
    @ivar leaving: whether it was asked to go.
    @ivar killed: whether it was killed, for it did not answer.
    @ivar problems: why it cannot use all of its configuration.
    @ivar counted: what it has counted, as far as it has said so.
    @ivar missed: beats since it last gave a sign of life.
    @ivar beats: signs of life that it gave.
    @ivar exit_status: what it has exited with; C{None} if a signal has ended it.
    """

    transport: Any
    pid: int | None = None
    served = leaving = killed = False
    problems: tuple[str, ...] = ()
    counted: Counted | None = None
    missed = beats = 0
    exit_status: int | None = None

    def __init__(
        self,
        hears: int,
        answers: Mapping[str, Answer],
        on_end: Callable[[WorkerProcess, str], None],
        on_serving: Callable[[WorkerProcess], None],
    ) -> None:
        """
        @param hears: the descriptor of the worker that it reads from.
        @param answers: what is done at its words, beside C{serving} and C{alive}.
        @param on_end: told that it is gone, and how that came about.
        @param on_serving: told that it has come to serve.
        """
        self._hears = hears
        own = {"serving": self._serving, "alive": self._alive}
        self._pipe = MessageChannel(self._write, {**own, **answers}, self.kill)
        self._on_end = on_end
        self._on_serving = on_serving
        self._waiting: Waiters[None] = Waiters()
        self._killing: IDelayedCall | None = None

    @property
    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self.served and not self.leaving

    @property
    def state(self) -> str:
        return "leaving" if self.leaving else "serving" if self.served else "starting"

    async def ask(self, word: str, given: Any = None) -> Any:
        """
        Ask the worker, and wait.

        @raise Unanswered: it is gone, or cannot.
        """
        return await self._pipe.ask(word, given)

    def tell(self, word: str, given: Any) -> None:
        """Tell the worker something that needs no answer."""
        self._pipe.tell(word, given)

    async def fetch_counted(self) -> None:
        """
        Let it say what it has counted.

        @raise Unanswered: it is gone.
        """
        self.counted = await self._pipe.ask("metrics")

    async def until_serving(self) -> None:
        """
        Wait until it serves.

        @raise Unanswered: it has ended before.
        """
        if not self.served:
            await self._waiting.join()

    def kill(self) -> None:
        """End it without a word."""
        self.killed = True
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def kill_after(self, killing: IDelayedCall) -> None:
        """Take note of what will kill it, and need not if it ends before."""
        self._no_killing()
        self._killing = killing

    def _no_killing(self) -> None:
        if self._killing is not None and self._killing.active():
            self._killing.cancel()

    # --- what it says ---

    def _serving(self, _: Any) -> None:
        self.served = True
        self.missed = 0
        self._on_serving(self)
        self._waiting.succeed(None)

    def _alive(self, counted: Any) -> None:
        self.counted = counted
        self.missed = 0
        self.beats += 1

    # --- the process ---

    def connectionMade(self) -> None:
        self.pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803 - Twisted's name
        self._pipe.received(data)

    def processEnded(self, reason: Failure) -> None:
        self.exit_status = getattr(reason.value, "exitCode", None)
        self._no_killing()
        self._on_end(self, str(reason.value))
        self._pipe.lost()
        self._waiting.fail(PeerError())

    def _write(self, data: bytes) -> None:
        self.transport.writeToChild(self._hears, data)
