"""
Find, among many patterns of resources, the patterns that match a resource.

All patterns are compared at the same time, segment by segment. So the time depends on the number of
segments and patterns, not on the number of ways in which a pattern could match.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from authotron.policy.resources import ANY, DEEP, MOST_SEGMENTS

T = TypeVar("T")


class _Branch(Generic[T]):
    """
    A position in the patterns of resources: it says which segments may follow.

    @ivar stays: whether any further segment leads to this position again, because the pattern has
        C{**} here.
    @ivar ends: the value of the pattern that ends at this node; the element C{[1]} is the value of
        the pattern that ends with a slash.
    @ivar tails: the values of the patterns that end at this node with C{**}, in the same form as
        C{ends}.
    """

    __slots__ = ("any", "by_name", "deep", "ends", "stays", "tails")

    def __init__(self, *, stays: bool = False) -> None:
        self.by_name: dict[str, _Branch[T]] = {}
        self.any: _Branch[T] | None = None
        self.deep: _Branch[T] | None = None
        self.stays = stays
        self.ends: list[T | None] = [None, None]
        self.tails: list[T | None] = [None, None]

    def child(self, segment: str) -> _Branch[T]:
        """Return the position behind a segment of a pattern, which is created if necessary."""
        if segment == DEEP:
            self.deep = self.deep or _Branch(stays=True)
            return self.deep
        if segment == ANY:
            self.any = self.any or _Branch()
            return self.any
        found = self.by_name.get(segment)
        if found is None:
            found = self.by_name[segment] = _Branch()
        return found

    def next(self, segment: str) -> list[_Branch[T]]:
        """Return the nodes of the pattern tree to which a segment of a resource leads."""
        named = self.by_name.get(segment)
        found = [] if named is None else named.with_deep()
        if self.any is not None and segment:
            found += self.any.with_deep()
        if self.stays:
            found += self.with_deep()
        return found

    def with_deep(self) -> list[_Branch[T]]:
        """
        Return this node, and the nodes that follow each C{**} wildcard, because C{**} may stand for
        no segment at all.
        """
        found, branch = [self], self.deep
        while branch is not None:
            found.append(branch)
            branch = branch.deep
        return found


class Patterns(Generic[T]):
    """
    A set of patterns of resources, each with a value.

    @ivar least: the minimum number of segments that a resource must have to match any pattern.
    """

    __slots__ = ("_start", "least")

    def __init__(self) -> None:
        self._start: _Branch[T] = _Branch()
        self.least = MOST_SEGMENTS

    def put(self, segments: Sequence[str], value: T, *, ends_in_slash: bool) -> None:
        """Add a pattern of resources with its value."""
        branch = self._start
        *first, last = segments
        for segment in first:
            branch = branch.child(segment)
        ends = branch.tails if last == DEEP else branch.child(last).ends
        ends[ends_in_slash] = value
        self.least = min(self.least, sum(each != DEEP for each in segments))

    def matching(self, segments: Sequence[str], *, ends_in_slash: bool) -> list[T]:
        """Return the values of the patterns that match the segments of a resource."""
        most = 2 if ends_in_slash else 1
        found = list[T | None]()
        branches = self._start.with_deep()
        for segment in segments:
            for branch in branches:
                found += branch.tails[:most]  # C{**} matches all remaining segments
            after = [each for branch in branches for each in branch.next(segment)]
            branches = [*dict.fromkeys(after)]
            if not branches:
                break
        for branch in branches:
            found += branch.tails[:most]
            found += branch.ends[:most]
        return [*dict.fromkeys(each for each in found if each is not None)]
