"""A supervisor, with worker processes that the test simulates."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import check
from authotron.config.check import Config
from authotron.daemon.workers import spawning, worker_metrics
from authotron.daemon.workers.heartbeats import HEARTBEAT, MAX_MISSED, MAX_MISSED_AT_START
from authotron.daemon.workers.spawning import Descriptors, SealedConfig
from authotron.daemon.workers.supervisor import Supervisor
from authotron.telemetry.metrics import Metrics
from authotron.web.connections import Overloaded
from tests.config.cases import BASE, laid_over


class Port:
    """A listening port without connections."""

    reads, open = True, True

    def stopReading(self) -> None:
        self.reads = False

    def fileno(self) -> int:
        return 40

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 8080)

    def stopListening(self) -> Deferred[None]:
        self.open = False
        return succeed(None)


@define(eq=False)
class Process:
    """
    A simulated worker process.

    @ivar answers: the answers by the word of the question; other questions stay open.
    @ivar given: the contents of the questions and notifications.
    @ivar told: the answers that the worker received.
    """

    child: Any
    pid: int
    descriptors: dict[int, int | str]
    environ: dict[str, str] = field(factory=dict)
    answers: dict[str, Any] = field(factory=lambda: {"invalidate": None, "drain": None})
    asked: list[str] = field(factory=list)
    given: list[Any] = field(factory=list)
    told: list[Any] = field(factory=list)
    signals: list[str] = field(factory=list)
    ended: bool = False

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        assert self.descriptors[descriptor] == "w"
        for line in data.splitlines():
            message = json.loads(line)
            if "to" in message:
                self.told.append(message)
                continue
            self.asked.append(message["say"])
            self.given.append(message.get("with"))
            if message["say"] in self.answers:
                self.send({"to": message["number"], "with": self.answers[message["say"]]})
            if message["say"] == "drain" and "drain" in self.answers:
                self.end()

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def send(self, message: Any) -> None:
        says = next(place for place, what in self.descriptors.items() if what == "r")
        self.child.childDataReceived(says, json.dumps(message).encode() + b"\n")

    def say(self, word: str, given: Any = None) -> None:
        self.send({"say": word, "with": given})

    def end(self, *, status: int | None = 0) -> None:
        self.ended = True
        over = ProcessTerminated(signal=9) if status is None else ProcessTerminated(status)
        self.child.processEnded(Failure(ProcessDone(0) if status == 0 else over))


class Reactor(MemoryReactorClock):
    """A reactor that starts simulated processes."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.port = Port()
        self.stopped = self.is_full = False

    def listenTCP(self, *given: Any, **named: Any) -> Any:
        super().listenTCP(*given, **named)
        return self.port

    def spawnProcess(
        self,
        child: Any,
        executable: str,
        args: Any,
        env: Any,
        *,
        childFDs: Any,  # noqa: N803 - Twisted's name
    ) -> None:
        if self.is_full:
            raise OSError(errno.EAGAIN, "no room")
        process = Process(child, 1000 + len(self.processes), childFDs, env)
        self.processes.append(process)
        child.makeConnection(process)

    def stop(self) -> None:
        self.stopped = True


def raising(error: Exception) -> Any:
    """Return a function that raises an error."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


class SupervisorCase(SynchronousTestCase):
    """A supervisor with two workers that serve."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.over: dict[str, Any] = {"server": {"workers": 2}}
        self.supervisor = Supervisor(self.load, self.load(), self.reactor)  # type: ignore[arg-type] # as much as is needed
        self.supervisor.startService()
        for process in self.reactor.processes:
            process.say("serving")
        self.one, self.other = self.reactor.processes

    def load(self) -> Config:
        return check.check(laid_over(BASE, self.over))

    @property
    def living(self) -> list[Process]:
        return [process for process in self.reactor.processes if not process.ended]

    def pass_beats(self, count: int, *alive: Process) -> None:
        for _ in range(count):
            self.reactor.advance(HEARTBEAT)
            for process in alive:
                process.say("alive", Metrics().counted())

    def text(self) -> str:
        text, _ = self.successResultOf(Deferred.fromCoroutine(self.supervisor.metrics("")))
        return text.decode()


