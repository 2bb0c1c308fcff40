"""Sections of the configuration: strict pydantic models, and the types of their fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeVar

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
from pydantic_core import PydanticCustomError

from authotron.config import problems
from authotron.config.fields import secret_keys
from authotron.config.sources import KEY, Sources, sources_of
from authotron.model import naming
from authotron.model.errors import ConfigError

NonEmptyStr = Annotated[str, StringConstraints(pattern=r"\S")]
"""A string with at least one character that is not blank."""

NonEmptyStrs = Annotated[tuple[NonEmptyStr, ...], Field(strict=False)]
"""A list of strings, none of them empty."""

Name = Annotated[NonEmptyStr, AfterValidator(naming.normalize)]
"""The name of a user, a role or a scope, in normal form (trimmed, NFC)."""

Names = Annotated[tuple[Name, ...], Field(strict=False)]

PossibleName = Annotated[str, AfterValidator(naming.normalize)]
"""A name that may be empty, as in auth-o-tron; see L{naming.flaw}."""

PossibleNames = Annotated[tuple[PossibleName, ...], Field(strict=False)]


def warn_of_roles(roles: Iterable[str], whose: str) -> Iterator[str]:
    """
    Warn of roles that the gateway leaves out, because their names are not valid; C{whose} says
    where the roles are listed.
    """
    for role in roles:
        if why := naming.flaw(role, naming.MAX_ROLE, tab=True):
            yield f"role {role!a} of {whose} is left out: the role {why}"


def _realm(text: str) -> str:
    if why := naming.flaw(text):
        raise ValueError(f"{why}, so no user of this realm could be accepted")
    return naming.normalize(text)


Realm = Annotated[NonEmptyStr, AfterValidator(_realm)]
"""The name of a realm; upper and lower case are kept."""


def _resolve(path: object, info: ValidationInfo) -> object:
    is_path = isinstance(path, str) and path.strip()
    return sources_of(info).resolve_path(str(path)).absolute() if is_path else path


def _beside_the_configuration(path: object, info: ValidationInfo) -> object:
    return sources_of(info).folder / path if isinstance(path, str) and path.strip() else path


_PATH = WithJsonSchema({"type": "string", "pattern": r"\S"})

FilePath = Annotated[Path, BeforeValidator(_resolve), _PATH]
"""
The absolute path of a file that authotron reads; a relative path is resolved by
C{Sources.resolve_path}. The file need not exist when the configuration is checked.
"""

FilePaths = Annotated[tuple[FilePath, ...], Field(strict=False)]

DataPath = Annotated[Path, BeforeValidator(_beside_the_configuration), _PATH]
"""The path of a file that authotron writes, relative to the folder of the configuration file."""

Port = Annotated[int, Field(ge=1, le=65535)]

_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"

HeaderName = Annotated[str, Field(pattern=_HEADER, max_length=256)]
"""The name of a header field (RFC 9110 section 5.1)."""

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: object) -> object:
    """Convert a string with a unit to seconds; leave numbers as they are."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", value)
    if found is None:
        raise PydanticCustomError(
            "duration", "is not a duration; write seconds, or 500ms, 10s, 5m, 2h, 1d"
        )
    number = float(found[1]) * _UNITS[found[2]]
    return int(number) if number.is_integer() else number


LONGEST = 10 * 366 * 86_400
"""The longest duration that a configuration key accepts, in seconds: ten years."""

_DURATION = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)?$"},
    ]
}


def _in_range(seconds: float) -> float:
    """
    Return a duration, if it is not negative and at most L{LONGEST}.

    The bounds of durations are checked in a function, because pydantic constraints on the duration
    type would override narrower ones on a single key.
    """
    if not seconds >= 0:  # This comparison is true for NaN too, unlike C{seconds < 0}.
        raise PydanticCustomError("greater_than_equal", "too small", {"ge": 0})
    if seconds > LONGEST:
        raise PydanticCustomError("less_than_equal", "too large", {"le": LONGEST})
    return seconds


