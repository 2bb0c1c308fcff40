"""Attacks with headers in which proxies state where a request comes from, and what it asks for."""

from __future__ import annotations

from authotron.probe import judges
from authotron.probe.attack import Attack
from authotron.probe.attacks import headers
from authotron.probe.request import ADDRESS, Credential, Request

_SET = {
    "nginx": "proxy_set_header NAME with a variable of nginx ($remote_addr, $host, $scheme), never "
    "with $http_...; include authotron-identity-headers.conf;",
    "apache": "RequestHeader unset NAME; Apache adds its own X-Forwarded-For and -Host",
    "caddy": "trusted_proxies with the addresses of your own proxies alone",
    "haproxy": "http-request set-header NAME, after http-request del-header NAME",
    "traefik": "forwardedHeaders: {trustedIPs: [...]} without insecure: true",
    "envoy": "use_remote_address: true, and request_headers_to_add with "
    "append_action: OVERWRITE_IF_EXISTS_OR_ADD",
}
_FIRST = {
    "nginx": "proxy_set_header X-Forwarded-For $remote_addr; instead of "
    "$proxy_add_x_forwarded_for, or set_real_ip_from with your own proxies alone",
    "apache": "RequestHeader unset X-Forwarded-For",
    "haproxy": "http-request set-header X-Forwarded-For %[src], instead of option forwardfor",
    "envoy": "request_headers_to_add: x-forwarded-for with "
    "append_action: OVERWRITE_IF_EXISTS_OR_ADD",
}

_CLAIMS: dict[str, tuple[bytes, ...]] = {
    "X-Forwarded-For": (b"X-Forwarded-For: " + ADDRESS,),
    "X-Forwarded-For, two hops": (b"X-Forwarded-For: " + ADDRESS + b", 127.0.0.1",),
    "X-Forwarded-For, two lines": (b"X-Forwarded-For: " + ADDRESS,) * 2,
    "X-Real-IP": (b"X-Real-IP: " + ADDRESS,),
    "Forwarded": (b"Forwarded: for=" + ADDRESS,),
    "True-Client-IP": (b"True-Client-IP: " + ADDRESS,),
    "X-Client-IP": (b"X-Client-IP: " + ADDRESS,),
    "X-Authotron-Client": (b"X-Authotron-Client: " + ADDRESS,),
    "X-Envoy-External-Address": (b"X-Envoy-External-Address: " + ADDRESS,),
}
"""Headers that claim that a client has the address L{ADDRESS}."""

ATTACKS = (
    Attack(
        name="forwarded-header",
        leak="The backend gets a forwarded header as the client made it up: address, host or "
        "scheme of a request are what the client likes.",
        remedy="set the forwarded headers from the connection of the client, and remove the others",
        by_proxy=_SET,
        requests=(
            Request("X-Forwarded-For", (headers.line("X-Forwarded-For"),)),
            *(
                Request(name, (headers.line(name),))
                for name in ("X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto")
            ),
            *headers.spoofed(*headers.ORIGIN),
        ),
        judge=judges.address_alone,
        splits=True,
    ),
    Attack(
        name="forwarded-for-first",
        leak="The client chooses the first address of X-Forwarded-For, which many services "
        "take for the address of the client.",
        remedy="replace X-Forwarded-For by the address of the connection, instead of adding to it",
        by_proxy=_FIRST,
        requests=(
            Request("X-Forwarded-For", _CLAIMS["X-Forwarded-For"]),
            Request("X-Forwarded-For", _CLAIMS["X-Forwarded-For, two hops"]),
        ),
        judge=judges.address_first,
        follows_from=("forwarded-header",),
    ),
    Attack(
        name="forwarded-address-believed",
        leak="The gateway takes the client's word for its address: API tokens that are limited to "
        "networks are good everywhere.",
        remedy="set X-Forwarded-For of the question from the connection of the client",
        by_proxy={
            **_SET,
            "nginx": "proxy_set_header X-Forwarded-For $remote_addr; in the location of the "
            "question, and set_real_ip_from with your own proxies alone",
        },
        requests=tuple(
            Request(label, fields, credential=Credential.LIMITED)
            for label, fields in _CLAIMS.items()
        ),
        judge=judges.reached,
    ),
    Attack(
        name="overriding-header",
        leak="The backend gets a header of the client that names another path or method than the "
        "first line; some services obey it.",
        remedy="remove the headers of docs/identity-headers.md from each request of a client",
        by_proxy=headers.LIST_UNSET,
        requests=headers.overriding(),
        judge=judges.any_field,
        splits=True,
    ),
)
"""The attacks of this module: by forwarded headers."""
