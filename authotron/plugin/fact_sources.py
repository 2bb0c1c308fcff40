"""
Where a proxy states each fact of a client's request: in a header, in a list of addresses, or in the
line of its own request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from attrs import field, frozen

from authotron.config.plugins import ContractConfig
from authotron.model import hops
from authotron.model.errors import ConfigError, Flaw, UnusableFact
from authotron.model.hosts import split_host
from authotron.model.paths import AmbiguousPath, canonical, split_target
from authotron.plugin import certificate_parsers
from authotron.plugin.fact_parsers import MAY_LACK, PARSED, parser_of
from authotron.plugin.trusted_proxies import TrustedProxies

Fields = Callable[[str], Sequence[str]]
"""A function that returns all values of the header with a given name."""


_FORWARDED, _LIST = "forwarded", "x-forwarded-for"
"""The names, in lower case, of headers whose lines form one list of values."""


def _no_twin(_header: str) -> bool:
    """Return C{False}, for protocols whose header names have no underscores."""
    return False


class Question(NamedTuple):
    """
    The authentication request of a proxy (the proxy's question whether a client may make a
    request), as a contract reads it.

    @ivar method: the method of the proxy's request, which is the client's method if the proxy keeps
        it.
    @ivar target: the path and query that the proxy appended to the path of the contract, as the
        proxy sent them; empty if it appended nothing.
    @ivar values: returns all values of the header with a given name.
    @ivar peer: the address at the other end of the connection, or C{None} for a UNIX socket.
    @ivar has_twin: returns whether the request has another header whose name differs from a given
        one in C{_} in place of C{-} alone; some servers take both headers for one.
    """

    method: str
    target: bytes
    values: Fields
    peer: str | None
    proxies: TrustedProxies
    has_twin: Callable[[str], bool] = _no_twin


class AnyQuestion(Protocol):
    """
    What a contract may read of a proxy's authentication request: a L{Question}, or an object that
    finds each part when it is read.
    """

    @property
    def method(self) -> str:
        """The method of the proxy's authentication request."""

    @property
    def target(self) -> bytes:
        """The path and query that the proxy appended to the path of the contract."""

    @property
    def peer(self) -> str | None:
        """The address at the other end of the connection, or C{None} for a UNIX socket."""

    @property
    def proxies(self) -> TrustedProxies:
        """The proxies whose statements about clients' requests are believed."""

    @property
    def values(self) -> Fields:
        """Returns all values of the header with a given name."""

    @property
    def has_twin(self) -> Callable[[str], bool]:
        """
        Returns whether the request has another header whose name differs from a given one only in
        underscores.
        """


class Source(Protocol):
    """The place where a proxy states a fact about the client's request, such as the host."""

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the headers that state the fact of the client's request."""

    def check(self, question: AnyQuestion, fact: str, /) -> None:
        """
        Check that a trusted proxy states a fact of the client's request exactly once, without
        parsing it.

        @raise UnusableFact: the fact of the client's request is missing or duplicate, or the peer
            is not trusted.
        """

    def read(self, question: AnyQuestion, fact: str, /) -> object:
        """
        Return the value of one fact of the request, such as its host.

        @raise UnusableFact: the fact of the client's request is missing, duplicate or malformed, or
            the peer is not trusted.
        """


def _check_peer(question: AnyQuestion, fact: str) -> None:
    if not question.proxies.is_proxy(question.peer):
        raise UnusableFact(fact, Flaw.UNTRUSTED, "the peer is not in server.trusted_proxies")


