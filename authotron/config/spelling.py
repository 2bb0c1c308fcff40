"""Suggest what a misspelt word was meant to be, without showing what may be a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_LONGER, _SHORT, _TAIL = 3, 3, 5
"""
Letters that a slip may have more than the key that was meant; letters of a short key; letters that
may follow a key in a section that has secrets: C{audience}, but not the secret C{expelliarmus}.
"""


def is_slip(word: str, known: Iterable[str], secrets: Iterable[str] = ()) -> bool:
    """
    Whether a word is so near to one that is known that it cannot be a secret.

    What follows the key of a secret, with the colon forgotten, may be one.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z_-]*", word):
        return False
    lower, words, hidden = word.lower(), [*known], {*secrets}
    begun = [each for each in words if len(each) >= _SHORT and lower.startswith(each)]
    if hidden:
        begun = [each for each in begun if len(word) <= len(each) + _TAIL or each in hidden]
    if any(each in hidden and len(word) > len(each) + _LONGER for each in begun):
        return bool(difflib.get_close_matches(lower, words, 1, 0.9))
    near = difflib.get_close_matches(lower, words, 1, 0.6)
    return bool(begun or (near and len(word) <= len(near[0]) + _LONGER))


def did_you_mean(word: str, known: Iterator[str] | list[str] | Mapping[str, Any]) -> str:
    """Return a suggestion to put behind a mistake, if a known word is near; else nothing."""
    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
