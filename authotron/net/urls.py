"""
Check the configured URLs of remote services, extend URLs, and remove secrets before URLs are
logged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Annotated
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import idna
from pydantic import AfterValidator

_CONTROLS = "".join(map(chr, range(0x21)))
_LINE_ENDS = re.compile(r"[\t\r\n]")
"""Characters that the WHATWG URL standard removes from a URL, wherever they are."""

_UNSENDABLE = re.compile(r"[^\x21-\x7e]")
"""Characters that cannot be part of a request target (RFC 9112 section 3.2)."""

_REG_NAME = re.compile(r"[A-Za-z0-9_.~!$&'()*+,;=-]+")
"""Characters of a host name in a URL (RFC 3986 section 3.2.2), without encoded ones."""

_LONGEST_LABEL = 63
_LONGEST_NAME = 253
"""Maximum number of characters of a host name and of each of its labels (RFC 1035)."""


def check_url(text: str) -> str:
    """
    Return an http or https URL with its host in ASCII, if the URL contains nothing that must not be
    logged.

    As auth-o-tron does, this function removes blanks and line ends around the URL, removes the
    fragment, encodes characters of the path and the query that a request cannot contain, and writes
    a host name beyond ASCII in ASCII.

    @raise ValueError: the string is not an http or https URL, or contains a user or a password.
    """
    text = _LINE_ENDS.sub("", text.strip(_CONTROLS)).partition("#")[0]
    try:
        text = with_ascii_host(text)
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
    if not has_host(parts):
        raise ValueError("names a host that is neither a host name nor an IP address")
    return _UNSENDABLE.sub(lambda found: quote(found[0], safe=""), text)


def with_ascii_host(url: str) -> str:
    """
    Return a URL with its host name in ASCII, in the form that is looked up and that certificates
    contain (RFC 5891, UTS #46).

    @raise ValueError: the URL is malformed, or the host name is not allowed in IDNA.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].partition(":")[0]
    if host.isascii():
        return url
    named = idna.encode(host, uts46=True).decode()
    return url.replace(host, named, 1)


def has_host(parts: SplitResult) -> bool:
    """Return whether a URL has an IPv6 address in brackets, or a name that can be looked up."""
    host = parts.hostname or ""
    if parts.netloc.rpartition("@")[2].startswith("["):
        try:
            return IPv6Address(host).scope_id is None
        except ValueError:
            return False
    labels = host.removesuffix(".").split(".")
    return (
        _REG_NAME.fullmatch(host) is not None
        and len(host) <= _LONGEST_NAME
        and all(1 <= len(each) <= _LONGEST_LABEL for each in labels)
    )


Url = Annotated[str, AfterValidator(check_url)]
"""The URL of a remote service, as plugins configure it."""


def join_url(url: str, *steps: str) -> str:
    """
    Append path segments to a URL, whether or not it ends with a slash, and keep the query of the
    URL.
    """
    base, question, query = url.partition("?")
    path = "/".join([base.rstrip("/"), *(quote(step, safe="") for step in steps)])
    return path + question + query


def request_url(url: str, query: Mapping[str, str] | None = None) -> str:
    """Return a URL extended by a path, and by further fields in its query."""
    before, _, given = url.partition("?")
    scheme, _, rest = before.partition("://")
    authority, _, path = rest.partition("/")
    further = urlencode(query or {}, quote_via=quote, safe="")
    fields = "&".join(each for each in (given, further) if each)
    server = f"{scheme}://{authority.removesuffix(':')}".lower()
    target = f"{server}/{path}" + (f"?{fields}" if fields else "")
    return _UNSENDABLE.sub(lambda found: quote(found[0], safe=""), target)


def origin(url: str) -> tuple[str, str, int | None]:
    """Return the scheme, the host and the port of a URL (RFC 6454 section 4)."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def without_query(url: str) -> str:
    """Return a URL without its query, which may hold a secret."""
    return url.partition("?")[0]