@frozen
class Header:
    """
    A header that may occur only once, and that states one fact of the client's request, or a URL
    with several facts.
    """

    name: str

    @property
    def headers(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def stands_once(self) -> bool:
        """Whether the header may occur only once, because its values are not one list."""
        return self.name.lower() != _FORWARDED

    def check(self, question: AnyQuestion, fact: str) -> None:
        if self._value(question, fact) is None:
            raise UnusableFact(fact, Flaw.MISSING, self.name)

    def read(self, question: AnyQuestion, fact: str) -> object:
        value = self._value(question, fact)
        if not value:
            if fact in MAY_LACK:
                return None
            raise UnusableFact(fact, Flaw.MISSING, self.name)
        try:
            if fact == "certificate":
                beside = certificate_parsers.beside(self.name)
                chain = ",".join(question.values(beside)) if beside else ""
                return certificate_parsers.parse(value, self.name, chain)
            return parser_of(fact)(value)
        except AmbiguousPath as ambiguous:
            raise UnusableFact(fact, Flaw.MALFORMED, f"{self.name}: {ambiguous}") from None
        except ValueError:
            raise UnusableFact(fact, Flaw.MALFORMED, self.name) from None

    def authority(self, question: AnyQuestion) -> tuple[str, int | None]:
        """
        Return the host and the port that the header states.

        @raise UnusableFact: the header is missing, duplicate or malformed, or the peer is not
            trusted.
        """
        value = self._value(question, "host")
        if not value:
            raise UnusableFact("host", Flaw.MISSING, self.name)
        try:
            return split_host(value)
        except ValueError:
            raise UnusableFact("host", Flaw.MALFORMED, self.name) from None

    def _value(self, question: AnyQuestion, fact: str) -> str | None:
        """Return the value of the header, or C{None} if there is no such header."""
        _check_peer(question, fact)
        values = question.values(self.name)
        if not self.stands_once:
            return self._in_forwarded(question, values, fact)
        if len(values) > 1:
            raise UnusableFact(fact, Flaw.DUPLICATE, self.name)
        return values[0] if values else None

    @staticmethod
    def _in_forwarded(question: AnyQuestion, values: Sequence[str], fact: str) -> str | None:
        hop = question.proxies.client_hop(hops.forwarded(values))
        if hop is None:
            return None
        return hop.scheme if fact == "scheme" else hop.host


@frozen
class AddressList:
    """
    A header with the addresses of the client and of the proxies in between.

    The lines of C{X-Forwarded-For} are one list, and so are those of C{Forwarded}; any other header
    may occur once only. Of several addresses the rightmost one that is not a trusted proxy is the
    client's. A peer that is not a trusted proxy is the client itself.
    """

    name: str

    @property
    def headers(self) -> tuple[str, ...]:
        return (self.name,)

    def check(self, question: AnyQuestion, fact: str) -> None:
        _check_peer(question, fact)
        self.read(question, fact)

    def read(self, question: AnyQuestion, fact: str) -> str:
        if not question.proxies.is_proxy(question.peer):
            own = question.proxies.address(question.peer)
            if own is None:
                raise UnusableFact(fact, Flaw.UNTRUSTED, "the peer uses a UNIX socket")
            return own
        values, name = question.values(self.name), self.name.lower()
        if len(values) > 1 and name not in (_FORWARDED, _LIST):
            raise UnusableFact(fact, Flaw.DUPLICATE, self.name)
        found = hops.forwarded(values) if name == _FORWARDED else hops.listed(values)
        hop = question.proxies.client_hop(found)
        if hop is None:
            raise UnusableFact(fact, Flaw.MISSING, self.name)
        if hop.address is None:
            raise UnusableFact(fact, Flaw.MALFORMED, self.name)
        return hop.address


@frozen
class RequestLine:
    """
    The request line of the proxy's authentication request as a source of facts: the proxy keeps the
    method of the client, and appends path and query of the client to the path of the contract.

    @ivar is_own: whether the request is the client's own to the gateway, so that any peer is
        believed.
    """

    is_own: bool = False
    headers: tuple[str, ...] = field(default=(), init=False)

    def check(self, question: AnyQuestion, fact: str) -> None:
        if not self.is_own:
            _check_peer(question, fact)
        if fact != "method" and not question.target:
            raise UnusableFact(fact, Flaw.MISSING, "no path behind the path of the contract")

    def read(self, question: AnyQuestion, fact: str) -> object:
        self.check(question, fact)
        if fact == "method":
            return question.method
        path, query = split_target(question.target)
        if fact == "query":
            return None if query is None else query.decode("latin-1")
        try:
            return canonical(path)
        except AmbiguousPath as ambiguous:
            raise UnusableFact(fact, Flaw.MALFORMED, str(ambiguous)) from None


Sources = Mapping[str, Source]
"""Where a proxy states each fact of the client's request, by the name of the fact."""

_MAY_STATE: Mapping[type, Collection[str]] = {
    Header: PARSED,
    AddressList: ("address",),
    RequestLine: ("method", "path", "query"),
}
"""The facts that each kind of source can state; a source of another class may state any fact."""


def check_sources(found: Sources) -> None:
    """
    Check that each source can state its fact.

    The address of a client always comes from an L{AddressList}, also if the header has only one
    address, because a peer that is not a trusted proxy is the client itself.

    @raise ConfigError: a source cannot state its fact.
    """
    for fact, source in found.items():
        if fact not in _MAY_STATE.get(type(source), (fact,)):
            able = [each.__name__ for each, facts in _MAY_STATE.items() if fact in facts]
            instead = " or ".join(able) or "a source of its own class"
            raise ConfigError(
                f"the contract reads the fact {fact!r} from {source!r}, which cannot state it; "
                f"use {instead}"
            )


def sources(
    *,
    method: Source | None = None,
    scheme: Source | None = None,
    host: Source | None = None,
    target: Source | None = None,
    address: Source | None = None,
    namespace: Source | None = None,
    certificate: Source | None = None,
) -> Sources:
    """
    Return where a proxy states each fact of the client's request; facts without a source cannot be
    used.

    @param host: the source that states host and port.
    @param target: the source that states path and query.
    @param address: an L{AddressList}, also if the header has only one address.
    """
    found = {
        "method": method,
        "scheme": scheme,
        "host": host,
        "port": host,
        "path": target,
        "query": target,
        "address": address,
        "namespace": namespace,
        "certificate": certificate,
    }
    return {fact: source for fact, source in found.items() if source is not None}


X_FORWARDED = sources(
    method=Header("X-Forwarded-Method"),
    scheme=Header("X-Forwarded-Proto"),
    host=Header("X-Forwarded-Host"),
    target=Header("X-Forwarded-Uri"),
    address=AddressList("X-Forwarded-For"),
)
"""
The headers (C{X-Forwarded-*}) in which Traefik and some other proxies describe the client's
request.
"""


def prefixed(prefix: str) -> Sources:
    """
    Return where facts are stated by a proxy whose configuration sets headers with a
    private prefix.
    """
    return sources(
        method=Header(f"{prefix}Method"),
        scheme=Header(f"{prefix}Proto"),
        host=Header(f"{prefix}Host"),
        target=Header(f"{prefix}Uri"),
        address=AddressList(f"{prefix}Client"),
    )


def configured(defaults: Sources, config: ContractConfig) -> Sources:
    """
    Return the sources of facts, with the headers that the gateway's configuration names in place of
    the default ones.
    """
    found = dict(defaults)
    for fact, name in config.headers.items():
        source = AddressList(name) if fact == "address" else Header(name)
        for each in _TOGETHER.get(fact, (fact,)):
            found[each] = source
    return found


_TOGETHER = {"host": ("host", "port"), "path": ("path", "query")}
"""The facts of a request that one header states together, such as host and port."""
