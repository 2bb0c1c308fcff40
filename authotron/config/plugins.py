"""Parts are named in the configuration by their type, and each is one module with a `make`."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from attrs import frozen
from pydantic import Field
from zope.interface import Interface

from authotron.config.section import Realm, Section, Text
from authotron.config.spelling import did_you_mean, is_slip
from authotron.model.errors import ConfigError, Problem


class PartConfig(Section):
    """The keys that every provider and augmenter has."""

    type: str = Field(description="what it is; the name of the module that implements it")
    name: Text = Field(description="unique among its kind; used in logs and metrics")
    realm: Realm = Field(description="the authentication boundary it belongs to")


@frozen
class Finding:
    """
    One thing that was tried, and what came of it.

    A section whose part can be tried in detail has a method C{examine(world, username)}, which
    gives such.
    """

    what: str
    good: bool
    told: str = ""


class IReachable(Interface):
    """What a part provides that depends on something out there."""

    async def reach() -> None:
        """
        Try whether it is there.

        @raise Unavailable: it is not.
        """


class IConnected(Interface):
    """What a part provides that keeps connections open between requests."""

    def close() -> None:
        """Give them up, and keep none from now on. Requests may still be under way."""


def load(kind: str, type_: object, at: str) -> ModuleType:
    """
    The module of a part; nothing else is imported.

    @param kind: C{"providers"}, C{"augmenters"} or C{"stores"}.
    @param at: where the part stands in the file.

    @raise ConfigError: there is no such type.
    """
    if type_ is None:
        raise ConfigError([Problem(f"{at}.type", "is missing")])
    if not isinstance(type_, str) or not re.fullmatch(r"[a-z][a-z0-9_-]*", type_):
        raise ConfigError([Problem(f"{at}.type", f"is no type of {kind}")])
    module = _find(kind, type_)
    if module is None:
        known = [documented_type(each) for each in every(kind)]
        named = f"type {type_!r}" if is_slip(type_, known) else "such type"
        message = f"there is no {named} of {kind}{did_you_mean(type_, known)}"
        raise ConfigError([Problem(f"{at}.type", f"{message} (known: {', '.join(known)})")])
    return module


def every(kind: str) -> Iterator[ModuleType]:
    """All modules of a kind: ours, then those that other packages bring."""
    package = importlib.import_module(f"authotron.{kind}")
    for found in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"authotron.{kind}.{found.name}")
    for point in entry_points(group=f"authotron.{kind}"):
        yield point.load()


def documented_type(module: ModuleType) -> str:
    """The word that names it in a configuration."""
    config: type[Section] = module.Config
    annotation: Any = config.model_fields["type"].annotation
    return str(annotation.__args__[0])


def _find(kind: str, type_: str) -> ModuleType | None:
    module = f"authotron.{kind}.{type_.replace('-', '_')}"
    if importlib.util.find_spec(module) is not None:
        found = importlib.import_module(module)
        return found if documented_type(found) == type_ else None
    for point in entry_points(group=f"authotron.{kind}", name=type_):
        plugin: ModuleType = point.load()
        return plugin
    return None
