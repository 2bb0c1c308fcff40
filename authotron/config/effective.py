"""List the effective values of a configuration, without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen
from pydantic import BaseModel, SecretStr

from authotron.config import problems
from authotron.config.check import Config
from authotron.config.origins import Origin
from authotron.config.section import HIDDEN, SecretUrl
from authotron.model.errors import Location

_USER = re.compile(r"//[^/@\s]*@")
"""Matches user and password in a URL."""

_SECRET_NAME = re.compile(
    "authorization|cookie|credential|password|secret|token|api.?key", re.IGNORECASE
)
"""
Matches the names of values that are probably secrets, in mappings whose keys a plugin does not
declare, such as HTTP headers.
"""

_QUERY = re.compile(r"^(https?://[^?]*)\?.+")
"""Matches a URL with a query, which may hold a secret."""


@frozen
class Value:
    """
    One effective value of a configuration.

    @ivar path: the path of the key, in the form that messages show.
    @ivar value: a number, a switch, a string, C{None}, or an empty list or mapping.
    """

    path: str
    location: Location
    value: object
    origin: Origin


def values(config: Config) -> Iterator[Value]:
    """Yield every value of a configuration, defaults included, in the order of the file's keys."""
    whole: dict[str, object] = {
        key: getattr(config.file, key) for key in type(config.file).model_fields
    }
    whole |= {"providers": config.providers, "augmenters": config.augmenters}
    whole["store"] = config.store or {"enabled": False}
    whole["policy"] = config.policy.section if config.policy else None
    if config.file.revocation is None:
        del whole["revocation"]  # An empty section would switch revocation on.
    for key, value in whole.items():
        for location, leaf in _leaves(value, (key,)):
            yield Value(_path(location), location, leaf, config.origins.of(location))


def nested(found: Sequence[Value]) -> dict[str, Any]:
    """Return effective values as nested mappings and lists, in the form of a configuration file."""
    whole: dict[str, Any] = {}
    for each in found:
        at: Any = whole
        for step, following in zip(each.location, each.location[1:], strict=False):
            at = _below(at, step, [] if isinstance(following, int) else {})
        _below(at, each.location[-1], each.value)
    return whole


def _below(at: Any, step: int | str, new: object) -> Any:
    """
    Return the value at an index of a list or a key of a mapping; if it is missing, insert C{new}
    there.
    """
    if isinstance(at, list):
        if len(at) == step:
            at.append(new)
        return at[int(step)]
    return at.setdefault(step, new)


def _leaves(value: object, location: Location) -> Iterator[tuple[Location, object]]:
    if isinstance(value, BaseModel):
        for key, described in type(value).model_fields.items():
            each = getattr(value, key)
            is_hidden = each and not described.repr
            yield from _leaves(HIDDEN if is_hidden else each, (*location, key))
    elif isinstance(value, Mapping) and value:
        for key, each in value.items():
            is_hidden = isinstance(each, str) and _SECRET_NAME.search(str(key))
            yield from _leaves(HIDDEN if is_hidden else each, (*location, str(key)))
    elif isinstance(value, list | tuple) and value:
        for place, each in enumerate(value):
            yield from _leaves(each, (*location, place))
    else:
        yield location, _plain(value)


def _plain(value: object) -> object:
    if isinstance(value, SecretUrl):
        return str(value)
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, Mapping):
        return {}
    if isinstance(value, list | tuple):
        return []
    if value is None or isinstance(value, bool | int | float):
        return value
    shown = _USER.sub(f"//{HIDDEN}@", str(value))
    return _QUERY.sub(rf"\1?{HIDDEN}", shown)


def _path(location: Location) -> str:
    path = ""
    for step in location:
        path = problems.join(path, step)
    return path
