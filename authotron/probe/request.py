"""The requests of attacks as bytes, including bytes that an HTTP library would refuse to send."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

from authotron.probe.echo import MARK

ADDRESS = b"203.0.113.66"
"""The IP address that attacks claim as their own. RFC 5737 reserves it for documentation."""


class Credential(Enum):
    """The kind of credential that a request presents."""

    GOOD = "good"
    NONE = "none"
    UNKNOWN = "unknown"
    LIMITED = "limited"
    CERTIFICATE = "certificate"


@frozen
class Target:
    """
    The proxy that is attacked, and the credentials for it.

    @ivar host: the value of the header C{Host}.
    @ivar base: the path of the URL, which ends with a slash.
    @ivar credentials: the header line with the credential, for each kind of credential; for
        C{CERTIFICATE} the certificate of a client in Base64, which a request states in a header of
        its own.
    """

    host: bytes
    base: bytes
    credentials: Mapping[Credential, bytes] = field(repr=False)


@frozen
class Request:
    """
    One request of an attack.

    In C{target}, C{host}, C{fields} and C{body} these words are replaced: C{{path}} by a path below
    the base that no other request has, C{{host}}, C{{canary}} by a text that no other request has,
    C{{hidden}} by the mark of a request inside this one, C{{base64}} by the certificate of a
    client, and C{{pem}} by the same in PEM with percent-encoding.

    @ivar label: the name of the request in a report.
    @ivar fields: header lines, each without the line end.
    @ivar lingers: whether more than one answer to the request may come.
    """

    label: str = ""
    fields: tuple[bytes, ...] = ()
    method: bytes = b"GET"
    target: bytes = b"{path}"
    version: bytes = b"HTTP/1.1"
    host: tuple[bytes, ...] = (b"Host: {host}",)
    credential: Credential = Credential.GOOD
    connection: bytes = b"Connection: close"
    body: bytes = b""
    lingers: bool = False


_PEM = b"-----BEGIN%%20CERTIFICATE-----%%0A%b%%0A-----END%%20CERTIFICATE-----%%0A"
"""
A certificate in PEM with percent-encoding, in the form in which nginx writes it into a
header.
"""


@frozen
class Nonces:
    """
    The nonces, one for each request, of one run.

    @ivar session: 16 hexadecimal digits that no other run has.
    """

    session: str

    def of(self, number: int) -> str:
        """Return the nonce of the request with a given number."""
        return f"{self.session}{number:08x}"

    def hidden_in(self, number: int) -> str:
        """Return the nonce of a request that is hidden in the request with a given number."""
        return self.of(number + 0x8000_0000)

    def __contains__(self, nonce: str) -> bool:
        return nonce.startswith(self.session)


def canary(nonce: str) -> str:
    """Return the text by which values that the client made up are recognised at the backend."""
    return f"canary{nonce}"


def path(target: Target, nonce: str) -> bytes:
    """Return the path of a request, below the path of the URL."""
    return target.base + f"{MARK}{nonce}".encode()


def written(request: Request, target: Target, nonces: Nonces, number: int) -> bytes:
    """Return a request of an attack as bytes."""
    nonce = nonces.of(number)
    credential = target.credentials.get(request.credential, b"")
    certificate = b""
    if request.credential is Credential.CERTIFICATE:
        certificate, credential = credential, b""
    lines = [
        b" ".join(filter(None, (request.method, request.target, request.version))),
        *request.host,
        b"X-Probe-Mark: " + f"{MARK}{nonce}".encode(),
        *([credential] if credential else []),
        *request.fields,
        *filter(None, [request.connection]),
    ]
    text = b"\r\n".join([*lines, b"", request.body])
    for word, value in (
        (b"{path}", path(target, nonce)),
        (b"{host}", target.host),
        (b"{canary}", canary(nonce).encode()),
        (b"{hidden}", f"{MARK}{nonces.hidden_in(number)}".encode()),
        (b"{base64}", certificate),
        (b"{pem}", _PEM % certificate.replace(b"+", b"%2B").replace(b"=", b"%3D")),
    ):
        text = text.replace(word, value)
    return text
