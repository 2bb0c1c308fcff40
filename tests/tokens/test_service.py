"""How API tokens are created, found and revoked, and how long the store is waited for."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import schema, section
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    ExceedsGrant,
    Rejected,
    TimedOut,
    Unavailable,
)
from authotron.model.identity import Addition, Identity
from authotron.model.token import Grant, Token, generate
from authotron.plugin.interfaces import TokenQuery
from authotron.stores import memory
from authotron.testing.worlds import NOW, clock_at
from authotron.tokens import service
from authotron.tokens.grants import TokenRequest
from authotron.tokens.service import TokenService

ALICE = Authentication(
    Identity("here", "alice", ("reader",), {"exp": "1", "mail": "a@b.org"}), "staff"
)


@define(eq=False)
class Slow(memory.MemoryStore):
    """A store in memory that answers when the test says so."""

    opening: Deferred[None] = field(factory=Deferred)
    reading: Deferred[None] | None = None

    async def open(self) -> None:
        await self.opening

    async def get(self, id_: str) -> Token | None:
        if self.reading is not None:
            await self.reading
        return await super().get(id_)


class IssuingCase(SynchronousTestCase):
    """A token service with a store in memory."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.store = Slow()
        self.tokens = self.make()

    def make(self, store: dict[str, Any] | None = None, **config: Any) -> TokenService:
        rules = section.read(memory.Config, {"type": "memory", **(store or {})})
        given = section.read(schema.TokensConfig, config)
        return service.make(self.store, given, rules, self.clock)

    def start(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(work)

    def done(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(self.start(work))

    def new(self, maker: Authentication = ALICE, *, can_look_up: bool = True, **wish: Any) -> Any:
        return self.done(self.tokens.make(maker, TokenRequest(**wish), can_look_up=can_look_up))


class MakeTests(IssuingCase):
    """What is stored of the owner of a new API token."""

    def test_unaugmented(self) -> None:
        """The owner is stored without augmented roles, and without the attribute C{exp}."""
        enriched = ALICE.enriched(Addition(("extra",)))
        _, token = self.new(enriched)
        self.assertEqual(token.owner.roles, ("reader",))
        self.assertEqual(token.owner.attributes, {"mail": "a@b.org"})
        self.assertEqual((token.provider, token.created), ("staff", NOW))

    def test_owner_cannot_be_looked_up(self) -> None:
        """If no provider can look the owner up, the lifetime is shorter."""
        self.tokens = self.make(max_ttl="10d", max_ttl_unchecked="1d")
        self.assertEqual(self.new(ttl=86_400 * 10)[1].grant.expires, NOW + 86_400 * 10)
        self.assertEqual(self.new(can_look_up=False)[1].grant.expires, NOW + 86_400)
        work = self.tokens.make(ALICE, TokenRequest(ttl=86_401), can_look_up=False)
        self.failureResultOf(self.start(work), ExceedsGrant)

    def test_child_expires_with_its_parent_T52(self) -> None:
        """An API token expires no later than the one it was created with."""
        narrow = ALICE._replace(restriction=Grant(expires=NOW + 60))
        self.assertEqual(self.new(narrow)[1].grant.expires, NOW + 60)

    def test_only_a_hash_T50(self) -> None:
        """Nothing that is stored can be used as a credential."""
        presented, _ = self.new()
        self.assertNotIn(presented.text[17:], str(self.store._rows))
        [row] = self.store._rows.values()
        for text in (row["hashed"], row["id"], f"aot_{row['id']}_{row['hashed'][-49:]}"):
            self.failureResultOf(self.start(self.tokens.find(text)), Rejected)

    def test_pepper_lost_T50(self) -> None:
        """Without the pepper no API token is accepted."""
        presented, _ = self.new()
        self.store.pepper = b"another"
        self.failureResultOf(self.start(self.tokens.find(presented.text)), Rejected)

    def test_pepper_rotated(self) -> None:
        """New API tokens are hashed with the newest pepper, and older ones stay valid."""
        old, _ = self.new()
        self.tokens = self.make({"pepper": "a pepper that is new".replace(" ", "-")})
        new, token = self.new()
        self.assertEqual(self.done(self.tokens.find(old.text)).id, old.id)
        self.assertEqual(self.done(self.tokens.find(new.text)).id, new.id)
        self.store.pepper = None
        self.assertEqual(self.done(self.tokens.find(new.text)), token)

    def test_no_pepper(self) -> None:
        """No API token can be created before there is a pepper."""
        self.store.pepper = None
        work = self.tokens.make(ALICE, TokenRequest(), can_look_up=True)
        self.failureResultOf(self.start(work), Unavailable)


class WaitTests(IssuingCase):
    """How long a call waits for the store."""

    def test_store_times_out(self) -> None:
        """A call to the store fails after the timeout."""
        presented, _ = self.new()
        self.store.reading = Deferred()
        waiting = self.start(self.tokens.find(presented.text))
        self.clock.advance(2.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        self.failureResultOf(waiting, TimedOut)

    def test_while_opening(self) -> None:
        """A call waits while the store is being opened, and is then answered."""
        presented, _ = self.new()
        opening = self.start(self.tokens.store.open())
        waiting = self.start(self.tokens.find(presented.text))
        making = self.start(self.tokens.make(ALICE, TokenRequest(), can_look_up=True))
        self.assertNoResult(waiting)
        self.store.opening.callback(None)
        self.assertEqual(self.successResultOf(waiting).id, presented.id)
        self.successResultOf(making)
        self.successResultOf(opening)

    def test_opening_too_long(self) -> None:
        """A call waits for the opening until the timeout; a cancelled call is removed."""
        opening = self.start(self.tokens.store.open())
        left = self.start(self.tokens.find(self.new_text()))
        left.addErrback(lambda _: None)
        left.cancel()
        waiting = self.start(self.tokens.find(self.new_text()))
        self.clock.advance(3)
        self.failureResultOf(opening, TimedOut)
        self.assertIn(self.failureResultOf(waiting).type, (TimedOut, Rejected))

    def new_text(self) -> str:
        return generate(NOW).text


class FlushTests(IssuingCase):
    """The regular writes to the store."""

    def test_uses_are_written_together(self) -> None:
        """The last uses of API tokens are written together, each once."""
        ids = [self.new()[0].id for _ in range(3)]
        for id_ in (*ids, *ids):
            self.tokens.note_use(id_)
        self.clock.advance(1)
        self.done(self.tokens.flush())
        last_uses = [token.used for token in self.done(self.store.list_tokens(TokenQuery()))]
        self.assertEqual(last_uses, [NOW] * 3)

    def test_store_fails_D9(self) -> None:
        """A use that could not be written is kept until the store answers again."""
        ids = [self.new()[0].id for _ in range(3)]
        for id_ in ids:
            self.tokens.note_use(id_)
        change, failing = memory.MemoryStore.change, [ids[1]]

        async def fail(store: Any, id_: str, changes: Any) -> bool:
            if id_ in failing:
                raise Unavailable("down")
            return await change(store, id_, changes)

        self.patch(memory.MemoryStore, "change", fail)
        self.failureResultOf(self.start(self.tokens.flush()), Unavailable)
        failing.clear()
        self.done(self.tokens.flush())
        last_uses = [token.used for token in self.done(self.store.list_tokens(TokenQuery()))]
        self.assertEqual(last_uses, [NOW] * 3)

    def test_expired_tokens_are_deleted(self) -> None:
        """Expired API tokens are deleted from the store."""
        self.new(ttl=60)
        self.clock.advance(60)
        self.done(self.tokens.flush())
        self.assertEqual(self.store._rows, {})

    def test_revoked_meanwhile(self) -> None:
        """A noted use does not restore a revoked API token."""
        presented, _ = self.new()
        self.tokens.note_use(presented.id)
        self.done(self.tokens.revoke(ALICE, presented.id))
        self.done(self.tokens.flush())
        self.assertEqual(self.store._rows, {})
