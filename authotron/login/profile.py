"""
The settings of a login: the gateway, and the credential of the client.

A setting comes from an option of the command, else from an environment variable C{AUTHOTRON_*},
else from the file C{NAME.yaml} of the user, else from that of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from attrs import frozen
from pydantic import Field, model_validator

from authotron.config import section, yaml_file
from authotron.config.problems import require_none
from authotron.config.section import Seconds, Secret
from authotron.model.errors import ConfigError, Problem
from authotron.model.hosts import is_local
from authotron.net.tls import TrustConfig
from authotron.net.urls import Url

Provider = Literal["basic", "ldap", "certificate", "token"]
"""The kinds of credentials with which a client logs in at a gateway."""

PASSWORDS = ("basic", "ldap")
"""The kinds of credentials that are a user name and a password."""

MACHINE = Path("/etc/authotron/cli")
"""The folder of the profiles of a machine, which hold for all users."""

PREFIX = "AUTHOTRON_"

_LARGEST = 65_536
"""Maximum number of bytes in the file of a profile."""

_WRITABLE_BY_OTHERS = 0o022

_ASK = "-"
"""The value of a setting that is to be read at the terminal, or from a pipe."""

_SECRETS = ("password", "token", "client_key")
_PATHS = ("password_file", "token_file", "ca_file", "client_certificate_file", "client_key_file")
_ASKED = ("user", "password", "password_file", "token", "token_file")
_LISTS = ("services",)
_FLAGS = ("allow_http", "refresh")
_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class Profile(TrustConfig):
    """The settings of a login, from options, environment variables and files."""

    gateway: Url | None = Field(default=None, description="the URL of the gateway")
    provider: Provider | None = Field(
        default=None, description="the kind of credential: `basic`, `ldap`, `certificate`, `token`"
    )
    user: str | None = Field(default=None, min_length=1, description="name of the user")
    realm: str | None = Field(default=None, min_length=1, description="realm of the user")
    password: Secret | None = Field(default=None, description="password of the user")
    token: Secret | None = Field(default=None, description="the token to log in with")
    services: tuple[Url, ...] = Field(
        default=(), strict=False, description="URLs of services that git sends the token to"
    )
    refresh: bool = Field(default=True, description="whether to request a refresh token")
    allow_http: bool = Field(
        default=False, description="whether credentials may be sent to the gateway unencrypted"
    )
    timeout: Seconds = Field(default=10.0, gt=0, le=300, description="seconds for each request")

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_none(self._problems())
        return self

    def _problems(self) -> Iterator[tuple[str, str]]:
        if self.gateway is not None:
            if urlsplit(self.gateway).query:
                yield "gateway", "must not have a query"
            yield from self._problems_of_url("gateway", self.gateway)
        for url in self.services:
            yield from self._problems_of_url("services", url)
        for key in ("user", "realm"):
            value = getattr(self, key)
            if value is not None and not value.isprintable():
                yield key, "has a control character"
        if self.user is not None and ":" in self.user:
            yield "user", "must not have a colon (RFC 7617)"

    def _problems_of_url(self, key: str, url: str) -> Iterator[tuple[str, str]]:
        if not (url.startswith("https:") or is_local(url) or self.allow_http):
            yield key, "credentials would be sent unencrypted; use https, or set allow_http"

    @property
    def origins(self) -> Sequence[str]:
        """The URLs of the services that a credential helper of git may give the token to."""
        own = [] if self.gateway is None else [self.gateway]
        return [*own, *self.services]


@frozen
class Places:
    """
    The places where the settings of a login are looked for.

    @ivar environ: the environment variables of the process.
    @ivar user: the number of the user that the process belongs to.
    @ivar machine: the folder of the profiles of the machine.
    """

    environ: Mapping[str, str]
    user: int
    machine: Path = MACHINE

    def folder(self, variable: str, default: str) -> Path:
        """
        Return a folder of the XDG Base Directory Specification.

        @raise ConfigError: neither the variable nor C{HOME} names an absolute path.
        """
        named = Path(self.environ.get(variable, ""))
        if named.is_absolute():  # A relative path is invalid, and must be ignored.
            return named
        home = Path(self.environ.get("HOME", ""))
        if not home.is_absolute():
            raise ConfigError([Problem("", f"set the variable HOME, or {variable}")])
        return home / default

    @property
    def cache(self) -> Path:
        """The folder in which the tokens of the user are kept."""
        return self.folder("XDG_CACHE_HOME", ".cache") / "authotron"

    @property
    def profiles(self) -> Sequence[Path]:
        """The folders of profiles, those of the machine first."""
        return (self.machine, self.folder("XDG_CONFIG_HOME", ".config") / "authotron")


def read(name: str, options: Mapping[str, Any], places: Places) -> Profile:
    """
    Read the settings of a login.

    @param name: the name of the profile, which is that of its files without C{.yaml}.
    @param options: the settings that the command line has; an option that is C{None} is not set.

    @raise ConfigError: all problems of the settings.
    """
    merged: dict[str, Any] = {}
    for folder in places.profiles:
        _lay_over(merged, _in_file(folder / f"{name}.yaml", places.user))
    _lay_over(merged, _in_variables(places.environ))
    _lay_over(merged, _absolute(options, Path.cwd()))
    return section.read(Profile, merged)


def _lay_over(merged: dict[str, Any], over: Mapping[str, Any]) -> None:
    """
    Add settings that count more than earlier ones; a setting that is to be asked for removes an
    earlier one.
    """
    for secret in _SECRETS:
        keys = (secret, f"{secret}_file", f"{secret}_env")
        if any(over.get(key) is not None for key in keys):
            for key in keys:
                merged.pop(key, None)
    for key, value in over.items():
        if value == _ASK and key in _ASKED:
            merged.pop(key, None)
        elif value is not None:
            merged[key] = value


def _in_file(path: Path, user: int) -> Mapping[str, Any]:
    """
    Read the settings in the file of a profile; return no settings if the file does not exist.

    @raise ConfigError: the file is malformed, or another user may change it.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError([Problem(str(path), f"cannot be read: {error.strerror}")]) from None
    if found.st_uid not in (0, user) or found.st_mode & _WRITABLE_BY_OTHERS:
        raise ConfigError([Problem(str(path), "other users may change it; use chmod go-w")])
    parsed = yaml_file.parse(path, may_be_empty=True, largest=_LARGEST, hint="a profile")
    if parsed.problems:
        raise ConfigError(parsed.problems)
    return _absolute(parsed.given, path.parent)


