"""Read the claims in the certificate of a client: names, serial numbers and fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from authotron.model.errors import Rejected
from authotron.mtls.chains import Chain

Claims = Mapping[str, Sequence[str]]
"""
The claims of a certificate: for each name of a claim its values, in the order in which the
certificate states them.
"""

_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
"""
The OID of the user principal name, an alternative name in certificates that Microsoft services
issue.
"""

_OF_SUBJECT = {
    "commonname": NameOID.COMMON_NAME,
    "country": NameOID.COUNTRY_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organizationalunit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "postalcode": NameOID.POSTAL_CODE,
    "province": NameOID.STATE_OR_PROVINCE_NAME,
    "streetaddress": NameOID.STREET_ADDRESS,
}
"""The names of the claims that are made of the subject of a certificate, with the OID of each."""

_ASCII = frozenset({"dnsname", "email", "uri"})
"""
The names of the claims of a certificate whose values must be ASCII (RFC 5280 section
4.2.1.6).
"""

_UTF8_STRING = 0x0C
_SHORT_FORM = 0x80
"""In DER encoding, a length below this number takes a single byte (X.690 section 8.1.3)."""

NAMES = (
    *_OF_SUBJECT,
    *("dnsname", "email", "ipaddress", "upn", "uri"),
    *("subject", "issuer", "serialnumber", "fingerprint", "issuerchain", "akid"),
)
"""The names of all claims that a certificate can have."""


def claims_of(chain: Chain) -> Claims:
    """
    Return the claims of the first certificate of a verified chain, which is that of the client;
    empty values are left out.

    @raise Rejected: a name in the certificate is malformed, or has a character that is not
        printable, such as a null byte, which services could read as the end of the name.
    """
    try:
        found = {**_subject(chain[0]), **_alternatives(chain[0]), **_numbers(chain)}
    except Exception as error:  # noqa: BLE001 - any error rejects the certificate
        raise Rejected(
            f"the names in the certificate are malformed ({type(error).__name__})"
        ) from None
    for claim, values in found.items():
        if claim in _ASCII and not all(map(str.isascii, values)):
            raise Rejected(f"the certificate has a character in {claim} that is not ASCII")
        if not all(map(str.isprintable, values)):
            raise Rejected(f"the certificate has a character in {claim} that is not printable")
    kept = {claim: tuple(filter(None, values)) for claim, values in found.items()}
    return {claim: values for claim, values in kept.items() if values}


def _subject(leaf: x509.Certificate) -> dict[str, list[str]]:
    return {
        claim: [_as_string(each.value) for each in leaf.subject.get_attributes_for_oid(oid)]
        for claim, oid in _OF_SUBJECT.items()
    }


def _as_string(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8")


def _alternatives(leaf: x509.Certificate) -> dict[str, list[str]]:
    """Return the claims that are made of the alternative names of a certificate."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {}
    others = names.get_values_for_type(x509.OtherName)
    return {
        "dnsname": names.get_values_for_type(x509.DNSName),
        "email": names.get_values_for_type(x509.RFC822Name),
        "ipaddress": [str(each) for each in names.get_values_for_type(x509.IPAddress)],
        "upn": [_utf8_string(each.value) for each in others if each.type_id == _UPN],
        "uri": names.get_values_for_type(x509.UniformResourceIdentifier),
    }


def _utf8_string(der: bytes) -> str:
    """
    Return the text of an UTF8String in DER (X.690 section 8.1).

    @raise ValueError: the bytes are not an UTF8String in DER.
    """
    tag, length, *_ = der
    start = 2
    if length >= _SHORT_FORM:
        start += length - _SHORT_FORM
        length = int.from_bytes(der[2:start], "big")
    if tag != _UTF8_STRING or length != len(der) - start:
        raise ValueError("the value is not an UTF8String")
    return der[start:].decode("utf-8")


def _numbers(chain: Chain) -> dict[str, list[str]]:
    """
    Return the claims that are made of the serial number and fingerprints of a certificate, and of
    its issuers.
    """
    leaf = chain[0]
    return {
        "subject": [leaf.subject.rfc4514_string()],
        "issuer": [leaf.issuer.rfc4514_string()],
        "serialnumber": [str(leaf.serial_number)],
        "fingerprint": [_fingerprint(leaf)],
        "issuerchain": [",".join(map(_fingerprint, chain[1:]))],
        "akid": _key_of_authority(leaf),
    }


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex().upper()


def _key_of_authority(leaf: x509.Certificate) -> list[str]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return []
    return [(found.key_identifier or b"").hex().upper()]
