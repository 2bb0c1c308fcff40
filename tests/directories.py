"""An LDAP server in memory, with transports that need no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen
from ldaptor.protocols import pureber, pureldap
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.net.world import World
from authotron.testing import worlds

Entry = Mapping[str, Sequence[str | bytes]]
"""The attributes of an entry."""

GATE = ("cn=gate,dc=example,dc=org", "gate-secret")
BASE = "dc=example,dc=org"
SECTION = {
    "type": "ldap",
    "name": "it",
    "realm": "here",
    "uri": "ldap://localhost",
    "bind_dn": GATE[0],
    "ldap_password": GATE[1],
    "search_base": BASE,
}
"""The configuration of an LDAP provider or augmenter that uses a L{Server}."""

_CONTEXT = pureldap.LDAPBERDecoderContext_TopLevel(
    inherit=pureldap.LDAPBERDecoderContext_LDAPMessage(
        fallback=pureldap.LDAPBERDecoderContext(fallback=pureber.BERDecoderContext()),
        inherit=pureldap.LDAPBERDecoderContext(fallback=pureber.BERDecoderContext()),
    )
)


@frozen
class Asked:
    """A search as the server decoded it."""

    base: str
    filter: str
    attributes: tuple[str, ...]


@define(eq=False)
class Server:
    """
    One LDAP server.

    @ivar entries: attributes of each entry, by DN.
    @ivar passwords: passwords by DN.
    @ivar refusals: result code and message of the bind, by DN, instead of the usual ones.
    @ivar controls: controls that are sent with the results of binds.
    @ivar limit: maximum number of values of one attribute in an answer.
    @ivar page: maximum number of entries on a page, for paged searches.
    @ivar silent: whether the server never answers.
    @ivar hangs_up: whether the server closes the connection at every search.
    @ivar plain: whether the server refuses binds that carry a control.
    @ivar endless: if set, every page has so many entries and announces another page.
    @ivar second_range: the name of the second range of values; if empty, the range is not sent.
    @ivar deaf: whether the server ignores an unbind.
    @ivar whoami: what the server calls an account that is bound, by the name of the bind; if
        empty, the server does not know the operation.
    @ivar early: data that is sent in clear after a positive answer to StartTLS.
    @ivar down: whether the server refuses connections.
    @ivar base_result: result code of reading an entry that does not exist.
    @ivar results: result codes of searches, by connection.
    @ivar aliases: DNs by other spellings.
    """

    entries: dict[str, dict[str, list[str]]] = field(factory=dict)
    passwords: dict[str, str] = field(factory=lambda: dict([GATE]))
    refusals: dict[str, tuple[int, str]] = field(factory=dict)
    controls: Sequence[tuple[str, None, bytes]] = ()
    limit: int | None = None
    page: int | None = None
    silent: bool = False
    hangs_up: bool = False
    plain: bool = False
    endless: int | None = None
    second_range: str | None = None
    deaf: bool = False
    whoami: dict[str, str] = field(factory=dict)
    early: bytes | None = None
    down: bool = False
    result: int = 0
    base_result: int = 32
    results: dict[Transport, int] = field(factory=dict)
    aliases: dict[str, str] = field(factory=dict)
    asked: list[Asked] = field(factory=list)
    binds: list[str] = field(factory=list)
    transports: list[Transport] = field(factory=list)

    @property
    def open(self) -> list[Transport]:
        """The open connections."""
        return [each for each in self.transports if not each.gone]

    def hang_up(self) -> None:
        """Close every connection."""
        for each in self.open:
            each.lose(error.ConnectionLost())

    def received(self, transport: Transport, data: bytes) -> None:
        transport.said += data
        if self.silent:
            return
        while transport.said:
            try:
                message, size = pureber.berDecodeObject(_CONTEXT, bytes(transport.said))
            except pureber.BERExceptionInsufficientData:
                return
            del transport.said[:size]
            if transport.gone:
                return
            self._answer(transport, message)

    def _answer(self, transport: Transport, message: Any) -> None:
        request = message.value
        if isinstance(request, pureldap.LDAPBindRequest):
            self._bind(transport, message)
        elif isinstance(request, pureldap.LDAPSearchRequest):
            if self.hangs_up:
                transport.lose(error.ConnectionLost())
            else:
                self._search(transport, message)
        elif isinstance(request, pureldap.LDAPExtendedRequest):
            if request.requestName == b"1.3.6.1.4.1.4203.1.11.3":
                self._who_am_i(transport, message.id)
            else:
                self._start_tls(transport, message.id)

    def _who_am_i(self, transport: Transport, number: int) -> None:
        known = self.whoami.get(self.binds[-1])
        code = 2 if known is None else 0
        transport.reply(number, pureldap.LDAPExtendedResponse(code, "", "", response=known))

    def _start_tls(self, transport: Transport, number: int) -> None:
        if self.early is None:
            transport.reply(number, pureldap.LDAPExtendedResponse(2, "", "no TLS here"))
        else:
            yes = pureldap.LDAPMessage(pureldap.LDAPExtendedResponse(0), None, number).toWire()
            transport.client.dataReceived(yes + self.early)

    def _bind(self, transport: Transport, message: Any) -> None:
        number, request = message.id, message.value
        dn, password = request.dn.decode(), request.auth.decode()
        self.binds.append(dn)
        code, said = (0, "") if self.passwords.get(dn) == password else (49, "")
        code, said = self.refusals.get(dn, (code, said))
        if self.plain and message.controls:
            code, said = 53, ""
        controls = list(self.controls) or None
        transport.reply(number, pureldap.LDAPBindResponse(code, "", said), controls)

    def _search(self, transport: Transport, message: Any) -> None:
        request = message.value
        base, wanted = request.baseObject.decode(), [each.decode() for each in request.attributes]
        self.asked.append(Asked(base, as_text(request.filter), tuple(wanted)))
        base = self.aliases.get(base, base)
        found = [
            (dn, entry)
            for dn, entry in self.entries.items()
            if (dn == base if request.scope == 0 else dn.endswith(base))
            and fits(request.filter, entry, self.entries)
        ]
        first, controls = self._paged(message)
        if self.page is not None:
            rest = found[first + self.page :]
            found = found[first : first + self.page]
            controls = [(PAGED_RESULTS, None, page(str(first + self.page) if rest else ""))]
        if self.endless is not None:
            found, controls = found[: self.endless], [(PAGED_RESULTS, None, page("again"))]
        for dn, entry in found:
            attributes = self._shown(entry, wanted)
            transport.reply(message.id, pureldap.LDAPSearchResultEntry(dn, attributes))
        code = self.results.get(transport, self.result)
        code = code or (self.base_result if request.scope == 0 and not found else 0)
        transport.reply(message.id, pureldap.LDAPSearchResultDone(code), controls)

    def _paged(self, message: Any) -> tuple[int, list[Any] | None]:
        for oid, _, value in message.controls or ():
            if oid.decode() == PAGED_RESULTS and value is not None:
                [_, cookie], _ = pureber.berDecodeObject(pureber.BERDecoderContext(), value)
                return 0 if self.endless is not None else int(cookie.value or b"0"), None
        return 0, None

    def _shown(
        self, entry: Mapping[str, list[str]], wanted: Sequence[str]
    ) -> list[tuple[str, list[str]]]:
        shown: list[tuple[str, list[str]]] = []
        for each in wanted:
            name, _, options = each.partition(";range=")
            values = next((v for n, v in entry.items() if n.lower() == name.lower()), [])
            if self.limit is None or len(values) <= self.limit:
                shown += [(name, values)] if values else []
                continue
            first = int(options.partition("-")[0] or 0)
            some = values[first : first + self.limit]
            last = "*" if first + self.limit >= len(values) else str(first + self.limit - 1)
            range_ = f"range={first}-{last}"
            if first and self.second_range is not None:
                range_ = self.second_range
            shown += [(name, []), (f"{name};{range_}", some)] if range_ else []
        return shown


PAGED_RESULTS = "1.2.840.113556.1.4.319"
MEMBER_IN_CHAIN = b"1.2.840.113556.1.4.1941"
"""A matching rule of Active Directory, by which groups contain members of nested groups."""


def page(cookie: str) -> bytes:
    octets = pureber.BEROctetString(cookie.encode())
    wire: bytes = pureber.BERSequence([pureber.BERInteger(0), octets]).toWire()
    return wire


def as_text(wanted: Any) -> str:
    """Return a filter as text without escapes, for comparison only."""
    if isinstance(wanted, pureldap.LDAPFilter_and | pureldap.LDAPFilter_or):
        sign = "&" if isinstance(wanted, pureldap.LDAPFilter_and) else "|"
        return f"({sign}{''.join(map(as_text, wanted))})"
    if isinstance(wanted, pureldap.LDAPFilter_equalityMatch):
        value = wanted.assertionValue.value.decode("utf-8", "backslashreplace")
        return f"({_attribute(wanted)}={value})"
    return type(wanted).__name__


def _attribute(wanted: Any) -> str:
    name: str = wanted.attributeDesc.value.decode()
    return name


def fits(wanted: Any, entry: Entry, everything: Mapping[str, Entry]) -> bool:
    """Return whether an entry matches a filter."""
    if isinstance(wanted, pureldap.LDAPFilter_and):
        return all(fits(each, entry, everything) for each in wanted)
    if isinstance(wanted, pureldap.LDAPFilter_or):
        return any(fits(each, entry, everything) for each in wanted)
    if isinstance(wanted, pureldap.LDAPFilter_not):
        return not fits(wanted.value, entry, everything)
    if isinstance(wanted, pureldap.LDAPFilter_present):
        name = wanted.value.decode().lower()
        return name == "objectclass" or name in map(str.lower, entry)
    if isinstance(wanted, pureldap.LDAPFilter_extensibleMatch):
        assert wanted.matchingRule.value == MEMBER_IN_CHAIN, wanted
        return _has_in_chain(entry, wanted.matchValue.value, everything)
    assert isinstance(wanted, pureldap.LDAPFilter_equalityMatch), wanted
    return _has(entry, _attribute(wanted), wanted.assertionValue.value)


def _has(entry: Entry, attribute: str, value: bytes) -> bool:
    values = next((v for n, v in entry.items() if n.lower() == attribute.lower()), [])
    return _folded(value) in map(_folded, values)


def _folded(value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return raw.lower().strip()


def _has_in_chain(entry: Entry, member: bytes, everything: Mapping[str, Entry]) -> bool:
    """Return whether a group holds a member, or a group that does; there are no circles."""
    return _has(entry, "member", member) or any(
        _has(entry, "member", dn.encode()) and _has_in_chain(other, member, everything)
        for dn, other in everything.items()
    )


@define(eq=False)
class Transport:
    """The client's side of a connection to a L{Server}."""

    server: Server
    client: IProtocol
    said: bytearray = field(factory=bytearray)
    gone: bool = False
    aborted: bool = False

    def write(self, data: bytes) -> None:
        if not self.gone:
            self.server.received(self, data)

    def reply(self, number: int, answer: Any, controls: Any = None) -> None:
        if not self.gone:
            self.client.dataReceived(pureldap.LDAPMessage(answer, controls, number).toWire())

    def loseConnection(self) -> None:
        if not self.server.deaf:
            self.lose(error.ConnectionDone())

    def abortConnection(self) -> None:
        if self.gone:
            raise AttributeError("a transport of TLS that was lost cannot be aborted")
        self.aborted = True
        self.lose(error.ConnectionDone())

    def lose(self, reason: Exception) -> None:
        if not self.gone:
            self.gone = True
            self.client.connectionLost(Failure(reason))


@implementer(IStreamClientEndpoint)
@frozen
class Endpoint:
    """An endpoint that connects to a L{Server}."""

    server: Server

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        if self.server.down:
            return fail(error.ConnectionRefusedError())
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 389))
        assert protocol is not None
        transport = Transport(self.server, protocol)
        self.server.transports.append(transport)
        protocol.makeConnection(transport)  # type: ignore[arg-type] # as much of one as is used
        return succeed(protocol)


def world(clock: Clock | None = None, **servers: Server) -> World:
    """Return a world in which each name of C{servers} is a host."""

    def way(host: str, _port: int) -> IStreamClientEndpoint:
        return Endpoint(servers[host])

    return evolve(worlds.world(clock), connect=way)


def person(name: str, *groups: str, **attributes: list[str]) -> dict[str, dict[str, list[str]]]:
    """Return an entry of a person for a L{Server}."""
    entry = {"objectClass": ["top", "person"], "cn": [name], "uid": [name], **attributes}
    return {
        f"uid={name},ou=people,{BASE}": {**entry, **({"memberOf": [*groups]} if groups else {})}
    }
