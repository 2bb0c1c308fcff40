"""What proxies state of a request, and which peers are believed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.config.server import Forwarded
from authotron.gateway.contracts import Contracts
from authotron.model.errors import ConfigError, UnusableFact
from authotron.model.request import Facts
from authotron.plugin import trusted_proxies
from authotron.plugin.contract import Answers, Contract, Endpoint
from authotron.plugin.fact_sources import AddressList, Fields, Header, Question, RequestLine


def believed(facts: Facts) -> tuple[str | None, str | None]:
    """Return the host and the address of the client, or C{None} for what is not believed."""
    found: list[str | None] = []
    for name in ("authority", "address"):
        try:
            found.append(getattr(facts, name))
        except UnusableFact:
            found.append(None)
    return found[0], found[1]


def facts(
    peer: str | None,
    values: Fields,
    trusted: tuple[str, ...] = ("127.0.0.0/8", "10.0.0.0/8", "unix"),
    forwarded: Forwarded | None = None,
) -> Facts:
    """Return the facts of a request that a client makes to the gateway through proxies."""
    contracts = Contracts([], trusted_proxies.make(trusted), forwarded or Forwarded())
    return contracts.direct.facts(Question("GET", b"/", values, peer, contracts.proxies))


class ForwardingTests(SynchronousTestCase):
    """Whose word counts."""

    def read(
        self,
        peer: str | None,
        host: tuple[str, ...] = ("a.org",),
        hops: tuple[str, ...] = (),
        trusted: tuple[str, ...] = ("127.0.0.0/8", "10.0.0.0/8", "unix"),
    ) -> tuple[str | None, str | None]:
        """Return the host and the address of the client that are believed."""
        headers = {"X-Forwarded-Host": host, "X-Forwarded-For": hops}
        return believed(facts(peer, headers.__getitem__, trusted))

    def test_trusted(self) -> None:
        """A trusted proxy names the host, and the client by its address."""
        expected = ("a.org", "192.0.2.7")
        self.assertEqual(self.read("127.0.0.1", hops=("192.0.2.7",)), expected)
        self.assertEqual(self.read("::ffff:127.0.0.1", hops=("192.0.2.7",)), expected)

    def test_socket_T08(self) -> None:
        """Who may use our socket is trusted."""
        self.assertEqual(self.read(None), ("a.org", None))

    def test_other_socket_T91c(self) -> None:
        """A peer at a UNIX socket is not believed where the proxies written out have no C{unix}."""
        headers = {"X-Forwarded-Host": ("a.org",), "X-Forwarded-For": ("192.0.2.7",)}
        found = believed(facts(None, headers.__getitem__, ("127.0.0.0/8",)))
        self.assertEqual(found, (None, None))

    def test_stranger_T05(self) -> None:
        """Anybody else may say what they like; their own address is theirs."""
        hops = ("10.0.0.1",)
        self.assertEqual(self.read("192.0.2.7", hops=hops), (None, "192.0.2.7"))

    def test_many_hops_T84a(self) -> None:
        """Of very many addresses 64 are read; if all of these are proxies the client is unknown."""
        for number, client in ((63, "192.0.2.7"), (64, None), (100_000, None)):
            hops = ",".join(["192.0.2.7", *["10.0.0.1"] * number])
            self.assertEqual(self.read("127.0.0.1", hops=(hops,)), ("a.org", client))

    def test_rightmost_T05(self) -> None:
        """Of the addresses the last that is no trusted proxy counts: the first are the client's."""
        for hops, client in (
            ("8.8.8.8, 192.0.2.7", "192.0.2.7"),
            ("8.8.8.8, 192.0.2.7,10.1.1.1", "192.0.2.7"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("8.8.8.8, unknown", None),
            ("8.8.8.8, unknown, 10.1.1.1", None),
            ("", None),
        ):
            with self.subTest(hops):
                self.assertEqual(self.read("127.0.0.1", hops=(hops,))[1], client)

    def test_no_hops_T04(self) -> None:
        """A trusted proxy that does not say for whom it asks is not taken for the client."""
        self.assertIsNone(self.read("127.0.0.1")[1])

    def test_twice_T07(self) -> None:
        """A header with one value that stands there twice says nothing."""
        headers = {"X-Forwarded-Host": ("a.org", "b.org"), "X-Real-IP": ("192.0.2.7", "192.0.2.8")}
        forwarded = Forwarded(address="X-Real-IP")
        found = believed(facts("127.0.0.1", headers.__getitem__, forwarded=forwarded))
        self.assertEqual(found, (None, None))

    def test_several_lines_H_XFF(self) -> None:
        """Several lines of C{X-Forwarded-For} are one list, which is read from the right."""
        for lines, client in (
            (("8.8.8.8", "192.0.2.7"), "192.0.2.7"),
            (("8.8.8.8, 192.0.2.7", "10.1.1.1"), "192.0.2.7"),
            (("192.0.2.7", "10.1.1.1, 10.2.2.2", "10.3.3.3"), "192.0.2.7"),
            (("192.0.2.7", ""), "192.0.2.7"),
            (("unknown", "192.0.2.7"), "192.0.2.7"),
            (("192.0.2.7", "unknown"), None),
        ):
            with self.subTest(lines):
                self.assertEqual(self.read("127.0.0.1", hops=lines)[1], client)

    def test_ports_and_brackets_H_XFF(self) -> None:
        """A port behind an address, and brackets around an IPv6 address, do not count."""
        for hop, client in (
            ("203.0.113.7:51234", "203.0.113.7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[::ffff:203.0.113.7]:1", "203.0.113.7"),
            ("[2001:db8::7%eth0]:443", "2001:db8::7"),
            ("[2001:db8::7%1]", "2001:db8::7"),
            ("8.8.8.8, 203.0.113.7:51234, 10.1.1.1:80", "203.0.113.7"),
            ("203.0.113.7,, 10.1.1.1,", "203.0.113.7"),
            ("203.0.113.7:", None),
            ("203.0.113.7:x", None),
            ("203.0.113.7:123456", None),
            ("[2001:db8::7", None),
            ("[2001:db8::7]443", None),
            ("203.0.113", None),
            ("a.org:80", None),
        ):
            with self.subTest(hop):
                self.assertEqual(self.read("127.0.0.1", hops=(hop,))[1], client)

    def test_odd_host_T13(self) -> None:
        """A value that is not one host, perhaps with a port, names no host."""
        for host in (
            "", "a.org, b.org", "a.org/", "http://a.org", "a b", "a.org:123456", "user@a.org",
            "a.org\0", "a.org\n", "a.org:80:80", "a.org:", "[::1", "::1", "a.org?b", "a.org#b",
            "a\\b", "b\xfccher.example", "a%2eorg",
        ):  # fmt: skip
            with self.subTest(repr(host)):
                self.assertIsNone(self.read("127.0.0.1", (host,))[0])


class ForwardedTests(SynchronousTestCase):
    """The header C{Forwarded} (RFC 7239), if the configuration names it."""

    def read(self, *lines: str) -> tuple[str | None, str | None]:
        """Return the host and the address of the client that are believed."""
        forwarded = Forwarded(host="forwarded", address="Forwarded")
        return believed(facts("127.0.0.1", lambda _: lines, forwarded=forwarded))

    def test_addresses_H_XFF(self) -> None:
        """The parameter C{for} of the farthest proxy that is trusted names the client."""
        for lines, client in (
            (("for=192.0.2.43",), "192.0.2.43"),
            (("For=192.0.2.43;proto=http;by=203.0.113.43",), "192.0.2.43"),
            (('for="192.0.2.43:4711"',), "192.0.2.43"),
            (('for="[2001:db8:cafe::17]:4711"',), "2001:db8:cafe::17"),
            (('for="[2001:db8:cafe::17]"; proto=https',), "2001:db8:cafe::17"),
            (("for=8.8.8.8, for=192.0.2.43",), "192.0.2.43"),
            (("for=8.8.8.8, for=192.0.2.43, for=10.1.1.1",), "192.0.2.43"),
            (("for=8.8.8.8", "for=192.0.2.43", "for=10.1.1.1;by=10.0.0.1"), "192.0.2.43"),
            (("for=192.0.2.43,, for=10.1.1.1,",), "192.0.2.43"),
            (('for=192.0.2.43;ext="a, b; for=8.8.8.8"',), "192.0.2.43"),
            ((";for=192.0.2.43; ;proto=http;",), "192.0.2.43"),
            (("for=192.0.2.43:4711",), "192.0.2.43"),
            (("for=[2001:db8:cafe::17]:4711;by=10.1.1.1:80",), "2001:db8:cafe::17"),
            (("for=unknown",), None),
            ((";",), None),
            (("; , for=10.1.1.1",), None),
            (("for=_hidden, for=10.1.1.1",), None),
            (("proto=https",), None),
            (("for=192.0.2.43;for=192.0.2.44",), None),
            (("192.0.2.43",), None),
            (("",), None),
            ((), None),
        ):
            with self.subTest(lines):
                self.assertEqual(self.read(*lines)[1], client)

    def test_open_quote_H_XFF(self) -> None:
        """A quoted string that a client leaves open does not swallow what the proxy adds."""
        for begin in ('for="evil', 'for="evil\\', 'x="', "for=10.1.1.1;", '"', "for=10.2.2.2"):
            self.assertEqual(self.read(begin, "for=192.0.2.43")[1], "192.0.2.43")
            self.assertEqual(self.read(f'{begin}, for="192.0.2.43:1"')[1], "192.0.2.43")

    def test_malformed_beside_proxies_H_XFF(self) -> None:
        """If the element before those of trusted proxies is malformed, the client is unknown."""
        self.assertIsNone(self.read("nonsense, for=10.1.1.1")[1])
        self.assertIsNone(self.read('for="evil, for=10.1.1.1')[1])

    def test_host_H_XFF(self) -> None:
        """The host is that of the element that names the client."""
        for lines, host in (
            (("for=192.0.2.43;host=a.org",), "a.org"),
            (('for=192.0.2.43;host="a.org:8443"',), "a.org:8443"),
            (("for=8.8.8.8;host=evil.org, for=192.0.2.43;host=a.org",), "a.org"),
            (("for=192.0.2.43;host=a.org, for=10.1.1.1;host=inner.org",), "a.org"),
            (("for=192.0.2.43, for=10.1.1.1;host=inner.org",), None),
            (('for=192.0.2.43;host="a b"',), None),
        ):
            with self.subTest(lines):
                self.assertEqual(self.read(*lines)[0], host)

    def test_endless_lists_H_XFF(self) -> None:
        """Of very many elements 64 are read."""
        self.assertIsNone(self.read("for=192.0.2.43, " + "for=10.1.1.1, " * 1000)[1])


def contract(name: str, *endpoints: Endpoint) -> Contract:
    return Contract(name, endpoints)


class RequiredTests(SynchronousTestCase):
    """The facts that every question must state."""

    def test_connect_has_no_path(self) -> None:
        """
        A question by C{CONNECT} need not state a path, because there is none; conditions that read
        one refuse it.
        """
        endpoint = Endpoint("/auth/one", {}, required=("path",))
        proxies = trusted_proxies.make([])
        for method, is_problem in (("GET", True), ("CONNECT", False)):
            question = Question(method, b"", lambda _: [], "192.0.2.7", proxies)
            self.assertIs(endpoint.problem(question) is not None, is_problem)
            self.assertRaises(UnusableFact, getattr, endpoint.facts(question), "path")


class StatusesTests(SynchronousTestCase):
    """The statuses that a contract sends in place of others."""

    def test_no_permission(self) -> None:
        """No contract turns a refusal into a status that a proxy could take for a permission."""
        for instead in (200, 204, 302, 399, 600, 0):
            error = self.assertRaises(ConfigError, Answers, {401: instead})
            self.assertIn(f"turns a refusal with 401 into {instead}", str(error))
        self.assertEqual(Answers({401: 407, 403: 599}).statuses, {401: 407, 403: 599})


class SourcesTests(SynchronousTestCase):
    """Which sources may state a fact."""

    def test_unable(self) -> None:
        """An endpoint refuses a source that would fail or state something else."""
        for fact, source, instead in (
            ("address", Header("X-Real-IP"), "AddressList"),
            ("address", RequestLine(), "AddressList"),
            ("host", AddressList("X-Forwarded-For"), "Header"),
            ("scheme", RequestLine(), "Header"),
            ("path", AddressList("X-Path"), "Header or RequestLine"),
            ("colour", Header("X-Colour"), "a source of its own class"),
        ):
            error = self.assertRaises(ConfigError, Endpoint, "/auth/one", {fact: source})
            self.assertTrue(str(error).endswith(f"which cannot state it; use {instead}"), error)

    def test_own_class(self) -> None:
        """A source of another class may state any fact."""

        class Fixed:
            headers = ()

            def check(self, *_: object) -> None:
                """Always state the fact."""

            def read(self, *_: object) -> object:
                return "203.0.113.7"

        question = Question("GET", b"", lambda _: [], None, trusted_proxies.make([]))
        endpoint = Endpoint("/auth/one", {"address": Fixed()})
        self.assertEqual(endpoint.facts(question).address, "203.0.113.7")


class FindTests(SynchronousTestCase):
    """By which contract a question comes in."""

    def setUp(self) -> None:
        self.contracts = Contracts(
            [
                contract("one", Endpoint("/auth", {}), Endpoint("/auth/one", {})),
                contract("two", Endpoint("/auth/two", {}, appends=True)),
            ],
            trusted_proxies.make([]),
            Forwarded(),
        )

    def found(self, target: bytes) -> tuple[str, bytes] | None:
        asked = self.contracts.find(target)
        return None if asked is None else (asked.endpoint.path, asked.target)

    def test_literal_T12(self) -> None:
        """The literal bytes of the target choose the contract, before anything is decoded."""
        for target, expected in (
            (b"/auth", ("/auth", b"")),
            (b"/auth/one", ("/auth/one", b"")),
            (b"/auth/two/x", ("/auth/two", b"/x")),
            (b"/auth/two/../one", ("/auth/two", b"/../one")),
            (b"/auth/two/%2e%2e/one", ("/auth/two", b"/%2e%2e/one")),
            (b"/auth/two//auth/one", ("/auth/two", b"//auth/one")),
            (b"/auth/two/", ("/auth/two", b"/")),
            (b"/auth/two", None),
            (b"/auth/two?x", None),
            (b"/auth/twos/x", None),
            (b"/auth/two*", ("/auth/two", b"*")),
            (b"/auth/two*/x", None),
            (b"/auth/one/", None),
            (b"/auth/one/../two/x", None),
            (b"/auth/%6fne", None),
            (b"/AUTH/one", None),
            (b"//auth/one", None),
            (b"/x/../auth/one", None),
            (b"auth/one", None),
            (b"*", None),
        ):
            with self.subTest(target):
                self.assertEqual(self.found(target), expected)

    def test_query_T14(self) -> None:
        """A query behind a fixed path says nothing; behind an appended path it is the client's."""
        self.assertEqual(self.found(b"/auth/one?/auth/two/x"), ("/auth/one", b""))
        self.assertEqual(self.found(b"/auth/two/x?y=/z"), ("/auth/two", b"/x?y=/z"))

    def test_by_name(self) -> None:
        """A contract is found by its name, unless it is not configured."""
        found = self.contracts.by_name("two")
        assert found is not None
        self.assertEqual(found.name, "two")
        self.assertIsNone(self.contracts.by_name("three"))
