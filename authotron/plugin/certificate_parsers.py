"""
Parse the headers in which proxies state the TLS certificate of a client.

Each proxy writes the certificate into a header in its own format: nginx writes percent-encoded PEM,
Apache PEM with blanks in place of line ends, Envoy a list of properties, and others Base64 of DER,
with colons around it (RFC 9440) or without.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from authotron.model.client_certificate import ClientCertificate, bounded

_RFC_9440, _ENVOY, _TRAEFIK = (
    "client-cert",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
)
"""The names of headers, in lower case, in which a proxy states more than one certificate."""

_BLOCK = r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*"
_blocks = re.compile(_BLOCK).findall
_is_pem = re.compile(rf"(?:{_BLOCK})+").fullmatch

_is_placeholder = re.compile(r"\{[a-z0-9_.]+\}").fullmatch
"""Matches what Caddy sends in place of a certificate if the client has presented none."""

_PROPERTY = re.compile(r'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;\\]*))(;|$)')
"""
A property in Envoy's header C{X-Forwarded-Client-Cert}: a key, and a value that may be
quoted.
"""


def beside(header: str) -> str:
    """
    Return the name of the header with the certificates of intermediate authorities that belongs to
    a header with the certificate of a client, or an empty string if there is no such header.
    """
    return "Client-Cert-Chain" if header.lower() == _RFC_9440 else ""


def parse(value: str, header: str = "", chain: str = "") -> ClientCertificate | None:
    """
    Return the certificate of the client that a header states, or C{None} if the client has
    presented no certificate.

    @param header: the name of the header, which decides whether the value may state more than one
        certificate.
    @param chain: the value of the header whose name L{beside} returns; the value may be empty.

    @raise ValueError: the value is not one certificate in a known form, or is too long.
    """
    if _is_placeholder(value):
        return None
    name = header.lower()
    if name == _ENVOY:
        return _of_envoy(_properties(value))
    if name == _TRAEFIK:
        return bounded([_der(each) for each in _decoded(value).split(",")])
    found = _certificates(value)
    if name == _RFC_9440 and chain:
        found += [_der(each) for each in chain.split(",")]
    elif len(found) > 1:
        raise ValueError("the value states more than one certificate")
    return bounded(found)


def _of_envoy(stated: Mapping[str, str]) -> ClientCertificate:
    """
    Return the certificate in the properties of Envoy's header: the property C{Chain} contains the
    certificate of the client and those of intermediate authorities; the property C{Cert} contains
    only the certificate of the client.
    """
    own = _certificates(stated["cert"]) if stated.get("cert") else []
    every = _certificates(stated["chain"]) if stated.get("chain") else own
    if len(own) > 1 or (own and own != every[:1]):
        raise ValueError("Cert and Chain state different certificates")
    return bounded(every)


def _properties(value: str) -> dict[str, str]:
    """
    Return the properties of the only element of Envoy's header, by keys in lower case.

    A header with several elements is rejected, because a client could have sent some of them: which
    element states the client's certificate depends on the number of proxies.

    @raise ValueError: the header has several elements, or a property is malformed or duplicate.
    """
    found: dict[str, str] = {}
    for key, text in _pairs(value):
        # Envoy repeats the keys URI and DNS.
        if key in found and key in ("cert", "chain"):
            raise ValueError("a property is duplicate")
        found[key] = text
    return found


def _pairs(value: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(value):
        matched = _PROPERTY.match(value, at)
        if matched is None:
            raise ValueError("the value is not one element of X-Forwarded-Client-Cert")
        key, quoted, plain, _ = matched.groups()
        yield key.lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = matched.end()


def _certificates(value: str) -> list[bytes]:
    """Return the certificates, in DER, of several blocks of PEM, or of one word of Base64."""
    text = _decoded(value).strip()
    return in_pem(text) if text.startswith("-") else [_der(text)]


def in_pem(text: str) -> list[bytes]:
    """
    Return the certificates, in DER, of a text that has nothing but certificates in PEM.

    @raise ValueError: the text has no certificate, or anything beside the certificates.
    """
    if not _is_pem(text.strip()):
        raise ValueError("the text is not certificates in PEM")
    return [_der(each) for each in _blocks(text)]


def _decoded(value: str) -> str:
    return unquote(value, errors="strict") if "%" in value else value


def _der(text: str) -> bytes:
    """
    Decode Base64, perhaps between two colons, in which blanks and line ends do not count.

    @raise ValueError: the text is not Base64.
    """
    body = "".join(text.split())
    if body.startswith(":") and body.endswith(":"):
        body = body[1:-1]
    return b64decode(body, validate=True)
