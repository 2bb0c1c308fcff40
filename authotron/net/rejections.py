"""Describe why OpenSSL rejects a certificate, what the certificate contains, and what to do."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.x509.oid import NameOID

from authotron.net.reasons import Reason

_LONGEST = 120
"""Maximum number of characters of a certificate's name that an error message shows."""

_OTHERS = {
    25: "an authority is not allowed to sign others",
    26: "the certificate is for another purpose than a server",
    47: "an authority is not allowed to sign for this name",
    48: "an authority is not allowed to sign for this name",
    66: "the key of the certificate is too weak",
    67: "the key of an authority is too weak",
    68: "a certificate is signed with a digest that is too weak, such as SHA-1",
    79: "the certificate is signed by a certificate that is not an authority",
}
"""
Error messages for the numbers of verification errors of OpenSSL that have no member of L{Reason},
see openssl-verification-options(1).
"""

_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_ROOT = 9, 10, 18, 19
_UNKNOWN_ISSUER = (2, 7, 20, 21, 27)
"""Numbers of the verification errors of OpenSSL for which L{Reason} has a member."""


def describe_rejection(
    error: int, load: Callable[[], x509.Certificate], depth: int, ca_key: str
) -> str:
    """
    Describe why a certificate is rejected: the reason, what the certificate holds, the remedy.

    @param error: the number of OpenSSL's verification error.
    @param load: a function that loads the certificate whose verification failed, and may raise any
        exception.
    @param depth: 0 for the certificate of the server, 1 or more for the authorities that signed it.
    @param ca_key: the configuration key of the trusted certificates.
    """
    try:
        certificate = load()
        return _describe(error, certificate, depth, ca_key)
    except Exception:  # noqa: BLE001 - a malformed certificate must not hide why it is rejected
        return f"{Reason.CERTIFICATE_UNUSABLE}: {_other(error)}"


def _describe(error: int, certificate: x509.Certificate, depth: int, ca_key: str) -> str:
    subject, issuer = _show(certificate.subject), _show(certificate.issuer)
    of = f"of the authority {subject}" if depth else f"of {subject}"
    if error == _EXPIRED:
        ended = certificate.not_valid_after_utc.date()
        return f"{Reason.CERTIFICATE_EXPIRED}: {of}, on {ended}; renew it on the server"
    if error == _NOT_YET_VALID:
        begins = certificate.not_valid_before_utc.date()
        return f"{Reason.CERTIFICATE_NOT_YET_VALID}: {of}, before {begins}; compare the clocks"
    if error == _SELF_SIGNED:
        trust = f"to trust the certificate, put it into {ca_key}"
        return f"{Reason.CERTIFICATE_SELF_SIGNED}: {of}; {trust}"
    if error == _SELF_SIGNED_ROOT:
        trust = f"to trust this issuer, put its certificate into {ca_key}"
        return f"{Reason.CERTIFICATE_OF_UNKNOWN_ISSUER}: signed by {subject}; {trust}"
    if error in _UNKNOWN_ISSUER:
        trust = f"to trust this issuer, put its certificate into {ca_key}"
        return f"{Reason.CERTIFICATE_OF_UNKNOWN_ISSUER}: signed by {issuer}; {trust}"
    return f"{Reason.CERTIFICATE_UNUSABLE}: {_other(error)} ({subject})"


def _other(error: int) -> str:
    return _OTHERS.get(error, f"OpenSSL error {error}")


def _show(name: x509.Name) -> str:
    """
    Return the common name of a certificate's subject, or else its whole name, without characters
    that do not print.
    """
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(common[0].value) if common else name.rfc4514_string()
    shown = "".join(c if c.isprintable() else "?" for c in text)[:_LONGEST]
    return f"'{shown}'" if shown else "an authority without a name"
