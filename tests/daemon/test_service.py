"""Start, reload, drain, stop; with a reactor that opens no socket."""

from __future__ import annotations

import resource
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.config import check, section
from authotron.config.check import Config
from authotron.config.server import Server
from authotron.daemon.listening import endpoints
from authotron.daemon.service import GatewayService
from authotron.gateway.gateway import Gateway
from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.plugin.interfaces import IConnected
from authotron.providers import plain
from authotron.web.replies import Reply
from tests.config.cases import BASE, laid_over


class Reactor(MemoryReactorClock):
    """Stops as a real one does, as far as it is asked about."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


@implementer(IConnected)
class Connected:
    """A part that keeps connections."""

    realm = "here"
    closed = 0

    def close(self) -> None:
        self.closed += 1


def with_connected(gateway: Gateway[Reply]) -> Connected:
    """Give it such a part in the place of its providers."""
    part = Connected()
    gateway.authenticator.providers = [part]  # type: ignore[list-item] # it is not asked
    return part


class ServiceCase(SynchronousTestCase):
    """How to make one."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.over: dict[str, Any] = {}

    def load(self) -> Config:
        return check.check(laid_over(BASE, self.over))

    def make(self, **over: Any) -> GatewayService:
        self.over = over
        return GatewayService(self.load, self.load(), self.reactor)

    def start(self, **over: Any) -> GatewayService:
        gateway = self.make(**over)
        gateway.startService()
        self.addCleanup(gateway.pool.stopService)
        return gateway


class StartTests(ServiceCase):
    """Listening."""

    def test_both(self) -> None:
        """The gateway and its metrics, each at its address."""
        self.start(metrics={"port": 9999, "host": "::1"})
        ports = [(port, interface) for port, _, _, interface in self.reactor.tcpServers]
        self.assertEqual(ports, [(8080, "127.0.0.1"), (9999, "::1")])

    def test_no_metrics(self) -> None:
        """The second port may be switched off."""
        self.start(metrics={"enabled": False})
        self.assertEqual(len(self.reactor.tcpServers), 1)

    def test_doors_T85b(self) -> None:
        """Both ports have a limit of connections; together they leave files for the rest."""
        self.patch(resource, "getrlimit", lambda _: (256, 256))
        main, second = self.limits(self.make())
        self.assertEqual((main, second), (184, 32))
        main, second = self.limits(
            self.make(server={"max_connections": 9}, metrics={"max_connections": 5})
        )
        self.assertEqual((main, second), (9, 5))

    def test_doors_of_sockets_T85b(self) -> None:
        """All listeners of a port share its limit of connections, UNIX sockets as well."""
        sockets = ["unix:/run/x.sock", "unix:/run/y.sock"]
        gateway = self.make(metrics={"listen": sockets})
        _, one, other = gateway.listeners
        self.assertIs(one.site, other.site)

    def limits(self, gateway: GatewayService) -> tuple[int, int]:
        sites: list[Any] = [listener.site for listener in gateway.listeners]
        main, second = (site._connection_limit for site in sites)
        return main.most, second.most

    def test_endpoints(self) -> None:
        """Endpoint strings instead of a port."""
        self.start(server={"host": ..., "port": ..., "listen": ["unix:/run/x.sock", "tcp:81"]})
        self.assertEqual(self.reactor.unixServers[0][0], "/run/x.sock")
        self.assertEqual(self.reactor.tcpServers[0][0], 81)

    def test_port_in_use(self) -> None:
        """A port that cannot be had ends the process with a status that says so."""
        gateway = self.make()

        def refuse(*_: Any, **__: Any) -> None:
            raise CannotListenError("127.0.0.1", 8080, OSError("in use"))

        self.reactor.listenTCP = refuse  # type: ignore[method-assign] # somebody else has it
        self.addCleanup(gateway.pool.stopService)
        self.assertEqual(self.assertRaises(SystemExit, gateway.startService).code, 1)

    def test_fails_late(self) -> None:
        """A listening port that fails later stops the reactor, with a status that says so."""
        gateway = self.make()
        listening: Deferred[Any] = Deferred()
        listener = gateway.listeners[0]
        self.patch(listener, "_endpoint", type("Slow", (), {"listen": lambda *_: listening})())
        self.addCleanup(gateway.pool.stopService)
        gateway.startService()
        self.assertEqual((gateway.status, self.reactor.stopped), (0, False))
        listening.errback(OSError("gone"))
        self.assertEqual((gateway.status, self.reactor.stopped), (1, True))
        self.flushLoggedErrors(OSError)


