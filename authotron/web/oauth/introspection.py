"""
C{POST /oauth/introspect}: a service asks what the gateway knows of a token that the gateway has
issued (RFC 7662).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from authotron.gateway.authorization import Allow, authorize
from authotron.gateway.gateway import Gateway
from authotron.jose.access_tokens import scope_of
from authotron.jose.minter import actors_as_claim, identity_as_json
from authotron.model.authentication import Authentication
from authotron.model.binding import Binding
from authotron.model.hosts import address_of, split_host
from authotron.model.paths import AmbiguousPath, canonical, split_target
from authotron.model.request import Facts, KnownFacts
from authotron.web.later_routes import Call
from authotron.web.oauth.caller import authenticated
from authotron.web.oauth.errors import NOT_CACHED, malformed
from authotron.web.oauth.form import Form, read_form
from authotron.web.oauth.known_tokens import KnownToken, known_token
from authotron.web.replies import Reply, bytes_reply, json_reply

TYPE = "token-introspection+jwt"
"""The type of a JWT with an answer: its C{typ}, and its media type (RFC 9701 section 5)."""

INACTIVE: Mapping[str, Any] = {"active": False}
"""
The answer about a token that is not valid, or that the client may not see; the answer has no other
member.
"""

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_STATED = ("aud", "exp", "iat", "nbf", "jti", "client_id", "acr", "auth_time")
"""The claims of a token that an answer repeats."""


async def introspect(call: Call) -> Reply:
    """
    Answer C{POST /oauth/introspect}.

    A client can introspect its own tokens, and with a role of C{tokens.introspectors} the tokens of
    all owners. A client that may not see a token gets the same answer about it as about an unknown
    token.
    """
    caller = await authenticated(call)
    form = read_form(call.request)
    facts = _facts(form)
    token = await known_token(call, form.needed("token"))
    answer = INACTIVE
    if token is not None and _may_see(call.gateway, caller, token):
        bearer = await token.bearer(call)
        if bearer is not None and _is_usable(bearer, facts):
            answer = _answer(call.gateway, token, bearer)
    return _reply(call, caller, answer)


def _may_see(gateway: Gateway[Reply], caller: Authentication, token: KnownToken) -> bool:
    introspectors = gateway.config.file.tokens.introspectors
    return token.is_of(caller) or not set(introspectors).isdisjoint(caller.identity.roles)


def _is_usable(bearer: Authentication, facts: Facts) -> bool:
    """
    Return whether a token is valid for a request with the facts that the client states. A token
    with conditions, such as networks, is not valid if the client does not state the facts that the
    conditions read.
    """
    if _binding(bearer) is not None:
        bearer = import_module("authotron.gateway.bound_tokens").unbound(bearer)
    return isinstance(authorize(bearer, facts), Allow)


def _binding(bearer: Authentication) -> Binding | None:
    """
    Return the key or certificate to which a token is bound. The answer to an introspection states
    the key or certificate, so that the service verifies the proof of its client by itself (RFC
    7800, RFC 8705, RFC 9449).
    """
    return None if bearer.token is None else bearer.token.binding


def _facts(form: Form) -> Facts:
    """
    Return the facts of the request for which a client has received a token, as far as the form
    states them; RFC 7662 section 2.1 allows such further parameters.

    @raise EarlyReply: a stated fact is malformed.
    """
    known: KnownFacts = {}
    host, address, uri = form.one("host"), form.one("client_address"), form.one("uri")
    try:
        if host is not None:
            known["host"], known["port"] = split_host(host)
        if uri is not None:
            path, query = split_target(uri.encode())
            known["path"] = canonical(path)
            known["query"] = None if query is None else query.decode()
    except (ValueError, AmbiguousPath):
        raise malformed("The parameter host or uri is malformed.") from None
    if address is not None:
        found = address_of(address)
        if found is None:
            raise malformed("The parameter client_address is not an IP address.")
        known["address"] = found
    if (method := form.one("method")) is not None:
        if not _METHOD.fullmatch(method):
            raise malformed("The parameter method is malformed.")
        known["method"] = method
    return Facts(**known)


def _answer(
    gateway: Gateway[Reply], token: KnownToken, bearer: Authentication
) -> Mapping[str, Any]:
    """Return the answer about a valid token that the client may see (RFC 7662 section 2.2)."""
    identity, claims, binding = bearer.identity, token.claims, _binding(bearer)
    scope = scope_of(identity.scopes.values())
    actors, act = () if bearer.token is None else bearer.token.actors, claims.get("act")
    if actors and act is None:
        act = actors_as_claim(actors)
    return {
        "active": True,
        "iss": gateway.config.file.jwt.iss,
        "sub": f"{identity.realm}-{identity.username}",
        "token_type": "DPoP" if binding is not None and binding.jkt else "Bearer",
        **({"scope": scope} if scope else {}),
        **{name: claims[name] for name in _STATED if name in claims},
        **({} if act is None else {"act": act}),
        **identity_as_json(identity),
        **({} if binding is None else {"cnf": binding.confirmation}),
    }


def _reply(call: Call, caller: Authentication, answer: Mapping[str, Any]) -> Reply:
    """Return an answer as JSON, or as a signed JWT if the client accepts only a JWT (RFC 9701)."""
    if not _wants_jwt(call.request.header_values("Accept")):
        return json_reply(200, answer, *NOT_CACHED)
    identity = caller.identity
    signed = call.gateway.minter.sign(
        {
            "iss": call.gateway.config.file.jwt.iss,
            "aud": f"{identity.realm}-{identity.username}",
            "iat": int(call.clock.seconds()),
            "token_introspection": answer,
        },
        TYPE,
    )
    return bytes_reply(200, f"application/{TYPE}", signed.encode(), *NOT_CACHED)


def _wants_jwt(accept: list[str]) -> bool:
    """Return whether a client accepts an answer as a JWT."""
    for element in ",".join(accept).replace(" ", "").lower().split(","):
        name, *parameters = element.split(";")
        if name == f"application/{TYPE}":
            return not any(re.fullmatch(r"q=0(\.0{0,3})?", each) for each in parameters)
    return False
