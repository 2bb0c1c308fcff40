"""
An installation of auth-o-tron that authotron takes over, with its file, variables, proxy and client
unchanged, and the way back.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import yaml
from attrs import define, field
from bson import ObjectId
from pymongo import MongoClient
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import servers, wire
from tests.functional.daemon import TWISTD, absolute, environment, free_port, needed
from tests.functional.databases import shared
from tests.functional.proxy import Backend
from tests.waiting import DEADLINE, until

SECRET = "a secret of the installation that is long enough"

COMPLETE = """\
version: "2.0.0"
server:
  host: "0.0.0.0"
  port: 8080
metrics:
  enabled: true
  port: 9090
providers:
  - type: plain
    name: local_users
    realm: internal
    users:
      - username: admin
        password: adminpass
        roles: [admin, user]
      - username: guest
        password: guestpass
        roles: [readonly]
  - type: jwt
    name: jwt_validation
    realm: external
    cert_uri: https://auth.example.com/.well-known/jwks.json
    iam_realm: example-realm
augmenters:
  - type: plain_advanced
    name: admin_override
    realm: internal
    match:
      username: [admin]
    augment:
      roles: [superuser]
      attributes:
        department: engineering
services: []
jwt:
  iss: auth-o-tron.example.com
  aud: my-application
  exp: 3600
  secret: your-secret-key-here
store:
  enabled: true
  type: mongo
  uri: mongodb://localhost:27017
  database: auth_o_tron
logging:
  level: info
  format: json
  service_name: auth-o-tron
  service_version: 1.0.0
