"""What clients and services see of every proxy with its shipped configuration."""

from __future__ import annotations

import posixpath
import re
import signal
import socket
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar
from urllib.parse import unquote

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.header_templates import IDENTITY_HEADERS
from tests.functional import proxy, wire
from tests.functional.proxies.around import CLIENT, KEY, MANY, around, gateway, limited
from tests.functional.proxies.features import feature
from tests.functional.proxies.shipped import Proxy
from tests.functional.wire import Answer
from tests.project.test_identity_headers import listed
from tests.waiting import DEADLINE, until

GOOD = wire.basic("alice", "wonder")
BAD = wire.basic("alice", "guess")
LARGE = 100 * 2**20
OURS = ("X-Auth-Username", "X-Auth-Realm", "X-Auth-Roles")
_ADDED = ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
_MOST_FIELDS = 70
"""Most proxies refuse a request with more than 100 headers."""

_CLIENTS = 100
Fields = Iterable[tuple[str, str]]


class ProxyContract(SynchronousTestCase):
    """
    Tests of a proxy: a test case for each proxy inherits from this class.

    A test that a proxy passes in another way is overridden by one that is declared with
    L{instead<tests.functional.proxies.features.instead>}.

    @cvar outage: the status if the gateway is unreachable.
    @cvar late: the status if the gateway does not answer in time.
    @cvar underscores: the status for a client that sends a header with underscores in its name, or
        C{removed} if the service does not get the header.
    """

    name: ClassVar[str]
    kind: ClassVar[type[Proxy]]
    outage: ClassVar[int] = 503
    late: ClassVar[int] = 503
    underscores: ClassVar[int | str] = "removed"

    def setUp(self) -> None:
        self.around = around(self.kind)
        self.gateway = gateway().daemon
        self.port = self.around.proxy.port

    def connect(self, port: int | None = None) -> socket.socket:
        """Connect to the proxy as a client that is no trusted proxy of the gateway."""
        place = ("127.0.0.1", port or self.port)
        return socket.create_connection(place, DEADLINE, (CLIENT, 0))

    def ask(
        self,
        path: str = "/",
        credential: str | None = GOOD,
        fields: Fields = (),
        method: str = "GET",
        *,
        host: str = "localhost",
        body: bytes = b"",
        port: int | None = None,
    ) -> Answer:
        """Send a request to the proxy, and return the answer."""
        sent = [*fields]
        if credential is not None:
            sent.append(("Authorization", credential))
        with self.connect(port) as connection:
            connection.sendall(wire.head(path, sent, method, host=host) + body)
            answer = wire.receive(connection, method)
        assert answer is not None, f"no answer to {method} {path}"
        return answer

    def assert_refused(self, answer: Answer, status: int) -> None:
        """Check the status of a refusal, and that it contains no identity and no JWT."""
        self.assertEqual(answer.status, status, answer.body)
        for name in ("authorization", *map(str.lower, IDENTITY_HEADERS)):
            self.assertNotIn(name, answer.headers)
        self.assertNotIn("eyJ", str(answer))
        self.assertNotIn(b"claims", answer.body)

    @feature("a good credential becomes a JWT, and does not reach the service")
    def test_good(self) -> None:
        """The service gets path and query, a JWT with the identity, and not the password."""
        answer = self.ask("/some/where?q=1&r=%20")
        self.assertEqual(answer.status, 200, answer.body)
        told = answer.json()
        self.assertEqual(told["path"], "/some/where?q=1&r=%20")
        self.assertEqual(told["claims"]["sub"], "here-alice")
        self.assertEqual(told["headers"]["authorization"][0][:10], "Bearer eyJ")
        self.assertEqual(told["headers"]["x-auth-roles"], ["reader"])
        self.assertNotIn(GOOD, str(told))

    @feature("a wrong or missing credential is a 401 with the challenge")
    def test_bad_and_missing(self) -> None:
        """A wrong password, a forged JWT and no credential are a 401 with one challenge."""
        forged = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJoZXJlLWFsaWNlIn0."
        for credential in (BAD, forged, None):
            answer = self.ask(credential=credential)
            self.assert_refused(answer, 401)
            self.assertEqual(answer.header("WWW-Authenticate"), 'Basic realm="here"')

    @feature("a limited API token: host and address as the proxy sees them")
    def test_limited_token_T05(self) -> None:
        """The host of the request and the address of the client decide about a limited token."""
        for limits, host, status in (
            ({"hosts": ["*.example.org"]}, "app.example.org", 200),
            ({"hosts": ["*.example.org"]}, "app.example.com", 403),
            ({"networks": [f"{CLIENT}/32"]}, "app.example.org", 200),
            ({"networks": ["203.0.113.0/24"]}, "app.example.org", 403),
        ):
            answer = self.ask(credential=limited(limits), host=host)
            if status == 200:
                self.assertEqual(answer.status, 200, (limits, host))
            else:
                self.assert_refused(answer, 403)

    @feature("the host that is judged is the host that the service gets")
    def test_hosts_T75(self) -> None:
        """A host in the target counts instead of C{Host}, for both, or the request is refused."""
        credential = limited({"hosts": ["app.example.org"]})
        good, evil = "app.example.org", "evil.example"
        for target, host in ((good, evil), (evil, good), (evil, evil)):
            answer = self.ask(f"http://{target}/x", credential, host=host)
            self.assertIn(answer.status, (200, 400, 403), (target, host))
            if answer.status == 200:
                self.assertEqual(answer.json()["headers"]["host"], [good], (target, host))
        twice = self.ask(credential=credential, fields=[("Host", evil)], host=good)
        self.assertEqual(twice.status, 400)

    @feature("forwarded headers of the client do not help a limited API token")
    def test_forwarded_by_the_client_T05(self) -> None:
        """A client cannot state another host or address, in whatever header or spelling."""
        for limits, value in (
            ({"hosts": ["app.example.org"]}, "app.example.org"),
            ({"networks": ["203.0.113.0/24"]}, "203.0.113.9"),
        ):
            credential = limited(limits)
            for fields in _statements(value):
                answer = self.ask(credential=credential, fields=fields, host="other.example.org")
                self.assertIn(answer.status, (400, 403), fields)
                self.assertNotIn(b"claims", answer.body)

    @feature("a policy judges the path that the service gets")
    def test_paths_T12(self) -> None:
        """Whatever spelling a client uses, the service gets no path below a forbidden one."""
        heads = self.around.service.heads
        port = self.around.other.port
        self.assertEqual(self.ask("/public/x", port=port).status, 200)
        self.assert_refused(self.ask("/admin/x", port=port), 403)
        for path in _PATHS:
            heads.clear()
            status = self.ask(path, port=port).status
            self.assertEqual(len(heads), status == 200, path)
            for head in heads:
                self.assertFalse(_read(head).startswith("/admin"), path)

    @feature("headers of the client do not change which path is judged")
    def test_stated_by_the_client_T01(self) -> None:
        """A client cannot state another path or method than that of its request."""
        heads = self.around.service.heads
        heads.clear()
        for name in _TARGETS:
            for fields in ([(name, "/public")], [(name, "/public"), (name, "/public")]):
                answer = self.ask("/admin/x", fields=fields, port=self.around.other.port)
                self.assertIn(answer.status, (400, 403), fields)
        self.assertEqual(heads, [])

    @feature("identity headers of the client are removed or replaced")
    def test_spoofed_identity_T59_T93c(self) -> None:
        """No value that a client sends in an identity header reaches the service."""
        names = [*listed(), *OURS[::2], *_ADDED]
        for spelling in (str.lower, str.upper):
            for start in range(0, len(names), _MOST_FIELDS):
                chunk = names[start : start + _MOST_FIELDS]
                spoofed = [(spelling(name), "mallory") for name in chunk]
                answer = self.ask(fields=[*spoofed, ("X-Other", "kept")])
                self.assertEqual(answer.status, 200, answer.body)
                headers = answer.json()["headers"]
                self.assert_true_identity(headers)
                self.assertEqual(headers["x-other"], ["kept"])

    def assert_true_identity(self, headers: dict[str, list[str]]) -> None:
        """Check that headers that the service gets are of the gateway and of the proxy alone."""
        self.assertEqual(headers["x-auth-username"], ["alice"])
        self.assertEqual(headers["x-auth-realm"], ["here"])
        self.assertEqual(headers["x-auth-roles"], ["reader"])
        self.assertNotIn("mallory", str(headers))

    def assert_true_or_refused(self, answer: Answer | None, *statuses: int) -> None:
        """Check that the service gets the identity of alice, or the client one of the refusals."""
        assert answer is not None, "no answer"
        if answer.status != 200:
            self.assertIn(answer.status, statuses)
            self.assert_refused(answer, answer.status)
            return
        seen = answer.json()
        self.assert_true_identity(seen["headers"])
        self.assertEqual(seen["claims"]["sub"], "here-alice")
        [token] = seen["headers"]["authorization"]
        self.assertEqual(token[:10], "Bearer eyJ")

    @feature("so are they if the gateway sends none")
    def test_removed_identity_T59(self) -> None:
        """No other value than one of the gateway reaches the service in an C{X-Auth-*} header."""
        heads = self.around.service.heads
        heads.clear()
        self.ask(fields=[(name, "mallory") for name in OURS[::2]], port=self.around.other.port)
        [head] = heads
        self.assertIn(b"authorization: bearer eyj", head.lower())
        values = re.findall(rb"^x-auth-[a-z]+: *(.*)\r$", head, re.MULTILINE | re.IGNORECASE)
        self.assertEqual(set(values) - {b"", b"alice", b"here", b"reader"}, set())

    @feature("so is an identity header that stands twice")
    def test_doubled_identity_T59(self) -> None:
        """A client that sends an identity header twice has no more success than with one."""
        for name in (*OURS[::2], "Remote-User"):
            answer = self.ask(fields=[(name, "mallory"), (name.lower(), "mallory, admin")])
            self.assertEqual(answer.status, 200, answer.body)
            self.assert_true_identity(answer.json()["headers"])

    @feature("a header with underscores, such as `X_Auth_Roles`", shows="underscores")
    def test_underscores_T02_T93c(self) -> None:
        """A header whose name differs from an identity header in underscores is not passed on."""
        names = [*(name.replace("-", "_") for name in (*listed(), *_ADDED)), "x-auth_roles"]
        if self.underscores == "removed":
            for start in range(0, len(names), _MOST_FIELDS):
                answer = self.ask(
                    fields=[(each, "mallory") for each in names[start:][:_MOST_FIELDS]]
                )
                self.assertEqual(answer.status, 200, answer.body)
                self.assert_true_identity(answer.json()["headers"])
        else:
            for each in names[::20]:
                self.assert_refused(self.ask(fields=[(each, "m")]), int(self.underscores))

    @feature("the service gets address and host of the client as the proxy sees them")
    def test_origin_T05(self) -> None:
        """Address and host reach the service, whatever the client states."""
        fields = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Host", "evil.example")]
        headers = self.ask(fields=[*fields, ("X-Real-IP", "203.0.113.9")]).json()["headers"]
        self.assertEqual(headers["x-real-ip"], [CLIENT])
        self.assertEqual(headers["x-forwarded-for"], [CLIENT])
        self.assertEqual(headers["x-forwarded-host"], ["localhost"])
        self.assertEqual(headers["x-forwarded-proto"], ["http"])

    @feature("`X-Auth-Realm` of the client chooses among the providers")
    def test_realm_T10(self) -> None:
        """A client can restrict the providers that judge it to a realm, and adds none."""
        for realm, status in (("here", 200), ("elsewhere", 401)):
            self.assertEqual(self.ask(fields=[("X-Auth-Realm", realm)]).status, status, realm)

    @feature("`Connection: X-Auth-Roles` removes no identity")
    def test_named_in_connection_T04(self) -> None:
        """A client that names headers in C{Connection} gets a refusal, or its true identity."""
        for name in (*OURS, "Authorization", "X-Forwarded-Host", "X-Forwarded-For"):
            fields = [("Connection", f"close, {name}"), ("X-Auth-Roles", "mallory")]
            self.assert_true_or_refused(self.ask(fields=fields), 400, 401, 403)

    @feature("of two credentials one decides, or the request is refused")
    def test_two_authorizations_T23(self) -> None:
        """
        The place of an C{Authorization} header, not its credential, makes it decide between two, or
        the request is refused.
        """
        pairs = [[("Authorization", each) for each in pair] for pair in ((GOOD, BAD), (BAD, GOOD))]
        answers = [self.ask(credential=None, fields=fields) for fields in pairs]
        for answer in answers:
            self.assert_true_or_refused(answer, 400, 401)
        self.assertNotEqual([each.status for each in answers], [200, 200])

    @feature("each request on a connection is judged by its own credential")
    def test_kept_connection(self) -> None:
        """A client that keeps its connection has no use of the credential of an earlier request."""
        good, bad = [("Authorization", GOOD)], [("Authorization", BAD)]
        with self.connect() as connection:
            for fields, status in ((good, 200), (bad, 401), ([], 401), (good, 200)):
                connection.sendall(wire.head("/", fields))
                answer = wire.receive(connection)
                self.assertEqual(answer and answer.status, status)

    @feature("connections to the gateway are kept")
    def test_connections_to_the_gateway(self) -> None:
        """Many authentication requests, accepted or not, share few connections to the gateway."""
        self.assertLessEqual(self.opened(20), 5)

    def opened(self, requests: int) -> int:
        """Return how many connections to the gateway are opened for a number of requests."""
        before = self.around.door.connections
        for number in range(requests):
            self.ask(credential=GOOD if number % 2 else BAD)
        return self.around.door.connections - before

    @feature(f"{_CLIENTS} clients at once get their own identities")
    def test_crowd_T45(self) -> None:
        """Many clients at once get the identity of their own credentials."""

        def subject(number: int) -> str:
            answer = self.ask(credential=wire.basic(*proxy.person(number)))
            return str(answer.json()["claims"]["sub"])

        with ThreadPoolExecutor(_CLIENTS) as pool:
            subjects = list(pool.map(subject, range(_CLIENTS)))
        self.assertEqual(subjects, [f"here-{proxy.person(n)[0]}" for n in range(_CLIENTS)])

    @feature("every method is asked about, and reaches the service")
    def test_methods(self) -> None:
        """No method passes without credentials; with them the service gets the method."""
        methods = ("HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND")
        for method in methods:
            length = [("Content-Length", "0")]
            self.assertEqual(self.ask("/", None, length, method).status, 401, method)
            answer = self.ask("/", GOOD, length, method)
            self.assertEqual(answer.status, 200, method)
            if method != "HEAD":
                self.assertEqual(answer.json()["method"], method)

    @feature("a preflight of an unknown origin gets no answer of the service")
    def test_preflight_N_CORS(self) -> None:
        """A CORS preflight of an origin that is not configured is a 401."""
        fields = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "PUT")]
        answer = self.ask("/", None, fields, "OPTIONS")
        self.assert_refused(answer, 401)
        self.assertIsNone(answer.header("Access-Control-Allow-Origin"))

    @feature("a host that is no name does not harm")
    def test_odd_hosts_T92a(self) -> None:
        """Whatever host a client names, or none in HTTP/1.0, is no error of the server."""
        for host in ("a_b", "x" * 100, "[::1]", "localhost:99999"):
            self.assert_true_or_refused(self.ask(host=host), 400)
        with self.connect() as connection:
            connection.sendall(f"GET / HTTP/1.0\r\nAuthorization: {GOOD}\r\n\r\n".encode())
            self.assert_true_or_refused(wire.receive(connection), 400, 426)

    @feature("a WebSocket is asked about, and opened")
    def test_web_socket_N_CORS(self) -> None:
        """A WebSocket is opened for a client with credentials, and the service gets its JWT."""
        fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
        ]
        port = self.around.other.port
        self.around.service.heads.clear()
        self.assert_refused(self.ask("/socket", None, fields, port=port), 401)
        self.assertEqual(self.around.service.heads, [])
        with self.connect(port) as connection:
            connection.sendall(wire.head("/socket", [*fields, ("Authorization", GOOD)]))
            self.assertIn(b" 101 ", connection.recv(65_536))
            connection.sendall(b"ping")
            self.assertEqual(connection.recv(4), b"ping")
        [head] = self.around.service.heads
        self.assertIn(b"authorization: bearer eyj", head.lower())

    @feature("an upload of 100 MB reaches the service, and not the gateway")
    def test_large_upload(self) -> None:
        """A large upload reaches the service; the memory of the gateway does not grow."""
        before = self.gateway.metric("process_resident_memory_bytes")
        answer = self.ask("/", GOOD, [("Content-Length", str(LARGE))], "POST", body=bytes(LARGE))
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json()["headers"]["content-length"], [str(LARGE)])
        after = self.gateway.metric("process_resident_memory_bytes")
        self.assertLess(after - before, LARGE / 5)

    @feature("uploads in chunks, and with `Expect: 100-continue`")
    def test_uploads_H_BODY(self) -> None:
        """Bodies of other kinds reach the service; the gateway is asked without a body."""
        chunked = [("Transfer-Encoding", "chunked")]
        expecting = [("Content-Length", "5"), ("Expect", "100-continue")]
        for fields, body in ((chunked, b"5\r\nhello\r\n0\r\n\r\n"), (expecting, b"hello")):
            answer = self.ask("/", GOOD, fields, "POST", body=body)
            self.assertEqual(answer.status, 200, fields)
            headers = answer.json()["headers"]
            self.assertTrue(
                headers.get("content-length") == ["5"] or "transfer-encoding" in headers, headers
            )

    @feature("a JWT of 16 KiB reaches the service")
    def test_large_jwt_T62(self) -> None:
        """A user with very many roles reaches the service."""
        answer = self.ask(credential=wire.basic("member", "many"))
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json()["claims"]["roles"], [*MANY])

    @feature("no provider could judge: the client gets a 503 with `Retry-After`")
    def test_provider_down_T70(self) -> None:
        """The 503 of the gateway reaches the client, with C{Retry-After}."""
        answer = self.ask(credential=wire.basic("unavailable", self.name))
        self.assert_refused(answer, 503)
        self.assertEqual(answer.header("Retry-After"), "5")

    @feature("a client that waits for a slow provider delays no other")
    def test_provider_slow(self) -> None:
        """A slow provider makes its client wait, and no other client."""
        go = self.gateway.folder / "go"
        go.unlink(missing_ok=True)
        with self.connect() as slow:
            credential = wire.basic("slow", self.name)
            slow.sendall(wire.head("/", [("Authorization", credential)]))
            self.assertEqual(self.ask().status, 200)
            go.touch()
            answer = wire.receive(slow)
        self.assertEqual(answer and answer.status, 200)

    @feature("the gateway is unreachable: nothing passes; status", shows="outage")
    def test_gateway_down_T60(self) -> None:
        """If no gateway listens, nothing passes; when it is back, requests pass again."""
        door = self.around.other_door
        self.around.service.heads.clear()
        door.shut()
        try:
            self.assert_refused(self.ask(port=self.around.other.port), self.outage)
        finally:
            door.unlock()
        self.assertEqual(self.around.service.heads, [])
        self.assert_passes_again()

    @feature("the gateway does not answer: nothing passes; status", shows="late")
    def test_gateway_stopped_T60(self) -> None:
        """If the gateway does not answer in time, nothing passes, and it is no refusal."""
        self.around.service.heads.clear()
        second = gateway().second
        second.tell(signal.SIGSTOP)
        try:
            self.assert_refused(self.ask(port=self.around.other.port), self.late)
        finally:
            second.tell(signal.SIGCONT)
        self.assertEqual(self.around.service.heads, [])
        self.assert_passes_again()

    def assert_passes_again(self) -> None:
        """Check that requests pass the proxy that has seen an outage of the gateway."""
        until(lambda: self.ask(port=self.around.other.port).status == 200, "passing")


