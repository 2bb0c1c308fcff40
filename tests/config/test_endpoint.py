"""UNIX sockets have a mode that limits which users may connect, and a backlog for bursts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import endpoint
from authotron.daemon.listening import Listener
from authotron.daemon.workers.sockets import ListeningSocket
from tests.config.cases import BASE, ConfigCase, laid_over


class ModeTests(SynchronousTestCase):
    """The default mode of a UNIX socket."""

    def test_default_mode_for_every_spelling_T91c(self) -> None:
        """A UNIX socket without a mode gets the default mode, however its endpoint is written."""
        for text, lacks in (
            ("unix:/run/a.sock", True),
            ("unix:address=/run/a.sock", True),
            ("unix:/run/a.sock:backlog=50", True),
            ("unix:/run/a.sock:lockfile=0", True),
            ("unix:/run/a\\:mode=600", True),
            ("unix:/run/mode=666", True),
            ("haproxy:unix:/run/a.sock", True),
            ("fastcgi:unix:/run/a.sock", True),
            ("fastcgi:unix:/run/a.sock:mode=600", False),
            ("fastcgi:tcp:80", False),
            ("unix:/run/a.sock:mode=600", False),
            ("unix:/run/a.sock:mode=666", False),
            ("unix:mode=660:address=/run/a.sock", False),
            ("unix:/run/a.sock:600", False),
            ("unix:/run/a.sock:600:50", False),
            ("haproxy:unix:/run/a.sock:mode=600", False),
            ("tcp:80", False),
            ("tcp:80:interface=unix", False),
            ("systemd", False),
        ):
            self.assertEqual(endpoint.lacks_mode(text), lacks, text)
            self.assertFalse(endpoint.lacks_mode(endpoint.with_mode(text)), text)

    def made(self, text: str) -> tuple[int, list[int]]:
        """
        Return the mode of a socket, and the umasks in force when one and when several were
        bound.
        """
        umasks: list[int] = []

        class Reactor(MemoryReactorClock):
            def listenUNIX(self, address: Any, factory: Any, **named: Any) -> Any:  # type: ignore[override] # as it is called
                umasks.append(os.umask(0o777))
                os.umask(umasks[-1])
                umasks.append(named["mode"])
                return super().listenUNIX(address, factory, **named)

        Listener(Reactor(), text, None, lambda _: None).startService()  # type: ignore[arg-type] # never asked
        return umasks[1], umasks[:1]

    def test_mode_holds_from_the_first_moment_T91c(self) -> None:
        """Only user and group may connect to a new socket, unless a mode is configured."""
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        self.assertEqual(self.made("unix:/run/a.sock"), (0o660, [0o117]))
        self.assertEqual(self.made("unix:/run/a.sock:mode=666"), (0o666, [0o117]))
        self.assertEqual(os.umask(0o022), 0o022)

    def test_log_names_the_mode_T91c(self) -> None:
        """The log names the mode."""
        listener = Listener(MemoryReactorClock(), "unix:/x", None, lambda _: None)  # type: ignore[arg-type] # never asked
        self.assertEqual(listener.description, "unix:/x:mode=660")
        self.assertEqual(ListeningSocket(None, "unix:/x").description, "unix:/x:mode=660")  # type: ignore[arg-type] # as much as is needed


class BacklogTests(SynchronousTestCase):
    """How many connections may wait at a UNIX socket until the gateway accepts them."""

    def test_default_backlog_for_every_spelling(self) -> None:
        """A UNIX socket without a backlog gets the default, so that bursts are not refused."""
        for text, backlog in (
            ("unix:/run/a.sock", 1024),
            ("unix:address=/run/a.sock:mode=600", 1024),
            ("unix:/run/a.sock:600:lockfile=0", 1024),
            ("unix:/run/a.sock:600:50", 50),
            ("unix:/run/a.sock:backlog=4096", 4096),
        ):
            reactor = MemoryReactorClock()
            endpoint.server_endpoint(reactor, text).listen(Factory())
            [(_, _, found, *_)] = reactor.unixServers
            self.assertEqual(found, backlog, text)

    def test_tcp_is_unchanged(self) -> None:
        """A TCP port keeps the backlog of Twisted, as clients of TCP try again."""
        reactor = MemoryReactorClock()
        endpoint.server_endpoint(reactor, "tcp:80").listen(Factory())
        [(_, _, backlog, _)] = reactor.tcpServers
        self.assertEqual(backlog, 50)


class ProtocolTests(ConfigCase):
    """Endpoints of the main port that name a protocol."""

    def test_protocol_stands_before_the_endpoint(self) -> None:
        """C{fastcgi:} before an endpoint names the protocol; without one it is HTTP."""
        for text, protocol, rest in (
            ("fastcgi:tcp:9001", "fastcgi", "tcp:9001"),
            ("fastcgi:unix:/run/a.sock", "fastcgi", "unix:/run/a.sock"),
            ("grpc:unix:/run/a.sock", "grpc", "unix:/run/a.sock"),
            ("tcp:9001", "http", "tcp:9001"),
            ("fastcgi", "http", "fastcgi"),
            ("unix:fastcgi:x", "http", "unix:fastcgi:x"),
        ):
            self.assertEqual(endpoint.protocol_of(text), protocol)
            self.assertEqual(endpoint.without_protocol(text), rest)
        self.assertEqual(endpoint.with_mode("fastcgi:unix:/x"), "fastcgi:unix:/x:mode=660")
        self.assertEqual(endpoint.socket_path("fastcgi:unix:/x"), Path("/x"))
        self.assertTrue(endpoint.is_unix("fastcgi:unix:/x"))

    def test_missing_packages(self) -> None:
        """A protocol whose packages are missing is a problem that names the extra to install."""

        def find(module: str) -> object:
            if module.startswith("google."):
                raise ModuleNotFoundError
            return None

        self.assertEqual(endpoint.missing_packages("grpc", find), ["h2", "protobuf"])
        self.assertEqual(endpoint.missing_packages("grpc"), [])
        self.assertEqual(endpoint.missing_packages("fastcgi", find), [])
        self.patch(endpoint.missing_packages, "__defaults__", (find,))
        problem = self.problem(server={"listen": ["grpc:unix:/run/a.sock"]})
        self.assertEqual(
            problem,
            "server.listen[0]: needs the Python packages h2 and protobuf, which are not installed; "
            "they belong to the extra authotron[grpc] (pip install 'authotron[grpc]')",
        )

    def test_endpoint_behind_a_protocol_is_checked(self) -> None:
        """What stands behind the protocol is checked as any endpoint, and there is one protocol."""
        for text in ("fastcgi:", "fastcgi:tcp:99999", "fastcgi:fastcgi:tcp:1", "fastcgi:systemd"):
            [problem] = self.problems(
                laid_over(BASE, {"server": {"host": ..., "port": ..., "listen": [text]}})
            )
            self.assertIn("server.listen[0]", str(problem))
        problem = self.problem(metrics={"listen": ["fastcgi:tcp:9001"]})
        self.assertIn("metrics.listen[0]: is not an endpoint", problem)

    def test_protocols_may_stand_beside_a_port(self) -> None:
        """HTTP at host and port goes on beside endpoints of other protocols alone."""
        self.changed(server={"listen": ["fastcgi:tcp:9001"]})
        problem = self.problem(server={"listen": ["tcp:9002", "fastcgi:tcp:9001"]})
        self.assertEqual(problem, "server.listen: give port or listen, not both")

    def test_sockets_by_protocol_can_be_shared(self) -> None:
        """Several workers share the sockets of other protocols as they share those for HTTP."""
        self.changed(server={"workers": 2, "listen": ["fastcgi:tcp:9001", "fastcgi:unix:/x"]})
        problem = self.problem(server={"workers": 2, "listen": ["fastcgi:haproxy:tcp:1"]})
        self.assertIn("several workers cannot share an endpoint of type haproxy", problem)


class WarningsTests(ConfigCase):
    """Warnings about UNIX sockets."""

    def warned(self, **server: Any) -> list[str]:
        over = {"host": ..., "port": ..., **server}
        return [each for each in self.changed(server=over).warnings if "unix" in each]

    def test_warning_about_a_missing_mode_T91c(self) -> None:
        """The warning about a socket without a mode names the socket and what to write."""
        [warning] = self.warned(listen=["tcp:80", "unix:/x"])
        self.assertIn("server.listen[1]", warning)
        self.assertIn("'unix:/x:mode=660'", warning)
        self.assertEqual(self.warned(listen=["unix:/x:mode=666"]), [])
        found = self.changed(metrics={"listen": ["unix:/y"]}).warnings
        self.assertTrue(any("metrics.listen[0]" in each for each in found), found)

    def test_abstract_socket_is_a_problem_T91c(self) -> None:
        """An abstract UNIX socket is a problem: it has no mode, so all users may connect."""
        listen = ["unix:\0authotron:mode=660"]
        server = {"host": ..., "port": ..., "listen": listen}
        for section, over in (("server", server), ("metrics", {"listen": listen})):
            problem = self.problem(**{section: over})
            self.assertEqual(problem, f"{section}.listen[0]: has a character that is not printable")

    def test_warning_about_untrusted_unix_peers_T91c(self) -> None:
        """
        There is a warning if C{trusted_proxies} lacks C{unix} although a UNIX socket is
        served.
        """
        proxies = ["127.0.0.0/8"]
        [warning] = self.warned(listen=["unix:/x:mode=660"], trusted_proxies=proxies)
        self.assertIn("server.trusted_proxies", warning)
        for listen, trusted in (
            (["unix:/x:mode=660"], [*proxies, "unix"]),
            (["tcp:80"], proxies),
        ):
            self.assertEqual(self.warned(listen=listen, trusted_proxies=trusted), [])
        self.assertEqual(self.warned(listen=["unix:/x:mode=660"]), [])
        listen = ["fastcgi:unix:/x:mode=660"]
        [warning] = self.warned(listen=listen, trusted_proxies=proxies)
        self.assertIn("every connection to the fastcgi: endpoint", warning)
        self.assertEqual(self.warned(listen=listen), [])
