"""Tests of the cache of answers of remote services."""

from __future__ import annotations

import tracemalloc
from functools import partial

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.limits.lru_cache import Entry, LruCache
from authotron.model.authentication import Authentication, Login
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Addition, Identity
from authotron.model.token import Grant
from authotron.plugin.cache import (
    AuthenticationCache,
    LookupCache,
    addition_bytes,
    authentication_bytes,
)
from authotron.testing.remotes import Work, start
from authotron.testing.worlds import NOW, clock_at


class AuthenticationCacheTests(SynchronousTestCase):
    """The cache of authentications by credential."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.known = AuthenticationCache(self.clock)
        self.asked = 0

    async def find_out(self) -> Authentication:
        self.asked += 1
        user = Identity("here", f"user-{self.asked}")
        return Authentication(user, fresh_until=self.clock.seconds() + 60)

    def get(self, token: str = "token") -> str:
        found = self.successResultOf(start(self.known.get(token, self.find_out)))
        return str(found.identity.username)

    def test_answer_is_used_until_fresh_until_T41(self) -> None:
        """An authentication is returned from the cache until its C{fresh_until}."""
        self.assertEqual(self.get(), "user-1")
        self.clock.advance(59)
        self.assertEqual(self.get(), "user-1")
        self.clock.advance(1)
        self.assertEqual(self.get(), "user-2")

    def test_cached_answer_keeps_fresh_until(self) -> None:
        """An authentication from the cache has the C{fresh_until} that it was stored with."""
        self.get()
        self.clock.advance(59)
        found = self.successResultOf(start(self.known.get("token", self.find_out)))
        self.assertEqual(found.fresh_until, NOW + 60)

    def test_other_credential_is_not_found_T40(self) -> None:
        """An authentication is returned for its own credential only."""
        self.assertNotEqual(self.get("one"), self.get("two"))

    def test_credential_is_not_stored(self) -> None:
        """The cache contains no credential."""
        self.get("SECRET")
        self.assertNotIn(b"SECRET", b"".join(self.known._known._entries))
        self.assertNotIn("SECRET", repr(self.known))

    def test_failures_are_not_cached_T44(self) -> None:
        """Neither a refusal nor an outage is cached."""

        async def fail(error: Exception) -> Authentication:
            raise error

        for error in (Rejected(), Unavailable()):
            deferred = start(self.known.get("token", partial(fail, error)))
            self.failureResultOf(deferred, type(error))
        self.assertEqual(self.get(), "user-1")

    def test_bytes_are_limited_T43(self) -> None:
        """The cache stays within its budget of bytes, whatever the number of credentials."""
        for number in range(10_050):
            self.get(str(number))
        self.assertLessEqual(len(self.known._known), 10_000)

    def test_user_has_a_share_T83c(self) -> None:
        """A user with many credentials does not displace those of other users."""
        known = AuthenticationCache(self.clock, 200_000)

        async def look_up(username: str) -> Authentication:
            self.asked += 1
            user = Identity("here", username, ("role",) * 100)
            return Authentication(user, fresh_until=NOW + 60)

        def get(token: str, username: str) -> None:
            self.successResultOf(start(known.get(token, partial(look_up, username))))

        get("first", "alice")
        for number in range(1_000):
            get(f"token-{number}", "mallory")
        asked = self.asked
        get("first", "alice")
        self.assertEqual(self.asked, asked)
        self.assertLess(known.size, 100_000)


class _Kept(Entry):
    """An authentication as an entry of an LRU cache."""

    __slots__ = ("found",)

    def __init__(self, key: bytes, found: Authentication) -> None:
        super().__init__(key, authentication_bytes(found), found.identity[:2])
        self.found = found


class SizeTests(SynchronousTestCase):
    """Estimated bytes of an authentication."""

    def test_every_string_counts_T83a(self) -> None:
        """Every string of an authentication counts, in every field."""
        alice = Identity("here", "alice")
        plain = Authentication(alice)
        text = "\xeb" * 1_000
        identities = (
            alice._replace(username=text),
            alice._replace(roles=(text,)),
            alice._replace(attributes={"x": text}),
            alice._replace(attributes={text: "x"}),
            alice._replace(scopes={"x": (text,)}),
            alice._replace(scopes={text: ()}),
        )
        for what in (
            *map(Authentication, identities),
            plain._replace(unaugmented=alice._replace(roles=(text,))),
            plain._replace(restriction=Grant(roles=(text,))),
            plain._replace(restriction=Grant(scopes={"x": (text,)})),
            plain._replace(restriction=Grant(hosts=(text,))),
            plain._replace(conditions=(Grant(networks=(text,)),)),
            plain._replace(login=Login(text)),
        ):
            with self.subTest(repr(what)[:80]):
                size = authentication_bytes(what)
                self.assertGreaterEqual(size, authentication_bytes(plain) + 1_000)
        for more in (Addition(roles=(text,)), Addition(attributes={"x": text})):
            self.assertGreaterEqual(addition_bytes(more), addition_bytes(Addition()) + 1_000)

    def test_estimate_is_not_too_small_T83a(self) -> None:
        """The process needs no more memory for cached identities than the estimate."""

        def found(number: int, roles: int) -> Authentication:
            names = tuple(f"{number}-{n}" for n in range(roles))
            return Authentication(Identity("here", f"user{number}", names))

        for roles, count in ((3, 500), (3_500, 5)):
            with self.subTest(roles):
                cache: LruCache[_Kept] = LruCache(10**9, 1_000)
                tracemalloc.start()
                self.addCleanup(tracemalloc.stop)
                for number in range(count):
                    each = found(number, roles)
                    cache.put(_Kept(b"%16d" % number, each))
                taken, _ = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                self.assertLessEqual(taken, cache.size * 1.05)


class LookupCacheTests(SynchronousTestCase):
    """The cache of any lookup."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.known = LookupCache[Addition](self.clock, 100_000, addition_bytes, 30)
        self.work = Work()

    def get(self, question: str = "a") -> Deferred[Addition]:
        return start(self.known.get(question, self.work))

    def test_equal_lookups_are_one_T45(self) -> None:
        """Lookups with the same key at the same time are one lookup."""
        waiting = [self.get() for _ in range(100)]
        answer = Addition(fresh_until=NOW + 60.0)
        self.work.started[0].callback(answer)
        for each in (*waiting, self.get()):
            self.assertIs(self.successResultOf(each), answer)
        self.assertEqual(len(self.work.started), 1)

    def test_stale_answer_is_kept(self) -> None:
        """A stale answer is looked up again, and can still be had for C{stale} seconds."""
        self.get()
        self.work.started[0].callback(Addition(fresh_until=NOW + 60.0))
        self.clock.advance(60)
        self.assertNoResult(self.get())
        self.assertIsNotNone(self.known.stale_answer("a"))
        self.clock.advance(30)
        self.assertIsNone(self.known.stale_answer("a"))

    def test_answer_without_fresh_until_is_not_cached(self) -> None:
        """An answer without C{fresh_until} is not cached."""
        self.get()
        self.work.started[0].callback(Addition())
        self.assertNoResult(self.get())
        self.assertEqual(self.known.size, 0)

    def test_removed_answer_is_looked_up_again(self) -> None:
        """An answer that was removed is looked up again."""
        self.get()
        self.work.started[0].callback(Addition(fresh_until=NOW + 60.0))
        self.known.forget("a")
        self.assertNoResult(self.get())

    def test_budget_holds_T83a(self) -> None:
        """The cache stays within its budget, whatever the number and the size of the answers."""

        async def look_up() -> Addition:
            return Addition(("x" * 3_000,), fresh_until=NOW + 60.0)

        for number in range(1_000):
            question = f"{number}" * 1_000
            self.successResultOf(start(self.known.get(question, look_up)))
            self.assertLessEqual(self.known.size, 100_000)