_PATHS = (
    "/public/../admin/x",
    "/public/%2e%2e/admin/x",
    "/public/.%2E/admin/x",
    "/public/..%2fadmin/x",
    "/public/%2e%2e%2fadmin/x",
    "/public/%252e%252e/admin/x",
    "/public/..;/admin/x",
    "/public/..;a=b/admin/x",
    "/public/..\\admin/x",
    "/public/..%5cadmin/x",
    "/public//../admin/x",
    "/public/x/..//../admin/x",
    "//admin/x",
    "/./admin/x",
    "/%61dmin/x",
    "/%2561dmin/x",
    "/admin%2fx",
    "/admin;a/x",
    "/public/x?/../admin",
    "/../admin/x",
    "http://localhost/admin/x",
    "http://localhost/public/../admin/x",
)
"""Spellings that some proxy or service takes for a path below F{/admin}."""

_TARGETS = (
    "X-Original-URI",
    "X-Original-URL",
    "X-Original-Method",
    "X-Rewrite-URL",
    "X-Forwarded-Uri",
    "X-Forwarded-Prefix",
    "X-Forwarded-Method",
    "X-Authotron-Uri",
    "X-Authotron-Method",
    "X-Envoy-Original-Path",
    "X-HTTP-Method-Override",
    "X_Forwarded_Uri",
    "X_Original_URI",
)


def _read(head: bytes) -> str:
    """Return the path of a request as the most lenient service would read it."""
    path = head.split(b" ")[1].decode("latin-1")
    while (decoded := unquote(path)) != path:
        path = decoded
    path = re.sub(r"^https?://[^/]*", "", path.partition("?")[0]).replace("\\", "/")
    return posixpath.normpath(re.sub(r";[^/]*", "", re.sub("/+", "/", path)))


def _statements(value: str) -> Iterator[Sequence[tuple[str, str]]]:
    """Yield what a client could send to state another host or address."""
    names = (
        "X-Forwarded-Host",
        "X-Forwarded-For",
        "X-Real-IP",
        "X-Original-Host",
        "X_Forwarded_Host",
        "X_Forwarded_For",
        "X-Authotron-Host",
        "X-Authotron-Client",
        "X_Authotron_Host",
        "X-Envoy-External-Address",
    )
    for name in names:
        yield [(name, value)]
        yield [(name, value), (name.lower(), value)]
    yield [("Forwarded", f"for={value};host={value}")]
    yield [("X-Forwarded-Host", value), ("Connection", "close, X-Forwarded-Host")]
    yield [("X-Forwarded-For", value), ("Connection", "close, X-Forwarded-For")]
