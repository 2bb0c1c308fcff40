"""Several worker processes that serve one gateway."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import USERS, Daemon, awkward
from tests.functional.test_tokens import ALICE, bearer, new
from tests.waiting import DEADLINE, until

COUNT = 2
ASK = wire.head("/authenticate", ALICE)
BOB = {"username": "bob", "password": "builder"}


def workers(daemon: Daemon) -> dict[int, str]:
    """Return the workers and their states."""
    told = wire.ask(daemon.operations, "/ready").json()["workers"]
    return {worker["pid"]: worker["state"] for worker in told}


def all_serve(daemon: Daemon) -> bool:
    return list(workers(daemon).values()) == ["serving"] * COUNT


def gone(pid: int) -> bool:
    """Return whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Traffic:
    """Clients that send requests as fast as they get answers, half of them on one connection."""

    def __init__(self, port: int, clients: int = 6) -> None:
        self._port = port
        self._over = Event()
        self.good = 0
        self.bad: list[str] = []
        ways = (self._lasting, self._fresh)
        self._clients = [Thread(target=ways[n % 2], daemon=True) for n in range(clients)]
        for client in self._clients:
            client.start()

    def more(self, count: int) -> None:
        """Wait for a number of further answers."""
        wanted = self.good + count
        until(lambda: self.good >= wanted, f"{count} more answers", otherwise=lambda: str(self.bad))

    def stop(self) -> None:
        self._over.set()
        for client in self._clients:
            client.join(DEADLINE)

    def _fresh(self) -> None:
        while not self._over.is_set():
            self._count(
                wire.say, self._port, ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            )

    def _lasting(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError), wire.connect(self._port) as connection:
                while not self._over.is_set() and self._count(self._again, connection):
                    pass

    def _again(self, connection: socket.socket) -> wire.Answer | None:
        connection.sendall(ASK)
        return wire.receive(connection)

    def _count(self, ask: Any, *given: Any) -> bool:
        """Count an answer; return whether the connection may be used again."""
        try:
            answer = ask(*given)
        except OSError as error:
            self.bad.append(repr(error))
            return False
        if answer is None or answer.status != 200:
            self.bad.append(str(answer and answer.status))
            return False
        self.good += 1
        return bool(answer.header("connection") != "close")


class WorkersCase(SynchronousTestCase):
    """A gateway with two workers."""

    def start(self, **over: Any) -> Daemon:
        server = {"workers": COUNT, **over.pop("server", {})}
        daemon = Daemon(Path(self.mktemp())).configure(server=server, **over).start()
        self.addCleanup(daemon.stop)
        return self.complete(daemon)

    def complete(self, daemon: Daemon) -> Daemon:
        until(lambda: all_serve(daemon), "all serve", otherwise=daemon.log)
        return daemon

    def traffic(self, daemon: Daemon) -> Traffic:
        traffic = Traffic(daemon.port)
        self.addCleanup(traffic.stop)
        traffic.more(50)
        return traffic

    def reload(self, daemon: Daemon) -> None:
        done = self.reloads(daemon, "success") + 1
        daemon.tell(signal.SIGHUP)
        until(lambda: self.reloads(daemon, "success") == done, "reloaded", otherwise=daemon.log)

    def reloads(self, daemon: Daemon, result: str) -> float:
        return daemon.metric(f'authotron_reloads_total{{result="{result}"}}')

    def answered(self, daemon: Daemon) -> float:
        return daemon.metric('auth_requests_total{realm="here",result="success"}')


