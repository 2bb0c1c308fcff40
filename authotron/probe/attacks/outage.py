"""Attacks that succeed only while the gateway is down."""

from __future__ import annotations

from authotron.probe import judges
from authotron.probe.attack import Attack, Phase
from authotron.probe.request import Credential, Request

ATTACKS = (
    Attack(
        name="gateway-down",
        leak="While the gateway is down, requests reach the backend without an identity, or get a "
        "status of success.",
        remedy="let nothing pass if the gateway cannot be asked",
        by_proxy={
            "nginx": "error_page 500 = @authotron_failed; with return 503 and no proxy_pass in it",
            "apache": "AuthnzFcgiCheckAuthnProvider ... Authoritative On, no Require all granted",
            "caddy": "no handle_errors that proxies to the service",
            "haproxy": "http-request deny unless the gateway answered 200",
            "envoy": "failure_mode_allow: false",
        },
        requests=(
            Request("unknown credential", credential=Credential.UNKNOWN),
            Request("no credential", credential=Credential.NONE),
            *(
                Request(
                    f"{method}, unknown credential",
                    method=method.encode(),
                    credential=Credential.UNKNOWN,
                )
                for method in ("HEAD", "POST", "OPTIONS")
            ),
            Request(
                "made-up identity",
                (b"X-Auth-Username: {canary}", b"X-Auth-Roles: {canary}"),
                credential=Credential.UNKNOWN,
            ),
        ),
        judge=judges.passed,
        phase=Phase.GATEWAY_DOWN,
    ),
)
"""The attacks of this module, for the phase in which the gateway is down."""
