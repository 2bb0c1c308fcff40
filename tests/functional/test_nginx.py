"""Requests of clients through the real nginx with the shipped example, to a backend."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import proxy, wire
from tests.functional.daemon import Daemon, awkward, free_port
from tests.functional.proxies.around import around, gateway
from tests.functional.proxies.shipped import Nginx, Proxy
from tests.functional.proxy import Backend, Upgrading
from tests.functional.wire import Answer

OUTAGE = {"error": "Authentication is temporarily unavailable"}


class BehindNginxTests(SynchronousTestCase):
    """nginx, gateway and backend, all of which work."""

    def setUp(self) -> None:
        self.port = around(Nginx).proxy.port

    def test_body(self) -> None:
        """The body of a POST reaches the backend; the gateway gets no body."""
        authorization = wire.basic("alice", "wonder")
        fields = [("Authorization", authorization), ("Content-Length", "5")]
        answer = wire.say(self.port, wire.head("/", fields, "POST"), b"hello")
        assert answer is not None
        self.assertEqual((answer.status, answer.json()["method"]), (200, "POST"))
        self.assertEqual(answer.json()["headers"]["content-length"], ["5"])

    def test_refusal_is_a_page_for_browsers(self) -> None:
        """
        A browser without valid credentials gets a page, another client the JSON of the gateway, and
        both get one challenge.
        """
        browser = "text/html,application/xhtml+xml,*/*;q=0.8"
        for accept, kind, words in (
            (browser, "text/html; charset=utf-8", b"<h1>Who are you?</h1>"),
            ("*/*", "application/json", b'{"error": "Unauthorized access"}'),
            ("application/json", "application/json", b'{"error": "Unauthorized access"}'),
        ):
            for fields in ({}, {"Authorization": wire.basic("alice", "guess")}):
                with self.subTest(accept, fields=fields):
                    answer = wire.ask(self.port, "/", {"Accept": accept, **fields})
                    self.assertEqual(answer.status, 401)
                    self.assertIn(words, answer.body)
                    self.assertEqual(answer.header("Content-Type"), kind)
                    self.assertEqual(answer.header("WWW-Authenticate"), 'Basic realm="here"')
                    self.assertEqual(answer.header("Cache-Control"), "no-store")

    def test_fixed_host_T92a(self) -> None:
        """The gateway gets a valid host, whatever host the client names, or none in HTTP/1.0."""
        fields = [("Authorization", wire.basic("alice", "wonder"))]
        for host in ("localhost", "a_b", "x" * 100, "[::1]"):
            answer = wire.say(self.port, wire.head("/", fields, host=host))
            self.assertEqual(answer and answer.status, 200, host)
        authorization = f"Authorization: {fields[0][1]}"
        answer = wire.say(self.port, f"GET / HTTP/1.0\r\n{authorization}\r\n\r\n".encode())
        self.assertEqual(answer and answer.status, 200)

    def test_question_is_internal_T58(self) -> None:
        """Clients cannot reach the location of the gateway from outside."""
        self.assertEqual(wire.login(self.port, "alice", "wonder", "/_authotron").status, 404)

    def test_health(self) -> None:
        """The health check of the proxy needs no credentials."""
        self.assertEqual(wire.ask(self.port, "/nginx-health").status, 200)

    def test_malformed_T28(self) -> None:
        """A request that the gateway refuses as malformed is a 400, and not an outage."""
        answer = wire.ask(self.port, "/", {"Authorization": "Bearer " + "x" * 65_400})
        self.assertEqual(answer.status, 400)
        self.assertIsNone(answer.header("Retry-After"))


class CachedTests(SynchronousTestCase):
    """nginx caches answers, as the page about performance shows."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        cache = folder.absolute() / "cache"
        self.gateway = Daemon(folder / "gateway").configure().start()
        self.addCleanup(self.gateway.stop)
        backend = Backend(folder / "backend").start()
        self.addCleanup(backend.stop)
        path, question = _documented()
        changes = {
            "upstream backend {": path.replace("/dev/shm/authotron", str(cache))
            + "upstream backend {",
            "proxy_read_timeout 15s;": question + "proxy_read_timeout 15s;",
        }
        nginx = Nginx(folder / "nginx", self.gateway.port, backend.port, changes).start()
        self.addCleanup(nginx.stop)
        self.port = nginx.port

    def asked(self) -> float:
        labels = 'method="HEAD",route="/authenticate",status_code="200"'
        return self.gateway.metric(f"authotron_http_requests_total{{{labels}}}")

    def test_once(self) -> None:
        """A repeated credential is not sent to the gateway again; the backend gets the same JWT."""
        answers = [wire.login(self.port, "alice", "wonder") for _ in range(3)]
        self.assertEqual([answer.status for answer in answers], [200] * 3)
        self.assertEqual({answer.json()["claims"]["sub"] for answer in answers}, {"here-alice"})
        self.assertLess(self.asked(), 3)

    def test_key_T40(self) -> None:
        """A cached answer is not used for another credential or another realm."""
        self.assertEqual(wire.login(self.port, "alice", "wonder").status, 200)
        self.assertEqual(wire.login(self.port, "alice", "guess").status, 401)
        self.assertEqual(wire.ask(self.port, "/").status, 401)
        realm = {"Authorization": wire.basic("alice", "wonder"), "X-Auth-Realm": "elsewhere"}
        self.assertEqual(wire.ask(self.port, "/", realm).status, 401)


