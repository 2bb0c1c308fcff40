"""Parts of the grammars of HTTP and URIs, as regular expressions for bytes."""

from __future__ import annotations

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""
A regular expression of C{token}, such as a header name or an HTTP method (RFC
9110 section 5.6.2).
"""

LONGEST_FIELD_NAME = 256
"""
Maximum number of bytes in a header name, because Twisted keeps the first 10,000 header names in
memory for good.
"""

_LABEL = rb"[A-Za-z0-9_-]{1,63}"
NAME = rb"%b(?:\.%b)*" % (_LABEL, _LABEL)
"""A regular expression of host names and of IPv4 addresses, which have the same syntax."""


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
"""A regular expression of IPv6 addresses in brackets."""
