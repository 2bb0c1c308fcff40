"""The examples for backends, each behind nginx and the gateway."""

from __future__ import annotations

import atexit
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import jwt
from attrs import define, field
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from authotron.client import User, Verifier
from authotron.client.testing import SigningKey, mint
from tests.functional import wire
from tests.functional.daemon import Daemon, environment, free_port
from tests.functional.proxies.shipped import Nginx
from tests.functional.proxy import ROOT
from tests.waiting import DEADLINE, until

EXAMPLES = ROOT / "examples" / "backends"
PYTHON = ROOT / ".venv-client" / "bin" / "python"
"""The environment that has the frameworks; C{make backends} makes it."""

ISSUER, AUDIENCE = "https://auth.example.org", "archive"
ALICE = User("here", "alice", ("reader",))
USERS = [
    {"username": "alice", "password": "wonder", "roles": ["reader"]},
    {"username": "bob", "password": "builder"},
]


@define(eq=False)
class Service:
    """One example, in a process of its own."""

    name: str
    folder: Path
    keys: str
    port: int = field(factory=free_port)
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> Service:
        with (self.folder / f"{self.name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(PYTHON), str(EXAMPLES / f"{self.name}.py"), str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment(
                    {
                        "AUTHOTRON_ISSUER": ISSUER,
                        "AUTHOTRON_JWKS_URL": self.keys,
                        "PYTHONPATH": str(ROOT),
                    }
                ),
            )
        until(self._listens, "listening", otherwise=self.log)
        return self

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            wire.connect(self.port).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE)


def key_file(path: Path) -> tuple[ec.EllipticCurvePrivateKey, Path]:
    """A new private key, and the file that it is in."""
    private = ec.generate_private_key(ec.SECP256R1())
    path.touch(mode=0o600)
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return private, path


def configure(daemon: Daemon, key: Path, *previous: Path) -> Daemon:
    """Let a gateway sign with a key, and publish others, too."""
    jwt = {
        "iss": ISSUER, "secret": ..., "alg": "ES256", "key_file": str(key), "aud": AUDIENCE,
        "emit_aud": True, "previous_key_files": [str(each) for each in previous],
    }  # fmt: skip
    auth = {"cache": {"reuse": 0}}
    providers = [{"name": "local", "type": "plain", "realm": "here", "users": USERS}]
    return daemon.configure(jwt=jwt, providers=providers, auth=auth)


