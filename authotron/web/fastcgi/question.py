"""
The authentication request of a proxy by FastCGI, made of the variables that describe the request of
its client.

Only the FastCGI variables that this module names are read. C{REMOTE_USER} and C{REMOTE_PASSWD} are
not read, because Apache sets both before the gateway has judged the credential; nor does any
variable reach the environment of the process, where C{HTTP_PROXY} would be the client's header
C{Proxy}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from authotron.gateway.carriers import Carriers
from authotron.model.errors import Flaw, UnusableFact
from authotron.model.hosts import address_of, split_host
from authotron.model.http_grammar import TOKEN
from authotron.model.paths import AmbiguousPath, canonical, split_target
from authotron.model.request import Facts, Presented
from authotron.telemetry.metrics import METHODS
from authotron.web.fastcgi import records

MOST_VARIABLES = 1_000
"""Maximum number of variables in a FastCGI request."""

_REQUIRED = {"method": b"REQUEST_METHOD", "path": b"REQUEST_URI", "address": b"REMOTE_ADDR"}
"""
Facts of the client's request that its variables must state; otherwise the request is refused.

Apache leaves out every variable for which its buffer of 16 KiB has no room, even C{REQUEST_URI},
and sends its request nevertheless.
"""

_is_token = re.compile(TOKEN).fullmatch
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)
"""A request target in absolute form: the authority, and the path and query behind the authority."""

_SCHEMES = (b"http", b"https")


class BadQuestion(ValueError):
    """
    The variables of a proxy's FastCGI request are missing, duplicate or malformed.

    @ivar fact: the fact of the client's request that a missing or malformed variable does not
        state.
    """

    def __init__(self, why: str, fact: str = "", flaw: Flaw = Flaw.MALFORMED) -> None:
        super().__init__(why)
        self.fact = fact
        self.flaw = flaw


@frozen
class Question:
    """
    An authentication request by FastCGI, which is also the sender that the access log names.

    Never log an object of this class, because it contains credentials.
    """

    _variables: Mapping[bytes, bytes]

    def __repr__(self) -> str:
        return "Question(...)"

    def presented(self, carriers: Carriers) -> Presented:
        """Return the credentials that the client presents to prove its identity."""
        others = carriers.of_question(self._header, self.facts())
        return Presented(self.authorization, self._header(b"x-auth-realm"), others)

    def _header(self, name: bytes) -> bytes | None:
        """
        Return the value of a header of the client's request. Apache has joined the values of
        several headers of this name by commas.
        """
        return self._variables.get(b"HTTP_" + name.upper().replace(b"-", b"_"))

    @property
    def authorization(self) -> bytes | None:
        """The header C{Authorization} of the client."""
        return self._variables.get(b"HTTP_AUTHORIZATION")

    @property
    def request_id(self) -> bytes | None:
        """The header C{X-Request-ID} of the client."""
        return self._variables.get(b"HTTP_X_REQUEST_ID")

    @property
    def address(self) -> str | None:
        """
        The address of the client, as the proxy states it, or C{None} if the stated address is
        malformed.
        """
        return address_of(self._variables[b"REMOTE_ADDR"].decode("latin-1"))

    @property
    def sender(self) -> str:
        """The address of the client, for the access log."""
        return self.address or "unknown"

    @property
    def method_label(self) -> str:
        """
        The method of the client's request as a metric label, which is C{other} for a method that
        HTTP does not define.
        """
        method = self._variables[b"REQUEST_METHOD"].decode("ascii")
        return method if method in METHODS else "other"

    def values(self, name: str) -> Sequence[str]:
        """Return all values of a header of the client, whose lines the proxy has joined."""
        variable = b"HTTP_" + name.upper().replace("-", "_").encode()
        value = self._variables.get(variable)
        return () if value is None else (value.decode("latin-1"),)

    def facts(self) -> Facts:
        """
        Return the facts of the client's request, each of which is read when a
        condition needs it.
        """
        return Facts(self._read)

    def _read(self, fact: str) -> object:
        """
        Read one fact.

        @raise UnusableFact: the variables do not state the path clearly.
        """
        readers: dict[str, Callable[[], object]] = {
            "method": self._variables[b"REQUEST_METHOD"].decode,
            "scheme": self._scheme,
            "host": lambda: self._host()[0],
            "port": lambda: self._host()[1],
            "path": self._path,
            "query": self._query,
            "address": self._address,
        }
        read = readers.get(fact)
        # Apache states no client certificate, because it asks the gateway before it knows the
        # certificate.
        return None if read is None else read()

    def _address(self) -> str:
        address = self.address
        if address is None:
            raise UnusableFact("address", Flaw.MALFORMED)
        return address

    def _query(self) -> str | None:
        query = split_target(self._target("query"))[1]
        return None if query is None else query.decode("latin-1")

    def _host(self) -> tuple[str, int | None]:
        host = self._variables.get(b"HTTP_HOST")
        if not host:
            raise UnusableFact("host", Flaw.MISSING)
        self._target("host")
        try:
            return split_host(host.decode("latin-1"))
        except ValueError:
            raise UnusableFact("host", Flaw.MALFORMED) from None

    def _scheme(self) -> str:
        scheme = self._variables.get(b"REQUEST_SCHEME")
        if scheme not in _SCHEMES:
            raise UnusableFact("scheme", Flaw.MALFORMED if scheme else Flaw.MISSING)
        return scheme.decode("ascii")

    def _path(self) -> str:
        """
        Return the canonical path that the client has requested.

        Apache removes dot segments and merges slashes before it serves a path, and states the path
        that it will serve in C{SCRIPT_FILENAME}. Apache leaves a canonical path as it is, so there
        is nothing to compare; a path that Apache would take for another one is refused.
        """
        try:
            return canonical(split_target(self._target("path"))[0])
        except AmbiguousPath as ambiguous:
            raise UnusableFact("path", Flaw.MALFORMED, str(ambiguous)) from None

    def _target(self, fact: str) -> bytes:
        """
        Return path and query of the request target, without the scheme and authority of a target in
        absolute form.

        @raise UnusableFact: the request target names another authority than the header C{Host}.
        """
        target = self._variables[b"REQUEST_URI"]
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            return target
        if absolute[1].lower() != self._variables.get(b"HTTP_HOST", b"").lower():
            raise UnusableFact(fact, Flaw.MALFORMED, "the target names another host than Host")
        rest = absolute[2]
        return rest if rest.startswith(b"/") else b"/" + rest


def question(stream: bytes) -> Question:
    """
    Return the authentication request that a complete stream of parameters describes.

    @raise BadQuestion: a variable is missing, duplicate or malformed.
    """
    found = _variables(stream)
    for fact, name in _REQUIRED.items():
        if not found.get(name):
            raise BadQuestion(f"without {name.decode()}", fact, Flaw.MISSING)
    if not _is_token(found[b"REQUEST_METHOD"]):
        raise BadQuestion("with a malformed REQUEST_METHOD", "method")
    return Question(found)


def _variables(stream: bytes) -> Mapping[bytes, bytes]:
    """
    Return the variables of a proxy's request.

    @raise BadQuestion: a variable is duplicate or malformed, or there are too many.
    """
    found: dict[bytes, bytes] = {}
    try:
        for name, value in records.pairs(stream):
            if name in found:
                raise BadQuestion("with a duplicate variable")
            if len(found) >= MOST_VARIABLES:
                raise BadQuestion(f"with more than {MOST_VARIABLES} variables")
            found[name] = value
    except records.MalformedRecord:
        raise BadQuestion("with malformed variables") from None
    return found
