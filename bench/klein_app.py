"""
What is measured against: the same job as one would write it first, in one Klein route.

Credentials, two augmenters, PyJWT, C{prometheus_client} with C{labels()} on each request, and
Twisted's access log. Nothing is remembered.
"""

from __future__ import annotations

import base64
import binascii
import sys
import time
from hmac import compare_digest
from typing import Any

import jwt
import settings
from klein import Klein
from prometheus_client import Counter, Histogram
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.server import Site

REQUESTS = Counter("http_requests", "Requests", ["method", "path", "status"])
LOGINS = Counter("auth_requests", "Logins", ["realm", "provider", "result"])
DURATIONS = Histogram("http_request_duration_seconds", "Requests", ["method", "path"])
LOGIN_DURATIONS = Histogram("auth_duration_seconds", "Logins", ["provider"])

app = Klein()


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


@app.route("/authenticate", methods=["GET"])
async def authenticate(request: Any) -> str:
    began = time.perf_counter()
    username = await known_user(request.getHeader("authorization"))
    took = time.perf_counter() - began
    if username is None:
        request.setResponseCode(401)
        request.setHeader("WWW-Authenticate", f'Basic realm="{settings.REALM}"')
        record(401, "failure", began, took)
        return "Unauthorized"
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
    request.setHeader("Authorization", f"Bearer {token}")
    record(200, "success", began, took)
    return ""


def record(status: int, result: str, began: float, took: float) -> None:
    total = time.perf_counter() - began
    REQUESTS.labels(method="GET", path="/authenticate", status=str(status)).inc()
    LOGINS.labels(realm=settings.REALM, provider="plain", result=result).inc()
    DURATIONS.labels(method="GET", path="/authenticate").observe(total)
    LOGIN_DURATIONS.labels(provider="plain").observe(took)


def main(port: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)

    async def serve(reactor: Any) -> None:
        endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
        await endpoint.listen(Site(app.resource()))
        await Deferred()

    react(serve)


if __name__ == "__main__":
    main(sys.argv[1])
