"""Families of refresh tokens in a token store."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from authotron.config import section
from authotron.config.refresh import RefreshConfig
from authotron.model.errors import Rejected, TooMany, Unavailable
from authotron.model.identity import Identity
from authotron.model.records import Record
from authotron.stores import memory
from authotron.testing.worlds import NOW, clock_at
from authotron.tokens.bounded_store import StoreClient
from authotron.tokens.refresh_family import KIND, RefreshFamilies, Reused
from authotron.tokens.refresh_token import PLACES, RefreshToken

ALICE = Identity("internal", "alice")
GRANT = {"jti": "first", "origin": NOW}


class FamilyTests(TestCase):
    """What becomes of a family, whatever its clients do at the same time."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.backend = memory.MemoryStore()
        rules = {"type": "memory", "pepper": "a-pepper-of-more-than-16-bytes"}
        store = StoreClient(self.backend, section.read(memory.Config, rules), self.clock)
        config = section.read(RefreshConfig, {"idle": 100, "absolute": 1000})
        self.families = RefreshFamilies(store, config, self.clock)

    async def begin(self, id_: str = "one") -> RefreshToken:
        return await self.families.begin(ALICE, id_, GRANT, NOW + 1000, 60)

    async def rejected(self, token: RefreshToken) -> bool:
        try:
            await self.families.use(token)
        except Rejected:
            return True
        return False

    async def test_kept(self) -> None:
        """A family is what was stored, and its secrets are in no record."""
        token = await self.begin()
        family, record = await self.families.use(token)
        self.assertEqual((family.id, family.owner), ("one", ("internal", "alice")))
        self.assertEqual((family.grant, family.ends, family.validity), (GRANT, NOW + 1000, 60))
        self.assertEqual(record.until, NOW + 100)
        for secret in (token.own, token.family, token.text):
            self.assertNotIn(secret, record.content)
            self.assertNotIn(secret, repr(family))

    async def test_two_uses_at_once_T36(self) -> None:
        """If two clients use one refresh token at the same time, neither gets a usable one."""
        token = await self.begin()
        first, second = await self.families.use(token), await self.families.use(token)
        new = await self.families.replace(token, *first)
        with self.assertRaises(Reused) as caught:
            await self.families.replace(token, *second)
        self.assertEqual(caught.exception.family.id, "one")
        self.assertTrue(await self.rejected(new))

    async def test_reused_while_replaced_T36(self) -> None:
        """An old refresh token ends its family although the family changes meanwhile."""
        old = await self.begin()
        newer = await self.families.replace(old, *await self.families.use(old))
        find, later = self.backend.replace_record, [newer]

        async def outrun(record: Record, earlier: Record) -> bool:
            if len(later) == 1:
                later.append(await self.replaced(find, newer, earlier))
            return await find(record, earlier)

        self.patch(memory.MemoryStore, "replace_record", lambda _, *given: outrun(*given))
        with self.assertRaises(Reused):
            await self.families.use(old)
        for each in later:
            self.assertTrue(await self.rejected(each))

    async def replaced(self, replace: object, token: RefreshToken, earlier: Record) -> RefreshToken:
        """Replace a refresh token as another gateway would."""
        new = token.successor()
        changed = earlier.content.replace('"ends": ', '"ends":  ')
        assert callable(replace)
        self.assertTrue(await replace(Record(KIND, earlier.id, changed, earlier.until), earlier))
        return new

    async def test_never_ending_changes(self) -> None:
        """If a family can never be ended, the client learns that the store is unavailable."""
        old = await self.begin()
        await self.families.replace(old, *await self.families.use(old))

        async def fails(*_: object) -> bool:
            return False

        self.patch(memory.MemoryStore, "replace_record", fails)
        with self.assertRaises(Unavailable):
            await self.families.use(old)

    async def test_place_is_used_again(self) -> None:
        """Ending a family never ends another one that has its place by now."""
        token = await self.begin()
        family, record = await self.families.use(token)
        await self.backend.remove_record(KIND, record.id)
        other = Record(KIND, record.id, record.content.replace('"one"', '"two"'), NOW + 50)
        self.assertTrue(await self.backend.add_record(other, NOW))
        with self.assertRaises(Reused):
            await self.families.replace(token, family, record)
        self.assertEqual(await self.backend.record(KIND, record.id, NOW), other)

    async def test_ended_by_any_token(self) -> None:
        """Also a refresh token that was used before ends its family when it is revoked."""
        old = await self.begin()
        new = await self.families.replace(old, *await self.families.use(old))
        ended = await self.families.end(old)
        assert ended is not None
        self.assertEqual(ended.id, "one")
        self.assertTrue(await self.rejected(new))
        self.assertIsNone(await self.families.end(new))

    async def test_logins_in_a_loop(self) -> None:
        """An ended family keeps its place until its exchanged tokens have expired."""
        for _ in range(PLACES):
            await self.families.end(await self.begin())
        with self.assertRaises(TooMany):
            await self.begin()
        self.clock.advance(60)
        self.assertFalse(await self.rejected(await self.begin()))

    async def test_forged_secret_T36(self) -> None:
        """A refresh token with a wrong secret of the family ends nothing."""
        token = await self.begin()
        forged = RefreshToken(token.place, "0" * len(token.family), token.own)
        self.assertTrue(await self.rejected(forged))
        self.assertIsNone(await self.families.end(forged))
        self.assertFalse(await self.rejected(token))
