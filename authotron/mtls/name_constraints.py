"""
Check what the library C{cryptography} does not check of name constraints, which limit an authority
to some names (RFC 5280 section 4.2.1.10).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography import x509

from authotron.model.errors import Rejected

_MOST_COMPARISONS = 10_000
"""
Maximum number of comparisons of a name in a certificate with a name constraint; this number of
comparisons takes 4 ms.
"""


def check_effort(sent: Sequence[x509.Certificate]) -> None:
    """
    Check that comparing the names in a client's certificates with their name constraints takes
    little time. The library C{cryptography} makes these comparisons even if no trusted authority
    has signed any of the certificates.

    @raise Rejected: the certificates contain too many names and name constraints.
    """
    constraints = sum(len(_subtrees(each)) for each in sent)
    if constraints and constraints * sum(map(_count_names, sent)) > _MOST_COMPARISONS:
        raise Rejected("the chain of the certificate has too many names and name constraints")


def check_supported(authorities: Iterable[x509.Certificate]) -> None:
    """
    Check that no name constraint limits an authority to some subject names, because such a limit
    would not be enforced.

    @raise Rejected: a name constraint limits an authority to some subject names.
    """
    for each in authorities:
        if any(isinstance(subtree, x509.DirectoryName) for subtree in _subtrees(each)):
            raise Rejected(
                "an authority of the certificate is limited to some subjects (name constraints), "
                "which is not supported"
            )


def _subtrees(certificate: x509.Certificate) -> Sequence[x509.GeneralName]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return ()
    return [*(found.permitted_subtrees or ()), *(found.excluded_subtrees or ())]


def _count_names(certificate: x509.Certificate) -> int:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return 0
    return len([*names])
