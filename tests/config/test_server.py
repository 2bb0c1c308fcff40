"""The section C{server}: worker processes and what they can share."""

from __future__ import annotations

import os
from typing import Any

from authotron.config.check import Config
from authotron.config.server import every_address
from tests.config.cases import BASE, ConfigCase, laid_over


class WorkersTests(ConfigCase):
    """The number of worker processes."""

    def processes(self, **server: Any) -> int:
        return self.laid(server=server).file.server.processes

    def laid(self, **over: Any) -> Config:
        return self.load(laid_over(BASE, over))

    def test_number_of_workers(self) -> None:
        """There is one worker by default, a number of workers, or one for each processor."""
        self.assertEqual(self.processes(), 1)
        self.assertEqual(self.processes(workers=3), 3)
        self.assertEqual(self.processes(workers="auto"), len(os.sched_getaffinity(0)))

    def test_invalid_number_of_workers_is_a_problem(self) -> None:
        """Zero, more than 256, or a fraction of workers is a problem."""
        for number in (0, -1, 257, 1.5, "two", True):
            with self.subTest(repr(number)):
                self.assertTrue(self.problems(laid_over(BASE, {"server": {"workers": number}})))

    def test_workers_cannot_share_a_store_in_memory(self) -> None:
        """Several workers cannot share a store in memory."""
        problem = self.problem(server={"workers": 2}, store={"type": "memory"})
        self.assertEqual(problem, "store.type: several workers cannot share a store in memory")
        self.laid(server={"workers": 1}, store={"type": "memory"})

    def test_workers_share_sockets_only(self) -> None:
        """Several workers can share sockets, but not other endpoints, such as TLS."""
        server = {"host": ..., "port": ..., "workers": 2}
        listen = ["tcp:80", "tcp6:80", "unix:/x", "systemd"]
        self.laid(server={**server, "listen": listen})
        problem = self.problem(server={**server, "listen": ["ssl:443:privateKey=x"]})
        self.assertIn("several workers cannot share an endpoint of type ssl", problem)


class EveryAddressTests(ConfigCase):
    """Where the gateway listens without C{host}."""

    def test_ipv6_and_ipv4_W_V6(self) -> None:
        """Every address is C{::} where that accepts IPv4, too, and else C{0.0.0.0}."""
        interfaces = self.folder / "if_inet6"

        def unsupported() -> bool:
            raise OSError("Address family not supported by protocol")

        self.assertEqual(every_address(interfaces, lambda: False), "0.0.0.0")
        for addresses, is_ipv6_only, address in (
            ("", lambda: False, "0.0.0.0"),
            ("00000000000000000000000000000001 01 80 10 80 lo", lambda: False, "::"),
            ("00000000000000000000000000000001 01 80 10 80 lo", lambda: True, "0.0.0.0"),
            ("00000000000000000000000000000001 01 80 10 80 lo", unsupported, "0.0.0.0"),
        ):
            interfaces.write_text(addresses)
            self.assertEqual(every_address(interfaces, is_ipv6_only), address)

    def test_default_W_V6(self) -> None:
        """Without C{host} both ports are opened at every address."""
        server = self.changed(server={"host": ...}).file.server
        self.assertEqual(server.host, every_address())
        self.assertEqual(self.changed(server={"host": "0.0.0.0"}).file.server.host, "0.0.0.0")
