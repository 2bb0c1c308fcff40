"""Verify that what a plugin returns from C{make} keeps the contract of its interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import isclass
from typing import Any

from zope.interface.exceptions import (
    BrokenImplementation,
    BrokenMethodImplementation,
    DoesNotImplement,
    Invalid,
)
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyObject

from authotron.model.errors import ConfigError, Problem
from authotron.plugin.interfaces import (
    IAugmenter,
    IAuthorizer,
    IBacksUp,
    IChecksPepper,
    IConnected,
    IKeepsPepper,
    IMayAskRemotes,
    IProvider,
    IReachable,
    ITokenStore,
    IUserLookup,
)

_NAMES: Mapping[str, tuple[type, ...]] = {"name": (str,), "type": (str,), "realm": (str,)}

_TYPES: Mapping[InterfaceClass, Mapping[str, tuple[type, ...]]] = {
    IProvider: {**_NAMES, "scheme": (str,), "local": (bool,)},
    IAugmenter: {
        **_NAMES,
        "runs_last": (bool,),
        "required": (bool,),
        "timeout": (int, float, type(None)),
    },
    IAuthorizer: {"name": (str,), "type": (str,)},
    ITokenStore: {"type": (str,)},
}
"""The types that the interface of a plugin requires of its attributes."""

_OPTIONAL = (
    IBacksUp,
    IChecksPepper,
    IConnected,
    IKeepsPepper,
    IMayAskRemotes,
    IReachable,
    IUserLookup,
)
"""Interfaces that a provider, augmenter or store may implement in addition to its own interface."""


def verify(interface: InterfaceClass, plugin: object, at: str, type_: str) -> None:
    """
    Verify the object that a plugin has built from its section of the configuration.

    The messages do not contain the object itself, whose C{repr} may show a secret.

    @param at: the path of the section in the configuration file.
    @param type_: the C{type} of the plugin.

    @raise ConfigError: the object lacks a method or an attribute, a method takes other arguments
        than the interface says, or an attribute is of another type.
    """
    flaws = [*_flaws(interface, plugin)]
    if flaws:
        name = interface.__name__
        reasons = "; ".join(flaws)
        raise ConfigError(
            [Problem(at, f"plugin {type_!r} does not implement {name} correctly: {reasons}")]
        )


def _flaws(interface: InterfaceClass, plugin: object) -> Iterator[str]:
    if isclass(plugin) or not interface.providedBy(plugin):
        returned = f"class {plugin.__name__}" if isclass(plugin) else type(plugin).__name__
        declaration = f"@implementer({interface.__name__})"
        yield f"make() returned {returned}, not an object of a class with {declaration}"
        return
    optional = [each for each in _OPTIONAL if each.providedBy(plugin)]
    for each in (interface, *optional):
        yield from _interface_flaws(each, plugin)
    yield from _attribute_flaws(interface, plugin)


def _interface_flaws(interface: InterfaceClass, plugin: object) -> Iterator[str]:
    try:
        verifyObject(interface, plugin)
    except Invalid as invalid:
        yield from map(_reason, getattr(invalid, "exceptions", [invalid]))


def _reason(invalid: Exception) -> str:
    """
    Describe how an object violates an interface; leave out the object, whose repr may
    be secret.
    """
    match invalid:
        case BrokenImplementation():
            return f"{_short(invalid.name)} is missing"
        case BrokenMethodImplementation():
            reason = str(invalid.mess).removeprefix("implementation ")
            return f"{_short(invalid.method)} {reason}"
        case DoesNotImplement():
            return f"{invalid.interface.__name__} is not declared"
    return type(invalid).__name__


def _short(element: object) -> str:
    """
    Shorten a dotted name to its last part, such as C{affinity} of
    C{authotron.plugin.interfaces.IJudge.affinity}.
    """
    name, bracket, arguments = str(element).partition("(")
    return name.rpartition(".")[2] + bracket + arguments


def _attribute_flaws(interface: InterfaceClass, plugin: object) -> Iterator[str]:
    for name, types in _TYPES.get(interface, {}).items():
        value: Any = getattr(plugin, name, None)
        if not hasattr(plugin, name):
            continue  # L{verifyObject} has already reported that the attribute is missing
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            wanted = " or ".join(_readable(each) for each in types)
            yield f"{name} is {_readable(type(value))}, must be {wanted}"
        elif name == "scheme" and str(value) != str(value).lower():
            yield "the attribute scheme must be in lower case"


def _readable(type_: type) -> str:
    return "None" if type_ is type(None) else type_.__name__
