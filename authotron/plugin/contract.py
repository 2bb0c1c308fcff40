"""
The contract of a reverse proxy: how the proxy asks for a decision, and what it makes of the answer.

The package C{authotron.web.proxies} has one module for each contract. A contract states at which
paths the proxy asks for decisions, and in which header or other place the proxy states each fact
(such as the host) of the client's request.
"""

from __future__ import annotations

import re
import sys
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol
from urllib.parse import unquote

from attrs import field, frozen

from authotron.config.plugins import ContractConfig
from authotron.model import hops
from authotron.model.errors import Flaw, UnusableFact
from authotron.model.hosts import split_host
from authotron.model.http_grammar import TOKEN
from authotron.model.paths import AmbiguousPath, canonical, is_ordinary, split_target
from authotron.model.request import ClientCertificate, Facts
from authotron.plugin import header_profiles
from authotron.plugin.header_profiles import Profile
from authotron.plugin.trusted_proxies import TrustedProxies

Fields = Callable[[str], Sequence[str]]
"""A function that returns all values of the header with a given name."""

_METHOD = re.compile(TOKEN.decode())
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""The schemes that proxies name; Traefik names C{ws} and C{wss} for WebSockets."""

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")
_PLACEHOLDER = re.compile(r"\{[a-z0-9_.]+\}")
"""Matches what Caddy sends in place of a certificate if the client has presented none."""

_FORWARDED, _LIST = "forwarded", "x-forwarded-for"
"""The names, in lower case, of headers whose lines form one list of values."""

_LONGEST_NAMESPACE = 1024
_AUTHORITY = ("host", "port")


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
            if fact in _MAY_LACK:
                return None
            raise UnusableFact(fact, Flaw.MISSING, self.name)
        try:
            return _PARSE[fact](value)
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


def _method(value: str) -> str:
    if not _METHOD.fullmatch(value):
        raise ValueError("the value is not a method")
    return value


def _scheme(value: str) -> str:
    scheme = _SCHEMES.get(value.lower())
    if scheme is None:
        raise ValueError("the value is neither http nor https")
    return scheme


def _target(value: str) -> tuple[bytes, bytes | None]:
    """Return path and query of a request target, which may be a whole URL."""
    target = value.encode("latin-1")
    absolute = None if target.startswith(b"/") else _ABSOLUTE.match(target)
    rest = target[absolute.end() :] if absolute else target
    return split_target(b"/" + rest if absolute and not rest.startswith(b"/") else rest)


def _path(value: str) -> str:
    path = value.partition("?")[0]
    if is_ordinary(path):
        return path
    return canonical(_target(value)[0])


def _query(value: str) -> str | None:
    query = _target(value)[1]
    return None if query is None else query.decode("latin-1")


def _namespace(value: str) -> str:
    if not (value.isascii() and value.isprintable() and len(value) <= _LONGEST_NAMESPACE):
        raise ValueError("the value is not a namespace")
    return value


def _certificate(value: str) -> ClientCertificate | None:
    """
    Parse a certificate: the certificate is PEM, perhaps percent-encoded (nginx), Base64 of DER
    (Traefik, Caddy), or Base64 between colons (RFC 9440).
    """
    if _PLACEHOLDER.fullmatch(value):
        return None
    text = unquote(value) if "%" in value else value
    pem = _PEM.match(text)
    body = pem[1] if pem else text.removeprefix(":").removesuffix(":")
    der = b64decode("".join(body.split()), validate=True)
    if not der:
        raise ValueError("the value is not a certificate")
    return ClientCertificate(der)


_PARSE: Mapping[str, Callable[[str], object]] = {
    "method": _method,
    "scheme": _scheme,
    "host": lambda value: split_host(value)[0],
    "port": lambda value: split_host(value)[1],
    "path": _path,
    "query": _query,
    "namespace": _namespace,
    "certificate": _certificate,
}
"""
For each fact of a request the function that parses the value of a header; the function may raise
C{ValueError}.
"""

_MAY_LACK = frozenset({"namespace", "certificate"})
"""The facts of a request that are C{None} if their header is missing or empty."""

Parse = Callable[[str], object]
"""A function that parses the value of a header; the function may raise C{ValueError}."""


def parser_of(fact: str) -> Parse:
    """Return the function that parses the value of a header that states a fact."""
    return _PARSE[fact]


Sources = Mapping[str, Source]
"""Where a proxy states each fact of the client's request, by the name of the fact."""


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


