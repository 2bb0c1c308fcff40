"""Several processes under one, which are played by the test."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from functools import partial
from typing import Any

from attrs import define, field
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
    """A listening port that nobody accepts from."""

    reads, open = True, True

    def stopReading(self) -> None:
        self.reads = False

    def fileno(self) -> int:
        return 40

    def stopListening(self) -> Deferred[None]:
        self.open = False
        return succeed(None)


@define(eq=False)
class Process:
    """
    A worker that does what the test says.

    @ivar answers: what it says when it is asked; it leaves other questions open.
    @ivar given: what came with the questions.
    @ivar told: the answers that it got.
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
    """Starts processes that are played."""

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
    """Something that fails when it is called."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


class SupervisorCase(SynchronousTestCase):
    """How to have one, and workers that serve."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.over: dict[str, Any] = {"server": {"workers": 2}}
        self.supervisor = Supervisor(self.load, self.load(), self.reactor)
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
    """How they come to serve."""

    def test_sockets(self) -> None:
        """The socket is held, left to the workers, and handed to each of them."""
        self.assertFalse(self.reactor.port.reads)
        for process in self.reactor.processes:
            self.assertEqual(process.descriptors[3], 40)

    def test_door_T85b(self) -> None:
        """The metrics port that it serves has a limit of connections, which are counted."""
        [listener] = self.supervisor._listeners
        second: Any = listener.site
        opened = [second.buildProtocol(None) for _ in range(65)]
        self.assertIsInstance(opened[-1], Overloaded)
        self.assertNotIsInstance(opened[-2], Overloaded)
        text, _ = self.supervisor.pool.metrics.own.text()
        self.assertIn("authotron_connections_refused_total 1.0", text.decode())

    def test_served(self) -> None:
        """It serves as soon as all do."""
        self.successResultOf(self.supervisor.served)
        another = Supervisor(self.load, self.load(), Reactor())
        another.startService()
        self.assertNoResult(another.served)

    def test_never(self) -> None:
        """If the first ones exit before they serve, so does the service, with their status."""
        reactor = Reactor()
        another = Supervisor(self.load, self.load(), reactor)
        another.startService()
        reactor.processes[0].end(status=78)
        self.assertEqual((another.status, reactor.stopped), (78, True))

    def test_environment(self) -> None:
        """What systemd says to the supervisor is not for the workers."""
        environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "AOT_JWT__SECRET": "y"}
        found = spawning.environment(1, environ)
        self.assertEqual(found, {"AUTHOTRON_WORKER": "1", "AOT_JWT__SECRET": "y"})

    def test_configuration(self) -> None:
        """It is handed over whole, secrets included, and any number may read it."""
        given = self.load()
        descriptor = SealedConfig.of(given).descriptor
        found = [spawning.read_config(os.dup(descriptor)) for _ in range(2)]
        os.close(descriptor)
        self.assertEqual([each.file for each in found], [given.file] * 2)
        self.assertEqual(found[0].providers, given.providers)

    def test_sealed(self) -> None:
        """What is handed over cannot be changed by those who get it."""
        descriptor = SealedConfig.of(self.load()).descriptor
        self.addCleanup(os.close, descriptor)
        for change in (
            lambda: os.pwrite(descriptor, b"x", 0),
            lambda: os.pwrite(descriptor, b"x", os.fstat(descriptor).st_size),
            lambda: os.truncate(descriptor, 1),
            lambda: fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, 0),
        ):
            self.assertRaises(PermissionError, change)

    def test_places(self) -> None:
        """Sockets come first, where systemd has them, too."""
        filled = Descriptors(2).as_child_fds([40, 41], 50)
        self.assertEqual(filled, {0: 0, 1: 1, 2: 2, 3: 40, 4: 41, 5: "w", 6: "r", 7: 50})


