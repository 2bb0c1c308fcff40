"""Parse the values of the headers in which proxies state facts of clients' requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from authotron.model.hosts import split_host
from authotron.model.http_grammar import TOKEN
from authotron.model.paths import canonical, is_ordinary, split_target
from authotron.plugin import certificate_parsers

_METHOD = re.compile(TOKEN.decode())
_USUAL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""HTTP methods that are accepted without checking their characters."""

_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""The schemes that proxies name; Traefik names C{ws} and C{wss} for WebSockets."""

_LONGEST_NAMESPACE = 1024


def _method(value: str) -> str:
    if value not in _USUAL and not _METHOD.fullmatch(value):
        raise ValueError("the value is not a method")
    return value


def _scheme(value: str) -> str:
    scheme = _SCHEMES.get(value.lower())
    if scheme is None:
        raise ValueError("the value is neither http nor https")
    return scheme


def _target(value: str) -> tuple[bytes, bytes | None]:
    """Return path and query of a request target, which may be a whole URL."""
    target = value.encode("latin-1")
    absolute = None if target.startswith(b"/") else _ABSOLUTE.match(target)
    rest = target[absolute.end() :] if absolute else target
    return split_target(b"/" + rest if absolute and not rest.startswith(b"/") else rest)


def _path(value: str) -> str:
    path = value.partition("?")[0]
    if is_ordinary(path):
        return path
    return canonical(_target(value)[0])


def _query(value: str) -> str | None:
    query = _target(value)[1]
    return None if query is None else query.decode("latin-1")


def _namespace(value: str) -> str:
    if not (value.isascii() and value.isprintable() and len(value) <= _LONGEST_NAMESPACE):
        raise ValueError("the value is not a namespace")
    return value


_PARSE: Mapping[str, Callable[[str], object]] = {
    "method": _method,
    "scheme": _scheme,
    "host": lambda value: split_host(value)[0],
    "port": lambda value: split_host(value)[1],
    "path": _path,
    "query": _query,
    "namespace": _namespace,
    "certificate": certificate_parsers.parse,
}
"""
For each fact of a request the function that parses the value of a header; the function may raise
C{ValueError}.
"""

MAY_LACK = frozenset({"namespace", "certificate"})
"""The facts of a request that are C{None} if their header is missing or empty."""

PARSED = frozenset(_PARSE)
"""The facts of a request that the value of one header can state."""

Parse = Callable[[str], object]
"""A function that parses the value of a header; the function may raise C{ValueError}."""


def parser_of(fact: str) -> Parse:
    """Return the function that parses the value of a header that states a fact."""
    return _PARSE[fact]
