"""The operations on one LDAP connection: StartTLS, bind, search, and read."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define
from twisted.internet.interfaces import ITLSTransport

from authotron.ldap import decoding, encoding, ranges
from authotron.ldap.decoding import DecodingError, Entry, Result
from authotron.ldap.encoding import BASE, Search
from authotron.ldap.protocol import MAX_BYTES, LdapProtocol
from authotron.ldap.results import (
    BUSY,
    NO_SUCH_OBJECT,
    SIZE_LIMIT,
    STALE,
    SUCCESS,
    ConnectionStale,
    ServerBusy,
    ServerFault,
    describe,
)
from authotron.model.errors import Unavailable
from authotron.net.tls import Handshake

_PAGE_SIZE, _MAX_PAGES = 500, 1_000
"""
Number of entries that are requested for each page of a large search, and the maximum number of
pages.
"""

_ROOT = Search("", encoding.present("objectClass"), ("1.1",), limit=1, scope=BASE)
"""A search for the root entry (RFC 4512 section 5.1), which every server answers."""


@define(eq=False)
class Connection(LdapProtocol):
    """A connection to one LDAP server."""

    async def ping(self) -> None:
        """
        Send a request and wait for the answer: the server is then reachable and verified.

        @raise ServerFault: the server did not answer.
        """
        await self.request(encoding.search(_ROOT, self._timeout), most=1)

    async def start_tls(self, handshake: Handshake) -> None:
        """
        Switch the connection to TLS, and wait until the server's certificate is verified.

        @raise ServerFault: the server refuses StartTLS, or its certificate is not trusted.
        """
        result, _ = await self.request(encoding.start_tls())
        if result.code != SUCCESS:
            raise ServerFault(f"the server refused StartTLS: {describe(result)}")
        if self._reader.has_data() or self.closed_reason is not None:
            raise ServerFault("the server sent data in clear after its answer to StartTLS")
        self._handshake = handshake
        ITLSTransport(self.transport).startTLS(handshake)
        await self._tls_ready

    async def bind(
        self, dn: str, password: str, controls: Mapping[str, bytes | None] | None = None
    ) -> Result:
        """
        Send a simple bind and return its result, which may be a refusal.

        @raise Unavailable: the server did not return a result of the bind.
        """
        if not (dn and password):  # RFC 4513 section 5.1.2: an empty password binds as anonymous
            raise ValueError("a bind needs a DN and a password")
        return await self._bind(dn, password, controls)

    async def bind_anonymous(self, password: str = "") -> Result:
        """
        Send a bind without a name (RFC 4513 section 5.1.1) and return its result.

        @param password: a password that is sent without a name, which most servers reject.
        @raise Unavailable: the server did not return a result of the bind.
        """
        return await self._bind("", password)

    async def _bind(
        self, dn: str, password: str, controls: Mapping[str, bytes | None] | None = None
    ) -> Result:
        result, _ = await self.request(encoding.bind(dn, password), controls)
        return result

    async def who_am_i(self) -> str | None:
        """
        Return the name that the server gives to the bound account, or C{None} if the server gives
        no name.

        The answer to Who am I? is C{dn:} with a DN, C{u:} with another name, or empty for an
        anonymous connection (RFC 4532).

        @raise ServerFault: the server did not answer.
        """
        result, _ = await self.request(encoding.who_am_i())
        if result.code != SUCCESS:
            return None
        return result.value.decode("utf-8", "replace")

    async def search(self, query: Search) -> list[Entry]:
        """
        Return the entries that match a search, at most C{query.limit}; the entries of a large
        search are read page by page.

        @raise Unavailable: the search failed, or its result is incomplete.
        """
        found: list[Entry] = []
        cookie, size = b"", 0
        paged = query.limit > _PAGE_SIZE
        for _ in range(_MAX_PAGES):
            controls = {decoding.PAGED_RESULTS: encoding.page(_PAGE_SIZE, cookie)} if paged else {}
            operation = encoding.search(query, self._timeout)
            result, entries = await self.request(operation, controls, most=query.limit)
            found += entries
            size += sum(map(_size, entries))
            if result.code == NO_SUCH_OBJECT and query.scope == BASE:
                return []
            if len(found) >= query.limit and result.code in (SUCCESS, SIZE_LIMIT):
                return found[: query.limit]
            if result.code != SUCCESS:
                why = f"the search below {query.base!r} failed: {describe(result)}"
                raise _search_error(result.code)(why)
            previous, cookie = cookie, _page_cookie(result)
            if not (paged and cookie):
                return found
            if size > MAX_BYTES or (cookie == previous and not entries):
                break
        raise Unavailable(f"the search below {query.base!r} returns too many pages")

    async def read_all_values(self, entry: Entry, attribute: str) -> Entry:
        """
        Return a copy of the entry with all values of an attribute.

        If the server returned only the first range of the values, the further ranges are requested.

        @raise Unavailable: the server does not return all values.
        """
        return await ranges.read_all_values(self.read, entry, attribute, MAX_BYTES)

    async def read(self, dn: str, attributes: tuple[str, ...]) -> Entry | None:
        """
        Read attributes of the entry with this DN; return C{None} if the entry does not exist.

        @raise Unavailable: the server failed to read the entry.
        """
        anything = encoding.present("objectClass")
        found = await self.search(Search(dn, anything, attributes, limit=1, scope=BASE))
        return found[0] if found else None


def _search_error(code: int) -> type[Unavailable]:
    if code in BUSY:
        return ServerBusy
    return ConnectionStale if code in STALE else Unavailable


def _page_cookie(result: Result) -> bytes:
    try:
        return decoding.page_cookie(result.controls)
    except DecodingError as error:
        raise Unavailable(f"the search failed: {error}") from None


def _size(entry: Entry) -> int:
    return len(entry.dn) + sum(len(each) for some in entry.attributes.values() for each in some)
