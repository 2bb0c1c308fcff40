"""The credential that a client sends, and the identity of the user that the credential proves."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from attrs import define, field, frozen

from authotron.model.carriers import Carrier
from authotron.model.errors import Rejected
from authotron.model.naming import normalize

_NONE: Mapping[str, NoReturn] = MappingProxyType({})
"""An empty mapping that cannot be changed, so that all identities may share it."""


Client = Callable[[], str | None] | str | None
"""The address of a client, or a function that finds the address only when a provider needs it."""


@define(unsafe_hash=True)
class Credential:
    """
    What a client presents to prove its identity: usually one C{scheme value} pair of the header
    C{Authorization}.

    After a credential is created, only its attribute C{seen} may change. The class is not frozen,
    because a credential is made for each request whose decision is not cached, and creating an
    object of a frozen class takes three times as long.

    @ivar seen: the result of C{jose.unverified.parse_once} for this credential, or False until that
        function is called.
    @ivar carrier: the part of the request that carried the credential, or C{None} for the header
        C{Authorization}.
    @param client: the address of the client, or a function that returns the address.
    """

    scheme: str
    value: str = field(repr=False)
    _client: Client = field(default=None, eq=False, repr=False)
    carrier: Carrier | None = None
    seen: object = field(default=False, init=False, eq=False, repr=False)

    @property
    def client(self) -> str | None:
        """
        The address of the client, if known; behind trusted proxies the address that the proxies
        forward.

        Only queues and limits use this address, to tell clients apart; the networks of an API token
        are compared with the address in the L{Facts} of the request.
        """
        return self._client() if callable(self._client) else self._client

    def username_and_password(self) -> tuple[str, str]:
        """
        Return user name and password of a Basic credential (RFC 7617 section 2).

        The user name is in Unicode Normalization Form C, so that all its spellings are one user to
        every provider. The password is returned as the client sent it.

        @raise Rejected: the value is not canonical base64 of UTF-8 with a colon, or the user name
            is empty.
        """
        username, colon, password = self._decoded().partition(":")
        if not (colon and username):
            raise Rejected("the Basic credential has no user name, or no colon")
        return normalize(username), password

    def half(self, carrier: Carrier) -> Credential | None:
        """
        Return the bearer token that one half of a Basic credential contains, or C{None} if there is
        none.
        """
        try:
            username, _, password = self._decoded().partition(":")
        except Rejected:
            return None
        value = username if carrier.name == "username" else password
        if not value or not value.isascii() or not value.isprintable() or set(value) & {" ", ","}:
            return None
        return Credential("bearer", value, self._client, carrier)

    def _decoded(self) -> str:
        """
        Return the user name and the password of a Basic credential as one string, with a colon
        between them.

        @raise Rejected: the value is not canonical base64 of UTF-8.
        """
        try:
            raw = a2b_base64(self.value, strict_mode=True)
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Rejected(
                "user name and password are not UTF-8; the client sends another encoding, such as "
                "ISO-8859-1 (see auth.challenge_charset)"
            ) from None
        except ValueError:  # binascii.Error is a ValueError
            raise Rejected("the Basic credential is not base64") from None
        if b2a_base64(raw, newline=False).decode("ascii") != self.value:
            raise Rejected("the Basic credential is not canonical base64")
        return text


class Identity(NamedTuple):
    """
    A user of a realm, with the roles, attributes and scopes of the user.

    The class is a named tuple, because several identities are made for each request whose decision
    is not cached, and a frozen class with as many fields takes three times as long to create. Two
    identities are equal only if all their fields are equal.

    @ivar scopes: what the user may do, by the name of the service.
    """

    realm: str
    username: str
    roles: tuple[str, ...] = ()
    attributes: Mapping[str, str] = _NONE
    scopes: Mapping[str, tuple[str, ...]] = _NONE

    def enriched(self, roles: tuple[str, ...], attributes: Mapping[str, str]) -> Identity:
        """
        Return the identity with additional roles and attributes; no role or
        attribute is removed.
        """
        if not roles and not attributes:
            return self
        realm, username, known, before, scopes = self
        if attributes:
            before = {**before, **attributes} if before else attributes
        # A call of the constructor would take 0.2 us longer.
        return tuple.__new__(Identity, (realm, username, (*known, *roles), before, scopes))


@frozen
class Addition:
    """
    Roles and attributes that an augmenter adds to an identity, and the time until which they may be
    cached.
    """

    roles: tuple[str, ...] = ()
    attributes: Mapping[str, str] = _NONE
    fresh_until: float | None = None


NOTHING_NEW = Addition()
"""The answer of an augmenter that adds nothing to an identity."""


def earliest(first: float | None, *others: float | None) -> float | None:
    """Return the earliest of several times, where C{None} means that a time is not set."""
    for moment in others:
        if first is None or (moment is not None and moment < first):
            first = moment
    return first


_MOST_DIGITS = 15
_SIGNED = re.compile(r"[+-]?0*([0-9]+)")


def whole_number(text: str) -> float | None:
    """
    Parse whole seconds since the epoch; return C{None} for a string that is not a number or has
    more than 15 digits.
    """
    if len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit():
        return float(text)
    found = _SIGNED.fullmatch(text)
    if found is None:
        return None
    if text.startswith("-"):
        return -float(found[1][:_MOST_DIGITS])
    return float(found[1]) if len(found[1]) <= _MOST_DIGITS else None
