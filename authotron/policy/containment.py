"""
Finds out whether some permissions allow everything that other permissions allow, whatever the
request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from attrs import define

from authotron.policy.permissions import Permission
from authotron.policy.resources import ANY, DEEP, Resource, split

_OTHER = "\0"
"""A word that represents every segment, verb or id that no permission names."""

_MOST_STEPS = 100_000
"""
Maximum number of steps of one comparison. A step follows one position in a pattern, or compares one
permission with one id or one verb. Permissions that take more steps are treated as not contained,
so a request for them is refused.
"""


class _TooLong(Exception):
    """A comparison takes too many steps."""


@define
class _Steps:
    """The steps that are left for one comparison."""

    _left: int

    def take(self, count: int) -> None:
        """
        Count some steps.

        @raise _TooLong: not so many steps are left.
        """
        self._left -= count
        if self._left < 0:
            raise _TooLong


def contains(held: Sequence[Permission], asked: Sequence[Permission]) -> bool:
    """
    Return whether C{held} allows every request that C{asked} allows, with any id or with none.

    The answer is false if it would take too long to find out.
    """
    mine, theirs = _by_resource(held), _by_resource(asked)
    allowed = {each.resource for each in asked if not each.denies}
    steps = _Steps(_MOST_STEPS)
    try:
        return all(
            _covers(_about(fitting, mine), _about(fitting, theirs), steps)
            for fitting in _classes([*{**mine, **theirs}], allowed, steps)
        )
    except _TooLong:
        return False


def _by_resource(permissions: Iterable[Permission]) -> Mapping[str, Sequence[Permission]]:
    found = defaultdict[str, list[Permission]](list)
    for each in permissions:
        found[each.resource].append(each)
    return found


def _about(
    patterns: Iterable[str], permissions: Mapping[str, Sequence[Permission]]
) -> list[Permission]:
    return [each for pattern in patterns for each in permissions.get(pattern, ())]


def _covers(held: Sequence[Permission], asked: Sequence[Permission], steps: _Steps) -> bool:
    """Return whether permissions about one resource allow every verb and id that others allow."""
    ids = {None, _OTHER, *(id_ for each in (*held, *asked) for id_ in each.ids or ())}
    steps.take(len(ids) * (len(held) + len(asked)))
    return all(
        _covers_verbs(
            [each for each in held if each.counts_for(id_)],
            [each for each in asked if each.counts_for(id_)],
            steps,
        )
        for id_ in ids
    )


def _covers_verbs(held: Sequence[Permission], asked: Sequence[Permission], steps: _Steps) -> bool:
    """Return whether permissions about one resource and id allow every verb that others allow."""
    verbs = {_OTHER, *(verb for each in (*held, *asked) for verb in each.verbs)}
    steps.take(len(verbs) * (len(held) + len(asked)))
    return all(_allows(held, verb) or not _allows(asked, verb) for verb in verbs)


def _allows(permissions: Iterable[Permission], verb: str) -> bool:
    """Return whether permissions about one resource and id allow a given verb."""
    effects = [not each.denies for each in permissions if each.has_any_verb or verb in each.verbs]
    return bool(effects) and all(effects)


class _Position(NamedTuple):
    """A segment of a pattern that may follow the beginning of a resource."""

    pattern: int
    segment: int


class _State(NamedTuple):
    """
    How far the beginning of a resource fits patterns of resources.

    @ivar positions: the segments that may follow; a pattern that cannot fit any more has none.
    @ivar is_path: whether the beginning of the resource is a slash.
    """

    positions: frozenset[_Position]
    is_path: bool


def _classes(
    patterns: Sequence[str], wanted: AbstractSet[str], steps: _Steps
) -> Iterator[frozenset[str]]:
    """
    Yield the sets of patterns that can fit the same resource, each set at least once.

    @param wanted: sets without one of these patterns may be left out.

    @raise _TooLong: the patterns have too many combinations of positions.
    """
    every = frozenset(each for each in patterns if each == ANY)
    split_patterns = [split(each) for each in patterns if each != ANY]
    segments = [each.segments for each in split_patterns]
    needed = {
        number
        for number, each in enumerate(split_patterns)
        if ANY in wanted or _full(each) in wanted
    }
    yield every
    start = frozenset(_skipping(segments, (_Position(each, 0) for each in range(len(segments)))))
    left = [_State(after, is_path=not name) for name, after in _followers(segments, start, steps)]
    found, states = {every}, {*left}
    while left:
        state = left.pop()
        ended = (each for each in state.positions if each.segment == len(segments[each.pattern]))
        whole = [split_patterns[each.pattern] for each in ended]
        for fitting in _fitting(whole, is_path=state.is_path):
            names = every | fitting
            if names not in found:
                found.add(names)
                yield names
        for _, after in _followers(segments, state.positions, steps):
            following = _State(after, state.is_path)
            if following not in states and any(each.pattern in needed for each in after):
                states.add(following)
                left.append(following)


def _followers(
    segments: Sequence[Sequence[str]], positions: Iterable[_Position], steps: _Steps
) -> Iterator[tuple[str, frozenset[_Position]]]:
    """
    Yield the positions after one more segment of a resource has been read, for each segment that
    makes a difference.
    """
    by_name: dict[str, set[_Position]] = {"": set(), _OTHER: set(), ANY: set(), DEEP: set()}
    for pattern, number in positions:
        if number < len(segments[pattern]):
            segment = segments[pattern][number]
            after = _Position(pattern, number + (segment != DEEP))
            by_name.setdefault(segment, set()).add(after)
    deep, one = by_name.pop(DEEP), by_name.pop(ANY)
    for name, own in by_name.items():
        found = own | deep | one if name else own | deep
        steps.take(len(found) + 1)
        yield name, frozenset(_skipping(segments, found))


def _skipping(
    segments: Sequence[Sequence[str]], positions: Iterable[_Position]
) -> Iterator[_Position]:
    """
    Yield positions in patterns, and the positions behind each C{**}, because C{**} may stand for no
    segment.
    """
    for pattern, number in positions:
        yield _Position(pattern, number)
        while number < len(segments[pattern]) and segments[pattern][number] == DEEP:
            number += 1  # noqa: PLW2901 - the positions behind C{**} are yielded one by one
            yield _Position(pattern, number)


def _fitting(ended: Sequence[Resource], *, is_path: bool) -> Iterator[frozenset[str]]:
    """
    Yield the patterns that fit a resource without a slash at its end, and those that fit it with a
    slash.

    @param ended: the patterns that fit the resource if slashes at the end are ignored.
    """
    yield frozenset(each.text for each in ended if not each.ends_in_slash)
    if is_path:
        yield frozenset(map(_full, ended))


def _full(pattern: Resource) -> str:
    """Return a pattern as the permission has it, with its slash at the end."""
    return pattern.text + "/" * pattern.ends_in_slash