class LossTests(SupervisorCase):
    """Workers that end, or might as well."""

    def test_replaced(self) -> None:
        """One that dies is replaced, the second time not as soon as the first."""
        self.one.end(status=None)
        self.reactor.advance(0.1)
        self.assertEqual(len(self.living), 2)
        self.living[-1].end(status=None)
        self.reactor.advance(0.1)
        self.assertEqual(len(self.living), 1)
        self.reactor.advance(0.1)
        self.assertEqual(len(self.living), 2)

    def test_at_most(self) -> None:
        """However often it dies, it is tried again within ten seconds."""
        for _ in range(20):
            self.reactor.processes[-1].end(status=None)
            self.reactor.advance(10)
        self.assertEqual(len(self.living), 2)

    def test_no_room(self) -> None:
        """If the system has no room for another one, it is tried again."""
        self.reactor.is_full = True
        self.one.end(status=None)
        self.reactor.advance(0.1)
        self.reactor.is_full = False
        self.assertEqual(len(self.living), 1)
        self.reactor.advance(0.2)
        self.assertEqual(len(self.living), 2)

    def test_steady(self) -> None:
        """One that dies after it had served for a while is replaced at once."""
        for _ in range(3):
            victim = self.living[-1]
            victim.say("serving")
            self.pass_beats(11, *self.living)
            victim.end(status=None)
            self.reactor.advance(0.1)
            self.assertEqual(len(self.living), 2)

    def test_silent(self) -> None:
        """One that says nothing for a few beats is killed; others are not."""
        self.pass_beats(MAX_MISSED + 1, self.other)
        self.assertEqual((self.one.signals, self.other.signals), (["KILL"], []))
        self.one.end(status=None)
        self.assertIn('authotron_workers_lost_total{reason="blocked"} 1.0', self.text_of_dead())

    def text_of_dead(self) -> str:
        self.other.answers["metrics"] = Metrics().counted()
        return self.text()

    def test_clock_jumps(self) -> None:
        """A clock that jumps, or a machine that slept, kills nobody."""
        self.reactor.advance(3600)
        self.assertEqual(self.one.signals, [])

    def test_slow_start(self) -> None:
        """One that has yet to serve has more time, but not for ever."""
        self.one.end(status=None)
        self.reactor.advance(0.1)
        late = self.living[-1]
        self.pass_beats(MAX_MISSED_AT_START, self.other)
        self.assertEqual(late.signals, [])
        self.pass_beats(1, self.other)
        self.assertEqual(late.signals, ["KILL"])

    def test_nonsense(self) -> None:
        """One that makes no sense is killed."""
        self.one.child.childDataReceived(5, b"what?\n")
        self.assertEqual(self.one.signals, ["KILL"])

    def test_bad_configuration(self) -> None:
        """78 after it had served, as of a store that must not be used, ends the service."""
        self.one.end(status=78)
        self.assertEqual((self.supervisor.status, self.reactor.stopped), (78, True))

    def test_one_bad_among_good(self) -> None:
        """
        78 of one that takes the place of a dead one does not end the others.

        Such as of a key file that is being replaced just then.
        """
        self.pass_beats(11, self.one, self.other)
        self.one.end(status=None)
        self.reactor.advance(0.1)
        self.living[-1].end(status=78)
        self.assertEqual((self.supervisor.status, self.reactor.stopped), (0, False))
        self.reactor.advance(0.2)
        self.assertEqual(len(self.living), 2)

    def test_proven(self) -> None:
        """One that comes later is told that the service was up, the first ones are not."""
        self.pass_beats(11, self.one, self.other)
        self.one.end(status=None)
        self.reactor.advance(0.1)
        told = ["AUTHOTRON_HAS_SERVED" in process.environ for process in self.reactor.processes]
        self.assertEqual(told, [False, False, True])

    def test_counts_nonsense(self) -> None:
        """One that counts nonsense and dies is replaced, and the metrics of others are shown."""
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
    """SIGHUP."""

    def test_all_serve_T49(self) -> None:
        """The old ones go when all new ones serve, and not before; they come one at a time."""
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

    def test_bad_T49(self) -> None:
        """A bad one starts nobody, and is told."""
        self.over = {"jwt": {"exp": -1}}
        self.successResultOf(self.supervisor.reload())
        self.assertEqual(self.living, [self.one, self.other])
        self.assertIn("jwt.exp", self.supervisor.problems[0])

    def test_unreadable_key_T49(self) -> None:
        """A key that cannot be read is a bad configuration, too."""
        self.over = {"server": {"workers": 2}, "jwt": {"alg": "ES256", "key_file": "/nowhere"}}
        self.successResultOf(self.supervisor.reload())
        self.assertIn("/nowhere", self.supervisor.problems[0])

    def refused(self, done: Deferred[None], before: Config) -> None:
        """Nobody but the old ones serves, with what they had, and they were not disturbed."""
        self.successResultOf(done)
        self.reactor.advance(20)
        self.assertEqual(self.living, [self.one, self.other])
        self.assertEqual(self.one.asked + self.other.asked, [])
        self.assertIs(self.supervisor.pool.config.config, before)
        kept = spawning.read_config(os.dup(self.supervisor.pool.config.descriptor))
        self.assertEqual(kept.file, before.file)

    def reload(self) -> tuple[Deferred[None], Config]:
        """One that has just begun, and the configuration before."""
        before = self.supervisor.pool.config.config
        self.over["jwt"] = {"iss": "other"}
        return self.supervisor.reload(), before

    def test_defect_D8(self) -> None:
        """Whatever fails while new workers start, the old ones and their configuration stay."""
        for error in (ValueError("canary"), CancelledError(), MemoryError()):
            with self.subTest(repr(error)):
                reloading = self.reload()
                good = self.living[-1]
                spawn = self.reactor.spawnProcess
                self.reactor.spawnProcess = raising(error)  # type: ignore[method-assign] # for once
                good.say("serving")
                self.reactor.spawnProcess = spawn  # type: ignore[method-assign] # as it was
                self.assertEqual(good.asked, ["drain"])
                self.refused(*reloading)
                self.assertIn("reload failed", self.supervisor.problems[0])
                self.assertEqual((self.supervisor.status, self.reactor.stopped), (0, False))
                self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)
                self.assertFalse(self.supervisor.pool._is_replacing)

    def test_defect_of_the_file_D8(self) -> None:
        """If reading the configuration fails by a defect, the old workers stay, too."""
        before = self.supervisor.pool.config.config
        self.patch(self.supervisor._reloader, "_load", raising(KeyError("canary")))
        self.refused(self.supervisor.reload(), before)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_does_not_start_T49(self) -> None:
        """If a new one does not come to serve, the old ones stay, and their configuration."""
        reloading = self.reload()
        self.living[-1].end(status=1)
        self.refused(*reloading)
        self.assertIn("did not start", self.supervisor.problems[0])

    def test_last_does_not_start_T49(self) -> None:
        """If it is not the first, those that already serve with the new configuration go."""
        reloading = self.reload()
        good = self.living[-1]
        good.say("serving")
        self.living[-1].end(status=1)
        self.assertEqual(good.asked, ["drain"])
        self.refused(*reloading)

    def test_does_not_stay_T49(self) -> None:
        """So it is if one serves but ends before the others have come."""
        reloading = self.reload()
        good = self.living[-1]
        good.say("serving")
        good.end(status=None)
        self.living[-1].say("serving")
        self.refused(*reloading)

    def test_cannot_be_started_T49(self) -> None:
        """So it is if the system has no room for another process."""
        reloading = self.reload()
        self.reactor.is_full = True
        self.living[-1].say("serving")
        self.refused(*reloading)
        self.assertIn("no room", self.supervisor.problems[0])

    def test_dies_meanwhile_T49(self) -> None:
        """Who dies during a reload that is refused gets a successor like the others."""
        reloading, before = self.reload()
        self.other.end(status=None)
        self.living[-1].end(status=1)
        self.successResultOf(reloading)
        self.reactor.advance(1)
        self.assertEqual(len(self.living), 2)
        kept = self.reactor.processes[-1].descriptors[6]
        self.assertEqual(kept, self.supervisor.pool.config.descriptor)
        self.assertIs(self.supervisor.pool.config.config, before)

    def test_twice(self) -> None:
        """A second reload waits for the first."""
        first, second = self.supervisor.reload(), self.supervisor.reload()
        for _ in range(2):
            self.living[-1].say("serving")
        self.successResultOf(first)
        self.assertNoResult(second)
        for _ in range(2):
            self.living[-1].say("serving")
        self.successResultOf(second)

    def test_proven_T49(self) -> None:
        """New ones know that the service was up: a store that is no good does not end them."""
        self.supervisor.reload()
        self.assertIn("AUTHOTRON_HAS_SERVED", self.reactor.processes[-1].environ)

    def test_fewer(self) -> None:
        """A smaller number lets more go than come."""
        self.over = {"server": {"workers": 1}}
        with capturedLogs() as events:
            done = self.supervisor.reload()
            self.living[-1].say("serving")
        self.successResultOf(done)
        self.assertEqual(len(self.living), 1)
        told = {event.get("event") for event in events}
        self.assertIn("startup.config.reloaded", told)
        self.assertNotIn("startup.config.restart", told)

    def test_restart(self) -> None:
        """New ones cannot have other sockets; that a restart is needed for them is told."""
        self.over = {"server": {"workers": 1, "port": 8888}}
        with capturedLogs() as events:
            self.supervisor.reload()
            self.living[-1].say("serving")
        self.assertIn("startup.config.restart", {event.get("event") for event in events})


