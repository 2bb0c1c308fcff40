"""
Routes whose modules are imported at the first request, so that the gateway starts faster; many of
them answer 404 if the configuration lacks the feature that they belong to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime

from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.model.authentication import Authentication
from authotron.web.replies import Reply
from authotron.web.request import Request
from authotron.web.routing import RouteLabels, label_of, route


@frozen
class Call:
    """
    One request for a route whose module is imported late, and what the route needs to answer it.

    @ivar serving: the gateway in use, which a reload replaces while the request is answered.
    @ivar gateway: the gateway that was in use when the request arrived.
    @ivar authentication: a function that authenticates and authorizes the client; it raises
        L{EarlyReply<authotron.web.routing.EarlyReply>} if the client gets another reply.
    """

    request: Request
    serving: LiveGateway[Reply]
    gateway: Gateway[Reply]
    clock: IReactorTime
    authentication: Callable[[], Awaitable[Authentication]]


Handler = Callable[..., Awaitable[Reply]]
"""A function that takes a L{Call}, and the parameters of the path, and returns the reply."""

IsOn = Callable[[Gateway[Reply]], bool]
"""A function that returns whether the configuration of a gateway has the feature of a route."""


def has_policies(gateway: Gateway[Reply]) -> bool:
    """Return whether the configuration of a gateway has policies."""
    return gateway.enforcement is not None


def has_exchange(gateway: Gateway[Reply]) -> bool:
    """Return whether clients may exchange their credentials for narrower tokens."""
    return gateway.exchanged is not None


def is_authorization_server(gateway: Gateway[Reply]) -> bool:
    """Return whether a gateway is configured as an authorization server of OAuth."""
    oauth = gateway.config.file.oauth
    return oauth is not None and oauth.server


def has_grants(gateway: Gateway[Reply]) -> bool:
    """Return whether clients get tokens from the OAuth endpoint of a gateway."""
    return is_authorization_server(gateway) and has_exchange(gateway)


def has_resources(gateway: Gateway[Reply]) -> bool:
    """Return whether the configuration of a gateway has protected resources of OAuth."""
    return gateway.contracts.resources is not None


def can_revoke(gateway: Gateway[Reply]) -> bool:
    """Return whether credentials can be revoked with the configuration of a gateway."""
    return gateway.revocations is not None


def has_events(gateway: Gateway[Reply]) -> bool:
    """Return whether the configuration of a gateway has the section C{events}."""
    return gateway.config.file.events is not None


def has_status_list(gateway: Gateway[Reply]) -> bool:
    """Return whether the configuration of a gateway has Token Status Lists."""
    return gateway.status_lists is not None


def has_refresh(gateway: Gateway[Reply]) -> bool:
    """Return whether the configuration of a gateway allows refresh tokens."""
    return gateway.families is not None


@frozen
class LaterRoute:
    """
    A route whose module is imported at the first request.

    @ivar path: the path, with parameters in angle brackets as Klein writes them.
    @ivar handler: where the L{Handler} is, such as C{policy_routes:authz}: a module of the package
        C{authotron.web}, and the name of a function in it.
    @ivar is_on: a function that returns whether the configuration has the feature of the route;
        without the feature the route answers 404.
    @ivar has_body: whether the route reads the request body.
    """

    method: str
    path: str
    handler: str
    is_on: IsOn
    has_body: bool = False


def _policy_route(path: str, handler: str) -> LaterRoute:
    """Return the route by which clients ask what policies allow; the request has a JSON body."""
    return LaterRoute("POST", path, handler, has_policies, has_body=True)


def _metadata_routes(path: str, parameter: str, handler: str, is_on: IsOn) -> Iterator[LaterRoute]:
    """
    Yield the routes of metadata, behind whose path a client may append the path of the URL that the
    metadata are about.
    """
    yield LaterRoute("GET", path, handler, is_on)
    yield LaterRoute("GET", f"{path}/<path:{parameter}>", handler, is_on)


def _oauth_endpoint(path: str, handler: str) -> LaterRoute:
    """Return the route of an endpoint of OAuth; the request has a form in its body."""
    return LaterRoute("POST", path, handler, is_authorization_server, has_body=True)


LATER = (
    _policy_route("/authz", "policy_routes:authz"),
    LaterRoute("GET", "/permissions", "permission_routes:mine", has_policies),
    _policy_route("/permissions", "permission_routes:of_another"),
    _policy_route("/access/v1/evaluation", "authzen.routes:evaluation"),
    _policy_route("/access/v1/evaluations", "authzen.routes:evaluations"),
    _policy_route("/access/v1/search/subject", "authzen.routes:search_subject"),
    _policy_route("/access/v1/search/resource", "authzen.routes:search_resource"),
    _policy_route("/access/v1/search/action", "authzen.routes:search_action"),
    LaterRoute("POST", "/token/exchange", "token_exchange:answer", has_exchange, has_body=True),
    LaterRoute("POST", "/token/refresh", "token_refresh:answer", has_refresh, has_body=True),
    LaterRoute(
        "GET", "/.well-known/authzen-configuration", "authzen.routes:metadata", has_policies
    ),
    *_metadata_routes(
        "/.well-known/oauth-authorization-server",
        "issuer_path",
        "oauth.metadata:authorization_server",
        is_authorization_server,
    ),
    *_metadata_routes(
        "/.well-known/openid-configuration",
        "issuer_path",
        "oauth.metadata:openid_configuration",
        is_authorization_server,
    ),
    *_metadata_routes(
        "/.well-known/oauth-protected-resource",
        "resource_path",
        "oauth.resources:protected_resource",
        has_resources,
    ),
    LaterRoute("POST", "/oauth/token", "oauth.token_endpoint:token", has_grants, has_body=True),
    _oauth_endpoint("/oauth/introspect", "oauth.introspection:introspect"),
    _oauth_endpoint("/oauth/revoke", "oauth.revocation:revoke"),
    LaterRoute("POST", "/revocations", "revocation_routes:make", can_revoke, has_body=True),
    LaterRoute("GET", "/revocations", "revocation_routes:list_made", can_revoke),
    LaterRoute("GET", "/revocations/<id_>", "revocation_routes:show", can_revoke),
    LaterRoute("DELETE", "/revocations/<id_>", "revocation_routes:withdraw", can_revoke),
    LaterRoute("POST", "/logout", "logout_route:answer", can_revoke, has_body=True),
    LaterRoute("GET", "/events", "event_routes:stream", has_events),
    LaterRoute("POST", "/ssf/events", "signal_routes:push", has_events, has_body=True),
    LaterRoute("POST", "/backchannel-logout", "signal_routes:logout", has_events, has_body=True),
    LaterRoute("GET", "/statuslists/<id_>", "status_list_routes:status_list", has_status_list),
)
"""All routes whose modules are imported at the first request."""

WITH_BODY = tuple((each.method, label_of(each.path)) for each in LATER if each.has_body)
"""The methods and metric labels of those routes in L{LATER} that read the request body."""

_IS_ON = {label_of(each.path): each.is_on for each in LATER}


class Switches:
    """Finds out which of the routes in L{LATER} exist with the configuration in use."""

    def __init__(self, app: Klein) -> None:
        self._labels = RouteLabels(app)

    def is_off(self, path: bytes, gateway: Gateway[Reply]) -> bool:
        """Return whether a path belongs to a route of a feature that a configuration lacks."""
        is_on = _IS_ON.get(self._labels.of(path.decode("ascii", "replace")))
        return is_on is not None and not is_on(gateway)


@cache
def _imported(handler: str) -> Handler:
    """Import the module of a route, and return the function that answers requests."""
    module, _, function = handler.partition(":")
    found: Handler = getattr(import_module(f"authotron.web.{module}"), function)
    return found


def register(app: Klein, call_of: Callable[[Any, Request], Call]) -> None:
    """
    Register the routes in L{LATER} with a Klein app.

    @param call_of: a function that takes the object of the app and a request, and returns the
        L{Call} for the route.
    """
    for each in LATER:
        _register(app, each, call_of)


def _register(app: Klein, later: LaterRoute, call_of: Callable[[Any, Request], Call]) -> None:
    def answer(routes: object, request: Request, **parameters: str) -> Awaitable[Reply]:
        return _imported(later.handler)(call_of(routes, request), **parameters)

    # Klein takes the name of the function as the name of the route, which must be unique.
    answer.__name__ = f"{later.method} {later.path}"
    route(app, later.path, later.method)(answer)
