"""
The contract of a reverse proxy: how the proxy asks for a decision, and what it makes of the answer.

The package C{authotron.web.proxies} has one module for each contract. A contract states at which
paths the proxy asks for decisions, and in which header or other place the proxy states each fact
(such as the host) of the client's request.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Literal

from attrs import field, frozen

from authotron.config.plugins import ContractConfig
from authotron.model.errors import ConfigError, Flaw, UnusableFact
from authotron.model.request import Facts
from authotron.plugin import header_profiles
from authotron.plugin.fact_sources import (
    AnyQuestion,
    Header,
    RequestLine,
    Source,
    Sources,
    check_sources,
    configured,
)
from authotron.plugin.header_profiles import Profile

_AUTHORITY = ("host", "port")
_LOWEST_REFUSAL, _AFTER_REFUSALS = 400, 600


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

    def __attrs_post_init__(self) -> None:
        """
        Check that each source can state its fact.

        @raise ConfigError: a source cannot state its fact.
        """
        check_sources(self.sources)

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
    @ivar removed_in: the header of a 200 that names the identity headers which the proxy must
        remove from the request of the client; empty if the proxy needs none.
    @ivar max_head_bytes: the maximum number of bytes of the head of a 200, from the status line to
        the empty line, or C{None} if the proxy accepts any number; an identity that does not fit
        gets a 403. A configuration may change C{max_head_bytes}.
    @ivar has_error_headers: whether every refusal is a 401 or a 403, with its own status, as
        C{statuses} maps it, and its body in the headers C{X-Error-Status} and C{X-Error-Body}; a
        configuration may set it.
    @ivar removed: the headers with credentials, which the header C{removed_in} names, too.
    @ivar path_header: the header of a 200 that states the path of the client's request, as the
        gateway read it, or an empty string if there is none; the gateway sets it by its
        configuration.
    """

    statuses: Mapping[int, int] = field(factory=dict)
    removed_in: str = ""
    max_head_bytes: int | None = None
    has_error_headers: bool = False
    removed: tuple[str, ...] = ()
    path_header: str = ""

    def __attrs_post_init__(self) -> None:
        """
        Check that no refusal becomes a status below 400, which a proxy could take for a permission.

        @raise ConfigError: a refusal would become such a status.
        """
        for status, instead in self.statuses.items():
            if not _LOWEST_REFUSAL <= instead < _AFTER_REFUSALS:
                raise ConfigError(
                    f"the contract turns a refusal with {status} into {instead}; use 400 to 599"
                )


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
