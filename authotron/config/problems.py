"""Turn errors of pydantic into problems that name the key and say what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import evolve
from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError

from authotron.config.fields import keys_at, secret_keys, section_at
from authotron.config.spelling import did_you_mean, is_slip
from authotron.model.errors import Location, Problem

OF_KEY = "of_key"
"""
The type of the pydantic error by which the validator of a whole section reports one key of the
section.
"""

_MESSAGES = {
    "missing": "is missing",
    "string_type": "must be a string; put it in quotes",
    "bool_type": "must be true or false (a bool)",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "path_type": "must be the path of a file",
    "is_instance_of": "must be the path of a file",
    "too_short": "must have {min_length} items or more",
    "too_long": "must have {max_length} items or fewer",
    "string_pattern_mismatch": "must not be empty",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}
"""For each type of error in pydantic the message that operators read."""


def describe_all(
    section: type[BaseModel], given: object, at: str, errors: Iterable[ErrorDetails]
) -> list[Problem]:
    """
    Describe errors of pydantic as problems; a value that fits none of several allowed types is one
    problem.

    @param section: the section that was validated.
    @param given: the mapping in the file that was validated.
    @param at: the path of the section in the file.
    """
    found: dict[Location, Problem] = {}
    depths: dict[Location, int] = {}
    for error in errors:
        location, union = _without_types(given, error["loc"])
        problem = describe(section, given, at, {**error, "loc": location})
        if union is None:
            found[(*location, problem.message)] = problem
            continue
        # an error deeper in the value: this type of the union fits better than the earlier types
        if len(location) > depths.get(union, 0):
            found = {key: each for key, each in found.items() if key[: len(union)] != union}
            depths[union] = len(location)
        if len(location) == depths[union]:
            first = found.get(location)
            message = f"{first.message}, or {problem.message}" if first else problem.message
            found[location] = evolve(problem, message=message)
    return [*found.values()]


def _without_types(given: object, location: Location) -> tuple[Location, Location | None]:
    """
    Return a location without type names, and the location of the outermost union value on it, or
    C{None}.

    Pydantic adds the name of each type to the locations of its errors.
    """
    steps: list[int | str] = []
    union: Location | None = None
    for step in location:
        there = _value_at(given, tuple(steps))
        if isinstance(step, str) and steps and not isinstance(there, dict):
            union = union or tuple(steps)
        else:
            steps.append(step)
    return tuple(steps), union


def describe(section: type[BaseModel], given: object, at: str, error: ErrorDetails) -> Problem:
    """
    Describe an error of pydantic, without repeating values and unknown keys of the file.

    @param section: the section that was validated.
    @param given: the mapping in the file that was validated.
    @param at: the path of the section in the file.
    """
    location = error["loc"]
    if error["type"] == OF_KEY:
        location = (*location, str(error.get("ctx", {}).get("key")))
    if error["type"] in ("extra_forbidden", "invalid_key"):
        problem = _unknown_key(section, given, at, location)
    else:
        problem = Problem(_path(section, given, at, location), _message(error), error["type"])
    return evolve(problem, location=(*_steps(at), *location))


def of_key(key: str, why: str) -> PydanticCustomError:
    """Return the error by which a validator of a whole section reports one key of the section."""
    return PydanticCustomError(OF_KEY, "{why}", {"key": key, "why": why})


class Problems(ValueError):
    """
    Several problems that one validator has found.

    @ivar found: for each problem, the key that it concerns (empty for the whole section) and its
        message.
    """

    def __init__(self, found: Iterable[tuple[str, str]]) -> None:
        self.found = [*found]
        super().__init__("; ".join(f"{key}: {why}" if key else why for key, why in self.found))


def require_none(found: Iterable[tuple[str, str]]) -> None:
    """
    Raise all problems that a validator has found, each a key (or an empty string) and a message.

    @raise Problems: a check of the configuration has found problems.
    """
    if problems := [*found]:
        raise Problems(problems)


def _steps(at: str) -> Location:
    """
    Split the path of a section into its steps: for example, C{providers[1]} becomes C{providers}
    and 1.
    """
    found = re.findall(r"[^.\[\]]+", at)
    return tuple(int(step) if step.isdigit() else step for step in found)


def join(at: str, step: int | str) -> str:
    """Append a key, or the position of an item in a list, to a path in the configuration."""
    return f"{at}[{step}]" if isinstance(step, int) else f"{at}.{step}" if at else step


def _unknown_key(section: type[BaseModel], given: object, at: str, location: Location) -> Problem:
    """
    Describe a configuration key that is unknown.

    The name of an unknown key is shown only if it is a misspelt known key: the name may be a
    secret, if a colon or a blank was forgotten.
    """
    above = _path(section, given, at, location[:-1])
    key, known = str(location[-1]), keys_at(section, location[:-1])
    if is_slip(key, known, secret_keys(section_at(section, location[:-1]))):
        return Problem(join(above, key), "unknown key" + did_you_mean(key, known))
    number = _number(_value_at(given, location[:-1]), location[-1])
    which = f", number {number} here" if number else ""
    why = f"unknown key{which}; its name is not shown, as it may be a secret"
    return Problem(above, why, "extra_forbidden")


def _path(section: type[BaseModel], given: object, at: str, location: Location) -> str:
    """
    Return the path of a key for messages, in which unknown keys are replaced by C{#} and their
    position.
    """
    for place, step in enumerate(location):
        there = _value_at(given, location[:place])
        if isinstance(step, str) and isinstance(there, dict) and step in there:
            known = step in keys_at(section, location[:place])
            at = join(at, step if known else f"#{_number(there, step)}")
        else:
            at = join(at, step)
    return at


def _value_at(given: object, location: Location) -> object:
    """Return the value at a pydantic location, ignoring the type names in the location."""
    for step in location:
        if isinstance(given, dict):
            given = given.get(step, given)
        elif isinstance(given, list | tuple) and isinstance(step, int) and step < len(given):
            given = given[step]
    return given


def _number(mapping: object, key: object) -> int:
    """
    Return the position of a key among the keys of a mapping, counted from 1; 0 if the key is
    missing.
    """
    keys = [str(each) for each in mapping] if isinstance(mapping, dict) else []
    return keys.index(str(key)) + 1 if str(key) in keys else 0


def _message(error: ErrorDetails) -> str:
    if error["type"] in _MESSAGES:
        context = error.get("ctx", {})
        if error["type"] == "literal_error" and " or " not in context["expected"]:
            return f"must be {context['expected']}"
        return _MESSAGES[error["type"]].format(**context)
    return error["msg"].removeprefix("Value error, ")
