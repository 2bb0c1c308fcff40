"""Read a YAML file strictly: no duplicate keys, a limit on aliases, no secrets in messages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from authotron.config import json_schema
from authotron.model.errors import ConfigError, Problem

_LARGEST = 4 * 1024 * 1024
"""Maximum bytes of a configuration file."""

_MOST_ALIASES = 100
"""Maximum aliases in a configuration file; aliases of aliases grow exponentially."""


def parse(path: Path) -> dict[str, Any]:
    """
    Return the mapping in a YAML file.

    @raise ConfigError: the file cannot be read, is not YAML, or does not hold a mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ConfigError([Problem(str(path), f"is larger than {_LARGEST} bytes")])
        given = yaml.load(content.decode("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        message = (
            f"cannot be read: {error.strerror} (AOT_CONFIG_PATH or --config names another file)"
        )
        raise ConfigError([Problem(str(path), message)]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), "is not UTF-8")]) from None
    except yaml.MarkedYAMLError as error:
        problem = Problem(_location(path, error.problem_mark), _message(error))
        raise ConfigError([problem]) from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError, AttributeError):
        raise ConfigError([Problem(str(path), "is not YAML")]) from None
    if given is None:
        raise ConfigError([Problem(str(path), "is empty; it needs at least version, server, jwt")])
    if not isinstance(given, dict):
        raise ConfigError([Problem(str(path), "must be a mapping, not a list or a string")])
    return given


class _OwnError(yaml.MarkedYAMLError):
    """An error of this module, whose message repeats no text of the file but known keys."""


class _Loader(yaml.SafeLoader):
    """A YAML loader that rejects duplicate keys and too many aliases."""

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > _MOST_ALIASES:
                mark = self.peek_event().start_mark
                raise _OwnError(problem=f"more than {_MOST_ALIASES} aliases", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as in the class above
        lines: dict[object, int] = {}
        for key_node, _ in node.value:
            key = key_node.value
            if key in lines and key_node.tag != "tag:yaml.org,2002:merge":
                raise _OwnError(
                    problem=f"duplicate key{_named(key)} (first defined on line {lines[key]})",
                    problem_mark=key_node.start_mark,
                )
            lines[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _named(key: object) -> str:
    """Return a key for a message, if it is known; else it may be a secret without a colon."""
    return f" {key!r}" if key in json_schema.known_keys() else ""


def _location(path: Path, mark: yaml.Mark | None) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)


def _message(error: yaml.MarkedYAMLError) -> str:
    """Return the message of an error without quoted text of the file, which may be a secret."""
    if isinstance(error, _OwnError):
        return str(error.problem)
    problem = (error.problem or "is not YAML").replace("\n", " ")
    named = r"\b(alias|anchor|tag|handle) '.*"
    problem = re.sub(named, r"\1; quote what begins with *, & or !", problem)
    return re.sub(r"'(?!<)[^']{5,}'", "another", problem)
