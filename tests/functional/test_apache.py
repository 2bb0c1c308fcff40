"""Requests of clients through the real Apache with the shipped example, to a backend."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon, free_port
from tests.functional.proxies.shipped import ETC, Apache
from tests.functional.proxy import Backend


def fastcgi(port: int) -> dict[str, object]:
    """Return the key by which the gateway serves FastCGI at a port, beside HTTP."""
    return {"listen": [f"fastcgi:tcp:{port}:interface=127.0.0.1"]}


class ApacheCase(SynchronousTestCase):
    """Apache, a gateway that it asks by FastCGI, and a backend."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.backend = Backend(self.folder).start()
        self.addCleanup(self.backend.stop)

    def serve(self, gateway: int, **changes: str) -> Apache:
        """Start Apache in front of a gateway."""
        apache = Apache(self.folder / "apache", gateway, self.backend.port, changes)
        apache.start()
        self.addCleanup(apache.stop)
        self.port = apache.port
        return apache

    def serve_all(self, workers: int = 1) -> Daemon:
        """Start a gateway and Apache."""
        port = free_port()
        server = {**fastcgi(port), "workers": workers}
        daemon = Daemon(self.folder).configure(server=server).start()
        self.addCleanup(daemon.stop)
        self.serve(port)
        return daemon


class BehindApacheTests(ApacheCase):
    """Apache, gateway and backend, all of which work."""

    def test_seen_by_operators(self) -> None:
        """The log and the metrics of the gateway name the question."""
        daemon = self.serve_all()
        self.assertEqual(wire.login(self.port, "alice", "wonder", "/").status, 200)
        daemon.logged("GET fastcgi: 200 for alice of here")
        name = 'authotron_http_requests_total{method="GET",route="fastcgi",status_code="200"}'
        self.assertEqual(daemon.metric(name), 1)

    def test_several_workers_and_a_reload(self) -> None:
        """Workers share the FastCGI socket, and a reload does not interrupt it."""
        daemon = self.serve_all(workers=2)
        for _ in range(20):
            self.assertEqual(wire.login(self.port, "alice", "wonder", "/").status, 200)
        daemon.tell(signal.SIGHUP)
        for _ in range(20):
            self.assertEqual(wire.login(self.port, "alice", "wonder", "/").status, 200)

    def test_variables_that_vanish(self) -> None:
        """A path for which Apache has no room in its question is refused and not performed."""
        daemon = self.serve_all()
        answer = wire.login(self.port, "alice", "wonder", "/" + "b" * 20_000)
        self.assertEqual(answer.status, 400)
        daemon.logged("without REQUEST_URI")


class WebPagesTests(ApacheCase):
    """What web pages need: CORS."""

    origin = "https://app.example.org"

    def test_preflights(self) -> None:
        """
        Without further directives a preflight is a 401. With those of docs/apache.md Apache answers
        the preflights of a listed origin alone, and its pages can read refusals.
        """
        fields = {"Origin": self.origin, "Access-Control-Request-Method": "PUT"}
        port = free_port()
        daemon = Daemon(self.folder).configure(server=fastcgi(port)).start()
        self.addCleanup(daemon.stop)
        apache = self.serve(port)
        self.assertEqual(wire.ask(self.port, "/", fields, "OPTIONS").status, 401)
        apache.stop()
        page = (ETC.parent / "docs/apache.md").read_text()
        part = page.partition("## Web pages of other origins")[2].partition("\n## ")[0]
        [directives] = re.findall(r"```apache\n(.*?)```", part, re.DOTALL)
        self.serve(port, **{"    Timeout 60\n": f"    Timeout 60\n{directives}"})
        answer = wire.ask(self.port, "/", fields, "OPTIONS")
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.header("Access-Control-Allow-Origin"), self.origin)
        for other in (
            {**fields, "Origin": "https://app.example.org.evil.example"},
            {**fields, "Origin": "https://appxexample.org"},
            {"Access-Control-Request-Method": "PUT"},
            {"Origin": self.origin},
        ):
            self.assertEqual(wire.ask(self.port, "/", other, "OPTIONS").status, 401)
        refused = wire.ask(self.port, "/", {"Origin": self.origin})
        self.assertEqual(refused.status, 401)
        self.assertEqual(refused.header("Access-Control-Allow-Origin"), self.origin)


class OutageTests(ApacheCase):
    """Apache without a working gateway."""

    def test_peer_that_is_not_trusted(self) -> None:
        """A gateway that does not trust Apache closes its connections, so nothing passes."""
        port = free_port()
        server = {**fastcgi(port), "trusted_proxies": ["192.0.2.0/24"]}
        daemon = Daemon(self.folder).configure(server=server).start()
        self.addCleanup(daemon.stop)
        self.serve(port)
        self.assertEqual(wire.login(self.port, "alice", "wonder", "/").status, 500)
        name = 'authotron_untrusted_connections_total{protocol="fastcgi"}'
        self.assertGreaterEqual(daemon.metric(name), 1)
        daemon.logged("server.trusted_proxies")
