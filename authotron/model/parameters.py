"""Find the parameter of one name in the query of a URL."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from authotron.model.cookies import AMBIGUOUS


def finder(name: str) -> re.Pattern[str]:
    """
    Return a regular expression that finds all parameters of a name, in any percent-encoding.

    The group of the expression is the value, or C{None} if the parameter has none.
    """
    spelled = (f"(?:{re.escape(char)}|%(?i:{ord(char):02x}))" for char in name)
    return re.compile(rf"(?:^|&){''.join(spelled)}(?:=([^&]*))?(?=&|\Z)")


def value(query: str, parameters: re.Pattern[str]) -> bytes | None:
    """
    Return the value of a parameter as backends decode it, C{None} if there is no such parameter, or
    L{AMBIGUOUS} if there are several.

    @param parameters: a regular expression that finds the parameters with the name (L{finder}).
    """
    found = parameters.finditer(query)
    first = next(found, None)
    if first is None:
        return None
    if next(found, None) is not None:
        return AMBIGUOUS
    return unquote_plus(first[1] or "", errors="replace").encode("utf-8", "replace")
