"""Mistakes in configurations of proxies, as changes of the shipped examples, and their leaks."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class Broken:
    """
    A configuration with a mistake.

    @ivar proxy: whose example is changed.
    @ivar changes: texts of the example, and what stands in their place.
    @ivar leaks: what C{authotron probe} reports: each attack, and some of what it finds leaking.
    @ivar path: of the URL that is attacked.
    @ivar is_down: whether the gateway is down meanwhile.
    """

    proxy: str
    changes: Mapping[str, str]
    leaks: Mapping[str, set[str]]
    path: str = "/"
    is_down: bool = field(default=False, kw_only=True)


_TO_BACKEND = "    location / {\n        proxy_pass http://backend;\n    }\n"
_REFUSED = "        return 401 $authotron_refusal;"
_FIRST_LOCATION = "    # Is nginx alive? This needs no credentials.\n"
_LET_PASS = "    location @let_pass { auth_request off; proxy_pass http://backend; }\n"

BROKEN: Mapping[str, Broken] = {
    "x_auth_roles_passes": Broken(
        "nginx",
        {"    proxy_set_header X-Auth-Roles      $authotron_roles;\n": ""},
        {"identity-header": {"X-Auth-Roles"}},
    ),
    "certificate_of_the_client": Broken(
        "nginx",
        {
            "        proxy_set_header X-Auth-Realm  $http_x_auth_realm;\n": "        "
            "proxy_set_header X-Auth-Realm $http_x_auth_realm;\n        "
            "proxy_set_header X-SSL-Client-Cert $http_x_ssl_client_cert;\n"
        },
        {"certificate-believed": {"X-SSL-Client-Cert"}},
    ),
    "underscored_twin": Broken(
        "nginx",
        {"underscores_in_headers off;": "underscores_in_headers on;"},
        {"underscored-header": {"X_auth_roles", "X_auth_username", "X-Auth_roles"}},
    ),
    "doubled_header": Broken(
        "apache",
        {"RequestHeader set X-Auth-Roles ": "RequestHeader add X-Auth-Roles "},
        {"doubled-header": {"X-Auth-Roles"}},
    ),
    "joined_header": Broken(
        "nginx",
        {
            "X-Auth-Roles      $authotron_roles;": "X-Auth-Roles "
            '"$authotron_roles,$http_x_auth_roles";'
        },
        {"doubled-header": {"X-Auth-Roles"}},
    ),
    "question_location_without_internal": Broken(
        "nginx", {"        internal;\n": ""}, {"question-location": {"/_authotron"}}
    ),
    "forwarded_headers_of_clients_believed": Broken(
        "nginx",
        {
            "proxy_set_header X-Forwarded-For $remote_addr;": "proxy_set_header X-Forwarded-For "
            "$http_x_forwarded_for;",
            "\n    proxy_set_header X-Forwarded-Proto $scheme;": "\n    proxy_set_header "
            "X-Forwarded-Proto $http_x_forwarded_proto;",
            "proxy_set_header X-Forwarded-Host  $host;": "proxy_set_header X-Forwarded-Host "
            "$http_x_forwarded_host;",
        },
        {
            "forwarded-header": {"X-Forwarded-Host", "X-Forwarded-Proto"},
            "forwarded-address-believed": {"X-Forwarded-For"},
        },
    ),
    "refusal_with_status_200": Broken(
        "nginx",
        {_REFUSED: "        return 200 $authotron_refusal;"},
        {"refusal-as-success": {"no credential: 200", "unknown credential: 200"}},
    ),
    "stripped_prefix": Broken(
        "nginx",
        {_TO_BACKEND: "    location /api/ {\n        proxy_pass http://backend/;\n    }\n"},
        {"changed-base": {"/api became (nothing)"}, "changed-path": {"{path}/a%2Fb"}},
        "/api/",
    ),
    "client_first_in_x_forwarded_for": Broken(
        "nginx",
        {
            "proxy_set_header X-Forwarded-For   $remote_addr;": "proxy_set_header X-Forwarded-For "
            "$proxy_add_x_forwarded_for;"
        },
        {"forwarded-for-first": {"X-Forwarded-For"}},
    ),
    "leftmost_x_forwarded_for": Broken(
        "nginx",
        {
            "    server_name _;\n": "    server_name _;\n    set_real_ip_from 0.0.0.0/0;\n"
            "    real_ip_header X-Forwarded-For;\n    real_ip_recursive on;\n"
        },
        {
            "forwarded-header": {"X-Forwarded-For", "X-Real-Ip"},
            "forwarded-address-believed": {"X-Forwarded-For", "X-Forwarded-For, two hops"},
        },
    ),
    "h2c_passes": Broken(
        "haproxy",
        {"    http-request del-header Upgrade unless { req.hdr(upgrade) -i websocket }\n": ""}
        | {"    http-request set-header Upgrade websocket if { req.hdr(upgrade) -m found }\n": ""},
        {"other-protocol": {"h2c"}},
    ),
    "gateway_down_lets_pass": Broken(
        "nginx",
        {
            "    error_page 500 = @authotron_failed;": "    error_page 500 = @let_pass;",
            _FIRST_LOCATION: _LET_PASS + _FIRST_LOCATION,
        },
        {"gateway-down": {"unknown credential", "no credential", "made-up identity"}},
        is_down=True,
    ),
    "envoy_without_headers_to_remove": Broken(
        "envoy",
        {"request_headers_to_remove: [": "response_headers_to_remove: ["},
        {
            "other-identity-header": {"X-Webauth-User", "X-Authentik-Username"},
            "forwarded-header": {"Forwarded", "True-Client-Ip"},
            "overriding-header": {"X-Http-Method-Override"},
        },
    ),
    "envoy_without_answer_to_remove": Broken(
        "envoy by HTTP",
        {
            "path_prefix: /auth/envoy": "path_prefix: /auth/nginx",
            "[{exact: authorization}, {prefix: x-auth-}]": "[{exact: authorization}]",
        },
        {"identity-header": {"X-Auth-Username", "X-Auth-Roles"}},
    ),
}
"""The mistakes by name."""
