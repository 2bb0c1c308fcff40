"""Answers as large as each proxy accepts by its shipped configuration, and larger ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon, free_port
from tests.functional.proxies import envoy, shipped
from tests.functional.proxies.shipped import Proxy
from tests.functional.proxy import Backend

HEADS = [1_000 * n for n in range(58, 68)]
"""The approximate bytes of the JWTs of the users."""


def user(head: int) -> dict[str, Any]:
    """Return a user whose JWT has about a number of bytes."""
    roles = [f"{number:041}" for number in range(head * 3 // 4 // 44 - 4)]
    return {"username": f"u{head}", "password": "p", "roles": roles}


class AnswerSizeTests(SynchronousTestCase):
    """The default of C{max_head_bytes} of each contract."""

    def setUp(self) -> None:
        users = [user(head) for head in HEADS]
        self.users = {each["username"]: each["roles"] for each in users}
        provider = {"name": "local", "type": "plain", "realm": "here", "users": users}
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.folder.chmod(0o755)
        grpc = free_port()
        server = {
            "listen": [f"grpc:tcp:{grpc}:interface=127.0.0.1"],
            "trusted_proxies": ["127.0.0.1/32"],
        }
        daemon = Daemon(self.folder / "gateway").configure(providers=[provider], server=server)
        self.addCleanup(daemon.start().stop)
        self.backend = Backend(self.folder / "backend").start()
        self.addCleanup(self.backend.stop)
        self.entrances = {"http": daemon.port, "grpc": grpc}

    def test_whole_or_refused_T62(self) -> None:
        """
        The service gets the whole JWT, or the client a 403: never an error of the proxy, and the
        limit is not lower than it needs to be.
        """
        for kind, smallest in (
            (shipped.Nginx, 64_000),
            (shipped.HAProxy, 64_000),
            (envoy.Envoy, 60_000),
            (envoy.EnvoyByHttp, 60_000),
        ):
            with self.subTest(kind.__name__):
                largest, refused = self.sizes(kind)
                self.assertGreater(largest, smallest)
                self.assertGreater(refused, 0)

    def test_no_limit_T62(self) -> None:
        """Caddy and Traefik pass on every JWT."""
        for kind in (shipped.Caddy, shipped.Traefik):
            with self.subTest(kind.__name__):
                largest, refused = self.sizes(kind)
                self.assertGreater(largest, 66_000)
                self.assertEqual(refused, 0)

    def sizes(self, kind: type[Proxy]) -> tuple[int, int]:
        """Return the bytes of the largest JWT that a service gets, and how many are refused."""
        place = self.folder / kind.__name__, self.entrances[kind.entrance], self.backend.port
        proxy = kind(*place).start()
        self.addCleanup(proxy.stop)
        found, refused = [0], 0
        for name, roles in self.users.items():
            answer = wire.login(proxy.port, name, "p")
            if answer.status == 403:
                refused += 1
                continue
            self.assertEqual((answer.status, refused), (200, 0), name)
            told = answer.json()
            self.assertEqual(told["claims"]["roles"], roles)
            found.append(len(told["headers"]["authorization"][0]))
        return max(found), refused
