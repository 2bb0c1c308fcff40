"""
The section C{oauth} of the configuration: the OAuth 2.0 endpoints of the gateway, and the services
behind it that OAuth clients discover.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from authotron.config.problems import require_none
from authotron.config.section import NonEmptyStr, Section
from authotron.model.hosts import is_loopback

_NAME = r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]{2,39}\])"
_URL = re.compile(rf"(https?)://({_NAME})(?::[0-9]{{1,5}})?((?:/[A-Za-z0-9._~-]+)*)/?")
_SCOPE = re.compile(r"[!#-\[\]-~]+")
_USUAL_PORT = {"http": ":80", "https": ":443"}


def flaw_of_url(text: str) -> str | None:
    """
    Return why a string cannot be an issuer (RFC 8414 section 2) or a protected resource (RFC 9728
    section 1.2), or C{None} if it can.

    Clients compare these URLs letter by letter, so there must be only one way to write them. The
    scheme C{http} is only for tests on one machine.
    """
    found = _URL.fullmatch(text)
    if found is None or text.endswith("/"):
        return (
            "is not an https URL such as https://api.example.org/v1: host in lower case, no query, "
            "no fragment, no slash at the end"
        )
    scheme, host, path = found.groups()
    if scheme == "http" and not (host == "localhost" or is_loopback(host.strip("[]"))):
        return "must begin with https://; http is only for addresses of this machine"
    if any(segment in (".", "..") for segment in path.split("/")):
        return "has a segment . or .. in its path"
    if urlsplit(text).netloc.endswith(_USUAL_PORT[scheme]):
        return "has the usual port of its scheme; remove the port"
    return None


def _url(text: str) -> str:
    flaw = flaw_of_url(text)
    if flaw is not None:
        raise ValueError(flaw)
    return text


Url = Annotated[str, AfterValidator(_url)]
"""The URL of an issuer or of a protected resource, in the only form that clients compare."""


def _scope(text: str) -> str:
    if not _SCOPE.fullmatch(text):
        raise ValueError("is not a scope of OAuth: printable ASCII without blanks, quotes and \\")
    return text


class ResourceConfig(Section):
    """A service behind the gateway that OAuth clients discover by its metadata (RFC 9728)."""

    resource: Url = Field(
        description="the URL of the service as clients use it, such as `https://api.example.org`; "
        "all paths below it belong to the service"
    )
    authorization_servers: tuple[Url, ...] = Field(
        default=(),
        strict=False,
        description="the issuers from which clients get tokens for the service; the gateway itself "
        "(`jwt.iss`) if not set",
    )
    scopes: tuple[Annotated[str, AfterValidator(_scope)], ...] = Field(
        default=(), strict=False, description="the scopes that clients may ask for"
    )
    name: NonEmptyStr | None = Field(default=None, description="the name of the service for people")
    documentation: Url | None = Field(
        default=None, description="the URL of the documentation for developers of clients"
    )


class OAuthConfig(Section):
    """
    The endpoints of OAuth 2.0: `POST /oauth/introspect`, `POST /oauth/revoke`, `POST /oauth/token`,
    and the metadata by which clients find them.
    """

    server: bool = Field(
        default=True,
        description="whether the gateway is an authorization server, with the routes `/oauth/...` "
        "and its metadata; `jwt.iss` must then be an https URL. Without it only the metadata of "
        "`resources` are published",
    )
    url: Url | None = Field(
        default=None,
        description="the URL below which clients reach the routes of the gateway; `jwt.iss` if not "
        "set",
    )
    resources: tuple[ResourceConfig, ...] = Field(
        default=(),
        strict=False,
        description="the services behind the gateway that have metadata of their own, which a 401 "
        "for a request to the service names (`resource_metadata`)",
    )

    @model_validator(mode="after")
    def _check_resources(self) -> OAuthConfig:
        require_none(_problems(self.resources, is_server=self.server))
        return self


_TWICE = "is the URL of another resource, too; remove one of the two"
_NO_ISSUER = "is missing; with oauth.server: false each resource must name its issuers"


def _problems(resources: Sequence[ResourceConfig], *, is_server: bool) -> list[tuple[str, str]]:
    """Return the problems of protected resources, each with the path of its key."""
    found, seen = list[tuple[str, str]](), set[str]()
    for place, each in enumerate(resources):
        at = f"resources[{place}]"
        if each.resource in seen:
            found.append((f"{at}.resource", _TWICE))
        seen.add(each.resource)
        if not (is_server or each.authorization_servers):
            found.append((f"{at}.authorization_servers", _NO_ISSUER))
    return found