@frozen
class Endpoint:
    """
    A path at which a proxy asks for decisions, and where its requests for this path state each fact
    of the client's request.

    @ivar path: the literal path of the endpoint; also the label C{route} in metrics.
    @ivar appends: whether the endpoint gets the requests in which the proxy appends the client's
        path to C{path}, instead of the requests for C{path} itself.
    @ivar methods: the methods of the proxy's requests, or C{None} if the proxy may use any method.
    @ivar required: the facts of the client's request that a trusted proxy must state each time;
        otherwise the proxy gets a 400 before any provider is asked.
    @ivar refuses_twins: whether a fact cannot be used if, beside its header, there is a header of
        the same name with underscores; otherwise the header with underscores is ignored.
    """

    path: str
    sources: Sources
    appends: bool = False
    methods: frozenset[str] | None = None
    required: tuple[str, ...] = ()
    refuses_twins: bool = False

    def facts(
        self, question: AnyQuestion, stated: Mapping[str, object] = MappingProxyType({})
    ) -> Facts:
        """
        Return the facts of the client's request about which a proxy asks.

        @param stated: the facts of the request that were parsed already.
        """
        known = dict(stated)
        return Facts.kept_in(known, partial(self._read, question, known))

    def problem(self, question: AnyQuestion) -> UnusableFact | None:
        """
        Return why a proxy's request lacks a required fact, or C{None} if it states all required
        facts.

        A proxy that keeps the method C{CONNECT} has no path to state, so the facts of a CONNECT
        request are checked only when a condition reads them.
        """
        if question.method == "CONNECT":
            return None
        try:
            for fact in self.required:
                self._source(question, fact).check(question, fact)
        except UnusableFact as unusable:
            return unusable
        return None

    def client(self, question: AnyQuestion) -> str | None:
        """Return the address of the client, or C{None} if no trusted proxy states it clearly."""
        try:
            return str(self._source(question, "address").read(question, "address"))
        except UnusableFact:
            return None

    def _read(self, question: AnyQuestion, known: dict[str, object], fact: str) -> object:
        """
        Return a fact of the client's request.

        @param known: receives both host and port, if one header states both.
        """
        source = self._source(question, fact)
        if isinstance(source, Header) and fact in _AUTHORITY:
            known["host"], known["port"] = source.authority(question)
            return known[fact]
        return source.read(question, fact)

    def _source(self, question: AnyQuestion, fact: str) -> Source:
        source = self.sources.get(fact)
        if source is None:
            raise UnusableFact(fact, Flaw.MISSING, "the contract of the proxy does not state it")
        if self.refuses_twins and any(map(question.has_twin, source.headers)):
            raise UnusableFact(fact, Flaw.DUPLICATE, "a header of this name with underscores")
        return source

    @property
    def names_namespace(self) -> bool:
        """Whether the proxy's requests may state a namespace."""
        source = self.sources.get("namespace")
        return source is not None and bool(source.headers)

    @property
    def carries_target(self) -> bool:
        """
        Whether the proxy's requests contain the path of the client, so that few of
        them are equal.
        """
        source = self.sources.get("path")
        return self.appends or (source is not None and self.path not in LEGACY_PATHS)


LEGACY_PATHS = ("/authenticate", "/auth", "/_auth")
"""
The paths at which a proxy asks by the contract of auth-o-tron, the gateway that authotron replaces:
they take GET and HEAD, and nothing may follow the path.
"""


