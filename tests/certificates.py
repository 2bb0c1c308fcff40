"""Certificates for tests: valid ones, and every kind of odd one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

_DAY = dt.timedelta(days=1)
_EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
FAR = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)
EXPIRED = _EPOCH + _DAY


@frozen
class Shape:
    """
    The content of a certificate.

    @ivar names: of the subjectAltName; there is none without names.
    @ivar raw: the bytes of the subjectAltName in place of C{names}.
    @ivar common_name: of the subject.
    @ivar purposes: what it is for; anything if empty.
    @ivar authority: whether it may sign others.
    @ivar signs_only: whether its key is for signing certificates alone.
    """

    names: tuple[x509.GeneralName, ...] = ()
    raw: bytes | None = None
    common_name: str = "localhost"
    begin: dt.datetime = _EPOCH
    end: dt.datetime = FAR
    purposes: tuple[x509.ObjectIdentifier, ...] = ()
    authority: bool = False
    signs_only: bool = False


def named(*names: str, **given: Any) -> Shape:
    """Return the content of a certificate for some DNS names."""
    return Shape(tuple(map(x509.DNSName, names)), **given)


def numbered(*addresses: str, **given: Any) -> Shape:
    """Return the content of a certificate for some IP addresses."""
    return Shape(tuple(x509.IPAddress(ip_address(each)) for each in addresses), **given)


def raw_names(*names: bytes) -> Shape:
    """Return the content of a certificate whose DNS names consist of any bytes."""
    inner = b"".join(b"\x82" + bytes([len(each)]) + each for each in names)
    return Shape(raw=b"\x30" + bytes([len(inner)]) + inner)


_ELSEWHERE = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])

ODD: Mapping[str, tuple[Shape, str]] = MappingProxyType(
    {
        "no names": (Shape(), "names no host"),
        "no names in the extension": (Shape(raw=b"\x30\x00"), "names no host"),
        "another name": (
            named("elsewhere.example"),
            "another name: the certificate names elsewhere.example",
        ),
        "an email address": (Shape((x509.RFC822Name("root@localhost"),)), "names no host"),
        "a URI": (Shape((x509.UniformResourceIdentifier("https://localhost"),)), "names no host"),
        "a URI with a port": (
            Shape((x509.UniformResourceIdentifier("https://localhost:443/"),)),
            "names no host",
        ),
        "a directory name": (Shape((x509.DirectoryName(_ELSEWHERE),)), "names no host"),
        "a registered id": (
            Shape((x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),)),
            "names no host",
        ),
        "another name beside a URI": (
            Shape((x509.DNSName("a.example"), x509.UniformResourceIdentifier("a:b:c"))),
            "of another name",
        ),
        "a star": (named("*"), "malformed name"),
        "a star and a top-level domain": (named("*.localhost"), "malformed name"),
        "stars": (named("*.*.localhost"), "malformed name"),
        "a star in the middle": (named("a.*.localhost"), "malformed name"),
        "a star within a label": (named("l*.example.org"), "of another name"),
        "a star and nothing": (raw_names(b"*.example.org."), "malformed name"),
        "a star beside the name": (named("localhost", "*"), "malformed name"),
        "a malformed name behind the name": (named("localhost", "*.*.a.b"), "malformed name"),
        "a malformed name before the name": (named("*.com", "localhost"), "malformed name"),
        "a malformed name beside another": (named("a.example", "*.*.a.b"), "malformed name"),
        "an empty name": (raw_names(b""), "malformed name"),
        "a blank behind": (raw_names(b"localhost "), "malformed name"),
        "a blank before": (raw_names(b" localhost"), "malformed name"),
        "a line end": (raw_names(b"localhost\n"), "malformed name"),
        "a null byte": (raw_names(b"localhost\x00.example.org"), "malformed name"),
        "a null byte at the end": (raw_names(b"localhost\x00"), "malformed name"),
        "a last dot": (raw_names(b"localhost."), "of another name"),
        "a name that is not ASCII": (raw_names("löcalhost".encode()), "malformed name"),
        "a number": (named("127"), "malformed name"),
        "an address of another host": (
            numbered("192.0.2.1"),
            "another name: the certificate names 192.0.2.1",
        ),
        "its address": (numbered("127.0.0.1", "::1"), "of another name"),
        "its address as a name": (named("127.0.0.1"), "names no host"),
        "a network": (
            Shape((x509.DNSName("localhost"), x509.IPAddress(ip_network("127.0.0.0/8")))),
            "malformed name",
        ),
        "an address of no length": (
            Shape(raw=b"\x30\x05\x87\x03\x7f\x00\x01"),
            "cannot be verified",
        ),
        "an extension that breaks off": (Shape(raw=b"\x30\x10\x82\x09local"), ""),
        "no extension at all": (Shape(raw=b"localhost"), ""),
        "an expired certificate": (
            named("localhost", end=EXPIRED),
            "expired: of 'localhost', on 2020-01-02",
        ),
        "a certificate of tomorrow": (
            named("localhost", begin=FAR - _DAY, end=FAR),
            "not valid yet",
        ),
        "a client": (
            named("localhost", purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
            "another purpose",
        ),
        "a signer of code": (
            named("localhost", purposes=(ExtendedKeyUsageOID.CODE_SIGNING,)),
            "another purpose",
        ),
        "an authority": (
            named("localhost", authority=True, signs_only=True),
            "",
        ),
    }
)
"""
Certificates that make no server C{localhost}, and what is said of them: nothing in particular where
the TLS library of the server, or ours, does not get as far as the check.
"""

GOOD: Mapping[str, Shape] = MappingProxyType(
    {
        "its name": named("localhost"),
        "its name in capitals": named("LocalHost"),
        "several names": named("a.example", "localhost", "*.example.org"),
        "names of other kinds": Shape(
            (
                x509.UniformResourceIdentifier("spiffe://example.org:1/a:b"),
                x509.RFC822Name("root@example.org"),
                x509.DNSName("localhost"),
            )
        ),
        "an address among the names": named("127.0.0.1", "localhost"),
        "a server": named("localhost", purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        "an authority that may serve": named("localhost", authority=True),
    }
)
"""Certificates of C{localhost}."""


@frozen
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """Return the certificate and the key, one behind the other."""
        return self.certificate_pem() + self.key_pem()

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(
            serialization.Encoding.PEM, form, serialization.NoEncryption()
        )


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@frozen
class Authority:
    """An authority that signs certificates."""

    folder: Path = Path()
    name: str = "authority"
    key: ec.EllipticCurvePrivateKey = field(factory=_key)

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def found(self) -> Authority:
        """Write the certificate of the authority."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(self.pem())
        return self

    def pem(self) -> bytes:
        """Return the certificate of the authority."""
        certificate = self._signed(Shape(common_name=self.name, authority=True), self.key)
        return certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, end: dt.datetime = FAR) -> Path:
        """Write a certificate for a name and its key to one file."""
        return self.write(named(name, common_name=name, end=end), f"{name}-{end.year}")

    def write(self, shape: Shape, name: str) -> Path:
        """Write a certificate of any shape and its key to one file."""
        path = self.folder / f"{name}.pem"
        path.write_bytes(self.issued(shape).pem())
        return path

    def issued(self, shape: Shape, key: ec.EllipticCurvePrivateKey | None = None) -> Issued:
        """Return a certificate of any shape and its key."""
        key = key or _key()
        return Issued(self._signed(shape, key), key)

    def _signed(self, shape: Shape, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, shape.common_name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(shape.begin)
            .not_valid_after(shape.end)
            .add_extension(x509.BasicConstraints(shape.authority, None), critical=True)
        )
        for extension in _extensions(shape):
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _extensions(shape: Shape) -> Iterable[x509.ExtensionType]:
    if shape.raw is not None:
        yield x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, shape.raw)
    elif shape.names:
        yield x509.SubjectAlternativeName(shape.names)
    if shape.purposes:
        yield x509.ExtendedKeyUsage(shape.purposes)
    if shape.signs_only:
        signs = {"key_cert_sign", "crl_sign"}
        uses = (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
            "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        )  # fmt: skip
        yield x509.KeyUsage(**{use: use in signs for use in uses})
