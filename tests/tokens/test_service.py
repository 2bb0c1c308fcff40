"""How tokens are made, found and ended, and how long anybody waits for a store."""

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
    """A store in memory that answers when it is told to."""

    opening: Deferred[None] = field(factory=Deferred)
    reading: Deferred[None] | None = None

    async def open(self) -> None:
        await self.opening

    async def get(self, id_: str) -> Token | None:
        if self.reading is not None:
            await self.reading
        return await super().get(id_)


class IssuingCase(SynchronousTestCase):
    """Tokens over a store in memory."""

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
    """What is kept of a maker."""

    def test_unaugmented(self) -> None:
        """What the provider said, not what augmenters added; the end of its own credential not."""
        enriched = ALICE.enriched(Addition(("extra",)))
        _, token = self.new(enriched)
        self.assertEqual(token.owner.roles, ("reader",))
        self.assertEqual(token.owner.attributes, {"mail": "a@b.org"})
        self.assertEqual((token.provider, token.created), ("staff", NOW))

    def test_unchecked(self) -> None:
        """Where nobody can say later if a user is still known, lives are shorter."""
        self.tokens = self.make(max_ttl="10d", max_ttl_unchecked="1d")
        self.assertEqual(self.new(ttl=86_400 * 10)[1].grant.expires, NOW + 86_400 * 10)
        self.assertEqual(self.new(can_look_up=False)[1].grant.expires, NOW + 86_400)
        work = self.tokens.make(ALICE, TokenRequest(ttl=86_401), can_look_up=False)
        self.failureResultOf(self.start(work), ExceedsGrant)

    def test_child_dies_with_its_parent_T52(self) -> None:
        """What a token makes ends when the token does, at the latest."""
        narrow = ALICE._replace(restriction=Grant(expires=NOW + 60))
        self.assertEqual(self.new(narrow)[1].grant.expires, NOW + 60)

    def test_only_a_hash_T50(self) -> None:
        """Nothing that is kept is a credential."""
        presented, _ = self.new()
        self.assertNotIn(presented.text[17:], str(self.store._rows))
        [row] = self.store._rows.values()
        for text in (row["hashed"], row["id"], f"aot_{row['id']}_{row['hashed'][-49:]}"):
            self.failureResultOf(self.start(self.tokens.find(text)), Rejected)

    def test_pepper_lost_T50(self) -> None:
        """Without the pepper what is kept verifies nothing."""
        presented, _ = self.new()
        self.store.pepper = b"another"
        self.failureResultOf(self.start(self.tokens.find(presented.text)), Rejected)

    def test_pepper_rotated(self) -> None:
        """A configured pepper is used for new tokens; older ones go on being good."""
        old, _ = self.new()
        self.tokens = self.make({"pepper": "a pepper that is new".replace(" ", "-")})
        new, token = self.new()
        self.assertEqual(self.done(self.tokens.find(old.text)).id, old.id)
        self.assertEqual(self.done(self.tokens.find(new.text)).id, new.id)
        self.store.pepper = None
        self.assertEqual(self.done(self.tokens.find(new.text)), token)

    def test_no_pepper(self) -> None:
        """Before there is a pepper no token can be made."""
        self.store.pepper = None
        work = self.tokens.make(ALICE, TokenRequest(), can_look_up=True)
        self.failureResultOf(self.start(work), Unavailable)


class WaitTests(IssuingCase):
    """How long a store is waited for."""

    def test_slow_store(self) -> None:
        """Not for ever."""
        presented, _ = self.new()
        self.store.reading = Deferred()
        waiting = self.start(self.tokens.find(presented.text))
        self.clock.advance(2.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        self.failureResultOf(waiting, TimedOut)

    def test_while_opening(self) -> None:
        """Who comes while it is being opened waits for that, and then is answered."""
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
        """But not longer than for the store itself; and who leaves is forgotten."""
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


class TidyTests(IssuingCase):
    """What is written now and then."""

    def test_used(self) -> None:
        """When a token was last used is written with many others, once each."""
        ids = [self.new()[0].id for _ in range(3)]
        for id_ in (*ids, *ids):
            self.tokens.note_use(id_)
        self.clock.advance(1)
        self.done(self.tokens.flush())
        last_uses = [token.used for token in self.done(self.store.listed(TokenQuery()))]
        self.assertEqual(last_uses, [NOW] * 3)

    def test_store_fails_D9(self) -> None:
        """A use that could not be written is kept, and written when the store answers again."""
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
        last_uses = [token.used for token in self.done(self.store.listed(TokenQuery()))]
        self.assertEqual(last_uses, [NOW] * 3)

    def test_swept(self) -> None:
        """Tokens that are over are forgotten."""
        self.new(ttl=60)
        self.clock.advance(60)
        self.done(self.tokens.flush())
        self.assertEqual(self.store._rows, {})

    def test_revoked_meanwhile(self) -> None:
        """A note of its use does not bring a revoked token back."""
        presented, _ = self.new()
        self.tokens.note_use(presented.id)
        self.done(self.tokens.revoke(ALICE, presented.id))
        self.done(self.tokens.flush())
        self.assertEqual(self.store._rows, {})
