"""
Where the keys of the gateway are published: at a configured URL, or at the URL that the issuer
names.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from authotron.client.errors import Unavailable
from authotron.client.http import Answer, Http
from authotron.client.keys import Keys, published

Source = Callable[[], Keys]
"""
Fetches a key set.

@raise Unavailable: the key set cannot be fetched, or has no usable key.
"""

_HEADERS = {"Accept": "application/json", "User-Agent": "authotron-client"}
_OK, _NOT_FOUND = 200, 404


def at_url(url: str, timeout: float, tls: ssl.SSLContext | None = None) -> Source:
    """Return a source of the keys at a URL."""
    origin, path = _split(url)
    http = Http(origin, tls)
    return lambda: published(_document(http.get(path, _HEADERS, timeout), url), url)


def text_at(timeout: float, tls: ssl.SSLContext | None = None) -> Callable[[str], str]:
    """Return a function that fetches the text at a URL, such as the JWT of a status list."""

    def fetch(url: str) -> str:
        origin, path = _split(url)
        try:
            answer = Http(origin, tls).get(path, _HEADERS, timeout)
        except ValueError as error:
            raise Unavailable(str(error)) from None
        if answer.status != _OK:
            raise Unavailable(f"{url} answers with status {answer.status}")
        return answer.body.decode("ascii", "replace").strip()

    return fetch


def of_issuer(issuer: str, timeout: float, tls: ssl.SSLContext | None = None) -> Source:
    """
    Return a source of the keys that an issuer publishes.

    An issuer with OpenID Connect Discovery names the URL of its keys in a document. The gateway
    itself has no discovery document, and publishes its keys at C{/.well-known/jwks.json}.
    """
    origin, path = _split(issuer.rstrip("/"))
    try:
        http = Http(origin, tls)
    except ValueError as error:
        raise ValueError(f"{error}; without a URL as issuer, name jwks_url or secret") from None
    base = path.rstrip("/")

    def fetch() -> Keys:
        found = http.get(f"{base}/.well-known/openid-configuration", _HEADERS, timeout)
        if found.status == _NOT_FOUND:
            return at_url(f"{origin}{base}/.well-known/jwks.json", timeout, tls)()
        document = _document(found, f"the discovery document of {issuer}")
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise Unavailable(f"the discovery document of {issuer} names another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or _scheme(url) not in {"https", _scheme(issuer)}:
            raise Unavailable(f"the discovery document of {issuer} names no jwks_uri with https")
        try:
            named = at_url(url, timeout, tls)
        except ValueError as error:
            raise Unavailable(f"the jwks_uri of {issuer} cannot be used: {error}") from None
        return named()

    return fetch


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _split(url: str) -> tuple[str, str]:
    """Split a URL into its origin, and its path with the query."""
    parts = urlsplit(url)
    path = parts.path or "/"
    return f"{parts.scheme}://{parts.netloc}", f"{path}?{parts.query}" if parts.query else path


def _document(answer: Answer, place: str) -> object:
    if answer.status != _OK:
        raise Unavailable(f"{place} answers with status {answer.status}")
    try:
        document: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise Unavailable(f"{place} is not JSON") from None
    return document