class RefusedTests(SupervisorCase):
    """Workers find that the store must not be used, which the supervisor cannot know."""

    TOLD = "store: is of another version"

    def setUp(self) -> None:
        super().setUp()
        for process in self.living:
            process.answers["metrics"] = Metrics().counted()

    def come(self, *, finds: bool) -> None:
        """The last one serves, and may find that the store is no good."""
        came = self.living[-1]
        came.answers.update(metrics=Metrics().counted(), ready={})
        if finds:
            came.say("refused", [self.TOLD])
        came.say("serving")

    def reads(self, *, failures: int, successes: int, good: bool) -> None:
        """What a scrape shows, and C{/ready}."""
        text = self.text()
        for sample in (
            f'authotron_reloads_total{{result="failure"}} {failures}.0',
            f'authotron_reloads_total{{result="success"}} {successes}.0',
            f"authotron_last_reload_successful {float(good)}",
        ):
            self.assertIn(sample + "\n", text)
        self.assertEqual(self.supervisor.problems == (), good)

    def test_good(self) -> None:
        """Until there was a reload, and after one that was good, all is well."""
        self.reads(failures=0, successes=0, good=True)
        self.supervisor.reload()
        for _ in range(2):
            self.come(finds=False)
        self.reads(failures=0, successes=1, good=True)

    def test_bad_file(self) -> None:
        """A bad file is told."""
        self.over = {"jwt": {"exp": -1}}
        self.supervisor.reload()
        self.reads(failures=1, successes=0, good=False)

    def test_meanwhile(self) -> None:
        """What they find before all have come makes the reload a failure, one, until it is good."""
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

    def test_later(self) -> None:
        """However many find it later, or come in the place of one that did, it is one failure."""
        self.supervisor.reload()
        for _ in range(2):
            self.come(finds=False)
        for process in self.living:
            process.say("refused", [self.TOLD])
        self.living[0].end(status=None)
        self.reactor.advance(0.1)
        self.come(finds=True)
        self.reads(failures=1, successes=1, good=False)


