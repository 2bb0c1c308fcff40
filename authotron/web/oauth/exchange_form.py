"""
Convert the form of a token exchange (RFC 8693 section 2.1), and the further parameters of the
gateway, to what the client requests for its new token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from authotron.config.oauth import flaw_of_url
from authotron.config.section import read
from authotron.model.authentication import Authentication
from authotron.model.errors import ConfigError, Problem
from authotron.model.protected_resources import ProtectedResource
from authotron.tokens.exchange import ExchangeRequest
from authotron.web.exchange_body import ExchangeBody
from authotron.web.oauth.errors import INVALID_REQUEST, error_reply
from authotron.web.oauth.form import Form
from authotron.web.replies import Reply
from authotron.web.routing import EarlyReply

SEVERAL = ("audience", "resource", "role", "cloak", "may_act")
"""The parameters of the form that may occur several times."""

_RESTRICTIONS = ("hosts", "networks", "permissions", "methods")
"""The parts of a restriction set that are lists, each the parameter C{restrict_...} of a form."""

_CODES = {"audience": "invalid_target", "scopes": "invalid_scope", "roles": "invalid_scope"}
"""The error codes of problems, by the first word of their path (RFC 8693 section 2.2.2)."""

_NAMES = {"restrictions": "restrict", "roles": "role", "scopes": "scope"}
"""The names of parameters that differ from those of the JSON API."""

_REFRESH = {"": None, "true": True, "false": False}
"""The values of the parameter by which a client requests a refresh token."""

_MOST, _LONGEST = 5, 300
"""Maximum number of problems that a description lists, and maximum number of its characters."""

_FORBIDDEN = re.compile(r"[^ !#-\[\]-~]")
"""Characters that a description must not contain (RFC 6749 section 5.2)."""


def exchange_request(form: Form, subject: Authentication) -> ExchangeRequest:
    """
    Return the properties that a client requests for its new token.

    @param subject: the client whose credential is exchanged; a requested scope stands for the scope
        of this name of each service for which the client has such a scope.

    @raise EarlyReply: a parameter is malformed, or names something that no token can have.
    """
    restriction: dict[str, Any] = {
        name: words.split()
        for name in _RESTRICTIONS
        if (words := form.one(f"restrict_{name}")) is not None
    }
    if (namespace := form.one("restrict_namespace")) is not None:
        restriction["namespace"] = namespace
    body = {
        "validity": form.one("validity"),
        "audience": form.all("audience") or None,
        "roles": form.all("role") or None,
        "scopes": _scopes(form.one("scope"), subject),
        "cloak": form.all("cloak") or None,
        "may_act": [*map(_identity, form.all("may_act"))] or None,
        "refresh": _REFRESH.get(form.one("refresh") or "", form.one("refresh")),
        "restrictions": [each for each in (restriction, _of_resources(form)) if each],
    }
    try:
        given = {name: value for name, value in body.items() if value is not None}
        return read(ExchangeBody, given).as_request()
    except ConfigError as error:
        raise EarlyReply(refusal(error.problems)) from None


def _identity(text: str) -> dict[str, str]:
    """Return the identity that C{realm/username} names, as the JSON API names it."""
    realm, _, username = text.partition("/")
    return {"realm": realm, "username": username}


def _scopes(words: str | None, subject: Authentication) -> dict[str, list[str]] | None:
    """
    Return the requested scopes by service, or C{None} if the client names no scopes.

    @raise EarlyReply: the client lacks one of the requested scopes for every service.
    """
    if words is None:
        return None
    wanted = dict.fromkeys(words.split())
    found = {
        service: [each for each in wanted if each in scopes]
        for service, scopes in subject.identity.scopes.items()
    }
    missing = wanted.keys() - {each for scopes in found.values() for each in scopes}
    if missing:
        description = "The subject token does not have each of the requested scopes."
        raise EarlyReply(error_reply("invalid_scope", description))
    return {service: scopes for service, scopes in found.items() if scopes}


def _of_resources(form: Form) -> dict[str, Any]:
    """
    Return the restriction set for the resources that a client names (RFC 8707): only requests to
    the hosts of the resources, and below their paths.

    @raise EarlyReply: a resource is not a URL that the gateway can enforce, or several resources
        differ in host and path.
    """
    urls = form.all("resource")
    if not urls:
        return {}
    if any(flaw_of_url(url.removesuffix("/")) for url in urls):
        raise EarlyReply(error_reply("invalid_target", "A resource must be an https URL."))
    resources = [ProtectedResource(url.removesuffix("/")) for url in urls]
    hosts = {urlsplit(each.url).netloc for each in resources}
    paths = {each.path for each in resources}
    if len(hosts) > 1 and paths != {""}:
        description = "Several resources must have the same host, or no paths."
        raise EarlyReply(error_reply("invalid_target", description))
    found: dict[str, Any] = {"hosts": sorted(hosts)}
    if "" not in paths:
        found["permissions"] = [f"{path}{rest}:*" for path in sorted(paths) for rest in ("", "/**")]
    return found


def _described(problem: Problem) -> str:
    """Describe a problem by the name of the parameter in the form."""
    name = _first(problem)
    parameter = _NAMES.get(name, name)
    return f"{parameter}: {problem.message}" if parameter else problem.message


def _first(problem: Problem) -> str:
    return problem.path.partition("[")[0].partition(".")[0]


def refusal(problems: Sequence[Problem]) -> Reply:
    """Return the reply to a client that requests what its credential does not allow."""
    text = "; ".join(map(_described, problems[:_MOST]))[:_LONGEST]
    code = _CODES.get(_first(problems[0]), INVALID_REQUEST)
    return error_reply(code, _FORBIDDEN.sub("'", text))