def _documented() -> list[str]:
    """Return the two parts of the configuration on the page."""
    page = (proxy.ROOT / "docs" / "performance.md").read_text()
    return re.findall(r"^```nginx\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


class LargeTokenTests(SynchronousTestCase):
    """A user with very many roles."""

    def test_many_groups_H_GROUPS(self) -> None:
        """An answer with a JWT of about 40 KiB fits into the buffers of the example."""
        roles = [f"a-role-with-a-rather-long-name-{n:04}" for n in range(800)]
        alice = {"username": "alice", "password": "wonder", "roles": roles}
        provider = {"name": "local", "type": "plain", "realm": "here", "users": [alice]}
        folder = Path(self.mktemp())
        daemon = Daemon(folder).configure(providers=[provider]).start()
        self.addCleanup(daemon.stop)
        backend = Backend(folder).start()
        self.addCleanup(backend.stop)
        nginx = Nginx(folder, daemon.port, backend.port).start()
        self.addCleanup(nginx.stop)
        answer = wire.login(nginx.port, "alice", "wonder")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json()["claims"]["roles"], roles)


class PublishedKeyTests(SynchronousTestCase):
    """A gateway that signs with a private key."""

    def test_published(self) -> None:
        """A backend verifies JWTs with the published keys, without a secret."""
        folder = Path(self.mktemp())
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (folder / "key.pem").write_bytes(key)
        signing = {"alg": "ES256", "key_file": "key.pem", "secret": None}
        daemon = Daemon(folder).configure(jwt=signing).start()
        self.addCleanup(daemon.stop)
        published = wire.ask(daemon.port, "/.well-known/jwks.json").body
        backend = Backend(folder, published).start()
        self.addCleanup(backend.stop)
        nginx = Nginx(folder, daemon.port, backend.port).start()
        self.addCleanup(nginx.stop)
        answer = wire.login(nginx.port, "alice", "wonder")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json()["claims"]["sub"], "here-alice")


class OutageTests(SynchronousTestCase):
    """An outage of the gateway is a 503 with Retry-After."""

    def test_gateway_down_T60(self) -> None:
        """If no process listens at the port of the gateway, clients learn when to try again."""
        nginx = Nginx(Path(self.mktemp()), free_port(), free_port()).start()
        self.addCleanup(nginx.stop)
        answer = wire.login(nginx.port, "alice", "wonder")
        self.assertEqual((answer.status, answer.json()), (503, OUTAGE))
        self.assertEqual(answer.header("Retry-After"), "5")


