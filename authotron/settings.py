"""What every section of the configuration has in common: strictness, secrets, durations."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
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
from pydantic_core import ErrorDetails, PydanticCustomError

from authotron import naming
from authotron.errors import ConfigError, Problem

Text = Annotated[str, StringConstraints(pattern=r"\S")]
"""A text that says something."""

Texts = Annotated[tuple[Text, ...], Field(strict=False)]
"""A list of texts, none of them empty."""


Name = Annotated[Text, AfterValidator(naming.normalized)]
"""What a user, a role or a scope is called, in the one spelling it has."""

Names = Annotated[tuple[Name, ...], Field(strict=False)]


def _realm(text: str) -> str:
    if why := naming.flaw(text):
        raise ValueError(f"{why}, so no identity of it could be passed on")
    return naming.normalized(text)


Realm = Annotated[Text, AfterValidator(_realm)]
"""The name of a realm; it keeps upper and lower case."""


def _beside_the_configuration(path: object, info: ValidationInfo) -> object:
    folder = (info.context or {}).get("folder", Path())
    return folder / path if isinstance(path, str) and path.strip() else path


FilePath = Annotated[
    Path,
    BeforeValidator(_beside_the_configuration),
    WithJsonSchema({"type": "string", "pattern": r"\S"}),
]
"""The path of a file; a relative one begins where the configuration is."""

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


def _one_line_end_less(secret: SecretStr) -> SecretStr:
    """A line end that came with a file or a variable is not part of a secret."""
    return SecretStr(secret.get_secret_value().removesuffix("\n").removesuffix("\r"))


Secret = Annotated[SecretStr, AfterValidator(_one_line_end_less)]
"""
A text that is never printed. Beside each key C{x} of this type there is a key C{x_file}: a file
that holds the secret.
"""


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
        return _with_files_read(cls, present, Path((info.context or {}).get("folder", ".")))

    @classmethod
    def _is_required(cls, key: str) -> bool:
        return cls.model_fields[key].is_required()

    @classmethod
    def secrets(cls) -> Iterator[str]:
        """The keys that hold secrets, and so may come from a file."""
        return (key for key, of in cls.model_fields.items() if "SecretStr" in repr(of.annotation))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """The schema with the C{_file} twin of every secret."""
        schema: dict[str, Any] = handler.resolve_ref_schema(handler(core))
        properties = schema.setdefault("properties", {})
        for key in cls.secrets():
            properties[f"{key}_file"] = {
                "type": "string",
                "description": f"a file that holds `{key}`",
            }
            if key in schema.get("required", []):
                schema["required"].remove(key)
                either = {"anyOf": [{"required": [key]}, {"required": [f"{key}_file"]}]}
                schema.setdefault("allOf", []).append(either)
        return schema


def _with_files_read(section: type[Section], given: dict[Any, Any], folder: Path) -> dict[Any, Any]:
    for key in section.secrets():
        path = given.pop(f"{key}_file", None)
        if path is None:
            continue
        if key in given:
            raise PydanticCustomError("twice", f"give {key} or {key}_file, not both")
        given[key] = _read(key, path, folder)
    return given


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
        raise _unread(key, "must be the path of a file")
    found = located(path, folder)
    try:
        return found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise _unread(key, f"cannot read {found}: {reason}") from None


def _unread(key: str, why: str) -> PydanticCustomError:
    return PydanticCustomError("file", "{why}", {"key": f"{key}_file", "why": why})


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


def read(section: type[S], given: object, at: str = "", folder: Path | None = None) -> S:
    """
    The section that C{given} describes.

    @param at: where it stands in the file, for the paths of mistakes.

    @raise ConfigError: with all its mistakes at once.
    """
    try:
        return section.model_validate(given, context={"folder": folder or Path()})
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise ConfigError(
            Problem(_path(at, _location(e)), _message(section, e), e["type"]) for e in found
        ) from None


def _location(error: ErrorDetails) -> tuple[int | str, ...]:
    """Where a mistake is; one of a file that holds a secret says which key named it."""
    key = str(error.get("ctx", {}).get("key"))
    return (*error["loc"], key) if error["type"] == "file" else error["loc"]


def _path(at: str, location: tuple[int | str, ...]) -> str:
    for step in location:
        at += f"[{step}]" if isinstance(step, int) else f".{step}" if at else step
    return at


def _message(section: type[Section], error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key" + did_you_mean(
            str(error["loc"][-1]), _keys(section, error["loc"][:-1])
        )
    if error["type"] in _SAYINGS:
        return _SAYINGS[error["type"]].format(**error.get("ctx", {}))
    return error["msg"].removeprefix("Value error, ")


def _keys(section: type[Section], location: tuple[int | str, ...]) -> list[str]:
    """The keys that are known at a place below C{section}."""
    for step in location:
        field = section.model_fields.get(str(step))
        section = next(iter(_sections(field.annotation)), section) if field else section
    return [*section.model_fields, *(f"{key}_file" for key in section.secrets())]


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _sections(argument)


def did_you_mean(word: str, known: Iterator[str] | list[str] | Mapping[str, Any]) -> str:
    """A suggestion to put behind the name of a mistake, if there is a near one."""
    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def schema_of(annotation: Any) -> dict[str, Any]:
    """The JSON Schema of a section, or of a choice of them."""
    return TypeAdapter(annotation).json_schema(by_alias=True)
