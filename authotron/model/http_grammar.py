"""Parts of the grammars of HTTP and URIs, as regular expressions for bytes."""

from __future__ import annotations

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""A token, such as the name of a header field or a method (RFC 9110 section 5.6.2)."""

LONGEST_FIELD_NAME = 256
"""Bytes of the name of a header field; bounded, as Twisted never frees the first 10,000 names."""

_LABEL = rb"[A-Za-z0-9_-]{1,63}"
NAME = rb"%b(?:\.%b)*" % (_LABEL, _LABEL)
"""The name of a host, or an IPv4 address, which has the same syntax."""


def _ipv6() -> bytes:
    """Build a regular expression of C{IP-literal} (RFC 3986 section 3.2.2) for IPv6 addresses."""
    group = rb"[0-9A-Fa-f]{1,4}"
    byte = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    last = rb"(?:%b:%b|%b(?:\.%b){3})" % (group, group, byte, byte)
    forms = [rb"(?:%b:){6}%b" % (group, last)]
    for before in range(8):
        start = rb"(?:(?:%b:){0,%d}%b)?::" % (group, before - 1, group) if before else b"::"
        after = 6 - before - 1
        if after >= 0:
            forms.append(rb"%b(?:%b:){%d}%b" % (start, group, after, last))
        else:
            forms.append(start + (group if after == -1 else b""))
    return rb"\[(?:%b)\]" % b"|".join(forms)


IPV6 = _ipv6()
"""An IPv6 address in brackets."""
