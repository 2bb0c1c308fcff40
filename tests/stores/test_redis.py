"""The configuration of the Redis store, and its answers to a scripted server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from authotron.config.section import read
from authotron.model.errors import ConfigError, Unavailable
from authotron.net.redis import RedisConnection
from authotron.net.world import World
from authotron.plugin.interfaces import ITokenStore
from authotron.stores import redis
from authotron.testing.contracts import make_token
from authotron.testing.worlds import NOW, clock_at, run_at_once
from tests.net.test_redis import Endpoint


class ConfigTests(SynchronousTestCase):
    """Keys that have no effect, or cannot have one, are mistakes."""

    def problems(self, **keys: Any) -> str:
        given = {"type": "redis", **keys}
        return str(self.assertRaises(ConfigError, read, redis.Config, given, "store"))

    def test_user_without_password_R_LOGIN(self) -> None:
        """A user name without a password is a mistake: Redis would log in the default user."""
        self.assertIn("store.password: is missing, but username has", self.problems(username="u"))
        sentinels = {"sentinels": ["a"], "sentinel_service": "m"}
        found = self.problems(**sentinels, sentinel_username="u")
        self.assertIn("store.sentinel_password: is missing, but sentinel_username has", found)
        self.assertNotIn("missing", str(read(redis.Config, {"type": "redis", **sentinels})))

    def test_host_R_LOGIN(self) -> None:
        """A host that is none is a mistake at C{store.host}."""
        for host in ("redis://x", "h:6379", "run/x.sock"):
            self.assertIn("store.host: ", self.problems(host=host))

    def test_keys_of_other_programs_R_LOGIN(self) -> None:
        """A key as other programs call it is a mistake that names the key of authotron."""
        for key, known in (
            ("url", "host"),
            ("uri", "host"),
            ("unix_socket_path", "host"),
            ("db", "database"),
            ("ssl", "tls"),
            ("ssl_certfile", "tls_certificate_file"),
            ("user", "username"),
            ("master_name", "sentinel_service"),
        ):
            with self.subTest(key):
                problem = self.problems(**{key: "x"})
                self.assertIn(f"store.{key}: unknown key; did you mean {known!r}?", problem)

    def test_without_effect_R_LOGIN(self) -> None:
        """A key that has no effect beside another key is a mistake that names both."""
        service = {"sentinels": ["a"], "sentinel_service": "m"}
        for keys, named in (
            ({"host": "/run/x.sock", "port": 6379}, ("port", "host")),
            ({"host": "/run/x.sock", "tls": True}, ("tls", "host")),
            ({**service, "host": "h"}, ("host", "sentinels")),
            ({**service, "port": 1}, ("port", "sentinels")),
            ({"sentinels": ["a"]}, ("sentinels", "sentinel_service")),
            ({"sentinel_service": "m"}, ("sentinel_service", "sentinels")),
            ({"sentinel_password": "p"}, ("sentinel_password", "sentinels")),
            ({"tls_ca_file": "x.pem"}, ("tls_ca_file", "tls: true")),
            ({"tls": True, "tls_key": "x"}, ("tls_certificate_file", "tls_key_file")),
            ({"tls": True, "tls_ca_file": "/missing"}, ("/missing",)),
        ):
            found = self.problems(**keys)
            for name in named:
                self.assertIn(name, found)


class ScriptedTests(SynchronousTestCase):
    """The store and a server whose answers the test writes."""

    def setUp(self) -> None:
        self.clock, self.endpoint = clock_at(NOW), Endpoint()

    def store(self, **keys: Any) -> ITokenStore:
        connect: Any = lambda *_: self.endpoint  # noqa: E731 - one line says it
        world = World(self.clock, run_at_once, connect=connect)
        store = redis.make(read(redis.Config, {"type": "redis", **keys}), world)
        opened = Deferred.fromCoroutine(store.open())
        self.reader = self.accept(b"+PONG")
        self.successResultOf(opened)
        return store

    def accept(self, *answers: bytes) -> tuple[RedisConnection, StringTransport]:
        connection, transport = self.endpoint.accept()
        connection.dataReceived(b"".join(each + b"\r\n" for each in (b"+OK", *answers)))
        transport.clear()
        return connection, transport

    def start(self, work: Callable[[], Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(work())

    def test_readiness_writes_R_FAIL(self) -> None:
        """A server that answers but accepts no changes is not reachable for the store."""
        store = self.store()
        checked = self.start(store.check_reachable)
        connection, _ = self.reader
        connection.dataReceived(b"-READONLY x\r\n")
        self.accept(b"-READONLY x")
        error = self.failureResultOf(checked, Unavailable).value
        self.assertIn("read-only: the server is a replica", str(error))

    def test_replicas_R_FAIL(self) -> None:
        """With C{replicas} a change is acknowledged once so many replicas have confirmed it."""
        store = self.store(replicas=2, timeout=4)
        added = self.start(lambda: store.add(make_token()))
        connection, transport = self.endpoint.accept()
        connection.dataReceived(b"+OK\r\n:1\r\n")
        self.assertNoResult(added)
        self.assertTrue(transport.value().endswith(b"WAIT\r\n$1\r\n2\r\n$4\r\n2000\r\n"))
        connection.dataReceived(b":2\r\n")
        self.successResultOf(added)

    def test_too_few_replicas_R_FAIL(self) -> None:
        """If fewer replicas confirm a change in time, the change is not acknowledged."""
        store = self.store(replicas=1)
        removed = self.start(lambda: store.remove("x", NOW))
        self.accept(b"*1", b"$1", b"x", b":0")
        error = self.failureResultOf(removed, Unavailable).value
        self.assertIn("only 0 Redis replicas confirmed a change in time", str(error))

    def test_reads_do_not_wait_R_FAIL(self) -> None:
        """While a change waits for replicas, tokens are read over another connection."""
        store = self.store(replicas=1)
        added = self.start(lambda: store.add(make_token()))
        waits = self.accept(b":1")[0]
        read = self.start(lambda: store.get("x"))
        connection, _ = self.reader
        connection.dataReceived(b"*10\r\n" + b"$-1\r\n" * 10)
        self.assertIsNone(self.successResultOf(read))
        self.assertNoResult(added)
        waits.dataReceived(b":1\r\n")
        self.successResultOf(added)
