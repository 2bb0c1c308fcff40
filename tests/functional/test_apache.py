"""Requests of clients through the real Apache with the shipped example, to a backend."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import servers, wire
from tests.functional.daemon import Daemon, absolute, awkward, free_port, needed
from tests.functional.proxy import Backend, Silence, Upgrading
from tests.test_identity_headers import listed

EXAMPLE = Path(__file__).resolve().parents[2] / "etc/apache/authotron.conf"
LARGE = 100 * 2**20
_MOST_FIELDS = 90
"""Apache answers 400 to a request with more than 100 headers (C{LimitRequestFields})."""


@define(eq=False)
class Apache:
    """Apache with C{etc/apache/authotron.conf}, of which only addresses are changed."""

    folder: Path = field(converter=absolute)
    gateway: int
    backend: int
    changes: Mapping[str, str] = field(factory=dict)
    port: int = field(factory=free_port)

    def start(self) -> Apache:
        needed("apache2")
        self.folder.mkdir(parents=True, exist_ok=True)
        site = self.folder / "authotron.conf"
        site.write_text(self._site())
        servers.run("apache", "start", str(self.folder), str(self.port), APACHE_SITE=str(site))
        return self

    def stop(self) -> None:
        servers.run("apache", "stop", str(self.folder))

    def log(self) -> str:
        return (self.folder / "apache-error.log").read_text()

    def _site(self) -> str:
        text = example = EXAMPLE.read_text()
        addresses = {
            "fcgi://127.0.0.1:9001/": f"fcgi://127.0.0.1:{self.gateway}/",
            "http://127.0.0.1:8000/": f"http://127.0.0.1:{self.backend}/",
            "127.0.0.1:80\n": f"127.0.0.1:{self.port}\n",
            "127.0.0.1:80>": f"127.0.0.1:{self.port}>",
        }
        for old, new in {**self.changes, **addresses}.items():
            assert old in example, f"{old!r} is not in {EXAMPLE}"
            text = text.replace(old, new)
        return text


def fastcgi(port: int) -> dict[str, object]:
    """Return the key by which the gateway serves FastCGI at a port, beside HTTP."""
    return {"listen": [f"fastcgi:tcp:{port}:interface=127.0.0.1"]}


def blocks(heading: str) -> list[str]:
    """Return the directives below a heading of docs/apache.md."""
    page = (EXAMPLE.parents[2] / "docs/apache.md").read_text()
    part = page.partition(heading)[2].partition("\n## ")[0]
    return re.findall(r"```apache\n(.*?)```", part, re.DOTALL)


def _directives_for_lua() -> Iterator[tuple[str, str]]:
    """Yield what docs/apache.md replaces in the example, and by what."""
    for block in blocks("## Without mod_authnz_fcgi"):
        old, _, new = block.partition("# becomes\n")
        yield old, new


class ApacheCase(SynchronousTestCase):
    """Apache, a gateway that it asks by FastCGI, and a backend."""

    def setUp(self) -> None:
        needed("apache2")
        self.folder = Path(self.mktemp())
        self.backend = Backend(self.folder).start()
        self.addCleanup(self.backend.stop)

    def serve(self, gateway: int, **changes: str) -> Apache:
        """Start Apache in front of a gateway."""
        apache = Apache(self.folder / "apache", gateway, self.backend.port, changes).start()
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

    def test_spoofed_headers_T59(self) -> None:
        """What a client sends under the name of an identity header does not reach the backend."""
        self.serve_all()
        names = [
            *listed(),
            "X-Auth-Username",
            "X-Auth-Roles",
            "X-Forwarded-For",
            "X-Real-IP",
        ]
        good = ("Authorization", wire.basic("alice", "wonder"))
        for start in range(0, len(names), _MOST_FIELDS):
            spoofed = [(name, "mallory") for name in names[start : start + _MOST_FIELDS]]
            headers = wire.ask(self.port, "/", [*spoofed, good]).json()["headers"]
            self.assertEqual(headers["x-auth-username"], ["alice"])
            self.assertEqual(headers["x-auth-realm"], ["here"])
            self.assertNotIn("mallory", str(headers))
        for name in ("X_Auth_Username", "x-auth_roles", "Remote_User"):
            answer = wire.ask(self.port, "/", [(name, "mallory"), good])
            self.assertEqual(answer.status, 403)

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

    def test_variables_that_vanish(self) -> None:
        """A path for which Apache has no room in its question is refused and not performed."""
        daemon = self.serve_all()
        answer = wire.login(self.port, "alice", "wonder", "/" + "b" * 20_000)
        self.assertEqual(answer.status, 400)
        daemon.logged("without REQUEST_URI")


class WebPagesTests(ApacheCase):
    """What web pages need: CORS and WebSocket."""

    origin = "https://app.example.org"

    def test_web_socket(self) -> None:
        """A WebSocket is opened for a client with credentials, and the service gets its JWT."""
        service = Upgrading()
        self.addCleanup(service.stop)
        self.backend.port, port = service.port, self.backend.port
        self.serve_all()
        self.backend.port = port
        fields = {"Upgrade": "websocket", "Connection": "Upgrade"}
        refused = wire.say(self.port, wire.head("/socket", fields))
        self.assertEqual(refused and refused.status, 401)
        fields["Authorization"] = wire.basic("alice", "wonder")
        with wire.connect(self.port) as connection:
            connection.sendall(wire.head("/socket", fields))
            answer = connection.recv(65_536)
            connection.sendall(b"ping")
            answer += connection.recv(100)
        self.assertTrue(answer.startswith(b"HTTP/1.1 101 "), answer)
        self.assertTrue(answer.endswith(b"ping"))
        self.assertIn(b"\r\nAuthorization: Bearer ey", service.head)

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
        [directives] = blocks("## Web pages of other origins")
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


class LuaTests(ApacheCase):
    """Apache that asks by C{etc/apache/authotron.lua} instead of FastCGI."""

    def serve_by_lua(self, gateway: int) -> None:
        """Start Apache as docs/apache.md says for C{mod_lua}, in front of a gateway."""
        folder = Path(mkdtemp())  # which the user of Apache may enter, unlike that of the test
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        script = folder / "authotron.lua"
        text = EXAMPLE.with_suffix(".lua").read_text()
        assert text.count("8080") == 1
        script.write_text(text.replace("8080", str(gateway)))
        path = str(script)
        replaced = _directives_for_lua()
        changes = {old: new.replace("/etc/apache2/authotron.lua", path) for old, new in replaced}
        assert path in "".join(changes.values())
        self.serve(gateway, **changes)

    def test_good_bad_and_missing_credentials(self) -> None:
        """The backend gets a JWT; a wrong or a missing credential is a 401 with the challenge."""
        daemon = Daemon(self.folder).configure(include_legacy_headers=True).start()
        self.addCleanup(daemon.stop)
        self.serve_by_lua(daemon.port)
        answer = wire.login(self.port, "alice", "wonder", "/some/where?q=1")
        self.assertEqual(answer.status, 200, answer)
        told = answer.json()
        self.assertEqual((told["path"], told["claims"]["sub"]), ("/some/where?q=1", "here-alice"))
        self.assertEqual(told["headers"]["x-auth-username"], ["alice"])
        for refused in (wire.login(self.port, "alice", "guess", "/"), wire.ask(self.port, "/")):
            self.assertEqual(refused.status, 401)
            self.assertEqual(refused.header("WWW-Authenticate"), 'Basic realm="here"')
        spoofed = [("X-Auth-Username", "mallory"), ("Remote-User", "mallory")]
        good = ("Authorization", wire.basic("alice", "wonder"))
        told = wire.ask(self.port, "/", [*spoofed, good]).json()
        self.assertNotIn("mallory", str(told))
        answer = wire.ask(self.port, "/", [("X_Auth_Username", "mallory"), good])
        self.assertEqual(answer.status, 403)

    def test_gateway_down(self) -> None:
        """If no gateway answers, the client gets a 503, and nothing is let through."""
        self.serve_by_lua(free_port())
        answer = wire.login(self.port, "alice", "wonder", "/")
        self.assertEqual(answer.status, 503)
        self.assertNotIn(b"claims", answer.body)


class OutageTests(ApacheCase):
    """Apache without a working gateway."""

    def test_gateway_down(self) -> None:
        """If no gateway listens, or a gateway does not answer in time, nothing is let through."""
        apache = self.serve(free_port())
        answer = wire.login(self.port, "alice", "wonder", "/")
        self.assertEqual(answer.status, 500)
        self.assertNotIn(b"claims", answer.body)
        apache.stop()
        silence = Silence()
        self.addCleanup(silence.stop)
        self.serve(silence.port, **{"Timeout 60": "Timeout 1"})
        answer = wire.login(self.port, "alice", "wonder", "/")
        self.assertEqual(answer.status, 500)
        self.assertNotIn(b"claims", answer.body)

    def test_provider_down_and_slow(self) -> None:
        """
        If no provider can judge, the client gets the 503 of the gateway with C{Retry-After}; a
        slow provider makes the client wait, and no other client.
        """
        port = free_port()
        daemon = awkward(self.folder / "gateway", server=fastcgi(port))
        self.addCleanup(daemon.stop)
        self.serve(port)
        answer = wire.login(self.port, "unavailable", "x", "/")
        self.assertEqual((answer.status, answer.header("Retry-After")), (503, "5"))
        with wire.connect(self.port) as slow:
            slow.sendall(wire.head("/", {"Authorization": wire.basic("slow", "x")}))
            self.assertEqual(wire.login(self.port, "other", "x", "/").status, 401)
            (self.folder / "gateway" / "go").touch()
            found = wire.receive(slow)
            assert found is not None
            self.assertEqual(found.status, 200)

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