Seconds = Annotated[
    float, BeforeValidator(_seconds), AfterValidator(_in_range), WithJsonSchema(_DURATION)
]
"""A duration: a number of seconds, or a string with a unit."""

WholeSeconds = Annotated[
    int, Field(ge=1, le=LONGEST), BeforeValidator(_seconds), WithJsonSchema(_DURATION)
]
"""A duration of at least one second, without a fraction."""

Secret = SecretStr
"""
A secret: a string that is never printed.

Each configuration key C{x} of this type has two variants, where C{x_file} names a file that holds
the secret, and C{x_env} an environment variable that holds the secret.
"""

HIDDEN = "***"
"""The text that is shown instead of a secret."""

_LOGIN = re.compile(r"^([^/@\s]*//)?[^/\s]*@")
"""Matches the beginning of a URL up to the end of user and password."""


class SecretUrl(SecretStr):
    """A URL that may contain a user and a password, which are never printed."""

    def _display(self) -> str:
        return _LOGIN.sub(rf"\1{HIDDEN}@", self.get_secret_value())


class Section(BaseModel):
    """
    A mapping in the configuration; unknown keys and wrong types are problems.

    A key whose value is null counts as unset if the key has a default value.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, dict):
            return given
        present = {
            key: value
            for key, value in given.items()
            if value is not None or key not in cls.model_fields or cls._is_required(key)
        }
        return _with_secrets(cls, present, sources_of(info))

    @classmethod
    def _is_required(cls, key: str) -> bool:
        return cls.model_fields[key].is_required()

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """
        Return the section's JSON Schema, including the C{_file} and C{_env} variants of every
        secret.
        """
        schema: dict[str, Any] = handler.resolve_ref_schema(handler(core))
        properties = schema.setdefault("properties", {})
        for key in secret_keys(cls):
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


S = TypeVar("S", bound=Section)


def read(section: type[S], given: object, at: str = "", sources: Sources | None = None) -> S:
    """
    Validate a mapping as a section.

    @param at: the path of the mapping in the file; the path of every reported problem begins with
        it.
    @param sources: where files and variables are found; by default in the working folder and in the
        environment of the process.

    @raise ConfigError: all problems of the section.
    """
    context = {KEY: sources or Sources()}
    try:
        return section.model_validate(given, context=context)
    except ValidationError as error:
        # The module is loaded with the first error, so that a gateway starts faster.
        all_errors: Any = import_module("authotron.config.all_errors")
        found = all_errors.find_all(section, given, error, context)
        raise ConfigError(problems.describe_all(section, given, at, found)) from None


def secrets_in(section: Section, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each secret of a section and of the sections inside it."""
    for key in type(section).model_fields:
        yield from _secrets_in(getattr(section, key), problems.join(at, key))


def schema_of(annotation: Any) -> dict[str, Any]:
    """Return the JSON Schema of a section, or of a union of sections."""
    return TypeAdapter(annotation).json_schema(by_alias=True)


def _with_secrets(
    section: type[Section], given: dict[Any, Any], sources: Sources
) -> dict[Any, Any]:
    """Replace keys that end in C{_file} and C{_env} by the secrets that they name."""
    for key in secret_keys(section):
        of_file, of_variable = f"{key}_file", f"{key}_env"
        path, variable = given.pop(of_file, None), given.pop(of_variable, None)
        if path is None and variable is None:
            continue
        if given.get(key) is not None or (path is not None and variable is not None):
            why = f"give only one of {key}, {of_file} and {of_variable}"
            raise problems.of_key(key, why)
        if path is not None:
            given[key] = sources.secret_in_file(of_file, path)
        else:
            given[key] = sources.secret_in_variable(of_variable, variable)
    return given


def _secrets_in(value: object, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, SecretStr):
        yield at, value.get_secret_value()
    elif isinstance(value, Section):
        yield from secrets_in(value, at)
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _secrets_in(each, problems.join(at, place))
