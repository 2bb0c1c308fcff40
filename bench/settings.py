"""The users and rules that both sides of the comparison serve."""

from __future__ import annotations

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


def gateway(port: int, metrics: int, **over: Any) -> dict[str, Any]:
    """The same as a configuration of the gateway."""
    augmenters = [
        {"name": "roles", "type": "plain", "realm": REALM, "roles": ROLES},
        *(
            {"name": f"rule-{n}", "type": "plain_advanced", "realm": REALM, **rule}
            for n, rule in enumerate(RULES)
        ),
    ]
    return {
        "version": "2.0.0",
        "server": {"host": "127.0.0.1", "port": port},
        "metrics": {"port": metrics},
        "jwt": {"iss": "bench", "secret": SECRET},
        "providers": [{"name": "plain", "type": "plain", "realm": REALM, "users": USERS}],
        "augmenters": augmenters,
        **over,
    }
