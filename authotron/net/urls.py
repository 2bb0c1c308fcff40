"""
Check the configured URLs of remote services, extend URLs, and remove secrets before URLs are
logged.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator


def check_url(text: str) -> str:
    """
    Return an http or https URL unchanged, if it contains nothing that must not be logged.

    @raise ValueError: the string is not an http or https URL, or contains a user, a password or a
        fragment.
    """
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not (good and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("is not a URL that begins with http:// or https://")
    if parts.username is not None or parts.fragment:
        raise ValueError("must not hold a user, a password or a fragment")
    return text


Url = Annotated[str, AfterValidator(check_url)]
"""The URL of a remote service."""


def join_url(url: str, *steps: str) -> str:
    """Append path segments to a URL, whether or not it ends with a slash; a query is kept."""
    base, question, query = url.partition("?")
    path = "/".join([base.rstrip("/"), *(quote(step, safe="") for step in steps)])
    return path + question + query


def without_query(url: str) -> str:
    """Return a URL without its query, which may hold a secret."""
    return url.partition("?")[0]
