"""The JSON Schema of the configuration file, with all plugins that are installed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, Union

from pydantic import BaseModel, PydanticUserError, create_model

from authotron.config import plugins, section
from authotron.config.fields import nested_section
from authotron.config.schema import EXTENSION, File, NoStore
from authotron.config.server import Server
from authotron.model.errors import ConfigError

DRAFT = "https://json-schema.org/draft/2020-12/schema"
"""The URL of the JSON Schema version, which is the value of the key C{$schema}."""

_EXTENSION = "ignored key, whose value may hold YAML anchors for other keys"


def json_schema(unusable: list[str] | None = None) -> dict[str, Any]:
    """
    Return the JSON Schema of a configuration file, with all plugins that are installed.

    @param unusable: receives the reasons for which installed plugins are left out.
    """
    listed: dict[str, Any] = {}
    left_out: list[str] = [] if unusable is None else unusable
    for kind in ("providers", "augmenters"):
        choice: Any = Union[tuple(_configs(kind, left_out))]  # noqa: UP007 - of a list
        listed[kind] = (list[choice], File.model_fields[kind])
    sections = dict.fromkeys(_configs("contracts", left_out))  # most plugins have the same keys
    types = sorted(map(plugins.documented_type, plugins.every("contracts")))
    contract: Any = Union[(Literal[tuple(types)], *sections)]
    contracts: Any = (tuple[contract, ...] | None, Server.model_fields["contracts"])
    server = create_model("Server", __base__=Server, __doc__=Server.__doc__, contracts=contracts)
    listed["server"] = (server, File.model_fields["server"])
    stores: Any = Union[(NoStore, *_configs("stores", left_out))]
    listed["store"] = (stores, File.model_fields["store"])
    of_policy: Any = policy_section() | None
    listed["policy"] = (of_policy, File.model_fields["policy"])
    authorizers: Any = Union[tuple(_configs("authorizers", left_out))]  # noqa: UP007 - of a list
    listed["authorizer"] = (authorizers | None, File.model_fields["authorizer"])
    whole = create_model("authotron", __base__=File, __doc__=File.__doc__, **listed)
    return {
        "$schema": DRAFT,
        **section.schema_of(whole),
        "patternProperties": {f"^{EXTENSION}": {"description": _EXTENSION}},
    }


def _configs(kind: str, unusable: list[str]) -> Iterator[type[BaseModel]]:
    """Yield the C{Config} of each plugin of a kind that has a JSON Schema."""
    for module in plugins.every(kind, unusable):
        try:
            section.schema_of(module.Config)
        except PydanticUserError as error:
            type_ = plugins.documented_type(module)
            reason = f"its Config has no JSON Schema: {error.message}"
            unusable.append(f"plugin {type_!r} ({module.__name__}): {reason}")
        else:
            yield module.Config


@cache
def known_keys() -> frozenset[str]:
    """Return every key that is valid anywhere in a configuration file."""
    found: set[str] = set()
    left: list[object] = [json_schema()]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            properties = node.get("properties")
            found.update(properties if isinstance(properties, dict) else ())
            left += node.values()
        elif isinstance(node, list):
            left += node
    return frozenset(found)


def policy_section() -> type[BaseModel]:
    """Return the section C{policy}, whose module is imported only if it is needed."""
    from authotron.config.policy_section import PolicyConfig  # noqa: PLC0415 - see above

    return PolicyConfig


def section_of(key: str, type_: str | None) -> type[BaseModel] | None:
    """
    Return the section that a top-level key of the file holds, if the key holds one.

    @param type_: the C{type} in the section, which decides which keys the section of a store or of
        an authorizer has.
    """
    if key == "policy":
        return policy_section()
    if key == "authorizer":
        return _section_of_type("authorizers", type_, plugins.AuthorizerConfig)
    if key == "store":
        return _section_of_type("stores", type_, plugins.StoreConfig)
    return nested_section(File, key)


def _section_of_type(kind: str, type_: str | None, base: type[BaseModel]) -> type[BaseModel]:
    """Return the C{Config} class of a plugin, or C{base} if the plugin cannot be loaded."""
    try:
        module = plugins.load(kind, type_, kind)
    except ConfigError:
        return base
    config: type[BaseModel] = module.Config
    return config
