"""Hostile clients: each gets a correct answer or none, and the daemon keeps running."""

from __future__ import annotations

import atexit
import contextlib
import resource
import select
import shutil
import socket
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.functional.listening import Deaf
from tests.functional.wire import basic
from tests.waiting import until

GOOD = basic("alice", "wonder")
IMPATIENT, PATIENT = 1.0, 600.0
"""Seconds: an idle timeout that a test waits for, and one that no test reaches."""


@cache
def daemon(idle_timeout: float) -> Daemon:
    """Return a daemon with a given timeout, for all tests of this module."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    logging = {"level": "trace", "access": "all"}
    started = (
        Daemon(folder).configure(server={"idle_timeout": idle_timeout}, logging=logging).start()
    )
    atexit.register(started.stop)
    return started


class HostileTestCase(SynchronousTestCase):
    """After each test the daemon is alive, and has logged no error."""

    patience = IMPATIENT

    def setUp(self) -> None:
        self.daemon = daemon(self.patience)
        self.port = self.daemon.port
        self.addCleanup(self.assert_unharmed)

    def assert_unharmed(self) -> None:
        self.assertEqual(wire.login(self.port, "alice", "wonder").status, 200)
        for trouble in ("Traceback", "routes.request.broken", " ERROR ", " FATAL "):
            self.assertNotIn(trouble, self.daemon.log())

    def status(self, *pieces: bytes) -> int | None:
        """Return the status of the answer to some bytes; C{None} if there is no answer."""
        answer = wire.say(self.port, *pieces)
        return answer.status if answer else None

    def status_for(self, authorization: str) -> int | None:
        """Return the status for a value of C{Authorization}."""
        fields = [("Authorization", authorization), ("Connection", "close")]
        return self.status(wire.head("/authenticate", fields))


def encoded(text: str, encoding: str = "utf-8") -> str:
    """Return a Basic credential of any text."""
    return "Basic " + b64encode(text.encode(encoding)).decode()


class AuthorizationTests(HostileTestCase):
    """Values of the header C{Authorization}."""

    patience = PATIENT

    def test_worthless_T21(self) -> None:
        """Any value that is not a valid credential is a 401."""
        worthless = {
            "empty": "",
            "scheme alone": "Bearer",
            "scheme and blank": "Bearer ",
            "scheme and tab": "Bearer\t",
            "three words": "Bearer a b",
            "odd scheme": "bEaReR x",
            "unknown scheme": "Digest username=alice",
            "next line (0x85)": "Bearer a\x85b",
            "Latin-1": "Bearer \xe9\xff",
            "bad padding": "Basic YWxpY2U6d29uZGVy=",
            "no padding": GOOD.rstrip("=") + "A",
            "alphabet of URLs": "Basic -_-_",
            "no base64": "Basic ***",
            "blank inside": GOOD[:10] + " " + GOOD[10:],
            "no colon": encoded("alice"),
            "several colons": encoded("alice:wonder:"),
            "no user": encoded(":wonder"),
            "no password": encoded("alice:"),
            "nothing but a colon": encoded(":"),
            "byte order mark": encoded("\ufeffalice:wonder"),
            "null": encoded("alice\0:wonder"),
            "line end": encoded("alice\r\nX: y:wonder"),
            "right to left": encoded("\u202ealice:wonder"),
            "other letters": encoded("\u0430lice:wonder"),
            "other encoding": encoded("\xe4lice:wonder", "latin-1"),
            "upper case": encoded("ALICE:wonder"),
            "template": encoded("{0.__class__}%s${jndi:ldap://x}:wonder"),
            "token without signature": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
            "commas": ",,,,",
            "many": ", ".join(f"Scheme{n} x" for n in range(500)),
        }
        for name, value in worthless.items():
            self.assertEqual(self.status_for(value), 401, name)

    def test_control_characters_T22(self) -> None:
        """Bytes at which others break lines are refused, and reach no log line as they are."""
        for char in "\x00\x01\x08\x0b\x0c\x1b\x1c\x1d\x1e\x7f":
            self.assertIn(self.status_for(f"Bearer a{char}b"), (400, 401), ascii(char))
        lines = self.daemon.log().splitlines()
        self.assertTrue(all(line.isprintable() for line in lines))

    def test_spaces_around_T21(self) -> None:
        """Blanks around a credential do not matter; the scheme may be written in any case."""
        for value in (f" {GOOD} ", f"\t{GOOD}", GOOD.replace(" ", "  "), "bAsIc" + GOOD[5:]):
            self.assertEqual(self.status_for(value), 200, ascii(value))

    def test_several_T23(self) -> None:
        """The result for several credentials depends only on the request."""
        bad = basic("alice", "guess")
        lists = [f"{bad}, {GOOD}", f"{GOOD}, {bad}", f"Bearer x, {GOOD}", f"{GOOD}, Bearer x"]
        for value in lists:
            statuses = {self.status_for(value) for _ in range(5)}
            self.assertEqual(len(statuses), 1, value)
            self.assertTrue(statuses <= {200, 401}, value)
        self.assertEqual(self.status_for(lists[2]), 200)

    def test_twice_T23(self) -> None:
        """The first of two C{Authorization} lines counts, every time."""
        bad = basic("alice", "guess")
        for pair in ((GOOD, bad), (bad, GOOD)):
            fields = [*(("Authorization", value) for value in pair), ("Connection", "close")]
            statuses = {self.status(wire.head("/authenticate", fields)) for _ in range(5)}
            self.assertEqual(len(statuses), 1)
            self.assertTrue(statuses <= {200, 400, 401})

    def test_names_T28(self) -> None:
        """A header whose name only resembles C{Authorization} is refused or ignored."""
        lines = {
            "blank before the colon": f"Authorization : {GOOD}",
            "folded": f"Authorization:\r\n {GOOD}",
            "folded name": f"Autho\r\n rization: {GOOD}",
            "for a proxy": f"Proxy-Authorization: {GOOD}",
            "underscore": f"X_Authorization: {GOOD}",
            "null in the name": f"Authorization\0: {GOOD}",
            "no name": f": {GOOD}",
            "no colon": "Authorization",
            "forwarded": f"X-Forwarded-Authorization: {GOOD}",
        }
        for name, line in lines.items():
            raw = f"GET /authenticate HTTP/1.1\r\nHost: x\r\n{line}\r\nConnection: close\r\n\r\n"
            status = self.status(raw.encode())
            if name == "folded":  # Twisted joins it, as RFC 9112 section 5.2 allows
                self.assertIn(status, (200, 400, 401))
            else:
                self.assertIn(status, (400, 401, None), name)

    def test_realm_T10(self) -> None:
        """An unknown realm, however it is written, is a 401."""
        for realm in ("", "nowhere", "\xff\xfe", "here\x0b", "her", "*", "a" * 5000):
            fields = {"Authorization": GOOD, "X-Auth-Realm": realm, "Connection": "close"}
            self.assertIn(self.status(wire.head("/authenticate", fields)), (400, 401), ascii(realm))

    def test_lower_case(self) -> None:
        """Names of headers are the same in any case."""
        fields = {"authorization": GOOD, "Connection": "close"}
        self.assertEqual(self.status(wire.head("/authenticate", fields)), 200)


class RequestTests(HostileTestCase):
    """Malformed requests, and requests that hide another one."""

    def test_malformed_T75(self) -> None:
        """No malformed request is authenticated, gets a 5xx, or harms the daemon."""
        end = b"Authorization: " + GOOD.encode() + b"\r\nConnection: close\r\n\r\n"
        host = b"Host: x\r\n"
        requests = {
            "nothing": b"\r\n\r\n",
            "noise": bytes(range(256)) * 4,
            "TLS": bytes.fromhex("16030100f1010000ed0303") + b"\0" * 240,
            "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "HTTP/0.9": b"GET /authenticate\r\n",
            "unknown version": b"GET /authenticate HTTP/9.9\r\n" + host + end,
            "two blanks": b"GET  /authenticate HTTP/1.1\r\n" + host + end,
            "asterisk": b"OPTIONS * HTTP/1.1\r\n" + host + end,
            "CONNECT": b"CONNECT x:443 HTTP/1.1\r\n" + host + end,
            "TRACE": b"TRACE /authenticate HTTP/1.1\r\n" + host + end,
            "no method": b"/authenticate HTTP/1.1\r\n" + host + end,
            "odd method": b"G\xc3\x8bT /authenticate HTTP/1.1\r\n" + host + end,
            "two hosts": b"GET /authenticate HTTP/1.1\r\nHost: a\r\n" + host + end,
            "odd host": b"GET /authenticate HTTP/1.1\r\nHost: a/../b\xff\r\n" + end,
            "two lengths": b"GET /authenticate HTTP/1.1\r\n" + host
            + b"Content-Length: 1\r\nContent-Length: 2\r\n" + end + b"ab",
            "negative length": b"GET /authenticate HTTP/1.1\r\n" + host
            + b"Content-Length: -1\r\n" + end,
            "odd length": b"GET /authenticate HTTP/1.1\r\n" + host
            + b"Content-Length: 1_0\r\n" + end,
            "length and chunks": b"GET /authenticate HTTP/1.1\r\n" + host
            + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + end + b"0\r\n\r\n",
            "unknown encoding": b"GET /authenticate HTTP/1.1\r\n" + host
            + b"Transfer-Encoding: gzip\r\n" + end,
            "bad chunk": b"POST /tokens HTTP/1.1\r\n" + host
            + b"Transfer-Encoding: chunked\r\n" + end + b"zz\r\n",
            "path with dots": b"GET /../authenticate HTTP/1.1\r\n" + host + end,
            "path encoded": b"GET /%61uthenticate HTTP/1.1\r\n" + host + end,
            "path with null": b"GET /authenticate%00 HTTP/1.1\r\n" + host + end,
            "path of bytes": b"GET /\xff\xfe HTTP/1.1\r\n" + host + end,
            "two slashes": b"GET //authenticate HTTP/1.1\r\n" + host + end,
        }  # fmt: skip
        for name, request in requests.items():
            status = self.status(request)
            self.assertTrue(status is None or 400 <= status < 500 or status == 505, (name, status))

    def test_unusual_T75(self) -> None:
        """Requests that are odd but valid are answered like all others."""
        end = b"Authorization: " + GOOD.encode() + b"\r\nConnection: close\r\n\r\n"
        host = b"Host: x\r\n"
        requests = {
            "HTTP/1.0 without host": b"GET /authenticate HTTP/1.0\r\n" + end,
            "query": b"GET /authenticate?a=%ff&b HTTP/1.1\r\n" + host + end,
            "chunked body": b"GET /authenticate HTTP/1.1\r\n" + host
            + b"Transfer-Encoding: chunked\r\n" + end + b"3\r\nabc\r\n0\r\n\r\n",
            "body": b"GET /authenticate HTTP/1.1\r\n" + host
            + b"Content-Length: 3\r\n" + end + b"abc",
        }  # fmt: skip
        for name, request in requests.items():
            self.assertEqual(self.status(request), 200, name)

    def test_absolute_T75(self) -> None:
        """A request target that includes a host is answered like its path."""
        head = wire.head("http://x/authenticate", {"Authorization": GOOD, "Connection": "close"})
        self.assertEqual(self.status(head), 200)

    def test_expect_T75(self) -> None:
        """A client that waits for 100 before its body is not left waiting."""
        fields = [("Authorization", GOOD), ("Content-Length", "3"), ("Expect", "100-continue")]
        with wire.connect(self.port) as connection:
            connection.sendall(wire.head("/authenticate", fields))
            first = connection.recv(65536)
            self.assertRegex(first, rb"^HTTP/1.1 200 ")

    def test_large_body_T75(self) -> None:
        """A large body is refused before it was received, or is not read at all."""
        fields = [("Authorization", GOOD), ("Content-Length", "1000000000000")]
        self.assertEqual(self.status(wire.head("/tokens", fields, method="POST")), 413)
        self.assertEqual(self.status(wire.head("/authenticate", fields)), 200)

    def test_pipelining_T75(self) -> None:
        """Pipelined requests are answered in order, each for its own credentials."""
        heads = [
            wire.head("/authenticate", {"Authorization": value})
            for value in (GOOD, basic("alice", "guess"), GOOD)
        ]
        with wire.connect(self.port) as connection:
            connection.sendall(b"".join(heads))
            text = b""
            while text.count(b"HTTP/1.1 ") < len(heads) and (piece := connection.recv(65536)):
                text += piece
        statuses = [line[9:12] for line in text.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        # The body of the refusal has no line end: the next status line follows it directly.
        statuses += [part[:3] for part in text.split(b"}HTTP/1.1 ")[1:]]
        self.assertEqual(sorted(statuses), [b"200", b"200", b"401"])

    def test_leaves_early_T75(self) -> None:
        """Clients that disconnect in the middle of a request leave no open connection behind."""
        head = wire.head("/authenticate", {"Authorization": GOOD})
        for size in range(0, len(head) + 1, 7):
            with wire.connect(self.port) as connection:
                connection.sendall(head[:size])
        gauge = 'authotron_http_requests_in_flight{method="GET"}'
        until(lambda: self.daemon.metric(gauge) == 0, "forgotten", otherwise=self.daemon.log)


class LimitTests(HostileTestCase):
    """Limits of size. The timeout is so long that only these limits matter."""

    patience = PATIENT

    def test_request_line_T75(self) -> None:
        """A request line above 64 KiB is 414, one just below is read."""
        self.assertEqual(self.status(wire.head("/" + "a" * 65_536)), 414)
        fields = [("Connection", "close")]
        self.assertEqual(self.status(wire.head("/" + "a" * 65_000, fields)), 404)

    def test_header_block_T75(self) -> None:
        """Headers above the limit are a 431: one large header, or many small ones."""
        self.assertEqual(self.status(wire.head("/", {"X": "a" * 66_000})), 431)
        many = [(f"X-{n}", "a") for n in range(4_000)]
        many += [("X", "a" * 40_000)]
        self.assertEqual(self.status(wire.head("/", many)), 431)

    def test_single_bytes_T75(self) -> None:
        """Limits hold for requests in single bytes, too."""
        many = [(f"X-{n}", "a" * 80) for n in range(800)]
        head = wire.head("/", many)
        self.assertEqual(self.status(*(head[n : n + 1] for n in range(len(head)))), 431)

    def test_endless_T75(self) -> None:
        """A request line without end is answered while the client still sends it."""
        for begin, status in ((b"GET /", 414), (b"GET / HTTP/1.1\r\nX: ", 431)):
            with wire.connect(self.port) as connection:
                connection.sendall(begin)
                sent = 0
                while not select.select([connection], [], [], 0)[0]:
                    sent += connection.send(b"a" * 512)
                    self.assertLess(sent, 50_000_000)
                answer = wire.receive(connection)
            self.assertEqual(answer and answer.status, status)

    def test_many_fields_T75(self) -> None:
        """Very many headers within the limit are accepted."""
        fields = [("Connection", "close"), *[("a", "")] * 2_000]
        self.assertEqual(self.status(wire.head("/authenticate", fields)), 401)


class SlownessTests(HostileTestCase):
    """Limits of time."""

    def test_idle_T75(self) -> None:
        """A client that sends nothing is disconnected."""
        with wire.connect(self.port) as connection:
            self.assertTrue(wire.ended(connection))

    def test_idle_after_an_answer_T75(self) -> None:
        """A client that sends nothing after its first answer is disconnected."""
        with wire.connect(self.port) as connection:
            connection.sendall(wire.head("/health"))
            self.assertTrue(wire.ended(connection))

    def test_slow_T75(self) -> None:
        """Single bytes, sent slowly, do not keep a connection open."""
        with wire.connect(self.port) as connection:
            self.assertTrue(self.trickle(connection, wire.head("/", {"X": "a" * 1000})))

    def trickle(self, connection: socket.socket, text: bytes) -> bool:
        """Send five bytes a second; return whether the daemon disconnected before the end."""
        for place in range(len(text)):
            if select.select([connection], [], [], 0.2)[0]:
                return wire.ended(connection)
            try:
                connection.sendall(text[place : place + 1])
            except ConnectionError:
                return True
        return False


def hung_up_on(connection: socket.socket) -> bool:
    """Return whether the daemon has closed a connection on which nothing was sent."""
    return bool(select.select([connection], [], [], 0)[0]) and wire.ended(connection)


def serves(port: int) -> bool:
    """Return whether a valid credential is accepted; the daemon may still close a connection."""
    answer = wire.say(port, wire.head("/authenticate", {"Authorization": GOOD}))
    return answer is not None and answer.status == 200


class FilesTests(SynchronousTestCase):
    """A process that has reached its limit of open files."""

    def test_no_more_files_T75(self) -> None:
        """New connections are closed, and old ones served; later new ones are accepted again."""
        folder = Path(self.mktemp())
        daemon = Daemon(folder).configure(server={"idle_timeout": PATIENT}).start()
        self.addCleanup(daemon.stop)
        guest = wire.connect(daemon.port)
        self.addCleanup(guest.close)
        limit = len([*Path(f"/proc/{daemon.process.pid}/fd").iterdir()]) + 8
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        crowd = [wire.connect(daemon.port) for _ in range(30)]
        until(lambda: any(map(hung_up_on, crowd)), "turned away", otherwise=daemon.log)
        guest.sendall(wire.head("/authenticate", {"Authorization": GOOD}))
        answer = wire.receive(guest)
        self.assertEqual(answer and answer.status, 200)
        for each in crowd:
            each.close()
        until(lambda: serves(daemon.port), "recovered", otherwise=daemon.log)
        self.assertIsNone(daemon.process.poll())


class SecondPortTests(SynchronousTestCase):
    """Clients that hold connections to the metrics port."""

    def test_idle_crowd_T85b(self) -> None:
        """Idle clients of the metrics port shut out no client of the main port and no probe."""
        for count in (1, 2):
            daemon = Daemon(Path(self.mktemp()), wrapper=("prlimit", "--nofile=256:256"))
            daemon.configure(server={"idle_timeout": PATIENT, "workers": count}).start()
            self.addCleanup(daemon.stop)
            self.crowd(daemon)

    def test_idle_crowd_at_UNIX_sockets_T85b(self) -> None:
        """Idle clients shut out no others if both ports are UNIX sockets."""
        folder = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        main, second = str(folder / "main"), str(folder / "second")
        daemon = Daemon(folder / "gateway", wrapper=("prlimit", "--nofile=256:256"))
        daemon.configure(
            server={"host": ..., "port": ..., "listen": [f"unix:{main}"], "idle_timeout": PATIENT},
            metrics={"port": ..., "listen": [f"unix:{second}"]},
        ).start(main)
        self.addCleanup(daemon.stop)
        self.crowd(daemon, main, second)

    def crowd(self, daemon: Daemon, main: str | None = None, second: str | None = None) -> None:
        kept = []
        for _ in range(320):
            with contextlib.suppress(OSError):  # a UNIX socket may refuse
                kept.append(wire.connect(second or daemon.operations))
        asks = wire.head("/authenticate", {"Authorization": GOOD})
        for _ in range(5):
            answer = wire.say(main or daemon.port, asks)
            self.assertEqual(answer and answer.status, 200)
        until(lambda: self.probe(second or daemon.operations), "ready", otherwise=daemon.log)
        self.assertLess(sum(not hung_up_on(each) for each in kept), 64)
        for each in kept:
            each.close()

    def probe(self, address: int | str) -> bool:
        answer = wire.say(address, wire.head("/ready"))
        return answer is not None and answer.status == 200


class WaitingTests(SynchronousTestCase):
    """Clients whose requests wait for a remote that does not answer."""

    def gateway(self, *providers: dict[str, Any]) -> Daemon:
        gateway = Daemon(Path(self.mktemp()), wrapper=("prlimit", "--nofile=300:300"))
        gateway.configure(
            server={"idle_timeout": PATIENT},
            auth={"timeout_in_ms": int(PATIENT) * 1000},
            providers=list(providers),
        )
        self.addCleanup(gateway.stop)
        return gateway.start()

    def remote(self) -> Deaf:
        deaf = Deaf().start()
        self.addCleanup(deaf.stop)
        return deaf

    def asks(self, name: str, remote: Deaf) -> dict[str, Any]:
        uri = f"http://127.0.0.1:{remote.port}"
        return {"type": "ecmwf-api", "name": name, "realm": name, "uri": uri}

    def binds(self, remote: Deaf) -> dict[str, Any]:
        base = {"user_dn": "uid={username},dc=a", "search_base": "dc=a"}
        uri = f"ldap://127.0.0.1:{remote.port}"
        kept = {"answer_timeout": PATIENT, "connect_timeout": PATIENT}
        return {"type": "ldap", "name": "d", "realm": "d", "uri": uri, **base, **kept}

    def crowd(self, gateway: Daemon, remotes: Sequence[Deaf], limit: int) -> None:
        waiting = [wire.connect(gateway.port) for _ in range(170)]
        for number, each in enumerate(waiting):
            token = f"Bearer waits-{number}"
            given = token if number % 2 or len(remotes) == 1 else basic(f"u{number}", "p")
            each.sendall(wire.head("/authenticate", {"Authorization": given}))
        until(lambda: sum(each.connections for each in remotes) >= limit, "asked")
        for path in ("/health", "/health", "/providers"):
            answer = wire.say(gateway.port, wire.head(path))
            self.assertEqual(answer and answer.status, 200, path)
        answer = wire.say(gateway.operations, wire.head("/metrics"))
        self.assertEqual(answer and answer.status, 200)
        self.assertEqual(sum(each.connections for each in remotes), limit)
        self.assertNotIn("no file descriptors left", gateway.log())
        for each in waiting:
            each.close()
        until(lambda: not any(each.open for each in remotes), "hung up on the remotes")
        answer = wire.say(gateway.port, wire.head("/health"))
        self.assertEqual(answer and answer.status, 200)

    def test_one_remote_T85a(self) -> None:
        """Clients that wait for one remote shut out no others; no slot goes to one that left."""
        remote = self.remote()
        self.crowd(self.gateway(self.asks("a", remote)), [remote], 32)

    def test_several_remotes_T85a(self) -> None:
        """Clients that wait for several remotes and a directory shut out no others."""
        remotes = [self.remote() for _ in range(4)]
        parts = [self.asks(f"p{place}", each) for place, each in enumerate(remotes[:3])]
        self.crowd(self.gateway(*parts, self.binds(remotes[3])), remotes, 3 * 11 + 1)