class ReloadTests(WorkersCase):
    """SIGHUP replaces all workers."""

    def test_nothing_lost_T49(self) -> None:
        """Under traffic no request fails, and after the reload no worker uses the old file."""
        daemon = self.start()
        before = set(workers(daemon))
        traffic = self.traffic(daemon)
        daemon.configure(
            server={"workers": COUNT},
            providers=[{"name": "local", "type": "plain", "realm": "here", "users": [*USERS, BOB]}],
        )
        for _ in range(2):
            self.reload(daemon)
            traffic.more(50)
        traffic.stop()
        self.assertEqual(traffic.bad, [])
        self.assertEqual(before & set(workers(daemon)), set())
        for _ in range(20):
            self.assertEqual(wire.login(daemon.port, "bob", "builder").status, 200)
        until(lambda: all(map(gone, before)), "the old ones are gone")

    def test_bad_T49(self) -> None:
        """An invalid file replaces no worker; a dead worker is restarted with the valid file."""
        daemon = self.start()
        before = workers(daemon)
        daemon.configure(server={"workers": COUNT}, jwt={"exp": "soon"})
        daemon.tell(signal.SIGHUP)
        until(lambda: self.reloads(daemon, "failure") == 1, "refused", otherwise=daemon.log)
        self.assertEqual(workers(daemon), before)
        self.assertIn("jwt.exp", str(wire.ask(daemon.operations, "/ready").json()["last_reload"]))
        for victim in before:
            os.kill(victim, signal.SIGKILL)
        until(lambda: not set(before) & set(workers(daemon)), "replaced", otherwise=daemon.log)
        self.complete(daemon)
        self.assertEqual(wire.login(daemon.port, "alice", "wonder").status, 200)

    def test_not_all_start_T49(self) -> None:
        """If a new worker does not start, all workers use the old file, and no request fails."""
        local = {"name": "local", "type": "plain", "realm": "here", "users": [*USERS]}
        daemon = awkward(Path(self.mktemp()), local, server={"workers": COUNT})
        self.addCleanup(daemon.stop)
        before = workers(self.complete(daemon))
        traffic = self.traffic(daemon)
        awkwardly = {"name": "awkward", "type": "awkward", "realm": "here", "times": 2}
        failing = {**awkwardly, "folder": str(daemon.folder)}
        local["users"] = [*USERS, BOB]
        daemon.configure(server={"workers": COUNT}, providers=[local, failing])
        daemon.tell(signal.SIGHUP)  # the supervisor makes it, the first worker, and not the second
        until(lambda: self.reloads(daemon, "failure") == 1, "refused", otherwise=daemon.log)
        until(lambda: workers(daemon) == before, "as it was", otherwise=daemon.log)
        self.assertEqual(daemon.log().count("failed: ValueError"), 1)
        traffic.more(50)
        traffic.stop()
        self.assertEqual(traffic.bad, [])
        for _ in range(20):
            self.assertEqual(wire.login(daemon.port, "bob", "builder").status, 401)

    def test_others_tokens_T49(self) -> None:
        """A foreign store after a reload ends no worker, and no worker that is started later."""
        daemon = self.start()
        path = Path(self.mktemp()).absolute()
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 99")
        daemon.configure(server={"workers": COUNT}, store={"type": "sqlite", "path": str(path)})
        daemon.tell(signal.SIGHUP)
        told = "newer version"
        until(lambda: daemon.log().count(told) == COUNT, told, otherwise=daemon.log)
        until(lambda: self.reloads(daemon, "failure") == 1, "refused", otherwise=daemon.log)
        victim = next(iter(workers(daemon)))
        os.kill(victim, signal.SIGKILL)
        until(lambda: daemon.log().count(told) == COUNT + 1, told, otherwise=daemon.log)
        self.complete(daemon)
        self.assertEqual(wire.login(daemon.port, "alice", "wonder").status, 200)
        self.assertEqual(daemon.metric('authotron_workers_lost_total{reason="died"}'), 1)
        self.assertEqual(self.reloads(daemon, "failure"), 1)
        self.assertEqual(daemon.metric("authotron_last_reload_successful"), 0)
        self.assertIn(told, str(wire.ask(daemon.operations, "/ready").json()["last_reload"]))

    def test_another_number(self) -> None:
        """A reload may change the number of workers."""
        daemon = self.start()
        daemon.configure(server={"workers": 3})
        self.reload(daemon)
        until(lambda: [*workers(daemon).values()] == ["serving"] * 3, "three", otherwise=daemon.log)


