"""
Cache requests that the policies always allow, so that the policies are applied to each of them only
once.

Clients often request the same resources repeatedly, or many resources in the same folders. A
request whose ruling depends only on claims, method and folder is recognised by the values of two
headers, without parsing the path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from authotron.web.fastpath.sampling import is_chosen

if TYPE_CHECKING:  # imported only if policies are configured
    from authotron.policy.policies import Access, Policies

_LONGEST = 300
"""Maximum number of bytes of a remembered path."""

_LARGEST = 2_000
"""Maximum number of bytes of the access object of a client whose requests are remembered."""

_MOST = 2_000
"""
Maximum number of remembered paths and folders, each of which takes at most 2,700 bytes. When the
maximum is reached, the cache is cleared; paths that are requested often are soon cached again.
"""

ONE_IN = 16
"""
Of this many requests that are not in the cache only one is added to the cache, so that paths that
are requested only once cost little time.
"""

_MOST_MISSES = 64
"""
Number of requests in a row that were looked up in vain, after which only one request in C{ONE_IN}
is looked up, until a lookup succeeds.
"""

_NAME = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9._-]*").fullmatch
"""A regular expression for file names that every server interprets in the same way."""

_Key = tuple["Access", bytes, bytes]


class AlwaysAllowed:
    """
    Paths that the policies always allow to clients with some claims, and folders whose direct
    contents the policies always allow.

    The access object of a client serves as a key for its claims, because identities share an access
    object if they have the same claims, as far as rules read claims. A reload creates new access
    objects, so a cached request is never kept longer than the rules that allow the request.
    """

    def __init__(self) -> None:
        self._paths: set[_Key] = set()
        self._folders: set[_Key] = set()
        self._policies: Policies | None = None
        self._misses = 0

    def has(self, access: Access, method: bytes, uri: bytes) -> bool:
        """
        Return whether the policies always allow a request.

        @param method: the HTTP method in the form in which the proxy states it.
        @param uri: the path and the query in the form in which the proxy states them.
        """
        if self._misses < _MOST_MISSES or is_chosen(ONE_IN):
            path = uri.partition(b"?")[0]
            folder, _, name = path.rpartition(b"/")
            in_folder = (access, method, folder) in self._folders and _NAME(name)
            if in_folder or (access, method, path) in self._paths:
                self._misses = 0
                return True
        self._misses += 1
        return False

    def add(self, access: Access, method: bytes, uri: bytes, path: str, *, in_folder: bool) -> None:
        """
        Add a request that the policies always allow to the cache.

        @param path: the canonical path of the request; if the proxy spells the path in another way,
            nothing is remembered.
        @param in_folder: whether the policies always allow all other requests of the same method
            for paths directly in the same folder.
        """
        stated = uri.partition(b"?")[0]
        if access.__sizeof__() > _LARGEST or len(stated) > _LONGEST:
            return
        if stated != path.encode("latin-1", "replace"):
            return
        # Access objects keep their policies in memory, so access objects of replaced policies are
        # discarded.
        is_full = len(self._paths) + len(self._folders) >= _MOST
        if is_full or access.policies is not self._policies:
            self._policies = access.policies
            self._paths.clear()
            self._folders.clear()
        if in_folder:
            self._folders.add((access, method, stated.rpartition(b"/")[0]))
        else:
            self._paths.add((access, method, stated))
