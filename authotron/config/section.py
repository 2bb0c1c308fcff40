"""What every section of the configuration has in common: strictness, secrets, durations."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from authotron.config.spelling import did_you_mean, is_slip
from authotron.model import naming
from authotron.model.errors import ConfigError, Problem

NonEmptyStr = Annotated[str, StringConstraints(pattern=r"\S")]
"""A text that says something."""

NonEmptyStrs = Annotated[tuple[NonEmptyStr, ...], Field(strict=False)]
"""A list of texts, none of them empty."""


Name = Annotated[NonEmptyStr, AfterValidator(naming.normalized)]
"""What a user, a role or a scope is called, in the one spelling it has."""

Names = Annotated[tuple[Name, ...], Field(strict=False)]


def _realm(text: str) -> str:
    if why := naming.flaw(text):
        raise ValueError(f"{why}, so no identity of it could be passed on")
    return naming.normalized(text)


Realm = Annotated[NonEmptyStr, AfterValidator(_realm)]
"""The name of a realm; it keeps upper and lower case."""


def _located(path: object, info: ValidationInfo) -> object:
    folder = (info.context or {}).get("folder", Path())
    return located(path, folder) if isinstance(path, str) and path.strip() else path


def _beside_the_configuration(path: object, info: ValidationInfo) -> object:
    folder = (info.context or {}).get("folder", Path())
    return folder / path if isinstance(path, str) and path.strip() else path


_PATH = WithJsonSchema({"type": "string", "pattern": r"\S"})

FilePath = Annotated[Path, BeforeValidator(_located), _PATH]
"""The path of a file to read; for a relative one see L{located}."""

DataPath = Annotated[Path, BeforeValidator(_beside_the_configuration), _PATH]
"""The path of a file to write; a relative one begins where the configuration is."""

Port = Annotated[int, Field(ge=1, le=65535)]

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: object) -> object:
    """Numbers are seconds; texts carry a unit."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", value)
    if found is None:
        raise PydanticCustomError(
            "duration", "is no duration; write seconds, or 500ms, 10s, 5m, 2h, 1d"
        )
    number = float(found[1]) * _UNITS[found[2]]
    return int(number) if number.is_integer() else number


LONGEST = 10 * 366 * 86_400
"""The longest duration that means something, in seconds: ten years."""

_DURATION = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)?$"},
    ]
}


def _in_range(seconds: float) -> float:
    """
    Check the bounds that every duration has.

    They are not constraints of the type, as these would win over narrower ones of a key.
    """
    if not seconds >= 0:  # which NaN is not, either
        raise PydanticCustomError("greater_than_equal", "too small", {"ge": 0})
    if seconds > LONGEST:
        raise PydanticCustomError("less_than_equal", "too large", {"le": LONGEST})
    return seconds


Seconds = Annotated[
    float, BeforeValidator(_seconds), AfterValidator(_in_range), WithJsonSchema(_DURATION)
]
"""A duration: a number of seconds, or a text with a unit."""

WholeSeconds = Annotated[
    int, Field(ge=1, le=LONGEST), BeforeValidator(_seconds), WithJsonSchema(_DURATION)
]
"""A duration of a second or more, without a fraction."""


def without_line_end(secret: str) -> str:
    """A secret without the line end that came with a file or a variable."""
    return secret.removesuffix("\n").removesuffix("\r")


Secret = SecretStr
"""
A text that is never printed. Beside each key C{x} of this type there are two others: C{x_file}, a
file that holds the secret, and C{x_env}, the name of an environment variable that does.
"""

Environ = Mapping[str, str]


