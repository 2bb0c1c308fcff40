"""Load the configuration: one YAML file, with environment variables over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from authotron.config import check, single_token, yaml_file
from authotron.config.check import Config
from authotron.config.environment import Overlay
from authotron.config.sources import Sources
from authotron.config.version_1 import as_version_2

_DEFAULT = "config.yaml"


def path_of(environ: Mapping[str, str]) -> str:
    """Return the path of the configuration file, for a command line without C{--config}."""
    return environ.get("AOT_CONFIG_PATH") or _DEFAULT


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """
    Load the configuration in a file, with C{AOT_} variables over it.

    If the default file is missing, C{AUTH_SERVICE_TOKEN} may configure the gateway instead (see
    L{single_token}).

    @raise ConfigError: all problems of the configuration.
    """
    if str(path) == _DEFAULT and single_token.is_meant(environ) and not path.exists():
        return single_token.configuration(environ, path.parent)
    given = yaml_file.parse(path)
    from_environ = Overlay(given).apply(environ)
    given, from_version = as_version_2(given)
    warnings = [*from_version, *from_environ, *_readable_by_others(path)]
    return check.check(given, Sources(path.parent, {**os.environ, **environ}), warnings)


def _readable_by_others(path: Path) -> list[str]:
    others_may_read = path.stat().st_mode & 0o004
    return [f"{path}: readable by all users of this machine"] if others_may_read else []
