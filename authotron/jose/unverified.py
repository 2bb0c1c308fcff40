"""Parse a JWT without verifying it, to find the provider that can verify it."""

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
"""Maximum length of a bearer token that is parsed as a JWT, in characters."""

_LONGEST_HEADER = 16_384
"""Maximum length of the header of a JWT, in characters; a certificate chain (C{x5c}) fits in."""

UNREADABLE = object()
"""The issuer of a JWT whose claims are not strict JSON."""

_MOST = 4096
"""
Maximum number of arrays and objects in one part of a JWT; parsing so many takes a few
milliseconds.
"""

_PARTS = 3
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


@frozen
class Unverified:
    """
    The header and claims of a JWT that is not verified, so they must not be trusted.

    @ivar readable: whether the claims are a JSON object, which the claims of an encrypted JWT are
        not.
    """

    header: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    readable: bool = True

    @property
    def issuer(self) -> object:
        """
        The claim C{iss}, which may be of any type, or C{None} if a JWT has no issuer.

        The header of an encrypted JWT may repeat the issuer in clear (RFC 7519 section 5.3). If the
        gateway cannot read the issuer, because the claims are not encrypted but are not valid JSON
        either, the issuer is L{UNREADABLE}.
        """
        if not (self.readable or "enc" in self.header):
            return UNREADABLE
        keys_named = self.claims.get("iss")
        return self.header.get("iss") if keys_named is None else keys_named


def parse_once(credential: Credential) -> Unverified | None:
    """Parse a credential as a JWT only once, however many providers call this function."""
    known = credential.seen
    if known is False:
        known = parse(credential.value)
        # The attribute C{seen} caches the parsed JWT; comparisons of credentials ignore it.
        credential.seen = known
    return known  # type: ignore[return-value] # no value of another type is ever assigned


def parse(token: str) -> Unverified | None:
    """
    Parse a bearer token as a JWT, or return C{None} if the token is not a JWT.

    A bearer token is a JWT if its first part decodes to a JSON object with C{alg}. A malformed JWT
    is returned as a JWT without claims, and without a header that is malformed: lenient parsers may
    accept it, so it must not be passed to providers of opaque tokens.
    """
    parts = token.split(".", _PARTS)
    if len(parts) < 2 or len(token) > LONGEST:  # noqa: PLR2004 - the header and at least one more part
        return None
    try:
        header = parse_header(parts[0])
    except Rejected:
        return _MALFORMED if _is_like_header(parts[0]) else None
    if "alg" not in header:
        return None
    try:
        return Unverified(header, parse_part(parts[1]))
    except Rejected:
        return Unverified(header, {}, readable=False)


_MALFORMED = Unverified({}, {}, readable=False)
"""The header of a JWT that only a lenient parser accepts."""

_STANDARD_ALPHABET = str.maketrans("+/", "-_")


def _is_like_header(part: str) -> bool:
    """
    Whether a lenient JWT parser could find C{alg} in this part of a token, if it accepts padding,
    the standard alphabet of base64, or text in UTF-16 or UTF-32.
    """
    text = part.translate(_STANDARD_ALPHABET).rstrip("=")
    if len(text) % 4 == 1 or not _ALPHABET.fullmatch(text):
        return False
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return b'"alg"' in raw.replace(b"\0", b"")


def parse_header(part: str) -> dict[str, Any]:
    """
    Parse the header of a JWT that is not verified yet. The length of a JWT header is limited,
    because the signature is not verified yet.

    @raise Rejected: the header is too long, or malformed.
    """
    if len(part) > _LONGEST_HEADER:
        raise Rejected("the header of the JWT is too long")
    return parse_part(part)


def parse_part(part: str) -> dict[str, Any]:
    """
    Parse the JSON object in one part of a JWT.

    @raise Rejected: the part is not canonical base64url, not strict JSON, or not an object.
    """
    try:
        found = strict_json.loads(decode_base64url(part), most=_MOST)
    except ValueError:
        raise Rejected("a part of the JWT is not base64url of strict JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise Rejected("a part of the JWT is not a JSON object")
    return found


def decode_base64url(part: str) -> bytes:
    """
    Decode one part of a JWT (RFC 7515 section 2).

    @raise ValueError: the part is not canonical base64url (also as C{binascii.Error}).
    """
    if not _ALPHABET.fullmatch(part):
        raise ValueError("not base64url")
    raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("not canonical base64url")
    return raw
