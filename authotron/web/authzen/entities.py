"""
The entities of AuthZEN (Authorization API 1.0, "Information Model"): the subject, action, resource
and context of an evaluation, parsed from JSON.

Unknown keys of an entity are ignored, as the AuthZEN specification demands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

Properties = Mapping[str, Any]
"""The C{properties} of an AuthZEN entity, which may be any JSON values."""


class Malformed(ValueError):
    """
    A request to the AuthZEN API lacks a required key, or a value in it is of the wrong type.

    The message of the exception is sent to the client.
    """


@frozen(eq=False)
class Subject:
    """
    The identity that an AuthZEN evaluation or search is about.

    @ivar id: the id of the subject; empty if the client searches for subjects.
    """

    type: str
    id: str
    properties: Properties = field(factory=dict)


@frozen(eq=False)
class Action:
    """
    The action of an AuthZEN request: what the subject wants to do.

    @ivar name: the name of the action; empty if the client searches for actions.
    """

    name: str
    properties: Properties = field(factory=dict)


@frozen(eq=False)
class Resource:
    """
    The resource of an AuthZEN request: the object with which the subject wants to do something.

    @ivar id: the id of the resource; empty if the client searches for resources.
    """

    type: str
    id: str
    properties: Properties = field(factory=dict)


@frozen
class Context:
    """
    The keys of the context of an AuthZEN request that the gateway uses.

    @ivar ip: the address of the client that makes the request.
    @ivar namespace: the namespace of the request.
    @ivar host: the requested host.
    """

    ip: str | None = None
    namespace: str | None = None
    host: str | None = None


def parse_subject(given: Mapping[str, Any], *, is_searched: bool = False) -> Subject:
    """
    Return the subject of an AuthZEN request.

    @param is_searched: whether the client searches for subjects, so that the id of the subject is
        ignored.

    @raise Malformed: the subject is missing, a key of the subject is missing, or a value is of the
        wrong type.
    """
    found = _entity(given, "subject")
    type_ = _text(found, "subject.type")
    return Subject(type_, "" if is_searched else _text(found, "subject.id"), _properties(found))


def parse_action(given: Mapping[str, Any]) -> Action:
    """
    Return the action of an AuthZEN request.

    @raise Malformed: the action is missing, a key of the action is missing, or a value is of the
        wrong type.
    """
    found = _entity(given, "action")
    return Action(_text(found, "action.name"), _properties(found))


def parse_resource(given: Mapping[str, Any], *, is_searched: bool = False) -> Resource:
    """
    Return the resource of an AuthZEN request.

    @param is_searched: whether the client searches for resources, so that the id of the resource is
        ignored.

    @raise Malformed: the resource is missing, a key of the resource is missing, or a value is of
        the wrong type.
    """
    found = _entity(given, "resource")
    type_ = _text(found, "resource.type")
    return Resource(type_, "" if is_searched else _text(found, "resource.id"), _properties(found))


def parse_context(given: Mapping[str, Any]) -> Context:
    """
    Return the context of an AuthZEN request; if the request states none, the context is empty.

    @raise Malformed: the context is not an object, or a key that the gateway uses is not a string.
    """
    found = given.get("context", {})
    if not isinstance(found, dict):
        raise Malformed("context must be an object")
    known = {key: _text(found, f"context.{key}") for key in _CONTEXT if key in found}
    return Context(**known)


_CONTEXT = ("ip", "namespace", "host")


def _entity(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    if name not in given:
        raise Malformed(f"{name} is missing")
    found = given[name]
    if not isinstance(found, dict):
        raise Malformed(f"{name} must be an object")
    return found


def _text(given: Mapping[str, Any], path: str) -> str:
    """
    Return the string in a JSON object at a dotted path such as C{subject.id}, whose last name is
    the key.
    """
    key = path.rpartition(".")[2]
    if key not in given:
        raise Malformed(f"{path} is missing")
    found = given[key]
    if not isinstance(found, str):
        raise Malformed(f"{path} must be a string")
    return found


def _properties(given: Mapping[str, Any]) -> Properties:
    found = given.get("properties", {})
    if not isinstance(found, dict):
        raise Malformed("properties must be an object")
    return found
