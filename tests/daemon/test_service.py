"""The gateway service: start, reload, drain and stop, with a reactor that opens no socket."""

from __future__ import annotations

import errno
import os
import resource
import stat
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.config import check, section
from authotron.config.check import Config
from authotron.config.server import Server
from authotron.daemon.listening import endpoints, url_of, why_not_listening
from authotron.daemon.service import GatewayService
from authotron.gateway.gateway import Gateway, Peers
from authotron.model.authentication import Authentication
from authotron.model.errors import ConfigError
from authotron.model.identity import Identity
from authotron.plugin.interfaces import IConnected
from authotron.providers import plain
from authotron.web.fastpath.protocol import FastPathFactory
from authotron.web.replies import Reply
from authotron.web.trusted_peers import TrustedPeersFactory
from tests.config.cases import BASE, laid_over


class Reactor(MemoryReactorClock):
    """A reactor that opens no socket, and notes that it was stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


@implementer(IConnected)
class Connected:
    """A provider that keeps connections open."""

    realm = "here"
    closed = 0

    def close(self) -> None:
        self.closed += 1


def with_connected(gateway: Gateway[Reply]) -> Connected:
    """Replace the providers of a gateway by one that keeps connections open."""
    part = Connected()
    gateway.authenticator.providers = [part]  # type: ignore[list-item] # no method of a provider is called
    return part


class ServiceCase(SynchronousTestCase):
    """Build and start a gateway service with a small configuration."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.over: dict[str, Any] = {}

    def load(self) -> Config:
        return check.check(laid_over(BASE, self.over))

    def make(self, **over: Any) -> GatewayService:
        self.over = over
        return GatewayService(self.load, self.load(), self.reactor)  # type: ignore[arg-type] # as much as is needed

    def start(self, **over: Any) -> GatewayService:
        gateway = self.make(**over)
        gateway.startService()
        self.addCleanup(gateway.pool.stopService)
        return gateway


