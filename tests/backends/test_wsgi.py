"""The middleware for any WSGI application, and the integrations of Flask and Django."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Flask
from twisted.trial.unittest import SynchronousTestCase

from authotron.client import flask as authotron_flask
from authotron.client.flask import Authotron
from authotron.client.wsgi import AuthotronMiddleware
from tests.backends.contract import ALICE, FrameworkContract, Headers, Reply, bearer


def environ_of(path: str, headers: Headers) -> dict[str, Any]:
    """The environment of a request; as servers do, repeated headers are joined by commas."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }  # fmt: skip
    for name, value in headers:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def ask(app: Any, path: str, headers: Headers = ()) -> Reply:
    started: list[Any] = []

    def start(status: str, fields: list[tuple[str, str]], *_: Any) -> Any:
        started[:] = [
            int(status.split(maxsplit=1)[0]),
            {name.lower(): value for name, value in fields},
        ]

    content: Iterable[bytes] = app(environ_of(path, headers), start)
    body = b"".join(content)
    return Reply(started[0], started[1], body)


def plain(environ: dict[str, Any], start: Any) -> list[bytes]:
    """Answer with the user."""
    start("200 OK", [])
    user = environ["authotron.user"]
    assert environ.get("REMOTE_USER") == (user.subject if user else None)
    return [user.subject.encode() if user else b"anonymous"]


class WsgiTests(FrameworkContract, SynchronousTestCase):
    """C{authotron.client.wsgi}."""

    def setUp(self) -> None:
        self.make_verifier()

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        roles = ["admin"] if path == "/admin" else []
        app = AuthotronMiddleware(plain, self.verifier, roles=roles, optional=path == "/open")
        return ask(app, path, headers)

    def test_exclude(self) -> None:
        """Paths that are excluded need no user; what only looks like one does."""
        app = AuthotronMiddleware(plain, self.verifier, exclude=["/health", "/static/"])
        for path in ("/health", "/static/a/b"):
            self.assertEqual(ask(app, path).body, b"anonymous")
        for path in ("/healthy", "/static/../x", "/static//x", "/"):
            self.assertEqual(ask(app, path).status, 401, path)

    def test_server_variables(self) -> None:
        """What the server says about the user does not reach the application."""
        environ = {**environ_of("/", []), "REMOTE_USER": "root", "authotron.user": "root"}
        app: Any = AuthotronMiddleware(plain, self.verifier, optional=True)
        self.assertEqual(list(app(environ, lambda *_: None)), [b"anonymous"])


class FlaskTests(FrameworkContract, SynchronousTestCase):
    """C{authotron.client.flask}."""

    def setUp(self) -> None:
        self.make_verifier()

    def app(self) -> Flask:
        auth, app = Authotron(verifier=self.verifier), Flask("service")
        auth.init_app(app)

        @app.get("/")
        @auth.required()
        def read() -> str:
            return authotron_flask.current_user.subject

        @app.get("/admin")
        @auth.required("admin")
        def manage() -> str:
            return authotron_flask.current_user.subject

        @app.get("/open")
        def look() -> str:
            user = auth.optional_user()
            return user.subject if user else "anonymous"

        area = Blueprint("area", __name__, url_prefix="/area")

        @area.get("/")
        def inside() -> str:
            return authotron_flask.current_user.username

        auth.protect(area, "reader", scopes=("read",))
        app.register_blueprint(area)
        return app

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        return ask(self.app(), path, headers)

    def test_blueprint(self) -> None:
        """A blueprint can need a user for all of its views."""
        self.assertEqual(self.ask("/area/").status, 401)
        self.assertEqual(self.ask("/area/", bearer(self.gateway.mint(ALICE))).body, b"alice")
        without = self.gateway.mint(ALICE, scopes={})
        self.assertEqual(self.ask("/area/", bearer(without)).status, 403)

    def test_configuration(self) -> None:
        """Without a verifier the extension makes one of the configuration of the application."""
        app = Flask("service")
        app.config["AUTHOTRON_ISSUER"] = self.gateway.issuer
        app.config["AUTHOTRON_SECRET"] = "a-secret-that-is-long-enough"
        auth = Authotron(app)

        @app.get("/")
        @auth.required()
        def read() -> str:
            return "x"

        self.assertEqual(ask(app, "/").status, 401)
