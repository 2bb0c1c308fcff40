"""
The metadata by which OAuth clients find the endpoints of the gateway (RFC 8414), and the part of
them that clients of OpenID Connect look for.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from authotron.config.oauth import OAuthConfig
from authotron.gateway.gateway import Gateway
from authotron.web import pages, replies
from authotron.web.later_routes import Call
from authotron.web.replies import Header, Reply
from authotron.web.routing import no_route

FOR_FIVE_MINUTES: Header = (b"Cache-Control", b"public, max-age=300")

TOKEN, INTROSPECT, REVOKE = "/oauth/token", "/oauth/introspect", "/oauth/revoke"
"""The paths of the OAuth endpoints."""

EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
REFRESH_GRANT = "refresh_token"
"""The grant type by which a client exchanges a token (RFC 8693 section 2.1)."""

_RESPONSE_TYPES = ("none",)
"""
What the gateway states about the responses of an authorization endpoint, which it lacks: RFC 8414
requires the member, and clients such as Authlib refuse an empty list.
"""

_BY_CREDENTIAL = ("client_secret_basic", "Bearer")
"""
How clients authenticate at the OAuth endpoints: by HTTP Basic, or by a token (RFC 8414 section 2
allows the names of both registries).
"""


async def authorization_server(call: Call, issuer_path: str = "") -> Reply:
    """
    Answer C{GET /.well-known/oauth-authorization-server}, behind which clients append the path of
    the issuer (RFC 8414 section 3.1).
    """
    return _answer(call, issuer_path, {})


async def openid_configuration(call: Call, issuer_path: str = "") -> Reply:
    """
    Answer C{GET /.well-known/openid-configuration}: the same metadata, with what OpenID Connect
    Discovery requires beside. The gateway issues no ID tokens; the route is for libraries that
    look for C{jwks_uri} only here.
    """
    more = {
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [*call.gateway.minter.algorithms],
    }
    return _answer(call, issuer_path, more)


def _answer(call: Call, issuer_path: str, more: dict[str, Any]) -> Reply:
    issuer = call.gateway.config.file.jwt.iss
    if issuer_path and f"/{issuer_path}" != urlsplit(issuer).path:
        no_route()
    found = {**metadata(call.gateway), **more}
    return pages.readable(call.request, replies.public_json(found, FOR_FIVE_MINUTES))


def metadata(gateway: Gateway[Reply]) -> dict[str, Any]:
    """Return the metadata of the gateway as an authorization server (RFC 8414 section 2)."""
    file = gateway.config.file
    assert file.oauth is not None
    base = base_url(file.oauth, file.jwt.iss)
    found: dict[str, Any] = {
        "issuer": file.jwt.iss,
        "response_types_supported": [*_RESPONSE_TYPES],
        "grant_types_supported": [],
        "introspection_endpoint": f"{base}{INTROSPECT}",
        "introspection_endpoint_auth_methods_supported": [*_BY_CREDENTIAL],
        "introspection_signing_alg_values_supported": [*gateway.minter.algorithms],
    }
    if gateway.minter.jwks["keys"]:
        found["jwks_uri"] = f"{base}/.well-known/jwks.json"
    if gateway.exchanged is not None:
        found["token_endpoint"] = f"{base}{TOKEN}"
        refresh = [] if gateway.families is None else [REFRESH_GRANT]
        found["grant_types_supported"] = [EXCHANGE_GRANT, *refresh]
        found["token_endpoint_auth_methods_supported"] = ["none", "client_secret_basic"]
    if file.tokens.bound is not None:
        found["dpop_signing_alg_values_supported"] = [*file.tokens.bound.algorithms]
        found["tls_client_certificate_bound_access_tokens"] = True
    if can_revoke(gateway):
        found["revocation_endpoint"] = f"{base}{REVOKE}"
        found["revocation_endpoint_auth_methods_supported"] = [*_BY_CREDENTIAL]
    if file.oauth.resources:
        found["protected_resources"] = [each.resource for each in file.oauth.resources]
    return found


def base_url(config: OAuthConfig, issuer: str) -> str:
    """Return the URL below which clients reach the routes of the gateway."""
    return config.url or issuer


def can_revoke(gateway: Gateway[Reply]) -> bool:
    """Return whether there are tokens that a client can revoke."""
    return gateway.tokens is not None
