"""What a token is for, as its header and its claims say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Claims = Mapping[str, Any]

_HASHES = ("at_hash", "c_hash", "s_hash")
"""OpenID Connect puts them into ID tokens alone. Old servers write C{nonce} anywhere."""

_SAYING = ("typ", "token_use", "token_type", "use")
"""Claims, and members of an introspection's answer, that say what a token is for."""

_LOOSELY_SAYING = ("type", "tokenName", "purpose")
"""
What Flask-JWT-Extended, ForgeRock and Curity call it. Other servers use these names for something
else, so only the words in C{_LOOSE_PURPOSES} count.
"""

_LOOSE_PURPOSES = frozenset({"id", "refresh"})

_PLAIN = frozenset({"JWT", "at+jwt", "Bearer", "access"})
"""What most access tokens say, as they say it."""

_ACCESS = frozenset(
    {"jwt", "at+jwt", "at", "access", "bearer", "jws", "jose", "oktainternalat+jwt"}
)
"""What the C{typ} of a header may say, as words; the last is how Okta calls its own."""

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
_SEPARATORS = str.maketrans("", "", "_- ")


def other_purpose(header: Claims, claims: Claims) -> str | None:
    """
    Find out what else than access a token is for, by its header and its claims.

    The C{typ} of a header names one kind of token (RFC 8725 section 3.11), so any that is not known
    to mean access is another. Claims are less settled: of them only the known ones count.
    """
    typ = header.get("typ")
    if typ is not None and not (
        isinstance(typ, str) and (typ in _PLAIN or as_word(typ) in _ACCESS)
    ):
        return "one of another type"
    for name in _HASHES:
        if name in claims:
            return f"an ID token (`typ: ID`), as it has {name}"
    if isinstance(claims.get("events"), dict):
        return "a security event, as it has events"
    telling = _telling(claims)
    return None if telling is None else f"one of another {telling}"


def _telling(claims: Claims) -> str | None:
    """Name the claim that says something else than access, or is not a string."""
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
    Whether a token says somewhere that it is of a kind.

    Most ID tokens say so by their hashes alone, and so do the access tokens of Dex.
    """
    said = (header.get("typ"), *map(claims.get, _SAYING), *map(claims.get, _LOOSELY_SAYING))
    words = {as_word(each) for each in said if isinstance(each, str)}
    if not claims.keys().isdisjoint(_HASHES):
        words.add("id")
    return as_word(kind) in words


def _is_other(word: str) -> bool:
    return word in _OTHER_PURPOSES or ("+" in word and word not in _ACCESS)


def as_word(said: str) -> str:
    """Cut case, family (RFC 7515 section 4.1.9, RFC 8693 section 3) and C{token} off a type."""
    word = said.strip().lower().removeprefix("application/")
    word = word.removeprefix("urn:ietf:params:oauth:token-type:").translate(_SEPARATORS)
    return word.removesuffix("token")
