"""Credentials in other parts of a request than C{Authorization}, through real proxies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli.main import main
from tests.functional import wire
from tests.functional.daemon import USERS, Daemon, free_port
from tests.functional.proxies import envoy, shipped
from tests.functional.proxies.shipped import Proxy
from tests.functional.proxy import Backend
from tests.functional.test_envoy import EnvoyCase, grpc

KEY, SESSION, LINK, GIT = (letter * 40 for letter in "kslg")


def tokens(name: str, token: str, credentials: Any) -> dict[str, Any]:
    user = [{"token": token, "username": name}]
    fields = {"name": name, "realm": "here", "tokens": user, "credentials": credentials}
    return {"type": "static-token", **fields}


PROVIDERS = [
    {"name": "local", "type": "plain", "realm": "here", "users": list(USERS)},
    tokens("key", KEY, {"header": "X-API-Key"}),
    tokens("session", SESSION, {"cookie": "__Host-session"}),
    tokens("link", LINK, {"query": "link"}),
    tokens("git", GIT, {"basic": "password"}),
]
COOKIES = f"a=b; __Host-session={SESSION}; c=d"

JOINED = (
    [("X-API-Key", KEY), ("X-API-Key", "x")],
    [("Cookie", "a=b"), ("Cookie", f"__Host-session={SESSION}")],
)
"""Headers that most proxies join by commas."""


class CarriersMixin:
    """What holds behind every proxy; C{self.port} is that of the proxy."""

    port: int
    assertEqual: Any
    assertNotIn: Any

    def asked(self, *headers: tuple[str, str], path: str = "/") -> Any:
        answer = wire.ask(self.port, path, headers)
        return answer.json() if answer.status == 200 else answer.status

    def check_carriers(self, cookies: str = "a=b; c=d") -> None:
        """
        Each carrier authenticates, and its credential does not reach the backend.

        @param cookies: the cookies that the backend gets.
        """
        for name, headers, path in (
            ("key", [("X-API-Key", KEY)], "/"),
            ("session", [("Cookie", COOKIES)], "/"),
            ("link", [], f"/x?a=b&link={LINK}&c=d"),
            ("git", [("Authorization", wire.basic("x", GIT))], "/"),
            ("key", [("X-API-Key", KEY), ("Cookie", COOKIES)], "/"),
            ("key", [("X-API-Key", KEY), ("Authorization", "AWS4 a=b, c=d, e=f, g=h")], "/"),
        ):
            found = self.asked(*headers, path=path)
            self.assertEqual(found["claims"]["sub"], f"here-{name}")
            headers_of_backend = found["headers"]
            if ("Cookie", COOKIES) in headers:
                [kept] = headers_of_backend.pop("cookie")
                self.assertEqual(re.sub(r"\s*;\s*", "; ", kept), cookies)
            for secret in (KEY, SESSION, GIT):
                self.assertNotIn(secret, str(headers_of_backend))

    def check_refusals(self, *more: Sequence[tuple[str, str]]) -> None:
        """What stands twice is refused, however the proxy joins it, beside a good password."""
        good = ("Authorization", wire.basic("alice", "wonder"))
        session = f"__Host-session={SESSION}"
        for headers in (
            [("X-API-Key", "x")],
            [("X-API-Key", f"{KEY}, {KEY}")],
            [("X-API-Key", "x"), ("X-API-Key", KEY)],
            [("Cookie", f"{session}; {session}")],
            *more,
        ):
            self.assertEqual(self.asked(*headers, good), 401)
        self.assertEqual(self.asked(good, path=f"/?link={LINK}&link={LINK}"), 401)
        self.assertEqual(self.asked(good)["claims"]["sub"], "here-alice")


class BehindEnvoyTests(CarriersMixin, EnvoyCase):
    """Envoy, which asks by gRPC, and removes what the gateway names."""

    def test_carriers_T27g(self) -> None:
        """Envoy removes header, cookie and parameter; other cookies and parameters stay."""
        self.serve_all(providers=PROVIDERS)
        self.check_carriers()
        self.assertEqual(self.asked(path=f"/x?a=b&link={LINK}&c=d")["path"], "/x?a=b&c=d")

    def test_refusals_T27b_T27c(self) -> None:
        """What Envoy joins by commas is refused."""
        self.serve_all(providers=PROVIDERS)
        self.check_refusals(*JOINED)

    def test_authorization_of_the_backend(self) -> None:
        """A backend keeps its own C{Authorization}, if the JWT stands in another header."""
        port = free_port()
        answers = {"profile": "custom", "custom": {"X-JWT": "{jwt}"}}
        daemon = Daemon(self.folder / "gateway").configure(
            server={**grpc(port), "answers": answers},
            providers=[tokens("key", KEY, {"header": "X-API-Key"}), *PROVIDERS[1:2]],
        )
        self.addCleanup(daemon.start().stop)
        other = (
            Daemon(self.folder / "other").configure().start()
        )  # its JWT is what the backend wants
        self.addCleanup(other.stop)
        own = wire.login(other.port, "alice", "wonder", "/authenticate").header("Authorization")
        assert own is not None
        self.serve(port)
        found = self.asked(("X-API-Key", KEY), ("Authorization", own))
        self.assertEqual(found["claims"]["sub"], "here-alice")
        self.assertEqual([each[:2] for each in found["headers"]["x-jwt"]], ["ey"])
        self.assertNotIn("x-api-key", found["headers"])


class GeneratedTests(CarriersMixin, SynchronousTestCase):
    """Every proxy with the configuration that C{authotron proxy-config} prints."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.backend = Backend(self.folder).start()
        self.addCleanup(self.backend.stop)
        listen = [f"{each}:tcp:{free_port()}:interface=127.0.0.1" for each in ("fastcgi", "grpc")]
        self.daemon = Daemon(self.folder / "gateway").configure(
            server={"listen": listen}, providers=PROVIDERS
        )
        self.addCleanup(self.daemon.start().stop)

    def serve(self, kind: type[Proxy]) -> str:
        """Start a proxy with its configuration; return what is printed about it."""
        folder, port = self.folder / kind.server, free_port()
        config = ["-c", str(self.daemon.folder / "config.yaml"), "--write", str(folder)]
        places = ["--listen", f"127.0.0.1:{port}", "--backend", f"127.0.0.1:{self.backend.port}"]
        words = ["proxy-config", kind.server, *config, *places]
        done = CliRunner().invoke(main, words)
        self.assertEqual(done.exit_code, 0, done.output)
        made = type("Generated", (kind,), {"texts": lambda _: {}})
        proxy = made(folder, 0, 0, port=port).start()
        self.addCleanup(proxy.stop)
        self.port = port
        return done.output

    def test_nginx_T27g(self) -> None:
        """Nginx before 1.23 passes on only the first header, and joins cookies by semicolons."""
        self.serve(shipped.Nginx)
        self.check_carriers()
        self.check_refusals()

    def test_apache_T27g(self) -> None:
        """Apache, which asks by FastCGI."""
        self.serve(shipped.Apache)
        self.check_carriers()
        self.check_refusals(*JOINED)

    def test_caddy_T27g(self) -> None:
        """Caddy."""
        self.serve(shipped.Caddy)
        self.check_carriers()
        self.check_refusals(*JOINED)

    def test_haproxy_T27g(self) -> None:
        """HAProxy."""
        self.serve(shipped.HAProxy)
        self.check_carriers()
        self.check_refusals(*JOINED)

    def test_traefik_T27g(self) -> None:
        """Traefik, which cannot remove one cookie, as C{proxy-config} says."""
        output = self.serve(shipped.Traefik)
        self.assertIn("the cookie __Host-session reaches the backend", output)
        self.check_carriers(COOKIES)
        self.check_refusals(*JOINED)

    def test_envoy_T27g(self) -> None:
        """Envoy, which asks by gRPC."""
        self.serve(envoy.Envoy)
        self.check_carriers()
        self.check_refusals(*JOINED)
