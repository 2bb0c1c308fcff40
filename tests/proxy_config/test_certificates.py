"""How the configurations of proxies state the certificate of a client."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.proxy_config import rendering, setting
from authotron.proxy_config.advice import advice
from authotron.proxy_config.setting import Deployment
from tests.proxy_examples import gateway

STATED = {
    "nginx": ("X-Mine", r"^ {8}proxy_set_header X-Mine \$ssl_client_escaped_cert;"),
    "kubernetes-nginx": ("X-Mine", r'^  X-Mine: "\$ssl_client_escaped_cert"'),
    "caddy": ("X-Mine", r"header_up X-Mine \{http.request.tls.client.certificate_der_base64\}"),
    "haproxy": ("X-Mine", r'headers\["X-Mine"\] = \{ ":" \.\. certificate'),
    "apache": ("X-Mine", r'add\("X-Mine", certificate'),
    "envoy": ("X-Forwarded-Client-Cert", r"forward_client_cert_details: SANITIZE_SET"),
    "traefik": ("X-Forwarded-Tls-Client-Cert", r"passTLSClientCert:\n +pem: true"),
}
"""For each proxy a header, and how its configuration states the certificate there."""

REMOVED = {
    "nginx": r'^ {4}proxy_set_header X-Mine +"";',
    "caddy": r"^\t\trequest_header -X-Mine$",
    "haproxy": r"^ +http-request del-header X-Mine$",
    "apache": r"RequestHeader unset X-Mine",
}
"""How each proxy removes the header from requests to the backend, if it is no listed one."""


class StatedTests(SynchronousTestCase):
    """The header of the contract."""

    def files(self, proxy: str, header: str, *, by_http: bool = True) -> tuple[str, str]:
        """Return the whole configuration of a proxy, and the warnings about it."""
        kind = setting.contract_of(proxy)
        server: dict[str, Any] = {"host": "127.0.0.1", "port": 8080}
        if not by_http:
            server["listen"] = ["grpc:tcp:9191:interface=127.0.0.1"]
        contract = {"type": kind, "headers": {"certificate": header}}
        built = gateway(server={**server, "contracts": [contract]})
        found = setting.make(built, proxy, Deployment())
        text = "\n".join(rendering.files(proxy, found).values())
        return text, "\n".join(advice(proxy, built.config, found))

    def test_stated_S_MTLSHEADER(self) -> None:
        """Every proxy that can overwrites the header by the certificate that it knows."""
        for proxy, (header, pattern) in STATED.items():
            text, warnings = self.files(proxy, header)
            self.assertRegex(text, re.compile(pattern, re.MULTILINE), proxy)
            self.assertNotIn("server.contracts", warnings, proxy)

    def test_removed_S_MTLSHEADER(self) -> None:
        """No header of a client reaches the backend under the name, nor the gateway."""
        for proxy, pattern in REMOVED.items():
            text, _ = self.files(proxy, "X-Mine")
            self.assertRegex(text, re.compile(pattern, re.MULTILINE), proxy)
            self.assertNotRegex(text.lower(), r"http_x_mine|headers_in\[.x-mine", proxy)

    def test_order_S_MTLSHEADER(self) -> None:
        """Traefik removes the header of a client first, as it sets none without a certificate."""
        text, _ = self.files("traefik", "X-Forwarded-Tls-Client-Cert")
        self.assertIn("[authotron-clean, authotron-certificate, authotron, authotron-cred", text)
        for name in ("X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Tls-Client-Cert"):
            self.assertIn(f'          {name}: ""', text)

    def test_another_header(self) -> None:
        """A header in which the proxy cannot state a certificate causes a warning."""
        for proxy, wanted in (
            ("envoy", "X-Forwarded-Client-Cert alone"),
            ("traefik", "X-Forwarded-Tls-Client-Cert alone"),
            ("kubernetes-istio", "states no certificate"),
            ("kubernetes-traefik", "states no certificate"),
        ):
            text, warnings = self.files(proxy, "X-Mine")
            self.assertIn(wanted, warnings)
            self.assertNotRegex(text, "authRequestHeaders.*X-Mine|exact: x-mine")

    def test_grpc(self) -> None:
        """By gRPC Envoy states the certificate itself, whatever the contract of HTTP says."""
        text, warnings = self.files("envoy", "X-Mine", by_http=False)
        self.assertIn("include_peer_certificate: true", text)
        self.assertNotIn("certificate", warnings)

    def test_fastcgi(self) -> None:
        """By FastCGI Apache states no certificate."""
        built = gateway(
            server={
                "listen": ["fastcgi:tcp:9001:interface=127.0.0.1"],
                "contracts": [{"type": "apache", "headers": {"certificate": "X-Mine"}}],
            }
        )
        found = setting.make(built, "apache", Deployment())
        self.assertIn("states no certificate", "\n".join(advice("apache", built.config, found)))
