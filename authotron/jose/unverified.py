"""What a bearer token shows of itself before anybody has judged it."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from authotron.model import strict_json
from authotron.model.errors import Rejected
from authotron.model.identity import Credential

LONGEST = 65_536
"""A longer token is not looked at."""

_LONGEST_HEADER = 16_384
"""Characters of the first part: enough for a chain of certificates (C{x5c})."""

UNREADABLE = object()
"""Stands for the issuer of a token whose claims are not strict JSON."""

_MOST = 4096
"""Arrays and objects in one part, as many as take a few milliseconds to read."""

_PARTS = 3
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


@frozen
class Unverified:
    """
    A token taken apart. Nothing of it is to be believed.

    @ivar readable: whether the second part is a JSON object; that of an encrypted token is not.
    """

    header: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    readable: bool = True

    @property
    def issuer(self) -> object:
        """
        The issuer that is named, which may be of any type; C{None} if none is.

        The header of an encrypted token may repeat it in clear (RFC 7519 section 5.3). Claims that
        cannot be read, though they are not encrypted, name an L{UNREADABLE} one.
        """
        if not (self.readable or "enc" in self.header):
            return UNREADABLE
        named = self.claims.get("iss")
        return self.header.get("iss") if named is None else named


def seen(credential: Credential) -> Unverified | None:
    """L{look_into} a credential; however many providers want to know, it is read once."""
    known = credential.seen
    if known is False:
        known = look_into(credential.value)
        credential.seen = known  # a note, which makes it no other value
    return known  # type: ignore[return-value] # nothing else is noted


def look_into(token: str) -> Unverified | None:
    """
    What a token says, if it is a JWT: its first part decodes to a JSON object with C{alg}.

    Nothing is read of a JWT that breaks the rules of L{decoded}, but it is one all the same: other
    readers may accept it, so it is not shown to providers of opaque tokens.
    """
    parts = token.split(".", _PARTS)
    if len(parts) < 2 or len(token) > LONGEST:  # noqa: PLR2004 - a header and something more
        return None
    try:
        header = decoded_header(parts[0])
    except Rejected:
        return _MALFORMED if _is_like_header(parts[0]) else None
    if "alg" not in header:
        return None
    try:
        return Unverified(header, decoded(parts[1]))
    except Rejected:
        return Unverified(header, {}, readable=False)


_MALFORMED = Unverified({}, {}, readable=False)
_STANDARD_ALPHABET = str.maketrans("+/", "-_")


def _is_like_header(part: str) -> bool:
    """Whether a lenient reader finds C{alg}: with padding, in another alphabet or encoding."""
    text = part.translate(_STANDARD_ALPHABET).rstrip("=")
    if len(text) % 4 == 1 or not _ALPHABET.fullmatch(text):
        return False
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return b'"alg"' in raw.replace(b"\0", b"")


def decoded_header(part: str) -> dict[str, Any]:
    """
    Parse the first part of a token, which is bounded: it is read before any signature is checked.

    @raise Rejected: it is too long, or not what L{decoded} reads.
    """
    if len(part) > _LONGEST_HEADER:
        raise Rejected("the header of the token is too long")
    return decoded(part)


def decoded(part: str) -> dict[str, Any]:
    """
    Parse the JSON object in one part of a token.

    @raise Rejected: it is not canonical base64url, not strict JSON, or not an object.
    """
    try:
        found = strict_json.loads(b64decoded(part), most=_MOST)
    except ValueError:
        raise Rejected("a part of the token is not base64url of strict JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise Rejected("a part of the token is not a JSON object")
    return found


def b64decoded(part: str) -> bytes:
    """
    The bytes of a part (RFC 7515 section 2).

    @raise ValueError: it is no base64 as it stands in a token; C{binascii.Error} is one.
    """
    if not _ALPHABET.fullmatch(part):
        raise ValueError("no base64url")
    raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("not canonical base64url")
    return raw
