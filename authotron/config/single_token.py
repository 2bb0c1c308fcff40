"""One token from the environment, where there is no configuration file."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve
from pydantic import SecretStr

from authotron.config import check, plugins
from authotron.config.check import Config
from authotron.model.errors import ConfigError, Problem

_TOKEN, _LENGTH = "AUTH_SERVICE_TOKEN", "MIN_AUTH_SERVICE_TOKEN_LEN"
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error"}


def is_meant(environ: Mapping[str, str]) -> bool:
    """Whether the environment alone is to be the configuration."""
    return _TOKEN in environ or _LENGTH in environ


def configuration(environ: Mapping[str, str], folder: Path) -> Config:
    """
    A gateway that knows C{AUTH_SERVICE_TOKEN} and nothing else.

    A token that is too short, or that no header can carry, lets nobody in: whoever shows one hears
    500. Minted tokens are signed by a secret that ends with the process, since nobody here verifies
    them.

    @raise ConfigError: a number is none, or there is no such level.
    """
    static_token = plugins.load("providers", "static-token", "providers[0]")
    shortest = _number(environ, _LENGTH, static_token.SHORTEST)
    level = (environ.get("LOG_LEVEL") or "INFO").upper()
    if level not in _LEVELS:
        raise ConfigError([Problem("LOG_LEVEL", f"must be one of {', '.join(_LEVELS)}")])
    given = {
        "version": "2.0.0",
        "server": {
            "host": environ.get("HOST") or "0.0.0.0",  # noqa: S104 - as documented
            "port": _number(environ, "PORT", 8081),
        },
        "metrics": {"enabled": False},
        "jwt": {"iss": "authotron", "secret": secrets.token_urlsafe(48)},
        "logging": {"level": _LEVELS[level]},
    }
    token = environ.get(_TOKEN, "")
    entries, warnings = [], []
    if problem := static_token.flaw(token, shortest):
        warnings.append(f"{_TOKEN} {problem}: nobody gets in")
    else:
        entries.append(
            static_token.Entry.model_construct(token=SecretStr(token), username="service")
        )
    part: Any = static_token.Config.model_construct(
        type="static-token", name="environment", realm="service", tokens=tuple(entries)
    )
    found = check.check(given, folder)
    return evolve(found, providers=[part], warnings=warnings)


def _number(environ: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environ.get(name) or str(otherwise)
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= 65_535):  # noqa: PLR2004 - the highest port
        raise ConfigError([Problem(name, "must be a number from 1 to 65535")])
    return int(text)
