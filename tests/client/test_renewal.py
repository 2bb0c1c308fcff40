"""Tokens for calls to other services."""

from __future__ import annotations

import threading
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from authotron.client import Unavailable, User
from authotron.client.origins import origin_of, origins
from authotron.client.renewal import Token, TokenSource, fixed, of_gateway
from authotron.client.testing import FakeGateway


class RenewalTests(SynchronousTestCase):
    """When a token is fetched."""

    def setUp(self) -> None:
        self.now, self.fetched, self.is_away = 1000.0, 0, False
        self.threads: list[Callable[[], None]] = []
        self.source = TokenSource(self.fetch, clock=lambda: self.now, spawn=self.threads.append)

    def fetch(self) -> Token:
        if self.is_away:
            raise Unavailable("the gateway is unreachable")
        self.fetched += 1
        return Token(f"token-{self.fetched}", self.now + 100)

    def run_threads(self) -> None:
        while self.threads:
            work = self.threads.pop()
            work()

    def test_half_life(self) -> None:
        """Half of the life of a token is used up before a thread renews it."""
        self.assertEqual(self.source.get(), "token-1")
        self.now += 49
        self.assertEqual((self.source.get(), self.threads), ("token-1", []))
        self.now += 1
        self.assertEqual((self.source.get(), len(self.threads)), ("token-1", 1))
        self.assertEqual((self.source.get(), len(self.threads)), ("token-1", 1))
        self.run_threads()
        self.assertEqual(self.source.get(), "token-2")

    def test_outage(self) -> None:
        """While no token can be had the old one is used until it expires, and tried less often."""
        self.source.get()
        self.is_away, attempts = True, 0
        for _ in range(99):
            self.now += 1
            self.assertEqual(self.source.get(), "token-1")
            attempts += len(self.threads)
            self.run_threads()
        self.assertLess(attempts, 12)
        self.now += 1
        self.assertRaises(Unavailable, self.source.get)
        self.is_away = False
        self.assertEqual(self.source.get(), "token-2")

    def test_refused(self) -> None:
        """A token that a service refuses is replaced, once however many calls it was sent with."""
        token = self.source.get()
        for _ in range(3):
            self.source.refused(token)
            self.assertEqual(self.source.get(), "token-2")

    def test_expired(self) -> None:
        """A new token that has expired already is an outage."""
        source = TokenSource(lambda: Token("x", 1000.0), clock=lambda: self.now)
        self.assertRaises(Unavailable, source.get)

    def test_one_at_a_time(self) -> None:
        """Callers at the same time share one renewal."""
        go, fetched = threading.Event(), list[int]()

        def fetch() -> Token:
            go.wait(10)
            fetched.append(1)
            return Token("x", 2000.0)

        source = TokenSource(fetch, clock=lambda: self.now)
        threads = [threading.Thread(target=source.get) for _ in range(20)]
        for thread in threads:
            thread.start()
        go.set()
        for thread in threads:
            thread.join()
        self.assertEqual(len(fetched), 1)

    def test_of_gateway(self) -> None:
        """A service gets its JWTs from the gateway, a new one each time."""
        gateway = FakeGateway()
        gateway.add_token(User("services", "harvester"), "aot_secret")
        source = of_gateway(gateway.client(), "Bearer aot_secret")
        first = source.get()
        self.assertEqual(gateway.verifier().verify(first).subject, "services-harvester")
        source.refused(first)
        self.assertNotEqual(source.get(), first)
        self.assertNotIn(first, repr(Token(first, 1.0)))

    def test_fixed(self) -> None:
        """An API token is sent as it is."""
        self.assertEqual(fixed("aot_secret").get(), "aot_secret")


class OriginTests(SynchronousTestCase):
    """To whom a token is sent."""

    def test_same(self) -> None:
        """Scheme, host and port say who it is; a standard port may be left out."""
        same = origin_of("https://api.test/a?b")
        for url in ("https://API.test:443/", "https://api.test.", "https://u:p@api.test/x"):
            self.assertEqual(origin_of(url), same)
        for url in ("http://api.test/", "https://api.test:8443/", "https://api.test.evil.test/"):
            self.assertNotEqual(origin_of(url), same)

    def test_none(self) -> None:
        """A token without the URLs that it is for is a mistake, as any host would get it."""
        for urls in ((), ("",), ("api.test",), ("ftp://api.test/",)):
            self.assertRaises(ValueError, origins, urls)