"""
"""The complete example in the documentation of auth-o-tron, with the list that it requires."""

HELM: Mapping[str, Any] = {
    "version": "2.0.0",
    "server": {"host": "0.0.0.0", "port": 8080},
    "jwt": {"iss": "my-org", "exp": 3600, "secret": "changeme"},
    "providers": [
        {
            "type": "plain",
            "name": "default",
            "realm": "default",
            "users": [{"username": "admin", "password": "a-password-of-the-values"}],
        }
    ],
    "store": {"enabled": False},
    "services": [],
    "logging": {"level": "info", "format": "json"},
}
"""The value C{config} of the Helm chart of auth-o-tron, from which the chart makes a ConfigMap."""

NGINX = """\
upstream authotron { server 127.0.0.1:%(gateway)d; }
upstream api_backend { server 127.0.0.1:%(backend)d; }
server {
    listen 127.0.0.1:%(port)d;
    location /authenticate {
        proxy_pass http://authotron;
        proxy_set_header Host $host;
    }
    location /_auth {
        internal;
        proxy_pass http://authotron;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_set_header X-Original-URI $request_uri;
        proxy_set_header X-Original-Method $request_method;
    }
    location @trigger_auth {
        return 302 /authenticate?redirect=$request_uri;
    }
    location /api/ {
        auth_request /_auth;
        auth_request_set $auth_status $upstream_status;
        auth_request_set $jwt $upstream_http_authorization;
        proxy_set_header Authorization $jwt;
        auth_request_set $auth_username $upstream_http_x_auth_username;
        auth_request_set $auth_realm $upstream_http_x_auth_realm;
        auth_request_set $auth_roles $upstream_http_x_auth_roles;
        proxy_set_header X-Auth-Username $auth_username;
        proxy_set_header X-Auth-Realm $auth_realm;
        proxy_set_header X-Auth-Roles $auth_roles;
        proxy_pass http://api_backend;
        proxy_set_header Host $host;
        error_page 401 = @trigger_auth;
    }
}
"""
"""The configuration of nginx in the documentation of auth-o-tron, with other addresses."""

ADMIN = {"Authorization": wire.basic("admin", "adminpass")}
GUEST = {"Authorization": wire.basic("guest", "guestpass")}


@define(eq=False)
class Installation:
    """
    A gateway that is started as the image of auth-o-tron starts its program: without arguments, by
    variables and the working directory alone.
    """

    folder: Path = field(converter=absolute)
    environ: dict[str, str] = field(factory=dict)
    port: int = field(factory=free_port)
    metrics: int = field(factory=free_port)
    process: subprocess.Popen[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = {"AOT_SERVER__PORT": str(self.port), "AOT_METRICS__PORT": str(self.metrics)}
        self.environ = {**ports, **self.environ}

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_bytes(text.encode())
        path.chmod(0o600)
        return path

    def run(self, *words: str) -> str:
        """Run a command of authotron with the variables of the installation."""
        done = subprocess.run(
            [str(TWISTD.with_name("authotron")), *words],
            check=False,
            cwd=self.folder,
            env=environment(self.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self) -> Installation:
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(TWISTD.with_name("authotron"))],
                cwd=self.folder,
                env=environment(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self._is_healthy, "healthy", otherwise=(self.folder / "log").read_text)
        return self

    def _is_healthy(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(OSError):
            return wire.ask(self.port, "/health").status == 200
        return False

    def opened(self) -> Installation:
        """Wait until the token store is open."""
        log = self.folder / "log"
        until(lambda: "(mongo) opened" in log.read_text(), "opened", otherwise=log.read_text)
        return self

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(DEADLINE)

    def logged(self, severity: str) -> Sequence[str]:
        """Return the texts of the lines of a severity in the log."""
        lines = map(json.loads, (self.folder / "log").read_text().splitlines())
        return [line["body"] for line in lines if line["severityText"] == severity]


class MoveCase(SynchronousTestCase):
    """Installations in folders of their own."""

    maxDiff = None

    def installation(self, **environ: str) -> Installation:
        return Installation(Path(self.mktemp()), environ)

    def started(self, installation: Installation) -> Installation:
        self.addCleanup(installation.stop)
        return installation.start()

    def nothing_loud(self, installation: Installation, *keys: str) -> None:
        """
        The log has no errors, and no warnings but those about C{keys}, which C{check} and
        C{migrate} show as well.
        """
        warnings = installation.logged("WARN")
        self.assertEqual(installation.logged("ERROR"), [])
        self.assertEqual([each.split(":")[0] for each in warnings], list(keys))
        path = installation.environ.get("AOT_CONFIG_PATH", "config.yaml")
        migrated = installation.run("migrate", "auth-o-tron", path)
        self.assertIn("This file works unchanged", migrated)
        checked = installation.run("check")
        for each in warnings:
            self.assertIn(f"warning: {each}\n", checked)
            self.assertIn(f"# - {each}\n", migrated)

    def decoded(self, answer: wire.Answer) -> dict[str, Any]:
        """
        Decode an answer as the client of auth-o-tron does.

        The client accepts any audience, and requires a user name, a realm, lists and mappings of
        strings, and an expiry that is a whole number.
        """
        self.assertEqual(answer.status, 200)
        scheme, _, token = str(answer.header("authorization")).partition(" ")
        self.assertEqual(scheme, "Bearer")
        options: Any = {"verify_aud": False, "require": ["exp"]}
        claims: dict[str, Any] = jwt.decode(token, SECRET, ["HS256"], options, leeway=5)
        for name, kind in (("username", str), ("realm", str), ("exp", int), ("roles", list)):
            self.assertIsInstance(claims[name], kind)
        self.assertTrue(all(isinstance(each, str) for each in claims["roles"]))
        for values in claims["scopes"].values():
            self.assertIsInstance(values, list)
        return claims

    def authenticated(self, port: int, headers: Mapping[str, str]) -> wire.Answer:
        """Send what the client of auth-o-tron sends."""
        return wire.ask(port, "/authenticate", headers={**headers, "Accept": "*/*"})


class CompleteExampleTests(MoveCase):
    """The complete example, in a container with nginx in front."""

    def complete(self, secret: str = f"{SECRET}\n") -> Installation:
        """Return the installation of the example, whose secret comes from a mounted file."""
        section = shared("mongo").section
        moved = self.installation(
            AOT_STORE__URI=section["uri"],
            AOT_STORE__DATABASE=section["database"],
            AOT_JWT__SECRET=secret,
        )
        moved.environ["AOT_CONFIG_PATH"] = str(moved.write("mounted.yaml", COMPLETE))
        return moved

    def nginx(self, gateway: int) -> int:
        needed("nginx")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        backend = Backend(folder, secret=SECRET)
        self.addCleanup(backend.stop)
        ports = {"gateway": gateway, "backend": backend.start().port, "port": free_port()}
        site = folder / "nginx-auth.conf"
        site.write_text(NGINX % ports)
        place = (str(folder), str(ports["port"]))
        servers.run("nginx", "start", *place, NGINX_SITE=str(site))
        self.addCleanup(servers.run, "nginx", "stop", str(folder))
        return ports["port"]

    def test_behind_nginx(self) -> None:
        """Requests through the example of nginx have the answers that its page shows."""
        moved = self.started(self.complete())
        port = self.nginx(moved.port)
        anonymous = wire.ask(port, "/api/get")
        self.assertEqual(anonymous.status, 302)
        self.assertRegex(str(anonymous.header("location")), r"/authenticate\?redirect=/api/get$")
        wrong = wire.ask(port, "/api/get", headers={"Authorization": wire.basic("admin", "no")})
        self.assertEqual(wrong.status, 302)
        answer = wire.ask(port, "/api/get", headers=ADMIN)
        self.assertEqual(answer.status, 200)
        claims = answer.json()["claims"]
        self.assertEqual(claims["sub"], "internal-admin")
        self.assertEqual(claims["roles"], ["admin", "user", "superuser"])
        self.assertEqual(claims["attributes"], {"department": "engineering"})
        self.assertEqual(wire.ask(port, "/authenticate").status, 401)
        self.assertEqual(self.decoded(self.authenticated(port, GUEST))["roles"], ["readonly"])

    def test_nothing_loud(self) -> None:
        """The log, C{check} and C{migrate} have the same few warnings, each with a reason."""
        moved = self.started(self.complete())
        self.decoded(self.authenticated(moved.port, ADMIN))
        tokens = wire.ask(moved.opened().port, "/tokens", headers=ADMIN)
        self.assertEqual(tokens.json(), {"tokens": []})
        self.nothing_loud(
            moved,
            "jwt.aud",
            "server.host",
            "metrics.host",
            "providers[1]",
            "providers[1]",
            "store.compat",
            "store.pepper",
        )

    def test_mounted_secrets(self) -> None:
        """Blanks and line ends around a secret in a variable are cut, as auth-o-tron cuts them."""
        for secret in (f"{SECRET}\n", f"{SECRET}\r\n", f" \t{SECRET}  \n\n"):
            with self.subTest(repr(secret)):
                moved = self.started(self.complete(secret))
                self.decoded(self.authenticated(moved.port, ADMIN))

    def test_default_path(self) -> None:
        """Without C{AOT_CONFIG_PATH} the file is C{config.yaml} in the working directory."""
        moved = self.complete()
        del moved.environ["AOT_CONFIG_PATH"]
        moved.write("config.yaml", COMPLETE.replace("\n", "\r\n"))
        self.started(moved)
        claims = self.decoded(self.authenticated(moved.port, ADMIN))
        self.assertEqual(claims["iss"], "auth-o-tron.example.com")
        self.assertNotIn("aud", claims)


class HelmTests(MoveCase):
    """The Helm chart: a ConfigMap of the values, and a secret in C{extraEnv}."""

    def chart(self, config: str) -> Installation:
        moved = self.installation(AOT_JWT__SECRET=f"{SECRET}\n")
        moved.environ |= {"AOT_METRICS__ENABLED": "true", "AOT_LOGGING__FORMAT": "json"}
        moved.environ["AOT_CONFIG_PATH"] = str(moved.write("config.yaml", config))
        return moved

    def serves(self, moved: Installation) -> None:
        self.started(moved)
        alice = {"Authorization": wire.basic("admin", "a-password-of-the-values")}
        claims = self.decoded(self.authenticated(moved.port, alice))
        self.assertEqual(claims["sub"], "default-admin")
        self.assertEqual(wire.ask(moved.port, "/health").body, b"OK")
        self.assertEqual(wire.ask(moved.metrics, "/health").body, b"OK")
        metrics = wire.ask(moved.metrics, "/metrics").body.decode()
        series = 'auth_requests_total{realm="default",result="success"}'
        self.assertRegex(metrics, rf"(?m)^{re.escape(series)} 1(\.0)?$")
        self.nothing_loud(moved, "server.host", "metrics.host")

    def test_mapping(self) -> None:
        """A mapping, which Helm writes with sorted keys and without quotes."""
        self.serves(self.chart(yaml.safe_dump(HELM).replace("'2.0.0'", "2.0.0")))

    def test_text(self) -> None:
        """A text, as it was written."""
        self.serves(self.chart(yaml.safe_dump(HELM, sort_keys=False, default_flow_style=None)))


class StoreTests(MoveCase):
    """The database of an auth-o-tron, which authotron shares, and which auth-o-tron gets back."""

    def setUp(self) -> None:
        section = shared("mongo").section
        client: MongoClient[dict[str, Any]] = MongoClient(section["uri"])
        self.addCleanup(client.close)
        self.database = client[section["database"]]
        self.environ = {
            "AOT_STORE__URI": section["uri"],
            "AOT_STORE__DATABASE": section["database"],
            "AOT_JWT__SECRET": SECRET,
        }

    def original(self) -> None:
        """Create the indexes that auth-o-tron creates at each start."""
        self.database["tokens"].create_index("token.token_string", unique=True)
        names = [("user.username", 1), ("user.realm", 1)]
        self.database["users"].create_index(names, unique=True)
        self.database["users"].create_index("user_id", unique=True)

    def issued(self, username: str, *roles: str) -> str:
        """Store a token and its owner as auth-o-tron does, and return the token."""
        owner, token = str(ObjectId()), str(uuid4())
        user = {"version": 1, "realm": "internal", "username": username, "roles": list(roles)}
        user |= {"attributes": {}, "scopes": {}}
        self.database["users"].insert_one({"user_id": owner, "user_version": 1, "user": user})
        kept = {"version": 1, "token_string": token, "scopes": {}}
        self.database["tokens"].insert_one({"user_id": owner, "token_version": 1, "token": kept})
        return token

    def stored(self) -> list[list[dict[str, Any]]]:
        """Return the documents of auth-o-tron."""
        return [[*self.database[name].find({})] for name in ("tokens", "users")]

    def moved(self, text: str = COMPLETE) -> Installation:
        moved = self.installation(**self.environ)
        moved.environ["AOT_CONFIG_PATH"] = str(moved.write("config.yaml", text))
        return self.started(moved).opened()

    def created(self, moved: Installation) -> list[str]:
        """Let both users create an API token, and return the API tokens."""
        answers = [wire.ask(moved.port, "/token", headers=each) for each in (ADMIN, GUEST)]
        self.assertEqual([each.status for each in answers], [200, 200])
        return [each.json()["token"] for each in answers]

    def status(self, moved: Installation, token: str) -> int:
        bearer = {"Authorization": f"Bearer {token}"}
        return int(wire.ask(moved.port, "/whoami", headers=bearer).status)

    def test_there_and_back(self) -> None:
        """
        With tokens of auth-o-tron in the database the gateway starts with a warning, and imports
        them; the documents of auth-o-tron do not change, and its indexes can be created again.
        """
        self.original()
        old = [self.issued("admin", "admin"), self.issued("guest", "readonly")]
        before = self.stored()
        moved = self.moved()
        self.assertEqual([self.status(moved, each) for each in old], [401, 401])
        self.assertIn("holds API tokens of auth-o-tron", moved.logged("WARN")[-1])
        new = self.created(moved)
        moved.stop()
        importing = self.moved(COMPLETE.replace("store:\n", "store:\n  imported: true\n"))
        said = importing.run("tokens", "import", "auth-o-tron", "--from", "config.yaml")
        self.assertIn("2 tokens were copied", said)
        statuses = [self.status(importing, each) for each in (*old, *new)]
        self.assertEqual(statuses, [200] * 4)
        self.assertEqual(self.stored(), before)
        for name in ("tokens", "users"):
            self.database[name].drop_indexes()
        self.original()

    def test_back_from_an_empty_database(self) -> None:
        """A database that authotron used first is good for auth-o-tron, and for authotron again."""
        moved = self.moved()
        new = self.created(moved)
        moved.stop()
        self.original()
        self.issued("admin", "admin")
        self.issued("guest", "readonly")
        again = self.moved()
        self.assertEqual([self.status(again, each) for each in new], [200, 200])
