"""The values everything speaks about: a credential, and who it turned out to belong to."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, NoReturn, Protocol

from attrs import define, field, frozen

from authotron.model.errors import Rejected
from authotron.model.naming import normalized
from authotron.model.request import Condition, RequestContext

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


class Restriction(Protocol):
    """What a credential leaves of the one it stands for."""

    def cut(self, identity: Identity, /) -> Identity:
        """The same person with what is left; nothing is ever added."""


class Identity(NamedTuple):
    """
    Who the client turned out to be.

    A tuple, as several are made for each request that nobody has seen before: a frozen class of
    as many fields takes three times as long. All fields count when two are compared.

    @ivar scopes: what may be done, by the service it may be done to.
    @ivar expires: seconds since the epoch at which the credential itself ends, if it does.
    @ivar fresh_until: until when this may be believed without asking again; C{None} if nobody
        set a limit.
    @ivar conditions: limits to hold against each request, even one whose verdict is remembered.
    @ivar narrowing: what to leave of roles and scopes once the augmenters have had their say.
    @ivar provider: the name of the provider who said so.
    @ivar bare: the same before augmenters and narrowing, if these changed anything; for who makes
        a lasting note of it.
    """

    realm: str
    username: str
    roles: tuple[str, ...] = ()
    attributes: Mapping[str, str] = _NONE
    scopes: Mapping[str, tuple[str, ...]] = _NONE
    expires: float | None = None
    fresh_until: float | None = None
    conditions: tuple[Condition, ...] = ()
    narrowing: Restriction | None = None
    provider: str = ""
    bare: Identity | None = None

    def enriched(self, addition: Addition) -> Identity:
        """The same person with further roles and attributes; none are ever taken away."""
        more, added, until = addition.roles, addition.attributes, addition.fresh_until
        if not more and not added and until is None:
            return self
        realm, username, roles, attributes, scopes, expires, fresh_until = self[:7]
        if added:
            if "exp" in added:  # the one that it replaces goes on to count
                expires = self.ends()
            attributes = {**attributes, **added} if attributes else added
        return Identity(  # C{_replace} takes half as long again, for every augmenter
            realm,
            username,
            (*roles, *more),
            attributes,
            scopes,
            expires,
            fresh_until if until is None else earliest(fresh_until, until),
            self.conditions,
            self.narrowing,
            self.provider,
            self.bare or self,
        )

    def narrowed(self) -> Identity:
        """The same person with what the credential leaves."""
        if self.narrowing is None:
            return self
        left = self.narrowing.cut(self)
        return self if left is self else left._replace(bare=self.bare or self)

    def allows(self, circumstances: RequestContext) -> bool:
        """
        Whether every condition holds for a request made like this.

        @raise Unstated: a condition depends on what the request does not say.
        """
        return all(condition.holds(circumstances) for condition in self.conditions)

    def ends(self) -> float | None:
        """
        When a token for this identity must end: the credential's expiry or the C{exp} attribute.

        The attribute can only shorten a life. One that is not a whole number is ignored; a negative
        one has passed.
        """
        said = self.attributes.get("exp")
        return self.expires if said is None else earliest(self.expires, _whole_number(said))


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


def _whole_number(text: str) -> float | None:
    """Seconds since the epoch; C{None} for later moments than matter, and for other texts."""
    if len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit():
        return float(text)
    found = _SIGNED.fullmatch(text)
    if found is None:
        return None
    if text.startswith("-"):
        return -float(found[1][:_MOST_DIGITS])
    return float(found[1]) if len(found[1]) <= _MOST_DIGITS else None
