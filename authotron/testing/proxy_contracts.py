"""
The contract test that every contract of a reverse proxy must pass.

The test case of a contract inherits from L{ProxyContract}, and overrides the method that builds the
contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Flaw, UnusableFact
from authotron.model.request import Facts
from authotron.plugin import trusted_proxies
from authotron.plugin.contract import Contract, Endpoint
from authotron.plugin.fact_sources import Question, RequestLine

_PROXY, _STRANGER = "192.0.2.1", "198.51.100.66"
_PROXIES = trusted_proxies.make([_PROXY, "10.0.0.0/8"])

_STATED: Mapping[str, tuple[str, object]] = {
    "method": ("DELETE", "DELETE"),
    "scheme": ("HTTPS", "https"),
    "host": ("App.Example.org.:8443", "app.example.org"),
    "port": ("App.Example.org.:8443", 8443),
    "path": ("/a/../data/%78?a=/b", "/data/x"),
    "query": ("/a/../data/%78?a=/b", "a=/b"),
    "address": ("203.0.113.7", "203.0.113.7"),
    "namespace": ("/ns", "/ns"),
}
"""
For each fact of a request the header value that a proxy sends, and the value that the gateway
reads.
"""

_WRONG: Mapping[str, Sequence[str]] = {
    "method": ("G T", "GET\t", "G\x00"),
    "scheme": ("ftp", "https, http", "https://"),
    "host": ("a b", "u@a.org", "a.org/", "a.org, b.org", "a.org\0", "a.org:0", "[::1", "."),
    "path": ("x", "/a#b", "/a%2fb", "/a//b", "/..", "/a\\b", "/a;b", "/%zz", "/%00", "/\xff", "*"),
    "address": ("unknown", "[::1", "203.0.113.7, unknown", "_hidden"),
}
"""For each fact of a request a header value that no proxy may state."""

_FOREIGN = (
    *("Forwarded", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Port", "X-Real-IP"),
    *("X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Scheme", "X-Rewrite-URL", "X-Original-URL"),
    *("X-HTTP-Method-Override", "X-Method-Override", "X-Original-Host", "X-Client-IP", "Via"),
    *("X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Uri"),
    *("X-Forwarded-Method", "X-Original-URI", "X-Original-Method", "X-Authotron-Uri", "Host"),
)
"""Headers of a request; a contract reads only those that it names."""

_OPTIONAL = ("namespace", "certificate")


class ProxyContract:
    """
    Tests of the contract of a proxy, for a L{SynchronousTestCase} that also inherits from this
    class, and overrides L{contract}.
    """

    def contract(self) -> Contract:
        """Build the contract to test."""
        raise NotImplementedError

    def endpoints(self) -> Iterator[Endpoint]:
        """Yield all endpoints of the contract, so that each test checks each of them."""
        assert isinstance(self, SynchronousTestCase)
        for endpoint in self.contract().endpoints:
            with self.subTest(endpoint.path, appends=endpoint.appends):
                yield endpoint

    def ask(
        self,
        endpoint: Endpoint,
        changed: Mapping[str, Sequence[str]] | None = None,
        peer: str | None = _PROXY,
        target: str | None = None,
        twins: Sequence[str] = (),
    ) -> Question:
        """
        Return an authentication request in which a proxy states every fact of the client's request.

        @param changed: for some headers other values than the usual ones.
        @param target: the path and query that the proxy appends to the path of the endpoint.
        """
        headers = {
            name.lower(): [_STATED[fact][0]]
            for fact, source in endpoint.sources.items()
            if fact in _STATED
            for name in source.headers
        }
        headers.update({name.lower(): [*values] for name, values in (changed or {}).items()})
        behind = _STATED["path"][0] if target is None else target
        return Question(
            _STATED["method"][0],
            behind.encode("latin-1") if endpoint.appends else b"",
            lambda name: headers.get(name.lower(), []),
            peer,
            _PROXIES,
            lambda name: name in twins,
        )

    def by_header(self, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
        """Yield each fact of a request that a header states, with the name of the header."""
        for fact, source in endpoint.sources.items():
            for name in source.headers:
                if fact not in _OPTIONAL:
                    yield fact, name

    def flaw(self, facts: Facts, name: str) -> Flaw | None:
        """Return why a fact of a request cannot be used, or C{None} if it can be used."""
        try:
            getattr(facts, name)
        except UnusableFact as unusable:
            return unusable.flaw
        return None

    def test_paths(self: Any) -> None:
        """
        Each endpoint has a path of its own, which needs no encoding; no path of a new contract
        equals the path of a route of the gateway.
        """
        contract = self.contract()
        found = [(each.path, each.appends) for each in contract.endpoints]
        self.assertEqual(len(set(found)), len(found))
        for path, _ in found:
            self.assertRegex(path, r"\A(?:/authenticate|/_auth|/auth(?:/[a-z0-9-]+)?)\Z")
        self.assertIn(f"/auth/{contract.name}", [path for path, _ in found])

    def test_facts(self: Any) -> None:
        """The gateway reads the facts that a trusted proxy states, in canonical spelling."""
        for endpoint in self.endpoints():
            facts = endpoint.facts(self.ask(endpoint))
            for fact in endpoint.sources:
                if fact in _STATED:
                    self.assertEqual(getattr(facts, fact), _STATED[fact][1], fact)
            self.assertIsNone(endpoint.problem(self.ask(endpoint)))

    def test_untrusted_T01_T06(self: Any) -> None:
        """
        The gateway believes nothing that an untrusted peer states; the peer's own address is that
        of the client.
        """
        for endpoint in self.endpoints():
            facts = endpoint.facts(self.ask(endpoint, peer=_STRANGER))
            for fact in set(endpoint.sources) - {"address"}:
                self.assertIs(self.flaw(facts, fact), Flaw.UNTRUSTED, fact)
            if "address" in endpoint.sources:
                self.assertEqual(facts.address, _STRANGER)
            problem = endpoint.problem(self.ask(endpoint, peer=_STRANGER))
            self.assertEqual(problem is not None, bool(endpoint.required))

    def test_socket_T08(self: Any) -> None:
        """
        The gateway believes a peer at a UNIX socket only if the trusted proxies
        contain C{unix}.
        """
        for endpoint in self.endpoints():
            facts = endpoint.facts(self.ask(endpoint, peer=None))
            for fact in endpoint.sources:
                self.assertIs(self.flaw(facts, fact), Flaw.UNTRUSTED, fact)

    def test_missing_T04_T18(self: Any) -> None:
        """
        A fact of a request whose header is missing is unknown, whatever other headers
        there are.
        """
        for endpoint in self.endpoints():
            for fact, name in self.by_header(endpoint):
                facts = endpoint.facts(self.ask(endpoint, {name: []}))
                self.assertIs(self.flaw(facts, fact), Flaw.MISSING, fact)

    def test_required_T04(self: Any) -> None:
        """
        A proxy's request without a required header has a problem; a header with an empty value is
        not missing.
        """
        for endpoint in self.endpoints():
            for fact in endpoint.required:
                for name in endpoint.sources[fact].headers:
                    for values, problem in (([], True), (["x", "x"], True), ([""], False)):
                        found = endpoint.problem(self.ask(endpoint, {name: values}))
                        self.assertEqual(found is not None, problem, (fact, values))

    def test_duplicate_T07(self: Any) -> None:
        """
        A header that may occur only once is not used if it occurs twice, even with
        equal values.
        """
        for endpoint in self.endpoints():
            for fact, name in self.by_header(endpoint):
                if fact != "address":
                    value = _STATED[fact][0]
                    facts = endpoint.facts(self.ask(endpoint, {name: [value, value]}))
                    self.assertIs(self.flaw(facts, fact), Flaw.DUPLICATE, fact)

    def test_underscores_T02(self: Any) -> None:
        """
        A header whose name has underscores never counts; if the operator wants so, the request is
        refused.
        """
        for endpoint in self.endpoints():
            for fact, name in self.by_header(endpoint):
                twin = name.replace("-", "_")
                if twin == name:
                    continue
                changed = {twin: ["evil"]}
                ignored = endpoint.facts(self.ask(endpoint, changed, twins=[name]))
                self.assertEqual(getattr(ignored, fact), _STATED[fact][1])
                alone = endpoint.facts(self.ask(endpoint, {**changed, name: []}))
                self.assertIs(self.flaw(alone, fact), Flaw.MISSING)
                strict = evolve(endpoint, refuses_twins=True)
                refused = strict.facts(self.ask(strict, changed, twins=[name]))
                self.assertIs(self.flaw(refused, fact), Flaw.DUPLICATE)

    def test_foreign_T03(self: Any) -> None:
        """Headers that the contract does not name have no effect."""
        for endpoint in self.endpoints():
            own = {name.lower() for each in endpoint.sources.values() for name in each.headers}
            foreign = {name: ["/evil"] for name in _FOREIGN if name.lower() not in own}
            expected = endpoint.facts(self.ask(endpoint))
            self.assertEqual(endpoint.facts(self.ask(endpoint, foreign)), expected)

    def test_malformed_T13(self: Any) -> None:
        """A header with a malformed value is not used."""
        for endpoint in self.endpoints():
            for fact, name in self.by_header(endpoint):
                for value in _WRONG.get(fact, ()):
                    facts = endpoint.facts(self.ask(endpoint, {name: [value]}))
                    self.assertIs(self.flaw(facts, fact), Flaw.MALFORMED, value)

    def test_ambiguous_path_T12(self: Any) -> None:
        """
        A path that proxies and backends could interpret differently is refused, in whichever header
        the proxy states it.
        """
        for endpoint in self.endpoints():
            if not isinstance(endpoint.sources.get("path"), RequestLine):
                continue
            for value in _WRONG["path"]:
                facts = endpoint.facts(self.ask(endpoint, target=value))
                self.assertIs(self.flaw(facts, "path"), Flaw.MALFORMED, value)
            facts = endpoint.facts(self.ask(endpoint, target=""))
            self.assertIs(self.flaw(facts, "path"), Flaw.MISSING)

    def test_rightmost_T05(self: Any) -> None:
        """The client has the rightmost address that is not a trusted proxy."""
        for endpoint in self.endpoints():
            if "address" not in endpoint.sources:
                continue
            [name] = endpoint.sources["address"].headers
            for value, expected in (
                ("8.8.8.8, 203.0.113.7", "203.0.113.7"),
                ("8.8.8.8, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
                ("[2001:DB8::1]:443", "2001:db8::1"),
                ("unknown", None),
            ):
                question = self.ask(endpoint, {name: [value]})
                self.assertEqual(endpoint.client(question), expected, value)

    def test_refusals_carry_no_identity(self: Any) -> None:
        """A contract cannot change a refusal into a 200."""
        answers = self.contract().answers
        statuses = answers.statuses if answers else {}
        for refused, sent in statuses.items():
            self.assertNotEqual(refused, 200)
            self.assertGreaterEqual(sent, 300)
