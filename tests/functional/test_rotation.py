"""Signing keys that rotate on two gateways, while backends verify the JWTs of both."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import deque
from pathlib import Path
from random import choice
from threading import Event, Thread
from typing import Any

import jwt
from twisted.trial.unittest import SynchronousTestCase

from authotron.client import InvalidToken, Verifier
from tests.functional import wire
from tests.functional.daemon import TWISTD, Daemon, environment
from tests.functional.databases import shared
from tests.waiting import DEADLINE, until

ALICE = {"Authorization": wire.basic("alice", "wonder")}
SEALING_KEY = "functional-tests-seal-keys-with-this-secret"
CACHING, SPREAD, LIFETIME = 2, 2, 3
"""Seconds for which backends cache keys, changes of the keys spread, and JWTs are valid."""

ROTATION = CACHING + SPREAD
ROTATIONS = 10
KEYS: dict[str, Any] = {
    "secret": ...,
    "alg": "ES256",
    "exp": LIFETIME,
    "sealing_key": SEALING_KEY,
    "rotation": ROTATION,
    "key_set_lifetime": CACHING,
    "key_spread": SPREAD,
}


class Caching:
    """A backend that caches the published keys for their whole lifetime, and never looks sooner."""

    def __init__(self, port: int) -> None:
        self._client = jwt.PyJWKClient(  # noqa: TID251 - the library of a backend
            _key_set(port), cache_jwk_set=True, lifespan=CACHING
        )

    def verify(self, token: str) -> None:
        """@raise Exception: the JWT is refused."""
        kid = jwt.get_unverified_header(token)["kid"]
        keys = {each.key_id: each.key for each in self._client.get_jwk_set().keys}
        jwt.decode(token, keys[kid], ["ES256"], issuer="functional")


class Library:
    """A backend that uses the client library of authotron."""

    def __init__(self, port: int) -> None:
        self._verifier = Verifier("functional", jwks_url=_key_set(port), lifetime=CACHING, leeway=0)

    def verify(self, token: str) -> None:
        self._verifier.verify(token)


def _key_set(port: int) -> str:
    return f"http://127.0.0.1:{port}/.well-known/jwks.json"


class Load:
    """
    Clients that get JWTs from several gateways, and backends that verify each JWT when it is new,
    and again shortly before it expires.

    @ivar kids: the keys with which JWTs were signed.
    @ivar refused: the JWTs that a backend has refused, and all other failures.
    """

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._over = Event()
        self.kids: set[str] = set()
        self.refused: list[str] = []
        self.verified = 0
        self._clients = [Thread(target=self._run, daemon=True) for _ in range(4)]
        for client in self._clients:
            client.start()

    def until_signed_by(self, number: int) -> None:
        """Wait until JWTs were signed with a number of keys."""
        seen = lambda: str(self.refused)  # noqa: E731 - shown if it takes too long
        until(lambda: len(self.kids) >= number, f"signed by {number} keys", otherwise=seen)

    def stop(self) -> None:
        self._over.set()
        for client in self._clients:
            client.join(DEADLINE)

    def _run(self) -> None:
        backends = [kind(port) for port in self._ports for kind in (Caching, Library)]
        tokens: deque[tuple[float, str]] = deque()
        while not self._over.is_set():
            answer = wire.ask(choice(self._ports), "/authenticate", ALICE)
            token = (answer.header("authorization") or "").removeprefix("Bearer ")
            if not token:
                self.refused.append(f"no JWT: {answer.status} {answer.body!r}")
                continue
            self.kids.add(jwt.get_unverified_header(token)["kid"])
            claims: Any = jwt.decode(token, options={"verify_signature": False})
            tokens.append((claims["exp"], token))
            self._verify(backends, *tokens[-1])
            while tokens[0][0] < time.time() + 1.2:  # noqa: TID251 - a client has no World
                self._verify(backends, *tokens.popleft())

    def _verify(self, backends: list[Any], end: float, token: str) -> None:
        for backend in backends:
            try:
                backend.verify(token)
            except (jwt.PyJWTError, InvalidToken, KeyError) as error:
                if time.time() < end - 0.1:  # noqa: TID251 - the machine was too slow to judge
                    kind = type(backend).__name__
                    self.refused.append(f"{kind}: {error!r} {jwt.get_unverified_header(token)}")
            else:
                self.verified += 1


class RotationCase(SynchronousTestCase):
    """Gateways that share their keys."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def gateway(self, store: dict[str, Any], name: str = "one", **over: Any) -> Daemon:
        keys = {**KEYS, **over.pop("jwt", {})}
        return Daemon(self.folder / name).configure(store=store, jwt=keys, **over)

    def started(self, daemon: Daemon) -> Daemon:
        self.addCleanup(daemon.stop)
        return daemon.start()

    def published(self, daemon: Daemon) -> list[str]:
        found = wire.ask(daemon.port, "/.well-known/jwks.json").json()
        return [key["kid"] for key in found["keys"]]

    def token(self, daemon: Daemon) -> str:
        answer = wire.ask(daemon.port, "/authenticate", ALICE)
        self.assertEqual(answer.status, 200, answer.body)
        return (answer.header("authorization") or "").removeprefix("Bearer ")

    def kid(self, daemon: Daemon) -> str:
        kid: str = jwt.get_unverified_header(self.token(daemon))["kid"]
        return kid