class DeathTests(WorkersCase):
    """Workers that die, or do not answer."""

    def test_killed(self) -> None:
        """If a worker is killed, only its own requests are lost, and it is replaced."""
        daemon = self.start()
        traffic = self.traffic(daemon)
        victim = next(iter(workers(daemon)))
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in workers(daemon), "noticed", otherwise=daemon.log)
        self.complete(daemon)
        lost = len(traffic.bad)
        traffic.more(100)
        self.assertLessEqual(lost, 6)  # as many as there are clients
        self.assertEqual(len(traffic.bad), lost)
        self.assertEqual(daemon.metric('authotron_workers_lost_total{reason="died"}'), 1)

    def test_blocked(self) -> None:
        """A worker without heartbeats is killed and replaced."""
        daemon = self.start()
        victim = next(iter(workers(daemon)))
        os.kill(victim, signal.SIGSTOP)
        until(lambda: gone(victim), "killed", otherwise=daemon.log)
        self.complete(daemon)
        self.assertEqual(daemon.metric('authotron_workers_lost_total{reason="blocked"}'), 1)

    def test_stopped_worker_starves_no_client(self) -> None:
        """While a worker is stopped, the other one answers all clients."""
        daemon = self.start()
        victim = next(iter(workers(daemon)))
        os.kill(victim, signal.SIGSTOP)
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(wire.connect(daemon.port)) for _ in range(40)]
            waiting = {*opened}
            for each in opened:
                each.sendall(ASK)
            while waiting and not gone(victim):
                waiting.difference_update(select.select([*waiting], [], [], 0.1)[0])
            answered = len(opened) - len(waiting)
        self.complete(daemon)
        # The stopped worker may have accepted some before it was stopped.
        self.assertGreaterEqual(answered, 36, daemon.log())

    def test_supervisor_killed(self) -> None:
        """Without a supervisor all workers end, so that the next supervisor gets the port."""
        daemon = self.start()
        orphans = workers(daemon)
        daemon.process.kill()
        until(lambda: all(map(gone, orphans)), "ended", otherwise=daemon.log)
        self.complete(daemon.start())


class DistributionTests(WorkersCase):
    """Many clients that connect at once."""

    def smallest_share(
        self, daemon: Daemon, family: socket.AddressFamily, address: tuple[str, int] | str
    ) -> float:
        """Open 64 connections at once; return the share of the worker that has the fewest."""
        pids = [*workers(daemon)]

        def descriptors() -> list[int]:
            return [len([*Path(f"/proc/{pid}/fd").iterdir()]) for pid in pids]

        before = descriptors()
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(socket.socket(family)) for _ in range(64)]
            for each in opened:
                each.connect(address)
            for each in opened:
                each.sendall(ASK)
            for each in opened:
                self.assertEqual(wire.receive(each).status, 200)  # type: ignore[union-attr] # answered
            found = [after - less for after, less in zip(descriptors(), before, strict=True)]
        until(lambda: descriptors() == before, "closed", otherwise=daemon.log)
        self.assertEqual(sum(found), 64)
        return min(found) / 64

    def check(
        self, daemon: Daemon, family: socket.AddressFamily, address: tuple[str, int] | str
    ) -> None:
        shares = sorted(self.smallest_share(daemon, family, address) for _ in range(10))
        self.assertGreaterEqual(shares[1], 0.35, shares)

    def test_tcp(self) -> None:
        """Each of two workers gets at least 35 % of 64 connections in nine of ten bursts."""
        daemon = self.start()
        self.check(daemon, socket.AF_INET, ("127.0.0.1", daemon.port))

    def test_unix_socket(self) -> None:
        """The same holds for a UNIX socket."""
        folder = self.enterContext(TemporaryDirectory())
        path = f"{folder}/socket"
        listen = [f"unix:{path}:mode=600:backlog=256"]
        server = {"port": None, "listen": listen, "workers": COUNT}
        daemon = Daemon(Path(folder)).configure(server=server).start(path)
        self.addCleanup(daemon.stop)
        self.complete(daemon)
        self.check(daemon, socket.AF_UNIX, path)


