"""Environment variables: C{AOT_SECTION__KEY} over the keys of the file, and plain numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from attrs import define
from pydantic import BaseModel

from authotron.config import environment_value, json_schema
from authotron.config.fields import nested_section, secret_keys
from authotron.config.schema import File
from authotron.config.sources import without_line_end
from authotron.config.spelling import did_you_mean, is_slip
from authotron.model.errors import ConfigError, Problem

PREFIX = "AOT_"
"""The beginning of the names of variables that set keys of the configuration."""

_V1_STRINGS = frozenset({"bind_address"})
"""The keys of version 1.0.0 alone whose values are strings."""

_MOST_DIGITS = 20
"""Maximum digits of a whole number in an environment variable."""

_SOME_VARIABLE = f"a variable that begins with {PREFIX}"
_STRAY_QUOTES = (
    "the quotes or backslashes in the value are part of it, as the value is taken literally; "
    "remove them if a shell should have done so"
)


def int_variable(
    environ: Mapping[str, str], name: str, default: int, minimum: int, maximum: int
) -> int:
    """
    Return a whole number from an environment variable, or C{default} if it is unset or empty.

    @raise ConfigError: the value is not a whole number from C{minimum} to C{maximum}.
    """
    text = environ.get(name) or str(default)
    is_whole = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    if not (is_whole and minimum <= int(text) <= maximum):
        message = f"must be a whole number from {minimum} to {maximum}"
        raise ConfigError([Problem(name, message)])
    return int(text)


class KeyKind(Enum):
    """How the string in an environment variable becomes the value of a key."""

    VALUE = "a number, a switch, a list, a mapping or a string, as it looks"
    STRING = "the string without blanks around it"
    STRINGS = "a list in brackets, else the string without blanks around it"
    SECRET = "the string as it stands"  # noqa: S105 - not a password


def kind_of(section: type[BaseModel], key: str) -> KeyKind:
    """Return how a key of a section reads the string in an environment variable."""
    secrets = [*secret_keys(section)]
    if key in secrets:
        return KeyKind.SECRET
    if key.removesuffix("_file") in secrets or key.removesuffix("_env") in secrets:
        return KeyKind.STRING
    field = section.model_fields.get(key)
    kinds = set(_types(field.annotation)) if field else set()
    if kinds and kinds <= {str, Path}:
        return KeyKind.STRING
    lists = {kind for kind in kinds if get_origin(kind) is tuple}
    return KeyKind.STRINGS if str in kinds and kinds - lists == {str} else KeyKind.VALUE


def _types(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union; for a literal the types of its values."""
    if get_origin(annotation) is Literal:
        yield from map(type, get_args(annotation))
    elif get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _types(each)
    elif get_origin(annotation) is Annotated:
        yield from _types(get_args(annotation)[0])
    elif annotation is not NoneType:
        yield annotation


@define
class Overlay:
    """
    Sets keys of a configuration from environment variables.

    A key whose value is a string takes the text of its variable literally, without one pair of
    quotes around it. The text for other keys is read by L{environment_value}.

    @ivar given: the mapping in the file, which is changed in place.
    """

    given: dict[str, Any]

    def apply(self, environ: Mapping[str, str]) -> list[str]:
        """Set the keys that variables name; return a warning for each suspicious variable."""
        known = sorted({*File.model_fields, *_V1_STRINGS})
        warnings = []
        for name in sorted(environ):
            if not name.startswith(PREFIX):
                continue
            steps = tuple(name[len(PREFIX) :].lower().split("__"))
            if steps[0] in known:
                kind = self._kind(steps, environ)
                value = read_value(environ[name], kind)
                self._set(steps, value)
                if _has_stray_quotes(environ[name], value):
                    is_known = kind is not KeyKind.VALUE or len(steps) == 1
                    warnings.append(f"{name if is_known else _SOME_VARIABLE}: {_STRAY_QUOTES}")
            elif len(steps) > 1:
                shown = name if is_slip(steps[0], known) else _SOME_VARIABLE
                warnings.append(f"{shown} is ignored{did_you_mean(steps[0], known)}")
        return warnings

    def _kind(self, steps: tuple[str, ...], environ: Mapping[str, str]) -> KeyKind:
        *others, last = steps
        if not others:
            return KeyKind.STRING if last in _V1_STRINGS else kind_of(File, last)
        section = json_schema.section_of(others[0], self._store_type(environ))
        for step in others[1:]:
            section = nested_section(section, step) if section else None
        return kind_of(section, last) if section else KeyKind.VALUE

    def _store_type(self, environ: Mapping[str, str]) -> str | None:
        """Return the C{type} of the store, which decides the other keys of the store."""
        store = self.given.get("store")
        written = store.get("type") if isinstance(store, dict) else None
        found = environ.get(f"{PREFIX}STORE__TYPE", written)
        return environment_value.unquoted(found.strip()) if isinstance(found, str) else None

    def _set(self, steps: tuple[str, ...], value: object) -> None:
        mapping = self.given
        for step in steps[:-1]:
            if not isinstance(mapping.get(step), dict):
                mapping[step] = {}
            mapping = mapping[step]
        mapping[steps[-1]] = value


def read_value(text: str, kind: KeyKind) -> object:
    """Return the value for a key of the configuration that a text stands for."""
    if kind is KeyKind.SECRET:
        return environment_value.unquoted(without_line_end(text))
    is_list = kind is KeyKind.STRINGS and text.lstrip().startswith("[")
    if kind is KeyKind.STRING or (kind is KeyKind.STRINGS and not is_list):
        return environment_value.unquoted(text.strip())
    return environment_value.parse(text.strip())


def _has_stray_quotes(text: str, value: object) -> bool:
    """
    Return whether a value keeps quotes or backslashes that a shell or a TOML reader would remove.

    Files for C{docker --env-file} often have such quotes, as Docker takes their lines literally.
    """
    if isinstance(value, dict | list):
        return any(map(_is_in_apostrophes, value.values() if isinstance(value, dict) else value))
    if not isinstance(value, str):
        return False
    whole = text.strip()
    is_kept = whole.startswith('"') and whole == value.strip()
    is_in_quotes = whole.startswith('"') and any(sign in value for sign in '"\\')
    return is_kept or is_in_quotes or _is_in_apostrophes(value)


def _is_in_apostrophes(value: object) -> bool:
    if isinstance(value, dict | list):
        return _has_stray_quotes("", value)
    return isinstance(value, str) and re.fullmatch(r"\s*'.*'\s*", value, re.DOTALL) is not None
