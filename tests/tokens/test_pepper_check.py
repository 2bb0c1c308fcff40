"""A token store that is opened with another pepper."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.config import section
from authotron.model.errors import ConfigError, Unavailable
from authotron.model.token import Token
from authotron.plugin.interfaces import IKeepsPepper
from authotron.stores import memory
from authotron.testing.contracts import make_token
from authotron.testing.worlds import world
from authotron.tokens.bounded_store import StoreClient
from authotron.tokens.peppers import Peppers

OLD, NEW, OTHER = "an-old-pepper-of-mine", "a-new-pepper-of-mine", "another-pepper-of-mine"


@implementer(IKeepsPepper)
@define(eq=False)
class Keeping(memory.MemoryStore):
    """A store with a pepper of its own, in a file that may be lost."""

    pepper_file: str = "/there/tokens.db.pepper"
    is_writable: bool = field(default=True, init=False)

    async def create_pepper(self) -> None:
        self.pepper = self.pepper or b"made anew"

    async def set_pepper_check(self, value: str, earlier: str | None) -> None:
        if not self.is_writable:
            raise Unavailable("read-only")
        await super().set_pepper_check(value, earlier)


class OpenTests(SynchronousTestCase):
    """Opening a store."""

    def setUp(self) -> None:
        self.store = Keeping()
        self.store.pepper = None

    def client(self, *peppers: str, spare: bytes | None = None) -> StoreClient:
        given = {"type": "memory", **({"pepper": " ".join(peppers)} if peppers else {})}
        return StoreClient(self.store, section.read(memory.Config, given), world().clock, spare)

    def result(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(
            Deferred.fromCoroutine(work).addErrback(lambda failure: failure.value)
        )

    def hashed(self, pepper: str) -> Token:
        return evolve(make_token(), hashed=Peppers([pepper.encode()]).hash("x"))

    def assertRefused(self, client: StoreClient, *words: str) -> None:
        """Check that the store is not opened, for this reason, and verifies no token."""
        error = self.result(client.open())
        self.assertIsInstance(error, ConfigError)
        for word in ("store.pepper: ", *words):
            self.assertIn(word, str(error))
        self.assertIsInstance(self.result(client.get("x")), Unavailable)

    def test_same_pepper_Q_PEPPER(self) -> None:
        """With the same pepper a store is opened again and again."""
        for _ in range(2):
            self.assertIsNone(self.result(self.client(OLD).open()))

    def test_other_pepper_Q_PEPPER(self) -> None:
        """With another configured pepper a store is not opened; the message says what to do."""
        self.result(self.client(OLD).open())
        self.assertRefused(self.client(NEW), "add the earlier pepper after the configured one")

    def test_lost_file_Q_PEPPER(self) -> None:
        """If the pepper file is lost or replaced, a store is not opened; the message names it."""
        self.store.pepper = b"of the file"
        self.result(self.client().open())
        for pepper in (b"made anew", None):
            self.store.pepper = pepper
            self.assertRefused(self.client(spare=b"derived"), "restore /there/tokens.db.pepper")

    def test_changed_secret_Q_PEPPER(self) -> None:
        """If C{jwt.secret} has changed, from which the pepper is derived, a store is not opened."""
        self.store = memory.MemoryStore()  # type: ignore[assignment] # keeps no pepper
        self.store.pepper = None
        self.result(self.client(spare=b"one").open())
        self.assertRefused(self.client(spare=b"two"), "jwt.secret, which has changed")

    def test_rotation_Q_PEPPER(self) -> None:
        """
        A pepper is replaced in two steps: the new one in front of the old one, then alone.

        Afterwards a gateway that knows only the old pepper does not open the store.
        """
        for peppers in ((OLD,), (OLD, NEW), (NEW, OLD), (OLD, NEW), (NEW, OLD), (NEW,)):
            self.assertIsNone(self.result(self.client(*peppers).open()), peppers)
        self.assertRefused(self.client(OLD))

    def test_store_of_an_earlier_version_Q_PEPPER(self) -> None:
        """A store without a check value gets one if its tokens were hashed with a known pepper."""
        for each in (self.hashed(OTHER), self.hashed(OLD)):
            self.result(self.store.add(each))
        self.assertIsNone(self.result(self.client(OLD).open()))
        self.assertRefused(self.client(NEW))

    def test_earlier_version_and_lost_Q_PEPPER(self) -> None:
        """A store without a check value is not opened if all its tokens have another pepper."""
        self.result(self.store.add(self.hashed(OLD)))
        self.assertRefused(self.client(NEW))
        self.assertIsNone(self.result(self.store.pepper_check()))

    def test_given_up_Q_PEPPER(self) -> None:
        """A lost pepper can be given up: the store accepts the present one from then on."""
        self.result(self.client(OLD).open())
        client = self.client(NEW)
        self.assertRefused(client)
        self.assertIsNone(self.result(client.accept_pepper()))
        self.assertIsNone(self.result(client.get("x")))
        self.assertIsNone(self.result(self.client(NEW).open()))
        self.store.pepper = None
        self.assertIsNone(self.result(self.client().accept_pepper()))
        self.assertEqual(self.store.pepper, b"made anew")

    def test_read_only_Q_PEPPER(self) -> None:
        """A store that accepts no changes is opened without storing a check value."""
        self.store.is_writable = False
        self.assertIsNone(self.result(self.client(OLD).open()))
        self.assertIsNone(self.result(self.store.pepper_check()))

    def test_backup_of_another_pepper_Q_PEPPER(self) -> None:
        """A backup is verified by its check value; one of an earlier version has none."""
        self.result(self.client(OLD).open())
        stored = self.result(self.store.pepper_check())
        self.client(NEW, OLD).verify_backup(stored)
        self.client(NEW).verify_backup(None)
        self.assertRaises(ConfigError, self.client(NEW).verify_backup, stored)
