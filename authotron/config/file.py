"""From a file and the environment to a mapping: YAML, C{AOT_} variables, and the older format."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import define

from authotron.config import check, json_schema, single_token
from authotron.config.check import Config
from authotron.config.schema import File
from authotron.config.section import KeyKind, kind_of, section_below, without_line_end
from authotron.config.spelling import did_you_mean, is_slip
from authotron.model import strict_json
from authotron.model.errors import ConfigError, Problem

PREFIX = "AOT_"
_DEFAULT = "config.yaml"
_LARGEST = 4 * 1024 * 1024
_MOST_ALIASES = 100
_V1 = frozenset(File.model_fields) - {"server"} | {"bind_address"}
_V1_TEXTS = frozenset({"bind_address"})
_V1_METRICS_PORT = 9090
_SOME_VARIABLE = f"a variable that begins with {PREFIX}"
_STRAY_QUOTES = (
    "the quotes or backslashes in the value belong to it, as it is taken as it stands; remove them "
    "if a shell should have"
)


def path_of(environ: Mapping[str, str]) -> str:
    """Where the configuration is, if nobody says otherwise."""
    return environ.get("AOT_CONFIG_PATH") or _DEFAULT


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """
    The configuration in a file, with what the environment says over it.

    Where there is none, and none is asked for, the environment alone may be meant.

    @raise ConfigError: with all problems at once.
    """
    if str(path) == _DEFAULT and single_token.is_meant(environ) and not path.exists():
        return single_token.configuration(environ, path.parent)
    given = _parse(path)
    overlay = _Overlay(given)
    odd = overlay.apply(environ)
    given, warnings = _as_v2(given)
    warnings = [*warnings, *odd, *_readable_by_others(path)]
    return check.check(given, path.parent, warnings, {**os.environ, **environ})


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
                    problem=f"{_named(key)} stands twice (first in line {seen[key]})",
                    problem_mark=key_node.start_mark,
                )
            seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _named(key: object) -> str:
    """A key by its name, unless that may be a secret for which a colon was forgotten."""
    return f"the key {key!r}" if key in json_schema.known_keys() else "a key"


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
    problem = re.sub(named, r"\1; quote what begins with *, & or !", problem)
    return re.sub(r"'(?!<)[^']{5,}'", "another", problem)


def _readable_by_others(path: Path) -> list[str]:
    return [f"{path} can be read by everybody"] if path.stat().st_mode & 0o004 else []


# --- the environment ---


@define
class _Overlay:
    """
    What the environment changed.

    A key that wants a text gets it as it stands, without one pair of quotes around it. Other values
    are read as the original reads them: numbers, switches, lists C{["a", b]}, mappings
    C{{key = "value"}}, quoted texts; anything else is a text.
    """

    given: dict[str, Any]

    def apply(self, environ: Mapping[str, str]) -> list[str]:
        """Lay the variables over the file; says which of them may be misspelt."""
        known = sorted(set(File.model_fields) | _V1)
        odd = []
        for name in sorted(environ):
            if not name.startswith(PREFIX):
                continue
            steps = tuple(name[len(PREFIX) :].lower().split("__"))
            if steps[0] in known:
                kind = self._kind(steps, environ)
                value = _read(environ[name], kind)
                self._set(steps, value)
                if _has_stray_quotes(environ[name], value):
                    is_known = kind is not KeyKind.VALUE or len(steps) == 1
                    odd.append(f"{name if is_known else _SOME_VARIABLE}: {_STRAY_QUOTES}")
            elif len(steps) > 1:
                shown = name if is_slip(steps[0], known) else _SOME_VARIABLE
                odd.append(f"{shown} is not read{did_you_mean(steps[0], known)}")
        return odd

    def _kind(self, steps: tuple[str, ...], environ: Mapping[str, str]) -> KeyKind:
        """Find the kind of the key that a variable sets."""
        *others, last = steps
        if not others:
            return KeyKind.TEXT if last in _V1_TEXTS else kind_of(File, last)
        section = json_schema.section_of(others[0], self._store_type(environ))
        for step in others[1:]:
            section = section_below(section, step) if section else None
        return kind_of(section, last) if section else KeyKind.VALUE

    def _store_type(self, environ: Mapping[str, str]) -> str | None:
        """The type of the store, which says what its other keys are."""
        store = self.given.get("store")
        written = store.get("type") if isinstance(store, dict) else None
        found = environ.get(f"{PREFIX}STORE__TYPE", written)
        return _unquoted(found.strip()) if isinstance(found, str) else None

    def _set(self, steps: tuple[str, ...], value: object) -> None:
        place = self.given
        for step in steps[:-1]:
            if not isinstance(place.get(step), dict):
                place[step] = {}
            place = place[step]
        place[steps[-1]] = value


def _read(text: str, kind: KeyKind) -> object:
    if kind is KeyKind.SECRET:
        return _unquoted(without_line_end(text))
    is_list = kind is KeyKind.TEXTS and text.lstrip().startswith("[")
    if kind is KeyKind.TEXT or (kind is KeyKind.TEXTS and not is_list):
        return _unquoted(text.strip())
    return _value(text.strip())


def _has_stray_quotes(text: str, value: object) -> bool:
    """
    Whether a value keeps quotes or backslashes that a shell, or a reader of TOML, would take away.

    Files of variables often have them, as C{docker --env-file} takes lines as they are.
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