class Section(BaseModel):
    """A mapping of the configuration: unknown keys and wrong types are mistakes, null is none."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _nulls_and_files(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, dict):
            return given
        present = {
            key: value
            for key, value in given.items()
            if value is not None or key not in cls.model_fields or cls._is_required(key)
        }
        context = info.context or {}
        return _with_secrets_read(
            cls, present, Path(context.get("folder", ".")), context.get("environ", os.environ)
        )

    @classmethod
    def _is_required(cls, key: str) -> bool:
        return cls.model_fields[key].is_required()

    @classmethod
    def secrets(cls) -> Iterator[str]:
        """The keys that hold secrets, and so may come from a file or a variable."""
        return (key for key, of in cls.model_fields.items() if "SecretStr" in repr(of.annotation))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """The schema with the C{_file} and C{_env} twins of every secret."""
        schema: dict[str, Any] = handler.resolve_ref_schema(handler(core))
        properties = schema.setdefault("properties", {})
        for key in cls.secrets():
            properties[f"{key}_file"] = {
                "type": "string",
                "description": f"a file that holds `{key}`",
            }
            properties[f"{key}_env"] = {
                "type": "string",
                "description": f"the name of an environment variable that holds `{key}`",
            }
            if key in schema.get("required", []):
                schema["required"].remove(key)
                one = [{"required": [each]} for each in (key, f"{key}_file", f"{key}_env")]
                schema.setdefault("allOf", []).append({"anyOf": one})
        return schema


def _with_secrets_read(
    section: type[Section], given: dict[Any, Any], folder: Path, environ: Environ
) -> dict[Any, Any]:
    """Replace the C{_file} and C{_env} twins of secrets by the secrets that they name."""
    for key in section.secrets():
        path, variable = given.pop(f"{key}_file", None), given.pop(f"{key}_env", None)
        if path is None and variable is None:
            continue
        if given.get(key) is not None or (path is not None and variable is not None):
            why = f"give one of {key}, {key}_file and {key}_env, not both"
            raise PydanticCustomError("twice", "{why}", {"why": why})
        if path is not None:
            given[key] = _read(key, path, folder)
        else:
            given[key] = _from_variable(key, variable, environ)
    return given


def _from_variable(key: str, name: object, environ: Environ) -> str:
    """The secret in a variable. The name is not shown: it may be the secret itself, by mistake."""
    if not isinstance(name, str):
        raise _unread(f"{key}_env", "must be the name of an environment variable")
    secret = environ.get(name)
    if secret is None:
        raise _unread(f"{key}_env", "names no variable that is set")
    if not secret.strip():
        raise _unread(f"{key}_env", "names a variable that is empty")
    return without_line_end(secret)


def located(path: str, folder: Path) -> Path:
    """
    Where a file is that the configuration names.

    Relative paths begin at the credentials of systemd, or else beside the configuration. A folder
    that is loaded as a credential becomes files named C{folder_file} (systemd.exec(5),
    LoadCredential=), so C{folder/file} is found there, too.
    """
    beside = folder / path
    if directory := os.environ.get("CREDENTIALS_DIRECTORY"):
        credential = Path(directory, path.replace("/", "_"))
        return credential if os.access(credential, os.R_OK) else beside
    return beside


def _read(key: str, path: object, folder: Path) -> str:
    if not isinstance(path, str):
        raise _unread(f"{key}_file", "must be the path of a file")
    found = located(path, folder)
    try:
        return without_line_end(found.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise _unread(f"{key}_file", f"cannot read {found}: {reason}") from None


def _unread(key: str, why: str) -> PydanticCustomError:
    return PydanticCustomError("file", "{why}", {"key": key, "why": why})


def secrets_in(section: Section, at: str = "") -> Iterator[tuple[str, str]]:
    """Give the path and the text of each secret of a section and of the sections inside of it."""
    for key in type(section).model_fields:
        yield from _secrets_in(getattr(section, key), _joined(at, key))


def _secrets_in(value: object, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, SecretStr):
        yield at, value.get_secret_value()
    elif isinstance(value, Section):
        yield from secrets_in(value, at)
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _secrets_in(each, _joined(at, place))


# --- mistakes, in words ---

S = TypeVar("S", bound=Section)

_SAYINGS = {
    "missing": "is missing",
    "string_type": "must be a text; put quotes around it",
    "bool_type": "must be true or false (a bool)",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "path_type": "must be the path of a file",
    "string_pattern_mismatch": "must not be empty",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}


def read(
    section: type[S],
    given: object,
    at: str = "",
    folder: Path | None = None,
    environ: Environ | None = None,
) -> S:
    """
    The section that C{given} describes.

    @param at: where it stands in the file, for the paths of mistakes.
    @param environ: the variables that C{_env} keys name; those of the process if not given.

    @raise ConfigError: with all its mistakes at once.
    """
    context = {
        "folder": folder or Path(),
        "environ": os.environ if environ is None else environ,
    }
    try:
        return section.model_validate(given, context=context)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise ConfigError(_problem(section, given, at, each) for each in found) from None


def _problem(section: type[Section], given: object, at: str, error: ErrorDetails) -> Problem:
    """A mistake in words, without the values and the unknown keys of the file."""
    location = error["loc"]
    if error["type"] == "file":
        location = (*location, str(error.get("ctx", {}).get("key")))
    if error["type"] in ("extra_forbidden", "invalid_key"):
        return _unknown_key(section, given, at, location)
    return Problem(_path(section, given, at, location), _message(error), error["type"])


def _unknown_key(
    section: type[Section], given: object, at: str, location: tuple[int | str, ...]
) -> Problem:
    """
    A key that no section knows. It is shown only if it is a slip of one that is known: a secret
    becomes a key where a colon or a blank was forgotten.
    """
    above = _path(section, given, at, location[:-1])
    key, known = str(location[-1]), _keys(section, location[:-1])
    if is_slip(key, known, _section_at(section, location[:-1]).secrets()):
        return Problem(_joined(above, key), "unknown key" + did_you_mean(key, known))
    number = _number(_at(given, location[:-1]), location[-1])
    which = f", number {number} here" if number else ""
    why = f"unknown key{which}; it is not shown, as it may be a secret"
    return Problem(above, why, "extra_forbidden")


def _path(section: type[Section], given: object, at: str, location: tuple[int | str, ...]) -> str:
    """Where a mistake is; keys that the configuration chooses are counted and not shown."""
    for place, step in enumerate(location):
        there = _at(given, location[:place])
        if isinstance(step, str) and isinstance(there, dict) and step in there:
            known = step in _keys(section, location[:place])
            at = _joined(at, step if known else f"#{_number(there, step)}")
        else:
            at = _joined(at, step)
    return at


def _joined(at: str, step: int | str) -> str:
    return f"{at}[{step}]" if isinstance(step, int) else f"{at}.{step}" if at else step


def _at(given: object, location: tuple[int | str, ...]) -> object:
    """What was given at a place; steps that are pydantic's own lead nowhere."""
    for step in location:
        if isinstance(given, dict):
            given = given.get(step, given)
        elif isinstance(given, list | tuple) and isinstance(step, int) and step < len(given):
            given = given[step]
    return given


