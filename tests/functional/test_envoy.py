"""Requests of clients through the real Envoy with the shipped example, to a backend."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority
from tests.functional import servers, wire
from tests.functional.daemon import Daemon, absolute, awkward, free_port
from tests.functional.proxy import ROOT, Backend, Silence
from tests.test_identity_headers import listed
from tests.waiting import until

EXAMPLE = ROOT / "etc/envoy/authotron.yaml"
PAGE = ROOT / "docs/envoy.md"
SHOWN = re.compile(r"```yaml\n(- name:[^`]*http_service:[^`]*)```")
"""Matches the filter that asks by HTTP, on the page."""

LARGE = 100 * 2**20
ROUTE = "/envoy.service.auth.v3.Authorization/Check"
_MOST_FIELDS = 80
"""Envoy answers 431 to a request with more than 100 headers."""


@define(eq=False)
class Envoy:
    """
    Envoy with F{etc/envoy/authotron.yaml}, of which only addresses are changed.

    @ivar gateway: the port of the gateway for gRPC, or the path of its socket.
    @ivar more: further keys of the cluster of the gateway.
    @ivar by_http: whether Envoy asks by HTTP, as F{docs/envoy.md} shows it.
    @ivar changes: further texts to replace, each of which must be there.
    """

    folder: Path = field(converter=absolute)
    gateway: int | Path
    backend: int
    by_http: bool = False
    more: Mapping[str, Any] = field(factory=dict)
    changes: Mapping[str, str] = field(factory=dict)
    port: int = field(factory=free_port)

    def start(self) -> Envoy:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "envoy.yaml"
        config.write_text(self._config())
        servers.run("envoy", "install", str(self.folder))
        servers.run("envoy", "start", str(self.folder), str(self.port), ENVOY_CONFIG=str(config))
        return self

    def stop(self) -> None:
        servers.run("envoy", "stop", str(self.folder))

    def _config(self) -> str:
        text = EXAMPLE.read_text()
        asks = SHOWN.findall(PAGE.read_text())[0] if self.by_http else text
        for old, new in self.changes.items():
            assert asks.count(old) == 1, f"{old!r} is not there once"
            asks = asks.replace(old, new)
        resources = yaml.safe_load(text if self.by_http else asks)["static_resources"]
        [listener], [gateway, backend] = resources["listeners"], resources["clusters"]
        if self.by_http:
            chain = listener["filter_chains"][0]["filters"][0]["typed_config"]
            chain["http_filters"][:1] = yaml.safe_load(asks)
            del gateway["typed_extension_protocol_options"]
        gateway.update(self.more)
        listener["address"] = address(self.port)
        for cluster, where in ((gateway, self.gateway), (backend, self.backend)):
            [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
            endpoint["endpoint"]["address"] = address(where)
        return json.dumps({"static_resources": resources})


def address(where: int | Path) -> dict[str, Any]:
    """Return an address of Envoy: a port of this machine, or a UNIX socket."""
    if isinstance(where, Path):
        return {"pipe": {"path": str(where)}}
    return {"socket_address": {"address": "127.0.0.1", "port_value": where}}


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
        by_http: bool = False,
        more: Mapping[str, Any] | None = None,
    ) -> Envoy:
        """Start Envoy in front of a gateway."""
        folder, backend = self.folder / "envoy", self.backend.port
        envoy = Envoy(folder, gateway, backend, by_http, more or {}, changes or {}).start()
        self.addCleanup(envoy.stop)
        self.port = envoy.port
        return envoy

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

    def test_good_bad_and_missing_credentials(self) -> None:
        """
        The backend gets a JWT and no password; a wrong or a missing credential is a 401 with the
        challenge of the gateway.
        """
        daemon = self.serve_all()
        answer = wire.login(self.port, "alice", "wonder", "/some/where?q=1")
        self.assertEqual(answer.status, 200, answer)
        told = answer.json()
        self.assertEqual(told["path"], "/some/where?q=1")
        self.assertEqual(told["claims"]["sub"], "here-alice")
        self.assertNotIn(wire.basic("alice", "wonder"), str(told))
        for refused in (wire.login(self.port, "alice", "guess", "/"), wire.ask(self.port, "/")):
            self.assertEqual(refused.status, 401)
            self.assertEqual(refused.header("WWW-Authenticate"), 'Basic realm="here"')
            self.assertIn(b"Unauthorized access", refused.body)
            self.assertIsNone(refused.header("Authorization"))
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

    def test_spoofed_headers_T59(self) -> None:
        """What a client sends under the name of an identity header does not reach the backend."""
        self.serve_all(include_legacy_headers=True)
        origin = ["X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host"]
        names = [*listed(), "X-Auth-Username", "X-Auth-Roles", *origin]
        good = ("Authorization", wire.basic("alice", "wonder"))
        for start in range(0, len(names), _MOST_FIELDS):
            spoofed = [(name, "mallory") for name in names[start : start + _MOST_FIELDS]]
            headers = wire.ask(self.port, "/", [*spoofed, good]).json()["headers"]
            self.assertEqual(headers["x-auth-username"], ["alice"])
            self.assertEqual(headers["x-auth-realm"], ["here"])
            self.assertEqual(headers["x-auth-roles"], ["reader"])
            self.assertEqual(headers["x-real-ip"], ["127.0.0.1"])
            self.assertEqual(headers["x-forwarded-for"], ["127.0.0.1"])
            self.assertEqual(headers["x-forwarded-host"], ["localhost"])
            self.assertNotIn("mallory", str(headers))
        for name in ("X_Auth_Username", "x-auth_roles", "Remote_User"):
            answer = wire.ask(self.port, "/", [(name, "mallory"), good])
            self.assertEqual(answer.status, 400)

    def test_removed_headers_T59(self) -> None:
        """Identity headers that the gateway does not send are removed, not passed on."""
        self.serve_all()
        fields = [("X-Auth-Username", "mallory"), ("X-Auth-Roles", "admin")]
        good = ("Authorization", wire.basic("alice", "wonder"))
        headers = wire.ask(self.port, "/", [*fields, good]).json()["headers"]
        self.assertEqual([name for name in headers if name.startswith("x-auth-")], [])

    def test_limited_token(self) -> None:
        """The host of the request and the address of the client decide about a limited token."""
        daemon = self.serve_all(store={"type": "memory"})
        for limits, host, status in (
            ({"hosts": ["*.example.org"]}, "app.example.org", 200),
            ({"hosts": ["*.example.org"]}, "app.example.com", 403),
            ({"networks": ["127.0.0.0/8"]}, "app.example.org", 200),
            ({"networks": ["203.0.113.0/24"]}, "app.example.org", 403),
        ):
            token = made(daemon, limits)
            fields = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "203.0.113.9"}
            answer = wire.say(self.port, wire.head("/", fields, host=host))
            assert answer is not None
            self.assertEqual(answer.status, status, limits)

    def test_kept_connection(self) -> None:
        """Each request on a connection of a client is judged by its own credential."""
        self.serve_all()
        good = [("Authorization", wire.basic("alice", "wonder"))]
        bad = [("Authorization", wire.basic("alice", "guess"))]
        with wire.connect(self.port) as connection:
            for fields, status in ((good, 200), (bad, 401), ([], 401), (good, 200)):
                connection.sendall(wire.head("/", fields))
                answer = wire.receive(connection)
                assert answer is not None
                self.assertEqual(answer.status, status)

    def test_at_once(self) -> None:
        """Many clients at once are all answered, on few connections to the gateway."""
        self.serve_all()
        found: list[int] = []

        def ask() -> None:
            found.extend(self.good() for _ in range(5))

        clients = [threading.Thread(target=ask) for _ in range(30)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.assertEqual(found, [200] * 150)

    def test_large_upload(self) -> None:
        """An upload of 100 MB reaches the backend, and the gateway does not get it."""
        daemon = self.serve_all()
        before = daemon.metric("process_resident_memory_bytes")
        fields = [
            ("Authorization", wire.basic("alice", "wonder")),
            ("Content-Length", str(LARGE)),
        ]
        answer = wire.say(self.port, wire.head("/", fields, "POST"), bytes(LARGE))
        assert answer is not None
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json()["headers"]["content-length"], [str(LARGE)])
        self.assertLess(daemon.metric("process_resident_memory_bytes") - before, LARGE / 5)

    def test_websocket(self) -> None:
        """The request that opens a WebSocket is judged like any other."""
        port = free_port()
        daemon = Daemon(self.folder).configure(server=grpc(port)).start()
        self.addCleanup(daemon.stop)
        upgraded = Upgrading()
        self.addCleanup(upgraded.stop)
        self.backend.port = upgraded.port
        self.serve(port)
        fields = {"Connection": "Upgrade", "Upgrade": "websocket"}
        refused = wire.say(self.port, wire.head("/", fields))
        assert refused is not None
        self.assertEqual(refused.status, 401)
        with wire.connect(self.port) as connection:
            fields["Authorization"] = wire.basic("alice", "wonder")
            connection.sendall(wire.head("/", fields))
            self.assertIn(b" 101 ", connection.recv(65_536))
            connection.sendall(b"ping")
            self.assertEqual(connection.recv(4), b"ping")
        self.assertIn(b"Bearer ", upgraded.asked[0])

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


def made(daemon: Daemon, limits: Mapping[str, list[str]]) -> str:
    """Make an API token with limits, and return it."""
    body = json.dumps(limits).encode()
    fields = {
        "Authorization": wire.basic("alice", "wonder"),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    answer = wire.say(daemon.port, wire.head("/tokens", fields, "POST"), body)
    assert answer is not None
    token: str = answer.json()["token"]
    return token


class Upgrading:
    """A backend that accepts one WebSocket, and repeats what it gets."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.asked: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return
        with connection:
            self.asked.append(connection.recv(65_536))
            lines = [b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade"]
            connection.sendall(b"\r\n".join([*lines, b"Upgrade: websocket", b"", b""]))
            while data := connection.recv(65_536):
                connection.sendall(data)

    def stop(self) -> None:
        self._listening.close()


class OutageTests(EnvoyCase):
    """Envoy without a working gateway."""

    def test_gateway_down_or_silent(self) -> None:
        """If no gateway listens, or a gateway does not answer in time, nothing is let through."""
        envoy = self.serve(free_port())
        answer = wire.login(self.port, "alice", "wonder", "/")
        self.assertEqual(answer.status, 503)
        self.assertNotIn(b"claims", answer.body)
        envoy.stop()
        silence = Silence()
        self.addCleanup(silence.stop)
        self.serve(silence.port, {"timeout: 10s": "timeout: 1s"})
        answer = wire.login(self.port, "alice", "wonder", "/")
        self.assertEqual(answer.status, 503)
        self.assertNotIn(b"claims", answer.body)

    def test_provider_down_and_slow(self) -> None:
        """
        If no provider can judge, the client gets the 503 of the gateway with C{Retry-After}, even
        if Envoy lets requests through without a gateway; a slow provider makes the client wait, and
        no other client.
        """
        port = free_port()
        daemon = awkward(self.folder / "gateway", server=grpc(port))
        self.addCleanup(daemon.stop)
        self.serve(port, {"failure_mode_allow: false": "failure_mode_allow: true"})
        answer = wire.login(self.port, "unavailable", "x", "/")
        self.assertEqual((answer.status, answer.header("Retry-After")), (503, "5"))
        with wire.connect(self.port) as slow:
            slow.sendall(wire.head("/", {"Authorization": wire.basic("slow", "x")}))
            self.assertEqual(wire.login(self.port, "other", "x", "/").status, 401)
            (self.folder / "gateway" / "go").touch()
            found = wire.receive(slow)
            assert found is not None
            self.assertEqual(found.status, 200)

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


class ByHttpTests(EnvoyCase):
    """Envoy that asks by HTTP, as the page shows it."""

    def serve_by_http(self, **over: Any) -> Daemon:
        daemon = Daemon(self.folder).configure(**over).start()
        self.addCleanup(daemon.stop)
        self.serve(daemon.port, by_http=True)
        return daemon

    def test_good_bad_and_missing_credentials(self) -> None:
        """
        A request with any method and path gets a JWT; a refusal has the challenge of the gateway,
        and no identity.
        """
        self.serve_by_http()
        good = {"Authorization": wire.basic("alice", "wonder")}
        for method, path in (("GET", "/some/where?q=1"), ("DELETE", "/"), ("PROPFIND", "/a/b")):
            answer = wire.ask(self.port, path, good, method)
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual(answer.json()["path"], path)
            self.assertEqual(answer.json()["claims"]["sub"], "here-alice")
        for refused in (wire.login(self.port, "alice", "guess", "/"), wire.ask(self.port, "/")):
            self.assertEqual(refused.status, 401)
            self.assertEqual(refused.header("WWW-Authenticate"), 'Basic realm="here"')
            self.assertIsNone(refused.header("Authorization"))

    def test_spoofed_headers_T59(self) -> None:
        """Identity headers that the gateway does not send are removed, others are replaced."""
        fields = [("X-Auth-Username", "mallory"), ("X-Auth-Roles", "admin")]
        good = ("Authorization", wire.basic("alice", "wonder"))
        for legacy in (False, True):
            daemon = self.serve_by_http(include_legacy_headers=legacy)
            headers = wire.ask(self.port, "/", [*fields, good]).json()["headers"]
            told = {name: value for name, value in headers.items() if name.startswith("x-auth-")}
            wanted = {"x-auth-username": "alice", "x-auth-realm": "here", "x-auth-roles": "reader"}
            self.assertEqual(told, {name: [wanted[name]] for name in wanted} if legacy else {})
            daemon.stop()
            servers.run("envoy", "stop", str(self.folder / "envoy"))

    def test_outage(self) -> None:
        """If no provider can judge, or no gateway listens, the client gets a 503."""
        daemon = awkward(self.folder / "gateway")
        self.addCleanup(daemon.stop)
        self.serve(daemon.port, by_http=True)
        self.assertEqual(wire.login(self.port, "unavailable", "x", "/").status, 503)
        self.assertEqual(wire.login(self.port, "other", "x", "/").status, 401)
        daemon.stop()
        self.assertEqual(wire.login(self.port, "other", "x", "/").status, 503)

    def test_large_upload(self) -> None:
        """The body of an upload does not reach the gateway."""
        self.serve_by_http()
        fields = [("Authorization", wire.basic("alice", "wonder")), ("Content-Length", "1000000")]
        answer = wire.say(self.port, wire.head("/", fields, "POST"), bytes(1_000_000))
        assert answer is not None
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json()["headers"]["content-length"], ["1000000"])
