"""Credentials in other parts of a request than C{Authorization}, through real proxies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.functional import wire
from tests.functional.daemon import USERS, Daemon, free_port
from tests.functional.proxies.shipped import ETC, Nginx
from tests.functional.proxy import ROOT, Backend
from tests.functional.test_apache import ApacheCase, fastcgi
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

    def check_carriers(self) -> None:
        """Each carrier authenticates, and its credential does not reach the backend."""
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
            shown = str({key: each for key, each in found.items() if key != "claims"})
            for secret in (KEY, SESSION, GIT):
                self.assertNotIn(secret, shown)
            if ("Cookie", COOKIES) in headers:
                [cookies] = found["headers"]["cookie"]
                self.assertEqual([*map(str.strip, cookies.split(";"))], ["a=b", "c=d"])

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


class BehindNginxTests(CarriersMixin, EnvoyCase):
    """nginx with the lines of docs/proxies.md."""

    def nginx_changes(self) -> Mapping[str, str]:
        """Return the changes to the example that the page shows."""
        page = (ROOT / "docs/proxies.md").read_text()
        [block] = re.findall(r"```nginx\n(map \$http_cookie.*?)```", page, re.DOTALL)
        cookies, _, rest = block.partition("server {")
        passed, asking = re.findall(r"location [^{]*\{\n(.*?)    \}", rest, re.DOTALL)
        asking = asking.replace("proxy_pass_request_headers off;", "")
        assert (passed + asking).count("proxy_set_header") == 4
        first = "# The service that is protected.\n"
        to_backend = "    proxy_set_header X-Request-ID      $request_id;\n"
        to_gateway = "        proxy_set_header X-Request-ID  $request_id;\n"
        text = (ETC / "nginx/authotron.conf").read_text()
        assert to_backend in text
        return {
            first: cookies + first,
            to_backend: passed + to_backend,
            to_gateway: asking + to_gateway,
        }

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        backend = Backend(self.folder).start()
        self.addCleanup(backend.stop)
        daemon = Daemon(self.folder / "gateway").configure(providers=PROVIDERS).start()
        self.addCleanup(daemon.stop)
        changes = self.nginx_changes()
        nginx = Nginx(self.folder / "nginx", daemon.port, backend.port, changes).start()
        self.addCleanup(nginx.stop)
        self.port = nginx.port

    def test_carriers_T27g(self) -> None:
        """The proxy removes header and cookie; other cookies stay."""
        self.check_carriers()

    def test_refusals_T27b_T27c(self) -> None:
        """
        What stands twice is refused. nginx before 1.23 passes on only the first header, and joins
        cookies by semicolons.
        """
        self.check_refusals()


class BehindApacheTests(CarriersMixin, ApacheCase):
    """Apache, which asks by FastCGI."""

    def test_carriers_T27g(self) -> None:
        """Apache passes header, cookie and query on to the gateway, and removes what it is told."""
        port = free_port()
        daemon = Daemon(self.folder / "gateway").configure(
            server=fastcgi(port), providers=PROVIDERS
        )
        self.addCleanup(daemon.start().stop)
        after = "    RequestHeader unset X-Forwarded-Host\n"
        cookie = r"(^|;\s*)__Host-session=[^;]*;?\s*"
        more = f'    RequestHeader unset X-API-Key\n    RequestHeader edit Cookie "{cookie}" "$1"\n'
        self.serve(port, **{after: after + more})
        self.check_carriers()
        self.check_refusals(*JOINED)
