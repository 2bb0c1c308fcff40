"""Tell access tokens from other JWTs, such as ID tokens, by their header and claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Claims = Mapping[str, Any]

_HASHES = ("at_hash", "c_hash", "s_hash")
"""
Claims that OpenID Connect defines for ID tokens only, unlike C{nonce}, which other tokens have.
"""

_SAYING = ("typ", "token_use", "token_type", "use")
"""Claims, and members of an introspection response, that name the purpose of a token."""

_LOOSELY_SAYING = ("type", "tokenName", "purpose")
"""
Claims in which Flask-JWT-Extended, ForgeRock and Curity name the purpose of a token.

Some identity providers use claims with these names for something else, so only the values in
C{_LOOSE_PURPOSES} are taken for the purpose of a token.
"""

_NAMING = frozenset((*_SAYING, *_LOOSELY_SAYING))
"""All names of claims that may state the purpose of a token."""

_LOOSE_PURPOSES = frozenset({"id", "refresh"})
"""
The values by which a claim in C{_LOOSELY_SAYING} marks a token as something other than an access
token.
"""

_PLAIN = frozenset({"JWT", "at+jwt", "Bearer", "access"})
"""Usual values of the header C{typ} of access tokens, which are compared first, for speed."""

_ACCESS = frozenset(
    {"jwt", "at+jwt", "at", "access", "bearer", "jws", "jose", "oktainternalat+jwt"}
)
"""Normalized values of the header C{typ} of access tokens; the last is the one of Okta."""

_OTHER_PURPOSES = frozenset(
    {
        "id",
        "serializedid",
        "refresh",
        "offline",
        "logout",
        "initialaccess",
        "registrationaccess",
        "authorizationcode",
        "dpopproof",
        "passport",
    }
)
"""Normalized purposes that mark a token as not an access token."""

_SEPARATORS = str.maketrans("", "", "_- ")


def other_purpose(header: Claims, claims: Claims) -> str | None:
    """
    Describe the purpose of a JWT, or return C{None} if it may be an access token.

    The header C{typ} names the kind of a JWT (RFC 8725 section 3.11), so every value that does not
    mean an access token counts as another purpose. A claim marks another purpose only if it is
    one that access tokens do not have, or has a value that does not fit access tokens, because
    servers agree less on the meaning of claims than on that of the JWT header.
    """
    if has_other_header(header):
        return "a JWT whose header typ names another type"
    for name in _HASHES:
        if name in claims:
            return f"an ID token (`typ: ID`), as it has the claim {name}"
    if isinstance(claims.get("events"), dict):
        return "a security event token, as it has the claim events"
    claim = purpose_claim(claims)
    return None if claim is None else f"a JWT whose claim {claim} names another purpose"


def has_other_header(header: Claims) -> bool:
    """Whether the header C{typ} of a JWT names another type than that of an access token."""
    typ = header.get("typ")
    return typ is not None and not (
        isinstance(typ, str) and (typ in _PLAIN or as_word(typ) in _ACCESS)
    )


def purpose_claim(claims: Claims) -> str | None:
    """Return the name of a claim that marks a JWT as not an access token, or C{None}."""
    if claims.keys().isdisjoint(_NAMING):
        return None
    for name in _SAYING:
        said = claims.get(name)
        if said is None or (isinstance(said, str) and said in _PLAIN):
            continue
        if not isinstance(said, str) or _is_other(as_word(said)):
            return name
    for name in _LOOSELY_SAYING:
        said = claims.get(name)
        if isinstance(said, str) and as_word(said) in _LOOSE_PURPOSES:
            return name
    return None


def has_kind(kind: str, header: Claims, claims: Claims) -> bool:
    """
    Whether the header or a claim of a JWT says that the JWT is a token of a given kind.

    A claim such as C{at_hash} marks a JWT as an ID token, because most ID tokens, and the access
    tokens of Dex, have no other mark.
    """
    said = (header.get("typ"), *map(claims.get, _SAYING), *map(claims.get, _LOOSELY_SAYING))
    words = {as_word(each) for each in said if isinstance(each, str)}
    if not claims.keys().isdisjoint(_HASHES):
        words.add("id")
    return as_word(kind) in words


def _is_other(word: str) -> bool:
    return word in _OTHER_PURPOSES or ("+" in word and word not in _ACCESS)


def as_word(said: str) -> str:
    """
    Convert a token type to lower case, without C{application/}, the URN prefix of RFC 8693 (section
    3), separators, and the word C{token} at the end.
    """
    word = said.strip().lower().removeprefix("application/")
    word = word.removeprefix("urn:ietf:params:oauth:token-type:").translate(_SEPARATORS)
    return word.removesuffix("token")
