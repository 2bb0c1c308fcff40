"""Revocations in the token store: followed, relied on while the store is lost, and kept."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from authotron.config import check
from authotron.daemon.compose import compose
from authotron.daemon.live_records import LiveRecords
from authotron.model.errors import ConfigError, Unavailable
from authotron.model.revocation import Revocation
from authotron.net.world import World
from authotron.testing.worlds import NOW, run_at_once
from tests.config.cases import BASE, laid_over
from tests.web.conversations import ALICE, InMemoryGateway
from tests.web.revoking import RevokingCase, Unreliable, bearer

MINE = Revocation("other", "alice-1", created=NOW)
"""A revocation that another machine has made."""


class FollowTests(RevokingCase):
    """What other machines have revoked."""

    def add(self, new: Revocation = MINE) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.store.add_record(new.record(), NOW)))

    def test_other_machines_T42(self) -> None:
        """A revocation that another machine has stored is applied when the store reports it."""
        self.assertEqual(self.ask(bearer()), 200)
        self.add()
        self.pass_(1)
        self.assertEqual((self.ask(bearer()), self.ready()["known"]), (401, 1))

    def test_withdrawn_elsewhere(self) -> None:
        """A revocation that another machine has withdrawn does not count any more."""
        self.add()
        other = InMemoryGateway(self.gateway.over)
        other.serving.gateway.tokens.store.backend = self.store  # type: ignore[union-attr] # there is a store
        others = LiveRecords(other.serving, World(other.clock, run_at_once))
        self.addCleanup(others.stop)
        others.start()
        assert other.serving.records is not None
        self.pass_(1)
        self.assertEqual(self.ask(bearer()), 401)
        withdrawing = other.serving.records.withdraw("revocation", "other")
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(withdrawing)))
        self.pass_(1)
        self.assertEqual(self.ask(bearer()), 200)

    def test_known_from_the_start_T42(self) -> None:
        """A gateway that starts knows the revocations before it answers."""
        self.add()
        self.start()
        self.assertEqual(self.ask(bearer()), 401)

    def test_store_that_lost_a_minute(self) -> None:
        """A store that comes back without its last changes gets the revocations again."""
        self.made(token_id="alice-1")
        self.store = Unreliable()
        self.use_store()
        self.pass_(1)
        self.assertEqual(self.ask(bearer()), 401)
        [stored] = self.successResultOf(
            Deferred.fromCoroutine(self.store.records("revocation", NOW))
        )
        self.assertIn("alice-1", stored.content)

    def test_later_of_another_machine(self) -> None:
        """A moment at which a revocation begins to count needs no change in the store."""
        self.add(Revocation("other", "alice-1", created=NOW, active_from=NOW + 5.0))
        self.pass_(1)
        self.assertEqual(self.ask(bearer()), 200)
        self.pass_(5)
        self.assertEqual(self.ask(bearer()), 401)


class LostStoreTests(RevokingCase):
    """A token store that cannot be reached."""

    def test_max_age(self) -> None:
        """Known revocations count for C{max_age}; then all credentials get a 503."""
        self.made(token_id="alice-1")
        self.assertEqual(self.ask(ALICE), 200)
        self.store.is_down = True
        self.pass_(290)
        self.assertEqual((self.ask(bearer()), self.ask(ALICE)), (401, 200))
        self.assertEqual(self.ready()["problem"], "the cable is cut")
        self.pass_(20)
        self.assertEqual((self.ask(bearer()), self.ask(ALICE)), (503, 503))
        self.assertEqual(self.ready()["status"], 503)
        self.store.is_down = False
        self.pass_(1)
        self.assertEqual((self.ask(bearer()), self.ask(ALICE)), (401, 200))
        self.assertEqual(self.ready(), {"status": 200, "known": 1, "age": 0.0})

    def test_at_once(self) -> None:
        """With C{max_age: 0} all credentials get a 503 as soon as the store cannot be read."""
        self.start(revocation={"max_age": 0})
        self.assertEqual(self.ask(ALICE), 200)
        self.pass_(10)
        self.assertEqual(self.ask(ALICE), 200)
        self.store.is_down = True
        self.pass_(1)
        self.assertEqual(self.ask(ALICE), 503)

    def test_never_reached(self) -> None:
        """A gateway that has never reached the store answers 503."""
        self.store.is_down = True
        self.start()
        self.assertEqual((self.ask(ALICE), self.ready()["status"]), (503, 503))
        self.store.is_down = False
        self.pass_(1)
        self.assertEqual((self.ask(ALICE), self.ready()["status"]), (200, 200))

    def test_logged_once(self) -> None:
        """An outage and its end are logged once."""
        with capturedLogs() as events:
            self.store.is_down = True
            self.pass_(400)
            self.store.is_down = False
            self.pass_(1)
        names = [str(each.get("event")) for each in events]
        found = [each for each in names if each.startswith(("records.", "revocations."))]
        expected = ["records.unreachable", "revocations.unknown", "records.reached"]
        self.assertEqual(found, [*expected, "revocations.known"])

    def test_gauges(self) -> None:
        """Metrics show how many revocations are known, and their age."""
        self.made(token_id="t")
        self.store.is_down = True
        self.pass_(10)
        text = self.gateway.metrics.text()[0].decode()
        self.assertIn("\nauthotron_revocations 1.0\n", text)
        self.assertRegex(text, r"\nauthotron_revocations_age_seconds (9|10)\.\d+\n")


class ReloadTests(RevokingCase):
    """A reload of the configuration."""

    def reload(self, *, is_same_store: bool = True, **over: Any) -> None:
        """Replace the gateway as the service does."""
        old, clock = self.serving.gateway, self.gateway.clock
        config = check.check(laid_over(BASE, {**self.gateway.over, **over}))
        store = self.store if is_same_store else None
        world = World(clock, run_at_once)
        new = compose(config, world, self.gateway.metrics, store)
        self.records.prepare(new, is_same_store=is_same_store)
        self.serving.gateway = new
        self.records.replace()
        old.close()

    def test_kept_T42(self) -> None:
        """After a reload the revocations count at once, also if the store cannot be reached."""
        self.made(token_id="alice-1")
        self.store.is_down = True
        self.reload()
        self.assertEqual((self.ask(bearer()), self.ask(ALICE)), (401, 200))

    def test_followed_after_a_reload(self) -> None:
        """After a reload further revocations are followed, and can be made."""
        self.reload()
        self.reload(revocation={"max_age": 5})
        self.assertEqual(self.ask(bearer()), 200)
        self.made(token_id="alice-1")
        self.assertEqual(self.ask(bearer()), 401)
        self.store.is_down = True
        self.pass_(6)
        self.assertEqual(self.ask(ALICE), 503)

    def test_earlier_gateway_T42(self) -> None:
        """A request that began before a reload is refused by a revocation that is made after it."""
        earlier = self.serving.gateway
        self.reload()
        self.made(token_id="alice-1")
        assert earlier.revocations is not None
        [known] = earlier.revocations.index.known.values()
        self.assertEqual(known.token, "alice-1")

    def test_other_store(self) -> None:
        """The revocations of another store are read before requests are answered."""
        self.made(token_id="alice-1")
        self.reload(is_same_store=False)
        self.assertEqual(self.ask(bearer()), 200)

    def test_switched_on(self) -> None:
        """A reload can switch revocation on, and off again."""
        self.start(revocation=...)
        self.assertEqual(self.gateway.ask("GET /revocations", Authorization=ALICE).status, 404)
        self.assertIsNone(self.serving.records)
        self.reload(revocation={})
        self.made(token_id="alice-1")
        self.assertEqual(self.ask(bearer()), 401)
        self.reload(revocation=...)
        self.assertEqual(self.ask(bearer()), 200)


class WorkerTests(RevokingCase):
    """A worker that starts while others run."""

    def test_read_before_serving(self) -> None:
        """A worker that replaces another one reads the revocations first, or does not serve."""
        other = InMemoryGateway(self.gateway.over)
        other.serving.gateway.tokens.store.backend = self.store  # type: ignore[union-attr] # there is a store
        records = LiveRecords(other.serving, World(other.clock, run_at_once))
        self.made(token_id="alice-1")
        self.store.is_down = True
        self.failureResultOf(Deferred.fromCoroutine(records.read()), Unavailable)
        self.store.is_down = False
        self.successResultOf(Deferred.fromCoroutine(records.read()))
        status = other.ask("GET /authenticate", Authorization=bearer()).status
        self.assertEqual(status, 401)

    def test_messages_of_other_workers_T42(self) -> None:
        """A worker applies what another worker has published before it confirms."""
        self.assertEqual(self.ask(bearer()), 200)
        record = MINE.record()
        message = [record.kind, record.id, record.content, record.until]
        self.records.received({"records": [message], "removed": []})
        self.assertEqual(self.ask(bearer()), 401)


class ConfigurationTests(RevokingCase):
    """What the section C{revocation} needs."""

    def problems(self, **over: Any) -> str:
        with self.assertRaises(ConfigError) as raised:
            self.gateway_of(**over)
        return str(raised.exception)

    def gateway_of(self, **over: Any) -> Any:
        config = check.check(laid_over(BASE, {**self.gateway.over, **over}))
        found: Any = compose(config, World(self.gateway.clock, run_at_once), self.gateway.metrics)
        return found

    def test_store(self) -> None:
        """Revocations need a token store that keeps them."""
        self.assertIn("revocation: needs a token store", self.problems(store=...))

    def test_store_of_a_plugin(self) -> None:
        """A store that cannot keep records is refused."""
        config = check.check(laid_over(BASE, self.gateway.over))
        world = World(self.gateway.clock, run_at_once)
        error = self.assertRaises(
            ConfigError, compose, config, world, self.gateway.metrics, WithoutRecords()
        )
        self.assertIn("which type memory does not", str(error).replace("'", ""))

    def test_empty_section(self) -> None:
        """An empty section has the defaults."""
        config = check.check(laid_over(BASE, {**self.gateway.over, "revocation": None}))
        assert config.file.revocation is not None
        self.assertEqual(config.file.revocation.max_age, 300)

    def test_off(self) -> None:
        """A gateway without the section has no revocations."""
        gateway = self.gateway_of(revocation=...)
        self.assertEqual((gateway.revocations, gateway.authenticator.name_token), (None, None))


class WithoutRecords:
    """A token store of another package, which keeps no records."""

    type = "memory"
    pepper = b"x" * 32
