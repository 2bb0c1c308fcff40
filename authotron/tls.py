"""Whom a TLS connection trusts, and what it shows of itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from attrs import field, frozen
from OpenSSL import SSL, crypto
from pydantic import Field, model_validator
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from authotron.errors import Unavailable
from authotron.settings import FilePath, Section

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@frozen
class Trust:
    """
    What a connection is checked against.

    @ivar authorities: certificates in PEM; the platform's if C{None}.
    @ivar identity: our own certificate and its key in PEM, for those who ask for one.
    """

    authorities: bytes | None = None
    identity: bytes | None = field(default=None, repr=False)


class TrustConfig(Section):
    """The keys of every part whose connections are checked by certificates."""

    ca_file: FilePath | None = Field(
        default=None, description="certificates (PEM) to trust instead of those of the system"
    )
    client_certificate_file: FilePath | None = Field(
        default=None, description="certificate (PEM) to show to a server that asks for one"
    )
    client_key_file: FilePath | None = Field(
        default=None, description="the key (PEM) of `client_certificate_file`"
    )

    @model_validator(mode="after")
    def _usable_files(self) -> Self:
        if (self.client_certificate_file is None) != (self.client_key_file is None):
            raise ValueError("client_certificate_file and client_key_file go together")
        self.trust()
        return self

    def trust(self) -> Trust:
        """
        What its connections are checked against.

        @raise ValueError: a file cannot be read any more, or holds something else by now.
        """
        return load(self.ca_file, self.client_certificate_file, self.client_key_file)


def load(ca: Path | None, certificate: Path | None, key: Path | None) -> Trust:
    """
    The trust that files describe.

    @raise ValueError: a file cannot be read, or holds something else.
    """
    trust = Trust(
        _bytes(ca) if ca else None,
        _bytes(certificate) + b"\n" + _bytes(key) if certificate and key else None,
    )
    if ca and not _CERTIFICATE.search(trust.authorities or b""):
        raise ValueError(f"{ca} holds no certificate in PEM")
    try:
        _options("localhost", trust)
    except (crypto.Error, SSL.Error, ValueError):
        raise ValueError(f"{ca or certificate} holds no usable certificate in PEM") from None
    return trust


def checking(host: str, authorities: Path | None) -> IOpenSSLClientConnectionCreator:
    """
    What makes a connection safe: the server must prove to be C{host}.

    @param authorities: a file of certificates (PEM) to trust instead of those of the platform.

    @raise Unavailable: there are none in it.
    """
    try:
        return _options(host, load(authorities, None, None))
    except ValueError as error:
        raise Unavailable(str(error)) from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None


def _options(host: str, trust: Trust) -> IOpenSSLClientConnectionCreator:
    if trust.authorities is None:
        root = platformTrust()
    else:
        found = _CERTIFICATE.findall(trust.authorities)
        root = trustRootFromCertificates([Certificate.loadPEM(each) for each in found])
    own = PrivateCertificate.loadPEM(trust.identity) if trust.identity else None
    return optionsForClientTLS(host, root, own)


@implementer(IPolicyForHTTPS)
class Policy:
    """Checks certificates and names; keeps what was prepared, since authorities load slowly."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._prepared: dict[bytes, IOpenSSLClientConnectionCreator] = {}

    def creatorForNetloc(self, hostname: bytes, _port: int) -> IOpenSSLClientConnectionCreator:
        """The interface of L{IPolicyForHTTPS}."""
        if hostname not in self._prepared:
            self._prepared[hostname] = _options(hostname.decode("ascii").strip("[]"), self._trust)
        return self._prepared[hostname]
