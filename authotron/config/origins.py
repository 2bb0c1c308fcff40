"""Tell the origin of each configuration value: file and line, variable, or secret file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import evolve, field, frozen

from authotron.config import yaml_core
from authotron.config.fields import without_positions
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError, Location, Problem

_STEP = re.compile(r"#(?P<number>\d+)|\[(?P<place>\d+)\]|(?P<key>[^.\[\]]+)")
"""Matches one step in the path of a configuration key, as messages show the path."""

_WRITE = {
    "bool_type": "write {name}=true or {name}=false",
    "int_type": "write a number, as in {name}=60",
    "int_from_float": "write a number, as in {name}=60",
    "float_type": "write a number, as in {name}=0.5",
    "list_type": "write a list, as in {name}='[a, b]'",
    "tuple_type": "write a list, as in {name}='[a, b]'",
    "dict_type": "write a mapping, as in {name}='{{key=value}}'",
    "model_type": "write a mapping, as in {name}='{{key=value}}'",
}
"""Advice on how to write the value of an environment variable, by the type of pydantic's error."""


@frozen
class Origin:
    """
    Where one value of the configuration came from: a file, an environment variable, or else a
    default.

    @ivar secret_file: the file that holds the secret, if a key that ends in C{_file} names one.
    @ivar secret_variable: the environment variable that holds the secret, if a key that ends in
        C{_env} names one.
    """

    file: str | None = None
    line: int | None = None
    variable: str | None = None
    secret_file: str | None = None
    secret_variable: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file else "default"
        if self.variable:
            where = f"variable {self.variable}"
        if self.secret_file:
            return f"secret file {self.secret_file} ({where})"
        return f"variable {self.secret_variable} ({where})" if self.secret_variable else where


@frozen
class Origins:
    """
    Finds where the values of one configuration came from.

    @ivar root: the YAML node of the configuration file, if there is a file.
    @ivar given: the mapping that was checked, in which secrets may be set by keys that end in
        C{_file} or C{_env}.
    @ivar variables: for each configuration key that an environment variable set, the variable's
        name as messages may show it.
    """

    sources: Sources = field(factory=Sources, repr=False)
    path: str = ""
    root: yaml_core.Node | None = field(default=None, repr=False)
    given: Mapping[str, Any] = field(factory=dict, repr=False)
    variables: Mapping[Location, str] = field(factory=dict)
    is_version_1: bool = False

    def __reduce__(self) -> tuple[type[Origins], tuple[()]]:
        """
        Pickle an empty object instead of the origins of values, because worker processes do not
        need the origins.
        """
        return Origins, ()

    def of(self, location: Location) -> Origin:
        """Return where the value of the configuration key at a location came from."""
        location = without_positions(self.given, location)
        *above, last = location
        parent = value_at(self.given, tuple(above))
        for way in ("file", "env"):
            twin = f"{last}_{way}"
            if isinstance(parent, Mapping) and isinstance(parent.get(twin), str):
                origin = self._plain((*above, twin))
                return self._of_secret(origin, way, parent[twin])
        return self._plain(location)

    @contextmanager
    def locating(self) -> Iterator[None]:
        """
        Add the file and line of a value, or the name of its variable, to each problem of a
        C{ConfigError} that the C{with} block raises.
        """
        try:
            yield
        except ConfigError as error:
            raise ConfigError(map(self.located, error.problems)) from None

    def _of_secret(self, origin: Origin, way: str, named: str) -> Origin:
        if way == "env":
            return evolve(origin, secret_variable=named)
        return evolve(origin, secret_file=str(self.sources.resolve_path(named)))

    def _plain(self, location: Location) -> Origin:
        if variable := self._variable(location):
            return Origin(variable=variable)
        found = self._line(location)
        if found is None or found[1] < len(self._in_file(location)):
            return Origin()
        return Origin(self.path, found[0])

    def _variable(self, location: Location) -> str | None:
        location = self._in_file(location)
        parts = (location[:length] for length in range(len(location), 0, -1))
        return next((self.variables[part] for part in parts if part in self.variables), None)

    def _in_file(self, location: Location) -> Location:
        """
        Return the location of a value in the configuration file; version 1.0.0 of the format has
        other keys.
        """
        of_address = self.is_version_1 and location[:1] == ("server",)
        return ("bind_address",) if of_address else location

    def _line(self, location: Location) -> tuple[int, int] | None:
        if self.root is None:
            return None
        return yaml_core.line_of(self.root, self._in_file(location))

    def located(self, problem: Problem) -> Problem:
        """Return a problem, with its file and line or its variable added if it has neither."""
        if problem.origin:
            return problem
        location = problem.location or self._location(problem.path)
        secret = self.of(location) if location else Origin()
        if secret.secret_file or secret.secret_variable:
            return evolve(problem, origin=str(secret))
        for each in (location, *_twins(location)):
            if variable := self._variable(each):
                how = _WRITE.get(problem.kind) if " " not in variable else None
                added = f"; {how.format(name=variable)}" if how else ""
                origin = variable if " " in variable else f"variable {variable}"
                return evolve(problem, message=problem.message + added, origin=origin)
        lines = [found for each in (location, *_twins(location)) if (found := self._line(each))]
        if not lines:
            return problem
        line, count = max(lines, key=lambda found: found[1])
        return evolve(problem, origin=f"{self.path}:{line}" if count else self.path)

    def _location(self, path: str) -> Location:
        """Return the location that a path names, in which C{#2} is the second key of a mapping."""
        steps: list[int | str] = []
        for found in _STEP.finditer(path):
            if found["place"]:
                steps.append(int(found["place"]))
            elif found["number"]:
                mapping = value_at(self.given, tuple(steps))
                keys = [*mapping] if isinstance(mapping, Mapping) else []
                steps += keys[int(found["number"]) - 1 : int(found["number"])]
            else:
                steps.append(found["key"])
        return tuple(steps)


def _twins(location: Location) -> Iterator[Location]:
    if location:
        for way in ("file", "env"):
            yield (*location[:-1], f"{location[-1]}_{way}")


def value_at(given: object, location: Location) -> object:
    """Return the value at a location, or C{None} if there is no such location."""
    for step in location:
        if isinstance(given, Mapping):
            given = given.get(step)
        elif isinstance(given, list | tuple) and isinstance(step, int) and step < len(given):
            given = given[step]
        else:
            return None
    return given
