"""HTTP responses to errors: status, headers, and a body of problem details (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from authotron.client.errors import AuthotronError
from authotron.client.user import as_names

CONTENT_TYPE = "application/problem+json"


def details(error: AuthotronError) -> dict[str, Any]:
    """Return what a client may learn about an error."""
    found: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.public,
    }
    return found


def body(error: AuthotronError) -> bytes:
    """Return the body of the response, which describes the error."""
    return json.dumps(details(error)).encode()


def headers(error: AuthotronError) -> Mapping[str, str]:
    """Return the headers of the response, without C{Content-Length}."""
    return {"Content-Type": CONTENT_TYPE, **error.headers}


def open_paths(given: str | Collection[str]) -> tuple[str, ...]:
    """
    Return the paths that need no user.

    @raise ValueError: one of the paths does not begin with a slash.
    """
    paths = as_names(given)
    if not all(each.startswith("/") for each in paths):
        raise ValueError(f"a path does not begin with a slash: {paths}")
    return paths


def is_excluded(path: str, exclude: Collection[str]) -> bool:
    """
    Whether a path is one of those that need no user, or below one that ends in a slash.

    The path C{/} excludes only itself and not all paths below it, because every path of the service
    is below it.

    A path with C{..}, C{//} or an escaped character is never excluded, because the application may
    resolve it to another path.
    """
    if ".." in path or "//" in path or "%" in path or "\\" in path:
        return False
    return any(
        path == each or (each[1:].endswith("/") and path.startswith(each)) for each in exclude
    )
