"""Read the values of the headers, cookies and parameters that carry credentials."""

from __future__ import annotations

from collections.abc import Callable
from re import Pattern
from typing import Protocol

from attrs import field, frozen

from authotron.model import cookies, parameters
from authotron.model.carriers import Kind
from authotron.model.cookies import AMBIGUOUS
from authotron.model.errors import Flaw, UnusableFact
from authotron.model.request import Facts

Header = Callable[[bytes], bytes | None]
"""
A function that returns the value of the header with a name in lower case, or C{None} if there is no
such header; the values of several headers are joined by commas.
"""


class Reader(Protocol):
    """Reads one value."""

    def read(self, header: Header, facts: Facts | None, /) -> bytes | None:
        """
        Return the value, or C{None} if the request has no value, or L{AMBIGUOUS} if it has several.

        @param facts: the facts of the client's request, or C{None} if its query is not known.
        """


@frozen
class HeaderReader:
    """Reads a header."""

    name: bytes

    def read(self, header: Header, _facts: Facts | None) -> bytes | None:
        return header(self.name)


@frozen
class CookieReader:
    """Reads a cookie."""

    _cookies: Pattern[bytes] = field(repr=False)

    def read(self, header: Header, _facts: Facts | None) -> bytes | None:
        found = header(b"cookie")
        return None if found is None else cookies.value(found, self._cookies)


@frozen
class ParameterReader:
    """Reads a parameter of the query, as a trusted proxy states it."""

    _parameters: Pattern[str] = field(repr=False)

    def read(self, _header: Header, facts: Facts | None) -> bytes | None:
        try:
            query = None if facts is None else facts.query
        except UnusableFact as unusable:
            # Without a trusted proxy that states the query there is no parameter; a query that is
            # stated twice or malformed is no reason to use another credential.
            return None if unusable.flaw in (Flaw.MISSING, Flaw.UNTRUSTED) else AMBIGUOUS
        return None if query is None else parameters.value(query, self._parameters)


@frozen
class CertificateReader:
    """Reads the TLS certificate of the client, as a trusted proxy states it."""

    def read(self, _header: Header, facts: Facts | None) -> bytes | None:
        try:
            certificate = None if facts is None else facts.certificate
        except UnusableFact as unusable:
            # A certificate counts only if a trusted proxy states it; headers that a client sends by
            # itself are ignored.
            return None if unusable.flaw in (Flaw.MISSING, Flaw.UNTRUSTED) else AMBIGUOUS
        return None if certificate is None else certificate.as_word().encode("ascii")


def reader(kind: Kind, name: str) -> Reader:
    """
    Return the object that reads the values of the carriers (parts of a request) of a given kind and
    name.
    """
    if kind == "header":
        return HeaderReader(name.encode("ascii"))
    if kind == "cookie":
        return CookieReader(cookies.finder(name))
    if kind == "certificate":
        return CertificateReader()
    return ParameterReader(parameters.finder(name))
