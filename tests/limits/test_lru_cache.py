"""A cache with a budget of bytes, and a share for each subject."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.limits.lru_cache import Entry, LruCache


class LruCacheTests(SynchronousTestCase):
    """Entries within budgets."""

    def setUp(self) -> None:
        self.cache: LruCache[Entry] = LruCache(100_000, 1_000)

    def keys(self, *names: str) -> list[bytes]:
        """Return which of these names are still kept."""
        return [name.encode() for name in names if self.cache.get(name.encode()) is not None]

    def test_budget_of_bytes_T83a(self) -> None:
        """All entries together never exceed the budget; the least recently used are evicted."""
        for number in range(200):
            self.cache.put(Entry(b"%d" % number, 5_000, subject=number))
            self.cache.get(b"0")
            self.assertLessEqual(self.cache.size, 100_000)
        self.assertEqual(self.keys("0", "1", "198", "199"), [b"0", b"198", b"199"])
        self.assertEqual(self.cache.size, len(self.cache) * 5_500)

    def test_budget_of_entries_T83a(self) -> None:
        """The number of entries is limited, since each takes memory beside its value."""
        for number in range(2_000):
            self.cache.put(Entry(b"%d" % number, 0, subject=number))
        self.assertLessEqual(len(self.cache), 100_000 // 500)
        small: LruCache[Entry] = LruCache(10**9, 3)
        for number in range(10):
            small.put(Entry(b"%d" % number, 0))
        self.assertEqual(len(small), 3)

    def test_share_of_a_subject_T83c(self) -> None:
        """A subject keeps at most a tenth; further entries replace its own."""
        for number in range(5):
            self.cache.put(Entry(b"good%d" % number, 1_000, subject=f"user{number}"))
        for number in range(1_000):
            self.cache.put(Entry(b"bad%d" % number, 1_000, subject="mallory"))
        self.assertEqual(len(self.keys(*(f"good{n}" for n in range(5)))), 5)
        self.assertEqual(self.cache.size, (5 + 6) * 1_500)
        self.assertEqual(self.keys("bad0", "bad994"), [b"bad994"])

    def test_share_of_entries_T83c(self) -> None:
        """A subject keeps a tenth of the number of entries, but sixteen in a small cache."""
        for most, kept in ((1_000, 100), (20, 16)):
            cache: LruCache[Entry] = LruCache(10**9, most)
            for number in range(500):
                cache.put(Entry(b"%d" % number, 0, subject="mallory"))
            self.assertEqual(len(cache), kept)

    def test_too_large_for_a_share_T83a(self) -> None:
        """An entry larger than a share is not kept, and the entry that it replaces is dropped."""
        self.cache.put(Entry(b"a", 100))
        self.cache.put(Entry(b"a", 10_000))
        self.assertEqual((self.keys("a"), len(self.cache), self.cache.size), ([], 0, 0))

    def test_further_names_T83b(self) -> None:
        """An entry has few further names, which are dropped with it, and count as bytes."""
        self.cache.put(Entry(b"a", 100, subject="alice"))
        for number in range(950):
            self.cache.alias(b"name%d" % number, b"a")
        self.assertEqual((len(self.cache), self.cache.size), (1, 1_400))
        self.assertEqual(self.keys("name0", "name949"), [b"name949"])
        again = Entry(b"a", 100, subject="alice")
        self.cache.put(again)
        self.assertIs(self.cache.get(b"name949"), again)
        self.cache.drop(b"a")
        self.assertEqual((self.keys("a", "name949"), self.cache.size), ([], 0))
        self.assertEqual(len(self.cache._named) + len(self.cache._shares), 0)

    def test_alias_of_unknown_key(self) -> None:
        """A key without an entry gets no further name."""
        self.cache.alias(b"name", b"a")
        self.assertEqual(self.keys("name"), [])

    def test_tags_T83d(self) -> None:
        """Entries are dropped by their tags; entries without the tag stay."""
        self.cache.put(Entry(b"a", 1, "alice", ("one", "two")))
        self.cache.put(Entry(b"b", 1, "bob", ("two", "three")))
        self.cache.put(Entry(b"c", 1, "carol"))
        self.cache.drop_tagged(["one", "unknown"])
        self.assertEqual(self.keys("a", "b", "c"), [b"b", b"c"])
        self.cache.drop_tagged(["two"])
        self.assertEqual(self.keys("a", "b", "c"), [b"c"])
        self.assertEqual(self.cache._tagged, {})

    def test_clear_empties_the_shares(self) -> None:
        """A cleared cache is empty, and so are its shares."""
        self.cache.put(Entry(b"a", 1, "alice", ("one",)))
        self.cache.alias(b"name", b"a")
        self.cache.clear()
        self.assertEqual((self.keys("a", "name"), len(self.cache), self.cache.size), ([], 0, 0))
        self.cache.put(Entry(b"a", 1, "alice", ("one",)))
        self.assertEqual(self.cache.size, 701)
