"""Configure by environment variables alone a gateway with one bearer token, without a file."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve
from pydantic import SecretStr

from authotron.config import check, plugins
from authotron.config.check import Config
from authotron.config.environment import int_variable
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError, Problem

_TOKEN, _LENGTH = "AUTH_SERVICE_TOKEN", "MIN_AUTH_SERVICE_TOKEN_LEN"
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error"}
_HIGHEST = 65_535
"""The highest port number, which is also the largest value of C{MIN_AUTH_SERVICE_TOKEN_LEN}."""

_LONGEST_HEAD = 8_192
"""Maximum number of bytes of a request line, and of a whole request head."""


def is_meant(environ: Mapping[str, str]) -> bool:
    """Return whether the environment asks for a gateway without a configuration file."""
    return _TOKEN in environ or _LENGTH in environ


def configuration(environ: Mapping[str, str], folder: Path) -> Config:
    """
    Return the configuration of a gateway that accepts C{AUTH_SERVICE_TOKEN} and nothing else.

    If the bearer token is too short, or cannot be sent in a header, every bearer token gets a 500.
    Minted JWTs are signed with a random secret that is not stored, because no backend verifies
    them.

    @raise ConfigError: a variable is not a valid number or log level.
    """
    static_token = plugins.load("providers", "static-token", "providers[0]")
    shortest = int_variable(environ, _LENGTH, static_token.SHORTEST, 1, _HIGHEST)
    level = (environ.get("LOG_LEVEL") or "INFO").upper()
    if level not in _LEVELS:
        raise ConfigError([Problem("LOG_LEVEL", f"must be one of {', '.join(_LEVELS)}")])
    given = {
        "version": "2.0.0",
        "server": {
            "host": environ.get("HOST") or "0.0.0.0",  # noqa: S104 - as documented
            "port": int_variable(environ, "PORT", 8081, 1, _HIGHEST),
            "max_header_bytes": _LONGEST_HEAD,
        },
        "metrics": {"enabled": False},
        "jwt": {"iss": "authotron", "secret": secrets.token_urlsafe(48)},
        "logging": {"level": _LEVELS[level]},
    }
    token = environ.get(_TOKEN, "")
    entries, warnings = [], []
    if problem := static_token.flaw(token, shortest):
        warnings.append(f"{_TOKEN} is unusable, as it {problem}; every bearer token is rejected")
    else:
        entries.append(
            static_token.Entry.model_construct(token=SecretStr(token), username="service")
        )
    provider: Any = static_token.Config.model_construct(
        type="static-token", name="environment", realm="service", tokens=tuple(entries)
    )
    found = check.check(given, Sources(folder))
    return evolve(found, providers=[provider], warnings=warnings)
