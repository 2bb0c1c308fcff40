"""
The job as one would write it first, for those that are measured against.

A password, three augmenters, PyJWT, and C{prometheus_client} with C{labels()} on each request.
Nothing is remembered, and nothing of the product is used.
"""

from __future__ import annotations

import base64
import binascii
import time
from hmac import compare_digest

import jwt
import settings
from prometheus_client import Counter, Histogram

CHALLENGE = f'Basic realm="{settings.REALM}"'

REQUESTS = Counter("http_requests", "Requests", ["method", "path", "status"])
LOGINS = Counter("auth_requests", "Logins", ["realm", "provider", "result"])
DURATIONS = Histogram("http_request_duration_seconds", "Requests", ["method", "path"])
LOGIN_DURATIONS = Histogram("auth_duration_seconds", "Logins", ["provider"])


async def known_user(header: str | None) -> str | None:
    """The name of the user whose password this is."""
    scheme, _, value = (header or "").partition(" ")
    try:
        name, _, password = base64.b64decode(value, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    found = None
    for user in settings.USERS:
        good = compare_digest(user["username"].encode(), name)
        if scheme.lower() == "basic" and good & compare_digest(user["password"].encode(), password):
            found = user["username"]
    return found


async def roles_of(username: str) -> list[str]:
    """What the three augmenters add."""
    roles = [role for role, users in settings.ROLES.items() if username in users]
    for rule in settings.RULES:
        if set(rule["match"]["role"]) & set(roles):
            roles += [role for role in rule["augment"]["roles"] if role not in roles]
    return roles


async def token_of(username: str) -> str:
    """What a backend gets to know."""
    now = int(time.time())
    claims = {
        "sub": f"{settings.REALM}-{username}",
        "iss": "bench",
        "iat": now,
        "exp": now + 3600,
        "username": username,
        "realm": settings.REALM,
        "roles": await roles_of(username),
        "attributes": {},
        "scopes": {},
    }
    return jwt.encode(claims, settings.SECRET, "HS256")


def record(status: int, result: str, began: float, took: float) -> None:
    """Count a request, and how long it and its judge took, in seconds."""
    total = time.perf_counter() - began
    REQUESTS.labels(method="GET", path="/authenticate", status=str(status)).inc()
    LOGINS.labels(realm=settings.REALM, provider="plain", result=result).inc()
    DURATIONS.labels(method="GET", path="/authenticate").observe(total)
    LOGIN_DURATIONS.labels(provider="plain").observe(took)