class StartTests(SupervisorCase):
    """Start of the workers."""

    def test_workers_inherit_the_listening_socket(self) -> None:
        """The supervisor holds the listening socket and passes it to each worker."""
        self.assertFalse(self.reactor.port.reads)
        for process in self.reactor.processes:
            self.assertEqual(process.descriptors[3], 40)

    def test_metrics_port_has_a_connection_limit_T85b(self) -> None:
        """The supervisor's metrics port limits connections, and counts rejected ones."""
        [listener] = self.supervisor._listeners
        second: Any = listener.site
        opened = [second.buildProtocol(None) for _ in range(65)]
        self.assertIsInstance(opened[-1], Overloaded)
        self.assertNotIsInstance(opened[-2], Overloaded)
        text, _ = self.supervisor.pool.metrics.own.text()
        self.assertIn("authotron_connections_refused_total 1.0", text.decode())

    def test_service_is_up_when_all_workers_serve(self) -> None:
        """The service is up as soon as all workers accept connections."""
        self.successResultOf(self.supervisor.served)
        another = Supervisor(self.load, self.load(), Reactor())  # type: ignore[arg-type] # as much as is needed
        another.startService()
        self.assertNoResult(another.served)

    def test_worker_that_fails_at_the_first_start_ends_the_service(self) -> None:
        """If a worker exits before all have served, the service exits with its status."""
        reactor = Reactor()
        another = Supervisor(self.load, self.load(), reactor)  # type: ignore[arg-type] # as much as is needed
        another.startService()
        reactor.processes[0].end(status=78)
        self.assertEqual((another.status, reactor.stopped), (78, True))

    def test_workers_do_not_get_systemd_variables(self) -> None:
        """Workers do not inherit systemd's environment variables for the supervisor."""
        environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "AOT_JWT__SECRET": "y"}
        found = spawning.environment(["http"], environ)
        self.assertEqual(found, {"AUTHOTRON_WORKER": "http", "AOT_JWT__SECRET": "y"})

    def test_sealed_configuration_is_complete(self) -> None:
        """Every worker can read the whole sealed configuration, secrets included."""
        given = self.load()
        descriptor = SealedConfig.of(given).descriptor
        found = [spawning.read_config(os.dup(descriptor)) for _ in range(2)]
        os.close(descriptor)
        self.assertEqual([each.file for each in found], [given.file] * 2)
        self.assertEqual(found[0].providers, given.providers)

    def test_sealed_configuration_cannot_be_changed(self) -> None:
        """A process that has the descriptor of the sealed configuration cannot change it."""
        descriptor = SealedConfig.of(self.load()).descriptor
        self.addCleanup(os.close, descriptor)
        for change in (
            lambda: os.pwrite(descriptor, b"x", 0),
            lambda: os.pwrite(descriptor, b"x", os.fstat(descriptor).st_size),
            lambda: os.truncate(descriptor, 1),
            lambda: fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, 0),
        ):
            self.assertRaises(PermissionError, change)

    def test_sockets_have_the_first_descriptors(self) -> None:
        """Listening sockets get the descriptors from 3 on, as with systemd."""
        filled = Descriptors(("http", "fastcgi")).as_child_fds([40, 41], 50, 60)
        self.assertEqual(filled, {0: 0, 1: 1, 2: 2, 3: 40, 4: 41, 5: "w", 6: "r", 7: 50, 8: 60})


