"""
Verify the TLS certificates of clients: each certificate must lead through a chain of signatures to
an authority that the configuration trusts.

The signatures, the validity and the constraints of the chain are verified by the library
C{cryptography}. Accepted signatures are those of authorities with RSA keys of at least 2048 bits,
or with ECDSA keys on the curves P-256, P-384 and P-521, and with SHA-256 or a longer hash.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from authotron.model.client_certificate import ClientCertificate
from authotron.model.errors import Rejected
from authotron.mtls import name_constraints

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_BITS = range(2048, 8193)
"""
Minimum and maximum length of an RSA key, in bits; the length is limited because verifying a
signature takes longer with a longer key.
"""

_SHORTEST_CURVE = 256
"""Minimum length of a key on an elliptic curve, in bits."""

_MOST_EXPONENT_BITS = 32
"""Maximum length of the public exponent of an RSA key; usual keys have the exponent 65537."""

_MOST_SHOWN = 200
"""Maximum number of characters that a message quotes of a certificate's name or of an error."""

Chain = Sequence[x509.Certificate]
"""
A verified chain of certificates: the certificate of the client comes first, and the certificate of
a trusted authority last.
"""


def load_authorities(file: Path) -> Chain:
    """
    Load the certificates of trusted authorities from a file with PEM.

    @raise ValueError: the file cannot be read, contains no certificate, or contains a certificate
        that cannot be used.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    blocks = _PEM.findall(content)
    if not blocks:
        raise ValueError(f"{file} does not hold a certificate in PEM")
    try:
        return [x509.load_pem_x509_certificate(each) for each in blocks]
    except ValueError:
        raise ValueError(f"{file} holds a certificate that cannot be parsed") from None


@frozen(eq=False)
class Authorities:
    """
    The authorities that the configuration trusts to sign the certificates of clients.

    Each configured authority is trusted by itself: an intermediate authority is trusted even if the
    authority above it is not configured.
    """

    _trusted: Chain
    _requires_purpose: bool = True
    _store: Store = field(init=False, repr=False)
    _names: frozenset[x509.Name] = field(init=False, repr=False)
    _client_policy: ExtensionPolicy = field(init=False, repr=False)
    _authority_policy: ExtensionPolicy = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_store", Store([*self._trusted]))
        object.__setattr__(self, "_names", frozenset(each.subject for each in self._trusted))
        object.__setattr__(self, "_client_policy", _policy_of_clients())
        object.__setattr__(self, "_authority_policy", _policy_of_authorities())

    def verify(self, presented: ClientCertificate, now: float) -> Chain:
        """
        Return the chain from the certificate of a client to a trusted authority.

        @param now: the current time, in seconds since the epoch.

        @raise Rejected: the certificate is malformed, is expired or not yet valid, is not meant for
            TLS clients, or does not lead to a trusted authority.
        """
        try:
            return self._verify(presented, dt.datetime.fromtimestamp(now, dt.UTC))
        except Rejected:
            raise
        except Exception as error:  # noqa: BLE001 - any error rejects the certificate
            why = f"the certificate cannot be verified ({type(error).__name__})"
            raise Rejected(why) from None

    def _verify(self, presented: ClientCertificate, now: dt.datetime) -> Chain:
        try:
            leaf = x509.load_der_x509_certificate(presented.der)
            every = [x509.load_der_x509_certificate(each) for each in presented.issuers]
        except ValueError:
            raise Rejected("the certificate is malformed") from None
        issuers = _intermediates(every)
        _check_validity(leaf, now)
        self._check_purpose(leaf)
        for each in (leaf, *issuers):
            _check_key(each)
        name_constraints.check_effort((leaf, *issuers))
        verifier = (
            PolicyBuilder()
            .store(self._store)
            .time(now.replace(tzinfo=None))
            .extension_policies(ca_policy=self._authority_policy, ee_policy=self._client_policy)
            .build_client_verifier()
        )
        try:
            chain: Chain = verifier.verify(leaf, issuers).chain
        except VerificationError as error:
            raise Rejected(self._reason((leaf, *issuers), error)) from None
        name_constraints.check_supported(chain[1:])
        return chain

    def _check_purpose(self, leaf: x509.Certificate) -> None:
        """
        Check that the purpose of a certificate allows its use by TLS clients (RFC 5280 section
        4.2.1.12).

        @raise Rejected: the extended key usage of the certificate lacks clientAuth, or is missing
            although the configuration requires it.
        """
        try:
            purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            if self._requires_purpose:
                raise Rejected(
                    "the certificate states no purpose (extended key usage), and "
                    "require_client_auth is set"
                ) from None
            return
        if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
            raise Rejected("the certificate is not for TLS clients (extended key usage)")

    def _reason(self, sent: Iterable[x509.Certificate], error: VerificationError) -> str:
        """Return, for the log, why no chain to a trusted authority was found for a certificate."""
        last = None
        for last in sent:
            if last.issuer in self._names:
                said = str(error).partition(" (encountered")[0]
                return f"the chain of the certificate is not valid: {_shown(said)}"
        assert last is not None
        issuer = _shown(last.issuer.rfc4514_string())
        return f"no certificate in ca_file is of the authority that has signed it ({issuer})"


def _intermediates(sent: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """
    Return the certificates of intermediate authorities that may lead to a trusted authority: at
    most one certificate for each name, and no self-issued certificate.

    If several certificates had the same name, the number of possible chains would grow
    exponentially.
    """
    found: dict[x509.Name, x509.Certificate] = {}
    for each in sent:
        if each.subject != each.issuer:
            found.setdefault(each.subject, each)
    return [*found.values()]


def _check_validity(leaf: x509.Certificate, now: dt.datetime) -> None:
    if now > leaf.not_valid_after_utc:
        raise Rejected(f"the certificate has expired ({leaf.not_valid_after_utc:%Y-%m-%d %H:%M})")
    if now < leaf.not_valid_before_utc:
        begin = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M}"
        raise Rejected(f"the certificate is not valid before {begin}, or a clock is wrong")


def _check_key(certificate: x509.Certificate) -> None:
    """
    Check that the public key of a certificate is strong, and that its signatures can be verified
    quickly.

    @raise Rejected: the key or its public exponent is too short or too long.
    """
    key = certificate.public_key()
    if isinstance(key, RSAPublicKey) and (
        key.key_size not in _BITS or key.public_numbers().e.bit_length() > _MOST_EXPONENT_BITS
    ):
        raise Rejected(
            f"the chain of the certificate has an RSA key of {key.key_size} bits, or an unusual one"
        )
    if isinstance(key, EllipticCurvePublicKey) and key.key_size < _SHORTEST_CURVE:
        raise Rejected(f"the chain of the certificate has a key of {key.key_size} bits")


def _policy_of_clients() -> ExtensionPolicy:
    """
    Return which extensions the certificate of a client may have. The identifier of the authority's
    key and the alternative names are optional, because private authorities often leave them out.
    """
    agnostic = Criticality.AGNOSTIC
    return (
        ExtensionPolicy.webpki_defaults_ee()
        .may_be_present(x509.AuthorityKeyIdentifier, agnostic, None)
        .may_be_present(x509.SubjectAlternativeName, agnostic, None)
        .may_be_present(x509.ExtendedKeyUsage, agnostic, None)
    )


def _policy_of_authorities() -> ExtensionPolicy:
    """
    Return which extensions the certificate of an authority may have. The extension key usage is
    optional, because C{openssl req -x509} makes certificates without this extension.
    """
    agnostic = Criticality.AGNOSTIC
    return (
        ExtensionPolicy.webpki_defaults_ca()
        .may_be_present(x509.AuthorityKeyIdentifier, agnostic, None)
        .may_be_present(x509.KeyUsage, agnostic, _check_usage)
    )


def _check_usage(
    _policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None
) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key of the authority must not sign certificates")


def _shown(text: str) -> str:
    """Return the beginning of a text from a certificate, in printable ASCII."""
    return ascii(text[:_MOST_SHOWN])[1:-1]
