"""Which strings may name a user, a realm, a role or a scope, and how they are compared."""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 1_024
"""Maximum length of the name of a user or a realm, in characters."""

MAX_ROLE = 8_192
"""Maximum length of a role, a scope or the name of an attribute, in characters."""

_MAX_MARKS = 30
"""
Maximum number of combining characters in a row (Unicode Standard Annex 15, "Stream-Safe Text
Format").
"""

_STAND_FOR_ASCII = re.compile("[\u212a\u037e\u1fef]")
"""
Characters whose canonical form is an ASCII character: these are the Kelvin sign, the Greek question
mark and the varia.
"""

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0"
    "\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
"""
Letters, marks and symbols that are not visible: the empty Braille pattern, and the characters with
the property Default_Ignorable_Code_Point that L{str.isprintable} calls printable.
"""


def normalize(text: str) -> str:
    """
    Convert a name to Unicode Normalization Form C, so that all spellings of the name become equal.

    A string that cannot be a name (see L{flaw}) may be returned unchanged.
    """
    if text.isascii() or len(text) > MAX_ROLE or _flaw_beyond_ascii(text) is not None:
        return text
    return unicodedata.normalize("NFC", text)


def spellings(text: str) -> list[str]:
    """
    List the spellings of a name: as given, in Unicode Normalization Form C, and in Form D, without
    duplicates.
    """
    composed = normalize(text)
    if text.isascii() or flaw(composed, MAX_ROLE) is not None:
        return [text]
    return [*dict.fromkeys((text, composed, unicodedata.normalize("NFD", composed)))]


def fold_ascii_case(text: str) -> bytes:
    """
    Convert a string to UTF-8 with all ASCII letters in lower case, to compare names regardless of
    case.

    Letters beyond ASCII are not changed, because the lower case of the Kelvin sign, for example, is
    an ASCII "k".
    """
    return normalize(text).encode("utf-8", "surrogatepass").lower()


def flaw(text: str, longest: int = MAX_NAME, *, tab: bool = False) -> str | None:
    """
    Return why a string cannot be a name, or C{None} if the string can be a name.

    Names must not contain such characters: proxies trim header values, and drop or refuse control
    characters, and people cannot see characters that are not printable. Two names that differ only
    in blanks or invisible characters would look the same.

    @param tab: whether the name may contain tabs.
    """
    if not text:
        return "is empty"
    if len(text) > longest:
        return f"is longer than {longest} characters"
    if text.strip(" \t") != text:
        return "begins or ends with a blank"
    if not (text.replace("\t", "") if tab else text).isprintable():
        return "has a character that is not printable"
    return None if text.isascii() else _flaw_beyond_ascii(text)


def _flaw_beyond_ascii(text: str) -> str | None:
    if _INVISIBLE.search(text):
        return "has a character that is not visible"
    if _STAND_FOR_ASCII.search(text):
        return "has a character that stands for an ASCII character"
    if len(text) > _MAX_MARKS and _longest_run_of_marks(text) > _MAX_MARKS:
        return f"has more than {_MAX_MARKS} combining characters in a row"
    return None


def _longest_run_of_marks(text: str) -> int:
    """Count the longest run of combining characters; normalizing a very long run is slow."""
    longest = run = 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) else 0
        longest = max(longest, run)
    return longest
