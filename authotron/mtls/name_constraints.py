"""
Checks of name constraints, by which an authority is limited to some names (RFC 5280 section
4.2.1.10), that the library C{cryptography} does not make.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography import x509

from authotron.model.errors import Rejected

_MOST_COMPARISONS = 10_000
"""Maximum number of comparisons of a name with a constraint, which take 4 ms together."""


def check_effort(sent: Sequence[x509.Certificate]) -> None:
    """
    Check that the names in certificates that a client has sent are quickly compared with the name
    constraints in them: the library compares them even if no trusted authority has signed any of
    the certificates.

    @raise Rejected: there are too many names and constraints.
    """
    constraints = sum(len(_subtrees(each)) for each in sent)
    if constraints and constraints * sum(map(_count_names, sent)) > _MOST_COMPARISONS:
        raise Rejected("the chain of the certificate has too many names and name constraints")


def check_supported(authorities: Iterable[x509.Certificate]) -> None:
    """
    Check that no authority is limited to some subjects, because no such limit would be observed.

    @raise Rejected: an authority is limited to some subjects.
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
