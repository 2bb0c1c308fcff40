"""Requests of clients through the real Envoy with the shipped example, to a backend."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority
from tests.functional import wire
from tests.functional.daemon import Daemon, awkward, free_port
from tests.functional.proxies.envoy import Envoy
from tests.functional.proxy import Backend
from tests.waiting import until

ROUTE = "/envoy.service.auth.v3.Authorization/Check"


def by_tls(authority: Path) -> dict[str, Any]:
    """Return the keys of a cluster that Envoy connects to by TLS."""
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    trusted = {"trusted_ca": {"filename": str(authority)}}
    context = {"@type": kind, "common_tls_context": {"validation_context": trusted}}
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}


class EnvoyCase(SynchronousTestCase):
    """Envoy, a gateway that it asks by gRPC, and a backend."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.backend = Backend(self.folder).start()
        self.addCleanup(self.backend.stop)

    def serve(
        self,
        gateway: int | Path,
        changes: Mapping[str, str] | None = None,
        *,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Start Envoy in front of a gateway."""
        folder, backend = self.folder / "envoy", self.backend.port
        envoy = Envoy(folder, gateway, backend, changes or {}, more or {})
        self.addCleanup(envoy.start().stop)
        self.port = envoy.port

    def serve_all(self, *, workers: int = 1, **over: Any) -> Daemon:
        """Start a gateway and Envoy."""
        port = free_port()
        server = {**grpc(port), "workers": workers}
        daemon = Daemon(self.folder).configure(server=server, **over).start()
        self.addCleanup(daemon.stop)
        self.serve(port)
        return daemon

    def good(self) -> int:
        return wire.login(self.port, "alice", "wonder", "/").status


def grpc(port: int) -> dict[str, object]:
    """Return the key by which the gateway serves gRPC at a port, beside HTTP."""
    return {"listen": [f"grpc:tcp:{port}:interface=127.0.0.1"]}


class BehindEnvoyTests(EnvoyCase):
    """Envoy, gateway and backend, all of which work."""

    def test_seen_by_operators(self) -> None:
        """The log and the metrics of the gateway name the question."""
        daemon = self.serve_all()
        self.assertEqual(self.good(), 200)
        daemon.logged(f"GET {ROUTE}: 200 for alice of here from 127.0.0.1")
        name = f'authotron_http_requests_total{{method="GET",route="{ROUTE}",status_code="200"}}'
        self.assertEqual(daemon.metric(name), 1)

    def test_unix_socket(self) -> None:
        """Envoy may ask at a UNIX socket."""
        path = Path(self.enterContext(TemporaryDirectory())) / "envoy.sock"  # a short path
        server = {"listen": [f"grpc:unix:{path}"], "trusted_proxies": ["unix"]}
        daemon = Daemon(self.folder).configure(server=server).start()
        self.addCleanup(daemon.stop)
        self.serve(path)
        self.assertEqual(self.good(), 200)

    def test_tls(self) -> None:
        """Envoy may ask by TLS, and negotiates HTTP/2."""
        authority = Authority(self.folder.absolute() / "tls").found()
        file = authority.issue("localhost")
        port = free_port()
        endpoint = f"grpc:ssl:{port}:interface=127.0.0.1:privateKey={file}:certKey={file}"
        daemon = Daemon(self.folder).configure(server={"listen": [endpoint]}).start()
        self.addCleanup(daemon.stop)
        self.serve(port, more=by_tls(authority.file))
        self.assertEqual(self.good(), 200)
        self.assertEqual(wire.login(self.port, "alice", "guess", "/").status, 401)

    def test_health_check(self) -> None:
        """Envoy may check the health of the gateway, and asks a healthy gateway only."""
        port = free_port()
        daemon = Daemon(self.folder).configure(server=grpc(port)).start()
        self.addCleanup(daemon.stop)
        times = {"timeout": "5s", "interval": "1s", "no_traffic_interval": "1s"}
        counts = {"healthy_threshold": 1, "unhealthy_threshold": 1}
        service = "envoy.service.auth.v3.Authorization"
        check = {**times, **counts, "grpc_health_check": {"service_name": service}}
        never = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
        self.serve(port, more={"health_checks": [check], **never})
        until(lambda: self.good() == 200, "healthy")
        daemon.logged("POST /grpc.health.v1.Health/Check: 200")

    def test_several_workers_and_a_reload(self) -> None:
        """Workers share the gRPC socket, and a reload does not interrupt it."""
        daemon = self.serve_all(workers=2)
        self.assertEqual({self.good() for _ in range(20)}, {200})
        daemon.tell(signal.SIGHUP)
        self.assertEqual({self.good() for _ in range(20)}, {200})

    def test_stopped_without_a_loss(self) -> None:
        """A gateway that stops answers the calls that have begun."""
        port = free_port()
        daemon = awkward(self.folder / "gateway", server=grpc(port))
        self.addCleanup(daemon.stop)
        self.serve(port)
        with wire.connect(self.port) as slow:
            slow.sendall(wire.head("/", {"Authorization": wire.basic("slow", "x")}))
            self.assertEqual(wire.login(self.port, "other", "x", "/").status, 401)
            daemon.tell(signal.SIGTERM)
            (self.folder / "gateway" / "go").touch()
            found = wire.receive(slow)
            assert found is not None
            self.assertEqual(found.status, 200)


class OutageTests(EnvoyCase):
    """Envoy without a working gateway."""

    def test_provider_down(self) -> None:
        """
        If no provider can judge, the client gets the 503 of the gateway, even if Envoy lets
        requests through without a gateway.
        """
        port = free_port()
        daemon = awkward(self.folder / "gateway", server=grpc(port))
        self.addCleanup(daemon.stop)
        self.serve(port, {"failure_mode_allow: false": "failure_mode_allow: true"})
        answer = wire.login(self.port, "unavailable", "x", "/")
        self.assertEqual((answer.status, answer.header("Retry-After")), (503, "5"))

    def test_given_up(self) -> None:
        """A question that Envoy gives up is a 503, and the gateway gives it up, too."""
        port = free_port()
        daemon = awkward(self.folder / "gateway", server=grpc(port))
        self.addCleanup(daemon.stop)
        self.serve(port, {"timeout: 10s": "timeout: 0.5s"})
        self.assertEqual(wire.login(self.port, "slow", "x", "/").status, 503)
        name = 'authotron_http_requests_in_flight{method="GET"}'
        self.assertEqual(daemon.metric(name), 0)
        self.assertEqual(wire.login(self.port, "other", "x", "/").status, 401)

    def test_peer_that_is_not_trusted(self) -> None:
        """A gateway that does not trust Envoy closes its connections, so nothing passes."""
        port = free_port()
        server = {**grpc(port), "trusted_proxies": ["192.0.2.0/24"]}
        daemon = Daemon(self.folder).configure(server=server).start()
        self.addCleanup(daemon.stop)
        self.serve(port)
        self.assertEqual(self.good(), 503)
        name = 'authotron_untrusted_connections_total{protocol="grpc"}'
        self.assertGreaterEqual(daemon.metric(name), 1)
        daemon.logged("server.trusted_proxies")
