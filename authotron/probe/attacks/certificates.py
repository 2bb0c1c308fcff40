"""Attacks with the certificate of another client, in the headers in which proxies state it."""

from __future__ import annotations

from authotron.probe import judges
from authotron.probe.attack import Attack
from authotron.probe.request import Credential, Request

_STATED = {
    "X-SSL-Client-Cert": b"{pem}",
    "X-SSL-Cert": b"{pem}",
    "SSL-Client-Cert": b"{pem}",
    "X-Client-Cert": b"{pem}",
    "X-Client-Certificate": b"{base64}",
    "X-Authotron-Certificate": b":{base64}:",
    "Client-Cert": b":{base64}:",
    "X-Forwarded-Tls-Client-Cert": b"{base64}",
    "X-Forwarded-Client-Cert": b'Cert="{pem}"',
}
"""
Names of headers in which proxies state the certificate of a client, each with the format of the
value.
"""

ATTACKS = (
    Attack(
        name="certificate-believed",
        leak="The gateway believes a certificate that a client writes into a header: without its "
        "key, every client can be the owner of any certificate.",
        remedy="set the header of the question from the TLS connection of the client, and remove "
        "the header that the client sends (docs/mtls.md)",
        by_proxy={
            "nginx": "proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert; in the location "
            "of the question",
            "caddy": "header_up NAME {http.request.tls.client.certificate_der_base64} in "
            "forward_auth",
            "haproxy": "http-request del-header NAME before the question",
            "traefik": "a middleware headers with customRequestHeaders: {NAME: ''} before "
            "passTLSClientCert",
            "envoy": "forward_client_cert_details: SANITIZE_SET",
        },
        requests=tuple(
            Request(name, (name.encode() + b": " + value,), credential=Credential.CERTIFICATE)
            for name, value in _STATED.items()
        ),
        judge=judges.reached,
    ),
)
"""All attacks of this module, which use the certificate of another client."""
