"""
TLS for connections to other machines: trusted authorities, client certificates, verification of the
server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import idna
from attrs import define, field, frozen
from OpenSSL import SSL, crypto
from pydantic import Field, model_validator
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.config.problems import require_none
from authotron.config.section import FilePath, Secret, Section
from authotron.config.sources import unreadable
from authotron.net.certificates import Untrusted, check, literal_address
from authotron.net.reasons import Reason
from authotron.net.rejections import describe_rejection

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

# --- which certificates are trusted ---


@frozen
class Trust:
    """
    The certificates that TLS connections trust, and the client certificate that they present.

    @ivar authorities: trusted certificates in PEM, or C{None} to trust those of the operating
        system.
    @ivar identity: the client certificate and its key in PEM, for servers that ask for one.
    """

    authorities: bytes | None = None
    identity: bytes | None = field(default=None, repr=False)


class TrustConfig(Section):
    """The configuration keys of every plugin that makes TLS connections."""

    ca_file: FilePath | None = Field(
        default=None, description="certificates (PEM) to trust instead of those of the system"
    )
    client_certificate_file: FilePath | None = Field(
        default=None, description="certificate (PEM) to show to a server that asks for one"
    )
    client_key: Secret | None = Field(
        default=None, description="the key (PEM) of `client_certificate_file`"
    )

    @model_validator(mode="after")
    def _usable_files(self) -> Self:
        keys = ("ca_file", "client_certificate_file", "client_key")
        require_none(_problems_of_files(self, *keys))
        return self

    def trust(self) -> Trust:
        """
        Load the certificates and the private key from the files that this section names.

        @raise ValueError: a file cannot be read, or does not contain the certificate or key that it
            should.
        """
        return load(self.ca_file, self.client_certificate_file, self.client_key)


class DatabaseTlsConfig(Section):
    """The configuration keys of every token store that connects to a database by TLS."""

    tls: bool = Field(
        default=False, description="whether to use TLS and verify the server's certificate"
    )
    tls_ca_file: FilePath | None = Field(
        default=None, description="CA certificates (PEM) to trust instead of those of the system"
    )
    tls_certificate_file: FilePath | None = Field(
        default=None, description="certificate (PEM) to show to a server that asks for one"
    )
    tls_key: Secret | None = Field(
        default=None, description="the key (PEM) of `tls_certificate_file`"
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        keys = ("tls_ca_file", "tls_certificate_file", "tls_key")
        if self.tls:
            require_none(_problems_of_files(self, *keys))
        else:
            given = [key for key in keys if getattr(self, key) is not None]
            require_none((key, "has no effect without tls: true") for key in given)
        return self

    def verifier(self) -> Verifier | None:
        """
        Build the verifier of the server's certificate, or return C{None} if TLS is not configured.

        @raise ValueError: a file cannot be read, or does not contain the certificate or key that it
            should.
        """
        if not self.tls:
            return None
        trust = load(self.tls_ca_file, self.tls_certificate_file, self.tls_key)
        return Verifier(trust, "tls_ca_file")


def _problems_of_files(
    config: Section, ca: str, certificate: str, key: str
) -> Iterator[tuple[str, str]]:
    """
    Yield the problems of the certificate and key files that a section names.

    @param ca: the configuration key that names a file of trusted certificates.
    @param certificate: the configuration key that names the file of the client certificate.
    @param key: the configuration key that names the file with the private key of the client
        certificate.
    """
    paths: tuple[Path | None, Path | None] = getattr(config, ca), getattr(config, certificate)
    private: Secret | None = getattr(config, key)
    named = zip((ca, certificate), paths, strict=True)
    missing = {each: why for each, path in named if path and (why := unreadable(path))}
    yield from missing.items()
    if (paths[1] is None) != (private is None):
        yield "", f"set both {certificate} and {key}_file, or neither"
    elif not missing:
        try:
            load(*paths, private)
        except ValueError as error:
            yield "", str(error)


def load(ca: Path | None, certificate: Path | None, key: Secret | None) -> Trust:
    """
    Load trusted certificates, and a client certificate with its key, from files.

    @raise ValueError: a file cannot be read, or does not contain certificates and keys in PEM.
    """
    trust = Trust(
        _bytes(ca) if ca else None,
        _bytes(certificate) + b"\n" + key.get_secret_value().encode()
        if certificate and key
        else None,
    )
    if ca and not _CERTIFICATE.search(trust.authorities or b""):
        raise ValueError(f"{ca} does not hold a certificate in PEM")
    try:
        if trust != Trust():
            _context(trust)
    except (crypto.Error, SSL.Error, ValueError):
        raise ValueError(f"{ca or certificate} does not hold a usable certificate in PEM") from None
    return trust


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None


def _context(trust: Trust) -> SSL.Context:
    """
    Build the OpenSSL settings of TLS clients: TLS 1.2 or later, no renegotiation and no
    resumption.

    TLS sessions are not resumed, because OpenSSL does not verify a certificate when a session is
    resumed.
    """
    if trust.authorities is None:
        root = platformTrust()
    else:
        found = _CERTIFICATE.findall(trust.authorities)
        root = trustRootFromCertificates([Certificate.loadPEM(each) for each in found])
    own = PrivateCertificate.loadPEM(trust.identity) if trust.identity else None
    options = CertificateOptions(
        trustRoot=root,
        privateKey=own.privateKey.original if own else None,
        certificate=own.original if own else None,
    )
    context: SSL.Context = options.getContext()
    if trust.authorities is not None:
        # A certificate in ca_file is trusted even if the authority that signed it is not listed in
        # the file.
        store = context.get_cert_store()
        assert store is not None
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


# --- verification of the server's certificate ---


@define(eq=False)
class Verifier:
    """
    Prepares TLS handshakes with one trust, each of which verifies that the server is the expected
    host.

    An error message names the configuration key of the trusted certificates, C{ca_key}.
    """

    _trust: Trust = field(repr=False)
    _ca_key: str = "ca_file"
    _context: SSL.Context | None = field(default=None, init=False, repr=False)

    def handshake(self, host: str) -> Handshake:
        """
        Prepare a TLS handshake with C{host}, a DNS name or an IP address without brackets.

        @raise Untrusted: the value of C{host} is not a valid host name, so no certificate can name
            it.
        """
        if self._context is None:
            # Certificates are loaded at the first handshake, since loading them is slow.
            self._context = _context(self._trust)
        try:
            name = host if host.isascii() else idna.encode(host).decode()
            return Handshake(self._context, name, self._ca_key)
        except UnicodeError:
            raise Untrusted(f"{host!a} is not a host name") from None


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class Handshake:
    """
    The TLS handshake of one connection, and the reason if the server was rejected.

    The server is verified by the same function twice: during the handshake, before the client
    certificate is sent, and again after the handshake, in case OpenSSL skipped the first call.
    Twisted's own verification is not used, because it accepts a server if the verification raises
    any exception but C{VerificationError}.

    @ivar refusal: why the server is not trusted, or C{None}.
    """

    _context: SSL.Context
    _host: str
    _ca_key: str = "ca_file"
    refusal: Untrusted | None = field(default=None, init=False)
    _connection: SSL.Connection | None = field(default=None, init=False)

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Implement L{IOpenSSLClientConnectionCreator.clientConnectionForTLS}."""
        connection = self._connection = SSL.Connection(self._context, None)
        if literal_address(self._host) is None:
            # RFC 6066 section 3: the server name is not an IP address, and does not end with a dot.
            connection.set_tlsext_host_name(self._host.removesuffix(".").encode("ascii"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verified)
        return connection

    def finish(self) -> None:
        """
        Verify the server after the handshake, before data is sent to it.

        @raise Untrusted: the server is another host, or OpenSSL did not verify the server.
        """
        if self.refusal is None:
            try:
                self._finish()
            except Untrusted as refusal:
                self.refusal = refusal
            except Exception as error:  # noqa: BLE001 - after any error the peer is not trusted
                self.refusal = Untrusted(f"the peer cannot be verified ({type(error).__name__})")
        if self.refusal is not None:
            raise self.refusal

    def describe_end(self, reason: Failure) -> str:
        """Describe why this TLS connection ended, for the log."""
        return describe_end(reason) if self.refusal is None else str(self.refusal)

    def _finish(self) -> None:
        if self._connection is None:
            raise Untrusted("there was no TLS handshake")
        chain = self._connection.get_verified_chain(as_cryptography=True)
        leaf = self._connection.get_peer_certificate(as_cryptography=True)
        if not chain or leaf is None or chain[0] != leaf:
            raise Untrusted("the certificate was not verified")
        check(leaf, self._host)

    def _verified(
        self, _connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, good: int
    ) -> bool:
        """
        Verify one certificate of the chain, as a callback of OpenSSL.

        OpenSSL discards exceptions that its callbacks raise, so the reason is kept in C{refusal}.
        """
        try:
            if not good:
                reason = describe_rejection(error, shown.to_cryptography, depth, self._ca_key)
                self.refusal = self.refusal or Untrusted(reason)
            elif depth == 0:
                check(shown.to_cryptography(), self._host)
        except Untrusted as refusal:
            self.refusal = self.refusal or refusal
        except BaseException as broken:  # noqa: BLE001 - OpenSSL would discard the exception and accept the peer
            self.refusal = Untrusted(f"the peer cannot be verified ({type(broken).__name__})")
        return self.refusal is None


_ENDS = {
    "wrong version number": "the server does not use TLS on this port",
    "http request": "the server does not use TLS on this port",
    "packet length too long": "the server does not use TLS on this port",
    "unsupported protocol": "the server wants a version of TLS before 1.2",
    "alert protocol version": "the server wants another version of TLS than 1.2 and 1.3",
    "certificate required": "the server wants a client certificate",
    "alert unknown ca": "the server rejects the client certificate",
    "alert certificate": "the server rejects the client certificate",
    "alert bad certificate": "the server rejects the client certificate, or wants one",
    "unrecognized name": "the server has no certificate for the name of the host",
    "alert handshake failure": "the server has no cipher in common, or wants a client certificate",
}
"""
What texts in error messages of OpenSSL mean; if a message contains several of the texts, the first
in this list counts.
"""


def describe_end(reason: Failure) -> str:
    """Describe why a TLS connection ended, for the log."""
    if not isinstance(reason.value, SSL.Error):
        return "the server closed the connection"
    details = {str(each[2]) for some in reason.value.args[:1] for each in some if len(each) > 2}  # noqa: PLR2004 - library, function, reason
    said = ", ".join(sorted(details)) or type(reason.value).__name__
    words = [words for part, words in _ENDS.items() if part in said]
    return f"{Reason.TLS_FAILED}: {words[0]} ({said})" if words else f"{Reason.TLS_FAILED}: {said}"
