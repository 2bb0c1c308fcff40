"""
Requests of LDAP (RFC 4511), with their filters, as bytes.

The encoding is ldaptor's, and this is the only module that imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NewType

from attrs import frozen
from ldaptor.protocols import pureber, pureldap

Filter = NewType("Filter", bytes)
"""An encoded search filter; made by the functions of this module only."""

Operation = NewType("Operation", bytes)
"""An encoded request, without its number."""

BASE, SUBTREE = 0, 2


@frozen
class Search:
    """
    What to look for.

    @ivar limit: how many entries are wanted at most.
    """

    base: str
    filter: Filter
    attributes: tuple[str, ...]
    limit: int
    scope: int = SUBTREE


# --- requests ---


def message(message_id: int, operation: Operation, controls: Mapping[str, bytes | None]) -> bytes:
    """All bytes of a request. No control is critical."""
    given = [(oid, None, value) for oid, value in controls.items()] or None
    wire: bytes = pureldap.LDAPMessage(operation, given, message_id).toWire()
    return wire


def bind(dn: str, password: str) -> Operation:
    """Say who we are."""
    return Operation(pureldap.LDAPBindRequest(dn=dn, auth=password.encode()).toWire())


def unbind() -> Operation:
    """Say good-bye."""
    return Operation(pureldap.LDAPUnbindRequest().toWire())


def start_tls() -> Operation:
    """Ask to go on with TLS."""
    return Operation(pureldap.LDAPStartTLSRequest().toWire())


def search(wanted: Search, seconds: float) -> Operation:
    """Ask for entries; aliases are not followed."""
    request = pureldap.LDAPSearchRequest(
        baseObject=wanted.base,
        scope=wanted.scope,
        sizeLimit=wanted.limit,
        timeLimit=max(1, int(seconds)),
        filter=wanted.filter,
        attributes=wanted.attributes,
    )
    return Operation(request.toWire())


def page(size: int, cookie: bytes) -> bytes:
    """The value of the control that asks for the next page."""
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
    """Every one of them."""
    return Filter(pureldap.LDAPFilter_and(filters).toWire())


def any_of(filters: Sequence[Filter]) -> Filter:
    """At least one of them."""
    return Filter(pureldap.LDAPFilter_or(filters).toWire())


def none_of(other: Filter) -> Filter:
    """What does not fit it."""
    return Filter(pureldap.LDAPFilter_not(other).toWire())


def present(attribute: str) -> Filter:
    """Whatever has the attribute."""
    return Filter(pureldap.LDAPFilter_present(attribute).toWire())


def compares(attribute: str, operator: str, value: bytes) -> Filter:
    """An attribute beside a value, by C{=}, C{>=}, C{<=} or C{~=}."""
    description = pureldap.LDAPAttributeDescription(attribute)
    assertion = pureldap.LDAPAssertionValue(value)
    return Filter(_COMPARISONS[operator](description, assertion).toWire())


def contains(attribute: str, pieces: Sequence[bytes]) -> Filter:
    """An attribute by pieces of its value: the beginning, some between, the end; or nothing."""
    wanted = [pureldap.LDAPFilter_substrings_any(each) for each in pieces[1:-1] if each]
    if pieces[0]:
        wanted.insert(0, pureldap.LDAPFilter_substrings_initial(pieces[0]))
    if pieces[-1]:
        wanted.append(pureldap.LDAPFilter_substrings_final(pieces[-1]))
    return Filter(pureldap.LDAPFilter_substrings(attribute, wanted).toWire())


def rule(attribute: str, matching: str, value: bytes, *, of_dn: bool) -> Filter:
    """A value by a matching rule that has a name or a number."""
    extensible = pureldap.LDAPFilter_extensibleMatch(
        matchingRule=matching or None,
        type=attribute or None,
        matchValue=value,
        dnAttributes=of_dn or None,
    )
    return Filter(extensible.toWire())
