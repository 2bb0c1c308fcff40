"""Inspect the keys of a configuration section: which hold secrets, which hold other sections."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, get_origin

from pydantic import BaseModel, SecretStr

from authotron.model.errors import Location


@cache
def secret_keys(section: type[BaseModel]) -> tuple[str, ...]:
    """
    Return the keys that hold secrets, which may also be set by keys that end in C{_file} and
    C{_env}.
    """
    fields = section.model_fields.items()
    return tuple(key for key, of in fields if _holds_secret(of.annotation))


def _holds_secret(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return True
    return any(map(_holds_secret, getattr(annotation, "__args__", ())))


def nested_section(section: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the section that a key of another section holds, if the key holds one."""
    field = section.model_fields.get(key)
    return next(_sections(field.annotation), None) if field else None


def has_free_keys(section: type[BaseModel], key: str) -> bool:
    """Return whether a key holds a mapping from names, which the operator chooses, to sections."""
    return get_origin(section.model_fields[key].annotation) is dict


def section_at(section: type[BaseModel], location: Location) -> type[BaseModel]:
    """Return the innermost section with the key at C{location}, which is relative to C{section}."""
    for step in location:
        section = nested_section(section, str(step)) or section
    return section


def keys_at(section: type[BaseModel], location: Location) -> list[str]:
    """
    Return the valid keys at a location in the file, including the variants (C{_file}, C{_env}) of
    keys that hold secrets.
    """
    section = section_at(section, location)
    twins = [f"{key}_{way}" for key in secret_keys(section) for way in ("file", "env")]
    return [*section.model_fields, *twins]


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _sections(argument)


def without_positions(given: object, location: Location) -> Location:
    """
    Return a location without the positions of items that stand alone, where a list could stand,
    too.
    """
    steps: list[int | str] = []
    for step in location:
        if isinstance(given, dict) and isinstance(step, int) and step not in given:
            continue
        steps.append(step)
        if isinstance(given, dict):
            given = given.get(step)
        elif isinstance(given, list | tuple) and isinstance(step, int) and step < len(given):
            given = given[step]
    return tuple(steps)
