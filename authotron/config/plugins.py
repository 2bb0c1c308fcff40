"""Find the plugin that a C{type:} in the configuration names; define the keys of all plugins."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from authotron.config.section import (
    Name,
    Names,
    NonEmptyStr,
    Realm,
    Seconds,
    Secret,
    Section,
)
from authotron.config.spelling import did_you_mean, is_slip
from authotron.model.errors import ConfigError, Problem

SHORTEST_PEPPER = 16
"""Minimum bytes of a pepper."""

API_VERSION = 1
"""
Version of the interface of plugins (L{authotron.plugin}).

A plugin of another package may declare in C{API_VERSION} which version of the interface it is
written for.
"""


class PluginConfig(Section):
    """The configuration keys that every provider and augmenter has."""

    type: str = Field(description="the type of the plugin; names the module that implements it")
    name: NonEmptyStr = Field(
        description="the name, unique among providers or augmenters; used in logs and metrics"
    )
    realm: Realm = Field(description="the realm that the users of the plugin belong to")


class AugmenterConfig(PluginConfig):
    """The configuration keys that every augmenter has."""

    required: bool = Field(
        default=False,
        description="answer 503 if the augmenter fails, instead of continuing without it",
    )
    timeout: Seconds | None = Field(
        default=None,
        description="seconds that one call may take; `auth.timeout_in_ms` if not set",
    )


class StoreConfig(Section):
    """The configuration keys that every token store has."""

    makes_pepper: ClassVar[bool] = False
    """Whether the store generates a pepper and stores it."""

    type: str = Field(description="the type of the plugin; names the module that implements it")
    enabled: bool = Field(default=True, description="whether API tokens can be used")
    compat: bool = Field(default=True, description="whether `GET /token` creates an API token")
    admins: dict[Name, Names] = Field(
        default_factory=dict,
        description="for each realm the roles that may list and revoke all API tokens",
    )
    pepper: Secret | None = Field(
        default=None,
        description="the key with which API tokens are hashed; several, newest first, are "
        "separated by blanks or line ends",
    )
    imported: bool = Field(
        default=False,
        description="whether opaque tokens of other services are looked up, too: those copied by "
        "`authotron tokens import`",
    )
    acl_proxy_pepper: Secret | None = Field(
        default=None,
        description="the PEPPER of the acl-proxy that tokens were imported from; several are "
        "separated by line ends",
    )
    timeout: Seconds = Field(
        default=3, gt=0, description="seconds that one operation of the store may take"
    )

    @model_validator(mode="after")
    def _check_imported(self) -> StoreConfig:
        if self.acl_proxy_pepper is not None and not self.imported:
            raise ValueError("acl_proxy_pepper has no effect without imported: true")
        return self

    @field_validator("pepper")
    @classmethod
    def _check_length(cls, pepper: Secret | None) -> Secret | None:
        if pepper is None:
            return None
        keys = pepper.get_secret_value().split()
        if not keys or any(len(key.encode()) < SHORTEST_PEPPER for key in keys):
            raise ValueError(
                f"is shorter than {SHORTEST_PEPPER} bytes; try `authotron generate-secret`"
            )
        return pepper

    def peppers(self) -> list[bytes]:
        """Return the configured peppers, newest first."""
        return [key.encode() for key in _text(self.pepper).split()]

    def acl_proxy_peppers(self) -> list[bytes]:
        """Return the peppers of the acl-proxy that tokens were imported from."""
        return [key.encode() for key in _text(self.acl_proxy_pepper).splitlines()]


def _text(secret: Secret | None) -> str:
    return secret.get_secret_value() if secret else ""


def load(kind: str, type_: object, at: str) -> ModuleType:
    """
    Import the module of one plugin, and no other plugin.

    @param kind: C{"providers"}, C{"augmenters"} or C{"stores"}.
    @param type_: the value of C{type:}.
    @param at: the path of the section in the file.

    @raise ConfigError: no installed plugin has this type.
    """
    if type_ is None:
        raise ConfigError([Problem(f"{at}.type", "is missing")])
    if not isinstance(type_, str) or not re.fullmatch(r"[a-z][a-z0-9_-]*", type_):
        raise ConfigError([Problem(f"{at}.type", f"is not a type of {kind}")])
    module = _find(kind, type_)
    if module is None:
        known = [documented_type(each) for each in every(kind)]
        named = f" {type_!r}" if is_slip(type_, known) else ""
        message = f"unknown type{named} of {kind}{did_you_mean(type_, known)}"
        raise ConfigError([Problem(f"{at}.type", f"{message} (known: {', '.join(known)})")])
    version = getattr(module, "API_VERSION", API_VERSION)
    if version != API_VERSION:
        why = (
            f"{type_!r} is written for version {version} of the plugin interface, but this "
            f"authotron has version {API_VERSION}; install versions that fit"
        )
        raise ConfigError([Problem(f"{at}.type", why)])
    return module


def every(kind: str) -> Iterator[ModuleType]:
    """
    Import all plugins of a kind: those of authotron, then those of other packages.

    A module without C{Config} and C{make} is not a plugin, but code that several plugins share.
    """
    package = importlib.import_module(f"authotron.{kind}")
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"authotron.{kind}.{found.name}")
        if _is_plugin(module):
            yield module
    for point in entry_points(group=f"authotron.{kind}"):
        yield point.load()


def documented_type(module: ModuleType) -> str:
    """Return the C{type:} that names a plugin in a configuration."""
    config: type[Section] = module.Config
    annotation: Any = config.model_fields["type"].annotation
    return str(annotation.__args__[0])


def _find(kind: str, type_: str) -> ModuleType | None:
    module = f"authotron.{kind}.{type_.replace('-', '_')}"
    if importlib.util.find_spec(module) is not None:
        found = importlib.import_module(module)
        return found if _is_plugin(found) and documented_type(found) == type_ else None
    for point in entry_points(group=f"authotron.{kind}", name=type_):
        plugin: ModuleType = point.load()
        return plugin
    return None


def _is_plugin(module: ModuleType) -> bool:
    return hasattr(module, "Config") and hasattr(module, "make")
