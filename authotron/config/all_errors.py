"""
Find all errors of a configuration section.

Pydantic ends early: after a secret that cannot be read the other keys are not validated, and the
validators of a whole section run only if all its keys are valid, until the first of them fails.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from types import SimpleNamespace, new_class
from typing import Any

from attrs import define, field
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from authotron.config.fields import has_free_keys, nested_section, without_positions
from authotron.config.problems import OF_KEY, Problems
from authotron.model.errors import Location

_WORD = re.compile(r"\w+")

_MOST_READINGS = 100
"""Maximum number of times that a section is read again after invalid keys were removed."""


def find_all(
    section: type[BaseModel], given: object, error: ValidationError, context: Mapping[str, Any]
) -> list[ErrorDetails]:
    """
    Return all errors of a section and of the sections inside it.

    @param error: the error that validating the whole section raised.
    """
    every = _details(error)
    # a crash of a plugin's validator must not hide errors that were found before
    with suppress(Exception):
        every.extend(_errors(section, given, context))
    found: dict[tuple[Location, str], ErrorDetails] = {}
    for each in every:
        placed: ErrorDetails = {**each, "loc": without_positions(given, each["loc"])}
        found.setdefault(_identity(placed), placed)
    locations = [location_of(each) for each in found.values()]
    return [each for each in found.values() if not _is_consequence(each, locations)]


def location_of(error: ErrorDetails) -> Location:
    """
    Return the location of an error; if the validator of a whole section names a key, include the
    key.
    """
    is_of_key = error["type"] == OF_KEY
    return (*error["loc"], str(error.get("ctx", {}).get("key"))) if is_of_key else error["loc"]


def _identity(error: ErrorDetails) -> tuple[Location, str]:
    return location_of(error), error["msg"]


def _is_consequence(error: ErrorDetails, locations: list[Location]) -> bool:
    """Whether a list is too short only because its invalid items were removed."""
    size = len(error["loc"])
    return error["type"] == "too_short" and any(
        len(each) > size and each[:size] == error["loc"] for each in locations
    )


def _errors(
    section: type[BaseModel], given: object, context: Mapping[str, Any]
) -> Iterator[ErrorDetails]:
    if isinstance(given, dict):
        reading = _Reading(section, dict(given), context)
        instance = reading.read()
        yield from reading.errors
        yield from _errors_inside(section, given, context)
        if instance is not None:
            yield from reading.validator_errors(instance)


def _errors_inside(
    section: type[BaseModel], given: Mapping[Any, Any], context: Mapping[str, Any]
) -> Iterator[ErrorDetails]:
    """Yield the errors of the sections inside another section."""
    for key, value in given.items():
        inner = nested_section(section, key) if isinstance(key, str) else None
        if inner is None:
            continue
        for at, item in _sections_in(value, is_mapping=has_free_keys(section, key)):
            for each in _errors(inner, item, context):
                yield {**each, "loc": (key, *at, *each["loc"])}


def _sections_in(value: object, *, is_mapping: bool) -> Iterator[tuple[Location, object]]:
    """Yield each section in the value of a key, with its location in the value."""
    if is_mapping:
        items = value.items() if isinstance(value, dict) else ()
        yield from (((str(name),), item) for name, item in items)
    elif isinstance(value, list):
        yield from (((place,), item) for place, item in enumerate(value))
    else:
        yield (), value


@define
class _Reading:
    """
    Reads a configuration section repeatedly, each time without the keys that were found invalid.

    @ivar invalid: the keys that were found invalid, which are optional from then on.
    """

    section: type[BaseModel]
    left: dict[Any, Any] = field(repr=False)
    context: Mapping[str, Any] = field(repr=False)
    invalid: set[str] = field(factory=set, init=False)
    errors: list[ErrorDetails] = field(factory=list, init=False)

    def read(self) -> BaseModel | None:
        """Return the section without its invalid keys, or C{None} if the section stays invalid."""
        for _ in range(_MOST_READINGS):
            try:
                invalid = frozenset(self.invalid & self.section.model_fields.keys())
                lenient = _lenient(self.section, invalid)
                return lenient.model_validate(self.left, context=self.context)
            except ValidationError as error:
                self.errors += _details(error)
            keys = {str(at[0]) for each in self.errors if (at := location_of(each))}
            if keys <= self.invalid:
                break
            self.invalid |= keys | {*map(_untwinned, keys)}
            self.left = {
                key: value
                for key, value in self.left.items()
                if not {str(key), _untwinned(str(key))} & self.invalid
            }
        return None

    def validator_errors(self, instance: BaseModel) -> Iterator[ErrorDetails]:
        """
        Yield the errors that all validators of the whole section raise.

        Errors that name an invalid key are left out, because the key that was removed may be their
        cause.
        """
        info = SimpleNamespace(context=self.context)
        for validate in _after(self.section).values():
            takes_info = len(inspect.signature(validate).parameters) > 1
            try:
                validate(instance, info) if takes_info else validate(instance)
            except (ValueError, PydanticCustomError) as error:
                yield from (each for each in _raised(error) if not self._is_caused(each))
            except (AttributeError, TypeError, AssertionError):
                continue  # the missing value itself is the cause of the error

    def _is_caused(self, error: ErrorDetails) -> bool:
        words = {*_WORD.findall(error["msg"]), *map(str, location_of(error))}
        return not self.invalid.isdisjoint(words | {*map(_untwinned, words)})


@lru_cache
def _lenient(section: type[BaseModel], invalid: frozenset[str]) -> type[BaseModel]:
    """
    Return a copy of a section class without section-wide validators; in the copy the invalid keys
    are optional.
    """
    names: dict[str, Any] = {key: Field(default=None, repr=False) for key in invalid}
    for name in _after(section):
        names[name] = model_validator(mode="after")(lambda self: self)
    names["__annotations__"] = dict.fromkeys(invalid, Any)
    names["__module__"] = section.__module__
    made = new_class(section.__name__, (section,), {}, lambda own: own.update(names))
    assert issubclass(made, BaseModel)
    return made


def _after(section: type[BaseModel]) -> dict[str, Any]:
    """Return the validators of a whole section that run after the validators of its keys."""
    known = section.__pydantic_decorators__.model_validators
    return {name: each.func for name, each in known.items() if each.info.mode == "after"}


def _details(error: ValidationError) -> list[ErrorDetails]:
    found: list[ErrorDetails] = []
    for each in error.errors(include_url=False, include_input=False):
        raised = each.get("ctx", {}).get("error")
        if isinstance(raised, ValueError):
            found += [{**one, "loc": (*each["loc"], *one["loc"])} for one in _raised(raised)]
        else:
            found.append(each)
    return found


def _raised(error: ValueError | PydanticCustomError) -> Iterator[ErrorDetails]:
    """Yield the errors that the exception of a validator describes, in the form of pydantic."""
    if isinstance(error, PydanticCustomError):
        yield _detail(error.type, error.message(), error.context or {})
    elif isinstance(error, Problems):
        for key, why in error.found:
            yield _detail(OF_KEY, why, {"key": key}) if key else _detail("value_error", why)
    else:
        yield _detail("value_error", str(error))


def _detail(kind: str, message: str, context: Mapping[str, Any] | None = None) -> ErrorDetails:
    return {"type": kind, "loc": (), "msg": message, "input": None, "ctx": dict(context or {})}


def _untwinned(key: str) -> str:
    """Return a key without the ending, such as C{_file}, of the key's variant for a secret."""
    return re.sub("_(file|env)$", "", key)
