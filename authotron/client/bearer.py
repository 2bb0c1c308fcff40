"""Read the bearer token out of the C{Authorization} headers of a request (RFC 6750 section 2.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from authotron.client.errors import InvalidToken, NoToken

_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)[ \t]*")


def bearer_token(fields: str | Sequence[str] | None) -> str:
    """
    Return the bearer token of a request.

    @param fields: the values of all C{Authorization} headers of the request, or of the only one.

    @raise NoToken: there is no C{Authorization} header, or its scheme is not Bearer.
    @raise InvalidToken: there are several headers, or several credentials in one header.
    """
    if not fields:
        raise NoToken
    fields = [fields] if isinstance(fields, str) else fields
    if len(fields) > 1:
        raise InvalidToken("malformed", "the request has several Authorization headers")
    found = _BEARER.fullmatch(fields[0])
    if found is not None:
        return found[1]
    scheme, _, rest = fields[0].strip().partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        raise InvalidToken("malformed", "the Authorization header is malformed")
    raise NoToken
