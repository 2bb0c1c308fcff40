"""The message in which Envoy describes a client's request, and the facts of the request in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from authotron.gateway.carriers import Carriers
from authotron.model.errors import Flaw, UnusableFact
from authotron.model.hosts import address_of, split_host
from authotron.model.paths import AmbiguousPath, canonical, split_target
from authotron.model.request import Facts, Presented
from authotron.plugin.fact_parsers import parser_of
from authotron.telemetry.metrics import METHODS
from authotron.web.grpc.messages import CheckRequest


@frozen(eq=False)
class Question:
    """
    The authentication request of Envoy: what its message says of a client's request.

    Header names are in lower case, and Envoy has joined the lines of a header by commas. If Envoy
    is configured to send raw headers, the lines are separate, and joined here. Only the message of
    Envoy is believed: forwarded headers, which clients can send as well, are not read.

    @ivar headers: the values of all headers of the client's request, by name.
    """

    _attributes: Any = field(repr=False)
    headers: Mapping[bytes, bytes] = field(repr=False)
    _peer: str | None

    @property
    def facts(self) -> Facts:
        """
        The facts of the client's request, each of which is read when a condition
        depends on it.
        """
        return Facts(self._read)

    def presented(self, carriers: Carriers) -> Presented:
        """Return the credentials that the client presents to prove its identity."""
        others = carriers.of_question(self.headers.get, self.facts)
        return Presented(self.authorization, self.headers.get(b"x-auth-realm"), others)

    @property
    def authorization(self) -> bytes | None:
        """The header C{Authorization}."""
        return self.headers.get(b"authorization")

    @property
    def request_id(self) -> bytes | None:
        """The header C{X-Request-ID}, which Envoy sets unless the client has sent one."""
        return self.headers.get(b"x-request-id")

    @property
    def address(self) -> str | None:
        """
        The address of the client, as Envoy knows it: from its connection, or from forwarded headers
        that Envoy's configuration trusts.
        """
        found: bytes = self._attributes.source.address.socket_address.address
        return address_of(found.decode("latin-1"))

    @property
    def sender(self) -> str:
        """
        The address of the client, or the address of Envoy itself if Envoy does not state the
        client's.
        """
        return self.address or self._peer or "unix"

    @property
    def method_label(self) -> str:
        """The method of the client's request as the label of a metric."""
        method: str = self._attributes.request.http.method.decode("ascii", "replace")
        return method if method in METHODS else "other"

    def values(self, name: str) -> Sequence[str]:
        """Return all values of a header of the client's request, whose lines Envoy has joined."""
        value = self.headers.get(name.lower().encode())
        return () if value is None else (value.decode("latin-1"),)

    def _read(self, fact: str) -> object:
        """
        Return the value of one fact of the request, such as its host.

        @raise UnusableFact: Envoy does not state a fact of the client's request, or states a
            malformed one.
        """
        try:
            found = _READ[fact](self._attributes)
        except AmbiguousPath as ambiguous:
            raise UnusableFact(fact, Flaw.MALFORMED, str(ambiguous)) from None
        except ValueError:
            raise UnusableFact(fact, Flaw.MALFORMED) from None
        if found == "":
            raise UnusableFact(fact, Flaw.MISSING)
        return found


def read(message: bytes, peer: str | None) -> Question:
    """
    Read a question.

    @param peer: the address of Envoy, or C{None} for a UNIX socket.

    @raise DecodeError: the message is malformed.
    """
    attributes = CheckRequest.FromString(message).attributes
    return Question(attributes, _headers(attributes.request.http), peer)


def _headers(http: Any) -> dict[bytes, bytes]:
    headers = {entry.key: entry.value for entry in http.headers}
    for line in http.header_map.headers:
        value = line.raw_value or line.value
        before = headers.get(line.key)
        headers[line.key] = value if before is None else b"%b,%b" % (before, value)
    return headers


def _parsed(fact: str, value: bytes) -> object:
    """
    Parse a fact as in a header of other proxies; an empty value stays an empty string.

    @raise ValueError: the value is malformed.
    """
    return parser_of(fact)(value.decode("latin-1")) if value else ""


def _host(attributes: Any) -> tuple[str, int | None]:
    host: bytes = attributes.request.http.host
    return split_host(host.decode("latin-1")) if host else ("", None)


def _path(attributes: Any) -> str:
    path, _ = split_target(attributes.request.http.path)
    return canonical(path) if path else ""


def _query(attributes: Any) -> str | None:
    _, query = split_target(attributes.request.http.path)
    return None if query is None else query.decode("latin-1")


def _address(attributes: Any) -> str:
    address: bytes = attributes.source.address.socket_address.address
    found = address_of(address.decode("latin-1"))
    if address and found is None:
        raise ValueError("the value is not an address")
    return found or ""


def _namespace(attributes: Any) -> object:
    extensions = {entry.key: entry.value for entry in attributes.context_extensions}
    return _parsed("namespace", extensions.get(b"namespace", b"")) or None


_READ: Mapping[str, Callable[[Any], object]] = {
    "method": lambda attributes: _parsed("method", attributes.request.http.method),
    "scheme": lambda attributes: _parsed("scheme", attributes.request.http.scheme),
    "host": lambda attributes: _host(attributes)[0],
    "port": lambda attributes: _host(attributes)[1],
    "path": _path,
    "query": _query,
    "address": _address,
    "namespace": _namespace,
    "certificate": lambda attributes: _parsed("certificate", attributes.source.certificate) or None,
}
"""
For each fact of the client's request the function that reads it from Envoy's message. The function
returns an empty string for a fact that every request has, but that Envoy does not state, and raises
C{ValueError} for a malformed fact.
"""
