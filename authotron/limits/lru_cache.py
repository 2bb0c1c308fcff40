"""An LRU cache with a budget of bytes, of which the entries of one user may take a tenth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from attrs import define, field

DEFAULT_BYTES = 4 * 2**20
"""Maximum number of bytes that a cache may take up by default."""


_SHARE = 10
"""One subject, such as a user, may take up a tenth of the bytes and of the entries of a cache."""

_LEAST_SHARE = 16
"""Minimum number of entries that each subject may have, even in the smallest cache."""

ENTRY, NAME = 500, 200
"""
Estimated bytes of memory for a cache entry without its value, and for each further name of it.
"""

_MAX_NAMES = 4
"""Maximum number of aliases of a cache entry; a new alias replaces the oldest one."""


class Entry:
    """
    An entry of an L{LruCache}; subclasses add the value.

    A cache has thousands of entries, so each entry is one object, to save memory.

    @ivar size: the number of bytes that the entry takes up; the constructor gets the bytes of the
        value alone.
    @ivar subject: the subject that the entry belongs to, such as a user, or C{None}; the entries of
        a subject may take up a tenth of the cache.
    @ivar tags: tags of the cache entry; all entries with a tag can be dropped at once.
    @ivar names: aliases under which the cache entry is also found.
    """

    __slots__ = ("key", "names", "size", "subject", "tags")

    def __init__(
        self, key: bytes, size: int, subject: Hashable = None, tags: tuple[str, ...] = ()
    ) -> None:
        self.key = key
        self.size = size + ENTRY + NAME * len(tags)
        self.subject = subject
        self.tags = tags
        self.names: list[bytes] | None = None


E = TypeVar("E", bound=Entry)


class _Share:
    """The keys (oldest first) and total bytes of the entries of a subject with several entries."""

    __slots__ = ("keys", "size")

    def __init__(self, first: Entry) -> None:
        self.keys = [first.key]
        self.size = first.size


@define(eq=False)
class LruCache(Generic[E]):
    """
    A cache with a budget of bytes and of entries; the least recently used entries are evicted.

    One subject may take up a tenth of the bytes and a tenth of the entries of the cache. If the
    entries of a subject exceed a tenth of the budget, the oldest entries of this subject are
    evicted, never those of other subjects. An entry larger than a tenth of the budget is not kept.

    @ivar size: the number of bytes that all entries of the cache take up.
    """

    _max_bytes: int
    _max_entries: int
    size: int = field(default=0, init=False)
    _max_share: int = field(init=False)
    _entries: OrderedDict[bytes, E] = field(factory=OrderedDict, init=False, repr=False)
    _named: dict[bytes, E] = field(factory=dict, init=False, repr=False)
    _shares: dict[Hashable, Entry | _Share] = field(factory=dict, init=False, repr=False)
    _tagged: dict[str, bytes | set[bytes]] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._max_share = self._max_bytes // _SHARE

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> Iterable[E]:
        """
        Return all entries of the cache; the caller must not add or remove entries while it iterates
        over them.
        """
        return self._entries.values()

    def get(self, name: bytes) -> E | None:
        """
        Return the cache entry with a given key or alias, and mark the entry as the most recently
        used.
        """
        entry = self._entries.get(name) or self._named.get(name)
        if entry is not None:
            self._entries.move_to_end(entry.key)
        return entry

    def put(self, entry: E) -> None:
        """
        Add an entry to the cache; if it replaces an entry with the same key, the
        aliases are kept.
        """
        entries, subject = self._entries, entry.subject
        if entry.key in entries:
            self._replace(entry)
            return
        if entry.size > self._max_share:
            return
        entries[entry.key] = entry
        self.size += entry.size
        if entry.tags:
            self._tag(entry)
        if subject is not None and self._shares.setdefault(subject, entry) is not entry:
            self._add_to_share(entry)
        if self.size > self._max_bytes or len(entries) > self._max_entries:
            self._shrink()

    def _replace(self, entry: E) -> None:
        earlier = self.drop(entry.key)
        self.put(entry)
        for name in (earlier and earlier.names) or ():
            self.alias(name, entry.key)

    def alias(self, name: bytes, key: bytes) -> None:
        """Let a cache entry also be found under an alias; keep at most four aliases."""
        entry = self._entries.get(key)
        if entry is None or name in self._named:
            return
        if entry.names is None:
            entry.names = []
        if len(entry.names) == _MAX_NAMES:
            del self._named[entry.names.pop(0)]
        else:
            self._grow(entry, NAME)
        entry.names.append(name)
        self._named[name] = entry
        self._shrink()

    def drop(self, key: bytes) -> E | None:
        """
        Remove the cache entry with a given key, and return it, or C{None} if there is no such
        entry.
        """
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._dropped(entry)
        return entry

    def _dropped(self, entry: E) -> None:
        self.size -= entry.size
        if entry.names:
            for name in entry.names:
                del self._named[name]
        if entry.tags:
            self._untag(entry)
        if entry.subject is not None:
            self._take_from_share(entry)

    def drop_tagged(self, tags: Iterable[str]) -> None:
        """Remove all cache entries that have one of the given tags."""
        for tag in tags:
            keys = self._tagged.get(tag, ())
            for key in (keys,) if isinstance(keys, bytes) else tuple(keys):
                self.drop(key)

    def clear(self) -> None:
        """Remove all entries of the cache."""
        self._entries.clear()
        self._named.clear()
        self._shares.clear()
        self._tagged.clear()
        self.size = 0

    def _tag(self, entry: E) -> None:
        """Index a cache entry by its tags; a tag with only one entry needs no set."""
        for tag in entry.tags:
            keys = self._tagged.setdefault(tag, entry.key)
            if isinstance(keys, set):
                keys.add(entry.key)
            elif keys != entry.key:
                self._tagged[tag] = {keys, entry.key}

    def _untag(self, entry: E) -> None:
        for tag in entry.tags:
            keys = self._tagged[tag]
            if isinstance(keys, set) and len(keys) > 1:
                keys.discard(entry.key)
            else:
                del self._tagged[tag]

    def _grow(self, entry: E, more: int) -> None:
        entry.size += more
        self.size += more
        share = self._shares.get(entry.subject)
        if isinstance(share, _Share):
            share.size += more

    def _add_to_share(self, entry: E) -> None:
        """
        Count one more entry of a subject; a L{_Share} exists only for subjects
        with two or more.
        """
        share = self._shares[entry.subject]
        if not isinstance(share, _Share):
            share = self._shares[entry.subject] = _Share(share)
        share.keys.append(entry.key)
        share.size += entry.size
        most = max(_LEAST_SHARE, self._max_entries // _SHARE)
        while share.size > self._max_share or len(share.keys) > most:
            self.drop(share.keys[0])

    def _take_from_share(self, entry: E) -> None:
        share = self._shares[entry.subject]
        if isinstance(share, _Share):
            share.keys.remove(entry.key)
            share.size -= entry.size
        if not isinstance(share, _Share) or not share.keys:
            del self._shares[entry.subject]

    def _shrink(self) -> None:
        while self.size > self._max_bytes or len(self._entries) > self._max_entries:
            self._dropped(self._entries.popitem(last=False)[1])