class ProtocolTests(SupervisorCase):
    """Sockets of other protocols than HTTP."""

    def test_workers_know_the_protocols_of_their_sockets(self) -> None:
        """Workers get the protocol of each socket that they inherit, in order."""
        self.over = {"server": {"workers": 2, "listen": ["fastcgi:tcp:9001"]}}
        reactor = Reactor()
        another = Supervisor(self.load, self.load(), reactor)  # type: ignore[arg-type] # as much as is needed
        another.startService()
        for process in reactor.processes:
            self.assertEqual(process.environ[spawning.SOCKETS_VARIABLE], "http,fastcgi")
            self.assertEqual([process.descriptors[n] for n in (3, 4)], [40, 40])


class LossTests(SupervisorCase):
    """Workers that end unexpectedly or do not respond."""

    def test_readiness_while_workers_end(self) -> None:
        """Twisted closes the pipes of a killed worker first; readiness is answered even then."""
        self.patch(Process, "writeToChild", raising(KeyError(0)))
        asked = Deferred.fromCoroutine(self.supervisor.readiness())
        for process in self.reactor.processes:
            process.end(status=None)
        content = self.successResultOf(asked)
        self.assertFalse(content["ready"])
        self.assertIn("workers", content)

    def test_lost_worker_is_replaced_with_growing_delay(self) -> None:
        """A lost worker is replaced after 0.1 s, and after the next loss in a row after 0.2 s."""
        self.one.end(status=None)
        self.reactor.advance(0.1)
        self.assertEqual(len(self.living), 2)
        self.living[-1].end(status=None)
        self.reactor.advance(0.1)
        self.assertEqual(len(self.living), 1)
        self.reactor.advance(0.1)
        self.assertEqual(len(self.living), 2)

    def test_delay_is_at_most_ten_seconds(self) -> None:
        """However often workers are lost, they are replaced within 10 s."""
        for _ in range(20):
            self.reactor.processes[-1].end(status=None)
            self.reactor.advance(10)
        self.assertEqual(len(self.living), 2)

    def test_failed_start_is_retried(self) -> None:
        """If the system cannot start another process, the supervisor retries."""
        self.reactor.is_full = True
        self.one.end(status=None)
        self.reactor.advance(0.1)
        self.reactor.is_full = False
        self.assertEqual(len(self.living), 1)
        self.reactor.advance(0.2)
        self.assertEqual(len(self.living), 2)

    def test_failed_starts_take_no_places(self) -> None:
        """However often a start fails, the next worker has a place in the shared memory."""
        self.reactor.is_full = True
        self.one.end(status=None)
        for _ in range(40):
            self.reactor.advance(10)
        self.reactor.is_full = False
        self.reactor.advance(10)
        self.assertIn(spawning.PLACE_VARIABLE, self.living[-1].environ)
        self.assertEqual(len(self.living), 2)

    def test_delay_is_short_again_after_steady_service(self) -> None:
        """A worker that is lost after more than 10 heartbeats is replaced after 0.1 s."""
        for _ in range(3):
            victim = self.living[-1]
            victim.say("serving")
            self.pass_beats(11, *self.living)
            victim.end(status=None)
            self.reactor.advance(0.1)
            self.assertEqual(len(self.living), 2)

    def test_silent_worker_is_killed(self) -> None:
        """A worker that misses more than MAX_MISSED heartbeats is killed; the others are not."""
        self.pass_beats(MAX_MISSED + 1, self.other)
        self.assertEqual((self.one.signals, self.other.signals), (["KILL"], []))
        self.one.end(status=None)
        self.assertIn('authotron_workers_lost_total{reason="blocked"} 1.0', self.text_of_dead())

    def text_of_dead(self) -> str:
        self.other.answers["metrics"] = Metrics().counted()
        return self.text()

    def test_clock_jump_kills_no_worker(self) -> None:
        """A clock that jumps, or a suspended machine, kills no worker."""
        self.reactor.advance(3600)
        self.assertEqual(self.one.signals, [])

    def test_starting_worker_has_more_time(self) -> None:
        """A worker that does not serve yet may miss MAX_MISSED_AT_START heartbeats."""
        self.one.end(status=None)
        self.reactor.advance(0.1)
        late = self.living[-1]
        self.pass_beats(MAX_MISSED_AT_START, self.other)
        self.assertEqual(late.signals, [])
        self.pass_beats(1, self.other)
        self.assertEqual(late.signals, ["KILL"])

    def test_invalid_message_kills_the_worker(self) -> None:
        """A worker that sends an invalid message is killed."""
        self.one.child.childDataReceived(5, b"what?\n")
        self.assertEqual(self.one.signals, ["KILL"])

    def test_exit_78_at_the_beginning_ends_the_service(self) -> None:
        """A worker that exits with 78 before its tenth heartbeat ends the service with 78."""
        self.one.end(status=78)
        self.assertEqual((self.supervisor.status, self.reactor.stopped), (78, True))

    def test_exit_78_later_does_not_end_the_service(self) -> None:
        """A replacement that exits with 78, as for a key file being replaced, is tried again."""
        self.pass_beats(11, self.one, self.other)
        self.one.end(status=None)
        self.reactor.advance(0.1)
        self.living[-1].end(status=78)
        self.assertEqual((self.supervisor.status, self.reactor.stopped), (0, False))
        self.reactor.advance(0.2)
        self.assertEqual(len(self.living), 2)

    def test_later_workers_know_that_the_service_was_up(self) -> None:
        """A worker that replaces a lost one knows that the service was up."""
        self.pass_beats(11, self.one, self.other)
        self.one.end(status=None)
        self.reactor.advance(0.1)
        told = ["AUTHOTRON_HAS_SERVED" in process.environ for process in self.reactor.processes]
        self.assertEqual(told, [False, False, True])

    def test_invalid_metrics_do_not_stop_the_supervisor(self) -> None:
        """A worker with invalid metrics is replaced when lost, and other metrics are shown."""
        said: tuple[Any, ...] = ({"counts": {"x": [[["a"], 1]]}}, [], {"counts": 7}, "x")
        for nonsense in said:
            victim = self.living[0]
            victim.say("serving")
            self.pass_beats(11, *self.living)
            victim.say("alive", nonsense)
            victim.end(status=None)
            self.reactor.advance(0.1)
            self.assertEqual(len(self.living), 2)
            self.assertEqual(len(self.flushLoggedErrors()), 1)


