"""Load the configuration: one YAML file, whose keys environment variables override."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from authotron.config import check, single_token, yaml_file
from authotron.config.check import Config
from authotron.config.environment import Overlay, sorted_by_key
from authotron.config.origins import Origins
from authotron.config.sources import Sources
from authotron.config.version_1 import as_version_2
from authotron.model.errors import ConfigError, Problem

_DEFAULT = "config.yaml"


def path_of(environ: Mapping[str, str]) -> str:
    """Return the path of the configuration file, for a command line without C{--config}."""
    return environ.get("AOT_CONFIG_PATH") or _DEFAULT


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """
    Load the configuration in a file, whose keys C{AOT_} environment variables override.

    If the default file is missing, C{AUTH_SERVICE_TOKEN} may configure the gateway instead (see
    L{single_token}).

    @raise ConfigError: all problems of the configuration.
    """
    if str(path) == _DEFAULT and single_token.is_meant(environ) and not path.exists():
        return single_token.configuration(environ, path.parent)
    parsed = _parse(path, environ)
    given = parsed.given
    overlay = Overlay(given)
    from_environ = overlay.apply(environ)
    sources = Sources(path.parent, {**os.environ, **environ})
    is_older = given.get("version") == "1.0.0"
    origins = Origins(sources, str(path), parsed.root, given, overlay.variables, is_older)
    given, from_version, problems = as_version_2(given)
    origins = evolve(origins, given=given)
    warnings = [*parsed.warnings, *from_version, *from_environ, *_readable_by_others(path)]
    try:
        with origins.locating():
            found = _check(given, sources, warnings, problems)
    except ConfigError as error:
        raise ConfigError([*parsed.problems, *error.problems]) from None
    if parsed.problems:
        raise ConfigError(parsed.problems)
    return evolve(found, origins=origins)


def _check(
    given: Mapping[str, Any],
    sources: Sources,
    warnings: Sequence[str],
    problems: Sequence[Problem],
) -> Config:
    """
    Check a mapping of version 2.0.0.

    @param problems: the problems that were found before; the check adds its own.

    @raise ConfigError: all problems of the configuration.
    """
    try:
        found = check.check(given, sources, warnings)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return found


def _parse(path: Path, environ: Mapping[str, str]) -> yaml_file.Parsed:
    """
    Read the configuration file.

    The file may be missing or empty if environment variables hold the configuration.

    @raise ConfigError: the file cannot be read, and environment variables hold no C{version}.
    """
    is_enough = any(steps == ("version",) for steps, _ in sorted_by_key(environ))
    if is_enough and not path.exists():
        warning = f"{path}: the file is missing, so only environment variables are used"
        return yaml_file.Parsed({}, None, (warning,))
    return yaml_file.parse(path, may_be_empty=is_enough)


def _readable_by_others(path: Path) -> list[str]:
    if not path.exists():
        return []
    others_may_read = path.stat().st_mode & 0o004
    return [f"{path}: readable by all users of this machine"] if others_may_read else []