class ReloadTests(ServiceCase):
    """A new configuration while serving."""

    def test_good(self) -> None:
        """A good one is taken over as a whole."""
        gateway = self.start()
        old = gateway.serving.gateway
        self.over = {"jwt": {"iss": "other"}, "logging": {"access": "all"}}
        gateway.reload()
        new = gateway.serving.gateway
        self.assertIsNot(new, old)
        self.assertIsNot(new.decisions, old.decisions)
        self.assertEqual(new.minter.claims(_nobody(), 0)["iss"], "other")
        self.assertIn(b'authotron_reloads_total{result="success"} 1.0', self.metrics(gateway))

    def test_connections(self) -> None:
        """What the old one keeps open is closed, once nobody can be asking it any more."""
        gateway = self.start(server={"grace": 10})
        old = gateway.serving.gateway
        part = with_connected(old)
        gateway.reload()
        self.reactor.advance(9)
        self.assertEqual(part.closed, 0)
        self.reactor.advance(1)
        self.assertEqual(part.closed, 1)

    def test_defect_D8(self) -> None:
        """A defect while a configuration is read again ends nothing: the old one stays."""
        gateway = self.start()
        old = gateway.serving.gateway

        def load() -> Config:
            raise KeyError("canary")

        self.patch(gateway._reloader, "_load", load)
        gateway.reload()
        self.assertIs(gateway.serving.gateway, old)
        self.assertIn("reload failed", gateway.problems[0])
        self.assertIn(b'authotron_reloads_total{result="failure"} 1.0', self.metrics(gateway))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual((gateway.status, self.reactor.stopped), (0, False))

    def test_restart(self) -> None:
        """What needs a restart is told, and nothing else is."""
        wanted = {
            "port": ({"port": 8888}, True),
            "idle_timeout": ({"idle_timeout": 5}, True),
            "trusted_proxies": ({"trusted_proxies": ["192.0.2.1/32"]}, False),
            "grace": ({"grace": 3}, False),
        }
        for name, (server, needed) in wanted.items():
            with self.subTest(name), capturedLogs() as events:
                gateway = self.start()
                self.over = {"server": server}
                gateway.reload()
                told = {event.get("event") for event in events}
                self.assertIn("startup.config.reloaded", told)
                self.assertEqual("startup.config.restart" in told, needed)

    def test_restart_pending(self) -> None:
        """It is told as long as it is so."""
        gateway = self.start()
        for port, needed in ((8888, True), (8888, True), (8080, False)):
            self.over = {"server": {"port": port}}
            with capturedLogs() as events:
                gateway.reload()
            told = {event.get("event") for event in events}
            self.assertEqual("startup.config.restart" in told, needed)

    def defective(self, *_: object) -> None:
        raise KeyError("defect")

    def test_broken_part_T60(self) -> None:
        """A part that cannot be made is a bad configuration, and ends nothing."""
        gateway = self.start()
        old = gateway.serving.gateway
        self.patch(plain, "make", self.defective)
        gateway.reload()
        self.assertIs(gateway.serving.gateway, old)
        self.assertIn("KeyError", gateway.serving.problems[0])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_access(self) -> None:
        """What is logged changes at the main port only: scrapes of metrics are never logged."""
        gateway = self.start()
        self.over = {"logging": {"access": "all"}}
        gateway.reload()
        sites: list[Any] = [getattr(each.site, "site", each.site) for each in gateway.listeners]
        self.assertEqual([site._access for site in sites], ["all", "none"])

    def test_bad_T49(self) -> None:
        """A bad one changes nothing; it is told in /ready and counted."""
        gateway = self.start()
        old = gateway.serving.gateway
        self.over = {"jwt": {"exp": -1}}
        gateway.reload()
        self.assertIs(gateway.serving.gateway, old)
        self.assertIn("jwt.exp", gateway.serving.problems[0])
        self.assertIn(b'authotron_reloads_total{result="failure"} 1.0', self.metrics(gateway))
        self.assertIn(b"authotron_last_reload_successful 0.0", self.metrics(gateway))

    def test_good_again(self) -> None:
        """Once it is mended the problems are gone."""
        gateway = self.start()
        self.over = {"jwt": {"exp": -1}}
        gateway.reload()
        self.over = {}
        gateway.reload()
        self.assertEqual(gateway.serving.problems, ())
        self.assertIn(b"authotron_last_reload_successful 1.0", self.metrics(gateway))

    def test_unreadable_key(self) -> None:
        """A key that cannot be read is a bad configuration, too."""
        gateway = self.start()
        self.over = {"jwt": {"alg": "ES256", "key_file": "/nowhere/key.pem"}}
        gateway.reload()
        self.assertIn("/nowhere/key.pem", gateway.serving.problems[0])

    def metrics(self, gateway: GatewayService) -> bytes:
        return gateway.serving.metrics.text()[0]


