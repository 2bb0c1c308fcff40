"""What proxies say of a client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.config.server import Forwarded
from authotron.gateway.forwarded import Forwarding
from authotron.model.errors import UnusableFact
from authotron.model.request import Facts


def believed(facts: Facts) -> tuple[str | None, str | None]:
    """Return the host and the address of the client, or C{None} for what is not believed."""
    found: list[str | None] = []
    for name in ("authority", "address"):
        try:
            found.append(getattr(facts, name))
        except UnusableFact:
            found.append(None)
    return found[0], found[1]


class ForwardingTests(SynchronousTestCase):
    """Whose word counts."""

    def read(
        self,
        peer: str | None,
        host: tuple[str, ...] = ("a.org",),
        hops: tuple[str, ...] = (),
        trusted: tuple[str, ...] = ("127.0.0.0/8", "10.0.0.0/8"),
    ) -> tuple[str | None, str | None]:
        """Return the host and the address of the client that are believed."""
        headers = {"X-Forwarded-Host": host, "X-Forwarded-For": hops}
        forwarding = Forwarding(trusted, Forwarded())
        found = believed(forwarding.facts(peer, headers.__getitem__))
        self.assertEqual(forwarding.client(peer, headers.__getitem__), found[1])
        return found

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
        forwarding = Forwarding(("127.0.0.0/8",), Forwarded(), trusts_unix=False)
        facts = forwarding.facts(None, headers.__getitem__)
        self.assertEqual(believed(facts), (None, None))

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
        forwarding = Forwarding(("127.0.0.0/8",), Forwarded(address="X-Real-IP"))
        facts = forwarding.facts("127.0.0.1", headers.__getitem__)
        self.assertEqual(believed(facts), (None, None))

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
        forwarding = Forwarding(
            ("127.0.0.0/8", "10.0.0.0/8"), Forwarded(host="forwarded", address="Forwarded")
        )
        return believed(forwarding.facts("127.0.0.1", lambda _: lines))

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
