"""
Convert the entities of an AuthZEN request to what rules of policies compare: claims, a resource, a
verb and an id.

The id of a subject of the type C{user} becomes the claim C{username}, and the properties of the
subject become claims. The properties of a resource and of an action also become claims, whose keys
begin with C{@resource:} and C{@action:}, so that no provider and no property of a subject can set
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from authotron.policy.claim_keys import is_claimable
from authotron.policy.subjects import GROUP, is_tag
from authotron.web.authzen.entities import (
    Action,
    Malformed,
    Properties,
    Resource,
    Subject,
)

USER = "user"
"""The AuthZEN type of subjects that are users known to the providers of the gateway."""

PATH = "path"
"""The AuthZEN type of resources whose id is the path of a URL."""

CLAIMS = "claims"
"""
The property of an AuthZEN subject that lists claims literally, such as
C{@source:realm=internal}.
"""

USERNAME = "username="
SUBJECT_TYPE, SUBJECT_ID = "@subject:type=", "@subject:id="
OF_RESOURCE, OF_ACTION = "@resource:", "@action:"

MOST_CLAIMS = 5_000
"""Maximum number of claims that may be made of the properties of one AuthZEN entity."""

_STATED_ALONE = (SUBJECT_TYPE, SUBJECT_ID, OF_RESOURCE, OF_ACTION, GROUP)
"""The prefixes of claims that the property C{claims} of an AuthZEN subject must not contain."""

_NAMES = {"realm": "realm", "role": "role", "roles": "role", "scope": "scope", "scopes": "scope"}
"""
For each property of an AuthZEN subject that states a part of an identity, the key of the claims
made of it.
"""


def claims_of(entity: Subject | Resource | Action) -> frozenset[str]:
    """
    Return the claims that are made of an AuthZEN subject, resource or action.

    @raise Malformed: the property C{claims} of a subject is not a list of claims, or the entity has
        too many claims.
    """
    if isinstance(entity, Subject):
        return _bounded((*names(entity), *property_claims(entity.properties)))
    prefix = OF_RESOURCE if isinstance(entity, Resource) else OF_ACTION
    return _bounded(_of(prefix, entity.properties))


def _bounded(claims: Iterable[str]) -> frozenset[str]:
    found = frozenset(claims)
    if len(found) > MOST_CLAIMS:
        raise Malformed(f"properties are more than {MOST_CLAIMS} claims")
    return found


def names(subject: Subject) -> Iterator[str]:
    """Yield the claims that state the type and the id of an AuthZEN subject."""
    if subject.type == USER:
        yield USERNAME + subject.id
    else:
        yield SUBJECT_TYPE + subject.type
        yield SUBJECT_ID + subject.id


def property_claims(properties: Properties) -> Iterator[str]:
    """
    Yield the claims that are made of the properties of an AuthZEN subject.

    Three kinds of properties do not become claims: names that begin with C{@}, the name C{username}
    (it is the id of the subject), and values that are JSON objects.

    @raise Malformed: the property C{claims} is not a list of claims.
    """
    for name, value in properties.items():
        if name == CLAIMS:
            yield from _literal(value)
        elif name in _NAMES:
            yield from (f"{_NAMES[name]}={each}" for each in _values(value))
        else:
            yield from (f"{name}={each}" for each in _values(value) if is_claimable(name, each))


def _literal(value: object) -> Iterator[str]:
    if not isinstance(value, list):
        raise Malformed("subject.properties.claims must be an array of strings")
    for each in value:
        if not isinstance(each, str) or not is_tag(each):
            raise Malformed("subject.properties.claims: claims are strings such as role=reader")
        if each.startswith((*_STATED_ALONE, USERNAME)):
            raise Malformed("subject.properties.claims names a claim that other keys state")
        yield each


def _of(prefix: str, properties: Properties) -> Iterator[str]:
    for name, value in properties.items():
        for each in _values(value):
            if is_claimable(f"{prefix[1:]}{name}", each):
                yield f"{prefix}{name}={each}"


def _values(value: object) -> Iterator[str]:
    """
    Yield the values of a property as strings; a JSON array yields one string for each element, and
    a JSON object yields nothing.
    """
    for each in value if isinstance(value, list) else [value]:
        text = _text(each)
        if text:
            yield text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def resource_and_id(resource: Resource) -> tuple[str, str | None]:
    """
    Return the resource and the id of an AuthZEN resource in the form that rules compare.

    @raise Malformed: the id of a resource of the type C{path} is not a path.
    """
    if resource.type != PATH:
        return resource.type, resource.id or None
    if not resource.id.startswith("/"):
        raise Malformed("resource.id must be a path, such as /data/x, because the type is path")
    return resource.id, None


def as_properties(claims: Iterable[str]) -> dict[str, list[str]]:
    """Convert claims to the properties of an AuthZEN subject."""
    found = sorted(claims)
    return {CLAIMS: found} if found else {}