class ReloadTests(SupervisorCase):
    """Reload by SIGHUP."""

    def test_old_workers_drain_when_all_new_ones_serve_T49(self) -> None:
        """New workers start one at a time; old ones drain when all new ones serve, not before."""
        done = self.supervisor.reload()
        for count in (3, 4):
            self.assertEqual(len(self.living), count)
            self.assertEqual(self.one.asked + self.other.asked, [])
            self.living[-1].say("serving")
        self.successResultOf(done)
        self.assertEqual([self.one.asked, self.other.asked], [["drain"]] * 2)
        self.assertEqual(self.supervisor.problems, ())
        self.reactor.advance(1)
        self.assertEqual(len(self.living), 2)

    def test_invalid_configuration_starts_no_worker_T49(self) -> None:
        """An invalid configuration starts no worker, and its problems are shown."""
        self.over = {"jwt": {"exp": -1}}
        self.successResultOf(self.supervisor.reload())
        self.assertEqual(self.living, [self.one, self.other])
        self.assertIn("jwt.exp", self.supervisor.problems[0])

    def test_unreadable_key_file_is_refused_T49(self) -> None:
        """A key file that cannot be read is a problem of the configuration."""
        self.over = {"server": {"workers": 2}, "jwt": {"alg": "ES256", "key_file": "/nowhere"}}
        self.successResultOf(self.supervisor.reload())
        self.assertIn("/nowhere", self.supervisor.problems[0])

    def refused(self, done: Deferred[None], before: Config) -> None:
        """Verify that only the old workers serve, with the old configuration, and did not drain."""
        self.successResultOf(done)
        self.reactor.advance(20)
        self.assertEqual(self.living, [self.one, self.other])
        self.assertEqual(self.one.asked + self.other.asked, [])
        self.assertIs(self.supervisor.pool.config.config, before)
        kept = spawning.read_config(os.dup(self.supervisor.pool.config.descriptor))
        self.assertEqual(kept.file, before.file)

    def reload(self) -> tuple[Deferred[None], Config]:
        """Start a reload; return it and the configuration before."""
        before = self.supervisor.pool.config.config
        self.over["jwt"] = {"iss": "other"}
        return self.supervisor.reload(), before

    def test_defect_during_replacement_keeps_the_old_workers_D8(self) -> None:
        """Whatever fails while new workers start, the old workers and their configuration stay."""
        for error in (ValueError("canary"), CancelledError(), MemoryError()):
            with self.subTest(repr(error)):
                reloading = self.reload()
                good = self.living[-1]
                spawn = self.reactor.spawnProcess
                self.reactor.spawnProcess = raising(error)  # type: ignore[method-assign] # fails in this test
                good.say("serving")
                self.reactor.spawnProcess = spawn  # type: ignore[method-assign] # restored
                self.assertEqual(good.asked, ["drain"])
                self.refused(*reloading)
                self.assertIn("reload failed", self.supervisor.problems[0])
                self.assertEqual((self.supervisor.status, self.reactor.stopped), (0, False))
                self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)
                self.assertFalse(self.supervisor.pool._is_replacing)

    def test_defect_while_reading_keeps_the_old_workers_D8(self) -> None:
        """A defect while the configuration is read keeps the old workers."""
        before = self.supervisor.pool.config.config
        self.patch(self.supervisor._reloader, "_load", raising(KeyError("canary")))
        self.refused(self.supervisor.reload(), before)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_first_new_worker_fails_T49(self) -> None:
        """If the first new worker does not serve, the old workers and their configuration stay."""
        reloading = self.reload()
        self.living[-1].end(status=1)
        self.refused(*reloading)
        self.assertIn("did not start", self.supervisor.problems[0])

    def test_last_new_worker_fails_T49(self) -> None:
        """If a later new worker does not serve, the new ones that serve drain."""
        reloading = self.reload()
        good = self.living[-1]
        good.say("serving")
        self.living[-1].end(status=1)
        self.assertEqual(good.asked, ["drain"])
        self.refused(*reloading)

    def test_new_worker_ends_before_all_serve_T49(self) -> None:
        """If a new worker ends before all others serve, the reload is refused."""
        reloading = self.reload()
        good = self.living[-1]
        good.say("serving")
        good.end(status=None)
        self.living[-1].say("serving")
        self.refused(*reloading)

    def test_new_worker_cannot_be_started_T49(self) -> None:
        """If the system cannot start another process, the reload is refused."""
        reloading = self.reload()
        self.reactor.is_full = True
        self.living[-1].say("serving")
        self.refused(*reloading)
        self.assertIn("no room", self.supervisor.problems[0])

    def test_worker_lost_during_a_refused_reload_is_replaced_T49(self) -> None:
        """A worker lost during a refused reload is replaced, with the old configuration."""
        reloading, before = self.reload()
        self.other.end(status=None)
        self.living[-1].end(status=1)
        self.successResultOf(reloading)
        self.reactor.advance(1)
        self.assertEqual(len(self.living), 2)
        kept = self.reactor.processes[-1].descriptors[6]
        self.assertEqual(kept, self.supervisor.pool.config.descriptor)
        self.assertIs(self.supervisor.pool.config.config, before)

    def test_second_reload_waits_for_the_first(self) -> None:
        """A second reload starts when the first one is done."""
        first, second = self.supervisor.reload(), self.supervisor.reload()
        for _ in range(2):
            self.living[-1].say("serving")
        self.successResultOf(first)
        self.assertNoResult(second)
        for _ in range(2):
            self.living[-1].say("serving")
        self.successResultOf(second)

    def test_new_workers_know_that_the_service_was_up_T49(self) -> None:
        """
        New workers learn that the service was up, so that an unusable store does
        not end them.
        """
        self.supervisor.reload()
        self.assertIn("AUTHOTRON_HAS_SERVED", self.reactor.processes[-1].environ)

    def test_number_of_workers_changes_on_reload(self) -> None:
        """A reload with fewer workers starts fewer than it drains, and needs no restart."""
        self.over = {"server": {"workers": 1}}
        with capturedLogs() as events:
            done = self.supervisor.reload()
            self.living[-1].say("serving")
        self.successResultOf(done)
        self.assertEqual(len(self.living), 1)
        told = {event.get("event") for event in events}
        self.assertIn("startup.config.reloaded", told)
        self.assertNotIn("startup.config.restart", told)

    def test_changed_sockets_need_a_restart(self) -> None:
        """A reload that changes the sockets logs that a restart is needed."""
        self.over = {"server": {"workers": 1, "port": 8888}}
        with capturedLogs() as events:
            self.supervisor.reload()
            self.living[-1].say("serving")
        self.assertIn("startup.config.restart", {event.get("event") for event in events})


