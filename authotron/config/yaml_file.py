"""Read a YAML file strictly: no duplicate keys, bounded aliases, no secrets in messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from authotron.config import json_schema, yaml_core
from authotron.model.errors import ConfigError, Problem

LARGEST = 4 * 1024 * 1024
"""Maximum number of bytes of a configuration file."""

_ANOTHER = "AOT_CONFIG_PATH or --config names another file"
"""The advice to an operator if the configuration file cannot be read."""

_LONGEST_TOKEN = 4
"""
Maximum length of quoted text that an error message repeats: tokens of YAML, such as C{---}, are
shorter than secrets.
"""


@frozen
class Parsed:
    """
    The content of a YAML file.

    @ivar root: the YAML node of the whole file, in which the line of each value can be found.
    @ivar warnings: warnings for the operator.
    @ivar problems: the duplicate keys that were found; C{given} has the first value.
    """

    given: dict[str, Any]
    root: yaml_core.Node | None = None
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def parse(
    path: Path, *, may_be_empty: bool = False, largest: int = LARGEST, hint: str = _ANOTHER
) -> Parsed:
    """
    Read the mapping in a YAML file.

    @param may_be_empty: read an empty file as an empty mapping, not as an error.
    @param largest: the maximum number of bytes of the file.
    @param hint: the advice to an operator if the file cannot be read.

    @raise ConfigError: the file cannot be read, is not YAML, or does not hold a mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            raise ConfigError([Problem(str(path), f"is larger than {largest} bytes")])
        root = yaml_core.compose(content.decode("utf-8"))
        values = yaml_core.Values(_named)
        given = None if root is None else values.value_of(root)
    except OSError as error:
        if hint == _ANOTHER and (above := file_above(path)):
            hint = f"{above} exists, which auth-o-tron would use: name it in AOT_CONFIG_PATH"
        message = f"cannot be read: {error.strerror} ({hint})"
        raise ConfigError([Problem(str(path), message)]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), "is not UTF-8")]) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_problem(path, error)]) from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError, AttributeError):
        raise ConfigError([Problem(str(path), "is not YAML")]) from None
    if given is None and may_be_empty:
        return Parsed({})
    if given is None:
        raise ConfigError([Problem(str(path), "is empty; it needs at least version, server, jwt")])
    if not isinstance(given, dict):
        raise ConfigError([Problem(str(path), "must be a mapping, not a list or a string")])
    duplicates = (_problem(path, error) for error in values.duplicates)
    return Parsed(given, root, tuple(_merge_warnings(path, values.merges)), tuple(duplicates))


def file_above(path: Path) -> Path | None:
    """
    If C{path} is missing, look for a file of its name in the parent folders, nearest first.

    auth-o-tron would read this.
    """
    if path.is_absolute() or path.exists():
        return None
    found = (folder / path for folder in Path.cwd().parents)
    return next((each for each in found if each.is_file()), None)


def _merge_warnings(path: Path, merges: Sequence[yaml_core.Node]) -> Iterator[str]:
    for key in merges[:1]:
        yield (
            f"{_location(path, key.start_mark)}: `<<` merges mappings; auth-o-tron ignored it, so "
            "check that the merged keys grant nothing that is not meant"
        )


def _named(key: object) -> str:
    """
    Return how an error message names a key: only a known key is quoted, because an unknown one may
    be a secret.
    """
    return f" {key!r}" if key in json_schema.known_keys() else ""


def _problem(path: Path, error: yaml.MarkedYAMLError) -> Problem:
    return Problem(_location(path, error.problem_mark), _message(error))


def _location(path: Path, mark: yaml.Mark | None) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)


def _message(error: yaml.MarkedYAMLError) -> str:
    """Return the message of a YAML error without any text of the file, which may be a secret."""
    if isinstance(error, yaml_core.YamlError):
        return str(error.problem)
    problem = (error.problem or "is not YAML").replace("\n", " ")
    named = r"\b(alias|anchor|tag|handle) '.*"
    problem = re.sub(named, r"\1; put values that begin with *, & or ! in quotes", problem)
    return re.sub(r"'([^']*)'", _without_text, problem)


def _without_text(quoted: re.Match[str]) -> str:
    """Return quoted text unchanged if the text is a YAML token, and so no secret."""
    is_token = len(quoted[1]) <= _LONGEST_TOKEN or quoted[1].startswith("<")
    return quoted[0] if is_token else "other text"