@frozen
class Answers:
    """
    How the replies to a proxy look, where they differ from the replies of the route
    C{/authenticate}.

    A reply that refuses a request never has a header with an identity or a JWT, whatever the
    contract says, and only a 200 lets the request of a client pass.

    @ivar statuses: maps status codes of refusals to the codes that the proxy gets in their place.
    @ivar has_body: whether replies that refuse a request have a body.
    @ivar removed_in: the header of a 200 that names the identity headers which the proxy must
        remove from the request of the client; empty if the proxy needs none.
    @ivar max_head_bytes: the maximum number of bytes of the head of a 200, from the status line to
        the empty line, or C{None} if the proxy accepts any number; an identity that does not fit
        gets a 403. A configuration may change C{max_head_bytes}.
    @ivar has_error_headers: whether every refusal is a 401 or a 403, with its own status and body
        in the headers C{X-Error-Status} and C{X-Error-Body}; a configuration may set it.
    @ivar removed: the headers with credentials, which the header C{removed_in} names, too.
    @ivar path_header: the header of a 200 that states the path of the client's request, as the
        gateway read it, or an empty string if there is none; the gateway sets it by its
        configuration.
    """

    statuses: Mapping[int, int] = field(factory=dict)
    has_body: bool = True
    removed_in: str = ""
    max_head_bytes: int | None = None
    has_error_headers: bool = False
    removed: tuple[str, ...] = ()
    path_header: str = ""


@frozen
class Contract:
    """
    The contract of a reverse proxy: its endpoints, and how it wants its replies.

    @ivar answers: how the replies look, or C{None} if they are those of the route C{/authenticate}.
    @ivar authorization: what happens if a proxy's request has several C{Authorization} headers: the
        C{first} one counts, or the request is refused with a 400 (C{refuse}), also if one header
        has several credentials. A configuration may set the value.
    @ivar profile: the headers of a 200 in which backends read an identity; the gateway sets it by
        its configuration.
    @ivar removal: the header line of a 200 that names the headers which the proxy must remove from
        the request of the client; the gateway sets it by its configuration.
    @ivar is_plain: whether the proxy gets the reply of each decision as it is, unless it is too
        large; the gateway sets it by its configuration.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    answers: Answers | None = None
    authorization: Literal["first", "refuse"] = "first"
    profile: Profile = header_profiles.JWT
    removal: bytes = b""
    is_plain: bool = False

    @property
    def answer_headers(self) -> tuple[str, ...]:
        """
        The headers of a 200, in addition to C{Authorization}, that the proxy must pass to the
        backend.
        """
        names = (name.decode() for name, _ in self.profile.headers)
        return (*names, self.path_header) if self.path_header else (*names,)

    @property
    def path_header(self) -> str:
        """
        The header of a 200 that states the path of the client's request; an empty string if there
        is no such header.
        """
        return "" if self.answers is None else self.answers.path_header

    @property
    def max_head_bytes(self) -> int:
        """The maximum number of bytes of the head of a 200."""
        most = None if self.answers is None else self.answers.max_head_bytes
        return sys.maxsize if most is None else most


def fixed(
    config: ContractConfig, found: Sources, path: str, required: Sequence[str] = ()
) -> Endpoint:
    """
    Return an endpoint at which a proxy asks with any method, and states the facts of the client's
    request in headers.
    """
    needs = _required(config, required)
    return Endpoint(
        path, configured(found, config), required=needs, refuses_twins=config.refuse_underscores
    )


def appended(
    config: ContractConfig, found: Sources, path: str, required: Sequence[str] = ()
) -> Endpoint:
    """
    Return an endpoint for a proxy that appends path and query of the client to the path of the
    endpoint.

    Method, path and query are taken from the request line, whatever headers the configuration
    names.
    """
    own = {"method", "path"}
    left = config.model_copy(
        update={"headers": {fact: name for fact, name in config.headers.items() if fact not in own}}
    )
    line = RequestLine()
    whole = {**found, "method": line, "path": line, "query": line}
    needs = _required(config, required)
    return Endpoint(
        path, configured(whole, left), True, None, needs, refuses_twins=config.refuse_underscores
    )


def _required(config: ContractConfig, default: Sequence[str]) -> tuple[str, ...]:
    return tuple(default if config.required is None else config.required)
