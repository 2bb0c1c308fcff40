"""
The same job for FastAPI and uvicorn, as one would write it first: see C{klein_app.py}.

It runs in an environment of its own; nothing of the product knows of it.
"""

from __future__ import annotations

import base64
import binascii
import sys
import time
from hmac import compare_digest
from typing import Annotated

import jwt
import settings
import uvicorn
from fastapi import FastAPI, Header, Response
from prometheus_client import Counter, Histogram

REQUESTS = Counter("http_requests", "Requests", ["method", "path", "status"])
LOGINS = Counter("auth_requests", "Logins", ["realm", "provider", "result"])
DURATIONS = Histogram("http_request_duration_seconds", "Requests", ["method", "path"])
LOGIN_DURATIONS = Histogram("auth_duration_seconds", "Logins", ["provider"])

app = FastAPI()


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
    """What the two augmenters add."""
    roles = [role for role, users in settings.ROLES.items() if username in users]
    for rule in settings.RULES:
        if set(rule["match"]["role"]) & set(roles):
            roles += [role for role in rule["augment"]["roles"] if role not in roles]
    return roles


@app.api_route("/authenticate", methods=["GET", "HEAD"])
async def authenticate(authorization: Annotated[str | None, Header()] = None) -> Response:
    """One answer."""
    began = time.perf_counter()
    username = await known_user(authorization)
    took = time.perf_counter() - began
    if username is None:
        record(401, "failure", began, took)
        challenge = {"WWW-Authenticate": f'Basic realm="{settings.REALM}"'}
        return Response("Unauthorized", 401, challenge)
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
    token = jwt.encode(claims, settings.SECRET, "HS256")
    record(200, "success", began, took)
    return Response("", 200, {"Authorization": f"Bearer {token}"})


def record(status: int, result: str, began: float, took: float) -> None:
    total = time.perf_counter() - began
    REQUESTS.labels(method="GET", path="/authenticate", status=str(status)).inc()
    LOGINS.labels(realm=settings.REALM, provider="plain", result=result).inc()
    DURATIONS.labels(method="GET", path="/authenticate").observe(total)
    LOGIN_DURATIONS.labels(provider="plain").observe(took)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
