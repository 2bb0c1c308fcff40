"""Subject identifiers (RFC 9493): the users and sessions that a security event is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from authotron.model.naming import normalize

_LONGEST = 512
"""Maximum number of characters of one value of a subject identifier."""

_MOST_ALIASES = 16
"""Maximum number of identifiers in the format C{aliases}."""

_VALUES: Mapping[str, str] = {
    "account": "uri",
    "email": "email",
    "iss_sub": "sub",
    "opaque": "id",
    "phone_number": "phone_number",
    "did": "url",
    "uri": "uri",
}
"""The formats of RFC 9493 that name one subject, and the member that contains the name."""


class UnusableSubject(Exception):
    """A subject identifier is malformed; the message contains nothing of its values."""


@frozen
class Name:
    """
    One name of a user or of a session.

    @ivar form: the format of the subject identifier, such as C{email}.
    @ivar issuer: the issuer within which the name is unique; only the format C{iss_sub} states it.
    """

    form: str
    value: str
    issuer: str | None = None


@frozen
class Subject:
    """
    The subject of a security event.

    @ivar users: the names of one user.
    @ivar sessions: the names of one session of the user.
    @ivar others: whether the subject also has parts of other kinds, such as a device or a tenant,
        which narrow it further.
    """

    users: Sequence[Name] = ()
    sessions: Sequence[Name] = ()
    others: bool = False


def read(given: object) -> Subject:
    """
    Read a subject identifier; the format C{complex} of the Shared Signals Framework has parts.

    @raise UnusableSubject: the subject identifier is malformed, or in an unknown format.
    """
    members = _object(given)
    form = members.get("format", "complex" if "user" in members or "session" in members else None)
    if form != "complex":
        return Subject(_names(members))
    parts = {name for name, value in members.items() if name != "format" and value is not None}
    if not parts:
        raise UnusableSubject("the complex subject has no parts")
    users = _names(_object(members["user"])) if "user" in parts else ()
    sessions = _names(_object(members["session"])) if "session" in parts else ()
    return Subject(users, sessions, others=bool(parts - {"user", "session"}))


def _names(members: Mapping[str, Any]) -> tuple[Name, ...]:
    if members.get("format") == "aliases":
        listed = members.get("identifiers")
        if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_ALIASES:
            raise UnusableSubject(f"aliases needs a list of 1 to {_MOST_ALIASES} identifiers")
        # RFC 9493 section 3.2.8 forbids aliases inside of aliases.
        return tuple(_name(_object(each)) for each in listed)
    return (_name(members),)


def _name(members: Mapping[str, Any]) -> Name:
    form = members.get("format")
    if not isinstance(form, str) or form not in _VALUES:
        raise UnusableSubject("the format of the subject is missing or unknown")
    issuer = members.get("iss")
    if form == "iss_sub" and not isinstance(issuer, str):
        raise UnusableSubject("the subject has no iss")
    value = _text(members.get(_VALUES[form]), f"{_VALUES[form]} of the subject")
    return Name(form, value, issuer if form == "iss_sub" else None)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise UnusableSubject(f"{what} is not a printable string of up to {_LONGEST} characters")
    return normalize(value)


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UnusableSubject("the subject is not an object")
    return value


def of_logout(claims: Mapping[str, Any]) -> Subject:
    """
    Return the subject of a logout token: the claims C{sub} and C{sid} (OpenID Connect Back-Channel
    Logout 1.0 section 2.4).

    @raise UnusableSubject: both claims are missing, or one of them is malformed.
    """
    users, sessions = [*_logout_names(claims, "sub")], [*_logout_names(claims, "sid")]
    if not (users or sessions):
        raise UnusableSubject("the logout token has neither sub nor sid")
    return Subject(tuple(users), tuple(sessions))


def _logout_names(claims: Mapping[str, Any], claim: str) -> Iterator[Name]:
    if claims.get(claim) is not None:
        value = _text(claims[claim], claim)
        yield Name("iss_sub", value, claims["iss"]) if claim == "sub" else Name("opaque", value)
