"""
Templates of headers that name an identity, such as C{{realm}/{username}}.

The template of a header is text with placeholders in braces. A placeholder in a template is the
name of a claim of the minted JWT, C{username}, C{realm}, C{sub}, C{roles}, C{attributes.NAME} or
C{scopes.SERVICE}; or it is C{jwt}, which stands for the JWT itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from attrs import frozen

from authotron.model.field_values import exact, field_value, joined, percent, percent_joined
from authotron.model.identity import Identity

Encoding = Literal["percent", "utf-8"]
"""The ways in which characters beyond ASCII are written in headers."""

PROFILES: Mapping[str, Mapping[str, str]] = {
    "jwt": {},
    "legacy": {
        "X-Auth-Username": "{username}",
        "X-Auth-Realm": "{realm}",
        "X-Auth-Roles": "{roles}",
    },
    "remote-user": {
        "Remote-User": "{username}",
        "Remote-Groups": "{roles}",
        "Remote-Name": "{attributes.name}",
        "Remote-Email": "{attributes.email}",
    },
    "auth-request": {
        "X-Auth-Request-User": "{username}",
        "X-Auth-Request-Email": "{attributes.email}",
        "X-Auth-Request-Groups": "{roles}",
        "X-Auth-Request-Preferred-Username": "{username}",
        "X-Auth-Request-Access-Token": "{jwt}",
    },
}
"""For each header profile except C{custom} the templates of its headers."""

IDENTITY_HEADERS = tuple(dict.fromkeys(name for each in PROFILES.values() for name in each))
"""The names of the headers of all these header profiles."""

_PART = re.compile(r"\{([^{}]*)\}|([^{}]+)")
_NAMED = ("attributes", "scopes")
_SINGLE = ("username", "realm", "sub", "roles", "jwt")

Filled = Callable[[Identity, str], bytes]
"""
A function that returns a part of the value of a header, for an identity and the JWT that is minted
for it.
"""


@frozen
class _Encoder:
    """The functions by which one encoding writes names, free text and lists."""

    name: Callable[[str], bytes]
    text: Callable[[str], bytes]
    items: Callable[[Iterable[str]], bytes]


_ENCODERS: Mapping[Encoding, _Encoder] = {
    "percent": _Encoder(percent, percent, percent_joined),
    "utf-8": _Encoder(exact, field_value, lambda texts: exact(joined(texts))),
}


def compiled(template: str, encoding: Encoding) -> Filled:
    """
    Return the function that fills a header template.

    @raise ValueError: the template has an unknown placeholder, a brace without its other half, or a
        character that a header cannot have.
    """
    parts = [_compiled_part(part, _ENCODERS[encoding]) for part in _parts(template)]
    if len(parts) == 1:
        return parts[0]
    return lambda identity, token: b"".join([part(identity, token) for part in parts])


def check_template(template: str) -> str:
    """
    Return a header template if it can be used.

    @raise ValueError: the template has an unknown placeholder, a brace without its other half, or a
        character that a header cannot have.
    """
    compiled(template, "percent")
    return template


def names_realm(template: str) -> bool:
    """Return whether the filled template is different for users of different realms."""
    return any(f"{{{each}}}" in template for each in ("realm", "sub"))


def _parts(template: str) -> list[tuple[str, bool]]:
    """Return the parts of a template: each a text, and whether the text is a placeholder."""
    if not (template.isascii() and template.isprintable()):
        raise ValueError("has a character that is not printable ASCII")
    found = [*_PART.finditer(template)]
    if "".join([each[0] for each in found]) != template:
        raise ValueError("has a brace without its other half")
    if template != template.strip(" "):
        raise ValueError("begins or ends with a blank")
    return [(each[2], False) if each[1] is None else (each[1], True) for each in found]


def _compiled_part(part: tuple[str, bool], encoder: _Encoder) -> Filled:
    text, is_placeholder = part
    if not is_placeholder:
        fixed = text.encode("ascii")
        return lambda _identity, _token: fixed
    claim, dot, name = text.partition(".")
    if dot and name and claim in _NAMED:
        return _named(claim, name, encoder)
    if text not in _SINGLE:
        raise ValueError(
            f"has the unknown placeholder {{{text}}}; known are {{username}}, {{realm}}, {{sub}}, "
            "{roles}, {attributes.NAME}, {scopes.SERVICE} and {jwt}"
        )
    fillers: Mapping[str, Filled] = {
        "username": lambda identity, _: encoder.name(identity.username),
        "realm": lambda identity, _: encoder.name(identity.realm),
        "sub": lambda identity, _: encoder.name(f"{identity.realm}-{identity.username}"),
        "roles": lambda identity, _: encoder.items(identity.roles),
        "jwt": lambda _, token: token.encode("ascii"),
    }
    return fillers[text]


def _named(claim: str, name: str, encoder: _Encoder) -> Filled:
    if claim == "attributes":
        return lambda identity, _: encoder.text(identity.attributes.get(name, ""))
    return lambda identity, _: encoder.items(identity.scopes.get(name, ()))
