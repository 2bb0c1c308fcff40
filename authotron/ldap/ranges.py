"""Attributes with more values than a server gives at once: it gives a range, and is asked on."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from attrs import evolve

from authotron.ldap.decoding import Entry
from authotron.model.errors import Unavailable

Read = Callable[[str, tuple[str, ...]], Awaitable[Entry | None]]
"""Reads some attributes of the entry with this name, if it is there."""

_MOST = 100
_NAME = re.compile(r"(?P<attribute>[^;]+);range=(?P<first>[0-9]{1,9})-(?P<last>[0-9]{1,9}|\*)")


async def read_all_values(read: Read, entry: Entry, attribute: str, most_bytes: int) -> Entry:
    """
    The entry with all values of an attribute.

    @raise Unavailable: the server does not say, or there is no end.
    """
    values = list(entry.attributes.get(attribute.lower(), ()))
    piece = _range(entry, attribute, 0)
    for _ in range(_MOST):
        if piece is None:
            break
        last, some = piece
        values += some
        if last is None:
            break
        rest = await read(entry.dn, (f"{attribute};range={last + 1}-*",))
        piece = _range(rest, attribute, last + 1) if rest else None
        if piece is None:
            raise Unavailable(f"values of {attribute} are missing")
        if sum(map(len, values)) > most_bytes:
            raise Unavailable(f"there is no end of values of {attribute}")
    else:
        raise Unavailable(f"there is no end of values of {attribute}")
    return evolve(entry, attributes={**entry.attributes, attribute.lower(): tuple(values)})


def _range(entry: Entry, attribute: str, first: int) -> tuple[int | None, tuple[bytes, ...]] | None:
    """
    The values that came as a range, and before them the place of the last if more follow.

    @raise Unavailable: it is not the range that begins at C{first}, or it leads nowhere.
    """
    prefix = f"{attribute.lower()};range="
    for name, values in entry.attributes.items():
        if name.startswith(prefix):
            found = _NAME.fullmatch(name)
            if found is None or int(found["first"]) != first:
                raise Unavailable(f"values of {attribute} that nobody asked for")
            if found["last"] == "*":
                return None, values
            if int(found["last"]) < first or not values:
                raise Unavailable(f"values of {attribute} that lead nowhere")
            return int(found["last"]), values
    return None
