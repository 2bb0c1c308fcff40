"""Connecting to other machines can be cancelled."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from authotron.config import section
from authotron.ldap.connection import Connection
from authotron.ldap.directory import Directory
from authotron.ldap.servers import Limits, Security, Server
from authotron.model.errors import TimedOut, Unavailable
from authotron.net import http, proxies
from authotron.net.certificates import literal_address
from authotron.net.endpoints import connector
from authotron.net.http import RemoteConfig
from authotron.net.http_agents import Connections
from authotron.net.urls import check_url
from authotron.net.world import World
from authotron.testing.worlds import run_at_once


class Resolver:
    """Resolves names when the test says so, and addresses at once."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.names: list[str] = []

    def resolveHostName(self, receiver: Any, name: str, **given: Any) -> None:
        self.asked.append(receiver)
        self.names.append(name)
        if literal_address(name) is not None:
            receiver.addressResolved(IPv4Address("TCP", name, given["portNumber"]))
            receiver.resolutionComplete()


class EndpointCase(SynchronousTestCase):
    """A reactor that resolves names, but connects only when the test says so."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.resolver = Resolver()
        self.reactor.nameResolver = cast(Any, self.resolver)
        alsoProvides(self.reactor, IReactorPluggableNameResolver)


class ConnectingTests(EndpointCase):
    """Connecting, and cancelling it."""

    def connect(self, host: str) -> Deferred[Any]:
        return connector(self.reactor)(host, 389).connect(Factory.forProtocol(Protocol))

    def test_cancelled_during_lookup_T85a(self) -> None:
        """Connecting that is cancelled during the host name lookup fails with C{CancelledError}."""
        connecting = self.connect("directory.example")
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.resolver.asked[0].resolutionComplete()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_cancelled_while_connecting_T85a(self) -> None:
        """Connecting that is cancelled before the server accepts fails with C{CancelledError}."""
        connecting = self.connect("192.0.2.1")
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)

    def test_connected(self) -> None:
        """The Deferred fires with the protocol once the server accepts."""
        connecting = self.connect("192.0.2.1")
        factory = self.reactor.tcpClients[0][2]
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(object())
        self.assertIsInstance(self.successResultOf(connecting), Protocol)

    def test_names_outside_idna_H_IDNA(self) -> None:
        """Any label of ASCII characters is looked up, also one that IDNA does not allow."""
        names = ["my_host", "_ldap._tcp.example", "ab--cd.example", "-a.example", "a-", "x.", "1a"]
        for name in names:
            self.connect(name).addErrback(lambda _: None)
        self.assertEqual(self.resolver.names, names)

    def test_impossible_names_H_IDNA(self) -> None:
        """A name that cannot be looked up fails as a name that is not found."""
        for name in ("a..b", ".a", "a" * 64, "a b", "", "\x00"):
            with self.subTest(name):
                self.failureResultOf(self.connect(name), DNSLookupError)


class RemoteTests(EndpointCase):
    """A remote service that is asked by HTTP."""

    def setUp(self) -> None:
        super().setUp()
        connections = Connections(self.reactor)
        self.world = World(self.reactor, run_at_once, connections, connect=connector(self.reactor))
        self.web = http.make(section.read(RemoteConfig, {"timeout": 2}), self.world)

    def ask(self, host: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.web.get(f"http://{host}/"))

    def test_cancelled_clients_do_not_open_the_circuit_T85a(self) -> None:
        """Clients that are cancelled before there is a connection do not open the circuit."""
        for host in ("accounts.example", "192.0.2.1"):
            for _ in range(20):
                leaver = self.ask(host)
                leaver.cancel()
                self.failureResultOf(leaver, CancelledError)
        self.assertEqual(self.world.breakers.open_count(), 0)

    def test_every_good_url_H_IDNA(self) -> None:
        """Requests can be sent to each URL that is accepted in a configuration."""
        for url, host in (
            ("http://[::1]:8080/i", "::1"),
            ("http://[2001:db8::5]/", "2001:db8::5"),
            ("http://my_host:1/", "my_host"),
            ("http://ab--cd.example", "ab--cd.example"),
            ("http://xn--a.example", "xn--a.example"),
            ("http://-a-.example/", "-a-.example"),
            ("http://a.example.:8/", "a.example."),
            ("http://a.example:/", "a.example"),
            ("http://a.example?x=1", "a.example"),
            ("http://a!b/", "a!b"),
            ("HTTP://A.example/", "a.example"),
            ("https://anmeldung.Müller.example:8/ü", "anmeldung.xn--mller-kva.example"),
            ("http://faß。example/", "xn--fa-hia.example"),
        ):
            with self.subTest(url):
                self.resolver.names.clear()
                asked = Deferred.fromCoroutine(self.web.get(check_url(url), {"token": "x"}))
                self.assertNoResult(asked)
                self.assertEqual(self.resolver.names, [host])
                asked.addErrback(lambda _: None)
                asked.cancel()

    def test_hosts_that_cannot_be_looked_up_H_IDNA(self) -> None:
        """A URL whose host cannot be looked up is a mistake."""
        for host in ("a..b", "ü_.example", "\u2665.example", "ü" * 64, "a" * 64, "[::1%25lo]"):
            with self.subTest(host):
                self.assertRaises(ValueError, check_url, f"https://{host}/x")
                self.assertRaises(ValueError, proxies.parse, f"http://u:p@{host}:3128")

    def test_no_connection_in_time_T69(self) -> None:
        """A remote that drops packets is an outage, and its circuit opens."""
        for _ in range(10):
            asked = self.ask("192.0.2.1")
            self.reactor.advance(2)
            self.failureResultOf(asked, TimedOut)
        self.assertEqual(self.world.breakers.open_count(), 1)


class DirectoryTests(EndpointCase):
    """The servers of a directory."""

    def directory(self, *hosts: str) -> Directory:
        servers = [Server(host, 389, Security.CLEAR) for host in hosts]
        return Directory(
            self.reactor, connector(self.reactor), servers, None, Limits(connections=20)
        )

    def ask(self, directory: Directory) -> Deferred[Any]:
        async def look(connection: Connection) -> None:
            await connection.ping()

        return Deferred.fromCoroutine(directory.use_connection(look))

    def test_cancelled_clients_do_not_disable_a_server_T85a(self) -> None:
        """
        A client that is cancelled before there is a connection does not count against the
        server.
        """
        for host in ("directory.example", "192.0.2.1"):
            directory = self.directory(host)
            leaver = self.ask(directory)
            leaver.cancel()
            self.failureResultOf(leaver, CancelledError)
            other = self.ask(directory)
            self.assertNoResult(other)
            other.addErrback(lambda _: None)
            other.cancel()

    def test_next_server_T69(self) -> None:
        """If a server drops packets, the next server is asked."""
        asked = self.ask(self.directory("192.0.2.1", "192.0.2.2"))
        self.reactor.advance(2)
        self.assertEqual([each[0] for each in self.reactor.tcpClients], ["192.0.2.1", "192.0.2.2"])
        self.reactor.advance(2)
        self.failureResultOf(asked, Unavailable)
