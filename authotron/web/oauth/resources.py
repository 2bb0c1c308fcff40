"""
The metadata of the protected resources (RFC 9728): services behind the gateway, whose OAuth
clients find out from which authorization server they get a token.

The proxy must pass requests for the metadata on to the gateway without asking for a decision.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from authotron.gateway.gateway import Gateway
from authotron.model.errors import UnusableFact
from authotron.model.hosts import split_host
from authotron.model.protected_resources import WELL_KNOWN
from authotron.model.request import Facts
from authotron.web import replies
from authotron.web.later_routes import Call
from authotron.web.oauth.metadata import FOR_FIVE_MINUTES
from authotron.web.replies import Header, Reply
from authotron.web.routing import no_route

_VARIES: Header = (b"Vary", b"Host, X-Forwarded-Host")


async def protected_resource(call: Call, resource_path: str = "") -> Reply:
    """
    Answer C{GET /.well-known/oauth-protected-resource} and the paths below it, with the metadata of
    the protected resource at the requested host.
    """
    resources = call.gateway.contracts.resources
    path = f"{WELL_KNOWN}/{resource_path}" if resource_path else WELL_KNOWN
    found = None if resources is None else resources.with_metadata_at(path, _host_of(call))
    if found is None:
        no_route()
    return replies.public_json(_metadata(call.gateway, found.url), FOR_FIVE_MINUTES, _VARIES)


def _host_of(call: Call) -> Facts:
    """
    Return the requested host as the proxy forwards it, or else as the header C{Host} names it. Any
    client may claim any host, because all metadata are public.
    """
    contracts = call.gateway.contracts
    forwarded = contracts.direct.facts(call.request.question(contracts))
    with suppress(UnusableFact):
        return Facts(host=forwarded.host, port=forwarded.port)
    with suppress(ValueError):
        host, port = split_host("".join(call.request.header_values("Host")))
        return Facts(host=host, port=port)
    return Facts()


def _metadata(gateway: Gateway[Reply], url: str) -> dict[str, Any]:
    """Return the metadata of a protected resource (RFC 9728 section 2)."""
    file = gateway.config.file
    assert file.oauth is not None
    [config] = (each for each in file.oauth.resources if each.resource == url)
    optional = {
        "scopes_supported": config.scopes,
        "resource_name": config.name,
        "resource_documentation": config.documentation,
    }
    return {
        "resource": url,
        "authorization_servers": config.authorization_servers or [file.jwt.iss],
        "bearer_methods_supported": ["header"],
        **{name: value for name, value in optional.items() if value},
    }
