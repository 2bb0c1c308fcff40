"""
Compare the user names in DNs exactly, including the case of letters.

Directories ignore letter case, extra blanks, width and soft hyphens when they compare (RFC 4518). A
directory finds the entry of C{alice} for the user name C{ALICE} too; but in another provider of the
realm C{ALICE} may be a different person, who must not get the roles of C{alice}.
"""

from __future__ import annotations

from collections.abc import Iterable

from authotron.ldap.dn import InvalidDn, Name, fold_dn, parse_dn
from authotron.model.naming import normalize

_USER_ID = "uid"


def names_user_in_rdn(dn: str, username: str, attributes: Iterable[str]) -> bool:
    """
    Return whether a value of the first RDN of a DN equals the user name, including the case of
    letters.

    In the first RDN of the DN, only the values of C{uid} and of the attributes in C{attributes} are
    compared with the user name. Other attributes in the first RDN are not compared: a value such as
    a display name in C{cn} may happen to equal the name of another user.
    """
    try:
        rdns = parse_dn(dn)
    except InvalidDn:
        return False
    types = {_USER_ID, *(each.lower() for each in attributes)}
    return bool(rdns) and any(
        kind.lower() in types and normalize(value) == normalize(username)
        for kind, value in rdns[0].pairs
    )


def spells_user_alike(dn: str, other: str, username: str) -> bool:
    """
    Return whether C{dn} spells the user name exactly in each RDN in which C{other}, another DN of
    the same entry, spells the user name exactly.

    Only the values in the DNs are compared, not the attribute types, since a directory knows an
    attribute by several names: for example, C{uid}, C{userid} and C{0.9.2342.19200300.100.1.1} are
    the same attribute.
    """
    try:
        rdns, others = parse_dn(dn), parse_dn(other)
    except InvalidDn:
        return False
    return len(rdns) == len(others) and _spell_alike(rdns, others, username)


def is_same_dn(dn: str, other: str, username: str) -> bool:
    """Return whether two DNs are equal, and spell the user name with the same letter case."""
    try:
        rdns, others = parse_dn(dn), parse_dn(other)
    except InvalidDn:
        return False
    return fold_dn(rdns) == fold_dn(others) and _spell_alike(rdns, others, username)


def _spell_alike(rdns: Name, others: Name, username: str) -> bool:
    """
    Return whether each RDN that spells the user name exactly in C{others} also
    does so in C{rdns}.
    """
    name = normalize(username)
    return all(
        {normalize(value) for _, value in other.pairs} & {name}
        <= {normalize(value) for _, value in rdn.pairs}
        for rdn, other in zip(rdns, others, strict=True)
    )
