"""
The credentials in a request, and the facts (such as host or path) of a request on which conditions
may depend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, Protocol, TypedDict, Unpack

from authotron.model.client_certificate import ClientCertificate
from authotron.model.errors import Flaw, UnusableFact


class Presented(NamedTuple):
    """
    Everything by which a client may prove its identity: raw values, or C{None} for missing values.

    Never log an object of this class, because it contains the credential in plain text.

    @ivar authorization: the value of the first header C{Authorization}.
    @ivar realm: the value of the first header C{X-Auth-Realm}: only providers of this realm check
        the credentials.
    @ivar others: the values of the headers, parameters and cookies that the configuration names as
        carriers of credentials, in the order of L{authotron.gateway.carriers.Carriers}; empty if
        the client presents none of them.
    """

    authorization: bytes | None = None
    realm: bytes | None = None
    others: tuple[bytes | None, ...] = ()

    def __repr__(self) -> str:
        return "Presented(...)"


class KnownFacts(TypedDict, total=False):
    """The facts of a request (such as method or path) that are known without reading a header."""

    method: str
    scheme: str
    host: str
    port: int | None
    path: str
    query: str | None
    address: str
    namespace: str | None
    certificate: ClientCertificate | None


FACTS = (
    "method",
    "scheme",
    "host",
    "port",
    "path",
    "query",
    "address",
    "namespace",
    "certificate",
)
"""The names of all facts of a request, such as C{host}; each is an attribute of L{Facts}."""

_OPTIONAL = frozenset({"port", "query", "namespace", "certificate"})
"""The facts that a request may lack: a request without a query, for example, is valid."""


def _read_nothing(fact: str) -> None:
    """
    Return C{None} for a fact, such as the query, that a request may lack.

    @raise UnusableFact: every request has the fact of this name, but its value is not known.
    """
    if fact not in _OPTIONAL:
        raise UnusableFact(fact, Flaw.MISSING)


class Facts:
    """
    The facts of a client's request, such as method, host and path, as a trusted proxy states them:
    conditions of credentials may depend on them.

    A fact (such as the host) is read when a condition first depends on it, because most requests
    have no conditions, and a fact on which nothing depends may be missing or malformed. Reading a
    fact that cannot be used raises L{UnusableFact}, and the request gets a 400; so a condition
    never has to handle an unknown fact, and cannot take it for an ordinary one. The value of a fact
    never changes after it was read.
    """

    __slots__ = ("_known", "_read")
    _known: dict[str, Any]
    _read: Callable[[str], Any]

    def __init__(
        self, read: Callable[[str], object] = _read_nothing, **known: Unpack[KnownFacts]
    ) -> None:
        """
        @param read: returns the fact with a given name from L{FACTS}, or raises L{UnusableFact};
            called once at most for each fact.
        @param known: the facts whose values are known already.
        """
        object.__setattr__(self, "_read", read)
        object.__setattr__(self, "_known", known)

    @classmethod
    def kept_in(cls, known: dict[str, Any], read: Callable[[str], object]) -> Facts:
        """
        Return facts of a request that are kept in a given dictionary, to which C{read} may add
        more.
        """
        facts = cls(read)
        object.__setattr__(facts, "_known", known)
        return facts

    @property
    def method(self) -> str:
        """The method of the client's request as the client sent it: methods are case-sensitive."""
        return str(self._fact("method"))

    @property
    def scheme(self) -> str:
        """C{http} or C{https}."""
        return str(self._fact("scheme"))

    @property
    def host(self) -> str:
        """The requested host in lower case, without a port and without a dot at its end."""
        return str(self._fact("host"))

    @property
    def port(self) -> int | None:
        """
        The port that the client named after the requested host, or C{None} if it
        named no port.
        """
        port: int | None = self._fact("port")
        return port

    @property
    def path(self) -> str:
        """The path of the client's request in canonical spelling (L{authotron.model.paths})."""
        return str(self._fact("path"))

    @property
    def query(self) -> str | None:
        """The query as it was sent, without C{?}, or C{None} if there is no query."""
        query: str | None = self._fact("query")
        return query

    @property
    def address(self) -> str:
        """The IP address of the client in canonical form."""
        return str(self._fact("address"))

    @property
    def namespace(self) -> str | None:
        """The namespace to which the proxy assigns the request, or C{None}."""
        namespace: str | None = self._fact("namespace")
        return namespace

    @property
    def certificate(self) -> ClientCertificate | None:
        """The TLS certificate of the client, or C{None} if the client has presented none."""
        certificate: ClientCertificate | None = self._fact("certificate")
        return certificate

    @property
    def authority(self) -> str:
        """The requested host, with the port if the client named one."""
        host, port = self.host, self.port
        return host if port is None else f"{host}:{port}"

    def _fact(self, name: str) -> Any:
        try:
            return self._known[name]
        except KeyError:
            found = self._known[name] = self._read(name)
            return found

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name}: the facts of a request never change")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(tuple(self._all().values()))

    def __repr__(self) -> str:
        return f"Facts({', '.join(f'{name}={value!r}' for name, value in self._all().items())})"

    def _all(self) -> dict[str, object]:
        """
        Return the values of all facts of the request; for a fact that cannot be used, return the
        reason instead.
        """
        return {name: self._fact_or_reason(name) for name in FACTS}

    def _fact_or_reason(self, name: str) -> object:
        try:
            return self._fact(name)
        except UnusableFact as unusable:
            return str(unusable)


class Condition(Protocol):
    """A limit of an API token that depends on the request, such as the requested host."""

    def holds(self, facts: Facts, /) -> bool:
        """
        Return whether a request with the given C{facts} meets the condition.

        A condition should read only the facts of a request that it needs, because each fact is
        parsed only when a condition reads it. A condition may have two further methods:
        C{holds_at_gateway(facts)} for requests to the gateway itself, and C{holds_for(asked,
        facts)} for requests about which a client asks the gateway, which may name a resource that
        is not a path.

        @raise UnusableFact: the condition depends on a fact of the request that no trusted proxy
            states clearly.
        """