class ErrorHeadersTests(SynchronousTestCase):
    """nginx answers what the gateway states in error headers, by the configuration on the page."""

    def start(self, **over: Any) -> Nginx:
        """Start a gateway with error headers, and nginx in front of it; there is no backend."""
        page = (proxy.ROOT / "docs" / "nginx.md").read_text()
        fences = re.findall(r"^```nginx\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        [added] = [text for text in fences if "@authotron_denied" in text]
        contracts = {"nginx": {"error_headers": True, "max_head_bytes": 4_096}}
        server = {"answers": {"contracts": contracts}, **over.pop("server", {})}
        if over:
            daemon = Daemon(Path(self.mktemp())).configure(server=server, **over).start()
        else:
            daemon = awkward(Path(self.mktemp()), server=server)
        self.addCleanup(daemon.stop)
        changes = {"    location / {": f"{added}\n    location / {{"}
        nginx = Nginx(Path(self.mktemp()), daemon.port, free_port(), changes).start()
        self.addCleanup(nginx.stop)
        return nginx

    def test_outage_S_ERRORHEADERS(self) -> None:
        """An outage is a 503 with the body and C{Retry-After} of the gateway, not a 403."""
        answer = wire.login(self.start().port, "unavailable", "wonder")
        self.assertEqual((answer.status, answer.json()), (503, OUTAGE))
        self.assertEqual(answer.header("Retry-After"), "5")
        self.assertIsNone(answer.header("X-Error-Status"))

    def test_refusals_S_ERRORHEADERS(self) -> None:
        """A wrong password stays a 401 with its challenge, and a too large identity a 403."""
        roles = [f"a-role-with-a-rather-long-name-{n:04}" for n in range(100)]
        people = [
            {"username": "alice", "password": "wonder", "roles": roles},
            {"username": "bob", "password": "builder"},
        ]
        provider = {"name": "local", "type": "plain", "realm": "here", "users": people}
        nginx = self.start(providers=[provider])
        refused = wire.login(nginx.port, "alice", "guess")
        self.assertEqual((refused.status, refused.json()), (401, {"error": "Unauthorized access"}))
        self.assertEqual(refused.header("WWW-Authenticate"), 'Basic realm="here"')
        denied = wire.login(nginx.port, "alice", "wonder")
        self.assertEqual(denied.status, 403)
        self.assertEqual(denied.json(), {"error": "The identity is too large for the proxy"})
        self.assertEqual(wire.login(nginx.port, "bob", "builder").status, 502)  # no backend

    def test_unusable_fact_S_ERRORHEADERS(self) -> None:
        """A question that lacks what the contract requires is a 400."""
        contract = {"type": "nginx", "required": ["method"], "headers": {"method": "X-Other"}}
        nginx = self.start(server={"contracts": [contract]}, include_legacy_headers=False)
        answer = wire.login(nginx.port, "alice", "wonder")
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json(), {"error": "Cannot determine the requested host or client"})


class SizeTests(SynchronousTestCase):
    """nginx with its default buffer of one memory page, and a gateway that knows the size."""

    def test_whole_or_refused_T62(self) -> None:
        """Whatever the size of an identity, the backend gets the whole JWT, or the client a 403."""
        users = [
            {"username": f"u{n:02}", "password": "p", "roles": ["r" * (2_500 + 10 * n)]}
            for n in range(40)
        ]
        provider = {"name": "local", "type": "plain", "realm": "here", "users": users}
        contracts = {"nginx": {"max_head_bytes": 4_096}}
        folder = Path(self.mktemp())
        server = {"answers": {"contracts": contracts}}
        daemon = Daemon(folder).configure(providers=[provider], server=server).start()
        self.addCleanup(daemon.stop)
        backend = Backend(folder).start()
        self.addCleanup(backend.stop)
        changes = {"proxy_buffer_size 64k;": "proxy_buffer_size 4k;"}
        nginx = Nginx(folder, daemon.port, backend.port, changes).start()
        self.addCleanup(nginx.stop)
        statuses = []
        for user in users:
            answer = wire.login(nginx.port, str(user["username"]), "p")
            statuses.append(answer.status)
            if answer.status == 200:
                self.assertEqual(answer.json()["claims"]["roles"], user["roles"])
        self.assertEqual(statuses, sorted(statuses))
        self.assertEqual(set(statuses), {200, 403})