class RefusedTests(SupervisorCase):
    """Workers that find their token store unusable."""

    TOLD = "store: is of another version"

    def setUp(self) -> None:
        super().setUp()
        for process in self.living:
            process.answers["metrics"] = Metrics().counted()

    def come(self, *, finds: bool) -> None:
        """Let the last worker serve, and perhaps report that its store is unusable."""
        came = self.living[-1]
        came.answers.update(metrics=Metrics().counted(), ready={})
        if finds:
            came.say("refused", [self.TOLD])
        came.say("serving")

    def reads(self, *, failures: int, successes: int, good: bool) -> None:
        """Verify the metrics of reloads, and the problems."""
        text = self.text()
        for sample in (
            f'authotron_reloads_total{{result="failure"}} {failures}.0',
            f'authotron_reloads_total{{result="success"}} {successes}.0',
            f"authotron_last_reload_successful {float(good)}",
        ):
            self.assertIn(sample + "\n", text)
        self.assertEqual(self.supervisor.problems == (), good)

    def test_successful_reload_is_counted(self) -> None:
        """The last reload counts as successful before the first reload and after a good one."""
        self.reads(failures=0, successes=0, good=True)
        self.supervisor.reload()
        for _ in range(2):
            self.come(finds=False)
        self.reads(failures=0, successes=1, good=True)

    def test_invalid_configuration_is_counted(self) -> None:
        """An invalid configuration is counted as a failed reload."""
        self.over = {"jwt": {"exp": -1}}
        self.supervisor.reload()
        self.reads(failures=1, successes=0, good=False)

    def test_unusable_store_during_a_reload_is_one_failure(self) -> None:
        """Workers that find the store unusable during a reload make that reload fail once."""
        self.supervisor.reload()
        for _ in range(2):
            self.come(finds=True)
        self.reads(failures=1, successes=0, good=False)
        told = self.successResultOf(Deferred.fromCoroutine(self.supervisor.readiness()))
        self.assertEqual(told["last_reload"], [self.TOLD])
        self.supervisor.reload()
        for _ in range(2):
            self.come(finds=False)
        self.reads(failures=1, successes=1, good=True)

    def test_unusable_store_after_a_reload_is_one_failure(self) -> None:
        """Workers that find the store unusable later, however many, are one failed reload."""
        self.supervisor.reload()
        for _ in range(2):
            self.come(finds=False)
        for process in self.living:
            process.say("refused", [self.TOLD])
        self.living[0].end(status=None)
        self.reactor.advance(0.1)
        self.come(finds=True)
        self.reads(failures=1, successes=1, good=False)