def _nobody() -> Any:
    return Authentication(Identity("", ""))


class StopTests(ServiceCase):
    """Stopping."""

    def test_at_once(self) -> None:
        """With nothing in flight it stops at once, and says before that it will."""
        gateway = self.make()
        gateway.startService()
        d = maybeDeferred(gateway.stopService)
        self.assertTrue(gateway.serving.stopping)
        self.successResultOf(d)

    def test_connections(self) -> None:
        """No part keeps a connection, of whichever configuration it is."""
        gateway = self.make()
        gateway.startService()
        old = with_connected(gateway.serving.gateway)
        gateway.reload()
        new = with_connected(gateway.serving.gateway)
        self.successResultOf(maybeDeferred(gateway.stopService))
        self.assertEqual((old.closed, new.closed), (1, 1))

    def test_told(self) -> None:
        """A listener that fails to stop is told, and holds up nothing else."""
        gateway = self.make()
        gateway.startService()
        port: Deferred[Any] = Deferred()
        port.errback(OSError("stuck"))
        gateway.listeners[0]._listening = port
        self.successResultOf(maybeDeferred(gateway.stopService))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_grace(self) -> None:
        """What is in flight is waited for, but not longer than the grace."""
        for seconds, finishes in ((3, True), (10, False)):
            with self.subTest(seconds):
                gateway = self.make(server={"grace": 10})
                gateway.startService()
                site = gateway.listeners[0].site
                idle: Deferred[None] = Deferred()
                self.patch(site, "drain", lambda d=idle: d)
                d = maybeDeferred(gateway.stopService)
                self.reactor.advance(seconds)
                if finishes:
                    self.assertNoResult(d)
                    idle.callback(None)
                self.successResultOf(d)


class ComposeTests(SynchronousTestCase):
    """Endpoint strings."""

    def test_addresses(self) -> None:
        """A host with colons is an IPv6 address."""
        for given, found in (
            ({"host": "::1", "port": 80}, "tcp6:80:interface=\\:\\:1"),
            ({"host": "localhost", "port": 80}, "tcp:80:interface=localhost"),
            ({"listen": ["unix:/x"]}, "unix:/x"),
        ):
            server = section.read(Server, given)
            self.assertEqual(endpoints(server, Reactor()), [found])
