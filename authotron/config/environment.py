"""Read environment variables, such as C{AOT_SERVER__PORT}, which override keys of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from attrs import define, field
from pydantic import BaseModel

from authotron.config import environment_value, json_schema
from authotron.config.fields import nested_section, secret_keys
from authotron.config.schema import File
from authotron.config.sources import without_line_end
from authotron.config.spelling import did_you_mean, is_slip
from authotron.model.errors import ConfigError, Location, Problem

PREFIX = "AOT_"
"""The prefix of the names of environment variables that set keys of the configuration."""

_V1_STRINGS = frozenset({"bind_address"})
"""Keys of configuration format 1.0.0, unknown to 2.0.0, whose values are strings."""

_SECRETS_OF_AUTH_O_TRON = frozenset({"secret", "uri"})
"""
The keys of auth-o-tron that hold secrets; blanks around these secrets are removed, as auth-o-tron
does.
"""

_MAY_BE_EMPTY = frozenset({("jwt", "aud")})
"""
The keys that an empty environment variable sets to the empty string; for all other keys an empty
variable is ignored.
"""

_MOST_DIGITS = 20
"""Maximum number of digits of a whole number in an environment variable."""

_SOME_VARIABLE = f"a variable that begins with {PREFIX}"
_STRAY_QUOTES = (
    "the quotes or backslashes in the value are part of it, as the value is taken literally; "
    "remove them if a shell should have done so"
)

_CUT_BLANKS = "blanks or line ends around the value are not part of the secret, as in auth-o-tron"
_KEPT_BLANKS = (
    "blanks or line ends around the value are part of it, as in auth-o-tron, because the value "
    "has commas, brackets or quotes"
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
    """
    The ways to convert the text of an environment variable to the value of a
    configuration key.
    """

    VALUE = "the text is parsed as a number, a switch, a list, a mapping or a string"
    STRING = "the text is the string, as auth-o-tron reads it: mostly without surrounding blanks"
    STRINGS = "a text in brackets is parsed as a list; any other text is taken as a string"
    SWITCH = "the text is true or false, in upper or lower case"
    SECRET = "the text is the string, with all its blanks"  # noqa: S105 - not a password


def kind_of(section: type[BaseModel], key: str) -> KeyKind:
    """
    Return in which way the string of an environment variable is converted to the value of a key of
    a section.
    """
    secrets = [*secret_keys(section)]
    if key in secrets:
        return KeyKind.STRING if key in _SECRETS_OF_AUTH_O_TRON else KeyKind.SECRET
    if key.removesuffix("_file") in secrets or key.removesuffix("_env") in secrets:
        return KeyKind.STRING
    found = section.model_fields.get(key)
    kinds = set(_types(found.annotation)) if found else set()
    if kinds and kinds <= {str, Path}:
        return KeyKind.STRING
    if kinds == {bool}:
        return KeyKind.SWITCH
    lists = {kind for kind in kinds if get_origin(kind) is tuple}
    return KeyKind.STRINGS if str in kinds and kinds - lists == {str} else KeyKind.VALUE


def _types(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union type; for a C{Literal} yield the types of its values."""
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

    Variable names are case-insensitive. A key whose value is a string takes the text of its
    environment variable literally, except that surrounding blanks and one pair of surrounding
    quotes are removed. The function L{environment_value} parses the variables for keys that are not
    strings. A mapping in an environment variable is merged over the mapping in the configuration
    file.

    @ivar given: the mapping that was read from the file; the environment variables are merged into
        it.
    @ivar variables: for each configuration key that an environment variable set, the name of the
        variable, in a form that messages may show.
    """

    given: dict[str, Any]
    variables: dict[Location, str] = field(factory=dict, init=False)

    def apply(self, environ: Mapping[str, str]) -> list[str]:
        """
        Set configuration keys from environment variables, and return warnings about variables that
        look wrong.
        """
        known = sorted({*File.model_fields, *_V1_STRINGS})
        warnings: list[str] = []
        for steps, name in sorted_by_key(environ):
            if steps[0] in known:
                warnings += self._apply(steps, name, environ)
            elif len(steps) > 1:
                shown = name if is_slip(steps[0], known) else _SOME_VARIABLE
                warnings.append(f"{shown} is ignored{did_you_mean(steps[0], known)}")
        return warnings

    def _apply(
        self, steps: tuple[str, ...], name: str, environ: Mapping[str, str]
    ) -> Iterator[str]:
        text, kind = environ[name], self._kind(steps, environ)
        is_known = kind is not KeyKind.VALUE or len(steps) == 1 or self._is_key(steps, environ)
        shown = name if is_known else _SOME_VARIABLE
        if why := self._why_ignored(steps, text):
            yield f"{shown}: {why}"
            return
        if steps in self.variables:
            yield f"{shown}: used instead of {self.variables[steps]}, which sets the same key"
        value = read_value(text, kind)
        self._set(steps, value, shown)
        if warning := _warning(text, value, is_secret=steps[-1] in _SECRETS_OF_AUTH_O_TRON):
            yield f"{shown}: {warning}"

    def _why_ignored(self, steps: tuple[str, ...], text: str) -> str:
        """Return why an environment variable is ignored, or an empty string if it is used."""
        is_older = self.given.get("version") == "1.0.0"
        if not text.strip() and steps not in _MAY_BE_EMPTY:
            return "empty, so ignored"
        if steps == ("bind_address",) and not is_older:
            return "ignored, as only configurations of version 1.0.0 have this key"
        if steps[0] == "server" and is_older:
            return "ignored, as the configuration has version 1.0.0; set AOT_BIND_ADDRESS instead"
        return ""

    def _is_key(self, steps: tuple[str, ...], environ: Mapping[str, str]) -> bool:
        """
        Return whether the name of a variable is that of a configuration key, or a misspelling of
        one, and so no secret.
        """
        section = self._section(steps, environ)
        if section is None:
            return False
        keys = section.model_fields
        return steps[-1] in keys or is_slip(steps[-1], keys, secret_keys(section))

    def _kind(self, steps: tuple[str, ...], environ: Mapping[str, str]) -> KeyKind:
        if len(steps) == 1:
            is_string = steps[0] in _V1_STRINGS
            return KeyKind.STRING if is_string else kind_of(File, steps[0])
        section = self._section(steps, environ)
        return kind_of(section, steps[-1]) if section else KeyKind.VALUE

    def _section(
        self, steps: tuple[str, ...], environ: Mapping[str, str]
    ) -> type[BaseModel] | None:
        section = json_schema.section_of(steps[0], self._type_in(steps[0], environ))
        for step in steps[1:-1]:
            section = nested_section(section, step) if section else None
        return section

    def _type_in(self, key: str, environ: Mapping[str, str]) -> str | None:
        """
        Return the C{type} in the section of a plugin, which decides what other keys the section
        has.

        @param key: the key of the section, such as C{store}.
        """
        section = self.given.get(key)
        written = section.get("type") if isinstance(section, dict) else None
        named = (environ[name] for steps, name in sorted_by_key(environ) if steps == (key, "type"))
        found = next(named, written)
        return environment_value.unquoted(found.strip()) if isinstance(found, str) else None

    def _set(self, steps: tuple[str, ...], value: object, name: str) -> None:
        mapping = self.given
        for step in steps[:-1]:
            if not isinstance(mapping.get(step), dict):
                mapping[step] = {}
            # A YAML mapping may be shared by aliases, so change a copy, not the shared mapping.
            mapping[step] = mapping = dict(mapping[step])
        self._lay_over(mapping, steps, value, name)

    def _lay_over(
        self, mapping: dict[str, Any], steps: tuple[str, ...], value: object, name: str
    ) -> None:
        """Set a key of the configuration; a mapping is merged over the mapping in the file."""
        key = steps[-1]
        if isinstance(value, dict) and (value or isinstance(mapping.get(key), dict)):
            there = mapping.get(key)
            mapping[key] = dict(there) if isinstance(there, dict) else {}
            for below, each in value.items():
                self._lay_over(mapping[key], (*steps, below), each, name)
        else:
            mapping[key] = value
            self.variables[steps] = name


def sorted_by_key(environ: Mapping[str, str]) -> list[tuple[tuple[str, ...], str]]:
    """
    Return pairs of a configuration key and the environment variable that sets it.

    C{version} is read first, because other keys depend on it. A section is set before its keys. If
    the names of several variables differ only in upper and lower case, the name in capitals comes
    last.
    """
    found = []
    for name in environ:
        stripped = name.strip()
        if stripped[: len(PREFIX)].upper() == PREFIX:
            steps = tuple(stripped[len(PREFIX) :].lower().replace("__", ".").split("."))
            if all(steps):
                found.append((steps, name))
    return sorted(
        found,
        key=lambda each: (
            each[0] != ("version",),
            each[0],
            each[1] == each[1].upper(),
            each[1],
        ),
    )


def read_value(text: str, kind: KeyKind) -> object:
    """Convert the text of an environment variable to the value of a configuration key."""
    if kind is KeyKind.SECRET:
        return environment_value.unquoted(without_line_end(text))
    is_list = kind is KeyKind.STRINGS and text.lstrip().startswith("[")
    if kind is KeyKind.STRING or (kind is KeyKind.STRINGS and not is_list):
        return environment_value.as_string(text)
    is_switch = kind is KeyKind.SWITCH and text.strip().lower() in ("true", "false")
    return environment_value.parse(text.strip().lower() if is_switch else text.strip())


def _warning(text: str, value: object, *, is_secret: bool) -> str:
    """
    Return a warning if the text of an environment variable is probably not written as intended, or
    else an empty string.
    """
    if _has_stray_quotes(text, value):
        return _STRAY_QUOTES
    if not isinstance(value, str) or '"' in text:
        return ""
    if value != value.strip():
        return _KEPT_BLANKS
    return _CUT_BLANKS if is_secret and value != without_line_end(text) else ""


def _has_stray_quotes(text: str, value: object) -> bool:
    """
    Return whether a value keeps quotes or backslashes that a shell or a TOML reader would remove.

    Files for C{docker --env-file} often have quoted values, as Docker takes lines literally.
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
