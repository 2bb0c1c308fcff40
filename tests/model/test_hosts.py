"""Hosts and networks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from authotron.model import hosts


class HostTests(SynchronousTestCase):
    """Patterns of hosts."""

    def test_fits_T13(self) -> None:
        """A pattern fits the same host, one label more (C{*.}), the same port, or any host."""
        for pattern, host in (
            ("a.org", "a.org"),
            ("a.org", "A.ORG"),
            ("a.org", "a.org."),
            ("*.a.org", "x.a.org"),
            ("*.a.org:81", "x.a.org:81"),
            ("*", "anything:99"),
            ("*:81", "a.org:81"),
            ("192.0.2.1", "192.0.2.1"),
            ("[::1]:81", "[::1]:81"),
        ):
            with self.subTest(f"{pattern} {host}"):
                self.assertTrue(hosts.host_fits(pattern, host))

    def test_does_not_fit_T17(self) -> None:
        """A pattern does not fit two labels more, no label, another port or longer names."""
        for pattern, host in (
            ("a.org", "b.org"),
            ("a.org", "a.org:81"),
            ("a.org:81", "a.org"),
            ("*.a.org", "x.y.a.org"),
            ("*.a.org", "a.org"),
            ("*.a.org", ".a.org"),
            ("*.a.org", "xa.org"),
            ("*.0.2.1", "192.0.2.1"),
            ("*:81", "a.org"),
            ("a.org", "a.org.evil.net"),
            ("a.org", ""),
        ):
            with self.subTest(f"{pattern} {host}"):
                self.assertFalse(hosts.host_fits(pattern, host))

    def test_narrower_T17(self) -> None:
        """A pattern contains another pattern as it contains hosts."""
        self.assertTrue(hosts.host_fits("*.a.org", "*.a.org"))
        self.assertTrue(hosts.host_fits("*", "*.a.org:81"))
        self.assertFalse(hosts.host_fits("*.a.org", "*"))
        self.assertFalse(hosts.host_fits("x.a.org", "*.a.org"))
        self.assertFalse(hosts.host_fits("*:81", "*"))

    def test_patterns(self) -> None:
        """A pattern is converted to lower case; a string that is not a pattern is an error."""
        self.assertEqual(hosts.check_host_pattern("*.A.org:0081"), "*.a.org:81")
        for text in ("[::1]", "[::1]:80", "*", "*:80", "192.0.2.1:80", "localhost"):
            self.assertEqual(hosts.check_host_pattern(text), text)
        for text in (
            "", "*.*.x", "foo.*.x", "*foo.x", "a..b", "-a.org", "a.org:0", "a.org:65536", "a.org:",
            "a.org:x", "a b", "::1", "[::1", "[192.0.2.1]", "http://a.org", "a.org/", "a\u0661.org",
        ):  # fmt: skip
            with self.subTest(text):
                self.assertRaises(ValueError, hosts.check_host_pattern, text)

    def test_whole_T16(self) -> None:
        """A pattern covers the whole name, dots are dots, and a line end is part of the name."""
        for pattern, host in (
            ("a.org", "a.org\n"),
            ("a.org", "\na.org"),
            ("a.org", "axorg"),
            ("a.org", "xa.org"),
            ("a.org", "a.org\0"),
            ("a.org", "user@a.org"),
            ("a.org", "a.org/x"),
            ("*.a.org", "x.a.org\n"),
            ("*.a.org", "x.axorg"),
        ):
            with self.subTest(f"{pattern} {host!r}"):
                self.assertFalse(hosts.host_fits(pattern, host))
        for text in ("a.org\n", "a.org:80\n", "*.a.org\r", "(a|b).org", "a?.org", "^a.org$", "."):
            with self.subTest(repr(text)):
                self.assertRaises(ValueError, hosts.check_host_pattern, text)

    @given(st.text(), st.text())
    def test_anything(self, pattern: str, host: str) -> None:
        """Whatever host or address a client sends, matching returns an answer."""
        self.assertIn(hosts.host_fits(pattern, host), (True, False))
        self.assertIn(hosts.network_fits(pattern, host), (True, False))


class NetworkTests(SynchronousTestCase):
    """Networks and the addresses in them."""

    def test_fits(self) -> None:
        """A network contains addresses and smaller networks of its IP version only."""
        self.assertTrue(hosts.network_fits("192.0.2.0/24", "192.0.2.7"))
        self.assertTrue(hosts.network_fits("192.0.2.0/24", "192.0.2.0/25"))
        self.assertFalse(hosts.network_fits("192.0.2.0/24", "192.0.2.0/23"))
        self.assertFalse(hosts.network_fits("0.0.0.0/0", "::1"))
        self.assertFalse(hosts.network_fits("192.0.2.0/24", "192.0.2.7 "))

    def test_patterns(self) -> None:
        """A network is converted to canonical form; a string that is not a network is an error."""
        self.assertEqual(hosts.check_network("2001:DB8:0::/32"), "2001:db8::/32")
        self.assertEqual(hosts.check_network("192.0.2.1"), "192.0.2.1/32")
        for text in ("", "192.0.2.1/24", "localhost", "192.0.2.0/33"):
            self.assertRaises(ValueError, hosts.check_network, text)

    def test_addresses(self) -> None:
        """An IPv4-mapped IPv6 address is converted to IPv4, and a zone is removed."""
        self.assertEqual(hosts.address_of("::ffff:192.0.2.7"), "192.0.2.7")
        self.assertEqual(hosts.address_of("fe80::1%eth0"), "fe80::1")
        self.assertIsNone(hosts.address_of("unknown"))


class LocalTests(SynchronousTestCase):
    """Addresses of this machine."""

    def test_local(self) -> None:
        """Loopback addresses and C{localhost} are local, and names that look like them are not."""
        for url in ("http://localhost:1/", "http://127.1.2.3", "ldap://[::1]", "LDAP://LOCALHOST"):
            self.assertTrue(hosts.is_local(url), url)
        for url in ("http://localhost.example.org", "http://10.0.0.1", "http://127.0.0.1.org", ""):
            self.assertFalse(hosts.is_local(url), url)