class InvalidationTests(SupervisorCase):
    """Invalidation of cached decisions after a change of an API token."""

    def ask(self) -> None:
        self.one.send({"say": "invalidate", "number": 9})

    def test_other_workers_confirm_before_the_answer_T42(self) -> None:
        """All other workers clear their caches before the worker that asked gets the answer."""
        del self.other.answers["invalidate"]
        self.ask()
        self.assertEqual((self.other.asked, self.one.told), (["invalidate"], []))
        self.other.send({"to": 0, "with": None})
        self.assertEqual(self.one.told, [{"to": 9, "with": None}])

    def test_ids_of_tokens_are_forwarded_T83d(self) -> None:
        """The ids of the API tokens that were changed are forwarded to the other workers."""
        self.one.send({"say": "invalidate", "number": 9, "with": ["one"]})
        self.assertEqual(self.other.given[-1], ["one"])

    def test_ended_worker_need_not_confirm_T42(self) -> None:
        """A worker that ends meanwhile need not confirm."""
        del self.other.answers["invalidate"]
        self.ask()
        self.other.end(status=None)
        self.assertEqual(self.one.told, [{"to": 9, "with": None}])

    def test_failed_confirmation_fails_the_invalidation_T42(self) -> None:
        """If a worker that runs does not confirm, the invalidation fails."""
        del self.other.answers["invalidate"]
        self.ask()
        self.other.send({"to": 0, "failed": True})
        self.assertEqual(self.one.told, [{"to": 9, "failed": True}])
        self.assertEqual(len(self.flushLoggedErrors()), 1)


