"""From a file and the environment to a mapping: YAML, C{AOT_} variables, and the older format."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field

from authotron import bare, config, strict_json
from authotron.config import Config, File
from authotron.errors import ConfigError, Problem
from authotron.settings import did_you_mean

PREFIX = "AOT_"
_DEFAULT = "config.yaml"
_LARGEST = 4 * 1024 * 1024
_MOST_ALIASES = 100
_V1 = frozenset(File.model_fields) - {"server"} | {"bind_address"}
_V1_METRICS_PORT = 9090


def path_of(environ: Mapping[str, str]) -> str:
    """Where the configuration is, if nobody says otherwise."""
    return environ.get("AOT_CONFIG_PATH") or _DEFAULT


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """
    The configuration in a file, with what the environment says over it.

    Where there is none, and none is asked for, the environment alone may be meant.

    @raise ConfigError: with all problems at once.
    """
    if str(path) == _DEFAULT and bare.is_meant(environ) and not path.exists():
        return bare.configuration(environ, path.parent)
    given = _parse(path)
    overlay = _Overlay(given)
    odd = overlay.apply(environ)
    given, warnings = _as_v2(given)
    warnings = [*warnings, *odd, *_readable_by_others(path)]
    try:
        return config.check(given, path.parent, warnings)
    except ConfigError as error:
        if not overlay.give_back_texts(error.problems):
            raise
    given, _ = _as_v2(overlay.given)
    return config.check(given, path.parent, warnings)


# --- YAML ---


class _Loader(yaml.SafeLoader):
    """YAML in which no key stands twice and aliases cannot explode."""

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > _MOST_ALIASES:
                mark = self.peek_event().start_mark
                raise yaml.MarkedYAMLError(
                    problem=f"more than {_MOST_ALIASES} aliases", problem_mark=mark
                )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as in the class above
        seen: dict[object, int] = {}
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} stands twice (first in line {seen[key]})",
                    problem_mark=key_node.start_mark,
                )
            seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ConfigError([Problem(str(path), f"is larger than {_LARGEST} bytes")])
        given = yaml.load(content.decode("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        message = f"cannot be read: {error.strerror} (AOT_CONFIG_PATH or --config name another)"
        raise ConfigError([Problem(str(path), message)]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), "is not UTF-8")]) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError([Problem(_place(path, error.problem_mark), _told(error))]) from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError, AttributeError):
        raise ConfigError([Problem(str(path), "is no YAML")]) from None
    if given is None:
        raise ConfigError([Problem(str(path), "is empty; it needs at least version, server, jwt")])
    if not isinstance(given, dict):
        raise ConfigError([Problem(str(path), "must be a mapping, not a list or a text")])
    return given


def _place(path: Path, mark: yaml.Mark | None) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)


def _told(error: yaml.MarkedYAMLError) -> str:
    """What is wrong, without the text around it, which may be a secret."""
    problem = (error.problem or "is no YAML").replace("\n", " ")
    named = r"\b(alias|anchor|tag|handle) '.*"
    return re.sub(named, r"\1; quote what begins with *, & or !", problem)


def _readable_by_others(path: Path) -> list[str]:
    return [f"{path} can be read by everybody"] if path.stat().st_mode & 0o004 else []


# --- the environment ---


@define
class _Overlay:
    """
    What the environment changed.

    Values are read as the original reads them: numbers, switches, lists C{["a", "b"]},
    mappings C{{key = "value"}}, quoted texts; anything else is a text as it stands.
    """

    given: dict[str, Any]
    _texts: dict[str, tuple[tuple[str, ...], str]] = field(factory=dict, init=False)

    def apply(self, environ: Mapping[str, str]) -> list[str]:
        """Lay the variables over the file; says which of them may be misspelt."""
        known = sorted(set(File.model_fields) | _V1)
        odd = []
        for name in sorted(environ):
            if not name.startswith(PREFIX):
                continue
            steps = tuple(name[len(PREFIX) :].lower().split("__"))
            if steps[0] in known:
                self._set(steps, _value(environ[name]))
                self._texts[".".join(steps)] = (steps, environ[name])
            elif len(steps) > 1:
                odd.append(f"{name} is not read{did_you_mean(steps[0], known)}")
        return odd

    def _set(self, steps: tuple[str, ...], value: object) -> None:
        place = self.given
        for step in steps[:-1]:
            if not isinstance(place.get(step), dict):
                place[step] = {}
            place = place[step]
        place[steps[-1]] = value

    def give_back_texts(self, problems: tuple[Problem, ...]) -> bool:
        """Where a text is wanted, a variable that looks like a number is a text after all."""
        changed = False
        for problem in problems:
            if problem.path in self._texts and problem.kind == "string_type":
                self._set(*self._texts[problem.path])
                changed = True
        return changed


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"] if _may_be_toml(text) else text
    except (tomllib.TOMLDecodeError, KeyError):
        pass
    if text[:1] in "[{":
        try:
            return strict_json.loads(text.encode())
        except ValueError:
            pass
    return text


def _may_be_toml(text: str) -> bool:
    """One line, since a second could set another key; and no date or time, which no key is."""
    return "\n" not in text and not re.match(r"\d{2,4}[-:]", text)


# --- version 1.0.0 ---


def _as_v2(given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The same in version 2.0.0, and what was lost."""
    version = given.get("version")
    if version == "2.0.0":
        return given, []
    if version != "1.0.0":
        raise ConfigError([Problem("version", _version_problem(version))])
    newer = {key: value for key, value in given.items() if key != "bind_address"}
    newer["version"] = "2.0.0"
    warnings = ["version 1.0.0 is the older format; consider version 2.0.0"]
    if newer.pop("metrics", None) is not None:
        warnings.append(f"metrics: not read in version 1.0.0; they are on port {_V1_METRICS_PORT}")
    if "server" in newer:
        raise ConfigError(
            [Problem("server", "belongs to version 2.0.0; version 1.0.0 has bind_address")]
        )
    newer["server"] = _bind_address(given.get("bind_address"))
    return newer, warnings


def _version_problem(version: object) -> str:
    if version is None:
        return 'is missing; write version: "2.0.0"'
    if not isinstance(version, str):
        return 'must be a text; write version: "2.0.0"'
    return f"{version!r} is not known; there are 1.0.0 and 2.0.0"


def _bind_address(given: object) -> dict[str, Any]:
    """HOST:PORT, an IPv6 address in brackets."""
    if given is None:
        raise ConfigError([Problem("bind_address", "is missing")])
    found = (
        re.fullmatch(r"(?:\[([^]]+)\]|([^:]+)):(\d{1,5})", given)
        if isinstance(given, str)
        else None
    )
    if found is None:
        raise ConfigError([Problem("bind_address", "must be host:port, such as 0.0.0.0:8080")])
    return {"host": found[1] or found[2], "port": int(found[3])}
