"""A worker, without a supervisor process."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import check
from authotron.daemon.service import GatewayService
from authotron.daemon.workers import spawning
from authotron.daemon.workers.heartbeats import HEARTBEAT
from authotron.daemon.workers.worker import INVALIDATION_TIMEOUT, Worker
from authotron.limits.fair_queue import Reputation
from authotron.model.errors import ConfigError, Problem, Unavailable
from tests.config.cases import BASE
from tests.daemon.test_service import Reactor


class WorkerTests(SynchronousTestCase):
    """The messages that a worker sends to its supervisor, and acts on."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.found = check.check(BASE)
        self.said: list[dict[str, Any]] = []
        self.worker = Worker(self.found, self.reactor, self.say)  # type: ignore[arg-type] # as much as is needed
        self.gateway = self.worker.gateway
        self.addCleanup(self.end)
        self.worker.startService()

    def end(self) -> None:
        if self.gateway.pool.running:
            self.gateway.pool.stopService()

    def say(self, data: bytes) -> None:
        self.said += map(json.loads, data.splitlines())

    def receive(self, **message: Any) -> Any:
        """Send the worker a message, and return its last message."""
        self.worker.channel.received(json.dumps(message).encode() + b"\n")
        return self.said[-1]

    def test_heartbeats_carry_metrics(self) -> None:
        """A worker reports that it serves, then sends its metrics with each heartbeat."""
        self.assertEqual(self.said[0]["say"], "serving")
        before = len(self.said)
        self.reactor.advance(HEARTBEAT)
        [beat] = self.said[before:]
        self.assertEqual((beat["say"], "counts" in beat["with"]), ("alive", True))

    def test_supervisor_gets_metrics_and_readiness(self) -> None:
        """A worker answers questions for its metrics and its readiness."""
        self.gateway.serving.metrics.request_authenticated("success", "internal", 1)
        counted = self.receive(say="metrics", number=1)
        self.assertIn([["success", "internal"], 1], counted["with"]["counts"]["auth_requests"])
        self.assertTrue(self.receive(say="ready", number=2)["with"]["ready"])

    def test_unusable_store_is_reported_T49(self) -> None:
        """A worker reports an unusable store to the supervisor, and does not count it itself."""
        self.gateway._store_failed(
            Failure(ConfigError([Problem("store", "is of another version")]))
        )
        [told] = [each for each in self.said if each["say"] == "refused"]
        self.assertIn("another version", told["with"][0])
        counted = self.gateway.serving.metrics.counted()["counts"]["authotron_reloads"]
        self.assertIn([("failure",), 0], counted)

    def test_cache_is_cleared_before_the_answer_T42(self) -> None:
        """A worker clears its decision cache before it confirms."""
        decisions = self.gateway.serving.gateway.decisions
        epoch = decisions._epoch
        self.assertEqual(self.receive(say="invalidate", number=3), {"to": 3, "with": None})
        self.assertEqual(decisions._epoch, epoch + 1)

    def test_only_decisions_of_named_tokens_are_discarded_T83d(self) -> None:
        """A worker discards decisions of the named API tokens, or all without a list."""
        decisions = self.gateway.serving.gateway.decisions
        epoch, changes = decisions._epoch, decisions._changes
        self.receive(say="invalidate", number=3, **{"with": ["one", "two"]})
        self.assertEqual((decisions._epoch, decisions._changes), (epoch, changes + 1))
        self.assertLess({"one", "two"}, decisions._changed.keys())
        for odd in ("one", [1], {"one": 1}):
            epoch = decisions._epoch
            self.receive(say="invalidate", number=4, **{"with": odd})
            self.assertEqual(decisions._epoch, epoch + 1)

    def test_workers_exchange_wrong_passwords_S_LOCK(self) -> None:
        """Workers exchange hashes of wrong passwords, made with the key of the service."""
        pairs = self.gateway.rejected_passwords
        user, pair = pairs.hashed("ldap", "alice", "wrong")
        pairs.add(user, pair, 60)
        told = {"user": user.hex(), "pair": pair.hex(), "seconds": 60}
        self.assertEqual(self.said[-1], {"say": "wrong_pair", "with": told})
        pairs.drop(user)
        self.assertEqual(self.said[-1], {"say": "right_pair", "with": {"user": user.hex()}})
        self.receive(say="wrong_pair", **{"with": told})
        self.assertTrue(pairs.holds(user, pair))
        self.receive(say="right_pair", **{"with": {"user": user.hex()}})
        self.assertFalse(pairs.holds(user, pair))
        other = GatewayService(lambda: self.found, self.found, self.reactor)  # type: ignore[arg-type] # as much as is needed
        self.assertEqual(other.rejected_passwords.hashed("ldap", "alice", "wrong"), (user, pair))

    def test_workers_exchange_verified_names_T84d(self) -> None:
        """A user name that one worker verified for a client is trusted by all workers."""
        reputations = self.gateway.reputations
        alice = reputations.asker("192.0.2.7", "alice")
        reputations.succeeded(alice)
        self.assertEqual(self.said[-1], {"say": "trusted", "with": alice.pair.hex()})
        other = GatewayService(lambda: self.found, self.found, self.reactor).reputations  # type: ignore[arg-type] # as much as is needed
        self.assertEqual(other.asker("192.0.2.7", "alice"), alice)
        other.on_trusted(self.said[-1]["with"])
        self.assertEqual(other.of(alice.pair), Reputation.GOOD)
        bob = reputations.asker("192.0.2.7", "bob")
        self.receive(say="trusted", **{"with": bob.pair.hex()})
        self.assertEqual(reputations.of(bob.pair), Reputation.GOOD)
        odd_ones: list[Any] = [None, 7, {}, [bob.pair.hex()], "", "ab", bob.pair.hex() + "g"]
        for odd in odd_ones:
            self.receive(say="trusted", **{"with": odd})

    def test_drain_stops_listening_then_stops(self) -> None:
        """A worker that drains stops listening, answers, then sends metrics and stops."""
        self.assertEqual(self.receive(say="drain", number=4), {"to": 4, "with": None})
        self.assertTrue(self.gateway.serving.stopping)
        self.reactor.advance(0)
        self.assertTrue(self.reactor.stopped)
        self.successResultOf(maybeDeferred(self.worker.stopService))
        self.assertEqual(self.said[-1]["say"], "alive")

    def test_lost_supervisor_stops_the_worker(self) -> None:
        """A worker stops if its supervisor is gone."""
        self.worker.supervisor_lost()
        self.reactor.advance(0)
        self.assertTrue(self.reactor.stopped)

    def test_invalid_message_stops_the_worker(self) -> None:
        """A worker stops if its supervisor sends an invalid message."""
        self.worker.channel.received(b"what?\n")
        self.reactor.advance(0)
        self.assertTrue(self.reactor.stopped)

    def elsewhere(self, *tokens: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self._elsewhere(tokens or None))

    async def _elsewhere(self, tokens: Sequence[str] | None) -> None:
        await self.gateway.serving.peers.invalidate_others(tokens)

    def test_invalidation_waits_for_all_workers_T42(self) -> None:
        """Invalidation returns when all other workers have confirmed, not before."""
        waiting = self.elsewhere()
        self.assertEqual(self.said[-1], {"say": "invalidate", "number": 0, "with": None})
        self.assertNoResult(waiting)
        self.worker.channel.received(b'{"to":0,"with":null}\n')
        self.successResultOf(waiting)

    def test_invalidation_names_the_tokens_T83d(self) -> None:
        """A worker names the API tokens whose decisions the other workers have to discard."""
        self.elsewhere("one")
        self.assertEqual(self.said[-1], {"say": "invalidate", "number": 0, "with": ["one"]})

    def test_unconfirmed_invalidation_is_unavailable_T42(self) -> None:
        """Invalidation raises Unavailable if a worker fails, or does not answer in time."""
        failed = self.elsewhere()
        self.worker.channel.received(b'{"to":0,"failed":true}\n')
        self.failureResultOf(failed, Unavailable)
        silent = self.elsewhere()
        self.reactor.advance(INVALIDATION_TIMEOUT)
        self.failureResultOf(silent, Unavailable)


class CommandTests(SynchronousTestCase):
    """The command that starts a worker."""

    def test_worker_runs_the_same_program(self) -> None:
        """A worker runs with the interpreter and the module path of the supervisor."""
        [python, *_, code] = spawning.command()
        self.assertTrue(Path(python).name.startswith("python"))
        self.assertIn("from authotron.daemon.workers.entry import main", code)

    def test_ctrl_c_does_not_end_a_worker_that_starts_W_STOP(self) -> None:
        """A worker ignores SIGHUP and SIGINT before it imports anything else."""
        self.assertTrue(spawning.command()[-1].startswith("import signal; "))
        ignored: list[tuple[int, object]] = []
        first = spawning.command()[-1].split("; ")[1]
        fake = SimpleNamespace(SIG_IGN="ignore", signal=lambda *given: ignored.append(given))
        exec(first, {"signal": fake})
        self.assertEqual(ignored, [(signal.SIGHUP, "ignore"), (signal.SIGINT, "ignore")])
