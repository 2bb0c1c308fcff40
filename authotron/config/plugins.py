"""Find the plugin that a C{type:} in the configuration names; define the keys of all plugins."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import Field, field_validator, model_validator

from authotron.config.claim_filter import ClaimFilterConfig
from authotron.config.credentials import Carriers
from authotron.config.entry_points import entry_points
from authotron.config.section import (
    HeaderName,
    Name,
    Names,
    NonEmptyStr,
    Realm,
    Seconds,
    Secret,
    Section,
)
from authotron.config.spelling import did_you_mean
from authotron.model.errors import ConfigError, Problem

SHORTEST_PEPPER = 16
"""Minimum number of bytes of a pepper, the key with which API tokens are hashed."""

API_VERSION = 1
"""
Version of the interface of plugins (L{authotron.plugin}).

A plugin of another package may declare in C{API_VERSION} for which version of the interface it is
written.
"""


class PluginConfig(Section):
    """The configuration keys that every provider and augmenter has."""

    type: str = Field(description="the type of the plugin; names the module that implements it")
    name: NonEmptyStr = Field(
        description="the name, unique among providers or augmenters; used in logs and metrics"
    )
    realm: Realm = Field(description="the realm that the users of the plugin belong to")


_CREDENTIALS = (
    "the part of a request that carries the credential, if it is not the header `Authorization`: "
    "`{header: X-API-Key}`, `{cookie: NAME}`, `{basic: password}` or `{query: NAME}`, or a list"
)


class ProviderConfig(PluginConfig):
    """The configuration keys that every provider has."""

    credentials: Carriers | None = Field(default=None, description=_CREDENTIALS)
    claims: ClaimFilterConfig | None = Field(
        default=None,
        description="which claims the identities have for policies and in the claim `identity` of "
        "JWTs; roles and attributes stay as they are",
    )

    needs_key_pair: ClassVar[bool] = False
    """Whether C{jwt.alg} must be an asymmetric algorithm."""

    @property
    def verifies_passwords(self) -> bool:
        """Whether the credentials of the provider are user names and passwords."""
        return False


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


class AuthorizerConfig(Section):
    """The configuration keys that every authorizer has."""

    type: str = Field(description="the type of the plugin; names the module that implements it")
    name: NonEmptyStr = Field(default="authorizer", description="the name in logs and metrics")
    timeout: Seconds | None = Field(
        default=None,
        gt=0,
        description="seconds that the authorizer may take; `auth.timeout_in_ms` if not set",
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
    credentials: Carriers | None = Field(default=None, description=_CREDENTIALS)

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
        """Return the peppers of acl-proxy, the gateway from which tokens were imported."""
        return [key.encode() for key in _text(self.acl_proxy_pepper).splitlines()]


FactName = Literal["method", "scheme", "host", "path", "address", "namespace", "certificate"]
"""
A fact of a client's request, such as its host, that a proxy may state in a header; C{path} stands
for path and query together.
"""


class ContractConfig(Section):
    """The configuration keys that every contract of a proxy has."""

    type: str = Field(description="the type of the proxy; names the module with its contract")
    headers: dict[FactName, HeaderName] = Field(
        default_factory=dict,
        description="for each fact of a request the header in which the proxy states the fact, if "
        "it is another than usual; the proxy must overwrite this header in every request",
    )
    required: tuple[FactName, ...] | None = Field(
        default=None,
        strict=False,
        description="the facts of the client's request that the proxy must state in each of its "
        "requests, or else gets a 400; if not set, those that the contract of the proxy requires",
    )
    refuse_underscores: bool = Field(
        default=False,
        description="answer 400 if a fact is needed, and the client has sent the header of the "
        "fact with underscores in place of hyphens; such a header is ignored otherwise",
    )
    authorization: Literal["first", "refuse"] | None = Field(
        default=None,
        description="what happens to a request with several Authorization headers: `first` (the "
        "default) reads the first header, `refuse` answers 400, also if one header has several "
        "credentials, because proxies such as Envoy join several headers",
    )


class PrefixConfig(ContractConfig):
    """
    The configuration keys of a contract whose proxy adds no headers by itself that describe the
    client's request.
    """

    prefix: HeaderName = Field(
        default="X-Authotron-",
        description="how the headers begin in which the configuration of the proxy states the "
        "request; it must delete all headers with this prefix first",
    )


def _text(secret: Secret | None) -> str:
    return secret.get_secret_value() if secret else ""


_BASES: Mapping[str, type[Section]] = {
    "providers": PluginConfig,
    "augmenters": PluginConfig,
    "authorizers": AuthorizerConfig,
    "stores": StoreConfig,
    "contracts": ContractConfig,
}
"""The class from which the C{Config} of every plugin derives, by the kind of the plugin."""

_PACKAGES: Mapping[str, str] = {"contracts": "web.proxies"}
"""The kinds of plugins that are in a package of another name than the kind, with these packages."""

_SPEAKING = (ImportError, SyntaxError, AttributeError, NameError)
"""Import errors whose text describes code, and so cannot contain a secret."""


class UnusablePlugin(Exception):
    """A plugin is installed, but cannot be imported, or its module lacks what every plugin has."""


def load(kind: str, type_: object, at: str) -> ModuleType:
    """
    Import the module of one plugin, and no other plugin.

    @param kind: the kind of the plugin, C{"providers"}, C{"augmenters"}, C{"authorizers"},
        C{"stores"} or C{"contracts"}.
    @param type_: the value of C{type:}.
    @param at: the path of the section in the file.

    @raise ConfigError: no installed plugin has this type, or the plugin cannot be used.
    """
    if type_ is None:
        raise ConfigError([Problem(f"{at}.type", "is missing")])
    if not isinstance(type_, str) or not re.fullmatch(r"[a-z][a-z0-9_-]*", type_):
        raise ConfigError([Problem(f"{at}.type", f"is not a type of {kind}")])
    try:
        module = _find(kind, type_)
    except UnusablePlugin as unusable:
        raise ConfigError([Problem(f"{at}.type", str(unusable))]) from None
    if module is None:
        known = [documented_type(each) for each in every(kind)]
        message = (
            f"unknown type {type_!r} of {kind}{did_you_mean(type_, known)} (known: "
            f"{', '.join(known)}); if it is a plugin of another package, is its package installed "
            "in this environment?"
        )
        raise ConfigError([Problem(f"{at}.type", message)])
    return module


def every(kind: str, unusable: list[str] | None = None) -> Iterator[ModuleType]:
    """
    Import all plugins of a kind: those of authotron, then those of other packages.

    A module of authotron without C{Config} and C{make} is not a plugin, but code that several
    plugins share.

    @param unusable: receives the reasons why plugins are left out.
    """
    package = importlib.import_module(f"authotron.{_package(kind)}")
    for found in pkgutil.iter_modules(package.__path__):
        try:
            module = _module(kind, found.name)
        except UnusablePlugin as reason:
            _note(reason, unusable)
            continue
        if _is_plugin(module):
            yield module
    for point in entry_points(f"authotron.{kind}"):
        try:
            plugin = _plugin(kind, point)
        except UnusablePlugin as reason:
            _note(reason, unusable)
        else:
            yield plugin


def documented_type(module: ModuleType) -> str:
    """Return the C{type:} that names a plugin in a configuration."""
    return next(iter(_types(module.Config)), module.__name__.rpartition(".")[2])


def place_of(error: BaseException) -> str:
    """
    Describe an error by its type and the line that raised it; the text of the error may contain a
    secret.
    """
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def _types(config: type[Section]) -> tuple[str, ...]:
    """Return the values a C{Config} allows for C{type}, or nothing if any is allowed."""
    annotation: Any = config.model_fields["type"].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _note(reason: UnusablePlugin, unusable: list[str] | None) -> None:
    if unusable is not None:
        unusable.append(str(reason))


def _find(kind: str, type_: str) -> ModuleType | None:
    """
    Import the plugin of a type; return C{None} if there is no plugin of this type.

    @raise UnusablePlugin: the plugin is installed, but cannot be used.
    """
    name = type_.replace("-", "_")
    if importlib.util.find_spec(f"authotron.{_package(kind)}.{name}") is not None:
        found = _module(kind, name)
        return found if _is_plugin(found) and documented_type(found) == type_ else None
    for point in entry_points(f"authotron.{kind}"):
        if point.name == type_:
            return _plugin(kind, point)
    return None


def _package(kind: str) -> str:
    return _PACKAGES.get(kind, kind)


def _module(kind: str, name: str) -> ModuleType:
    """Import a module of authotron that may contain a plugin."""
    full = f"authotron.{_package(kind)}.{name}"
    return _imported(lambda: importlib.import_module(full), name.replace("_", "-"), full)


def _plugin(kind: str, point: EntryPoint) -> ModuleType:
    """
    Import a plugin of another package.

    @raise UnusablePlugin: the plugin cannot be imported, is written for another version of the
        interface of plugins, or lacks C{Config} or C{make}.
    """
    module = _imported(point.load, point.name, point.value)
    version = getattr(module, "API_VERSION", API_VERSION)
    if version != API_VERSION:
        raise UnusablePlugin(
            f"{point.name!r} is written for version {version} of the plugin interface, but this "
            f"authotron has version {API_VERSION}; install versions that fit"
        )
    if flaw := _flaw(kind, module, point.name):
        raise UnusablePlugin(f"plugin {point.name!r} ({point.value}) cannot be used: {flaw}")
    return module


def _imported(load_module: Callable[[], ModuleType], type_: str, name: str) -> ModuleType:
    try:
        return load_module()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the module of a plugin may raise any exception
        why = f"plugin {type_!r} ({name}) cannot be imported: {_reason(error)}"
        raise UnusablePlugin(why) from None


def _reason(error: BaseException) -> str:
    """
    Describe an import error by its text if the text is about code, else by the line that raised the
    error.
    """
    if isinstance(error, _SPEAKING):
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return place_of(error)


def _flaw(kind: str, module: object, type_: str) -> str | None:
    """
    Return what the module of a plugin lacks, or C{None} if the module has all that a
    plugin needs.
    """
    config, base = getattr(module, "Config", None), _BASES[kind]
    if config is None:
        return f"it has no class Config{_similar('Config', module)}"
    if not (isinstance(config, type) and issubclass(config, base)):
        return f"its Config is not a class that derives from {base.__name__}"
    if not callable(getattr(module, "make", None)):
        return f"it has no function make(config, world){_similar('make', module)}"
    types = _types(config)
    if types and type_ not in types:
        return (
            f"the key type of its Config is Literal[{types[0]!r}], but its entry point is named "
            f"{type_!r}"
        )
    return None


def _similar(name: str, module: object) -> str:
    """Name the function or class of a module that is probably meant by a misspelt name."""
    own = getattr(module, "__name__", None)
    names = [each for each, it in vars(module).items() if getattr(it, "__module__", "") == own]
    close = difflib.get_close_matches(name.lower(), [each.lower() for each in names], 1, 0.7)
    found = next((each for each in names if each.lower() in close), None)
    return f"; is {found} meant?" if found else ""


def _is_plugin(module: ModuleType) -> bool:
    return hasattr(module, "Config") and hasattr(module, "make")
