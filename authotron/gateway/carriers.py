"""
Finds out which parts of a request carry credentials, by the key C{credentials} of providers and of
the token store.

Every protocol by which a request arrives reads the credentials by this module, so all protocols
find the same credential.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from authotron.gateway import credentials
from authotron.gateway.carried_values import Header, HeaderReader, reader
from authotron.model.carriers import Carrier
from authotron.model.errors import BadCarrier
from authotron.model.identity import Client, Credential
from authotron.model.naming import fold_ascii_case
from authotron.model.request import Facts, Presented

_KINDS = ("header", "query", "cookie", "certificate")
"""
The kinds of carriers (parts of a request) that contain a whole credential, in the order in which
they count: headers and parameters, which a client sends itself, come before the cookies that a
browser adds, and before the TLS certificate, which belongs to the connection of the client.
"""

_STATED = ("query", "certificate")
"""
The kinds of carriers (parts of a request) whose credential counts only if a trusted proxy states
the part.
"""


@frozen
class Judge:
    """
    A provider, or the token store, with the parts of a request in which it looks for credentials.

    @ivar realm: the realm of the provider, or C{None} if the provider judges credentials of all
        realms.
    @ivar carriers: the parts of a request that carry credentials for the provider; it contains
        C{None} for the header C{Authorization}.
    """

    name: str
    scheme: str
    realm: str | None
    carriers: Sequence[Carrier | None]


class _Carried:
    """
    A part of a request that contains a whole credential, with the providers that look for
    credentials in it.
    """

    def __init__(self, carrier: Carrier, place: int, judges: Sequence[Judge]) -> None:
        """@param place: the position of the part's value in L{Presented.others}."""
        self.carrier = carrier
        self.place = place
        self.scheme = judges[0].scheme
        self._realms = _realms(judges)

    @property
    def is_ambient(self) -> bool:
        """
        Whether the client presents the credential of this carrier with all of its requests (as with
        a TLS certificate). Then a credential that the client adds to a request takes precedence.
        """
        return self.carrier.kind == "certificate"

    def is_of(self, realm: bytes | None) -> bool:
        """
        Whether a provider of a given realm looks for credentials in this part of a request; the
        realm C{None} stands for any realm.
        """
        return _includes(self._realms, realm)

    def text(self, presented: Presented) -> str:
        """
        Return the credential that this part of a request carries, or an empty string if it carries
        none.

        @raise BadCarrier: the value of the part cannot be one credential.
        """
        found = (presented.others[self.place] or b"").strip(b" \t")
        if not found:
            return ""
        text = found.decode("latin-1")
        if not (text.isascii() and text.isprintable()) or "," in text:
            if self.is_ambient:
                raise BadCarrier(f"{self.carrier} is stated twice, too long or malformed")
            raise BadCarrier(f"{self.carrier} stands twice, or has a character that is not allowed")
        words = text.split()
        if self.carrier.scheme and words.pop(0).lower() != self.carrier.scheme:
            return ""
        if len(words) != 1:
            raise BadCarrier(f"{self.carrier} has more or less than one word")
        return words[0]

    def canonical(self, text: str) -> bytes:
        """Return the canonical spelling of a credential, which all of its spellings share."""
        scheme = self.carrier.scheme
        return (f"{scheme} {text}" if scheme else text).encode("ascii")


def _realms(judges: Sequence[Judge]) -> set[bytes | None]:
    """Return the realms of providers; The realm C{None} stands for a provider of all realms."""
    return {None if each.realm is None else fold_ascii_case(each.realm) for each in judges}


def _includes(realms: set[bytes | None], realm: bytes | None) -> bool:
    """Return whether there is a provider of a realm; the realm C{None} stands for any realm."""
    return bool(realms) and (realm is None or realm in realms or None in realms)


class Carriers:
    """
    The parts of a request that carry credentials according to a configuration.

    @ivar reads_facts: whether some credentials are in a part of the request that a trusted proxy
        must state: a query parameter, or the TLS certificate of the client.
    """

    def __init__(self, judges: Sequence[Judge] = ()) -> None:
        """@param judges: all providers, and the token store if it is enabled."""
        by_carrier: dict[Carrier, list[Judge]] = {}
        for judge in judges:
            for carrier in judge.carriers:
                if carrier is not None:
                    by_carrier.setdefault(carrier, []).append(judge)
        alone = [each for each in by_carrier if each.kind != "basic"]
        # A header whose first word is a scheme is tried before one without a scheme.
        alone.sort(key=lambda each: (_KINDS.index(each.kind), not each.scheme))
        sources = [*dict.fromkeys((each.kind, each.name) for each in alone)]
        self._nothing: tuple[bytes | None, ...] = (None,) * len(sources)
        self._readers = [reader(*each) for each in sources]
        self._carried = [
            _Carried(each, sources.index((each.kind, each.name)), by_carrier[each])
            for each in alone
        ]
        self._authorization = _realms([each for each in judges if None in each.carriers])
        self.reads_facts = any(kind in _STATED for kind, _ in sources)

    def __bool__(self) -> bool:
        """Whether any part of a request other than the header C{Authorization} is read."""
        return bool(self._readers)

    def of_question(self, header: Header, facts: Facts | None = None) -> tuple[bytes | None, ...]:
        """
        Return the values of all parts of a proxy's request that carry credentials, in the order of
        L{Presented.others}.

        @param facts: the facts of the client's request, among them the query, or C{None} if no
            fact is to be read.
        """
        return self._unless_empty(tuple([each.read(header, facts) for each in self._readers]))

    def of_client(self, header: Header) -> tuple[bytes | None, ...]:
        """
        Return the values of all parts that carry credentials in a request that a client makes to
        the gateway itself.

        This method reads neither cookies nor certificates: browsers add both to requests that pages
        of other sites make, and such a page must not make or revoke API tokens.
        """
        found = [
            each.read(header, None) if isinstance(each, HeaderReader) else None
            for each in self._readers
        ]
        return self._unless_empty(tuple(found))

    def _unless_empty(self, found: tuple[bytes | None, ...]) -> tuple[bytes | None, ...]:
        return () if found == self._nothing else found

    def read(
        self, presented: Presented, client: Client
    ) -> tuple[Presented, tuple[Credential, ...]]:
        """
        Return, in canonical spelling, the part of a request by which the client is authenticated,
        and the credentials in that part; without a credential the tuple is empty.

        The first part of the request that has a value decides, and the header C{Authorization} then
        belongs to the backend. If no such part has a value, the header C{Authorization} decides. If
        the client asks for a realm, the parts in which the providers of this realm look come first,
        and then C{Authorization}. The TLS certificate counts only if no other part of the request
        contains a credential. The header C{Authorization} matters only if a provider looks for
        credentials there.

        @raise BadCredentials: the part of the request that decides is malformed.
        """
        text = credentials.header_text(presented)
        wanted = credentials.realm_filter(presented)
        realm = None if wanted is None else fold_ascii_case(wanted)
        for carried in sorted(self._carried, key=lambda each: not each.is_of(realm)):
            if text and not carried.is_of(realm):
                break
            if text and carried.is_ambient and _includes(self._authorization, realm):
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
"""The carriers of a configuration in which all credentials are in the header C{Authorization}."""
