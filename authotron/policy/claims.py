"""
Claims: the strings C{key=value} by which policies know an identity.

Claims whose key begins with C{@} state how the gateway found out the identity. No provider or
augmenter can set claims with C{@}, nor the claims C{realm}, C{username}, C{role} and C{scope}, by
an attribute of that name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from authotron.model.identity import Identity

RESERVED = "@"
"""The prefix of the claim keys that only the gateway sets."""

_OWN = frozenset({"realm", "username", "role", "scope"})
"""The keys of claims that are made of other parts of an identity than its attributes."""


@frozen
class Source:
    """
    How the gateway found out an identity: by which provider.

    @ivar type: the type of the provider that returned the identity.
    @ivar name: the name of the provider that returned the identity.
    @ivar issuer: the issuer of the JWTs that the gateway mints.
    """

    type: str
    name: str
    issuer: str


def is_reserved(key: str) -> bool:
    """Return whether only the gateway may set claims with a given key."""
    return key.startswith(RESERVED)


def is_claimable(key: str, value: str) -> bool:
    """Return whether an attribute becomes a claim."""
    if not key or not value or is_reserved(key) or key in _OWN:
        return False
    return "=" not in key and not any(char.isspace() for char in key)


def claims_of(identity: Identity, source: Source) -> frozenset[str]:
    """Return the claims of an identity, for policies."""
    return frozenset(_claims(identity, source))


def by_key(claims: Iterable[str]) -> dict[str, list[str]]:
    """Return the values of each claim, by the key of the claim, in alphabetical order."""
    found: dict[str, list[str]] = {}
    for claim in sorted(claims):
        key, _, value = claim.partition("=")
        found.setdefault(key, []).append(value)
    return found


def unclaimable(identity: Identity) -> list[str]:
    """Return the keys of those attributes that do not become claims."""
    return [key for key, value in identity.attributes.items() if not is_claimable(key, value)]


def _claims(identity: Identity, source: Source) -> Iterator[str]:
    yield f"@source:type={source.type}"
    yield f"@source:name={source.name}"
    yield f"@source:realm={identity.realm}"
    yield f"@issuer={source.issuer}"
    yield f"realm={identity.realm}"
    yield f"username={identity.username}"
    for role in identity.roles:
        yield f"role={role}"
    for service, scopes in identity.scopes.items():
        # the claims of the keys a:b and a would be equal for the values c and b:c
        if ":" not in service:
            for scope in scopes:
                yield f"scope={service}:{scope}"
    for key, value in identity.attributes.items():
        if is_claimable(key, value):
            yield f"{key}={value}"


Known = Mapping[str, Mapping[str, str]]
"""The tags that rules name: for each key, for each value the tag."""


def known_tags(tags: Iterable[str]) -> Known:
    """Arrange tags by their keys and values."""
    found: dict[str, dict[str, str]] = {}
    for tag in tags:
        key, _, value = tag.partition("=")
        found.setdefault(key, {})[value] = tag
    return found


def known_claims(identity: Identity, source: Source, known: Known) -> frozenset[str]:
    """
    Return the claims of an identity that are among known tags, which is faster than to make all
    claims.
    """
    stated = (
        ("@source:type", source.type),
        ("@source:name", source.name),
        ("@source:realm", identity.realm),
        ("@issuer", source.issuer),
        ("realm", identity.realm),
        ("username", identity.username),
    )
    found = [known[key][value] for key, value in stated if key in known and value in known[key]]
    if roles := known.get("role"):
        found += [roles[role] for role in identity.roles if role in roles]
    if identity.scopes and (scopes := known.get("scope")):
        for service, each in identity.scopes.items():
            if ":" not in service:
                found += [scopes[at] for name in each if (at := f"{service}:{name}") in scopes]
    for key, value in identity.attributes.items():
        if key in known and value in known[key] and is_claimable(key, value):
            found.append(known[key][value])
    return frozenset(found)