@cache
def gateway() -> tuple[Daemon, SigningKey]:
    """A gateway with a key pair, and its private key, with which tests sign JWTs as it does."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    private, path = key_file(folder / "key.pem")
    daemon = configure(Daemon(folder), path).start()
    atexit.register(daemon.stop)
    [published] = wire.ask(daemon.port, "/.well-known/jwks.json").json()["keys"]
    return daemon, SigningKey(published["kid"], "ES256", private)


def bad_tokens(key: SigningKey) -> Mapping[str, str]:
    """JWTs that no service may believe, by what is wrong with them."""
    other = SigningKey(key.kid, "ES256", ec.generate_private_key(ec.SECP256R1()))
    unknown = SigningKey.generate("ES256", "unknown")
    usual: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE}
    return {
        "expired": mint(ALICE, key, lifetime=-60, **usual),
        "for another audience": mint(ALICE, key, issuer=ISSUER, audience="web"),
        "for no audience": mint(ALICE, key, issuer=ISSUER),
        "signed with another key": mint(ALICE, other, **usual),
        "signed with an unknown key": mint(ALICE, unknown, **usual),
        "of another issuer": mint(ALICE, key, issuer="https://other.test", audience=AUDIENCE),
    }


SPOOFED = dict.fromkeys(
    ("X-Auth-Username", "X-Auth-Roles", "Remote-User", "X-Forwarded-User", "X-User"), "root"
)


class ExamplesTests(SynchronousTestCase):
    """Every example: what its users see, behind nginx and without it."""

    def serve(self, name: str, **changes: str) -> tuple[Service, Nginx, SigningKey]:
        daemon, key = gateway()
        folder = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        keys = f"http://127.0.0.1:{daemon.port}/.well-known/jwks.json"
        service = Service(name, folder, keys).start()
        self.addCleanup(service.stop)
        nginx = Nginx(folder / "nginx", daemon.port, service.port, changes).start()
        self.addCleanup(nginx.stop)
        return service, nginx, key

    def check(self, name: str) -> None:
        """The service knows its users behind nginx, and believes nothing else."""
        service, nginx, key = self.serve(name)
        self.check_behind_nginx(service, nginx)
        for what, token in bad_tokens(key).items():
            bearer = {"Authorization": f"Bearer {token}"}
            for port in (service.port, nginx.port):
                for path in ("/", "/reports"):
                    with self.subTest(f"{name}: {what}, {path}, at {port}"):
                        self.refused(wire.ask(port, path, bearer))
        self.refused(wire.ask(service.port, "/", SPOOFED))
        good = mint(ALICE, key, issuer=ISSUER, audience=AUDIENCE)
        answer = wire.ask(service.port, "/", {**SPOOFED, "Authorization": f"Bearer {good}"})
        self.assertEqual(answer.json(), {"user": "alice", "realm": "here"})

    def check_behind_nginx(self, service: Service, nginx: Nginx) -> None:
        alice, bob = wire.basic("alice", "wonder"), wire.basic("bob", "builder")
        for path, authorization, status, content in (
            ("/", alice, 200, {"user": "alice", "realm": "here"}),
            ("/reports", alice, 200, {"reports": ["report of alice"]}),
            ("/", bob, 200, {"user": "bob", "realm": "here"}),
            ("/reports", bob, 403, None),
        ):
            sent = {**SPOOFED, "Authorization": authorization}
            answer = wire.ask(nginx.port, path, sent)
            self.assertEqual(answer.status, status, f"{path}: {answer}\n{service.log()}")
            if content is not None:
                self.assertEqual(answer.json(), content)
        self.refused(wire.ask(nginx.port, "/", SPOOFED))
        self.refused(wire.login(nginx.port, "alice", "wrong", "/"))

    def refused(self, answer: wire.Answer) -> None:
        self.assertEqual(answer.status, 401, answer)
        self.assertIsNotNone(answer.header("www-authenticate"))
        self.assertNotIn(b"alice", answer.body)

    def test_aiohttp(self) -> None:
        """C{aiohttp_service.py}."""
        self.check("aiohttp_service")

    def test_asgi(self) -> None:
        """C{asgi_service.py}."""
        self.check("asgi_service")

    def test_django(self) -> None:
        """C{django_service.py}, whose second path is one of REST framework."""
        self.check("django_service")

    def test_fastapi(self) -> None:
        """C{fastapi_service.py}."""
        self.check("fastapi_service")

    def test_flask(self) -> None:
        """C{flask_service.py}."""
        self.check("flask_service")

    def test_klein(self) -> None:
        """C{klein_service.py}."""
        self.check("klein_service")

    def test_litestar(self) -> None:
        """C{litestar_service.py}."""
        self.check("litestar_service")

    def test_starlette(self) -> None:
        """C{starlette_service.py}."""
        self.check("starlette_service")

    def test_twisted(self) -> None:
        """C{twisted_service.py}."""
        self.check("twisted_service")

    def test_wsgi(self) -> None:
        """C{wsgi_service.py}."""
        self.check("wsgi_service")

    def test_grpc(self) -> None:
        """C{grpc_service.py}, to which nginx speaks gRPC."""
        service, nginx, key = self.serve(
            "grpc_service",
            **{
                "proxy_pass http://backend;": "grpc_pass grpc://backend;\n"
                "grpc_set_header Authorization $authotron_token;",
                "listen 127.0.0.1:80;": "listen 127.0.0.1:80 http2;",
            },
        )
        alice, bob = wire.basic("alice", "wonder"), wire.basic("bob", "builder")
        self.assertIn('"user": "alice"', self.call(nginx.port, "Hello", alice))
        self.assertIn("report of alice", self.call(nginx.port, "Reports", alice))
        self.assertEqual(self.call(nginx.port, "Reports", bob), "PERMISSION_DENIED")
        good = mint(ALICE, key, issuer=ISSUER, audience=AUDIENCE)
        self.assertIn('"user": "alice"', self.call(service.port, "Hello", f"Bearer {good}"))
        for port in (nginx.port, service.port):
            self.assertEqual(self.call(port, "Hello"), "UNAUTHENTICATED")
            for what, token in bad_tokens(key).items():
                with self.subTest(f"{what} at {port}"):
                    found = self.call(port, "Hello", f"Bearer {token}")
                    self.assertEqual(found, "UNAUTHENTICATED")

    def call(self, port: int, method: str, *authorization: str) -> str:
        script = ROOT / "tests" / "backends" / "grpc_call.py"
        return subprocess.run(
            [str(PYTHON), str(script), str(port), method, *authorization],
            capture_output=True,
            check=True,
            text=True,
            timeout=DEADLINE,
        ).stdout.strip()

    def test_short(self) -> None:
        """Every example is tested above, and has less than 60 lines."""
        for path in EXAMPLES.glob("*.py"):
            kind = path.stem.removesuffix("_service")
            self.assertTrue(hasattr(self, f"test_{kind}"), path.name)
            self.assertLess(len(path.read_text().splitlines()), 60, path.name)


class RotationTests(SynchronousTestCase):
    """A service that verifies JWTs while the gateway changes its key."""

    def setUp(self) -> None:
        self.folder = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.old, self.new = (key_file(self.folder / f"{name}.pem")[1] for name in ("old", "new"))
        self.daemon = configure(Daemon(self.folder / "daemon"), self.old).start()
        self.addCleanup(self.daemon.stop)
        keys = f"http://127.0.0.1:{self.daemon.port}/.well-known/jwks.json"
        self.verifier = Verifier(ISSUER, audience=AUDIENCE, jwks_url=keys)
        self.signed_by: Counter[str] = Counter()
        self.errors: list[Exception] = []

    def work(self, ends: threading.Event) -> None:
        """Send requests through the gateway to the service, until the test ends."""
        while not ends.is_set():
            answer = wire.login(self.daemon.port, "alice", "wonder")
            token = (answer.header("authorization") or "").removeprefix("Bearer ")
            try:
                assert self.verifier.verify(token).username == "alice"
            except Exception as error:  # noqa: BLE001 - counted, and shown by the test
                self.errors.append(error)
            self.signed_by[jwt.get_unverified_header(token)["kid"]] += 1

    def reload(self, key: Path, *previous: Path) -> None:
        """Change the configuration of the gateway, and wait until it serves."""
        before = self.reloads()
        configure(self.daemon, key, *previous)
        self.daemon.tell(signal.SIGHUP)
        until(lambda: self.reloads() > before, "reloaded", otherwise=self.daemon.log)

    def reloads(self) -> float:
        return self.daemon.metric('authotron_reloads_total{result="success"}')

    def under_load(self, *steps: tuple[Path, ...]) -> None:
        """No JWT is refused while the steps are done, nor after them."""
        ends = threading.Event()
        threads = [threading.Thread(target=self.work, args=(ends,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for step in steps:
                until(self.moving(), "requests between two steps")
                self.reload(*step)
            until(lambda: len(self.signed_by) > 1, "signed with the new key")
            until(self.moving(), "requests after the last step")
        finally:
            ends.set()
            for thread in threads:
                thread.join()
        self.assertEqual(self.errors, [])
        self.assertEqual(len(self.signed_by), 2)

    def moving(self) -> Callable[[], bool]:
        """A condition: a hundred more requests."""
        goal = self.signed_by.total() + 100
        return lambda: self.signed_by.total() >= goal

    def test_published_before(self) -> None:
        """As the documentation says: publish the new key, sign with it, take the old one away."""
        self.under_load((self.old, self.new), (self.new, self.old))

    def test_at_once(self) -> None:
        """Even a key that signs as soon as it is published costs no request."""
        self.under_load((self.new, self.old))