def _number(there: object, key: object) -> int:
    """Which of the keys of a mapping one is, counted from 1."""
    keys = [str(each) for each in there] if isinstance(there, dict) else []
    return keys.index(str(key)) + 1 if str(key) in keys else 0


def _message(error: ErrorDetails) -> str:
    if error["type"] in _SAYINGS:
        return _SAYINGS[error["type"]].format(**error.get("ctx", {}))
    return error["msg"].removeprefix("Value error, ")


def _keys(section: type[Section], location: tuple[int | str, ...]) -> list[str]:
    """The keys that are known at a place below C{section}."""
    section = _section_at(section, location)
    twins = [f"{key}_{way}" for key in section.secrets() for way in ("file", "env")]
    return [*section.model_fields, *twins]


def _section_at(section: type[Section], location: tuple[int | str, ...]) -> type[Section]:
    for step in location:
        section = section_below(section, str(step)) or section
    return section


def section_below(section: type[Section], key: str) -> type[Section] | None:
    """The section that a key holds, if it holds one."""
    field = section.model_fields.get(key)
    return next(_sections(field.annotation), None) if field else None


class KeyKind(Enum):
    """How the string in an environment variable becomes the value of a key."""

    VALUE = "whatever the string looks like"
    TEXT = "the string without blanks around it"
    TEXTS = "a list in brackets, else the string without blanks around it"
    SECRET = "the string as it stands"  # noqa: S105 - no password


def kind_of(section: type[Section], key: str) -> KeyKind:
    """Say how a key of a section reads an environment variable."""
    secrets = [*section.secrets()]
    if key in secrets:
        return KeyKind.SECRET
    if key.removesuffix("_file") in secrets or key.removesuffix("_env") in secrets:
        return KeyKind.TEXT
    field = section.model_fields.get(key)
    kinds = set(_kinds(field.annotation)) if field else set()
    if kinds and kinds <= {str, Path}:
        return KeyKind.TEXT
    lists = {kind for kind in kinds if get_origin(kind) is tuple}
    return KeyKind.TEXTS if str in kinds and kinds - lists == {str} else KeyKind.VALUE


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of; of a literal that of its values."""
    if get_origin(annotation) is Literal:
        yield from map(type, get_args(annotation))
    elif get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _kinds(each)
    elif get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif annotation is not NoneType:
        yield annotation


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _sections(argument)


def schema_of(annotation: Any) -> dict[str, Any]:
    """The JSON Schema of a section, or of a choice of them."""
    return TypeAdapter(annotation).json_schema(by_alias=True)
