"""
Parse untrusted JSON so that no other parser can read the same bytes differently.

JSON Web Tokens, request bodies and responses of remote services are parsed by this module. JSON
(RFC 8259) does not define the meaning of a duplicate name, of half of a surrogate pair, or of a
number that a double cannot hold. An attacker could exploit two JSON parsers that read a document
differently, so every ambiguous document is an error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

LONGEST = 1_048_576
"""Maximum length of a JSON document in bytes, unless the caller sets another limit."""

DEEPEST = 64
"""Maximum depth of nested arrays and objects in a JSON document."""

MOST = 20_000
"""Maximum number of arrays and objects in a JSON document, unless the caller sets another limit."""

_LONGEST_NUMBER = 128
"""
Maximum number of characters of a number in JSON: a far longer number makes a C{float} infinite, or
an C{int} slow to convert.
"""

_REST = re.compile(r"[ \t\n\r]*")


def loads(content: bytes, longest: int = LONGEST, most: int = MOST) -> Any:
    """
    Parse one JSON document in UTF-8.

    @param most: the maximum number of arrays and objects; each opening bracket counts as one, even
        in a string.

    @raise ValueError: the document is longer than C{longest} bytes, deeper than L{DEEPEST}, has
        more than C{most} arrays and objects, is not UTF-8 or not JSON, begins with a byte order
        mark, has data behind its end, or contains a duplicate name, half of a surrogate pair,
        C{NaN}, C{Infinity}, or a number that is too long or infinite.
    """
    if len(content) > longest:
        raise ValueError("the document is too long")
    text = content.decode("utf-8")
    brackets = text.count("[") + text.count("{")
    if brackets > most:
        raise ValueError("the document has too many arrays and objects")
    try:
        found, end = _scan(text, 0 if text.startswith(("{", "[")) else _behind_blanks(text, 0))
    except StopIteration:
        raise ValueError("no JSON value found") from None
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None
    if end != len(text) and _behind_blanks(text, end) != len(text):
        raise ValueError("the document has data after its end")
    if brackets > DEEPEST:
        _check_depth(found)
    if "\\u" in text:
        _check_pairs(found)
    return found


def _behind_blanks(text: str, start: int) -> int:
    rest = _REST.match(text, start)
    assert rest is not None
    return rest.end()


def _check_depth(found: object) -> None:
    level = [found]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inner(each)]
        if not level:
            return
    raise ValueError("the document is nested too deeply")


def _inner(value: object) -> list[object]:
    """List the arrays and objects that are direct members of a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, dict | list)]


def _check_pairs(found: object) -> None:
    """
    Reject half of a surrogate pair, which only an escape sequence can produce, as UTF-8 cannot
    encode it.
    """
    json.dumps(found, ensure_ascii=False).encode("utf-8")  # raises ValueError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object in the document has a duplicate name")
    return found


def _int(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("a number in the document is too long")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if len(text) > _LONGEST_NUMBER or not math.isfinite(number):
        raise ValueError("a number in the document is too long or infinite")
    return number


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant
).scan_once  # type: ignore[attr-defined] # this method is not documented, but C{JSONDecoder.decode} calls it
"""
Parses one JSON value; the parser is built once, because building it takes longer than parsing the
header of a JWT.
"""
