"""
Parse the form in the body of a request to an OAuth endpoint (RFC 6749 appendix B): strictly, so
that the gateway and any other reader of the same bytes see the same parameters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from attrs import frozen

from authotron.web.oauth.errors import malformed
from authotron.web.request import Request

_MEDIA_TYPE = "application/x-www-form-urlencoded"

_MOST_PARAMETERS = 100
"""Maximum number of parameters of one form."""

_LONGEST_NAME = 64
"""Maximum number of characters in the name of a parameter."""

_ENCODED = re.compile(rb"(?:[A-Za-z0-9*._~!'()$@,;:/?+-]|%[0-9A-Fa-f]{2})*")
"""A name or value: characters that need no encoding, C{+} for a blank, and encoded bytes."""

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@frozen
class Form:
    """The parameters of a form, without those that have an empty value."""

    _values: Mapping[str, Sequence[str]]

    def one(self, name: str) -> str | None:
        """Return the value of a parameter, or C{None} if the form lacks the parameter."""
        found = self._values.get(name)
        return None if found is None else found[0]

    def needed(self, name: str) -> str:
        """
        Return the value of a parameter.

        @raise EarlyReply: the form lacks the parameter.
        """
        found = self.one(name)
        if found is None:
            raise malformed(f"The parameter {name} is missing.")
        return found

    def all(self, name: str) -> Sequence[str]:
        """Return all values of a parameter that may occur several times."""
        return self._values.get(name, ())


def read_form(request: Request, several: Collection[str] = ()) -> Form:
    """
    Parse the form in the body of a request.

    A parameter without a value counts as missing (RFC 6749 section 3.1). Parameters in the URL are
    refused, because proxies log URLs.

    @param several: the names of the parameters that may occur several times; each other parameter
        may occur once (RFC 6749 section 3.1).

    @raise EarlyReply: the body is not a form in UTF-8, a parameter is a duplicate, or the URL has
        parameters.
    """
    if b"?" in request.uri:
        raise malformed("The URL has a query; parameters belong into the body.")
    _check_content_type(request)
    found: dict[str, list[str]] = {}
    for name, value in _pairs(request.content.getvalue()):
        if name in found and name not in several:
            raise malformed("A parameter occurs more than once.")
        found.setdefault(name, []).append(value)
    whole = {name: [value for value in values if value] for name, values in found.items()}
    return Form({name: values for name, values in whole.items() if values})


def _check_content_type(request: Request) -> None:
    fields = request.requestHeaders.getRawHeaders(b"Content-Type", [])
    _, _, parameters = (fields[0] if fields else b"").partition(b";")
    charset = parameters.replace(b" ", b"").replace(b'"', b"").lower()
    if len(fields) != 1 or request.media_type != _MEDIA_TYPE:
        raise malformed(f"The Content-Type must be {_MEDIA_TYPE}.")
    if charset not in (b"", b"charset=utf-8"):
        raise malformed("The charset of the form must be UTF-8.")
    if request.requestHeaders.hasHeader(b"Content-Encoding"):
        raise malformed("The form must not be compressed.")


def _pairs(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the parameters of a form."""
    parts = body.split(b"&", _MOST_PARAMETERS)
    if len(parts) > _MOST_PARAMETERS:
        raise malformed(f"The form has more than {_MOST_PARAMETERS} parameters.")
    for part in parts:
        if not part:
            continue
        name, _, value = part.partition(b"=")
        decoded = _decoded(name)
        if len(decoded) > _LONGEST_NAME or not _NAME.fullmatch(decoded):
            raise malformed("The name of a parameter is malformed.")
        yield decoded, _decoded(value)


def _decoded(part: bytes) -> str:
    if not _ENCODED.fullmatch(part):
        raise malformed("The form is not percent-encoded correctly.")
    try:
        text = unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise malformed("The form is not UTF-8.") from None
    if _CONTROL.search(text):
        raise malformed("The form has a control character.")
    return text
