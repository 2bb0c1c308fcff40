"""What a configuration of the gateway means for a proxy."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from authotron.config.endpoint import GRPC, HTTP
from authotron.config.server import Server
from authotron.model.errors import ConfigError
from authotron.proxy_config import rendering, setting
from authotron.proxy_config.addresses import Address, Kind, reachable
from authotron.proxy_config.setting import Deployment, Setting
from tests.proxy_examples import gateway

ALL: tuple[Kind, ...] = ("tcp", "tls", "unix")


class AddressesTests(SynchronousTestCase):
    """Where a proxy on the same machine reaches the gateway."""

    def test_port(self) -> None:
        """A port at every address is asked at the loopback address."""
        for host, expected in (
            ("0.0.0.0", "127.0.0.1:8080"),
            ("::", "127.0.0.1:8080"),
            ("10.1.2.3", "10.1.2.3:8080"),
            ("::1", "[::1]:8080"),
        ):
            found = reachable(Server(host=host, port=8080), HTTP, ALL)
            self.assertEqual(str(found), expected)

    def test_listen(self) -> None:
        """The first endpoint counts that a proxy can connect to."""
        listen = (
            "haproxy:tcp:8070",
            "grpc:tcp:9191",
            "unix:/run/a.sock:mode=660",
            "tcp6:8090:interface=\\:\\:1",
            "tcp:port=8091:interface=127.0.0.2",
            "tcp:8092:127.0.0.3",
        )
        server = Server(listen=listen)
        self.assertEqual(reachable(server, HTTP, ALL), Address(path="/run/a.sock"))
        self.assertEqual(reachable(server, HTTP, ("tcp",)), Address("::1", 8090))
        self.assertEqual(reachable(server, GRPC, ALL), Address("127.0.0.1", 9191))
        rest = Server(listen=listen[4:])
        self.assertEqual(reachable(rest, HTTP, ("tcp",)), Address("127.0.0.2", 8091))
        self.assertEqual(
            reachable(Server(listen=listen[5:]), HTTP, ("tcp",)), Address("127.0.0.3", 8092)
        )
        self.assertIsNone(reachable(server, GRPC, ("unix",)))


class SettingTests(SynchronousTestCase):
    """What the templates are filled with."""

    def made(self, proxy: str, decision: float = 5, **server: Any) -> Setting:
        listen = {"host": "127.0.0.1", "port": 8080}
        is_legacy = "profile" not in server.get("answers", {})
        built = gateway(server={**listen, **server}, include_legacy_headers=is_legacy)
        return evolve(setting.make(built, proxy, Deployment()), decision=decision)

    def whole(self, proxy: str, **sections: Any) -> str:
        """Return the text of all files for a gateway with other sections."""
        found = setting.make(gateway(**sections), proxy, Deployment())
        return "\n".join(rendering.files(proxy, found).values())

    def text(self, proxy: str, decision: float = 5, **server: Any) -> str:
        return "\n".join(rendering.files(proxy, self.made(proxy, decision, **server)).values())

    def test_time(self) -> None:
        """A proxy waits for longer than a decision may take."""
        self.assertEqual(self.made("nginx", 5).within(15), 15)
        self.assertEqual(self.made("nginx", 20.5).within(15), 23)
        for proxy, expected in (
            ("nginx", "proxy_read_timeout 32s;"),
            ("caddy", "response_header_timeout 32s"),
            ("haproxy", "local TIMEOUT = 32000"),
            ("envoy", "timeout: 32s"),
            ("apache", "local SECONDS = 32"),
        ):
            with self.subTest(proxy):
                self.assertIn(expected, self.text(proxy, 30))

    def test_headers_of_the_contract(self) -> None:
        """The proxy states the request in the headers that the configuration names."""
        contracts = [{"type": "nginx", "headers": {"path": "X-Mine", "certificate": "X-Cert"}}]
        forwarded = {"host": "X-Real-Host", "address": "X-Real-Ip"}
        text = self.text("nginx", contracts=contracts, forwarded=forwarded)
        for line in (
            "proxy_set_header X-Mine $request_uri;",
            "proxy_set_header X-Cert $ssl_client_escaped_cert;",
            "proxy_set_header X-Real-Host $host;",
            "proxy_set_header X-Real-Ip $remote_addr;",
        ):
            self.assertIn(f"        {line}\n", text)
        self.assertNotIn("X-Original-URI $", text)

    def test_forwarded(self) -> None:
        """If the gateway reads C{Forwarded}, nginx sends it, once."""
        forwarded = {"host": "Forwarded", "address": "Forwarded"}
        text = self.text("nginx", forwarded=forwarded)
        line = """proxy_set_header Forwarded 'for=$authotron_node;host="$host"';\n"""
        self.assertEqual(text.count(line), 1)
        self.assertIn("map $remote_addr $authotron_node", text)

    def test_name_of_a_header_with_a_meaning(self) -> None:
        """A header whose name nginx would read as a variable is a problem."""
        contracts = [{"type": "nginx", "headers": {"path": "X-$host"}}]
        with self.assertRaises(ConfigError):
            self.made("nginx", contracts=contracts)

    def test_unix(self) -> None:
        """A proxy that can asks at a UNIX socket."""
        listen = ["unix:/run/a.sock:mode=660", "grpc:unix:/run/g.sock:mode=660"]
        for proxy, expected in (
            ("nginx", "server unix:/run/a.sock;"),
            ("caddy", "forward_auth unix//run/a.sock {"),
            ("haproxy", '"unix@/run/a.sock"'),
            ("envoy", "pipe: {path: /run/g.sock}"),
        ):
            with self.subTest(proxy):
                self.assertIn(expected, self.text(proxy, host="::", port=None, listen=listen))

    def test_profile(self) -> None:
        """The backend gets the headers of the configured profile, and none of another one."""
        answers = {"profile": "custom", "custom": {"X-User": "{sub}", "X-Team": "{roles}"}}
        for proxy, expected in (
            ("nginx", "proxy_set_header X-Team            $authotron_header_x_team;"),
            ("apache", "RequestHeader set X-Team          expr=%{reqenv:X_Team}"),
            ("caddy", "copy_headers Authorization X-User X-Team\n"),
            ("haproxy", '{ "authorization", "x-user", "x-team" }'),
            ("traefik", "authResponseHeaders: [Authorization, X-User, X-Team, X-Auth-Username,"),
            ("envoy", "patterns: [{exact: authorization}, {exact: x-user}, {exact: x-team}]"),
        ):
            with self.subTest(proxy):
                self.assertIn(expected, self.text(proxy, answers=answers))

    def test_path_header_T19(self) -> None:
        """The backend gets the header that states the path of the answer."""
        answers = {"profile": "jwt", "path_header": "X-Path"}
        for proxy, expected in (
            ("nginx", "proxy_set_header X-Path            $authotron_header_x_path;"),
            ("nginx", "proxy_set_header X-Original-URI $request_uri;"),
            ("apache", "RequestHeader set X-Path          expr=%{reqenv:X_Path}"),
            ("caddy", "copy_headers Authorization X-Path\n"),
            ("haproxy", '{ "authorization", "x-path" }'),
            ("traefik", "authResponseHeaders: [Authorization, X-Path, X-Auth-Username,"),
            ("envoy", "patterns: [{exact: authorization}, {exact: x-path}]"),
        ):
            with self.subTest(proxy):
                self.assertIn(expected, self.text(proxy, answers=answers))

    def test_removal_of_other_profiles_T93c(self) -> None:
        """A header that the gateway does not send is removed from requests, in any profile."""
        for profile in ("jwt", "remote-user", "auth-request"):
            for proxy, expected in (
                ("nginx", 'proxy_set_header X-Auth-Roles      "";'),
                ("apache", "RequestHeader unset X-Auth-Roles\n"),
                ("caddy", "request_header -X-Auth-Roles\n"),
                ("haproxy", "del-header x-auth- -m beg\n"),
                ("traefik", "X-Auth-Roles"),
            ):
                with self.subTest(f"{profile} {proxy}"):
                    self.assertIn(expected, self.text(proxy, answers={"profile": profile}))

    def test_underscores_behind_traefik_T93c(self) -> None:
        """Traefik removes the spellings with underscores in every profile, and each name once."""
        for profile in ("legacy", "jwt", "remote-user", "auth-request"):
            for proxy in ("traefik", "kubernetes-traefik"):
                with self.subTest(f"{profile} {proxy}"):
                    text = self.text(proxy, answers={"profile": profile})
                    names = re.findall(r'^ +([A-Za-z_-]+): ""$', text, re.MULTILINE)
                    self.assertEqual([each for each, n in Counter(names).items() if n > 1], [])
                    for name in ("X_Auth_Roles", "X_Auth-Roles", "X-Auth_Realm", "Remote_User"):
                        self.assertIn(name, names)

    def test_sent_and_not_removed(self) -> None:
        """What the gateway sends is not removed after it."""
        for proxy, removal in (
            ("nginx", 'header Remote-User "";'),
            ("apache", "unset Remote-User"),
            ("envoy", " remote-user, "),
        ):
            text = self.text(proxy, answers={"profile": "remote-user"})
            self.assertNotIn(removal, text)
            self.assertIn(removal, self.text(proxy))

    def test_size_of_answers(self) -> None:
        """The buffers of nginx hold the largest answer that the gateway sends."""
        answers = {"contracts": {"nginx": {"max_head_bytes": 200_000}}}
        self.assertIn("proxy_buffer_size 196k;", self.text("nginx", answers=answers))
        self.assertIn("proxy_buffer_size 64k;", self.text("nginx"))

    def test_error_headers(self) -> None:
        """With C{error_headers} nginx answers with the status that the gateway states."""
        answers = {"contracts": {"nginx": {"error_headers": True}}}
        self.assertIn("return 503 $authotron_error_body;", self.text("nginx", answers=answers))
        self.assertNotIn("error_body", self.text("nginx"))

    def test_preflights_are_answered(self) -> None:
        """The proxy answers the preflights of the configured origins."""
        cors = {"origins": ["https://app.example.org", "https://b.example:8443"]}
        for proxy, expected in (
            ("nginx", '    "https://b.example:8443" $http_origin;\n'),
            ("apache", '"^(https://app[.]example[.]org|https://b[.]example:8443)$"'),
            ("caddy", "header Origin https://b.example:8443\n"),
            ("haproxy", "req.hdr(origin) -m str https://app.example.org https://b.example:8443\n"),
            ("traefik", '- "https://b.example:8443"\n'),
            ("envoy", '- {exact: "https://b.example:8443"}\n'),
        ):
            with self.subTest(proxy):
                self.assertIn(expected, self.whole(proxy, cors=cors))
                self.assertNotIn("b.example", self.whole(proxy))

    def test_preflights_pass(self) -> None:
        """The proxy passes preflights on without an identity, and without asking."""
        for proxy, expected in (
            (
                "nginx",
                "no answer of the gateway sets them here.\n        proxy_pass http://backend;",
            ),
            ("apache", "Require expr \"%{REQUEST_METHOD} == 'OPTIONS'"),
            ("caddy", "handle @authotron_preflight {\n\t\t\trequest_header -Authorization\n"),
            ("haproxy", "http-request del-header Authorization if METH_OPTIONS"),
            ("traefik", "middlewares: [authotron-clean, authotron-anonymous]"),
            ("envoy", "request_headers_to_remove: [authorization, x-auth-username,"),
        ):
            with self.subTest(proxy):
                self.assertIn(expected, self.whole(proxy, cors={"pass_preflights": True}))
                self.assertNotIn(expected, self.whole(proxy))

    def test_preflights_pass_without_identity_S_PREFLIGHT(self) -> None:
        """A preflight that passes has no header that the gateway sets, however it is configured."""
        answers = {"profile": "custom", "custom": {"X-Who": "{username}"}, "path_header": "X-Path"}
        over: dict[str, Any] = {
            "cors": {"pass_preflights": True},
            "include_legacy_headers": False,
            "server": {"port": 8080, "answers": answers},
        }
        for proxy, line in (
            ("nginx", r"proxy_set_header {} +\$authotron_header_"),
            ("apache", "RequestHeader set {} +expr="),
            ("caddy", "\t\t\trequest_header -{}\n"),
            ("haproxy", "del-header {} if METH_OPTIONS"),
            ("traefik", '          {}: ""\n'),
            ("envoy", "request_headers_to_remove: .*{}"),
        ):
            text = self.whole(proxy, **over)
            for name in ("X-Who", "X-Path"):
                with self.subTest(f"{proxy}: {name}"):
                    self.assertRegex(text, f"(?i){line.format(name)}")

    def test_credentials_T27g(self) -> None:
        """
        Credentials in other parts of a request reach the gateway, and no service: where the proxy
        cannot remove a cookie, the advice says it.
        """
        credentials = [{"header": "X-API-Key"}, {"cookie": "__Host-s"}]
        store = {"type": "memory", "credentials": credentials}
        for proxy, expected in (
            ("nginx", "proxy_set_header X-API-Key $http_x_api_key;"),
            ("nginx", 'proxy_set_header X-API-Key         "";'),
            ("nginx", "proxy_set_header Cookie            $authotron_cookies_1;"),
            ("apache", "RequestHeader unset X-API-Key"),
            ("apache", "RequestHeader edit* Cookie"),
            ("caddy", "request_header -X-API-Key"),
            ("caddy", "request_header Cookie `"),
            ("haproxy", "http-request del-header X-API-Key"),
            ("haproxy", 'headers["X-API-Key"] = found'),
            ("haproxy", "http-request replace-header Cookie"),
            (
                "traefik",
                "authRequestHeaders: [Authorization, X-Auth-Realm, X-Request-ID, X-API-Key, ",
            ),
            ("traefik", 'X-API-Key: ""'),
        ):
            with self.subTest(f"{proxy} {expected}"):
                self.assertIn(expected, self.whole(proxy, store=store))
                self.assertNotIn(expected, self.whole(proxy))

    def test_strange_cookie(self) -> None:
        """A cookie whose name has a meaning in the language of a proxy is a problem."""
        store = {"type": "memory", "credentials": {"cookie": "a$b"}}
        with self.assertRaises(ConfigError):
            self.whole("nginx", store=store)
