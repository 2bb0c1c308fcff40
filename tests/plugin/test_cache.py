"""Answers of remotes are kept while they are fresh, and looked up once for all callers."""

from __future__ import annotations

import tracemalloc
from functools import partial

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.limits.lru_cache import Entry, LruCache
from authotron.model.authentication import Authentication
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
    """Authentications that are kept."""

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

    def test_kept_T41(self) -> None:
        """An identity is kept until it says itself."""
        self.assertEqual(self.get(), "user-1")
        self.clock.advance(59)
        self.assertEqual(self.get(), "user-1")
        self.clock.advance(1)
        self.assertEqual(self.get(), "user-2")

    def test_absolute(self) -> None:
        """What is kept says until when it was fresh, so nothing is fresh twice."""
        self.get()
        self.clock.advance(59)
        found = self.successResultOf(start(self.known.get("token", self.find_out)))
        self.assertEqual(found.fresh_until, NOW + 60)

    def test_credentials_T40(self) -> None:
        """Each credential has its own."""
        self.assertNotEqual(self.get("one"), self.get("two"))

    def test_secret(self) -> None:
        """The credential itself is not kept."""
        self.get("SECRET")
        self.assertNotIn(b"SECRET", b"".join(self.known._known._entries))
        self.assertNotIn("SECRET", repr(self.known))

    def test_failures_T44(self) -> None:
        """Neither refusals nor outages are kept."""

        async def fail(error: Exception) -> Authentication:
            raise error

        for error in (Rejected(), Unavailable()):
            deferred = start(self.known.get("token", partial(fail, error)))
            self.failureResultOf(deferred, type(error))
        self.assertEqual(self.get(), "user-1")

    def test_bounded_T43(self) -> None:
        """However many credentials come, only so many are kept."""
        for number in range(10_050):
            self.get(str(number))
        self.assertLessEqual(len(self.known._known), 10_000)

    def test_share_T83c(self) -> None:
        """One user with many credentials pushes out no other user's."""
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
    """An authentication as a memory keeps it."""

    __slots__ = ("found",)

    def __init__(self, key: bytes, found: Authentication) -> None:
        super().__init__(key, authentication_bytes(found), found.identity[:2])
        self.found = found


class SizeTests(SynchronousTestCase):
    """What a memory takes."""

    def test_all_counts_T83a(self) -> None:
        """Each string counts, wherever it is."""
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
        ):
            with self.subTest(repr(what)[:80]):
                size = authentication_bytes(what)
                self.assertGreaterEqual(size, authentication_bytes(plain) + 1_000)
        for more in (Addition(roles=(text,)), Addition(attributes={"x": text})):
            self.assertGreaterEqual(addition_bytes(more), addition_bytes(Addition()) + 1_000)

    def test_honest_T83a(self) -> None:
        """The process takes no more for remembered identities than is accounted for."""

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
    """Answers that are kept."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.known = LookupCache[Addition](self.clock, 100_000, addition_bytes, 30)
        self.work = Work()

    def get(self, question: str = "a") -> Deferred[Addition]:
        return start(self.known.get(question, self.work))

    def test_once_T45(self) -> None:
        """A burst of the same question is one question."""
        waiting = [self.get() for _ in range(100)]
        answer = Addition(fresh_until=NOW + 60.0)
        self.work.started[0].callback(answer)
        for each in (*waiting, self.get()):
            self.assertIs(self.successResultOf(each), answer)
        self.assertEqual(len(self.work.started), 1)

    def test_stale(self) -> None:
        """What is not fresh any more is asked for again, and kept for a while beside that."""
        self.get()
        self.work.started[0].callback(Addition(fresh_until=NOW + 60.0))
        self.clock.advance(60)
        self.assertNoResult(self.get())
        self.assertIsNotNone(self.known.stale_answer("a"))
        self.clock.advance(30)
        self.assertIsNone(self.known.stale_answer("a"))

    def test_not_kept(self) -> None:
        """What does not say until when it is fresh is not kept."""
        self.get()
        self.work.started[0].callback(Addition())
        self.assertNoResult(self.get())
        self.assertEqual(self.known.size, 0)

    def test_forgotten(self) -> None:
        """What is forgotten is asked for again."""
        self.get()
        self.work.started[0].callback(Addition(fresh_until=NOW + 60.0))
        self.known.forget("a")
        self.assertNoResult(self.get())

    def test_bounded_T83a(self) -> None:
        """However many questions there are, and however large, the budget holds."""

        async def look_up() -> Addition:
            return Addition(("x" * 3_000,), fresh_until=NOW + 60.0)

        for number in range(1_000):
            question = f"{number}" * 1_000
            self.successResultOf(start(self.known.get(question, look_up)))
            self.assertLessEqual(self.known.size, 100_000)
