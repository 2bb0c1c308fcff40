"""
Finds out whether some permissions allow everything that other permissions allow, whatever the
request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from authotron.policy.permissions import Permission
from authotron.policy.resources import ANY, DEEP, Resource, split

_OTHER = "\0"
"""A word that represents every segment, verb or id that no permission names."""

_MOST_STATES = 10_000
"""
Maximum number of combinations of positions in patterns that are examined. Permissions with more
combinations are treated as not contained, so a request for them is refused.
"""


def contains(held: Sequence[Permission], asked: Sequence[Permission]) -> bool:
    """
    Return whether C{held} allows every request that C{asked} allows, with any id or with none.

    The answer is false if it would take too long to find out.
    """
    patterns = [*dict.fromkeys(each.resource for each in (*held, *asked))]
    verbs = {_OTHER, *(verb for each in (*held, *asked) for verb in each.verbs)}
    ids = {None, _OTHER, *(id_ for each in (*held, *asked) for id_ in each.ids or ())}
    for fitting in _classes(patterns):
        if fitting is None:
            return False
        mine = [each for each in held if each.resource in fitting]
        theirs = [each for each in asked if each.resource in fitting]
        if any(
            _allows(theirs, verb, id_) and not _allows(mine, verb, id_)
            for verb in verbs
            for id_ in ids
        ):
            return False
    return True


def _allows(permissions: Iterable[Permission], verb: str, id_: str | None) -> bool:
    """Return whether permissions about one resource allow a given verb."""
    effects = [
        not each.denies
        for each in permissions
        if each.counts_for(id_) and (each.has_any_verb or verb in each.verbs)
    ]
    return bool(effects) and all(effects)


class _State(NamedTuple):
    """
    How far the beginning of a resource fits each pattern of resources.

    @ivar positions: for each pattern the numbers of the segments that may follow.
    @ivar is_path: whether the beginning of the resource is a slash.
    """

    positions: tuple[frozenset[int], ...]
    is_path: bool


def _classes(patterns: Sequence[str]) -> Iterator[frozenset[str] | None]:
    """
    Yield the sets of patterns that can fit the same resource, each set at least once; yields
    C{None} if there are too many combinations.
    """
    every = {each for each in patterns if each == ANY}
    split_patterns = [split(each) for each in patterns if each != ANY]
    segments = [each.segments for each in split_patterns]
    alphabet = ["", _OTHER, *{name for each in segments for name in each} - {ANY, DEEP, ""}]
    start = tuple(_skipping(each, {0}) for each in segments)
    found: set[frozenset[str]] = {frozenset(every)}
    states = {_State(_after(segments, start, name), is_path=not name) for name in alphabet}
    left = [*states]
    yield frozenset(every)
    while left:
        state = left.pop()
        for fitting in _fitting(split_patterns, state):
            names = frozenset(every | {*fitting})
            if names not in found:
                found.add(names)
                yield names
        for name in alphabet:
            after = _State(_after(segments, state.positions, name), state.is_path)
            if after not in states:
                states.add(after)
                left.append(after)
        if len(states) > _MOST_STATES:
            yield None
            return


def _skipping(segments: Sequence[str], positions: Iterable[int]) -> frozenset[int]:
    """
    Return positions in a pattern, and the positions behind each C{**}, because C{**} may stand for
    no segment.
    """
    found = {*positions}
    for position in sorted(found):
        while position < len(segments) and segments[position] == DEEP:
            position += 1  # noqa: PLW2901 - the positions behind C{**} are added one by one
            found.add(position)
    return frozenset(found)


def _after(
    segments: Sequence[Sequence[str]], positions: Sequence[frozenset[int]], name: str
) -> tuple[frozenset[int], ...]:
    """Return the positions in each pattern after one more segment of a resource has been read."""
    return tuple(
        _skipping(
            each,
            {
                position + (each[position] != DEEP)
                for position in held
                if position < len(each) and _fits(each[position], name)
            },
        )
        for each, held in zip(segments, positions, strict=True)
    )


def _fits(segment: str, name: str) -> bool:
    return segment in (DEEP, name) or (segment == ANY and name != "")


def _fitting(patterns: Sequence[Resource], state: _State) -> Iterator[list[str]]:
    """
    Yield the patterns that fit a resource which ends at this segment, without and
    with a slash.
    """
    ended = [
        pattern
        for pattern, held in zip(patterns, state.positions, strict=True)
        if len(pattern.segments) in held
    ]
    yield [each.text for each in ended if not each.ends_in_slash]
    if state.is_path:
        yield [each.text + "/" * each.ends_in_slash for each in ended]
