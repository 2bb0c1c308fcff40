"""
Attacks without a credential: with odd methods and paths, and on the location at which the proxy
asks the gateway.
"""

from __future__ import annotations

from authotron.probe import judges, paths
from authotron.probe.attack import Attack
from authotron.probe.request import Credential, Request

_METHODS = ("HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "FOO", "get", "QUERY")

_LOCATIONS = (
    "/_authotron",
    "/authenticate",
    "/auth",
    "/_auth",
    "/auth/nginx",
    "/auth/nginx/x",
    "/auth/traefik",
    "/auth/caddy",
    "/auth/caddy/x",
    "/auth/envoy/x",
    "/auth/haproxy",
    "/auth/skipper",
    "/auth/apache",
    "/auth/apisix",
    "/authotron",
    "/auth-request",
    "/auth_request",
    "/oauth2/auth",
    "/internal/auth",
)
"""
Paths at which a client may find the gateway, if the proxy does not hide the location at which it
asks the gateway.
"""

_SPELLINGS = (
    b"{path}/../x",
    b"{path}/%2e%2e/x",
    b"{path}/..%2fx",
    b"{path}/..%5cx",
    b"{path}/..;/x",
    b"{path}\\..\\x",
    b"{path}//x",
    b"/{path}",
    b"{path}%00.css",
    b"{path}.css",
    b"{path}/favicon.ico",
    b"{path}?x=/health",
    b"{path}#/health",
    b"{path};x=/health",
)
_PUBLIC = (
    "/health",
    "/nginx-health",
    "/public",
    "/static",
    "/assets",
    "/favicon.ico",
    "/.well-known",
    "/.well-known/acme-challenge",
)
"""Locations that are often open to clients without credentials."""

_OUT = (b"/..", b"/%2e%2e", b"/..%2f..", b"/..;", b"/.%2e", b"\\..")

ATTACKS = (
    Attack(
        name="no-credential",
        leak="A request without a valid credential reaches the backend.",
        remedy="ask the gateway about every request of this location",
        by_proxy={
            "nginx": "auth_request /_authotron; and no auth_request off; below it",
            "apache": "Require valid-user, within RequireAll",
            "caddy": "forward_auth before reverse_proxy in the same block",
            "haproxy": "http-request deny unless the gateway answered 200",
            "traefik": "middlewares: [authotron] at the router",
            "envoy": "the filter ext_authz before the router, no ExtAuthzPerRoute with disabled",
        },
        requests=(
            Request("no credential", credential=Credential.NONE),
            Request("unknown credential", credential=Credential.UNKNOWN),
        ),
        judge=judges.reached,
    ),
    Attack(
        name="refusal-as-success",
        leak="A refused client gets a status of success: programs and caches take the page of the "
        "refusal for the answer of the service.",
        remedy="answer refusals with 401 or 403",
        by_proxy={
            "nginx": "error_page 401 /page.html; without =200, or return 401 in a named location",
            "apache": "ErrorDocument with a local path",
            "caddy": "respond ... 401 within handle_response",
            "haproxy": "http-request return status 401",
        },
        requests=(
            Request("no credential", credential=Credential.NONE),
            Request("unknown credential", credential=Credential.UNKNOWN),
            Request(
                "no credential, of a browser",
                (b"Accept: text/html,application/xhtml+xml,*/*;q=0.8",),
                credential=Credential.NONE,
            ),
        ),
        judge=judges.refused_as_success,
        follows_from=("no-credential",),
    ),
    Attack(
        name="method-without-credential",
        leak="Requests with some methods reach the backend without a credential.",
        remedy="ask the gateway whatever the method; answer CORS preflights in the proxy",
        by_proxy={
            "nginx": "no limit_except and no if ($request_method = ...) around auth_request",
            "apache": "Require outside of <Limit> and <LimitExcept>",
        },
        requests=tuple(
            Request(method, method=method.encode(), credential=Credential.NONE)
            for method in _METHODS
        ),
        judge=judges.reached,
    ),
    Attack(
        name="trace",
        leak="TRACE shows a client the headers that the proxy adds to its request, as the JWT.",
        remedy="refuse the method TRACE",
        by_proxy={"apache": "TraceEnable Off", "envoy": "refuse the method in the routes"},
        requests=(
            Request("TRACE", (b"Max-Forwards: 0",), method=b"TRACE"),
            Request(
                "TRACE without a credential",
                (b"Max-Forwards: 0",),
                method=b"TRACE",
                credential=Credential.NONE,
            ),
        ),
        judge=judges.traced,
    ),
    Attack(
        name="question-location",
        leak="Clients reach the location by which the proxy asks the gateway, and get the JWT that "
        "is meant for the backend.",
        remedy="make the location internal, or give it no route from outside",
        by_proxy={
            "nginx": "internal; in the location",
            "apache": "no ProxyPass to the gateway",
            "caddy": "no reverse_proxy to the gateway outside of forward_auth",
            "haproxy": "no use_backend of the gateway",
            "traefik": "no router with the service of the gateway",
            "envoy": "no route to the cluster of the gateway",
        },
        requests=tuple(Request(location, target=location.encode()) for location in _LOCATIONS),
        judge=judges.question_answered,
    ),
    Attack(
        name="path-without-credential",
        leak="A spelling of a path reaches the backend without a credential, because the proxy "
        "takes it for an open location.",
        remedy="open locations by their exact path, and refuse paths with dot segments and encoded "
        "slashes",
        by_proxy={
            "nginx": "location = /path for open locations, never a regular expression or a prefix",
            "apache": "<LocationMatch> with both ends anchored",
            "envoy": "normalize_path: true, merge_slashes: true, "
            "path_with_escaped_slashes_action: REJECT_REQUEST",
            "traefik": "Path instead of PathPrefix for open routers",
        },
        requests=(
            *(
                Request(each.decode(), target=each, credential=Credential.NONE)
                for each in _SPELLINGS
            ),
            *(
                Request(
                    f"{place}{out.decode()}{{path}}",
                    target=place.encode() + out + b"{path}",
                    credential=Credential.NONE,
                )
                for place in _PUBLIC
                for out in _OUT
            ),
        ),
        judge=judges.reached,
        follows_from=("no-credential",),
    ),
    Attack(
        name="changed-base",
        leak="The backend gets another path than the gateway was asked about: a rule about the one "
        "says nothing about the other.",
        remedy="pass paths on unchanged, or let the gateway judge the path that the backend gets",
        by_proxy={
            "nginx": "proxy_pass http://backend; without a path, and no rewrite",
            "apache": "ProxyPass with the same path on both sides",
            "caddy": "handle instead of handle_path, and no uri strip_prefix",
            "haproxy": "no http-request set-path, replace-path or normalize-uri",
            "traefik": "no middleware stripPrefix, addPrefix or replacePath",
            "envoy": "no prefix_rewrite or regex_rewrite",
        },
        requests=(Request("ordinary"),),
        judge=paths.other_base,
    ),
    Attack(
        name="changed-path",
        leak="The backend gets some paths in another spelling than the gateway was asked about, "
        "which names another resource.",
        remedy="pass paths on as they came, or ask the gateway after they are decoded",
        by_proxy={
            "nginx": "proxy_pass http://backend; without a path",
            "apache": "AllowEncodedSlashes NoDecode, and ProxyPass ... nocanon",
            "envoy": "path_with_escaped_slashes_action: REJECT_REQUEST",
        },
        requests=tuple(
            Request(each.decode(), target=each)
            for each in (
                *_SPELLINGS,
                b"{path}/%252e%252e%252fx",
                b"{path}/a%2Fb",
                b"{path}/a%5Cb",
                b"{path}/%41%7E",
                b"{path}/%c3%a9",
                b"{path}/./x",
            )
        ),
        judge=paths.other_path,
    ),
)
"""The attacks of this module: by credentials, methods and paths."""
