"""
Find the cookie of one name in a header C{Cookie}, and remove it.

Some proxies join several headers C{Cookie} by commas. Backends do not agree which of several
cookies of one name counts, nor where a cookie beside a comma ends, so both are ambiguous.

A client may send thousands of cookies, so all work is done by regular expressions that take time
in proportion to the length of the header.
"""

from __future__ import annotations

import re

AMBIGUOUS = b","
"""
The value that stands for a cookie or parameter which occurs several times; it is a comma, which a
credential never contains.
"""


def finder(name: str) -> re.Pattern[bytes]:
    """
    Return a regular expression that finds all cookies with a given name.

    The first group of the expression is the separator before the cookie, if it is not the first
    one, and the second group is its value.
    """
    return re.compile(rb"(?:^|([;,]))[ \t]*%b[ \t]*=([^;]*)" % re.escape(name.encode("ascii")))


def value(header: bytes, cookies: re.Pattern[bytes]) -> bytes | None:
    """
    Return the value of a cookie, or C{None} if there is no such cookie, or L{AMBIGUOUS} if there
    are several.

    @param cookies: a regular expression that finds the cookies with the name (L{finder}).
    """
    found = cookies.finditer(header)
    first = next(found, None)
    if first is None:
        return None
    separator, text = first.groups()
    if separator == b"," or b"," in text or next(found, None) is not None:
        return AMBIGUOUS
    return text.strip(b" \t")


def remover(name: str) -> re.Pattern[bytes]:
    """
    Return a regular expression of the parts, between semicolons, that contain a cookie with a given
    name.
    """
    escaped = re.escape(name.encode("ascii"))
    return re.compile(rb"(?:(?<=;)|^)(?:[^;,]*,)*[ \t]*%b[ \t]*=[^;]*(?:;|$)" % escaped)


def without(header: bytes, cookies: re.Pattern[bytes]) -> bytes:
    """
    Return a header C{Cookie} without the cookies with a given name, and without what a comma joins
    to them.

    @param cookies: a regular expression that finds the parts to remove (L{remover}).
    """
    kept, count = cookies.subn(b"", header)
    return kept.strip(b" \t").removesuffix(b";") if count else header