class ForwardingTests(SupervisorCase):
    """Messages that one worker sends to all others."""

    def test_wrong_passwords_are_forwarded_S_LOCK(self) -> None:
        """What one worker notes about wrong passwords is sent to all others, and not back."""
        for word in ("wrong_pair", "right_pair"):
            self.one.say(word, {"user": "ab"})
            self.assertEqual((self.one.asked, self.other.asked[-1]), ([], word))

    def test_verified_names_are_forwarded_T84d(self) -> None:
        """A user name that one worker has verified is sent to all others."""
        self.one.say("trusted", "ab")
        self.assertEqual((self.one.asked, self.other.asked[-1]), ([], "trusted"))

    def test_workers_of_a_configuration_share_a_hash_key_S_LOCK(self) -> None:
        """All workers of one configuration hash with the same key, which is used only there."""
        given = self.load()
        descriptor = SealedConfig.of(given).descriptor
        found = [spawning.read_config(os.dup(descriptor)) for _ in range(2)]
        self.assertEqual({each.hash_key for each in found}, {given.hash_key})
        self.assertNotEqual(self.load().hash_key, given.hash_key)
        os.close(descriptor)


class MetricsTests(SupervisorCase):
    """Metrics of all workers."""

    def test_metrics_of_all_workers_are_added(self) -> None:
        """Counters, histograms and gauges of all workers are added up."""
        for number, process in enumerate((self.one, self.other), start=1):
            metrics = Metrics()
            for _ in range(number):
                metrics.request_authenticated("success", "here", 0.001 * number)
            metrics.request_started("GET")
            metrics.watch("some_gauge", "about it", partial(int, 10 * number))
            process.answers["metrics"] = metrics.counted()
        text = self.text()
        for sample in (
            'auth_requests_total{realm="here",result="success"} 3.0',
            'auth_duration_seconds_bucket{le="0.001",realm="here",result="success"} 1.0',
            'auth_duration_seconds_count{realm="here",result="success"} 3.0',
            'auth_duration_seconds_sum{realm="here",result="success"} 0.005',
            'authotron_http_requests_in_flight{method="GET"} 2.0',
            "some_gauge 30.0",
            "authotron_workers 2.0",
        ):
            with self.subTest(sample):
                self.assertIn(sample + "\n", text)

    def test_counters_of_ended_workers_stay(self) -> None:
        """Counters of ended workers stay in the sum; their gauges do not."""
        metrics = Metrics()
        metrics.request_authenticated("success", "here", 1)
        metrics.request_started("GET")
        metrics.watch("some_gauge", "about it", lambda: 5)
        self.one.say("alive", metrics.counted())
        self.one.end(status=None)
        self.other.answers["metrics"] = Metrics().counted()
        text = self.text()
        self.assertIn('auth_requests_total{realm="here",result="success"} 1.0', text)
        self.assertIn('authotron_http_requests_in_flight{method="GET"} 0.0', text)
        self.assertIn("some_gauge 0.0", text)

    def test_no_sum_decreases_when_a_worker_ends(self) -> None:
        """No sum of durations decreases when a worker ends, whatever the order of addition."""
        for process, seconds in ((self.one, 0.1), (self.other, 0.2)):
            metrics = Metrics()
            metrics.request_authenticated("success", "here", seconds)
            metrics.request_authenticated("success", "there", 0.3 - seconds)
            process.answers["metrics"] = metrics.counted()
            process.say("alive", metrics.counted())
        metrics = Metrics()
        for realm in ("here", "there"):
            metrics.request_authenticated("success", realm, 0.3)
        self.supervisor.pool.metrics.own.add(metrics.counted())
        before = self.sums()
        self.other.end(status=None)
        self.assertEqual(self.sums(), before)

    def sums(self) -> list[str]:
        return [line for line in self.text().splitlines() if "auth_duration_seconds_sum" in line]

    def test_blocked_worker_counts_with_its_last_report(self) -> None:
        """A worker that does not answer is counted with its last report, after a timeout."""
        metrics = Metrics()
        metrics.request_authenticated("success", "here", 1)
        self.one.say("alive", metrics.counted())
        self.other.answers["metrics"] = Metrics().counted()
        asked = Deferred.fromCoroutine(self.supervisor.metrics(""))
        self.assertNoResult(asked)
        self.reactor.advance(worker_metrics.TIMEOUT)
        text = self.successResultOf(asked)[0].decode()
        self.assertIn('auth_requests_total{realm="here",result="success"} 1.0', text)


