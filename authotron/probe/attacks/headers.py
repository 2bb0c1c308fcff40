"""Attacks that forge the headers in which services read who the user is."""

from __future__ import annotations

from authotron.model.header_templates import IDENTITY_HEADERS
from authotron.probe import judges
from authotron.probe.attack import Attack
from authotron.probe.request import ADDRESS, Credential, Request
from authotron.proxy_config import identity_headers

_ADDRESSES = ("ip", "ips", "addr", "for", "address", "clientip", "socketip", "forwarded")
"""Endings of the names of headers in which services read an address."""

_BATCH = 40
"""Maximum number of made-up headers in one request; proxies refuse requests with about 100."""

_OWN_UNSET = {
    "nginx": "proxy_set_header X-Auth-Roles $authotron_roles; in each location with a "
    "proxy_set_header of its own, likewise for the other headers (docs/nginx.md)",
    "apache": "RequestHeader set X-Auth-Roles expr=%{reqenv:X_Auth_Roles}",
    "caddy": "request_header -X-Auth-Roles before forward_auth, and copy_headers X-Auth-Roles",
    "haproxy": "http-request set-header X-Auth-Roles, whatever the gateway answers",
    "traefik": "list the header in authResponseHeaders",
    "envoy": "allow x-auth- and x-envoy-auth-headers-to-remove in the answers of the gateway, or "
    "ask by gRPC (docs/envoy.md)",
}
LIST_UNSET = {
    "nginx": "include authotron-identity-headers.conf; in each location with a proxy_set_header "
    "of its own",
    "apache": "RequestHeader unset NAME for each",
    "caddy": "request_header -NAME for each",
    "haproxy": "http-request del-header NAME for each",
    "traefik": "a middleware headers with customRequestHeaders: {NAME: ''} for each",
    "envoy": "request_headers_to_remove: [...] in the route_config or virtual host, with all names",
}
_UNDERSCORES = {
    "nginx": "underscores_in_headers off;",
    "apache": 'SetEnvIf "^[^:]*_" "." authotron_underscore, and Require not env '
    "authotron_underscore",
    "caddy": "request_header -*_*",
    "haproxy": "http-request del-header _ -m sub",
    "traefik": "update to 3.6.14 or later, and a middleware headers with customRequestHeaders: "
    "{NAME: ''} for each",
    "envoy": "common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}",
}


def _value(name: str) -> bytes:
    is_address = name.lower().rpartition("-")[2] in _ADDRESSES
    return ADDRESS if is_address else b"{canary}"


def line(name: str) -> bytes:
    """Return a header line with a value that the client has made up."""
    return name.encode() + b": " + _value(name)


def spoofed(*names: str) -> tuple[Request, ...]:
    """Return the requests that present made-up headers, at most 40 in one request."""
    batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
    return tuple(Request(batch[0], tuple(map(line, batch))) for batch in batches)


ORIGIN = identity_headers.titled(identity_headers.ORIGIN)
"""The names of headers in which services read where a request comes from."""

_TWINS = (
    "X_Auth_Username",
    "X_Auth_Realm",
    "X_Auth_Roles",
    "X-Auth_Roles",
    "Remote_User",
    "X_Remote_User",
    "X_Forwarded_User",
    "X_Forwarded_For",
    "X_Forwarded_Host",
    "X_Real_Ip",
    "Transfer_Encoding",
    "Content_Length",
)

