"""Values about clients: the credential that a client sends, and the identity that it proves."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from attrs import define, field, frozen

from authotron.model.errors import Rejected
from authotron.model.naming import normalized

_NONE: Mapping[str, NoReturn] = MappingProxyType({})
"""What nobody has said anything about; it cannot be changed, so all may have the same."""


Client = Callable[[], str | None] | str | None
"""The address of a client, or a function that finds it out: few providers ask for it."""


@define(unsafe_hash=True)
class Credential:
    """
    One C{scheme value} pair of an C{Authorization} header.

    A value, of which nothing but C{seen} changes. It is not frozen because one is made for each
    request that is not remembered: that takes a third of the time.

    @ivar seen: what C{bearer.seen} found in it, once that was asked for; False before.
    @param client: the address of the client that sent it, or what finds the address out.
    """

    scheme: str
    value: str = field(repr=False)
    _client: Client = field(default=None, eq=False, repr=False)
    seen: object = field(default=False, init=False, eq=False, repr=False)

    @property
    def client(self) -> str | None:
        """
        The address of the client, if it is known or trusted proxies name it.

        It shares out what is scarce, and decides nothing else.
        """
        return self._client() if callable(self._client) else self._client

    def username_and_password(self) -> tuple[str, str]:
        """
        The two halves of a Basic credential (RFC 7617 section 2).

        The name is in Normalization Form C, so that its spellings are one user to every provider.
        The password is as the client sent it.

        @raise Rejected: it is not canonical base64 of UTF-8 with a colon, or names nobody.
        """
        try:
            raw = a2b_base64(self.value, strict_mode=True)
            text = raw.decode("utf-8")
        except ValueError:  # which binascii.Error is, too
            raise Rejected("not base64 of UTF-8") from None
        if b2a_base64(raw, newline=False).decode("ascii") != self.value:
            raise Rejected("not canonical base64")
        username, colon, password = text.partition(":")
        if not (colon and username):
            raise Rejected("no user name, or no password")
        return normalized(username), password


class Identity(NamedTuple):
    """
    Who a client is: a user of a realm, and what is known about the user.

    A tuple, because several are made for each request that is not remembered: a frozen class with
    as many fields takes three times as long. All fields count when two identities are compared.

    @ivar scopes: what the user may do, by the service it concerns.
    """

    realm: str
    username: str
    roles: tuple[str, ...] = ()
    attributes: Mapping[str, str] = _NONE
    scopes: Mapping[str, tuple[str, ...]] = _NONE

    def enriched(self, roles: tuple[str, ...], attributes: Mapping[str, str]) -> Identity:
        """Return the identity with further roles and attributes; none are removed."""
        if not roles and not attributes:
            return self
        realm, username, known, before, scopes = self
        if attributes:
            before = {**before, **attributes} if before else attributes
        return Identity(realm, username, (*known, *roles), before, scopes)


@frozen
class Addition:
    """What an augmenter knows about an identity, and until when."""

    roles: tuple[str, ...] = ()
    attributes: Mapping[str, str] = _NONE
    fresh_until: float | None = None


NOTHING_NEW = Addition()
"""What an augmenter says of somebody it knows nothing about."""


def earliest(first: float | None, *others: float | None) -> float | None:
    """The first of those that are set."""
    for moment in others:
        if first is None or (moment is not None and moment < first):
            first = moment
    return first


_MOST_DIGITS = 15
_SIGNED = re.compile(r"[+-]?0*([0-9]+)")


def whole_number(text: str) -> float | None:
    """Read seconds since the epoch; C{None} for a moment too late to matter or another string."""
    if len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit():
        return float(text)
    found = _SIGNED.fullmatch(text)
    if found is None:
        return None
    if text.startswith("-"):
        return -float(found[1][:_MOST_DIGITS])
    return float(found[1]) if len(found[1]) <= _MOST_DIGITS else None
