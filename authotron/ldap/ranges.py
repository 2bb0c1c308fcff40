"""
Read attributes whose values a server returns in several ranges.

Active Directory returns at most 1,500 values at once, as C{memberOf;range=0-1499}; the client asks
for the next range until the server sends the last one (C{range=1500-*}).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from attrs import evolve

from authotron.ldap.decoding import Entry
from authotron.model.errors import Unavailable

ReadEntry = Callable[[str, tuple[str, ...]], Awaitable[Entry | None]]
"""
A function that reads attributes of the entry with a given DN, or returns C{None} if there is no
such entry.
"""

_MAX_RANGES = 100
"""
Maximum number of ranges that are requested for one attribute; a server that sends more is faulty.
"""

_NAME = re.compile(r"(?P<attribute>[^;]+);range=(?P<first>[0-9]{1,9})-(?P<last>[0-9]{1,9}|\*)")


async def read_all_values(read: ReadEntry, entry: Entry, attribute: str, max_bytes: int) -> Entry:
    """
    Return a copy of an entry that holds all values of an attribute, whose values the server may
    return in ranges.

    @param entry: an entry as the server returned it, perhaps with the first range of values only.
    @raise Unavailable: a range is missing, or there are more ranges or bytes than allowed.
    """
    values = list(entry.attributes.get(attribute.lower(), ()))
    range_ = _find_range(entry, attribute, 0)
    for _ in range(_MAX_RANGES):
        if range_ is None:
            break
        last, some = range_
        values += some
        if last is None:
            break
        rest = await read(entry.dn, (f"{attribute};range={last + 1}-*",))
        range_ = _find_range(rest, attribute, last + 1) if rest else None
        if range_ is None:
            raise Unavailable(f"the server did not return all values of {attribute}")
        if sum(map(len, values)) > max_bytes:
            raise Unavailable(f"attribute {attribute} has more than {max_bytes} bytes of values")
    else:
        raise Unavailable(f"attribute {attribute} has more than {_MAX_RANGES} ranges of values")
    return evolve(entry, attributes={**entry.attributes, attribute.lower(): tuple(values)})


def _find_range(
    entry: Entry, attribute: str, first: int
) -> tuple[int | None, tuple[bytes, ...]] | None:
    """
    Return the index of the last value in a range of an attribute's values, and the values.

    If the server marks the range as the last one, C{None} is returned instead of the index of the
    last value. If the entry contains no range of the attribute's values, C{None} is returned
    instead of the index and the values.

    @raise Unavailable: the range of values does not begin at C{first}, or is empty.
    """
    prefix = f"{attribute.lower()};range="
    for name, values in entry.attributes.items():
        if name.startswith(prefix):
            match = _NAME.fullmatch(name)
            if match is None or int(match["first"]) != first:
                raise Unavailable(
                    f"the server returned another range of {attribute} than the requested one"
                )
            if match["last"] == "*":
                return None, values
            if int(match["last"]) < first or not values:
                raise Unavailable(f"the server returned an empty range of {attribute}")
            return int(match["last"]), values
    return None
