"""
Remembers requests that the policies always allow, so that the policies are applied to them only
once.

Clients request the same resources again and again, or many resources in the same folders. A request
of this kind, whose ruling depends on nothing but claims, method and folder, is recognised by the
values of two headers, which need not be parsed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported only if policies are configured
    from authotron.policy.policies import Access, Policies

_LONGEST = 300
"""Maximum number of bytes of a remembered path."""

_LARGEST = 2_000
"""Maximum number of bytes of the access object of a client whose requests are remembered."""

_MOST = 2_000
"""
Maximum number of remembered paths and folders, each of which takes at most 2,700 bytes; when the
maximum is reached, all are forgotten, and those that are requested often soon return.
"""

_ONE_IN = 16
"""
One in this many requests that are not recognised is remembered, so that paths that are requested
only once cost little time.
"""

_MOST_MISSES = 64
"""
Number of requests in a row that were looked up in vain, after which only one request in C{_ONE_IN}
is looked up, until a lookup succeeds.
"""

_NAME = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9._-]*").fullmatch
"""Matches a name in a folder that every server reads in the same way."""

_Key = tuple["Access", bytes, bytes]


class AlwaysAllowed:
    """
    Paths that the policies always allow to clients with some claims, and folders whose direct
    contents the policies always allow.

    The access object of a client stands for its claims, because identities share the object if the
    rules see the same of them. A reload makes new access objects, so nothing is remembered for
    longer than the rules that allow it.
    """

    def __init__(self) -> None:
        self._paths: set[_Key] = set()
        self._folders: set[_Key] = set()
        self._policies: Policies | None = None
        self._misses = 0

    def has(self, access: Access, method: bytes, uri: bytes) -> bool:
        """
        Return whether the policies always allow a request.

        @param method: the method as the proxy states it.
        @param uri: path and query as the proxy states them.
        """
        self._misses += 1
        if self._misses > _MOST_MISSES and self._misses % _ONE_IN:
            return False
        path = uri.partition(b"?")[0]
        folder, _, name = path.rpartition(b"/")
        if (access, method, folder) in self._folders and _NAME(name):
            self._misses %= _ONE_IN
            return True
        if (access, method, path) in self._paths:
            self._misses %= _ONE_IN
            return True
        return False

    def is_next(self) -> bool:
        """Return whether the request that was looked up last should be remembered."""
        return not self._misses % _ONE_IN

    def add(self, access: Access, method: bytes, uri: bytes, path: str, *, in_folder: bool) -> None:
        """
        Remember a request that the policies always allow.

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
        # Access objects keep their policies alive, so those of replaced policies are forgotten.
        is_full = len(self._paths) + len(self._folders) >= _MOST
        if is_full or access.policies is not self._policies:
            self._policies = access.policies
            self._paths.clear()
            self._folders.clear()
        if in_folder:
            self._folders.add((access, method, stated.rpartition(b"/")[0]))
        else:
            self._paths.add((access, method, stated))
