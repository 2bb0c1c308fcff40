"""Authorities that sign certificates of clients, and certificates of every shape."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authotron.model.client_certificate import ClientCertificate
from authotron.testing.worlds import NOW

TODAY = dt.datetime.fromtimestamp(NOW, dt.UTC)
DAY = dt.timedelta(days=1)
CLIENTS = (ExtendedKeyUsageOID.CLIENT_AUTH,)
_SHA256 = hashes.SHA256()
UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """Return the key of a name, which is made once."""
    return ec.generate_private_key(ec.SECP256R1())


def named(common_name: str, *more: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """Return a subject with a common name, and with further parts before it."""
    parts = [*more, *([(NameOID.COMMON_NAME, common_name)] if common_name else [])]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def usage(*allowed: str) -> x509.KeyUsage:
    """Return a key usage that allows some purposes alone."""
    uses = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{use: use in allowed for use in uses})


NO_AUTHORITY = x509.BasicConstraints(ca=False, path_length=None)


@frozen
class Shape:
    """
    The content of a certificate.

    @ivar purposes: extended key usage; there is none if it is empty.
    @ivar basic: the basic constraints, or C{None} to leave them out.
    @ivar more: further extensions, which are critical if they come in C{critical}.
    """

    subject: x509.Name = field(factory=lambda: named("robot"))
    names: Sequence[x509.GeneralName] = ()
    purposes: Sequence[x509.ObjectIdentifier] = CLIENTS
    begin: dt.datetime = TODAY - DAY
    end: dt.datetime = TODAY + DAY
    basic: x509.BasicConstraints | None = NO_AUTHORITY
    more: Sequence[x509.ExtensionType] = ()
    critical: Sequence[x509.ExtensionType] = ()


@frozen
class Authority:
    """An authority with a certificate, and the key that belongs to the certificate."""

    certificate: x509.Certificate
    private: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, private: Any = None, **shape: Any) -> x509.Certificate:
        """Sign a certificate; without a key it is of the key of clients."""
        return signed(
            Shape(**shape), private or key("client"), self.certificate.subject, self.private
        )

    def authority(self, name: str = "intermediate", **shape: Any) -> Authority:
        """Sign the certificate of another authority."""
        content = {**AUTHORITY, "subject": named(name), **shape}
        return Authority(self.issue(key(name), **content), key(name))

    def revocations(
        self,
        *revoked: x509.Certificate,
        begin: dt.datetime = TODAY - DAY,
        end: dt.datetime = TODAY + DAY,
        signer: Any = None,
        critical: Sequence[x509.ExtensionType] = (),
    ) -> x509.CertificateRevocationList:
        """Sign a revocation list."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(begin)
            .next_update(end)
        )
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(begin).build())
        for extension in critical:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(signer or self.private, hashes.SHA256())


AUTHORITY: dict[str, Any] = {
    "purposes": (),
    "basic": x509.BasicConstraints(ca=True, path_length=None),
    "more": (usage("key_cert_sign", "crl_sign"),),
    "begin": TODAY - 1000 * DAY,
    "end": TODAY + 1000 * DAY,
}
"""The content of the certificate of an authority."""


def root(name: str = "root", **shape: Any) -> Authority:
    """Return an authority that has signed its own certificate."""
    content = Shape(**{**AUTHORITY, "subject": named(name), **shape})
    own = signed(content, key(name), content.subject, key(name))
    return Authority(own, key(name))


def signed(
    shape: Shape, private: Any, issuer: x509.Name, signer: Any, hashed: Any = _SHA256
) -> x509.Certificate:
    """Sign a certificate of any shape."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(shape.subject)
        .issuer_name(issuer)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(shape.begin)
        .not_valid_after(shape.end)
    )
    if shape.basic is not None:
        builder = builder.add_extension(shape.basic, critical=True)
    for each in _extensions(shape):
        builder = builder.add_extension(each, critical=False)
    for each in shape.critical:
        builder = builder.add_extension(each, critical=True)
    return builder.sign(signer, hashed)


def _extensions(shape: Shape) -> Iterable[x509.ExtensionType]:
    if shape.names:
        yield x509.SubjectAlternativeName(shape.names)
    if shape.purposes:
        yield x509.ExtendedKeyUsage(shape.purposes)
    yield from shape.more


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(*certificates: x509.Certificate) -> str:
    """Return certificates as PEM, one behind the other."""
    found = (each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)
    return "".join(found)


def presented(leaf: x509.Certificate, *issuers: Authority) -> ClientCertificate:
    """Return what a proxy states of a client with certificates."""
    return ClientCertificate(der(leaf), tuple(each.der for each in issuers))


def principal(text: str) -> x509.OtherName:
    """Return the user principal name of Microsoft as an alternative name."""
    raw = text.encode()
    return x509.OtherName(UPN, bytes([0x0C, len(raw)]) + raw)


def altered(raw: bytes, place: int) -> bytes:
    """Return bytes of which one is another."""
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