class RevocationTests(WorkersCase):
    """A revocation at one worker holds for all workers."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.daemon = self.start(store={"type": "sqlite", "path": str(folder / "tokens.db")})
        self.made = new(self.daemon.port)
        self.connections = [wire.connect(self.daemon.port) for _ in range(30)]
        for each in self.connections:
            self.addCleanup(each.close)

    def statuses(self) -> set[int]:
        """Return the answers of all workers, on persistent connections."""
        found = set()
        for each in self.connections:
            each.sendall(wire.head("/authenticate", bearer(self.made["token"])))
            answer = wire.receive(each)
            found.add(answer.status if answer else 0)
        return found

    def all_remember(self) -> bool:
        """Whether each worker remembers the token, after a request on one more connection."""
        self.connections.append(wire.connect(self.daemon.port))
        self.addCleanup(self.connections[-1].close)
        self.assertEqual(self.statuses(), {200})
        return self.daemon.metric("authotron_verdicts_remembered") >= COUNT

    def revoke(self) -> int:
        return wire.ask(self.daemon.port, f"/tokens/{self.made['id']}", ALICE, "DELETE").status

    def test_at_once_T42(self) -> None:
        """Once a revocation is acknowledged, every worker refuses the token that it had cached."""
        until(self.all_remember, "remembered by all", otherwise=self.daemon.log)
        self.assertEqual(self.revoke(), 204)
        self.assertEqual(self.statuses(), {401})

    def test_not_by_the_dead_T42(self) -> None:
        """A worker that cannot be notified is killed before the revocation is acknowledged."""
        victim = next(iter(workers(self.daemon)))
        os.kill(victim, signal.SIGSTOP)
        self.assertEqual(self.revoke(), 204)
        self.assertTrue(gone(victim))


class MetricsTests(WorkersCase):
    """The metrics port shows the metrics of all workers."""

    def test_exact(self) -> None:
        """Counters are exact sums, also after the workers that counted have ended."""
        daemon = self.start()
        for _ in range(60):
            wire.login(daemon.port, "alice", "wonder")
        self.assertEqual(self.answered(daemon), 60)
        self.reload(daemon)
        for _ in range(20):
            wire.login(daemon.port, "alice", "wonder")
        self.assertEqual(self.answered(daemon), 80)
        self.assertEqual(daemon.metric("authotron_workers"), COUNT)

    def test_never_backwards(self) -> None:
        """Counters never decrease, not even if all workers are killed."""
        daemon = self.start()
        for _ in range(20):
            wire.login(daemon.port, "alice", "wonder")
        self.assertEqual(self.answered(daemon), 20)
        before = workers(daemon)
        for victim in before:
            os.kill(victim, signal.SIGKILL)
        until(lambda: not set(before) & set(workers(daemon)), "replaced", otherwise=daemon.log)
        self.assertEqual(self.answered(daemon), 20)

    def test_used(self) -> None:
        """Memory and processor time are sums of all processes."""
        daemon = self.start()
        together = daemon.metric("process_resident_memory_bytes")
        one = max(resident(pid) for pid in workers(daemon))
        self.assertGreater(together, COUNT * one)
        connections = [wire.connect(daemon.port) for _ in range(60)]
        for each in connections:
            self.addCleanup(each.close)
            each.sendall(ASK)
            wire.receive(each)
        self.assertGreater(daemon.metric("process_open_fds"), len(connections) / COUNT)

    def test_used_by_the_dead(self) -> None:
        """The processor time of ended workers is still counted."""
        daemon = self.start()
        before = workers(daemon)
        used = daemon.metric("process_cpu_seconds_total")
        for victim in before:
            os.kill(victim, signal.SIGKILL)
        until(lambda: not set(before) & set(workers(daemon)), "replaced", otherwise=daemon.log)
        self.assertGreaterEqual(daemon.metric("process_cpu_seconds_total"), used)

    def test_health(self) -> None:
        """The health check of the metrics port is answered by the supervisor."""
        self.assertEqual(wire.ask(self.start().operations, "/health").status, 200)


class LifeTests(WorkersCase):
    """Start and stop with several workers."""

    def slow(self) -> tuple[Daemon, dict[int, str], socket.socket]:
        """Start workers, and a slow request that waits for an answer."""
        daemon = awkward(Path(self.mktemp()), server={"grace": 20, "workers": COUNT})
        self.addCleanup(daemon.stop)
        processes = workers(self.complete(daemon))
        connection = wire.connect(daemon.port)
        self.addCleanup(connection.close)
        connection.sendall(
            wire.head("/authenticate", {"Authorization": wire.basic("slow", "secret")})
        )
        until((daemon.folder / "arrived").exists, "in flight", otherwise=daemon.log)
        return daemon, processes, connection

    def finish(self, daemon: Daemon, processes: dict[int, str], connection: socket.socket) -> None:
        """Let the slow request be answered, after which all processes must end."""
        until(lambda: sum(map(gone, processes)) == COUNT - 1, "the idle one has ended")
        (daemon.folder / "go").touch()
        answer = wire.receive(connection)
        assert answer is not None
        self.assertEqual(answer.status, 200)
        self.assertIn(daemon.exit_status(), (0, -signal.SIGTERM))
        self.assertTrue(all(map(gone, processes)))

    def test_in_flight(self) -> None:
        """SIGTERM lets a slow request finish, with several workers."""
        daemon, processes, connection = self.slow()
        daemon.tell(signal.SIGTERM)
        self.finish(daemon, processes, connection)

    def test_terminate_all(self) -> None:
        """SIGTERM to all processes, as C{timeout} sends it, lets a slow request finish."""
        for first in ("workers", "supervisor"):
            with self.subTest(first):
                daemon, processes, connection = self.slow()
                victims = [*processes, daemon.process.pid]
                for pid in victims if first == "workers" else reversed(victims):
                    os.kill(pid, signal.SIGTERM)
                self.finish(daemon, processes, connection)
                self.assertNotIn("FATAL", daemon.log())
                self.assertNotIn("Traceback", daemon.log())

    def test_interrupt(self) -> None:
        """Ctrl-C, which reaches all processes, ends all of them."""
        daemon = self.start()
        processes = workers(daemon)
        for each in processes:
            os.kill(each, signal.SIGINT)
        daemon.tell(signal.SIGINT)
        self.assertIn(daemon.exit_status(), (0, -signal.SIGINT))
        self.assertTrue(all(map(gone, processes)))
        self.assertNotIn("Traceback", daemon.log())

    def test_port_in_use(self) -> None:
        """A port in use is reported, and the exit status is not 0."""
        daemon = Daemon(Path(self.mktemp())).configure(server={"workers": COUNT})
        with socket.create_server(("127.0.0.1", daemon.port)):
            self.assertEqual(daemon.launch().exit_status(), 1)
        self.assertIn(str(daemon.port), daemon.log())

    def test_bad_configuration(self) -> None:
        """An invalid configuration is exit status 78."""
        key = {"alg": "ES256", "key_file": "nowhere.pem"}
        daemon = Daemon(Path(self.mktemp())).configure(server={"workers": COUNT}, jwt=key)
        self.assertEqual(daemon.launch().exit_status(), 78)
        self.assertIn("nowhere.pem", daemon.log())

    def test_unix_socket(self) -> None:
        """Workers share a UNIX socket, which is removed when they end."""
        folder = self.enterContext(TemporaryDirectory())
        path = f"{folder}/socket"
        server = {"port": None, "listen": [f"unix:{path}:mode=600"], "workers": COUNT}
        daemon = Daemon(Path(folder)).configure(server=server).start(path)
        self.addCleanup(daemon.stop)
        self.complete(daemon)
        self.assertEqual(Path(path).stat().st_mode & 0o777, 0o600)
        self.reload(daemon)
        self.assertEqual(wire.login(path, "alice", "wonder").status, 200)
        daemon.stop()
        self.assertFalse(Path(path).exists())