class ForgetTests(SupervisorCase):
    """A token was changed."""

    def ask(self) -> None:
        self.one.send({"say": "invalidate", "number": 9})

    def test_all_T42(self) -> None:
        """All others forget before who asked is told."""
        del self.other.answers["invalidate"]
        self.ask()
        self.assertEqual((self.other.asked, self.one.told), (["invalidate"], []))
        self.other.send({"to": 0, "with": None})
        self.assertEqual(self.one.told, [{"to": 9, "with": None}])

    def test_token_T83d(self) -> None:
        """Which API tokens were changed is passed on."""
        self.one.send({"say": "invalidate", "number": 9, "with": ["one"]})
        self.assertEqual(self.other.given[-1], ["one"])

    def test_dead_T42(self) -> None:
        """The dead repeat nothing."""
        del self.other.answers["invalidate"]
        self.ask()
        self.other.end(status=None)
        self.assertEqual(self.one.told, [{"to": 9, "with": None}])

    def test_failed_T42(self) -> None:
        """Who lives and has not forgotten makes it no success."""
        del self.other.answers["invalidate"]
        self.ask()
        self.other.send({"to": 0, "failed": True})
        self.assertEqual(self.one.told, [{"to": 9, "failed": True}])
        self.assertEqual(len(self.flushLoggedErrors()), 1)


class WrongPairsTests(SupervisorCase):
    """A remote has refused a user and a password."""

    def test_passed_on_S_LOCK(self) -> None:
        """What one worker tells of it all others hear, and it does not."""
        for word in ("wrong_pair", "right_pair"):
            self.one.say(word, {"user": "ab"})
            self.assertEqual((self.one.asked, self.other.asked[-1]), ([], word))

    def test_trusted_T84d(self) -> None:
        """All workers but the one that tells hear of a user name that was verified."""
        self.one.say("trusted", "ab")
        self.assertEqual((self.one.asked, self.other.asked[-1]), ([], "trusted"))

    def test_one_key_S_LOCK(self) -> None:
        """All workers of a configuration hash by the same key, and those of another by another."""
        given = self.load()
        descriptor = SealedConfig.of(given).descriptor
        found = [spawning.read_config(os.dup(descriptor)) for _ in range(2)]
        self.assertEqual({each.hash_key for each in found}, {given.hash_key})
        self.assertNotEqual(self.load().hash_key, given.hash_key)
        os.close(descriptor)


