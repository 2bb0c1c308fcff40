"""
Which parts of a request carry credentials, by the key C{credentials} of providers and token store.

Every protocol by which a request arrives reads the same parts here, so all of them find the same
credential.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import unquote_plus

from attrs import frozen

from authotron.gateway import credentials
from authotron.model.carriers import Carrier
from authotron.model.errors import BadCarrier, Flaw, UnusableFact
from authotron.model.identity import Client, Credential
from authotron.model.naming import fold_ascii_case
from authotron.model.request import Facts, Presented

_KINDS = ("header", "query", "cookie")
"""
The kinds of carriers whose credential stands alone, in the order in which they count: what a client
sends by itself stands before the cookies that a browser adds.
"""

_AMBIGUOUS = b","
"""The value of a carrier that occurs several times; a credential never has a comma."""

Header = Callable[[bytes], bytes | None]
"""
A function that returns the value of the header with a name in lower case, or C{None} if there is no
such header; the values of several headers are joined by commas.
"""

_Source = tuple[str, str]
"""Kind and name of what is read of a request; several carriers may share a header."""


@frozen
class Judge:
    """
    A provider, or the token store, and where its credentials stand.

    @ivar realm: the realm of the provider, or C{None} if it judges credentials of all realms.
    @ivar carriers: the carriers of its credentials; C{None} is the header C{Authorization}.
    """

    name: str
    scheme: str
    realm: str | None
    carriers: Sequence[Carrier | None]


class _Carried:
    """A carrier whose credential stands alone, with the providers that look for it there."""

    def __init__(self, carrier: Carrier, place: int, judges: Sequence[Judge]) -> None:
        """@param place: the position of the value in L{Presented.others}."""
        self.carrier = carrier
        self.place = place
        self.scheme = judges[0].scheme
        self._realms = {each.realm and fold_ascii_case(each.realm) for each in judges}

    def is_of(self, realm: bytes | None) -> bool:
        """Whether a provider of a realm looks here; C{None} stands for any realm."""
        return realm is None or realm in self._realms or None in self._realms

    def text(self, presented: Presented) -> str:
        """
        Return the credential, or an empty string if there is none.

        @raise BadCarrier: the value cannot be one credential.
        """
        found = (presented.others[self.place] or b"").strip(b" \t")
        if not found:
            return ""
        text = found.decode("latin-1")
        if not (text.isascii() and text.isprintable()) or "," in text:
            raise BadCarrier(f"{self.carrier} stands twice, or has a character that is not allowed")
        words = text.split()
        if self.carrier.scheme and words.pop(0).lower() != self.carrier.scheme:
            return ""
        if len(words) != 1:
            raise BadCarrier(f"{self.carrier} has more or less than one word")
        return words[0]

    def canonical(self, text: str) -> bytes:
        """Return the value that all spellings of a credential share."""
        scheme = self.carrier.scheme
        return (f"{scheme} {text}" if scheme else text).encode("ascii")


class Carriers:
    """
    The carriers of credentials that a configuration names.

    @ivar reads_query: whether a parameter of the query carries credentials.
    @ivar halves: the halves of Basic credentials that may be tokens.
    """

    def __init__(self, judges: Sequence[Judge] = ()) -> None:
        """@param judges: all providers, and the token store if it is enabled."""
        by_carrier: dict[Carrier, list[Judge]] = {}
        for judge in judges:
            for carrier in judge.carriers:
                if carrier is not None:
                    by_carrier.setdefault(carrier, []).append(judge)
        self.halves = tuple(each for each in by_carrier if each.kind == "basic")
        alone = [each for each in by_carrier if each.kind != "basic"]
        # A header whose first word is a scheme is tried before one without a scheme.
        alone.sort(key=lambda each: (_KINDS.index(each.kind), not each.scheme))
        self._sources: tuple[_Source, ...] = tuple(
            dict.fromkeys((each.kind, each.name) for each in alone)
        )
        self._nothing: tuple[bytes | None, ...] = (None,) * len(self._sources)
        self._carried = tuple(
            _Carried(each, self._sources.index((each.kind, each.name)), by_carrier[each])
            for each in alone
        )
        self.reads_query = any(kind == "query" for kind, _ in self._sources)

    def __bool__(self) -> bool:
        """Whether anything but the header C{Authorization} is read."""
        return bool(self._sources)

    def of_question(self, header: Header, facts: Facts | None = None) -> tuple[bytes | None, ...]:
        """
        Return the values of all carriers in the question of a proxy, as L{Presented.others} has
        them.

        @param facts: the facts of the client's request; C{None} if its query is not to be read.
        """
        if not self._sources:
            return ()
        read: dict[str, Callable[[str], bytes | None]] = {
            "header": lambda name: header(name.encode()),
            "cookie": lambda name: _cookie(header(b"cookie"), name.encode()),
            "query": lambda name: _parameter(facts, name),
        }
        return self._unless_empty(tuple(read[kind](name) for kind, name in self._sources))

    def of_client(self, header: Header) -> tuple[bytes | None, ...]:
        """
        Return the values of all carriers in a request that a client makes to the gateway itself.

        Cookies do not count here: browsers add them to requests that pages of other sites make, and
        such a page must not make or revoke API tokens.
        """
        found = tuple(
            header(name.encode()) if kind == "header" else None for kind, name in self._sources
        )
        return self._unless_empty(found)

    def _unless_empty(self, found: tuple[bytes | None, ...]) -> tuple[bytes | None, ...]:
        return () if found == self._nothing else found

    def read(
        self, presented: Presented, client: Client
    ) -> tuple[Presented, tuple[Credential, ...]]:
        """
        Return the part of what a client presents that decides, in its canonical spelling, and the
        credentials in it; without a credential the tuple is empty.

        The first carrier that has a value decides, and the header C{Authorization} belongs to the
        backend then. If no carrier has one, C{Authorization} decides. If the client asks for a
        realm, the carriers of its providers come first, and then C{Authorization}.

        @raise BadCredentials: what decides is malformed.
        """
        text = credentials.header_text(presented)
        wanted = credentials.realm_filter(presented)
        realm = None if wanted is None else fold_ascii_case(wanted)
        for carried in sorted(self._carried, key=lambda each: not each.is_of(realm)):
            if text and not carried.is_of(realm):
                break
            value = carried.text(presented)
            if value:
                others = [*self._nothing]
                others[carried.place] = carried.canonical(value)
                found = Credential(carried.scheme, value, client, carried.carrier)
                return Presented(None, realm, tuple(others)), (found,)
        rest = presented._replace(others=())
        if not text:
            return rest, ()
        several = credentials.parse(text, client)
        return credentials.canonical(rest, several), several


NO_CARRIERS = Carriers()
"""The carriers of a configuration in which all credentials stand in C{Authorization}."""


def _cookie(header: bytes | None, name: bytes) -> bytes | None:
    """
    Return the value of a cookie, or C{None} if there is no such cookie.

    Some proxies join several headers C{Cookie} by commas. Backends do not agree which of several
    cookies of one name counts, nor where a cookie beside a comma ends, so both are ambiguous.
    """
    if header is None or name not in header:
        return None
    found: list[bytes] = []
    for pair in header.split(b";"):
        first, *joined = pair.split(b",")
        if any(_is_named(each, name) for each in joined):
            return _AMBIGUOUS
        if _is_named(first, name):
            found.append(_AMBIGUOUS if joined else first.partition(b"=")[2].strip(b" \t"))
    return found[0] if len(found) == 1 else _AMBIGUOUS if found else None


def _is_named(pair: bytes, name: bytes) -> bool:
    found, equals, _ = pair.partition(b"=")
    return bool(equals) and found.strip(b" \t") == name


def _parameter(facts: Facts | None, name: str) -> bytes | None:
    """Return the value of a parameter of the query, or C{None} if there is no such parameter."""
    try:
        text = None if facts is None else facts.query
    except UnusableFact as unusable:
        # Without a trusted proxy that states the query there is no parameter; a query that is
        # stated twice or malformed is no reason to use another credential.
        return None if unusable.flaw in (Flaw.MISSING, Flaw.UNTRUSTED) else _AMBIGUOUS
    pairs = (each.partition("=") for each in (text or "").split("&"))
    found = [value for key, _, value in pairs if unquote_plus(key) == name]
    if len(found) > 1:
        return _AMBIGUOUS
    return unquote_plus(found[0], errors="replace").encode("utf-8", "replace") if found else None
