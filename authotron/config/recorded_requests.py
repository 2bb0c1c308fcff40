"""
Recorded requests, to which policies can be applied again: tests of policies, lines of JSON, or a
log in JSON with the requests that a policy has denied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from attrs import frozen
from pydantic import Field

from authotron.config import policy_test_file, section
from authotron.config.policy_rules import Tag
from authotron.config.policy_test_file import LoginOfTest, PolicyTest, RequestOfTest
from authotron.config.section import Section
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError, Problem

_EVENTS = {"policy.request.denied", "policy.request.observed"}
"""The names of the log events about requests that a policy has denied."""

_LONGEST_LINE = 1024 * 1024
"""Maximum number of characters of a line in a file with recorded requests."""

_CUT = 1_000
"""Number of characters at which the log cuts off the path of a request."""


@frozen
class Recorded:
    """
    A recorded request: a request that an identity has made, or might make.

    @ivar was_denied: whether the request was read from the log as one that a policy has denied.
        Then only a part of the claims is known, because the log does not contain attributes of
        identities.
    """

    name: str
    claims: tuple[str, ...]
    request: RequestOfTest
    login: LoginOfTest | None = None
    was_denied: bool = False


class _Line(Section):
    """
    A line of JSON that describes a recorded request; it has the same keys as a policy test, except
    for the expected results.
    """

    name: str = Field(default="", description="a description of the request for people")
    claims: Annotated[tuple[Tag, ...], Field(strict=False)] = Field(
        strict=False, description="the claims of the identity, such as `role=reader`"
    )
    request: RequestOfTest = Field(description="what the identity asks for")
    login: LoginOfTest | None = Field(
        default=None, description="what an identity provider states about the login"
    )


def read(path: Path) -> Iterator[Recorded | None]:
    """
    Yield the recorded requests in a file, and C{None} for each line without a usable request.

    A file whose name ends in C{.yaml} or C{.yml} contains policy tests; any other file contains
    lines of JSON.

    @raise ConfigError: the file cannot be read, or a request in it has problems.
    """
    if path.suffix in (".yaml", ".yml"):
        for each in policy_test_file.read(path).tests:
            yield _recorded(each)
        return
    try:
        with path.open(encoding="utf-8", errors="backslashreplace") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), ""), 1):
                yield _of_line(line, f"{path}:{number}")
    except OSError as error:
        message = f"cannot be read: {error.strerror} (name a file with recorded requests)"
        raise ConfigError([Problem(str(path), message)]) from None


def _recorded(given: PolicyTest | _Line) -> Recorded:
    claims, asked = given.claims, given.request
    name = given.name or f"{', '.join(claims)}: {asked.method} {asked.path}"
    return Recorded(name, claims, asked, given.login)


def _of_line(line: str, at: str) -> Recorded | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    attributes = found.get("attributes")
    if isinstance(attributes, dict) and attributes.get("event.name") in _EVENTS:
        return _of_log(attributes, found.get("timestamp"), at)
    if "claims" not in found:
        return None
    return _recorded(section.read(_Line, found, at, Sources()))


def _of_log(fields: Mapping[str, Any], timestamp: object, at: str) -> Recorded | None:
    """Return the request of a log event, or C{None} if the log lacks a part of the request."""
    texts = {name: str(fields.get(name) or "") for name in ("method", "path", "namespace", "host")}
    if not (texts["method"] and texts["path"]) or len(texts["path"]) >= _CUT:
        return None
    given: dict[str, object] = {**texts, "namespace": texts["namespace"] or None}
    given |= {"address": fields.get("address") or None, "at": timestamp}
    try:
        roles = json.loads(str(fields.get("roles", "")))
        asked = section.read(RequestOfTest, given, at, Sources())
    except (ValueError, ConfigError):
        return None
    if not isinstance(roles, list):
        return None
    realm, username, provider = (
        str(fields.get(name, "")) for name in ("realm", "username", "provider")
    )
    claims = [f"realm={realm}", f"username={username}", f"@source:realm={realm}"]
    claims += [f"@source:name={provider}", *(f"role={role}" for role in roles)]
    name = f"{username} in realm {realm}: {asked.method} {asked.path}"
    return Recorded(name, tuple(claims), asked, was_denied=True)
