"""What proxies say of a client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.config.server import Forwarded
from authotron.gateway.forwarded import Forwarding


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
        context = forwarding.facts(peer, headers.__getitem__)
        self.assertEqual(forwarding.client(peer, headers.__getitem__), context.address)
        return context.host, context.address

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
        context = forwarding.facts(None, headers.__getitem__)
        self.assertEqual((context.host, context.address), (None, None))

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
        """A header that stands there twice says nothing."""
        twice = self.read("127.0.0.1", ("a.org", "b.org"), ("192.0.2.7", "192.0.2.8"))
        self.assertEqual(twice, (None, None))

    def test_odd_host_T13(self) -> None:
        """A value that is not one host, perhaps with a port, names no host."""
        for host in (
            "", "a.org, b.org", "a.org/", "http://a.org", "a b", "a.org:123456", "user@a.org",
            "a.org\0", "a.org\n", "a.org:80:80", "a.org:", "[::1", "::1", "a.org?b", "a.org#b",
            "a\\b", "b\xfccher.example", "a%2eorg",
        ):  # fmt: skip
            with self.subTest(repr(host)):
                self.assertIsNone(self.read("127.0.0.1", (host,))[0])