def _unquoted(text: str) -> str:
    """A text without one pair of double quotes around the whole."""
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1] if is_quoted else text


_WORDS = {"true": True, "false": False}
_WHOLE = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MOST_DIGITS = 20
"""Characters of a whole number; a longer one is read as a float."""


def _value(text: str) -> object:
    return _composed(text) if text.startswith(("[", "{")) else _scalar(text)


def _scalar(text: str) -> object:
    """A switch, a number, or a text."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text) and len(text) <= _MOST_DIGITS:
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else _unquoted(text)


def _composed(text: str) -> object:
    """A list or a mapping: as JSON, or with texts that have no quotes; else a text."""
    try:
        return strict_json.loads(text.encode())
    except ValueError:
        pass
    try:
        return _Bare(text).whole()
    except (ValueError, RecursionError):
        return text


@define
class _Bare:
    """Lists and mappings as the original reads them: a text may go without quotes."""

    _text: str
    _at: int = 0

    def whole(self) -> object:
        """
        Read the whole text.

        @raise ValueError: it is neither a list nor a mapping.
        """
        found = self._item()
        if self._at != len(self._text):
            raise ValueError("something stands behind it")
        return found

    def _item(self) -> object:
        self._skip()
        sign = self._text[self._at : self._at + 1]
        if sign == "[":
            found: object = self._list()
        elif sign == "{":
            found = self._mapping()
        elif sign == '"':
            found = strict_json.loads(self._until(r'"(?:[^"\\]|\\.)*"').encode())
        else:
            found = _scalar(self._until(r"[^,\[\]{}]*"))
        self._skip()
        return found

    def _list(self) -> list[object]:
        found: list[object] = []
        self._expect("[")
        while not self._next("]"):
            found.append(self._item())
            if not self._next(","):
                self._expect("]")
                break
        return found

    def _mapping(self) -> dict[str, object]:
        found: dict[str, object] = {}
        self._expect("{")
        while not self._next("}"):
            key = _unquoted(self._until(r"[^=:,\[\]{}]*"))
            if not (self._next("=") or self._next(":")) or key in found:
                raise ValueError("no key and value, or a key twice")
            found[key] = self._item()
            if not self._next(","):
                self._expect("}")
                break
        return found

    def _until(self, pattern: str) -> str:
        found = re.compile(pattern).match(self._text, self._at)
        if found is None:
            raise ValueError("a quote is missing")
        self._at = found.end()
        return found[0].strip()

    def _next(self, sign: str) -> bool:
        self._skip()
        if self._text[self._at : self._at + 1] != sign:
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._next(sign):
            raise ValueError(f"no {sign}")

    def _skip(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1


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
    return "is not known; there are 1.0.0 and 2.0.0"


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
