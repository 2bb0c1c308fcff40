"""Certificates of clients, through real proxies with the output of proxy-config."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import yaml
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli.main import main
from tests.certificates import Authority as Servers
from tests.functional import wire
from tests.functional.daemon import USERS, Daemon, free_port
from tests.functional.proxies import envoy, shipped
from tests.functional.proxies.shipped import Proxy
from tests.functional.proxy import Backend
from tests.functional.wire import Answer
from tests.mtls.issuing import Authority, der, key, named, pem, root
from tests.waiting import DEADLINE

DATES: dict[str, Any] = {
    "begin": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    "end": dt.datetime(2120, 1, 1, tzinfo=dt.UTC),
}
ROOT, STRANGER = root("clients", **DATES), root("stranger", **DATES)
BETWEEN = ROOT.authority("between", **DATES)

Change = Callable[[str, Path], str]
"""Changes a configuration: its listener uses TLS, by the file with certificate and key."""


def client(by: Authority = ROOT, name: str = "robot") -> x509.Certificate:
    return by.issue(subject=named(name), **DATES)


ROBOT, ADA = client(), client(name="ada")


def of_nginx(text: str, server: Path) -> str:
    tls = f"ssl; ssl_certificate {server}; ssl_certificate_key {server};"
    return replaced(text, r":PORT;", f":PORT {tls}")


def of_caddy(text: str, server: Path) -> str:
    tls = f"tls {server} {server} {{\nclient_auth {{\nmode request\n}}\n}}"
    return replaced(text, "http://:PORT {", f"https://localhost:PORT {{\n{tls}")


def of_haproxy(text: str, server: Path) -> str:
    authorities = server.parent / "clients.pem"
    asks = f"verify optional ca-file {authorities} ca-ignore-err all crt-ignore-err all"
    return replaced(text, "bind 127.0.0.1:PORT", f"bind 127.0.0.1:PORT ssl crt {server} {asks}")


def of_apache(text: str, server: Path) -> str:
    tls = (
        f"SSLEngine on\nSSLCertificateFile {server}\nSSLCertificateKeyFile {server}\n"
        "SSLVerifyClient optional_no_ca\nSSLVerifyDepth 5"
    )
    module = "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n"
    opening = "<VirtualHost 127.0.0.1:PORT>"
    return module + replaced(text, opening, f"{opening}\n{tls}")


def of_traefik(text: str, server: Path) -> str:
    if "entryPoints:\n  web:" in text:
        return text
    content = yaml.safe_load(text)
    service = content["http"]["routers"]["service"]
    # The script that starts Traefik asks without TLS whether it is ready.
    content["http"]["routers"]["ready"] = dict(service)
    service["tls"] = {}
    content["tls"] = {
        "certificates": [{"certFile": str(server), "keyFile": str(server)}],
        "options": {"default": {"clientAuth": {"clientAuthType": "RequestClientCert"}}},
    }
    return yaml.safe_dump(content)


def of_envoy(text: str, server: Path) -> str:
    content = yaml.safe_load(text)
    file = {"filename": str(server)}
    context = {
        "@type": "type.googleapis.com/"
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": file, "private_key": file}],
            "validation_context": {
                "trusted_ca": {"filename": str(server.parent / "clients.pem")},
                "trust_chain_verification": "ACCEPT_UNTRUSTED",
            },
        },
    }
    [chain] = content["static_resources"]["listeners"][0]["filter_chains"]
    chain["transport_socket"] = {"name": "tls", "typed_config": context}
    return yaml.safe_dump(content)


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


class CertificatesMixin:
    """
    A gateway, a backend, and a proxy that asks its clients for certificates.

    @cvar sections: further sections of the configuration of the gateway.
    @cvar further: further providers.
    """

    sections: Mapping[str, Any] = MappingProxyType({})
    further: Sequence[Mapping[str, Any]] = ()

    contract = ""
    header = "X-SSL-Client-Cert"
    listen: Sequence[str] = ()
    assertEqual: Any
    assertIn: Any
    assertNotIn: Any
    addCleanup: Any
    mktemp: Any

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.folder.parent.chmod(0o755)  # the workers of Apache run as another account
        (self.folder / "clients.pem").write_bytes(ROOT.pem)
        servers = Servers(self.folder / "servers").found()
        self.trusted = servers.file
        self.server = servers.issue("localhost").rename(self.folder / "server.pem")
        self.backend = Backend(self.folder).start()
        self.addCleanup(self.backend.stop)

    def serve(self, kind: type[Proxy], change: Change, *changes: tuple[str, str]) -> None:
        """Start a gateway, and a proxy with the configuration that is printed for it."""
        listen = [f"{each}:tcp:{free_port()}:interface=127.0.0.1" for each in self.listen]
        contract = {"type": self.contract or kind.server, "headers": {"certificate": self.header}}
        mtls = {"type": "mtls", "name": "machines", "realm": "machines"}
        self.daemon = Daemon(self.folder / "gateway").configure(
            server={
                "listen": listen,
                "trusted_proxies": ["127.0.0.1"],
                "contracts": [contract],
                "answers": {"path_header": "X-Path"},
            },
            providers=[
                {"name": "local", "type": "plain", "realm": "here", "users": list(USERS)},
                {**mtls, "ca_file": str(self.folder / "clients.pem")},
                *self.further,
            ],
            **self.sections,
        )
        self.addCleanup(self.daemon.start().stop)
        folder, self.port = self.folder / kind.server, free_port()
        config = ["-c", str(self.daemon.folder / "config.yaml"), "--write", str(folder)]
        places = [
            "--listen",
            f"127.0.0.1:{self.port}",
            "--backend",
            f"127.0.0.1:{self.backend.port}",
        ]
        done = CliRunner().invoke(main, ["proxy-config", kind.server, *config, *places])
        self.assertEqual(done.exit_code, 0, done.output)
        for number, file in enumerate(kind.files):
            path = folder / Path(file).name
            text = path.read_text().replace(f":{self.port}", ":PORT")
            if number == 0 or kind is shipped.Traefik:
                text = change(text, self.server)
            for old, new in changes:
                text = text.replace(old, new)
            path.write_text(text.replace(":PORT", f":{self.port}"))
        made = type("Generated", (kind,), {"texts": lambda _: {}})
        proxy = made(folder, 0, 0, port=self.port).start()
        self.addCleanup(proxy.stop)

    def ask(
        self, headers: Sequence[tuple[str, str]] = (), *chain: x509.Certificate
    ) -> Answer | None:
        """Send a request by TLS, with a certificate if one is given."""
        context = ssl.create_default_context(cafile=str(self.trusted))
        if chain:
            file = self.folder / "client.pem"
            form = serialization.PrivateFormat.PKCS8
            raw = key("client").private_bytes(
                serialization.Encoding.PEM, form, serialization.NoEncryption()
            )
            file.write_text(pem(*chain) + raw.decode())
            context.load_cert_chain(file)
        plain = socket.create_connection(("127.0.0.1", self.port), DEADLINE)
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            fields = [*headers, ("Connection", "close")]
            connection.sendall(wire.head("/", fields, host="localhost"))
            return wire.receive(connection)

    def subject(
        self, headers: Sequence[tuple[str, str]] = (), *chain: x509.Certificate
    ) -> str | int:
        """Return the subject that the backend gets, or the status of a refusal."""
        answer = self.ask(headers, *chain)
        assert answer is not None
        if answer.status != 200:
            return answer.status
        found = answer.json()
        # What carries the credential does not reach the backend.
        self.assertNotIn("BEGIN", str(found["headers"]))
        self.assertNotIn(self.header.lower(), found["headers"])
        subject: str = found["claims"]["sub"]
        return subject

    def check(self) -> None:
        """A certificate authenticates, and no header of a client does, whatever its form."""
        password = ("Authorization", wire.basic("alice", "wonder"))
        self.assertEqual(self.subject((), ROBOT), "machines-robot")
        self.assertEqual(self.subject((), ADA), "machines-ada")
        self.assertEqual(self.subject((), client(STRANGER)), 401)
        self.assertEqual(self.subject(), 401)
        self.assertEqual(self.subject([password], ROBOT), "here-alice")
        self.assertEqual(self.subject([password]), "here-alice")
        base64 = b64encode(der(ADA)).decode()
        for value in (quote(pem(ADA)), base64, f":{base64}:", f'Cert="{quote(pem(ADA))}"'):
            for name in (self.header, self.header.lower(), *OTHERS):
                # Envoy and Apache refuse names with underscores themselves.
                odd = {400, 403} if "_" in name else set[object]()
                self.assertIn(self.subject([(name, value)]), {401, *odd}, name)
                self.assertIn(self.subject([(name, value)], ROBOT), {"machines-robot", *odd}, name)
            twice = [(self.header, value)] * 2
            self.assertEqual(self.subject(twice), 401)


OTHERS = ("X_SSL_Client_Cert", "Client-Cert", "X-Forwarded-Client-Cert", "Client-Cert-Chain")
"""Headers in which other proxies state a certificate, or that look like that of this proxy."""


class NginxTests(CertificatesMixin, SynchronousTestCase):
    """nginx."""

    def test_optional_no_ca_S_MTLSHEADER(self) -> None:
        """Every client may have a certificate, which the gateway alone verifies."""
        self.serve(shipped.Nginx, of_nginx)
        self.check()
        self.assertEqual(self.subject((), client(BETWEEN), BETWEEN.certificate), 401)

    def test_on_S_MTLSHEADER(self) -> None:
        """Nginx itself refuses clients without a certificate of the authority."""
        authorities = f"ssl_client_certificate {self.folder / 'clients.pem'};"
        optional = "ssl_verify_client optional_no_ca;"
        self.serve(shipped.Nginx, of_nginx, (optional, f"ssl_verify_client on; {authorities}"))
        self.assertEqual(self.subject((), ROBOT), "machines-robot")
        self.assertEqual(self.subject([(self.header, quote(pem(ADA)))], ROBOT), "machines-robot")
        self.assertEqual(self.subject([(self.header, quote(pem(ADA)))]), 400)
        self.assertEqual(self.subject((), client(STRANGER)), 400)

    def test_forgotten_S_MTLSHEADER(self) -> None:
        """The location that forgets the header is what an operator must not write."""
        self.serve(
            shipped.Nginx,
            of_nginx,
            ("proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;", ""),
        )
        self.assertEqual(self.subject([(self.header, quote(pem(ADA)))]), 401)
        self.assertEqual(self.subject((), ROBOT), 401)


class HAProxyTests(CertificatesMixin, SynchronousTestCase):
    """HAProxy."""

    header = "X-Authotron-Certificate"

    def test_stated_S_MTLSHEADER(self) -> None:
        """HAProxy states Base64 between colons."""
        self.serve(shipped.HAProxy, of_haproxy)
        self.check()


class CaddyTests(CertificatesMixin, SynchronousTestCase):
    """Caddy."""

    header = "X-Client-Certificate"

    def test_stated_S_MTLSHEADER(self) -> None:
        """Caddy states Base64, or the name of the placeholder."""
        self.serve(shipped.Caddy, of_caddy)
        self.check()


class ApacheTests(CertificatesMixin, SynchronousTestCase):
    """Apache with the script in Lua."""

    def test_stated_S_MTLSHEADER(self) -> None:
        """Apache states PEM with blanks in place of line ends."""
        self.serve(shipped.ApacheByLua, of_apache)
        self.check()


class TraefikTests(CertificatesMixin, SynchronousTestCase):
    """Traefik."""

    header = "X-Forwarded-Tls-Client-Cert"

    def test_stated_S_MTLSHEADER(self) -> None:
        """Traefik states Base64, also of authorities in between."""
        self.serve(shipped.Traefik, of_traefik)
        self.check()
        # To state the certificate, Traefik has to trust X-Forwarded-*, which it removes before.
        for name in ("X-Forwarded-Uri", "X_Forwarded_Uri", "X-Forwarded-Host", "X-Forwarded-For"):
            answer = self.ask([(name, "/elsewhere"), ("Connection", name)], ROBOT)
            assert answer is not None
            self.assertEqual(answer.json()["headers"]["x-path"], ["/"])
            self.assertNotIn("elsewhere", answer.body.decode())
        self.assertEqual(self.subject((), client(BETWEEN), BETWEEN.certificate), "machines-robot")


class EnvoyTests(CertificatesMixin, SynchronousTestCase):
    """Envoy, by HTTP and by gRPC."""

    header = "X-Forwarded-Client-Cert"

    def test_http_S_MTLSHEADER(self) -> None:
        """By HTTP Envoy states a list of properties, also with authorities in between."""
        self.serve(envoy.Envoy, of_envoy)
        self.check()
        self.assertEqual(self.subject((), client(BETWEEN), BETWEEN.certificate), "machines-robot")

    def test_grpc_S_MTLSHEADER(self) -> None:
        """By gRPC Envoy states the certificate in its message."""
        self.listen = ("grpc",)
        self.serve(envoy.Envoy, of_envoy)
        self.check()