ATTACKS = (
    Attack(
        name="identity-header",
        leak="The backend gets a header that names the identity, as the client sent it: every "
        "client can take any name and role.",
        remedy="set these headers from the answer of the gateway, empty where it sends none",
        by_proxy=_OWN_UNSET,
        requests=tuple(Request(name, (line(name),)) for name in judges.OWN),
        judge=judges.alone,
    ),
    Attack(
        name="other-identity-header",
        leak="The backend gets a header of the client in which services read an identity.",
        remedy="remove the headers of docs/identity-headers.md from each request of a client",
        by_proxy=LIST_UNSET,
        requests=spoofed(*identity_headers.of_users()),
        judge=judges.any_field,
        follows_from=("identity-header",),
        splits=True,
    ),
    Attack(
        name="doubled-header",
        leak="The backend gets an identity header with a value of the client beside that of the "
        "gateway, or as second line, and may read the value of the client.",
        remedy="replace the header instead of adding a line or a value to it",
        by_proxy={
            "nginx": "proxy_set_header NAME $authotron_...; without $http_... in the value",
            "apache": "RequestHeader set, instead of RequestHeader add, append or merge",
            "caddy": "request_header -NAME before copy_headers, and no + before the name",
            "haproxy": "http-request set-header, instead of http-request add-header",
            "envoy": "append_action: OVERWRITE_IF_EXISTS_OR_ADD",
        },
        requests=tuple(
            Request(name, (line(name),) * count) for name in judges.OWN for count in (1, 2)
        ),
        judge=judges.doubled,
        follows_from=("identity-header",),
    ),
    Attack(
        name="underscored-header",
        leak="The backend gets a header with an underscore; many services take X_Auth_Roles for "
        "X-Auth-Roles.",
        remedy="refuse or remove headers whose names have underscores",
        by_proxy=_UNDERSCORES,
        requests=tuple(Request(name, (line(name),)) for name in _TWINS),
        judge=judges.any_field,
    ),
    Attack(
        name="header-case",
        leak="The proxy removes an identity header in one spelling only; case does not matter to "
        "services.",
        remedy="compare names of headers without case",
        requests=tuple(
            Request(name, (line(name),))
            for name in ("x-auth-roles", "X-AUTH-ROLES", "x-aUTH-rOLES", "x-auth-username")
        ),
        judge=judges.alone,
        follows_from=("identity-header",),
    ),
    Attack(
        name="folded-header",
        leak="The backend gets a line that continues the one before it (obs-fold, RFC 9112 section "
        "5.2), in which servers read different headers.",
        remedy="refuse requests with folded lines: update the proxy, and leave no option that "
        "accepts invalid requests",
        by_proxy={"haproxy": "remove option accept-invalid-http-request"},
        requests=(
            Request(
                "folded line that looks like a header", (b"X-Other: a\r\n X-Auth-Roles: {canary}",)
            ),
            Request("folded value of an identity header", (b"X-Auth-Roles:\r\n {canary}",)),
            Request("line folded by a tab", (b"X-Other: a\r\n\tX-Auth-Roles: {canary}",)),
        ),
        judge=judges.folded,
        follows_from=("identity-header", "doubled-header"),
    ),
    Attack(
        name="malformed-header",
        leak="The backend gets a header whose name or line end is malformed, and may read an "
        "identity in it.",
        remedy="refuse malformed requests: leave no option that accepts invalid requests",
        by_proxy={
            "nginx": "ignore_invalid_headers on;",
            "apache": "HttpProtocolOptions Strict",
            "haproxy": "remove option accept-invalid-http-request",
        },
        requests=tuple(
            Request(label, (field,))
            for label, field in (
                ("space before the colon of a header", b"X-Auth-Roles : {canary}"),
                ("tab before the colon of a header", b"X-Auth-Roles\t: {canary}"),
                ("NUL in a header name", b"X-Auth-Roles\0: {canary}"),
                ("CR in a header value", b"X-Other: a\rX-Auth-Roles: {canary}"),
                ("header line that ends in LF", b"X-Other: a\nX-Auth-Roles: {canary}"),
                ("NUL in a header value", b"X-Other: a\0X-Auth-Roles: {canary}"),
            )
        ),
        judge=judges.odd_field,
        follows_from=("identity-header", "doubled-header"),
    ),
    Attack(
        name="connection-header",
        leak="A client that names an identity header in Connection makes the proxy drop the value "
        "of the gateway: the backend does not know the identity.",
        remedy="set the identity headers after the headers that Connection names are removed",
        requests=tuple(
            Request(name, connection=b"Connection: close, " + name.encode())
            for name in ("Authorization", *IDENTITY_HEADERS)
        ),
        judge=judges.identity_lost,
    ),
    Attack(
        name="credential-passes",
        leak="The backend gets the credential of the client: a service that is broken into can use "
        "it everywhere.",
        remedy="replace Authorization by the JWT of the gateway, or remove it",
        by_proxy={
            "nginx": "proxy_set_header Authorization $authotron_token;",
            "apache": "RequestHeader set Authorization expr=%{reqenv:Authorization}",
            "caddy": "copy_headers Authorization",
            "haproxy": "http-request set-header Authorization",
            "traefik": "authResponseHeaders: [Authorization]",
            "envoy": "allowed_upstream_headers: {patterns: [{exact: authorization}]}",
        },
        requests=(
            Request("ordinary"),
            Request("second Authorization", (b"Authorization: Bearer {canary}",)),
            Request("lower case", (b"authorization: bearer {canary}",)),
        ),
        judge=judges.credential_passes,
    ),
    Attack(
        name="identity-in-answer",
        leak="A client gets the JWT or the identity headers that are meant for the backend.",
        remedy="copy Authorization and X-Auth-* of the gateway to requests, never to answers",
        by_proxy={
            "envoy": "authorization_response: {allowed_client_headers: ...} without authorization "
            "and x-auth-*",
        },
        requests=(
            Request("good credential"),
            Request("unknown credential", credential=Credential.UNKNOWN),
            Request("no credential", credential=Credential.NONE),
        ),
        judge=judges.identity_answered,
    ),
)
"""The attacks of this module: by names and values of identity headers."""


def overriding() -> tuple[Request, ...]:
    """Return the requests with headers that name another path or method than the first line."""
    return spoofed(*identity_headers.titled(identity_headers.TARGET))