class WebPagesTests(SynchronousTestCase):
    """What web pages need: CORS and WebSocket, and errors that say what failed."""

    origin = "https://app.example.org"

    def nginx(self, backend: int, changes: Mapping[str, str] | None = None) -> Nginx:
        listed = {f'# "{self.origin}" $http_origin;': f'"{self.origin}" $http_origin;'}
        place = (Path(self.mktemp()), gateway().daemon.port, backend)
        nginx = Nginx(*place, {**listed, **(changes or {})})
        self.addCleanup(nginx.start().stop)
        return nginx

    def preflight(self, nginx: Proxy, origin: str, **fields: str) -> Answer:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST", **fields}
        answer = wire.say(nginx.port, wire.head("/some/where", headers, "OPTIONS"))
        assert answer is not None
        return answer

    def test_preflight_N_CORS(self) -> None:
        """A preflight of a listed origin is answered without credentials."""
        answer = self.preflight(self.nginx(gateway().backend.port), self.origin)
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.header("Access-Control-Allow-Origin"), self.origin)
        self.assertIn("Authorization", str(answer.header("Access-Control-Allow-Headers")))
        self.assertIn("POST", str(answer.header("Access-Control-Allow-Methods")))
        self.assertEqual(answer.header("Vary"), "Origin")

    def test_other_origins_N_CORS(self) -> None:
        """A preflight of any other origin, and one with nothing listed, is a 401 without CORS."""
        for answer in (
            self.preflight(self.nginx(gateway().backend.port), "https://evil.example"),
            self.preflight(around(Nginx).proxy, self.origin),
        ):
            self.assertEqual(answer.status, 401)
            self.assertIsNone(answer.header("Access-Control-Allow-Origin"))

    def test_no_preflight_N_CORS(self) -> None:
        """OPTIONS without the header of a preflight needs credentials, as every other request."""
        nginx = self.nginx(gateway().backend.port)
        answer = wire.say(nginx.port, wire.head("/", {"Origin": self.origin}, "OPTIONS"))
        self.assertEqual(answer and answer.status, 401)

    def test_answers_N_CORS(self) -> None:
        """Pages of a listed origin can read every answer: a 200, a 401 and a 503."""
        nginx = self.nginx(gateway().backend.port)
        for password, status in (("wonder", 200), ("guess", 401)):
            fields = {"Origin": self.origin, "Authorization": wire.basic("alice", password)}
            answer = wire.ask(nginx.port, "/", fields)
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.header("Access-Control-Allow-Origin"), self.origin)
            self.assertIn("Retry-After", str(answer.header("Access-Control-Expose-Headers")))
        changes = {"server 127.0.0.1:8080;": "server 127.0.0.1:1;"}
        down = self.nginx(gateway().backend.port, changes)
        answer = wire.ask(down.port, "/", {"Origin": self.origin})
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.header("Access-Control-Allow-Origin"), self.origin)

    def test_service_with_its_own_preflights_N_CORS(self) -> None:
        """By the location on the page, preflights reach the service without an identity."""
        page = (proxy.ROOT / "docs" / "nginx.md").read_text()
        [location] = [
            text
            for text in re.findall(r"^```nginx\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
            if "@service_preflight" in text
        ]
        service = Upgrading()
        self.addCleanup(service.stop)
        nginx = self.nginx(service.port, {"    location / {": f"{location}\n    location / {{"})
        self.assertEqual(wire.ask(nginx.port, "/api/x").status, 401)
        fields = {"Origin": "https://any.example", "Authorization": "Bearer forged"}
        answer = wire.say(nginx.port, wire.head("/api/x", fields, "OPTIONS"))
        self.assertEqual(answer and answer.status, 200)
        self.assertIn(b"OPTIONS /api/x ", service.head)
        self.assertNotIn(b"Authorization", service.head)

    def upgraded(self, protocol: str, credential: str) -> tuple[Upgrading, bytes]:
        """Ask for another protocol, and return the service and what the client received."""
        service = Upgrading()
        nginx = self.nginx(service.port)
        fields = {"Authorization": credential, "Upgrade": protocol, "Connection": "Upgrade"}
        with wire.connect(nginx.port) as connection:
            connection.sendall(wire.head("/socket", fields))
            answer = connection.recv(65_536)
            if b" 101 " in answer:
                connection.sendall(b"ping")
                answer += connection.recv(100)
        return service, answer

    def test_other_protocols_N_CORS(self) -> None:
        """No other protocol is offered to the service."""
        service, answer = self.upgraded("h2c", wire.basic("alice", "wonder"))
        self.addCleanup(service.stop)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "))
        self.assertNotIn(b"pgrade", service.head)

    def test_own_errors_N_500(self) -> None:
        """An error of nginx itself, such as a full disk, is a 500 and no outage of the gateway."""
        nginx = self.nginx(gateway().backend.port)
        shutil.rmtree(nginx.folder / "nginx-temporary" / "body")
        fields = [("Authorization", wire.basic("alice", "wonder")), ("Content-Length", "500000")]
        answer = wire.say(nginx.port, wire.head("/", fields, "POST"), b"x" * 500_000)
        assert answer is not None
        self.assertEqual(answer.status, 500)
        self.assertEqual(answer.json(), {"error": "Internal error of the proxy"})
        self.assertIsNone(answer.header("Retry-After"))

    def test_length_without_a_body_H_BODY(self) -> None:
        """A proxy that passes on C{Content-Length} without the body gets its answer at once."""
        changes = {
            'proxy_set_header Content-Length "";': "",
            "proxy_pass_request_headers off;": "",
            "proxy_method HEAD;": "",
        }
        nginx = self.nginx(gateway().backend.port, changes)
        for _ in range(3):
            fields = [("Authorization", wire.basic("alice", "wonder")), ("Content-Length", "5")]
            answer = wire.say(nginx.port, wire.head("/", fields, "POST"), b"hello")
            assert answer is not None
            self.assertEqual((answer.status, answer.json()["method"]), (200, "POST"))
            fields[0] = ("Authorization", wire.basic("alice", "guess"))
            answer = wire.say(nginx.port, wire.head("/", fields, "POST"), b"hello")
            self.assertEqual(answer and answer.status, 401)
