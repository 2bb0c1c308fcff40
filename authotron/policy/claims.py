"""
Claims: the strings C{key=value} by which policies know an identity.

Claims whose key begins with C{@} state how the gateway found out the identity. No provider or
augmenter can set claims with C{@}, nor the claims C{realm}, C{username}, C{role} and C{scope}, by
an attribute of that name. An attribute whose value is a JSON list becomes one claim for each
element of the list.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from attrs import field, frozen

from authotron.model import strict_json
from authotron.model.identity import Identity
from authotron.model.naming import normalize
from authotron.policy.claim_filter import ClaimFilter
from authotron.policy.claim_keys import is_claimable, why_not_claimable

_LIST = "["
"""The first character of an attribute's value that may be a JSON list."""

_UNPRINTABLE = frozenset({"Cc", "Cs"})
"""The Unicode categories of control characters and of halves of surrogate pairs."""


@frozen
class Source:
    """
    How the gateway found out an identity: by which provider.

    @ivar type: the type of the provider that returned the identity.
    @ivar name: the name of the provider that returned the identity.
    @ivar issuer: the issuer of the JWTs that the gateway mints.
    @ivar filter: the claim filter, which chooses and renames the claims of the provider's
        identities, or C{None} if the provider has no filter.
    """

    type: str = field(converter=normalize)
    name: str = field(converter=normalize)
    issuer: str = field(converter=normalize)
    filter: ClaimFilter | None = None


def values_of(attribute: str) -> Sequence[str]:
    """
    Return the values of an attribute: the elements if the attribute is a JSON list, or else the
    attribute itself, in Unicode Normalization Form C.

    Numbers and booleans are returned in the form in which JSON writes them. Elements of a JSON list
    that are empty, C{null}, lists, objects or strings with control characters are left out.
    """
    if not attribute.startswith(_LIST):
        return (normalize(attribute),)
    try:
        listed = strict_json.loads(attribute.encode(), most=len(attribute))
    except ValueError:
        return (normalize(attribute),)
    return [each for each in map(_value, listed) if each]


def _value(element: object) -> str:
    """
    Convert an element of a JSON list to the value of a claim, or return an empty string if the
    element cannot be a claim.
    """
    if isinstance(element, str):
        is_clean = element.isprintable() or _UNPRINTABLE.isdisjoint(
            map(unicodedata.category, element)
        )
        return normalize(element) if is_clean else ""
    return json.dumps(element) if isinstance(element, bool | int | float) else ""


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


def left_out(identity: Identity) -> Iterator[tuple[str, str]]:
    """
    Yield the keys of the attributes that do not become claims, each with the reason in
    one word.
    """
    for key, value in identity.attributes.items():
        if not is_claimable(key, value):
            yield key, why_not_claimable(key, value)


def _claims(identity: Identity, source: Source) -> Iterable[str]:
    """Return the claims of an identity; the result may contain duplicates."""
    found = chain(_own_claims(identity, source), _stated_claims(identity))
    return found if source.filter is None else source.filter.apply(found)


def _own_claims(identity: Identity, source: Source) -> Iterator[str]:
    """Yield the claims that every identity has."""
    yield f"@source:type={source.type}"
    yield f"@source:name={source.name}"
    yield f"@source:realm={identity.realm}"
    yield f"@issuer={source.issuer}"
    yield f"realm={identity.realm}"
    yield f"username={identity.username}"


def _stated_claims(identity: Identity) -> Iterator[str]:
    """Yield the claims that are made of roles, scopes and attributes."""
    for role in identity.roles:
        yield f"role={role}"
    for service, scopes in identity.scopes.items():
        # the claims of the keys a:b and a would be equal for the values c and b:c
        if ":" not in service:
            for scope in scopes:
                yield f"scope={service}:{scope}"
    for key, value in identity.attributes.items():
        if is_claimable(key, value):
            for each in values_of(value):
                yield f"{key}={each}"


Known = Mapping[str, Mapping[str, str]]
"""The tags that rules name: for each key, for each value the tag."""


def known_claims(identity: Identity, source: Source, known: Known) -> frozenset[str]:
    """
    Return the claims of an identity that are among known tags, which is faster than to make all
    claims.
    """
    if source.filter is not None:
        return frozenset(_among(_claims(identity, source), known))
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
        if key in known and is_claimable(key, value):
            tags = known[key]
            found += [tags[each] for each in values_of(value) if each in tags]
    return frozenset(found)


def _among(claims: Iterable[str], known: Known) -> Iterator[str]:
    """Yield the claims that any rule names, each as the string object that the rules share."""
    for claim in claims:
        key, _, value = claim.partition("=")
        tag = known.get(key, {}).get(value)
        if tag is not None:
            yield tag