class MetricsTests(SupervisorCase):
    """The sum."""

    def test_sum(self) -> None:
        """Counters, durations and gauges of all."""
        for number, process in enumerate((self.one, self.other), start=1):
            metrics = Metrics()
            for _ in range(number):
                metrics.judged("success", "here", 0.001 * number)
            metrics.request_began("GET")
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

    def test_dead(self) -> None:
        """What the dead have counted stays; how they fared does not."""
        metrics = Metrics()
        metrics.judged("success", "here", 1)
        metrics.request_began("GET")
        metrics.watch("some_gauge", "about it", lambda: 5)
        self.one.say("alive", metrics.counted())
        self.one.end(status=None)
        self.other.answers["metrics"] = Metrics().counted()
        text = self.text()
        self.assertIn('auth_requests_total{realm="here",result="success"} 1.0', text)
        self.assertIn('authotron_http_requests_in_flight{method="GET"} 0.0', text)
        self.assertIn("some_gauge 0.0", text)

    def test_sum_of_the_dead(self) -> None:
        """No sum becomes less by a hair when one ends, though others are added up before it."""
        for process, seconds in ((self.one, 0.1), (self.other, 0.2)):
            metrics = Metrics()
            metrics.judged("success", "here", seconds)
            metrics.judged("success", "there", 0.3 - seconds)
            process.answers["metrics"] = metrics.counted()
            process.say("alive", metrics.counted())
        metrics = Metrics()
        for realm in ("here", "there"):
            metrics.judged("success", realm, 0.3)
        self.supervisor.pool.metrics.own.add(metrics.counted())
        before = self.sums()
        self.other.end(status=None)
        self.assertEqual(self.sums(), before)

    def sums(self) -> list[str]:
        return [line for line in self.text().splitlines() if "auth_duration_seconds_sum" in line]

    def test_blocked(self) -> None:
        """One that does not answer holds nobody up; its last word counts."""
        metrics = Metrics()
        metrics.judged("success", "here", 1)
        self.one.say("alive", metrics.counted())
        self.other.answers["metrics"] = Metrics().counted()
        asked = Deferred.fromCoroutine(self.supervisor.metrics(""))
        self.assertNoResult(asked)
        self.reactor.advance(worker_metrics.TIMEOUT)
        text = self.successResultOf(asked)[0].decode()
        self.assertIn('auth_requests_total{realm="here",result="success"} 1.0', text)


class ReadyTests(SupervisorCase):
    """C{/ready}."""

    def ready(self) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(self.supervisor.readiness()))

    def test_ready(self) -> None:
        """One of the workers says who can be reached."""
        self.one.answers["ready"] = {"ready": True, "parts": ["some"], "version": "x"}
        told = self.ready()
        self.assertEqual((told["ready"], told["parts"]), (True, ["some"]))
        self.assertEqual([each["state"] for each in told["workers"]], ["serving"] * 2)

    def test_nobody(self) -> None:
        """Without workers more requests are not welcome."""
        for process in self.living:
            process.end(status=None)
        self.assertFalse(self.ready()["ready"])


class StopTests(SupervisorCase):
    """SIGTERM."""

    def test_amid_reload(self) -> None:
        """A reload that is under way ends with the service: nobody comes who would not go."""
        reloading = self.supervisor.reload()
        stopped = maybeDeferred(self.supervisor.stopService)
        self.successResultOf(stopped)
        self.successResultOf(reloading)
        self.assertEqual(self.living, [])
        self.assertEqual(self.supervisor.problems, ())

    def test_drained(self) -> None:
        """All are let go; then the socket is closed, and nobody comes again."""
        stopped = maybeDeferred(self.supervisor.stopService)
        self.successResultOf(stopped)
        self.assertFalse(self.reactor.port.open)
        self.reactor.advance(60)
        self.assertEqual(self.living, [])

    def test_killed(self) -> None:
        """Who is still there after the grace is killed."""
        self.one.answers.clear()
        stopped = maybeDeferred(self.supervisor.stopService)
        self.pass_beats(12, self.one)
        self.assertNoResult(stopped)
        self.assertEqual(self.one.signals, ["KILL"])
        self.one.end(status=None)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