class StartTests(ServiceCase):
    """Start and listening."""

    def test_gateway_and_metrics_port_listen(self) -> None:
        """The gateway and its metrics port each listen at their own address."""
        self.start(metrics={"port": 9999, "host": "::1"})
        ports = [(port, interface) for port, _, _, interface in self.reactor.tcpServers]
        self.assertEqual(ports, [(8080, "127.0.0.1"), (9999, "::1")])

    def test_listening_is_logged_H_LOGS(self) -> None:
        """Both ports log where they listen, under the names of auth-o-tron."""
        with capturedLogs() as events:
            self.start()
        found = {each["event"]: each for each in events if each.get("event")}
        for name, port in (("startup.server.listening", 8080), ("startup.metrics.listening", 9090)):
            self.assertIsInstance(found[name]["host"], str)
            self.assertEqual(found[name]["port"], port)

    def test_metrics_port_can_be_disabled(self) -> None:
        """With metrics.enabled: false only the main port is opened."""
        self.start(metrics={"enabled": False})
        self.assertEqual(len(self.reactor.tcpServers), 1)

    def test_both_ports_have_a_connection_limit_T85b(self) -> None:
        """Both ports have a connection limit; together they leave file descriptors for the rest."""
        self.patch(resource, "getrlimit", lambda _: (256, 256))
        main, second = self.limits(self.make())
        self.assertEqual((main, second), (184, 32))
        main, second = self.limits(
            self.make(server={"max_connections": 9}, metrics={"max_connections": 5})
        )
        self.assertEqual((main, second), (9, 5))

    def test_listeners_of_a_port_share_its_limit_T85b(self) -> None:
        """All listeners of a port share its connection limit, UNIX sockets as well."""
        sockets = ["unix:/run/x.sock", "unix:/run/y.sock"]
        gateway = self.make(metrics={"listen": sockets})
        _, one, other = gateway.listeners
        self.assertIs(one.site, other.site)

    def limits(self, gateway: GatewayService) -> tuple[int, int]:
        sites: list[Any] = [listener.site for listener in gateway.listeners]
        main, second = sites[0].connection_limit, sites[1]._connection_limit
        return main.most, second.most

    def test_endpoint_strings_replace_host_and_port(self) -> None:
        """The gateway listens at endpoint strings instead of host and port."""
        self.start(server={"host": ..., "port": ..., "listen": ["unix:/run/x.sock", "tcp:81"]})
        self.assertEqual(self.reactor.unixServers[0][0], "/run/x.sock")
        self.assertEqual(self.reactor.tcpServers[0][0], 81)

    def test_other_protocols_listen_beside_http(self) -> None:
        """
        Endpoints that name FastCGI are served by FastCGI, beside host and port; drain, limit of
        connections and log line are as for HTTP.
        """
        with capturedLogs() as events:
            gateway = self.start(server={"listen": ["fastcgi:tcp:9001", "fastcgi:unix:/x.sock"]})
        ports = {port: factory for port, factory, *_ in self.reactor.tcpServers}
        self.assertIsInstance(ports[8080], FastPathFactory)
        self.assertIsInstance(ports[9001], TrustedPeersFactory)
        self.assertIsInstance(self.reactor.unixServers[0][1], TrustedPeersFactory)
        shown = [each for each in events if each.get("event") == "startup.server.listening"]
        self.assertEqual(shown[1]["endpoint"], "fastcgi:tcp:9001")
        self.assertTrue(shown[1]["url"].startswith("fastcgi://"))
        limit = gateway._fast_path.connection_limit
        self.assertEqual(len(limit.connections), 4)

    def test_port_in_use_exits_with_1(self) -> None:
        """If a port is in use, the process exits with status 1."""
        gateway = self.make()

        def refuse(*_: Any, **__: Any) -> None:
            raise CannotListenError("127.0.0.1", 8080, OSError("in use"))

        self.reactor.listenTCP = refuse  # type: ignore[method-assign] # the port is in use
        self.addCleanup(gateway.pool.stopService)
        self.assertEqual(self.assertRaises(SystemExit, gateway.startService).code, 1)

    def test_taken_port_is_told_in_words_W_PORT(self) -> None:
        """A port that is taken is named with the way out, and nothing is said to serve before."""
        for taken, key in ((8080, "AOT_SERVER__PORT"), (9090, "AOT_METRICS__PORT")):
            gateway = self.make()
            listen = self.reactor.listenTCP

            def listen_to_others(
                port: int, *args: Any, taken: int = taken, listen: Any = listen, **kw: Any
            ) -> Any:
                if port == taken:
                    in_use = OSError(errno.EADDRINUSE, "Address already in use")
                    raise CannotListenError("127.0.0.1", port, in_use)
                return listen(port, *args, **kw)

            self.patch(self.reactor, "listenTCP", listen_to_others)
            self.addCleanup(gateway.pool.stopService)
            with capturedLogs() as events, self.subTest(key):
                self.assertRaises(SystemExit, gateway.startService)
                self.assertEqual(
                    [each for each in events if "listening" in str(each.get("event"))], []
                )
                [failed] = [each for each in events if each.get("event") == "startup.server.failed"]
                self.assertIn(f"port {taken} of 127.0.0.1: address already in use", failed["error"])
                self.assertIn(key, failed["error"])
                self.assertNotIn("Errno", failed["error"])
            self.patch(self.reactor, "listenTCP", listen)

    def test_reasons_for_not_listening_W_PORT(self) -> None:
        """Each reason for which the system refuses to listen is said in words."""
        for number, words in (
            (errno.EADDRINUSE, "address already in use"),
            (errno.EACCES, "not allowed; ports below 1024"),
            (errno.EADDRNOTAVAIL, "not an address of this machine; set server.host"),
        ):
            failure = CannotListenError("192.0.2.1", 80, OSError(number, "text of the system"))
            said = why_not_listening(failure, "tcp:80:interface=192.0.2.1", "server")
            self.assertIn(words, said)
            self.assertNotIn("text of the system", said)
        without_zone = CannotListenError("fe80::1", 80, OSError(errno.EINVAL, "Invalid argument"))
        said = why_not_listening(without_zone, "tcp6:80:interface=fe80\\:\\:1", "server")
        self.assertIn("port 80 of fe80::1: invalid argument; check the keys server.host", said)

    def test_reasons_for_no_unix_socket_U_LOCK(self) -> None:
        """Each reason for which there is no UNIX socket is said in words, with the way out."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        for name in ("file", "locked.lock"):
            (folder / name).touch()
        os.mknod(folder / "used", stat.S_IFSOCK | 0o600)
        taken = OSError(errno.EADDRINUSE, "text of the system")
        for name, error, words in (
            ("used", taken, "another process listens there; stop that process"),
            ("file", taken, "the path exists and is not a socket; remove it"),
            ("locked", OSError(errno.EINVAL, "x"), "locked.lock is not the lock of a gateway"),
            ("none/x", OSError(errno.ENOENT, "x"), "the folder /none does not exist; create it"),
            ("x", PermissionError(errno.EACCES, "x"), "not allowed; the gateway must be able"),
            ("x" * 108, OSError("AF_UNIX path too long"), "longer than 107 bytes"),
        ):
            with self.subTest(name):
                path = f"/{name}" if name == "none/x" else folder / name
                failure = CannotListenError("any", str(path).encode(), error)
                said = why_not_listening(failure, f"unix:{path}:mode=660", "server")
                self.assertIn(f"cannot listen at the UNIX socket {path}: ", said)
                self.assertIn(words, said)
                self.assertNotIn("text of the system", said)

    def test_files_of_endpoints_W_PORT(self) -> None:
        """A missing file of a TLS endpoint is a problem of the configuration."""
        listen = ["ssl:8443:privateKey=/nowhere.pem"]
        error = self.assertRaises(ConfigError, self.make, server={"listen": listen, "port": ...})
        self.assertEqual(str(error), "server.listen: cannot read /nowhere.pem: not found")

    def test_addresses_are_urls_W_STOP(self) -> None:
        """The log names each port as a URL that can be clicked."""
        with capturedLogs() as events:
            self.start(metrics={"port": 9999, "host": "::1"})
        urls = {each["event"]: each["url"] for each in events if "url" in each}
        self.assertEqual(urls["startup.server.listening"], "http://0.0.0.0:8080")
        v6 = IPv6Address("TCP", "::1", 9999)
        self.assertEqual(url_of(v6, "tcp6:9999"), "http://[::1]:9999")
        self.assertEqual(url_of(v6, "ssl:9999"), "https://[::1]:9999")
        self.assertEqual(url_of(UNIXAddress(b"/run/x"), "unix:/run/x"), "unix:/run/x")
        self.assertEqual(url_of(None, "systemd:domain=INET:index=0"), "systemd:domain=INET:index=0")

    def test_stop_is_logged_W_STOP(self) -> None:
        """Stopping and stopped are one line each; a worker logs neither."""
        both = ["shutdown.started", "shutdown.finished"]
        cases: tuple[tuple[Peers | None, list[str]], ...] = ((None, both), (Peers(), []))
        for peers, expected in cases:
            reactor: Any = self.reactor
            gateway = GatewayService(self.load, self.load(), reactor, peers=peers)
            gateway.startService()
            with capturedLogs() as events:
                self.successResultOf(Deferred.fromCoroutine(gateway.stopService()))
            names = [str(each.get("event")) for each in events]
            self.assertEqual([name for name in names if name.startswith("shutdown.")], expected)

    def test_late_listening_failure_stops_the_reactor(self) -> None:
        """A listening port that fails later stops the reactor, and the exit status is 1."""
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
    """Reload of the configuration."""

    def test_valid_configuration_replaces_the_old_one(self) -> None:
        """A valid configuration replaces the old one as a whole, and is counted as a success."""
        gateway = self.start()
        old = gateway.serving.gateway
        self.over = {"jwt": {"iss": "other"}, "logging": {"access": "all"}}
        gateway.reload()
        new = gateway.serving.gateway
        self.assertIsNot(new, old)
        self.assertIsNot(new.decisions, old.decisions)
        self.assertEqual(new.minter.claims(_nobody(), 0)["iss"], "other")
        self.assertIn(b'authotron_reloads_total{result="success"} 1.0', self.metrics(gateway))

    def test_old_connections_are_closed_after_the_grace(self) -> None:
        """Connections of the old configuration are closed after server.grace."""
        gateway = self.start(server={"grace": 10})
        old = gateway.serving.gateway
        part = with_connected(old)
        gateway.reload()
        self.reactor.advance(9)
        self.assertEqual(part.closed, 0)
        self.reactor.advance(1)
        self.assertEqual(part.closed, 1)

    def test_defect_keeps_the_old_configuration_D8(self) -> None:
        """A defect while the configuration is read keeps the old one and the service."""
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

    def test_changes_that_need_a_restart_are_logged(self) -> None:
        """A reload logs that a restart is needed if, and only if, such a key has changed."""
        wanted = {
            "port": ({"port": 8888}, True),
            "idle_timeout": ({"idle_timeout": 5}, True),
            "trusted_proxies": ({"trusted_proxies": ["192.0.2.1/32"]}, False),
            "grace": ({"grace": 3}, False),
            "contracts": ({"contracts": ["nginx"]}, False),
            "answers": ({"answers": {"profile": "remote-user"}}, False),
        }
        for name, (server, needed) in wanted.items():
            with self.subTest(name), capturedLogs() as events:
                gateway = self.start()
                self.over = {"server": server}
                gateway.reload()
                told = {event.get("event") for event in events}
                self.assertIn("startup.config.reloaded", told)
                self.assertEqual("startup.config.restart" in told, needed)

    def test_needed_restart_is_logged_at_each_reload(self) -> None:
        """Every reload logs that a restart is needed, until the key is as at the start."""
        gateway = self.start()
        for port, needed in ((8888, True), (8888, True), (8080, False)):
            self.over = {"server": {"port": port}}
            with capturedLogs() as events:
                gateway.reload()
            told = {event.get("event") for event in events}
            self.assertEqual("startup.config.restart" in told, needed)

    def defective(self, *_: object) -> None:
        raise KeyError("defect")

    def test_broken_plugin_is_refused_T60(self) -> None:
        """A plugin whose make() fails is a problem of the configuration."""
        gateway = self.start()
        old = gateway.serving.gateway
        self.patch(plain, "make", self.defective)
        gateway.reload()
        self.assertIs(gateway.serving.gateway, old)
        self.assertIn("KeyError", gateway.serving.problems[0])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_access_log_changes_at_the_main_port_only(self) -> None:
        """A reload changes the access log of the main port, not of the metrics port."""
        gateway = self.start()
        self.over = {"logging": {"access": "all"}}
        gateway.reload()
        sites: list[Any] = [getattr(each.site, "site", each.site) for each in gateway.listeners]
        self.assertEqual([site.least_logged for site in sites], [0, 1000])

    def test_invalid_configuration_is_refused_T49(self) -> None:
        """An invalid configuration changes nothing; its problems are shown and counted."""
        gateway = self.start()
        old = gateway.serving.gateway
        self.over = {"jwt": {"exp": -1}}
        gateway.reload()
        self.assertIs(gateway.serving.gateway, old)
        self.assertIn("jwt.exp", gateway.serving.problems[0])
        self.assertIn(b'authotron_reloads_total{result="failure"} 1.0', self.metrics(gateway))
        self.assertIn(b"authotron_last_reload_successful 0.0", self.metrics(gateway))

    def test_corrected_configuration_clears_the_problems(self) -> None:
        """A reload of a corrected configuration clears the problems and the metric."""
        gateway = self.start()
        self.over = {"jwt": {"exp": -1}}
        gateway.reload()
        self.over = {}
        gateway.reload()
        self.assertEqual(gateway.serving.problems, ())
        self.assertIn(b"authotron_last_reload_successful 1.0", self.metrics(gateway))

    def test_secret_of_the_pepper_Q_PEPPER(self) -> None:
        """
        A reload with another C{jwt.secret} is refused if the pepper is derived from it; API tokens
        stay valid.
        """
        store = {"store": {"type": "memory"}}
        gateway = self.make(**store)
        tokens = gateway.serving.gateway.tokens
        assert tokens is not None
        tokens.store.backend.pepper = None  # as a store that keeps none
        gateway.startService()
        self.addCleanup(gateway.pool.stopService)
        old = gateway.serving.gateway
        self.over = {**store, "jwt": {"secret": "another-secret-of-thirty-two-bytes"}}
        gateway.reload()
        self.assertIs(gateway.serving.gateway, old)
        self.assertIn("derived from jwt.secret, which has changed", gateway.serving.problems[0])
        self.over = store
        gateway.reload()
        self.assertEqual(gateway.serving.problems, ())

    def test_unreadable_key_file_is_refused(self) -> None:
        """A key file that cannot be read is a problem of the configuration."""
        gateway = self.start()
        self.over = {"jwt": {"alg": "ES256", "key_file": "/nowhere/key.pem"}}
        gateway.reload()
        self.assertIn("/nowhere/key.pem", gateway.serving.problems[0])

    def metrics(self, gateway: GatewayService) -> bytes:
        return gateway.serving.metrics.text()[0]


def _nobody() -> Any:
    return Authentication(Identity("", ""))


class StopTests(ServiceCase):
    """Stop and drain."""

    def test_idle_gateway_stops_at_once(self) -> None:
        """A gateway without requests in flight stops at once, and is not ready from then on."""
        gateway = self.make()
        gateway.startService()
        d = maybeDeferred(gateway.stopService)
        self.assertTrue(gateway.serving.stopping)
        self.successResultOf(d)

    def test_connections_of_all_configurations_are_closed(self) -> None:
        """Stopping closes the connections of the configuration in use and of replaced ones."""
        gateway = self.make()
        gateway.startService()
        old = with_connected(gateway.serving.gateway)
        gateway.reload()
        new = with_connected(gateway.serving.gateway)
        self.successResultOf(maybeDeferred(gateway.stopService))
        self.assertEqual((old.closed, new.closed), (1, 1))

    def test_listener_that_fails_to_stop_is_logged(self) -> None:
        """A listener that fails to stop is logged, and does not keep the service from stopping."""
        gateway = self.make()
        gateway.startService()
        port: Deferred[Any] = Deferred()
        port.errback(OSError("stuck"))
        gateway.listeners[0]._listening = port
        self.successResultOf(maybeDeferred(gateway.stopService))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_stop_waits_for_requests_up_to_the_grace(self) -> None:
        """Stopping waits for requests in flight, but not longer than server.grace."""
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
    """Endpoint strings from host and port."""

    def test_host_with_colons_is_ipv6(self) -> None:
        """A host with colons becomes an IPv6 endpoint."""
        for given, found in (
            ({"host": "::1", "port": 80}, "tcp6:80:interface=\\:\\:1"),
            ({"host": "localhost", "port": 80}, "tcp:80:interface=localhost"),
            ({"listen": ["unix:/x"]}, "unix:/x"),
        ):
            server = section.read(Server, given)
            self.assertEqual(endpoints(server, Reactor()), [found])  # type: ignore[arg-type] # as much as is needed
