"""
Verify that a certificate names a host; all TLS clients use this function, and if the check itself
fails, the server is not trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from cryptography import x509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import (
    DNS_ID,
    CertificatePattern,
    DNSPattern,
    IPAddress_ID,
    IPAddressPattern,
    verify_service_identity,
)

from authotron.model.errors import Unavailable
from authotron.net.reasons import Reason

_DNS_NAME = re.compile(r"[A-Za-z0-9*_.-]{1,253}")
"""
The characters of a DNS name in a certificate; any other character makes the
certificate malformed.
"""

_SHOWN = 3
"""Number of names of a rejected certificate that the error message shows."""


class Untrusted(Unavailable):
    """The server at the end of a TLS connection could not be verified as the host to connect to."""


def check(certificate: x509.Certificate, host: str) -> None:
    """
    Check that a certificate names C{host}, which is a DNS name or an IP address.

    If C{host} is an IP address, only the IP addresses in subjectAltName count, and if it is a name,
    only the DNS names (RFC 9525 section 6, RFC 9110 section 4.3.5); the common name is ignored. One
    malformed name makes the whole certificate untrusted, since the authority that signed it did not
    check the names. An IP address that is listed as a DNS name, a common mistake, is ignored,
    because it matches no host.

    @raise Untrusted: the certificate does not name C{host}, or the check itself fails.
    """
    try:
        _check(certificate, host)
    except Untrusted:
        raise
    except VerificationError:
        shown = ", ".join(_names(certificate)) or "no host"
        why = f"{Reason.CERTIFICATE_OF_ANOTHER_NAME}: the certificate names {shown}, not {host}"
        raise Untrusted(why) from None
    except CertificateError:
        why = f"{Reason.CERTIFICATE_UNUSABLE}: the certificate contains a malformed name"
        raise Untrusted(why) from None
    except Exception as error:  # noqa: BLE001 - after any error the peer is not trusted
        why = f"the certificate cannot be verified ({type(error).__name__})"
        raise Untrusted(f"{Reason.CERTIFICATE_UNUSABLE}: {why}") from None


def _check(certificate: x509.Certificate, host: str) -> None:
    literal = literal_address(host)
    patterns = [*_patterns(certificate)]
    if not patterns:
        why = "the certificate names no host in its subjectAltName"
        raise Untrusted(f"{Reason.CERTIFICATE_UNUSABLE}: {why}")
    name = host.removesuffix(".")
    if not all(name.split(".")):
        raise Untrusted(f"{host!a} is not a host name")
    wanted = DNS_ID(name) if literal is None else IPAddress_ID(str(literal))
    verify_service_identity(patterns, [wanted], [])


def _patterns(certificate: x509.Certificate) -> Iterator[CertificatePattern]:
    names = _subject_names(certificate)
    for name in names.get_values_for_type(x509.DNSName):
        if literal_address(name) is not None:
            continue
        if _DNS_NAME.fullmatch(name) is None:
            raise CertificateError
        yield DNSPattern.from_bytes(name.encode("ascii"))
    for literal in names.get_values_for_type(x509.IPAddress):
        if not isinstance(literal, IPv4Address | IPv6Address):
            raise CertificateError
        yield IPAddressPattern(literal)


def _subject_names(certificate: x509.Certificate) -> Any:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        why = f"{Reason.CERTIFICATE_UNUSABLE}: without subjectAltName the certificate names no host"
        raise Untrusted(why) from None
    return extension.value


def _names(certificate: x509.Certificate) -> Sequence[str]:
    """
    Return the first few of the names that a certificate contains, for an error message. The
    characters of the names were checked before, so they can be printed.
    """
    names = _subject_names(certificate)
    found = [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]
    return [*found[:_SHOWN], *(["..."] if len(found) > _SHOWN else [])]


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """Parse a host as an IP address, or return C{None} if the host is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
