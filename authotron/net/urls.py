"""
Check the configured URLs of remote services, extend URLs, and remove secrets before URLs are
logged.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator

_CONTROLS = "".join(map(chr, range(0x21)))
_LINE_ENDS = re.compile(r"[\t\r\n]")
"""Characters that the WHATWG URL standard removes from a URL, wherever they are."""

_UNSENDABLE = re.compile(r"[^\x21-\x7e]")
"""Characters that cannot be part of a request target (RFC 9112 section 3.2)."""


def check_url(text: str) -> str:
    """
    Return an http or https URL as requests use it, if it contains nothing that must not be logged.

    As in auth-o-tron, blanks and line ends around the URL and its fragment are removed, and
    characters of the path and the query that a request cannot contain are encoded.

    @raise ValueError: the string is not an http or https URL, or contains a user or a password.
    """
    text = _LINE_ENDS.sub("", text.strip(_CONTROLS)).partition("#")[0]
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not (good and parts.netloc.isascii() and parts.netloc.isprintable()):
        raise ValueError("is not a URL that begins with http:// or https://")
    if parts.username is not None:
        raise ValueError("must not hold a user or a password")
    if " " in parts.netloc:
        raise ValueError("is not a URL that begins with http:// or https://")
    return _UNSENDABLE.sub(lambda found: quote(found[0], safe=""), text)


Url = Annotated[str, AfterValidator(check_url)]
"""The URL of a remote service."""


def join_url(url: str, *steps: str) -> str:
    """
    Append path segments to a URL, whether or not it ends with a slash, and keep the query of the
    URL.
    """
    base, question, query = url.partition("?")
    path = "/".join([base.rstrip("/"), *(quote(step, safe="") for step in steps)])
    return path + question + query


def without_query(url: str) -> str:
    """Return a URL without its query, which may hold a secret."""
    return url.partition("?")[0]