class TwoGateways:
    """Two gateways that share one store."""

    def store(self: Any) -> dict[str, Any]:
        """Return the section of a store for both gateways."""
        raise NotImplementedError

    def test_no_jwt_is_refused_T48(self: Any) -> None:
        """Over ten rotations no backend refuses a JWT, and no client is left without one."""
        store = self.store()
        gateways = [self.started(self.gateway(store, "one"))]
        two = self.gateway(store, "two", server={"workers": 2})
        gateways.append(self.started(two))
        load = Load([each.port for each in gateways])
        self.addCleanup(load.stop)
        for number in range(2, ROTATIONS + 2):
            load.until_signed_by(number)
        load.stop()
        self.assertEqual(load.refused, [])
        self.assertGreater(load.verified, 1000)


class SqliteTests(TwoGateways, RotationCase):
    """A file of SQLite, and what the commands do."""

    def store(self) -> dict[str, Any]:
        return {"type": "sqlite", "path": str(self.folder / "tokens.db")}

    def command(self, daemon: Daemon, *words: str, status: int = 0) -> Any:
        """Run C{authotron keys}; return its states, or what it says about a failure."""
        done = subprocess.run(
            [str(TWISTD.parent / "authotron"), "keys", *words, "--json", "-c", str(daemon.file)],
            capture_output=True,
            check=False,
            cwd=self.folder,
            env=environment(),
            timeout=DEADLINE,
            text=True,
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        if status:
            return json.loads(done.stdout)["error"]
        return {key["kid"]: key["state"] for key in json.loads(done.stdout)["keys"]}

    def test_commands(self) -> None:
        """Keys are generated, promoted and retired by the commands; gateways follow."""
        gateway = self.gateway(self.store(), jwt={"rotation": None, "exp": 60})
        self.assertIn("no signing keys", self.command(gateway, "list", status=1))
        self.started(gateway)
        token = self.token(gateway)
        first = jwt.get_unverified_header(token)["kid"]
        self.assertEqual(self.command(gateway, "list"), {first: "active"})
        self.assertIn("generate one first", self.command(gateway, "promote", status=1))
        self.assertIn("generate one first", self.command(gateway, "retire", first, status=1))
        found = self.command(gateway, "generate")
        [second] = found.keys() - {first}
        self.assertEqual(found, {first: "active", second: "next"})
        self.assertIn("is next already", self.command(gateway, "generate", status=1))
        until(lambda: len(self.published(gateway)) == 2, "published")
        self.command(gateway, "promote")
        until(lambda: self.kid(gateway) == second, "promoted")
        self.assertEqual(self.command(gateway, "list"), {second: "active", first: "retiring"})
        self.assertEqual(self.published(gateway), [second, first])
        self.assertEqual(self.decoded(gateway, token), 0)
        self.assertEqual(self.command(gateway, "retire", first), {second: "active"})
        until(lambda: self.published(gateway) == [second], "retired")
        self.assertEqual(self.decoded(gateway, token), 1)
        self.assertIn("there is no signing key", self.command(gateway, "retire", first, status=1))

    def decoded(self, daemon: Daemon, token: str) -> int:
        """Return the exit status of C{authotron jwt decode}."""
        words = [str(TWISTD.parent / "authotron"), "jwt", "decode", "-c", str(daemon.file)]
        done = subprocess.run(
            words, input=token, capture_output=True, check=False, env=environment(), text=True
        )
        return done.returncode

    def test_reload(self) -> None:
        """A reload keeps the keys; with a wrong sealing key it is refused, and nothing changes."""
        store = self.store()
        gateway = self.started(self.gateway(store, jwt={"rotation": "30d"}))
        kids = self.published(gateway)
        self.assertEqual(len(kids), 2)
        gateway.configure(store=store, jwt={**KEYS, "rotation": "30d", "exp": 5})
        gateway.tell(signal.SIGHUP)
        gateway.logged("configuration reloaded")
        self.assertEqual((self.published(gateway), self.kid(gateway)), (kids, kids[0]))
        gateway.configure(store=store, jwt={**KEYS, "rotation": "30d", "sealing_key": "w" * 32})
        gateway.tell(signal.SIGHUP)
        gateway.logged("sealed under another key than jwt.sealing_key")
        self.assertEqual((self.published(gateway), self.kid(gateway)), (kids, kids[0]))
        other = self.started(self.gateway(store, "two", jwt={"sealing_key": "w" * 32}))
        other.logged("the signing keys in the token store are not known")
        self.assertEqual(wire.ask(other.port, "/authenticate", ALICE).status, 503)
        self.assertEqual(wire.ask(other.port, "/.well-known/jwks.json").status, 503)
        self.assertEqual(wire.ask(other.operations, "/ready").status, 503)
        ready = wire.ask(gateway.operations, "/ready").json()["keys"]
        self.assertEqual([ready["active"], ready["next"]], kids)

    def test_from_files(self) -> None:
        """The key of a configuration that had it in a file stays active in the token store."""
        text = subprocess.run(
            [str(TWISTD.parent / "authotron"), "generate-key"], capture_output=True, check=True
        ).stdout.decode()
        files = {"secret": ..., "alg": "ES256", "key": text}
        gateway = Daemon(self.folder / "one").configure(jwt=files)
        self.started(gateway)
        kid = self.kid(gateway)
        gateway.configure(store=self.store(), jwt={**KEYS, "rotation": "30d", "key": text})
        gateway.tell(signal.SIGHUP)
        gateway.logged("configuration reloaded")
        until(lambda: len(self.published(gateway)) == 2, "published", otherwise=gateway.log)
        self.assertEqual((self.published(gateway)[0], self.kid(gateway)), (kid, kid))


class RedisTests(TwoGateways, RotationCase):
    """A Redis server."""

    def store(self) -> dict[str, Any]:
        return {**shared("redis").section, "pepper": SEALING_KEY}


class MongoTests(TwoGateways, RotationCase):
    """A server of the MongoDB protocol."""

    def store(self) -> dict[str, Any]:
        return {**shared("mongo").section, "pepper": SEALING_KEY}