def _absolute(given: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Return settings whose relative paths begin at a folder, and C{~} at the home of the user."""
    found = dict(given)
    for key in _PATHS:
        value = found.get(key)
        if isinstance(value, str) and value != _ASK:
            with suppress(RuntimeError):  # There is no such user; the path is taken as it stands.
                value = str(Path(value).expanduser())
            found[key] = str(folder / value)
    return found


def _in_variables(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """
    Read the settings in environment variables; an empty variable does not count.

    @raise ConfigError: the value of a variable is malformed.
    """
    keys = [*Profile.model_fields, *(f"{each}_file" for each in _SECRETS)]
    found: dict[str, Any] = {}
    for key in keys:
        if text := environ.get(PREFIX + key.upper()):
            found[key] = _PARSERS.get(key, _as_it_is)(text, PREFIX + key.upper())
    return _absolute(found, Path.cwd())


def _as_it_is(text: str, _variable: str) -> object:
    return text


def _list(text: str, _variable: str) -> object:
    return text.split()


def _truth(text: str, variable: str) -> object:
    if text.lower() not in _TRUTHS:
        raise ConfigError([Problem(variable, "must be true or false")])
    return _TRUTHS[text.lower()]


_Parse = Callable[[str, str], object]
_PARSERS: Mapping[str, _Parse] = {
    **dict.fromkeys(_LISTS, _list),
    **dict.fromkeys(_FLAGS, _truth),
}


def places() -> Places:
    """Return the places of the process."""
    return Places(os.environ, os.geteuid())