class ReadyTests(SupervisorCase):
    """Readiness, as C{/ready} shows it."""

    def ready(self) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(self.supervisor.readiness()))

    def test_one_worker_reports_the_remotes(self) -> None:
        """/ready shows what one worker reports about remotes, and the state of all workers."""
        self.one.answers["ready"] = {"ready": True, "parts": ["some"], "version": "x"}
        told = self.ready()
        self.assertEqual((told["ready"], told["parts"]), (True, ["some"]))
        self.assertEqual([each["state"] for each in told["workers"]], ["serving"] * 2)

    def test_not_ready_without_workers(self) -> None:
        """Without workers the service is not ready."""
        for process in self.living:
            process.end(status=None)
        self.assertFalse(self.ready()["ready"])


class StopTests(SupervisorCase):
    """Stop by SIGTERM."""

    def test_stop_ends_a_reload(self) -> None:
        """A reload in progress ends when the service stops: no worker is left."""
        reloading = self.supervisor.reload()
        stopped = maybeDeferred(self.supervisor.stopService)
        self.successResultOf(stopped)
        self.successResultOf(reloading)
        self.assertEqual(self.living, [])
        self.assertEqual(self.supervisor.problems, ())

    def test_all_workers_drain_and_the_socket_closes(self) -> None:
        """All workers drain, then the socket is closed, and no worker starts again."""
        stopped = maybeDeferred(self.supervisor.stopService)
        self.successResultOf(stopped)
        self.assertFalse(self.reactor.port.open)
        self.reactor.advance(60)
        self.assertEqual(self.living, [])

    def test_worker_that_outlives_the_grace_is_killed(self) -> None:
        """A worker that still runs after the grace is killed."""
        self.one.answers.clear()
        stopped = maybeDeferred(self.supervisor.stopService)
        self.pass_beats(12, self.one)
        self.assertNoResult(stopped)
        self.assertEqual(self.one.signals, ["KILL"])
        self.one.end(status=None)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
