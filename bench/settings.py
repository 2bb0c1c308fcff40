"""The users, rules and configuration files with which all servers are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

REALM = "local"
SECRET = "bench-signs-with-a-secret-of-forty-bytes"
USERS = [
    {"username": f"user{n:03}", "password": f"correct-horse-battery-{n:03}"} for n in range(10)
]
ROLES = {
    "reader": [user["username"] for user in USERS],
    "writer": [user["username"] for user in USERS[::2]],
}
RULES: list[dict[str, Any]] = [
    {"match": {"role": ["reader"]}, "augment": {"roles": ["may-read"]}},
    {"match": {"role": ["writer"]}, "augment": {"roles": ["may-write"]}},
]
PROVIDERS = [{"name": "plain", "type": "plain", "realm": REALM, "users": USERS}]
AUGMENTERS: list[dict[str, Any]] = [
    {"name": "roles", "type": "plain", "realm": REALM, "roles": ROLES},
    *(
        {"name": f"rule-{n}", "type": "plain_advanced", "realm": REALM, **rule}
        for n, rule in enumerate(RULES)
    ),
]


def gateway(port: int, metrics: int, **over: Any) -> dict[str, Any]:
    """Return the configuration of a gateway; C{over} replaces sections."""
    return {
        "version": "2.0.0",
        "server": {"host": "127.0.0.1", "port": port},
        "metrics": {"port": metrics},
        "logging": {"level": "warn"},  # as the original, so that no decision is logged
        "jwt": {"iss": "bench", "secret": SECRET},
        "providers": PROVIDERS,
        "augmenters": AUGMENTERS,
        **over,
    }


def listening(port: int, socket: Path) -> dict[str, Any]:
    """Return the section C{server} of a gateway on a TCP port and a UNIX socket."""
    return {
        "host": "127.0.0.1",
        "listen": [
            f"tcp:{port}:interface=127.0.0.1:backlog=1024",
            f"unix:{socket}:mode=660:backlog=1024",
        ],
    }


def original(port: int, metrics: int) -> dict[str, Any]:
    """Return the configuration of the original, which requires more sections."""
    return {
        "version": "2.0.0",
        "server": {"host": "127.0.0.1", "port": port},
        "metrics": {"enabled": True, "port": metrics},
        "logging": {"level": "warn", "format": "json", "service_name": "a", "service_version": "1"},
        "auth": {"timeout_in_ms": 5000},
        "store": {"enabled": False},
        "services": [],
        "jwt": {"iss": "bench", "exp": 3600, "secret": SECRET},
        "include_legacy_headers": False,
        "providers": PROVIDERS,
        "augmenters": AUGMENTERS,
    }
