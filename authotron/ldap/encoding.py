"""
Encode LDAP requests (RFC 4511) and search filters as bytes.

ldaptor encodes the requests; only this module imports ldaptor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NewType

from attrs import frozen
from ldaptor.protocols import pureber, pureldap

Filter = NewType("Filter", bytes)
"""An encoded LDAP search filter; only the functions of this module make such filters."""

Operation = NewType("Operation", bytes)
"""An encoded LDAP request without its message id and controls."""

BASE, SUBTREE = 0, 2
"""LDAP search scopes: only the base entry, or the base entry and everything below it."""


@frozen
class Search:
    """
    The parameters of an LDAP search.

    @ivar base: the DN of the entry where the search begins.
    @ivar limit: the maximum number of entries to return.
    """

    base: str
    filter: Filter
    attributes: tuple[str, ...]
    limit: int
    scope: int = SUBTREE


# --- requests ---


def message(message_id: int, operation: Operation, controls: Mapping[str, bytes | None]) -> bytes:
    """Encode a complete LDAP request; its controls are not critical, so servers may ignore them."""
    given = [(oid, None, value) for oid, value in controls.items()] or None
    wire: bytes = pureldap.LDAPMessage(operation, given, message_id).toWire()
    return wire


def bind(dn: str, password: str) -> Operation:
    """Encode a simple bind request."""
    return Operation(pureldap.LDAPBindRequest(dn=dn, auth=password.encode()).toWire())


def unbind() -> Operation:
    """Encode an unbind request, which ends the connection."""
    return Operation(pureldap.LDAPUnbindRequest().toWire())


def start_tls() -> Operation:
    """Encode the extended request StartTLS."""
    return Operation(pureldap.LDAPStartTLSRequest().toWire())


def who_am_i() -> Operation:
    """Encode the extended request Who am I? (RFC 4532)."""
    name = b"1.3.6.1.4.1.4203.1.11.3"
    return Operation(pureldap.LDAPExtendedRequest(requestName=name).toWire())


def search(query: Search, seconds: float) -> Operation:
    """
    Encode a search request; the server does not follow aliases, and may search for C{seconds} at
    most.
    """
    request = pureldap.LDAPSearchRequest(
        baseObject=query.base,
        scope=query.scope,
        sizeLimit=query.limit,
        timeLimit=max(1, int(seconds)),
        filter=query.filter,
        attributes=query.attributes,
    )
    return Operation(request.toWire())


def page(size: int, cookie: bytes) -> bytes:
    """Encode the value of the control that requests the next page of results (RFC 2696)."""
    octets = pureber.BEROctetString(cookie)
    wire: bytes = pureber.BERSequence([pureber.BERInteger(size), octets]).toWire()
    return wire


# --- filters ---

_COMPARISONS = {
    "=": pureldap.LDAPFilter_equalityMatch,
    ">=": pureldap.LDAPFilter_greaterOrEqual,
    "<=": pureldap.LDAPFilter_lessOrEqual,
    "~=": pureldap.LDAPFilter_approxMatch,
}


def all_of(filters: Sequence[Filter]) -> Filter:
    """Encode a filter that matches if all C{filters} match."""
    return Filter(pureldap.LDAPFilter_and(filters).toWire())


def any_of(filters: Sequence[Filter]) -> Filter:
    """Encode a filter that matches if at least one of C{filters} matches."""
    return Filter(pureldap.LDAPFilter_or(filters).toWire())


def none_of(other: Filter) -> Filter:
    """Encode an LDAP filter that matches if the filter C{other} does not match."""
    return Filter(pureldap.LDAPFilter_not(other).toWire())


def present(attribute: str) -> Filter:
    """Encode a filter that matches every entry that has the attribute."""
    return Filter(pureldap.LDAPFilter_present(attribute).toWire())


def compares(attribute: str, operator: str, value: bytes) -> Filter:
    """Encode the comparison of an attribute with a value by C{=}, C{>=}, C{<=} or C{~=}."""
    description = pureldap.LDAPAttributeDescription(attribute)
    assertion = pureldap.LDAPAssertionValue(value)
    return Filter(_COMPARISONS[operator](description, assertion).toWire())


def contains(attribute: str, substrings: Sequence[bytes]) -> Filter:
    """
    Encode a substring match, such as C{(cn=a*b*)}.

    @param substrings: the texts between the asterisks; the first and the last text may be empty.
    """
    encoded = [pureldap.LDAPFilter_substrings_any(each) for each in substrings[1:-1] if each]
    if substrings[0]:
        encoded.insert(0, pureldap.LDAPFilter_substrings_initial(substrings[0]))
    if substrings[-1]:
        encoded.append(pureldap.LDAPFilter_substrings_final(substrings[-1]))
    return Filter(pureldap.LDAPFilter_substrings(attribute, encoded).toWire())


def rule(attribute: str, matching: str, value: bytes, *, of_dn: bool) -> Filter:
    """
    Encode an extensible match, which compares a value by a matching rule; the rule is given by name
    or by OID.
    """
    extensible = pureldap.LDAPFilter_extensibleMatch(
        matchingRule=matching or None,
        type=attribute or None,
        matchValue=value,
        dnAttributes=of_dn or None,
    )
    return Filter(extensible.toWire())
