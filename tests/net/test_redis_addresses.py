"""Addresses of Redis servers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.net.redis_addresses import check_host, split


class HostTests(SynchronousTestCase):
    """The value of C{store.host}."""

    def problem(self, host: str) -> str:
        return str(self.assertRaises(ValueError, check_host, host))

    def test_good_R_LOGIN(self) -> None:
        """Names, addresses and the absolute paths of UNIX sockets are hosts."""
        for host in (
            "redis",
            "a_b.example.org.",
            "127.0.0.1",
            "::1",
            "/run/x.sock",
            "bücher.example",
        ):
            self.assertEqual(check_host(host), host)

    def test_uri_R_LOGIN(self) -> None:
        """A URI is a mistake; the message has the keys to write instead, and no secret."""
        for uri, keys in (
            ("redis://x", "write host: x, port: 6379"),
            ("redis://x:7/0", "write host: x, port: 7"),
            ("rediss://x/3", "write host: x, port: 6379, database: 3, tls: true"),
            ("redis://u:canary@x", "port: 6379, and set username and password"),
            ("redis://:canary@x", "port: 6379, and set password"),
            ("unix:///run/x.sock", "write host: /run/x.sock"),
            ("redis://[broken", "set host, port"),
        ):
            found = self.problem(uri)
            self.assertIn(keys, found)
            self.assertNotIn("canary", found)

    def test_port_R_LOGIN(self) -> None:
        """A port in the host is a mistake; the message has the keys to write instead."""
        for host in ("h:6380", "[h]:6380"):
            self.assertIn("write host: 'h' and port: 6380", self.problem(host))
        self.assertIn("write host: '::1' and port: 6380", self.problem("[::1]:6380"))
        self.assertIn("write host: '127.0.0.1' and port: 6380", self.problem(":6380"))

    def test_others_R_LOGIN(self) -> None:
        """What Twisted cannot connect to is a mistake before the gateway starts."""
        for host, words in (
            ("[::1]", "'::1'"),
            ("unix:/run/x.sock", "write host: /run/x.sock"),
            ("run/x.sock", "absolute path"),
            ("a,b", "several hosts"),
            ("a b", "is not the name"),
            ("a..b", "is not the name"),
            ("u@h", "is not the name"),
            ("x" * 64, "is not the name"),
        ):
            self.assertIn(words, self.problem(host))


class SentinelAddressTests(SynchronousTestCase):
    """The entries of C{store.sentinels}."""

    def test_good_R_LOGIN(self) -> None:
        """An entry has a host, and a port unless it is the usual one."""
        for text, address in (
            ("a:1", ("a", 1)),
            ("a", ("a", 26379)),
            ("[::1]:2", ("::1", 2)),
            ("::1", ("::1", 26379)),
        ):
            self.assertEqual(split(text), address)

    def test_bad_R_LOGIN(self) -> None:
        """Anything else is a mistake."""
        for text in ("", "redis://a", "a:0", "a:65536", "a:b", "/run/x.sock", ":1"):
            self.assertRaises(ValueError, split, text)
